//! What was kept is erased: a text of an entry, a recording's keys.
//!
//! *Takes* an entry's text or a session's recording, a reason, and the proof of who asks. *Proves* that they may. *Hands to*
//! the log an entry that says so; the log still verifies, and the replay still stands.

use std::path::PathBuf;

use access::event::Event;
use access::ids::{EntryId, RecordingId, SessionId};
use access::reason::{Reason, Refusal};
use access::session::SessionState;
use evidence::recording::{header, keys};
use policy::{Act, Noun, Object};
use store::{Change, EntryFilter, EntryPage};

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};

const BATCH: u32 = 1_000;

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
        self.commit(Change::new(draft).erase_text(&logged, name).held_as(&holds)).await.map_err(refused)?;
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
            return Err(Refusal::because(Reason::NotFound, "its keys are destroyed already"));
        }
        let _keeping = self.keeping().await;
        let holds = self.refuse_if_held(&row).await?;
        let event = Event::RecordingDestroyed { recording: row.recording, session };
        let draft = self.draft(caller, event).text("reason", Some(reason));
        self.commit(Change::new(draft).held_as(&holds)).await.map_err(refused)?;
        if state.is_none() {
            return Ok(row.recording);
        }
        blocking(move || keys::destroy(&path)).await?.map_err(|error| {
            tracing::error!(%error, recording = %row.recording, "a recording's keys could not be destroyed; the next start does it");
            let why =
                format!("it is entered as destroyed, but its file cannot be written ({error}); the next start of the gate destroys it");
            Refusal::because(Reason::Internal, why)
        })?;
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
                let path = self.recording_path(recording);
                if !path.exists() || self.is_held(session).await? {
                    continue;
                }
                let done = blocking(move || match key_state(&path) {
                    Ok(header::KeyState::Destroyed) | Err(_) => Ok(()),
                    Ok(_) => keys::destroy(&path),
                });
                if let Err(error) = done.await? {
                    tracing::error!(%error, %recording, "a recording that is entered as destroyed can still be read");
                }
            }
        }
    }
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
    Ok(())
}

fn gone(error: &std::io::Error) -> Refusal {
    Refusal::because(Reason::NotFound, format!("the recording's file cannot be read: {error}"))
}
