//! A recorded or live terminal, shown in somebody else's: what draws passes, what reaches beyond the screen does not.
//!
//! A recording is foreign text. Drawing is what it is for; but it must not set the watcher's clipboard or title, make their
//! terminal answer (into their own shell), switch on mouse or paste modes, or load fonts. So escape sequences pass by an
//! allow-list (ECMA-48, and DEC private modes by number), and everything else is dropped.

/// The longest sequence that is taken for one.
const LONGEST: usize = 64;

/// What puts a terminal back as it was: attributes off, cursor shown, main screen, whole scroll region.
pub const RESET: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l\x1b[r\r\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Ground,
    /// After ESC.
    Escape,
    /// After ESC and an intermediate byte.
    Intermediate,
    /// Inside `ESC [`.
    Control,
    /// Inside OSC, DCS, APC, PM or SOS, dropped until its end.
    Text,
    /// After ESC inside of that.
    TextEscape,
    /// After the first byte of a C1 control in UTF-8 (C2 80 to C2 9F).
    C2,
}

/// Lets through what draws. Sequences and characters may be cut anywhere between two calls.
#[derive(Debug, Default)]
pub struct Player {
    state: State,
    held: Vec<u8>,
}

impl Player {
    /// What of these bytes may go to the watcher's terminal.
    pub fn play(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for byte in bytes {
            self.step(*byte, &mut out);
        }
        out
    }

    fn step(&mut self, byte: u8, out: &mut Vec<u8>) {
        // CAN and SUB end every sequence.
        if matches!(byte, 0x18 | 0x1a) {
            self.rest();
            return;
        }
        match self.state {
            State::Ground => match byte {
                0x1b => self.begin(),
                0xc2 => self.state = State::C2,
                b'\x08' | b'\t' | b'\n' | b'\r' => out.push(byte),
                // BEL, SO, SI, ENQ and the others draw nothing.
                0..0x20 | 0x7f => {}
                _ => out.push(byte),
            },
            State::C2 => {
                self.state = State::Ground;
                if !(0x80..0xa0).contains(&byte) {
                    out.push(0xc2);
                    self.step(byte, out);
                }
            }
            State::Escape => match byte {
                b'[' => self.hold(byte, State::Control),
                b']' | b'P' | b'X' | b'^' | b'_' => self.state = State::Text,
                b'(' | b')' => self.hold(byte, State::Intermediate),
                // Save and restore the cursor, index, next line, reverse index, tab stop, keypad.
                b'7' | b'8' | b'D' | b'E' | b'M' | b'H' | b'=' | b'>' => self.finish(byte, true, out),
                0x1b => self.begin(),
                b' '..=b'/' => self.hold(byte, State::Intermediate),
                _ => self.rest(),
            },
            State::Intermediate => {
                let charset = matches!(self.held.last(), Some(b'(' | b')')) && matches!(byte, b'0' | b'A' | b'B');
                self.finish(byte, charset, out);
            }
            State::Control => match byte {
                0x40..=0x7e => {
                    let passes = draws(self.held.get(2..).unwrap_or_default(), byte);
                    self.finish(byte, passes, out);
                }
                0x20..=0x3f if self.held.len() < LONGEST => self.held.push(byte),
                0x1b => self.begin(),
                _ => self.rest(),
            },
            State::Text => match byte {
                0x07 => self.rest(),
                0x1b => self.state = State::TextEscape,
                _ => {}
            },
            State::TextEscape => match byte {
                b'\\' => self.rest(),
                0x1b => {}
                _ => self.state = State::Text,
            },
        }
    }

    fn begin(&mut self) {
        self.held.clear();
        self.held.push(0x1b);
        self.state = State::Escape;
    }

    fn hold(&mut self, byte: u8, next: State) {
        self.held.push(byte);
        self.state = next;
    }

    fn finish(&mut self, byte: u8, passes: bool, out: &mut Vec<u8>) {
        if passes {
            out.append(&mut self.held);
            out.push(byte);
        }
        self.rest();
    }

    fn rest(&mut self) {
        self.held.clear();
        self.state = State::Ground;
    }
}

/// Whether a control sequence only draws.
fn draws(parameters: &[u8], end: u8) -> bool {
    let plain = parameters.iter().all(|b| b.is_ascii_digit() || matches!(b, b';' | b':'));
    match end {
        // Cursor, erase, insert, delete, scroll, tabs, repeat, attributes, scroll region, save and restore.
        b'@'..=b'M' | b'P' | b'S' | b'T' | b'X' | b'Z' | b'`' | b'a' | b'b' | b'd'..=b'g' | b'm' | b'r' | b's' | b'u' => plain,
        b'h' | b'l' => match parameters.strip_prefix(b"?") {
            Some(modes) => {
                modes.split(|b| *b == b';').all(|mode| matches!(mode, b"1" | b"6" | b"7" | b"25" | b"47" | b"1047" | b"1048" | b"1049"))
            }
            None => parameters == b"4" || parameters == b"20",
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(bytes: &[u8]) -> String {
        let whole = Player::default().play(bytes);
        let mut cut = Player::default();
        let pieces: Vec<u8> = bytes.chunks(1).flat_map(|b| cut.play(b)).collect();
        assert_eq!(whole, pieces, "cutting changes nothing");
        String::from_utf8(whole).unwrap()
    }

    #[test]
    fn what_draws_passes() {
        for text in [
            "ls\r\n",
            "\x1b[1;31mred\x1b[0m",
            "\x1b[38:2::1:2:3mx",
            "\x1b[?1049h\x1b[2J\x1b[H",
            "Äpfel · 🌊 \u{a0}",
            "\x1b(0lqk\x1b(B",
            "\x1b7\x1b8",
        ] {
            assert_eq!(played(text.as_bytes()), text);
        }
    }

    // covers: E9 (player)
    #[test]
    fn what_reaches_beyond_the_screen_is_dropped() {
        for (bytes, left) in [
            ("a\x1b]0;title\x07b", "ab"),
            ("a\x1b]52;c;ZXZpbA==\x1b\\b", "ab"),
            ("a\x1b[6nb\x1b[cc\x1b[>cd", "abcd"),
            ("a\x1bP$q\"p\x1b\\b", "ab"),
            ("a\x1b_Gi=1\x1b\\b\x1b^x\x1b\\c", "abc"),
            ("a\x1b[?1000hb\x1b[?2004h\x1b[?1049;1003h", "ab"),
            ("a\u{9d}0;t\u{9c}b\u{9b}6n", "a0;tb6n"),
            ("a\x07\x05\x0e\x7fb", "ab"),
            ("a\x1bcb\x1b[!pc\x1b[21td", "abcd"),
            ("a\x1b]0;never ends", "a"),
        ] {
            assert_eq!(played(bytes.as_bytes()), left, "{bytes:?}");
        }
    }
}
