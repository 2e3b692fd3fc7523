//! Finding sessions again: by whose, where, as what, when and how they ended, and by what was done in them.
//!
//! *Takes* a question and the proof of who asks. *Proves* for each session that they may see it, and before its recording is looked
//! into that they may read that. *Hands to* them what was found, and to the log what was looked for.
//!
//! Where the index says that a session does not hold the text it is passed over; whatever it names is read all the same, so that the answers are those of
//! reading everything.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::sync::Arc;

use access::event::Event;
use access::ids::SessionId;
use access::reason::{Reason, Refusal};
use access::session::SessionRow;
use evidence::recording::RecordingReader;
use policy::{Act, Object};
pub use search::Passage;
use search::{ActivityIndex, IndexError, Needle};
use store::{Change, Page, SessionFilter};

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::watch::end_of;

/// The longest text that is looked for, in characters.
const LONGEST_TEXT: usize = 200;
/// How many rows are looked at for one part of the answer.
const ROWS: usize = 5_000;
/// How many recordings are looked into for one part of the answer.
const RECORDINGS: usize = 200;
/// Rows that are fetched at once where each is looked at.
const AT_ONCE: u32 = 200;

/// A session that was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Which.
    pub session: SessionRow,
    /// Where the text stands; the first few.
    pub passages: Vec<Passage>,
    /// Whether its recording could be looked through to its end. Without a text none is looked into.
    pub whole: bool,
}

/// A part of an answer.
#[derive(Debug, Clone, Default)]
pub struct Searched {
    /// What was found, newest first.
    pub found: Vec<Found>,
    /// The last session that was looked at, if there are more behind it.
    pub last: Option<SessionId>,
}

impl Gate {
    /// Looks for sessions that the caller may see. With a text: those in whose recordings something was done that names it, or a line
    /// shown that holds it, as far as they may read them; a recording that they may not read is passed over as if it did not exist.
    ///
    /// # Errors
    /// If the text is none, or the store can't be read.
    pub async fn search_sessions(
        &self,
        caller: &Caller,
        filter: &SessionFilter,
        text: Option<&str>,
        page: &Page,
    ) -> Result<Searched, Refusal> {
        let text = text.map(needle).transpose()?;
        let mut rows = Rows::new(self, filter, page.after.clone());
        if let Some(text) = &text {
            rows.narrowed = self.narrowed(text).await?;
        }
        let by_index = rows.narrowed.is_some();
        let mut out = Searched::default();
        let mut looked_into = 0;
        loop {
            let before = rows.last;
            let row = match rows.next().await? {
                Next::Row(_) if out.found.len() >= page.limit as usize || looked_into >= RECORDINGS => {
                    rows.last = before;
                    break;
                }
                Next::Row(row) => row,
                Next::Later => break,
                Next::Over => {
                    rows.last = None;
                    break;
                }
            };
            let Some(row) = seen(self.visible_session(caller, Some(*row)).await)? else { continue };
            let Some(text) = &text else {
                out.found.push(Found { session: row, passages: Vec::new(), whole: true });
                continue;
            };
            let recording = Object::Recording(self.about_session(&row).await?);
            if seen(self.allowed(caller, Act::Read, &recording).await)?.is_none() {
                continue;
            }
            looked_into += 1;
            let (passages, whole) = self.look_into(&row, text.clone()).await;
            if !passages.is_empty() || !whole {
                out.found.push(Found { session: row, passages, whole });
            }
        }
        out.last = rows.last;
        // What the index was asked was asked of every recording.
        if let Some(text) = text
            && (looked_into > 0 || by_index)
        {
            let found = out.found.iter().filter(|found| !found.passages.is_empty()).map(|found| found.session.id).collect();
            let event = Event::RecordingsSearched { looked_into: looked_into as u64, found };
            self.commit(Change::new(self.draft(caller, event).text("text", Some(text)))).await.map_err(refused)?;
        }
        Ok(out)
    }

    /// What the index knows of a text; `None`: every recording has to be read for it.
    async fn narrowed(&self, text: &str) -> Result<Option<Narrowed>, Refusal> {
        let Some(index) = self.index() else { return Ok(None) };
        let Some(needle) = index.needle(text) else { return Ok(None) };
        // INVARIANT: asked before the log is, so that a session is known to the index or stands among those that were opened since.
        let next = index.next();
        let Some(opened) = self.opened_since(next).await? else { return Ok(None) };
        Ok(Some(Narrowed { index, needle, opened, named: VecDeque::new(), asked: false, floor: None }))
    }

    /// What names the text in one recording, and whether all of it could be looked through.
    async fn look_into(&self, row: &SessionRow, text: String) -> (Vec<Passage>, bool) {
        let Ok(keys) = self.released_keys(row.recording, false) else { return (Vec::new(), false) };
        let (path, end) = (self.recording_path(row.recording), end_of(row));
        let looked = tokio::task::spawn_blocking(move || {
            let reader = RecordingReader::with_keys(File::open(path).ok()?, keys).ok()?;
            Some(search::passages(reader.ending_at(end), &text))
        });
        looked.await.ok().flatten().unwrap_or((Vec::new(), false))
    }
}

