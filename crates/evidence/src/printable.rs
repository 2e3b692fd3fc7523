//! Text from outside made fit for a terminal, a table or a page: what a copy or a recording says of itself may be hostile.

/// An id, a name or a digest: its first 64 characters, those that are not plain ASCII written out.
pub(crate) fn name(text: &str) -> String {
    text.chars().take(64).flat_map(|c| if c.is_ascii_graphic() { vec![c] } else { c.escape_default().collect() }).collect()
}

/// Running text: control characters and those that change the direction of text are written out.
pub(crate) fn text(text: &str) -> String {
    text.chars().flat_map(|c| if steers(c) { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Whether a character is no part of a text but steers whoever shows it.
pub(crate) fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{061c}')
}

/// The start of a longer text.
pub(crate) fn start_of(long: &str) -> String {
    text(&long.chars().take(300).collect::<String>())
}

#[cfg(test)]
mod tests {
    // covers: E9 (evidence)
    #[test]
    fn no_text_steers_a_terminal() {
        assert_eq!(super::text("a\u{1b}]0;x\u{7}\u{202e}b é"), "a\\u{1b}]0;x\\u{7}\\u{202e}b é");
        assert_eq!(super::name("ent_1\n\u{202e}"), "ent_1\\n\\u{202e}");
    }
}
