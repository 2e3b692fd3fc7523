//! Text that others wrote, made inert for whoever reads it: it can be read, and it cannot move the cursor, hide, reverse or recolour anything.

/// One line of foreign text: what could act on a terminal or deceive a reader is shown by its code point.
#[must_use]
pub fn inert(text: &str) -> String {
    escaped(text, |_| false)
}

/// Foreign text of several lines: as [`inert`], but lines and tabs stay.
#[must_use]
pub fn inert_lines(text: &str) -> String {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

fn escaped(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if !keep(c) && (c.is_control() || deceives(c)) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Characters that are invisible, break lines, or turn the direction of reading (Unicode UAX #9), and tags (E0000 to E007F).
fn deceives(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: E9 (cli)
    #[test]
    fn what_others_wrote_cannot_drive_a_terminal() {
        assert_eq!(inert("disk full on db-1, Äpfel 🌊"), "disk full on db-1, Äpfel 🌊");
        assert_eq!(inert("a\x1b[2Jb\r\nc"), "a\\u{1b}[2Jb\\u{d}\\u{a}c");
        assert_eq!(inert("\u{9b}31m\u{7f}"), "\\u{9b}31m\\u{7f}");
        assert_eq!(inert("grt\u{202e}evil\u{2066}\u{200b}"), "grt\\u{202e}evil\\u{2066}\\u{200b}");
        assert_eq!(inert_lines("one\ntwo\x07"), "one\ntwo\\u{7}");
    }
}