/// What comes next.
enum Next {
    /// A session that is to be looked at.
    Row(Box<SessionRow>),
    /// Enough was looked at for one part of the answer.
    Later,
    /// There is no more.
    Over,
}

/// The sessions that a filter lets through, newest first; of those that the index tells apart only the ones worth reading.
struct Rows<'g> {
    gate: &'g Gate,
    filter: &'g SessionFilter,
    after: Option<String>,
    /// The last session that was looked at.
    last: Option<SessionId>,
    ready: VecDeque<SessionRow>,
    /// Whether the last page was the last.
    over: bool,
    steps: usize,
    narrowed: Option<Narrowed>,
}

impl<'g> Rows<'g> {
    fn new(gate: &'g Gate, filter: &'g SessionFilter, after: Option<String>) -> Self {
        Self { gate, filter, after, last: None, ready: VecDeque::new(), over: false, steps: 0, narrowed: None }
    }

    async fn next(&mut self) -> Result<Next, Refusal> {
        loop {
            if self.steps >= ROWS {
                return Ok(Next::Later);
            }
            self.steps += 1;
            let Some(row) = self.row().await? else { return Ok(Next::Over) };
            self.last = Some(row.id);
            let Some(narrowed) = &mut self.narrowed else { return Ok(Next::Row(Box::new(row))) };
            match narrowed.newest(row.id).await {
                Ok(Some(worth)) if worth == row.id => return Ok(Next::Row(Box::new(row))),
                // Everything between the two is passed over; one id is no part of another.
                Ok(Some(worth)) => self.after = Some(format!("{worth}~")),
                Ok(None) => return Ok(Next::Over),
                Err(error) => {
                    let refusal = self.gate.index_failed(error);
                    tracing::warn!(%refusal, "a search goes on without the index");
                    self.narrowed = None;
                    return Ok(Next::Row(Box::new(row)));
                }
            }
        }
    }

    /// The next row behind the last one, or behind where was skipped to.
    async fn row(&mut self) -> Result<Option<SessionRow>, Refusal> {
        if self.ready.is_empty() && !self.over {
            // With an index the next one worth looking at may be far away.
            let limit = if self.narrowed.is_some() { 1 } else { AT_ONCE };
            let page = Page { limit, after: self.after.clone() };
            self.ready = self.gate.store.sessions(self.filter, &page).await.map_err(unavailable)?.into();
            self.over = self.ready.len() < limit as usize;
        }
        let row = self.ready.pop_front();
        if let Some(row) = &row {
            self.after = Some(row.id.to_string());
        }
        Ok(row)
    }
}

/// The index, asked for one text.
struct Narrowed {
    index: Arc<ActivityIndex>,
    needle: Needle,
    /// Sessions that it may not know yet.
    opened: BTreeSet<SessionId>,
    /// Sessions worth looking into, newest first: all there are down to `floor`, or all.
    named: VecDeque<SessionId>,
    asked: bool,
    floor: Option<SessionId>,
}

impl Narrowed {
    /// The newest session worth looking into that is this one or older. It is asked for older ones each time.
    async fn newest(&mut self, from: SessionId) -> Result<Option<SessionId>, IndexError> {
        let broken = || IndexError::Broken("it names what is no session".into());
        while self.named.front().is_some_and(|named| *named > from) {
            self.named.pop_front();
        }
        if !self.asked || (self.named.is_empty() && self.floor.is_some()) {
            let found = self.index.candidates(&self.needle, &from.to_string()).await?;
            let parsed: Result<_, _> = found.sessions.iter().map(|session| session.parse()).collect();
            self.named = parsed.map_err(|_| broken())?;
            self.floor = found.floor.map(|floor| floor.parse()).transpose().map_err(|_| broken())?;
            self.asked = true;
        }
        let opened = self.opened.range(..=from).next_back().copied();
        Ok(self.named.front().copied().max(opened))
    }
}

fn needle(text: &str) -> Result<String, Refusal> {
    let text = text.trim().to_lowercase();
    if text.is_empty() || text.chars().count() > LONGEST_TEXT {
        return Err(Refusal::because(Reason::Invalid, format!("`text` has to be 1 to {LONGEST_TEXT} characters")));
    }
    Ok(text)
}

/// What one may see; that one may not is no trouble, that nobody can tell is.
fn seen<T>(answer: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
    match answer {
        Ok(seen) => Ok(Some(seen)),
        Err(refusal) if matches!(refusal.reason, Reason::NotFound | Reason::NotAllowed | Reason::Forbidden) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_a_length() {
        assert_eq!(needle("  RM -rf ").unwrap(), "rm -rf");
        for wrong in ["", "  ", &"x".repeat(201)] {
            assert_eq!(needle(wrong).unwrap_err().reason, Reason::Invalid);
        }
    }
}
