//! A statement as it is recorded: one activity when it goes out, one with its outcome when the server has answered.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

/// A statement's text.
pub(crate) type Text = Arc<[u8]>;

/// A text longer than this is recorded once; runs of the same prepared statement after that point to it.
const REPEATED: usize = 4096;

/// How a statement came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// `Query`, `COM_QUERY`.
    Simple,
    /// `Parse`, `Bind`, `Execute`; `COM_STMT_EXECUTE`.
    Extended,
    /// `FunctionCall`.
    Function,
    /// A message that says in other ways than by a text what is wanted: `COM_INIT_DB`, `COM_RESET_CONNECTION`.
    Command,
}

impl Via {
    fn word(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Extended => "extended",
            Self::Function => "function",
            Self::Command => "command",
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

    /// Says how many values are left out.
    fn hides(&mut self, count: usize) {
        if count > 0 {
            self.number("hidden", count as u64);
        }
    }

    fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// Text as a JSON string; bytes that are no UTF-8 as `{"hex":"…"}`, so that nothing is lost.
pub(crate) fn put_text(out: &mut String, bytes: &[u8]) {
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

/// A text that is recorded in the place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instead {
    /// The text.
    pub text: String,
    /// How many constants were taken out of it.
    pub hidden: usize,
}

/// Values of a statement that no record keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HiddenValues {
    /// All are kept.
    #[default]
    None,
    /// These are not, by their number: 1 is the first.
    These(BTreeSet<usize>),
    /// None is kept.
    All,
}

impl HiddenValues {
    /// Those that a judge hides.
    pub(crate) fn of(hidden: &sql::Hidden) -> Self {
        match hidden {
            sql::Hidden::Nothing => Self::None,
            sql::Hidden::Some { parameters, .. } => {
                Self::These(parameters.iter().filter_map(|number| usize::try_from(*number).ok()).collect())
            }
            sql::Hidden::Everything => Self::All,
        }
    }

    /// Whether this one is hidden, counted from 1 on.
    #[must_use]
    pub fn covers(&self, number: usize) -> bool {
        match self {
            Self::None => false,
            Self::These(numbers) => numbers.contains(&number),
            Self::All => true,
        }
    }
}

/// A text as it is recorded.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) text: Text,
    /// How many constants are hidden in it.
    hidden: usize,
}

impl Recorded {
    /// The text as it was sent, or what stands in its place.
    pub(crate) fn of(sent: &[u8], instead: Option<Instead>) -> Self {
        match instead {
            Some(instead) => Self { text: instead.text.into_bytes().into(), hidden: instead.hidden },
            None => Self { text: sent.into(), hidden: 0 },
        }
    }
}

/// Values as they are recorded.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    /// A JSON list.
    list: Arc<str>,
    /// How many of them are hidden.
    hidden: usize,
}

impl Values {
    /// A JSON list that is written already, in which so many are hidden.
    pub(crate) fn written(list: String, hidden: usize) -> Self {
        Self { list: list.into(), hidden }
    }

    /// How many bytes they take.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }
}

/// Values as a JSON list: text as it is, binary as `{"hex":"…"}`, NULL as `null`.
pub(crate) fn list(values: &[(Option<&[u8]>, bool)]) -> Arc<str> {
    list_without(values, &HiddenValues::None).list
}

/// The same without what is hidden: `{"hidden":true}` stands there.
pub(crate) fn list_without(values: &[(Option<&[u8]>, bool)], hide: &HiddenValues) -> Values {
    let (mut out, mut hidden) = (String::from("["), 0);
    for (n, (value, binary)) in values.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        match value {
            None => out.push_str("null"),
            Some(_) if hide.covers(n + 1) => {
                hidden += 1;
                out.push_str("{\"hidden\":true}");
            }
            Some(value) if *binary => put_hex(&mut out, value),
            Some(value) => put_text(&mut out, value),
        }
    }
    out.push(']');
    Values { list: out.into(), hidden }
}

