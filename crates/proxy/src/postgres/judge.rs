//! Where statements are judged before a byte of them is sent. Who judges is handed to the door; here are only the questions and answers.

use std::collections::BTreeSet;

use access::reason::Refusal;
use access::rights::DatabaseRights;
use access::session::SessionFacts;
use sql::postgres::Copied;
use wire::postgres::front::Bind;

use super::veil::Withheld;
pub use crate::database::statement::{HiddenValues, Instead};

/// Something that a client wants done.
#[derive(Debug, Clone, Copy)]
pub enum Act<'a> {
    /// A `Query`: one statement or several, to be judged whole.
    Query(&'a [u8]),
    /// A `Parse`: a statement under a name, with `$1` where values go.
    Parse {
        /// The statement's name.
        name: &'a [u8],
        /// Its text.
        text: &'a [u8],
    },
    /// A `Bind` of a statement that was parsed before.
    Bind {
        /// The statement's text; `None` if it was not parsed in this session by a message (but by `PREPARE`, or not at all).
        text: Option<&'a [u8]>,
        /// The values.
        bind: &'a Bind<'a>,
    },
    /// A `FunctionCall`, by the function's OID.
    FunctionCall(u32),
}

/// For each statement of a text the places in its output, from 0 on, whose values are masked; those left out have none.
pub type Places = Vec<BTreeSet<usize>>;

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It may be done.
    Allow(Allowed),
    /// It may not.
    Refuse(Refused),
}

/// Something that may be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allowed {
    /// The places of its output that are masked, besides what [`Withheld`] names.
    pub masked: Places,
    /// What is recorded in the place of its text; `None`: the text.
    pub instead: Option<Instead>,
    /// Which of its values no record keeps.
    pub hidden: HiddenValues,
    /// What is run in its place, if it copies rows out under a role that masks anything.
    pub copied: Option<Copied>,
}

/// Something that may not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why, for the client.
    pub why: Refusal,
    /// The SQLSTATE it is told with: 42501, or 0A000 for what nobody here understands.
    pub sqlstate: &'static str,
    /// What is recorded in the place of its text and of the reason; `None`: these.
    pub instead: Option<(Instead, Refusal)>,
}

impl From<Refusal> for Refused {
    fn from(why: Refusal) -> Self {
        Self { sqlstate: why.reason.sqlstate(), why, instead: None }
    }
}

/// Judges the statements of one session, in their order.
pub trait Judge: Send {
    /// Whether this may be done.
    fn judge(&mut self, act: Act<'_>) -> Verdict;

    /// Whether it reads what it judges, so that a long text takes time.
    fn reads(&self) -> bool {
        true
    }

    /// What the client does not get of the answers; asked once, when the session begins.
    fn withheld(&self) -> Withheld {
        Withheld::default()
    }
}

/// A row as text; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// What makes a judge out of rows, or refuses the session.
pub type FromRows = Box<dyn FnOnce(&[Row]) -> Result<Box<dyn Judge>, Refusal> + Send>;

/// How a session comes to its judge.
pub enum Judging {
    /// It is here already.
    Now(Box<dyn Judge>),
    /// It has to know the target: `query` is run there as the session's first statement, on the session's own account.
    AfterReading {
        /// One statement that gives rows.
        query: String,
        /// Makes the judge of them.
        then: FromRows,
    },
}

impl std::fmt::Debug for Judging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Now(_) => "Now",
            Self::AfterReading { .. } => "AfterReading",
        })
    }
}

/// Says how a session is judged.
pub type MakeJudge = fn(&SessionFacts, &DatabaseRights) -> Judging;
