//! The judge at work: a short text is judged where it is met, a long one on a thread of its own, so that no other session waits for it.

use bytes::Bytes;
use sql::postgres::bounds::SHORT;
use tokio::sync::Semaphore;
use wire::postgres::front::Bind;

use super::judge::{Act, Judge, Verdict};
use super::names::{Name, Naming};

/// How many long texts are read at once, of all sessions together: each may take some ten MiB and a good part of a second.
static LONG: Semaphore = Semaphore::const_new(2);

/// The verdict on a text, and what its statements do with names; `None` if that cannot be said.
type Thought = (Verdict, Option<Vec<Naming>>);

/// A judge, and what it came to about the text at hand.
pub(crate) struct Thinking {
    /// `None` only if it failed while it read a long text.
    judge: Option<Box<dyn Judge>>,
    /// Whether it matters which cursor a statement fetches from.
    counts: bool,
    /// The text that was read last, and what came of it.
    thought: Option<(Bytes, Thought)>,
}

impl Thinking {
    pub(crate) fn new(judge: Box<dyn Judge>, counts: bool) -> Self {
        Self { judge: Some(judge), counts, thought: None }
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
        let Some(mut judge) = self.judge.take() else { return };
        // It is never closed.
        let permit = LONG.acquire().await.ok();
        let counts = self.counts;
        let read = text.clone();
        let reading = tokio::task::spawn_blocking(move || {
            // Held until it is read, also if the session ends meanwhile.
            let _permit = permit;
            let act = match &named {
                Some(name) => Act::Parse { name, text: &text },
                None => Act::Query(&text),
            };
            let thought = (judge.judge(act), namings(&text, counts));
            (judge, thought)
        });
        match reading.await {
            Ok((judge, thought)) => {
                self.judge = Some(judge);
                self.thought = Some((read, thought));
            }
            Err(failed) => {
                tracing::error!(%failed, "the judge of a session failed at a long statement; everything is refused there from now on");
                self.thought = Some((read, (broken(), Some(Vec::new()))));
            }
        }
    }

    fn decide(&mut self, act: Act<'_>) -> Verdict {
        self.judge.as_mut().map_or_else(broken, |judge| judge.judge(act))
    }
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
