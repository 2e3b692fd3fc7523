//! Where statements are judged before a byte of them is sent. Who judges is handed to the door; here are only the questions and answers.

use access::reason::{Reason, Refusal};
use access::rights::DatabaseRights;
use access::session::SessionFacts;
use wire::postgres::front::Bind;

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

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It may be done.
    Allow,
    /// It may not, and why.
    Refuse(Refusal),
}

/// Judges the statements of one session, in their order.
pub trait Judge: Send {
    /// Whether this may be done.
    fn judge(&mut self, act: Act<'_>) -> Verdict;
}

/// Makes the judge of a session, or refuses the session.
pub type MakeJudge = fn(&SessionFacts, &DatabaseRights) -> Result<Box<dyn Judge>, Refusal>;

/// Lets everything pass.
#[derive(Debug)]
struct NoJudge;

impl Judge for NoJudge {
    fn judge(&mut self, _: Act<'_>) -> Verdict {
        Verdict::Allow
    }
}

/// Opens for roles that may do anything their account may, and for no other.
///
/// # Errors
/// If the role is restricted: what it may do cannot be told apart from what it may not.
pub fn unrestricted_only(_: &SessionFacts, rights: &DatabaseRights) -> Result<Box<dyn Judge>, Refusal> {
    if rights.unrestricted {
        Ok(Box::new(NoJudge))
    } else {
        Err(Refusal::because(Reason::NotInRole, "the role is restricted, and this gate cannot judge statements yet"))
    }
}
