//! One line typed into a terminal that the client has put into raw mode: echo, backspace, Ctrl-U, and the ways to leave.

/// The longest line, in characters.
const LONGEST: usize = 500;

/// A line being typed.
#[derive(Debug, Default)]
pub(crate) struct Editor {
    line: String,
    /// Bytes of a character that is not complete.
    partial: Vec<u8>,
    escape: Escape,
}

/// Where in an escape sequence (arrow keys and such) the input is; they are swallowed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Begun,
    Sequence,
}

/// What came of some input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Typed {
    /// The line is not finished.
    More,
    /// It is.
    Line(String),
    /// Ctrl-C, or Ctrl-D on an empty line.
    Leave,
}

impl Editor {
    /// Takes input; says what to echo and what came of it. Input after the end of the line is dropped.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> (String, Typed) {
        let mut echo = String::new();
        for &byte in bytes {
            if self.swallows(byte) {
                continue;
            }
            match byte {
                b'\r' | b'\n' => {
                    echo.push_str("\r\n");
                    return (echo, Typed::Line(std::mem::take(&mut self.line)));
                }
                3 => return (echo, Typed::Leave),
                4 if self.line.is_empty() => return (echo, Typed::Leave),
                8 | 127 => {
                    if self.line.pop().is_some() {
                        echo.push_str("\x08 \x08");
                    }
                }
                21 => {
                    for _ in self.line.chars() {
                        echo.push_str("\x08 \x08");
                    }
                    self.line.clear();
                }
                27 => self.escape = Escape::Begun,
                0..=31 => {}
                _ => self.character(byte, &mut echo),
            }
        }
        (echo, Typed::More)
    }

    fn swallows(&mut self, byte: u8) -> bool {
        self.escape = match (self.escape, byte) {
            (Escape::None, _) => return false,
            (Escape::Begun, b'[' | b'O') => Escape::Sequence,
            (Escape::Sequence, 0x20..=0x3f) => Escape::Sequence,
            // Keys that end a line are never part of a sequence.
            (_, 3 | 4 | b'\r' | b'\n') => {
                self.escape = Escape::None;
                return false;
            }
            _ => Escape::None,
        };
        true
    }

    fn character(&mut self, byte: u8, echo: &mut String) {
        self.partial.push(byte);
        match std::str::from_utf8(&self.partial) {
            Ok(text) => {
                if self.line.chars().count() < LONGEST && super::text::inert(text, 4) == text {
                    self.line.push_str(text);
                    echo.push_str(text);
                }
                self.partial.clear();
            }
            Err(e) if e.error_len().is_none() && self.partial.len() < 4 => {}
            Err(_) => self.partial.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(input: &[u8]) -> Typed {
        Editor::default().feed(input).1
    }

    #[test]
    fn a_line_is_edited_and_ended() {
        assert_eq!(typed(b"disk fulk\x7fl\r"), Typed::Line("disk full".into()));
        assert_eq!(typed(b"nonsense\x15disk\n"), Typed::Line("disk".into()));
        assert_eq!(typed("dé\x7fé \u{1b}[Dsk\r".as_bytes()), Typed::Line("dé sk".into()));
        assert_eq!(typed(b"disk"), Typed::More);
        assert_eq!(typed(b"disk\x03"), Typed::Leave);
        assert_eq!(typed(b"\x04"), Typed::Leave);
    }

    #[test]
    fn a_character_may_arrive_in_pieces() {
        let mut editor = Editor::default();
        assert_eq!(editor.feed(&[0xc3]), (String::new(), Typed::More));
        assert_eq!(editor.feed(&[0xa9, b'\r']).1, Typed::Line("é".into()));
    }

    // covers: E9 (ssh)
    #[test]
    fn nothing_that_deceives_gets_into_a_reason() {
        assert_eq!(typed("a\u{202e}b\u{9b}c\r".as_bytes()), Typed::Line("abc".into()));
    }
}