/// A statement going out. `first` is the number under which its text was recorded before, if it was.
pub(crate) fn going_out(number: u64, via: Via, text: &[u8], values: Option<&str>, first: Option<u64>) -> String {
    going(number, via, text, values, first, 0)
}

/// The same of a statement of which something is hidden: `hidden` says how much.
pub(crate) fn going_out_without(number: u64, via: Via, recorded: &Recorded, values: Option<&Values>, first: Option<u64>) -> String {
    let hidden = recorded.hidden + values.map_or(0, |values| values.hidden);
    going(number, via, &recorded.text, values.map(|values| &*values.list), first, hidden)
}

fn going(number: u64, via: Via, text: &[u8], values: Option<&str>, first: Option<u64>, hidden: usize) -> String {
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
    activity.hides(hidden);
    activity.finish()
}

/// A statement that is prepared under a name going out: it may be run by that name in more ways than by a message.
pub(crate) fn preparing(number: u64, name: &[u8], recorded: &Recorded) -> String {
    let mut activity = Activity::new("sql.statement", number);
    activity.text("via", b"prepare");
    activity.text("name", name);
    activity.text("text", &recorded.text);
    activity.hides(recorded.hidden);
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

/// Part of a value that goes ahead of its statement.
pub(crate) fn part(statement: u32, parameter: u16, data: &[u8]) -> String {
    let mut activity = Activity::new("sql.part", statement.into());
    activity.number("value", parameter.into());
    activity.text("text", data);
    activity.finish()
}

/// The same of a value that no record keeps.
pub(crate) fn part_without(statement: u32, parameter: u16, bytes: usize) -> String {
    let mut activity = Activity::new("sql.part", statement.into());
    activity.number("value", parameter.into());
    activity.number("bytes", bytes as u64);
    activity.hides(1);
    activity.finish()
}

/// A statement that was refused and went nowhere.
pub(crate) fn refused(number: u64, text: &[u8], why: &str) -> String {
    refused_without(number, &Recorded::of(text, None), why)
}

/// The same of a statement of which something is hidden.
pub(crate) fn refused_without(number: u64, recorded: &Recorded, why: &str) -> String {
    let mut activity = Activity::new("sql.refused", number);
    activity.text("text", &recorded.text);
    activity.text("why", why.as_bytes());
    activity.hides(recorded.hidden);
    activity.finish()
}

/// What came of a statement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What the server called it, as in `SELECT 5`.
    pub(crate) tag: Option<Vec<u8>>,
    /// The error's SQLSTATE.
    pub(crate) sqlstate: Option<Vec<u8>>,
    /// The error's number, where a server numbers them.
    pub(crate) errno: Option<u16>,
    /// Rows that were changed, where a server counts them so.
    pub(crate) affected: Option<u64>,
    /// How many warnings there were.
    pub(crate) warnings: u16,
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
    if let Some(errno) = outcome.errno {
        activity.number("errno", errno.into());
    }
    if let Some(affected) = outcome.affected {
        activity.number("affected", affected);
    }
    if outcome.warnings > 0 {
        activity.number("warnings", outcome.warnings.into());
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
        let given = [(Some(&b"a"[..]), false), (None, false), (Some(&[0, 255]), true), (Some(b"kept"), false)];
        let given = list_without(&given, &HiddenValues::These([1, 2, 3].into()));
        let instead = Instead { text: "SELECT '‹hidden›'".into(), hidden: 1 };
        assert_eq!(
            read(going_out_without(7, Via::Extended, &Recorded::of(b"SELECT 'x'", Some(instead.clone())), Some(&given), None)),
            json!({"kind": "sql.statement", "n": 7, "via": "extended", "text": "SELECT '‹hidden›'",
                   "values": [{"hidden": true}, null, {"hidden": true}, "kept"], "hidden": 3})
        );
        assert_eq!(read(refused_without(8, &Recorded::of(b"SELECT 'x'", Some(instead)), "no"))["hidden"], 1);
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
