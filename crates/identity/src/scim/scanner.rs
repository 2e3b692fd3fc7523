//! Reads filters and paths letter by letter, never past what was sent.

use super::error::quoted;

/// The longest filter or path that is read, in bytes.
pub(super) const LONGEST: usize = 4096;
/// How deep brackets may nest.
pub(super) const DEEPEST: usize = 24;

/// Where reading stands.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scanner<'t> {
    /// At the beginning.
    pub(super) fn new(text: &'t str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("it is longer than {LONGEST} bytes"));
        }
        Ok(Self { text, at: 0 })
    }

    pub(super) fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn is_done(&self) -> bool {
        self.rest().is_empty()
    }

    /// Steps over blanks; whether there were any.
    pub(super) fn blanks(&mut self) -> bool {
        let rest = self.rest();
        let left = rest.trim_start_matches(' ');
        self.at += rest.len() - left.len();
        left.len() < rest.len()
    }

    /// Steps over this letter, if it is next.
    pub(super) fn take(&mut self, letter: char) -> bool {
        let is_next = self.rest().starts_with(letter);
        if is_next {
            self.at += letter.len_utf8();
        }
        is_next
    }

    /// All letters up to the first that is not one of a path's or an operator's.
    pub(super) fn word(&mut self) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '$' | ':' | '.'))).unwrap_or(rest.len());
        let (word, _) = rest.split_at(end);
        self.at += end;
        word
    }

    /// The word that is next, without stepping over it.
    pub(super) fn peek(&self) -> &'t str {
        self.clone().word()
    }

    /// A JSON value that is no list and no object.
    pub(super) fn scalar(&mut self) -> Result<serde_json::Value, String> {
        let rest = self.rest();
        let end = if rest.starts_with('"') {
            let mut escaped = false;
            let close = rest.char_indices().skip(1).find(|(_, c)| match (escaped, *c) {
                (false, '"') => true,
                (false, '\\') => {
                    escaped = true;
                    false
                }
                _ => {
                    escaped = false;
                    false
                }
            });
            close.map(|(at, _)| at + 1).ok_or("a text in quotes has no end")?
        } else {
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.'))).unwrap_or(rest.len())
        };
        let (value, _) = rest.split_at(end);
        let read = serde_json::from_str(value)
            .map_err(|_| format!("`{}` is no value; it is a text in double quotes, a number, true, false or null", quoted(value)))?;
        self.at += end;
        Ok(read)
    }

    /// What stands here is not what should.
    pub(super) fn wants(&self, what: &str) -> String {
        if self.is_done() { format!("{what} is missing at its end") } else { format!("{what} is missing before `{}`", quoted(self.rest())) }
    }
}
