//! The text that a session showed, line by line, out of the bytes of a terminal or a command: for looking it through.
//!
//! Colours, movements of the cursor and titles (ECMA-48 control sequences) are left out; what they overwrote stays. So a line that a
//! program drew in one go is found, and one that a screen was put together from may not be.

/// How long a line may grow before what came first of it is let go.
pub(crate) const LONGEST: usize = 8 * 1024;
/// How much of a line is shown around what was looked for, in characters on each side.
const AROUND: usize = 100;

/// What the bytes are in the middle of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// After ESC and an intermediate byte, as of `ESC ( B`.
    Designation,
    /// A control sequence: ESC [ … letter.
    Control,
    /// A string that a BEL or ST ends: a title, for one.
    String,
    /// The same after ESC, which may begin ST.
    StringEscape,
}

/// Leaves out what prints nothing.
#[derive(Debug, Default)]
pub(crate) struct Printer(State);

/// One stream of one channel, looked through for a text.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    printer: Printer,
    line: Vec<u8>,
    /// Whether the line was found already.
    found: bool,
}

impl Shown {
    /// Takes what was shown next; the lines that are whole now, or very long, and hold the text (in lower case).
    pub(crate) fn take(&mut self, bytes: &[u8], text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for byte in bytes {
            if let Some(byte) = self.printer.printed(*byte) {
                match byte {
                    b'\n' | b'\r' => found.extend(self.ends(text)),
                    8 => {
                        self.line.pop();
                    }
                    _ => self.line.push(byte),
                }
            }
            if self.line.len() >= LONGEST {
                let hit = self.holds(text);
                // What stands across the cut is looked at again with what follows.
                let kept = self.line.len() - (text.len() * 4).min(LONGEST / 2);
                self.line.drain(..kept);
                if !std::mem::replace(&mut self.found, hit.is_some()) {
                    found.extend(hit);
                }
            }
        }
        found
    }

    /// The end of the stream.
    pub(crate) fn ends(&mut self, text: &str) -> Option<String> {
        let hit = if self.found { None } else { self.holds(text) };
        self.line.clear();
        self.found = false;
        hit
    }

    fn holds(&self, text: &str) -> Option<String> {
        let line = String::from_utf8_lossy(&self.line);
        let folded = line.to_lowercase();
        let at = folded.find(text)?;
        // Letters may change their length when they change their case; so this is near enough, and never outside.
        let before = folded.get(..at).map_or(0, |before| before.chars().count());
        let from = before.saturating_sub(AROUND);
        let shown: String = line.chars().filter(|c| !c.is_control()).skip(from).take(2 * AROUND + text.chars().count()).collect();
        Some(shown.trim().to_owned())
    }
}

impl Printer {
    /// What a byte prints: itself, or nothing.
    pub(crate) fn printed(&mut self, byte: u8) -> Option<u8> {
        let (next, printed) = match (self.0, byte) {
            (State::Text, 0x1b) => (State::Escape, None),
            (State::Text, b'\n' | b'\r' | 8 | b'\t' | 0x20..=0x7e | 0x80..) => (State::Text, Some(byte)),
            (State::Text, _) => (State::Text, None),
            (State::Escape, b'[') => (State::Control, None),
            (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => (State::String, None),
            (State::Escape | State::Designation, 0x20..=0x2f) => (State::Designation, None),
            (State::Escape | State::Control, 0x1b) => (State::Escape, None),
            (State::Escape | State::Designation, _) | (State::Control, 0x40..=0x7e) => (State::Text, None),
            // A line that ends in the middle of a sequence was none.
            (State::Control, b'\n' | b'\r') => (State::Text, Some(byte)),
            (State::Control, _) => (State::Control, None),
            (State::String, 7) => (State::Text, None),
            (State::String | State::StringEscape, 0x1b) => (State::StringEscape, None),
            (State::StringEscape, b'\\') => (State::Text, None),
            (State::String | State::StringEscape, _) => (State::String, None),
        };
        self.0 = next;
        printed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(pieces: &[&[u8]], text: &str) -> Vec<String> {
        let mut shown = Shown::default();
        let mut all: Vec<String> = pieces.iter().flat_map(|piece| shown.take(piece, text)).collect();
        all.extend(shown.ends(text));
        all
    }

    #[test]
    fn what_was_shown_is_found_whatever_colours_it_had() {
        let screen: &[u8] = b"\x1b]0;secret title\x07\x1b[2J$ cat \x1b[1;31mInvoi\x1b[0mces\x1b(B.csv\r\nnothing here\r\n";
        assert_eq!(found(&[screen], "invoices.csv"), ["$ cat Invoices.csv"]);
        assert_eq!(found(&[screen], "secret"), Vec::<String>::new(), "a title is no text");
        assert_eq!(found(&[b"rm -rg\x08f /srv"], "rm -rf"), ["rm -rf /srv"]);
        assert_eq!(found(&["ÄRGER in der Küche\n".as_bytes()], "ärger"), ["ÄRGER in der Küche"]);
        let long = [vec![b'x'; 3 * LONGEST], b"needle".to_vec(), vec![b'y'; LONGEST], b"\nneedle\n".to_vec()].concat();
        assert_eq!(found(&[&long], "needle").len(), 2, "a long line once, and the next");
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(screen in prop::collection::vec(any::<u8>(), 0..300), cuts in prop::collection::vec(0usize..300, 0..6)) {
            let mut with = screen.clone();
            with.extend_from_slice(b"\x07\x18\x1b\\\r\nnee\x1b[0mdle\r\n");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(with.len())).collect();
            cuts.sort_unstable();
            let mut pieces: Vec<&[u8]> = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&with[from..cut]);
                from = cut;
            }
            pieces.push(&with[from..]);
            let whole = found(&[&with], "needle");
            prop_assert_eq!(&found(&pieces, "needle"), &whole);
            prop_assert!(whole.last().is_some_and(|line| line == "needle"));
        }
    }
}
