//! What the judge answers.

use std::collections::{BTreeMap, BTreeSet};

use access::rights::{QualifiedName, Verb};

use crate::postgres::Copied;

/// Whether what a client sent may go on to the target: all of it, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Every statement in it is within the role.
    Allowed(Vec<Allowed>),
    /// At least one is not, or could not be understood.
    Refused(Refused),
}

impl Verdict {
    /// Why not, if not.
    #[must_use]
    pub fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Refused(refused) => Some(refused),
            Self::Allowed(_) => None,
        }
    }

    /// Whether it may go on.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

/// A statement that is within the role, and what it does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allowed {
    /// What kind of statement, as in `select`, `insert`, `copy`, `begin`.
    pub kind: &'static str,
    /// What it is about: each table, and what is done with which columns.
    pub uses: Vec<Use>,
    /// The places in its output, from 0 on, whose values are masked. The same columns are known by table and attribute number,
    /// see [`crate::Catalog::masked_attributes`]; a relay masks what either names.
    pub masked_outputs: BTreeSet<usize>,
    /// What came of rows: how the relay counts and masks.
    pub outcome: Outcome,
    /// Which of its values are not kept in clear, since they meet a masked column.
    pub hidden: Hidden,
    /// What is run in its place, if it copies rows out under a role that masks anything.
    pub copied: Option<Copied>,
}

/// Which values of a statement meet a masked column, so that no record keeps them in clear.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Hidden {
    /// None does.
    #[default]
    Nothing,
    /// Just these.
    Some {
        /// Parameters by their number: 1 is `$1`.
        parameters: BTreeSet<i32>,
        /// Where constants begin, in bytes of the text.
        constants: BTreeSet<i32>,
    },
    /// Nobody can tell which: all of them.
    Everything,
}

/// What a statement brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outcome {
    /// Rows, or a count.
    #[default]
    Rows,
    /// Rows by `COPY … TO STDOUT`.
    CopyOut,
    /// It takes rows by `COPY … FROM STDIN`.
    CopyIn,
}

/// One table in a statement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// The table or view.
    pub table: QualifiedName,
    /// What is done with it, and with which columns; none named means with the table as such.
    pub verbs: BTreeMap<Verb, BTreeSet<String>>,
}

/// Why a statement does not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {hint}")]
pub struct Refused {
    /// What kind of refusal.
    pub cause: Cause,
    /// What is wrong, as a sentence in lower case without a full stop.
    pub message: String,
    /// What to try.
    pub hint: String,
}

/// What kind of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The role may not.
    NotInRole,
    /// It could not be understood, so nobody can say whether the role may.
    NotUnderstood,
}

impl Cause {
    /// The SQLSTATE a client is told: 42501 insufficient privilege, or 0A000 feature not supported.
    #[must_use]
    pub fn sqlstate(self) -> &'static str {
        match self {
            Self::NotInRole => "42501",
            Self::NotUnderstood => "0A000",
        }
    }

    /// MariaDB's number for it: 1142 command denied, or 1235 not supported.
    #[must_use]
    pub fn mysql_errno(self) -> u16 {
        match self {
            Self::NotInRole => 1142,
            Self::NotUnderstood => 1235,
        }
    }
}

impl Refused {
    /// The role may not.
    pub(crate) fn not_in_role(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { cause: Cause::NotInRole, message: message.into(), hint: hint.into() }
    }

    /// Nobody can say.
    pub(crate) fn not_understood(message: impl Into<String>) -> Self {
        Self {
            cause: Cause::NotUnderstood,
            message: message.into(),
            hint: "under a restricted role only what is understood goes on; write it more plainly".to_owned(),
        }
    }
}

/// Foreign text made fit to be shown: short, and without control characters.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}
