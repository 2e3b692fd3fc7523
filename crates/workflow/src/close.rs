//! A session is over.
//!
//! *Takes* a `ClosedSession`. *Proves* nothing: closing never waits. *Hands to* the log its end, or to a local journal while the
//! store is away, from which it reaches the log later.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Seek as _, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use access::event::{Actor, EntryDraft, Event};
use access::request::Door;
use access::session::{ClosedSession, SessionState};
use serde::{Deserialize, Serialize};
use store::{Change, CommitError};

use crate::gate::Gate;

/// Ends that could not be committed yet, one JSON line each, on disk before anybody is told.
#[derive(Debug)]
pub struct Journal(Mutex<File>);

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    at: jiff::Timestamp,
    event: Event,
}

impl Journal {
    /// Opens or makes the journal file.
    ///
    /// # Errors
    /// If the file can't be opened for appending.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        OpenOptions::new().read(true).append(true).create(true).open(path).map(Mutex::new).map(Self)
    }

    fn write(&self, line: &Line) -> std::io::Result<()> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Begun on a line of its own, so that one torn by a full disk spoils no other.
        let mut bytes = vec![b'\n'];
        bytes.extend(serde_json::to_vec(line)?);
        bytes.push(b'\n');
        file.write_all(&bytes)?;
        file.sync_data()
    }

    /// The lines, and how long the file was that held them.
    fn lines(&self) -> std::io::Result<(Vec<Line>, u64)> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.rewind()?;
        let lines = BufReader::new(&*file).lines().map_while(Result::ok);
        // A half-written last line is an end that nobody was told of; the sweep at the next start closes that session.
        let lines = lines.filter_map(|line| serde_json::from_str(&line).ok()).collect();
        Ok((lines, file.metadata()?.len()))
    }

    /// Empties it, unless something was written since it was `read` bytes long; the next look takes both.
    fn clear(&self, read: u64) -> std::io::Result<()> {
        let file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if file.metadata()?.len() != read {
            return Ok(());
        }
        file.set_len(0)?;
        file.sync_data()
    }
}

impl Gate {
    /// A session is over and both of its sides are closed.
    pub async fn close(&self, closed: ClosedSession) {
        let event = ended(&closed);
        self.live.remove(closed.session, closed.confirmed);
        self.accounts.release(closed.session);
        if closed.confirmed {
            self.forget_reached(closed.session);
        }
        // INVARIANT: an end that is dated by a clock which is accepted as wrong meanwhile is entered before that, or dated anew: the log would
        // have run ahead again, and a restart would begin there.
        let keeping = self.keeping_time.read().await;
        let at = self.now();
        let entered = async {
            // Whoever was there is gone, and waits for nothing.
            let end = self.end(at, event.clone()).await?.in_no_hurry();
            self.commit(end).await.map(drop)
        };
        let entered = entered.await;
        drop(keeping);
        match entered {
            Ok(()) => {}
            Err(CommitError::Unavailable(error)) => {
                tracing::error!(%error, session = %closed.session, "the end of a session goes to the journal until the store is back");
                if let Err(error) = self.journal.write(&Line { at, event }) {
                    tracing::error!(%error, session = %closed.session, "the journal could not be written; the next start enters the end");
                }
            }
            Err(error) => tracing::error!(%error, session = %closed.session, "the end of a session did not fit its row"),
        }
    }

    async fn end(&self, at: jiff::Timestamp, event: Event) -> Result<Change, CommitError> {
        self.ending(EntryDraft::new(at, Actor::Gate, Door::Gate, event)).await.map_err(CommitError::Unavailable)
    }

    async fn enter_end(&self, at: jiff::Timestamp, event: Event) -> Result<(), CommitError> {
        let end = self.end(at, event).await?;
        self.commit(end).await.map(drop)
    }

    /// Enters the ends that wait in the journal, once the store is back.
    pub(crate) async fn drain_journal(&self) {
        let (lines, read) = match self.journal.lines() {
            Ok((lines, _)) if lines.is_empty() => return,
            Ok(read) => read,
            Err(error) => return tracing::error!(%error, "the journal of closings cannot be read"),
        };
        for line in lines {
            let Event::SessionEnded { session, .. } = &line.event else { continue };
            match self.store.session(*session).await {
                Ok(Some(row)) if row.state == SessionState::Live => {}
                Ok(_) => continue,
                Err(_) => return,
            }
            let _keeping = self.keeping_time.read().await;
            // What waits here from before the clock was turned back is dated no later than now.
            if self.enter_end(line.at.min(self.now()), line.event).await.is_err() {
                return;
            }
        }
        if let Err(error) = self.journal.clear(read) {
            tracing::error!(%error, "the journal of closings could not be emptied; what it holds is entered already");
        }
    }
}

pub(crate) fn ended(closed: &ClosedSession) -> Event {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let (chunks, digest) = closed.recording.clone().map_or((None, None), |(n, d)| (Some(count(n)), Some(d)));
    Event::SessionEnded {
        session: closed.session,
        reason: closed.end,
        confirmed: closed.confirmed,
        bytes_up: count(closed.bytes_up),
        bytes_down: count(closed.bytes_down),
        recording_chunks: chunks,
        recording_digest: digest,
    }
}
