//! A statement that the server was asked to run, and what came of it so far.

use std::sync::Arc;
use std::time::Instant;

use sql::postgres::Form;

use super::judge::Places;
use super::names::Naming;
use super::statement::{self, Outcome};

/// A statement that runs, or waits to.
#[derive(Debug)]
pub(crate) struct Running {
    pub(super) number: u64,
    pub(super) since: Instant,
    pub(super) outcome: Outcome,
    pub(super) settled: bool,
    /// What is masked in the answers of its statements, and how many have been answered.
    pub(super) masked: Places,
    pub(super) answered: usize,
    /// What its statements do with names.
    pub(super) namings: Vec<Naming>,
    /// Whether it takes away what is prepared under no name, and has not been seen to.
    pub(super) drops_unnamed: bool,
    /// How its rows are written, if it is a copy that runs as a query.
    pub(super) form: Option<Arc<Form>>,
    /// Whether that query is the gate's own to the last word.
    pub(super) of_table: bool,
}

impl Running {
    pub(crate) fn new(number: u64, since: Instant) -> Self {
        Self::masking(number, since, Places::new())
    }

    pub(crate) fn masking(number: u64, since: Instant, masked: Places) -> Self {
        let (outcome, namings) = (Outcome::default(), Vec::new());
        Self { number, since, outcome, settled: false, masked, answered: 0, namings, drops_unnamed: false, form: None, of_table: false }
    }

    /// The same, doing this with names, statement by statement.
    pub(crate) fn naming(self, namings: Vec<Naming>) -> Self {
        Self { namings, ..self }
    }

    /// The same, as a copy, be it of a table, whose rows are written like this.
    pub(crate) fn copying(self, form: Form, of_table: bool) -> Self {
        Self { form: Some(Arc::new(form)), of_table, ..self }
    }

    /// What the statement that runs now does with a name.
    pub(super) fn names(&self) -> &Naming {
        self.namings.get(self.answered).unwrap_or(&Naming::None)
    }

    pub(super) fn copied_in(&self) -> bool {
        matches!(self.outcome.copy, Some("copy_in" | "copy_both"))
    }

    /// The activity that says what came of it; what follows under the same number counts anew.
    pub(super) fn settle(&mut self, now: Instant) -> String {
        self.settled = true;
        self.answered += 1;
        let mut outcome = std::mem::take(&mut self.outcome);
        outcome.micros = u64::try_from(now.saturating_duration_since(self.since).as_micros()).unwrap_or(u64::MAX);
        statement::came_of(self.number, &outcome)
    }
}
