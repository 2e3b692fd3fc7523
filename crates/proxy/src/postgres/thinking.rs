//! The judge at work: a short text is judged where it is met, a long one on a thread of its own, so that no other session waits for it.

use access::ids::PrincipalId;
use bytes::Bytes;
use sql::postgres::bounds::SHORT;
use wire::postgres::front::Bind;

use super::judge::{Act, Judge, Verdict};
use super::names::{Name, Naming};
use crate::database::thinking::aside;

/// The verdict on a text, and what its statements do with names; `None` if that cannot be said.
type Thought = (Verdict, Option<Vec<Naming>>);

/// A judge, and what it came to about the text at hand.
pub(crate) struct Thinking {
    /// `None` only if it failed while it read a long text.
    judge: Option<Box<dyn Judge>>,
    /// Whose statements they are.
    person: PrincipalId,
    /// Whether it matters which cursor a statement fetches from.
    counts: bool,
    /// The text that was read last, and what came of it.
    thought: Option<(Bytes, Thought)>,
}

impl Thinking {
    pub(crate) fn new(judge: Box<dyn Judge>, person: PrincipalId, counts: bool) -> Self {
        Self { judge: Some(judge), person, counts, thought: None }
    }

    /// Judges a text, and says what it does with names; `None` if it is long: then [`Thinking::think`] comes first.
    pub(crate) fn judge(&mut self, act: Act<'_>) -> Option<Thought> {
        let (Act::Query(text) | Act::Parse { text, .. }) = act else { return Some((self.decide(act), Some(Vec::new()))) };
        if let Some((read, thought)) = self.thought.take()
            && read == text
        {
            return Some(thought);
        }
        (text.len() <= SHORT).then(|| (self.decide(act), namings(text, self.counts)))
    }

    /// Judges a `Bind`.
    pub(crate) fn bind(&mut self, text: Option<&[u8]>, bind: &Bind<'_>) -> Verdict {
        self.decide(Act::Bind { text, bind })
    }

    /// Judges a `FunctionCall`.
    pub(crate) fn function_call(&mut self, oid: u32) -> Verdict {
        self.decide(Act::FunctionCall(oid))
    }

    /// Reads a long text: a `Parse` of this name, or a `Query`. Its verdict is what [`Thinking::judge`] answers next.
    pub(crate) async fn think(&mut self, text: Bytes, named: Option<Name>) {
        let counts = self.counts;
        if !self.judge.as_ref().is_some_and(|judge| judge.reads()) {
            // Nothing of it has to be understood but names, and a look for these takes nobody's place.
            let looked_at = text.clone();
            let names = tokio::task::spawn_blocking(move || sql::postgres::may_name(&looked_at, counts)).await;
            if matches!(names, Ok(false)) {
                let verdict = self.decide(act(&text, named.as_ref()));
                self.thought = Some((text, (verdict, Some(Vec::new()))));
                return;
            }
        }
        let read = text.clone();
        let Some(mut judge) = self.judge.take() else {
            self.thought = Some((read, (broken(), Some(Vec::new()))));
            return;
        };
        let thinking = aside(self.person, move || {
            let thought = (judge.judge(act(&text, named.as_ref())), namings(&text, counts));
            (judge, thought)
        });
        let thought = match thinking.await {
            Some((judge, thought)) => {
                self.judge = Some(judge);
                thought
            }
            // Everything is refused from now on.
            None => (broken(), Some(Vec::new())),
        };
        self.thought = Some((read, thought));
    }

    fn decide(&mut self, act: Act<'_>) -> Verdict {
        self.judge.as_mut().map_or_else(broken, |judge| judge.judge(act))
    }
}

fn act<'t>(text: &'t [u8], named: Option<&'t Name>) -> Act<'t> {
    named.map_or(Act::Query(text), |name| Act::Parse { name, text })
}

fn broken() -> Verdict {
    use access::reason::{Reason, Refusal};
    Verdict::Refuse(Refusal::because(Reason::Internal, "the statement could not be judged; open another session").into())
}

fn namings(text: &[u8], counts: bool) -> Option<Vec<Naming>> {
    let as_kept = |naming| match naming {
        sql::postgres::Naming::None => Naming::None,
        sql::postgres::Naming::Opens(name) => Naming::Opens(name.into_bytes().into()),
        sql::postgres::Naming::Fetches(name) => Naming::Fetches(name.into_bytes().into()),
        sql::postgres::Naming::Prepares(name) => Naming::Prepares(name.into_bytes().into()),
    };
    Some(sql::postgres::namings(text, counts)?.into_iter().map(as_kept).collect())
}
