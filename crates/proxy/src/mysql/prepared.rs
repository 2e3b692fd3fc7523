//! Statements that a client has prepared, and the values it runs them with.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use wire::Malformed;
use wire::mysql::command::{Types, binds};
use wire::mysql::row::Value;

use super::by_rights::Places;
use crate::database::statement::{HiddenValues, Recorded, Text, Values, put_text};

/// Prepared statements of one session, at most. Servers have a limit of their own (`max_prepared_stmt_count`).
pub(crate) const MOST: usize = 65_536;

/// A statement that is being prepared.
#[derive(Debug)]
pub(crate) struct Preparing {
    pub(crate) text: Text,
    /// Its text as it is recorded.
    pub(crate) said: Recorded,
    /// Which of its values no record keeps.
    pub(crate) hidden: HiddenValues,
    /// What is masked of its answers.
    pub(crate) masked: Places,
}

/// A prepared statement.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) text: Text,
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
    /// What the columns of its rows are, for rows that are fetched later.
    pub(crate) veils: Option<super::answers::Veils>,
}

impl Prepared {
    pub(crate) fn new(preparing: Preparing, columns: u16, parameters: u16) -> Self {
        let Preparing { text, said, hidden, masked } = preparing;
        Self {
            text,
            said,
            hidden,
            has_rows: columns > 0,
            parameters,
            types: Types::new(),
            parts: HashMap::new(),
            recorded: None,
            masked,
            veils: None,
        }
    }

    /// Whether no record keeps this value, counted from 0 on.
    pub(crate) fn hides(&self, parameter: u16) -> bool {
        self.hidden.covers(usize::from(parameter) + 1)
    }

    /// Whether no record keeps some of what it holds or is run with.
    pub(crate) fn hides_any(&self) -> bool {
        self.hidden != HiddenValues::None
    }

    /// Part of a value went ahead.
    pub(crate) fn part(&mut self, parameter: u16) {
        *self.parts.entry(parameter).or_default() += 1;
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
    pub(crate) all: HashMap<u32, Prepared>,
    /// The one prepared last, which all ones stand for (MariaDB).
    pub(crate) last: Option<u32>,
}

impl Statements {
    /// The number that a client means.
    pub(crate) fn meant(&self, statement: u32) -> u32 {
        if statement == u32::MAX { self.last.unwrap_or(statement) } else { statement }
    }

    pub(crate) fn get(&mut self, statement: u32) -> Option<&mut Prepared> {
        let meant = self.meant(statement);
        self.all.get_mut(&meant)
    }

    pub(crate) fn forget(&mut self) {
        self.all.clear();
        self.last = None;
    }
}

/// The places that are masked in one answer out of several.
pub(crate) fn of_answer(places: &Places, answer: usize) -> BTreeSet<usize> {
    places.get(answer).cloned().unwrap_or_default()
}
