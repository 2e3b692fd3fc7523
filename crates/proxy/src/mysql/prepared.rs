//! Statements that a client has prepared, and the values it runs them with.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use wire::Malformed;
use wire::mysql::command::{Types, binds};
use wire::mysql::row::Value;

use super::by_rights::Places;
use crate::database::statement::{HiddenValues, Recorded, Values, put_text};

/// Prepared statements of one session, at most. Servers have a limit of their own (`max_prepared_stmt_count`).
const MOST: usize = 65_536;
/// What their texts as they are recorded may take in bytes, but for the last.
const PRESENT: usize = 64 * 1024 * 1024;

/// A statement that is being prepared.
#[derive(Debug)]
pub(crate) struct Preparing {
    /// Its text as it is recorded.
    pub(crate) said: Recorded,
    /// Which of its values no record keeps.
    pub(crate) hidden: HiddenValues,
    /// What is masked of its answers.
    pub(crate) masked: Places,
    /// The files of the client's that it names.
    pub(crate) files: Vec<Vec<u8>>,
}

/// A prepared statement.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// Its text as it is recorded.
    pub(crate) said: Recorded,
    /// Which of its values no record keeps.
    hidden: HiddenValues,
    /// Whether it brings back rows of its own, as a `CALL` does not.
    pub(crate) has_rows: bool,
    /// How many values it takes.
    pub(crate) parameters: u16,
    /// The types of its values, as announced last.
    types: Types,
    /// How many parts of each value went ahead.
    parts: HashMap<u16, u64>,
    /// The number under which its text was recorded first.
    pub(crate) recorded: Option<u64>,
    /// What is masked of its answers.
    pub(crate) masked: Places,
    /// The files of the client's that it names.
    pub(crate) files: Vec<Vec<u8>>,
    /// What the columns of its rows are, for rows that are fetched later.
    pub(crate) veils: Option<super::answers::Veils>,
    /// How many rows its last run that did not fail has brought back, in however many parts.
    pub(crate) fetched: u64,
}

impl Prepared {
    pub(crate) fn new(preparing: Preparing, columns: u16, parameters: u16) -> Self {
        let Preparing { said, hidden, masked, files } = preparing;
        Self {
            said,
            hidden,
            has_rows: columns > 0,
            parameters,
            types: Types::new(),
            parts: HashMap::new(),
            recorded: None,
            masked,
            files,
            veils: None,
            fetched: 0,
        }
    }

    /// What its text takes in memory, in bytes.
    fn bytes(&self) -> usize {
        self.said.text.len()
    }

    /// Whether no record keeps this value, counted from 0 on.
    pub(crate) fn hides(&self, parameter: u16) -> bool {
        self.hidden.covers(usize::from(parameter) + 1)
    }

    /// Whether no record keeps some of what it holds or is run with.
    pub(crate) fn hides_any(&self) -> bool {
        self.hidden != HiddenValues::None
    }

    /// Part of a value went ahead. Of one that it does not take nothing is kept: the server fails every run after it.
    pub(crate) fn part(&mut self, parameter: u16) {
        if parameter < self.parameters {
            *self.parts.entry(parameter).or_default() += 1;
        }
    }

    /// What went ahead is forgotten.
    pub(crate) fn reset(&mut self) {
        self.parts.clear();
    }

    /// The values of a run, as a JSON list; those that went ahead as `{"parts":2}`, those that no record keeps as `{"hidden":true}`.
    pub(crate) fn values(&mut self, message: &[u8]) -> Result<Values, Malformed> {
        let parts = std::mem::take(&mut self.parts);
        let values = binds(message, usize::from(self.parameters), |at| parts.contains_key(&(at as u16)), &mut self.types)?;
        let (mut out, mut hidden) = (String::from("["), 0);
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            match value {
                Value::Null => out.push_str("null"),
                _ if self.hidden.covers(at + 1) => {
                    hidden += 1;
                    out.push_str("{\"hidden\":true}");
                }
                Value::Long => {
                    let _ = write!(out, "{{\"parts\":{}}}", parts.get(&(at as u16)).copied().unwrap_or_default());
                }
                Value::Bytes(bytes) => put_text(&mut out, bytes),
                other => put_text(&mut out, other.to_string().as_bytes()),
            }
        }
        out.push(']');
        Ok(Values::written(out, hidden))
    }
}

/// The prepared statements by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Statements {
    all: HashMap<u32, Prepared>,
    /// The one prepared last, which all ones stand for (MariaDB).
    last: Option<u32>,
    /// What their texts take, in bytes.
    bytes: usize,
}

impl Statements {
    /// Whether one more may be prepared.
    pub(crate) fn have_room(&self) -> bool {
        self.all.len() < MOST && self.bytes < PRESENT
    }

    /// A statement has this number now.
    pub(crate) fn insert(&mut self, statement: u32, prepared: Prepared) {
        self.bytes += prepared.bytes();
        let before = self.all.insert(statement, prepared);
        self.bytes -= before.map_or(0, |before| before.bytes());
        self.last = Some(statement);
    }

    /// It is closed.
    pub(crate) fn remove(&mut self, statement: u32) {
        let meant = self.meant(statement);
        self.bytes -= self.all.remove(&meant).map_or(0, |before| before.bytes());
    }

    /// The number that a client means.
    pub(crate) fn meant(&self, statement: u32) -> u32 {
        if statement == u32::MAX { self.last.unwrap_or(statement) } else { statement }
    }

    pub(crate) fn get(&mut self, statement: u32) -> Option<&mut Prepared> {
        let meant = self.meant(statement);
        self.all.get_mut(&meant)
    }

    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// The places that are masked in one answer out of several.
pub(crate) fn of_answer(places: &Places, answer: usize) -> BTreeSet<usize> {
    places.get(answer).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(bytes: usize) -> Prepared {
        let said = Recorded::of(&vec![b'x'; bytes], None);
        Prepared::new(Preparing { said, hidden: HiddenValues::None, masked: Places::new(), files: Vec::new() }, 0, 0)
    }

    // covers: E7 (mysql)
    #[test]
    fn parts_of_values_that_a_statement_does_not_take_are_not_kept() {
        let mut two = Prepared { parameters: 2, ..prepared(1) };
        (0..=u16::MAX).chain([1]).for_each(|parameter| two.part(parameter));
        assert_eq!((two.parts.len(), two.parts[&1]), (2, 2));
    }

    // covers: E7 (mysql)
    #[test]
    fn texts_that_are_kept_are_weighed() {
        let mut statements = Statements::default();
        statements.insert(1, prepared(10));
        statements.insert(2, prepared(12));
        assert_eq!(statements.bytes, 22);
        statements.insert(1, prepared(5));
        statements.remove(u32::MAX);
        assert_eq!((statements.bytes, statements.all.len()), (12, 1));
        statements.insert(3, prepared(PRESENT - 13));
        assert!(statements.have_room());
        statements.insert(4, prepared(1));
        assert!(!statements.have_room());
        statements.remove(2);
        assert!(statements.have_room());
        statements.forget();
        assert_eq!((statements.bytes, statements.all.len(), statements.last), (0, 0, None));
    }
}
