//! What is shown in somebody's terminal: text that others wrote is made inert first.

/// Characters that reorder, hide or join text (Unicode bidirectional controls, invisible marks, line and paragraph separators).
fn deceives(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// One line of at most `limit` characters in which nothing moves the cursor, changes colours or reorders letters:
/// control and bidirectional characters become `\u{…}`.
pub(crate) fn inert(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(limit * 4));
    for (n, c) in text.chars().enumerate() {
        if n == limit {
            out.push('…');
            break;
        }
        if c.is_control() || deceives(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// A line in lines of at most `width` characters, broken at blanks; what goes on stands two blanks in. A longer word is broken where it
/// has to be.
pub(crate) fn folded(line: &str, width: usize) -> Vec<String> {
    let (mut lines, mut last) = (Vec::new(), String::new());
    let mut used = 0;
    for word in line.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            lines.push(std::mem::replace(&mut last, "  ".to_owned()));
            used = 2;
        } else if used > 0 {
            last.push(' ');
            used += 1;
        }
        for c in word.chars() {
            if used == width {
                lines.push(std::mem::replace(&mut last, "  ".to_owned()));
                used = 2;
            }
            last.push(c);
            used += 1;
        }
    }
    lines.push(last);
    lines
}

/// [`inert`] for bytes that claim to be text.
pub(crate) fn inert_bytes(bytes: &[u8], limit: usize) -> String {
    inert(&String::from_utf8_lossy(bytes), limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_broken_at_blanks_and_loses_nothing() {
        assert_eq!(folded("it opens at once", 80), ["it opens at once"]);
        assert_eq!(folded("aaa bbb ccc", 7), ["aaa bbb", "  ccc"]);
        assert_eq!(folded("aaa bbbbbbbbbb", 6), ["aaa", "  bbbb", "  bbbb", "  bb"]);
        assert_eq!(folded("", 6), [""]);
        let said = "No session of theirs from 127.0.0.0/24 in 90 days, the last 24 hours aside; nothing is known of where they come from.";
        let lines = folded(said, 40);
        assert!(lines.iter().all(|line| line.chars().count() <= 40), "{lines:?}");
        assert_eq!(lines.iter().map(|line| line.trim_start()).collect::<Vec<_>>().join(" "), said);
    }

    // covers: E9 (ssh)
    #[test]
    fn what_others_wrote_cannot_drive_a_terminal() {
        assert_eq!(inert("disk full", 80), "disk full");
        assert_eq!(inert("a\x1b[2Jb\r\nc\u{202e}d", 80), "a\\u{1b}[2Jb\\u{d}\\u{a}c\\u{202e}d");
        assert_eq!(inert("\u{9b}31m", 80), "\\u{9b}31m");
        assert_eq!(inert("abcdef", 3), "abc…");
    }
}
