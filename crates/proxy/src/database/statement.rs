//! A statement as it is recorded: one activity when it goes out, one with its outcome when the server has answered.

use std::fmt::Write as _;
use std::sync::Arc;

/// A statement's text.
pub(crate) type Text = Arc<[u8]>;

/// A text longer than this is recorded once; runs of the same prepared statement after that point to it.
const REPEATED: usize = 4096;

/// How a statement came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// `Query`.
    Simple,
    /// `Parse`, `Bind`, `Execute`.
    Extended,
    /// `FunctionCall`.
    Function,
}

impl Via {
    fn word(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Extended => "extended",
            Self::Function => "function",
        }
    }
}

/// A JSON object being written.
pub(crate) struct Activity(String);

impl Activity {
    fn new(kind: &str, number: u64) -> Self {
        Self(format!("{{\"kind\":\"{kind}\",\"n\":{number}"))
    }

    fn key(&mut self, key: &str) -> &mut String {
        let _ = write!(self.0, ",\"{key}\":");
        &mut self.0
    }

    fn number(&mut self, key: &str, value: u64) {
        let _ = write!(self.key(key), "{value}");
    }

    fn text(&mut self, key: &str, text: &[u8]) {
        put_text(self.key(key), text);
    }

    fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// Text as a JSON string; bytes that are no UTF-8 as `{"hex":"…"}`, so that nothing is lost.
fn put_text(out: &mut String, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => put_string(out, text),
        Err(_) => put_hex(out, bytes),
    }
}

fn put_hex(out: &mut String, bytes: &[u8]) {
    out.push_str("{\"hex\":\"");
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out.push_str("\"}");
}

fn put_string(out: &mut String, text: &str) {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escaped = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=31 | 127 => "",
            _ => continue,
        };
        out.push_str(&text[from..at]);
        if escaped.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escaped);
        }
        from = at + 1;
    }
    out.push_str(&text[from..]);
    out.push('"');
}

/// Values as a JSON list: text as it is, binary as `{"hex":"…"}`, NULL as `null`.
pub(crate) fn list(values: &[(Option<&[u8]>, bool)]) -> Arc<str> {
    let mut out = String::from("[");
    for (n, (value, binary)) in values.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        match value {
            None => out.push_str("null"),
            Some(value) if *binary => put_hex(&mut out, value),
            Some(value) => put_text(&mut out, value),
        }
    }
    out.push(']');
    out.into()
}

/// A statement going out. `first` is the number under which its text was recorded before, if it was.
pub(crate) fn going_out(number: u64, via: Via, text: &[u8], values: Option<&str>, first: Option<u64>) -> String {
    let mut activity = Activity::new("sql.statement", number);
    activity.text("via", via.word().as_bytes());
    match first {
        Some(first) if text.len() > REPEATED => activity.number("text_of", first),
        _ => activity.text("text", text),
    }
    if let Some(values) = values
        && values != "[]"
    {
        activity.key("values").push_str(values);
    }
    activity.finish()
}

/// A function call going out.
pub(crate) fn calling(number: u64, oid: u32, values: &str) -> String {
    let mut activity = Activity::new("sql.statement", number);
    activity.text("via", Via::Function.word().as_bytes());
    activity.number("function", u64::from(oid));
    activity.key("values").push_str(values);
    activity.finish()
}

/// A statement that was refused and went nowhere.
pub(crate) fn refused(number: u64, text: &[u8], why: &str) -> String {
    let mut activity = Activity::new("sql.refused", number);
    activity.text("text", text);
    activity.text("why", why.as_bytes());
    activity.finish()
}

/// What came of a statement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What the server called it, as in `SELECT 5`.
    pub(crate) tag: Option<Vec<u8>>,
    /// The error's SQLSTATE.
    pub(crate) sqlstate: Option<Vec<u8>>,
    /// Rows that came back.
    pub(crate) rows: u64,
    /// Bytes of rows and of copied data that came back.
    pub(crate) bytes: u64,
    /// Bytes of copied data that went there.
    pub(crate) copied_in: u64,
    /// How long it took, in microseconds.
    pub(crate) micros: u64,
    /// `copy_in`, `copy_out`, `copy_both`.
    pub(crate) copy: Option<&'static str>,
    /// Whether more rows are left in its portal.
    pub(crate) suspended: bool,
}

/// The activity that says what came of a statement.
pub(crate) fn came_of(number: u64, outcome: &Outcome) -> String {
    let mut activity = Activity::new("sql.outcome", number);
    if let Some(tag) = &outcome.tag {
        activity.text("tag", tag);
    }
    if let Some(sqlstate) = &outcome.sqlstate {
        activity.text("sqlstate", sqlstate);
    }
    activity.number("rows", outcome.rows);
    activity.number("bytes", outcome.bytes);
    activity.number("micros", outcome.micros);
    if let Some(copy) = outcome.copy {
        activity.text("copy", copy.as_bytes());
        activity.number("copied_in", outcome.copied_in);
    }
    if outcome.suspended {
        activity.key("suspended").push_str("true");
    }
    activity.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn a_statement_reads_as_json() {
        let read = |text: String| serde_json::from_str::<Value>(&text).unwrap();
        let values = list(&[(Some(b"a\"b"), false), (None, false), (Some(&[0, 255]), true), (Some(&[0xe9]), false)]);
        assert_eq!(
            read(going_out(3, Via::Extended, b"SELECT $1\n", Some(&values), None)),
            json!({"kind": "sql.statement", "n": 3, "via": "extended", "text": "SELECT $1\n",
                   "values": ["a\"b", null, {"hex": "00ff"}, {"hex": "e9"}]})
        );
        let long = vec![b'x'; REPEATED + 1];
        assert_eq!(read(going_out(4, Via::Extended, &long, None, Some(3)))["text_of"], 3);
        assert_eq!(read(going_out(4, Via::Extended, &long, None, None))["text"].as_str().unwrap().len(), REPEATED + 1);
        let outcome = Outcome { tag: Some(b"SELECT 5".to_vec()), rows: 5, bytes: 99, micros: 12, ..Outcome::default() };
        assert_eq!(
            read(came_of(3, &outcome)),
            json!({"kind": "sql.outcome", "n": 3, "tag": "SELECT 5", "rows": 5, "bytes": 99, "micros": 12})
        );
        assert_eq!(read(refused(5, b"DROP TABLE x", "no"))["kind"], "sql.refused");
        assert_eq!(read(calling(6, 957, "[]"))["function"], 957);
    }

    proptest! {
        // covers: F2 (psql)
        #[test]
        fn no_text_is_lost_or_breaks_the_json(text in "\\PC*|[\\x00-\\x20\"\\\\]{0,40}") {
            let read: Value = serde_json::from_str(&going_out(1, Via::Simple, text.as_bytes(), None, None)).unwrap();
            prop_assert_eq!(read["text"].as_str(), Some(text.as_str()));
        }
    }
}
