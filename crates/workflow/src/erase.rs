//! What was kept is erased: a text of an entry, a recording's keys, or all that is kept of somebody who has gone.
//!
//! *Takes* an entry's text, a session's recording or a person, a reason, and the proof of who asks. *Proves* that they may. *Hands to*
//! the log an entry that says so; the log still verifies, and the replay still stands.

mod person;

use std::path::PathBuf;

use access::event::Event;
use access::ids::{EntryId, RecordingId, SessionId};
use access::reason::{Reason, Refusal};
use access::session::{SessionRow, SessionState};
use evidence::recording::{header, keys};
use policy::{Act, Noun, Object};
use store::{Change, EntryFilter, EntryPage};

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::submit::{LONGEST_WHY, fits};

pub use person::ErasedPerson;

const BATCH: u32 = 1_000;
/// What is said of a recording that nobody has to destroy any more.
const DESTROYED_ALREADY: &str = "its keys are destroyed already";

impl Gate {
    /// Erases one text of an entry, in the log's side record and in the row where it stands. Its digest stays in the leaf.
    ///
    /// # Errors
    /// If the caller may not, gives no reason, or there is no such text.
    pub async fn erase_text(&self, caller: &Caller, entry: EntryId, name: &str, reason: &str) -> Result<(), Refusal> {
        self.authorize(caller, Act::Administer(Noun::Text), &Object::Nothing).await?;
        need_reason(reason)?;
        let logged = self.store.entry(entry).await.map_err(unavailable)?;
        let logged = logged.ok_or_else(|| Refusal::because(Reason::NotFound, format!("there is no entry {entry}")))?;
        if logged.entry.text(name).is_none() {
            let left: Vec<&str> = logged.entry.texts.keys().map(String::as_str).collect();
            let left = if left.is_empty() { "no texts any more".to_owned() } else { format!("just {}", left.join(", ")) };
            return Err(Refusal::because(Reason::NotFound, format!("entry {entry} has {left}")));
        }
        let _keeping = self.keeping().await;
        let holds = self.refuse_if_entry_held(&logged.entry).await?;
        let draft = self.draft(caller, Event::TextErased { entry, name: name.to_owned() }).text("reason", Some(reason));
        self.commit(Change::new(draft).erase_texts(&logged, &[name]).held_as(&holds)).await.map_err(refused)?;
        self.store.scrub().await.map_err(unavailable)
    }

    /// Destroys the keys of a session's recording, so that nobody reads it any more.
    ///
    /// # Errors
    /// If the caller may not, gives no reason, the session is still live, or there is nothing to destroy.
    pub async fn destroy_recording(&self, caller: &Caller, session: SessionId, reason: &str) -> Result<RecordingId, Refusal> {
        self.authorize(caller, Act::Administer(Noun::Recording), &Object::Nothing).await?;
        need_reason(reason)?;
        let row = self.store.session(session).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        self.destroy(caller, &row, reason).await
    }

    /// The same, by somebody who may.
    async fn destroy(&self, caller: &Caller, row: &SessionRow, reason: &str) -> Result<RecordingId, Refusal> {
        if row.state == SessionState::Live {
            return Err(Refusal::because(Reason::Invalid, "the session is live and its recording is being written; end it first"));
        }
        let path = self.recording_path(row.recording);
        let looked_at = path.clone();
        let state = match blocking(move || key_state(&looked_at)).await? {
            // Lost: entered as destroyed it is waited for no longer, and should it come back, the next start destroys it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !self.was_let_go(row.recording).await? => None,
            state => Some(state.map_err(|error| gone(&error))?),
        };
        if state == Some(header::KeyState::Destroyed) {
            return Err(Refusal::because(Reason::NotFound, DESTROYED_ALREADY));
        }
        let _keeping = self.keeping().await;
        let holds = self.refuse_if_held(row).await?;
        let event = Event::RecordingDestroyed { recording: row.recording, session: row.id };
        let draft = self.draft(caller, event).text("reason", Some(reason));
        self.commit(Change::new(draft).held_as(&holds)).await.map_err(refused)?;
        if state.is_none() {
            return Ok(row.recording);
        }
        destroy_keys(row.recording, path).await?;
        Ok(row.recording)
    }

    /// Whether the log says that a recording is let go: kept for long enough, or destroyed.
    pub(crate) async fn was_let_go(&self, recording: RecordingId) -> Result<bool, Refusal> {
        for name in ["recording.expired", "recording.destroyed"] {
            let filter = EntryFilter { name: Some(name.to_owned()), mentions: Some(recording.to_string()), ..EntryFilter::default() };
            let page = EntryPage { limit: 1, after: None, newest_first: true };
            if !self.store.entries(&filter, page).await.map_err(unavailable)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Destroys what is entered as destroyed and is not, because the gate died in between.
    pub(crate) async fn finish_destructions(&self) -> Result<(), Refusal> {
        let filter = EntryFilter { name: Some("recording.destroyed".to_owned()), ..EntryFilter::default() };
        let mut after = None;
        loop {
            let page = EntryPage { limit: BATCH, after, newest_first: false };
            let entries = self.store.entries(&filter, page).await.map_err(unavailable)?;
            let Some(last) = entries.last() else { return Ok(()) };
            after = Some(last.seq);
            for logged in &entries {
                let Event::RecordingDestroyed { recording, session } = logged.entry.event else { continue };
                // Else a hold keeps it, or the gate's log has why it could not be destroyed.
                if let Err(no) = self.finish_destruction(recording, session).await
                    && no.reason == Reason::StoreUnavailable
                {
                    return Err(no);
                }
            }
        }
    }

    /// Destroys the keys of a recording that is entered as let go, if they are still there; says whether they were.
    async fn finish_destruction(&self, recording: RecordingId, session: SessionId) -> Result<bool, Refusal> {
        let _keeping = self.keeping().await;
        let path = self.recording_path(recording);
        let looked_at = path.clone();
        match blocking(move || key_state(&looked_at)).await? {
            Ok(header::KeyState::Destroyed) => return Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Ok(_) | Err(_) => {}
        }
        // Nothing may be left of the session but its id.
        if let Some(row) = self.store.session(session).await.map_err(unavailable)? {
            self.refuse_if_held(&row).await?;
        }
        destroy_keys(recording, path).await?;
        Ok(true)
    }
}

/// Destroys the keys of a recording that is entered as destroyed.
async fn destroy_keys(recording: RecordingId, path: PathBuf) -> Result<(), Refusal> {
    blocking(move || keys::destroy(&path)).await?.map_err(|error| {
        tracing::error!(%error, %recording, "a recording is entered as destroyed, and its keys could not be; the next start tries again");
        let why = format!("it is entered as destroyed, but its file cannot be written ({error}); the next start of the gate destroys it");
        Refusal::because(Reason::Internal, why)
    })
}

fn key_state(path: &PathBuf) -> std::io::Result<header::KeyState> {
    let mut file = std::fs::File::open(path)?;
    Ok(header::read(&mut file).map_err(std::io::Error::other)?.key_state())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::of(Reason::Internal))
}

fn need_reason(reason: &str) -> Result<(), Refusal> {
    if reason.trim().is_empty() {
        return Err(Refusal::because(Reason::Invalid, "say why: what is erased cannot be looked at afterwards"));
    }
    fits("a reason", Some(reason), LONGEST_WHY)
}

fn gone(error: &std::io::Error) -> Refusal {
    Refusal::because(Reason::NotFound, format!("the recording's file cannot be read: {error}"))
}
