//! Recordings: begun with a session, watched while it lives, read afterwards.
//!
//! Watching and reading need rights of their own; each leaves an entry.

use std::fs::File;
use std::path::PathBuf;

use access::event::Event;
use access::ids::{RecordingId, SessionId};
use access::reason::{Reason, Refusal};
use access::session::{SessionFacts, SessionRow, SessionState};
use credentials::keyring::Stream;
use evidence::recording::{
    About, Anchor, Durability, KeyIdentity, KeyRecipients, LiveView, RecordingHandle, RecordingReader, ReleasedKeys, Watched, header,
};
use policy::{Act, Object};
use store::Change;

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::secrets::key_trouble;

impl Gate {
    /// Begins the recording of a session that is about to open.
    ///
    /// # Errors
    /// If nothing can be recorded; then nothing opens.
    pub(crate) async fn start_recording(&self, facts: &SessionFacts) -> Result<RecordingHandle, Refusal> {
        let about = About {
            recording: facts.recording.id.to_string(),
            session: facts.session.to_string(),
            grant: facts.grant.to_string(),
            person: facts.person.to_string(),
            resource: facts.resource.to_string(),
            bundle: facts.bundle.clone(),
            started: facts.opened_at,
            levels: vec![facts.recording.level.to_string()],
        };
        let durability = match facts.recording.durability {
            access::verdict::Durability::Flush => Durability::Flush,
            access::verdict::Durability::Sync => Durability::Sync,
        };
        let (output, input) = (self.recipients(Stream::Output)?, self.recipients(Stream::Input)?);
        let recorder = self.recorder.clone();
        let started = tokio::task::spawn_blocking(move || recorder.start(&about, durability, &output, &input)).await;
        started.map_err(|_| Refusal::of(Reason::RecorderFailed))?.map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, session = %facts.session, "a recording cannot be begun");
            Refusal::because(Reason::RecorderFailed, error.to_string())
        })
    }

    fn recipients(&self, stream: Stream) -> Result<KeyRecipients, Refusal> {
        let (_, recipient) = self.keyring().recording_recipient(stream).map_err(key_trouble)?;
        KeyRecipients::parse(&[recipient]).map_err(key_trouble)
    }

    fn identities(&self, stream: Stream) -> Result<Vec<KeyIdentity>, Refusal> {
        let keyring = self.keyring();
        keyring.recording_identities(stream).iter().map(|(_, text)| KeyIdentity::parse(text.expose()).map_err(key_trouble)).collect()
    }

    /// Where a recording's file is.
    #[must_use]
    pub fn recording_path(&self, recording: RecordingId) -> PathBuf {
        self.recorder.dir().join(format!("{recording}.tgr"))
    }

    /// Whole chunks and last digest of a recording that nobody closed.
    pub(crate) fn recording_as_left(&self, recording: RecordingId) -> Option<(u64, String)> {
        let file = File::open(self.recording_path(recording)).ok()?;
        let left = evidence::recording::inspect(std::io::BufReader::new(file), &[]).ok()?;
        Some((left.chunks, hex::encode(left.digest)))
    }

    /// Watches a live session. The watcher can neither type nor end it, and does not see what is typed.
    ///
    /// # Errors
    /// If the caller may not, or it is over.
    pub async fn watch(&self, caller: &Caller, session: SessionId) -> Result<(SessionRow, LiveView), Refusal> {
        let row = self.store.session(session).await.map_err(unavailable)?;
        let row = self.visible_session(caller, row).await?;
        self.authorize(caller, Act::Watch, &Object::Session(self.about_session(&row).await?)).await?;
        if row.state == SessionState::Ended {
            return Err(Refusal::of(Reason::SessionEnded));
        }
        self.commit(Change::new(self.draft(caller, Event::SessionWatched { session }))).await.map_err(refused)?;
        let view = self.recorder.watch(&row.recording.to_string(), Watched::Output).ok_or_else(|| Refusal::of(Reason::SessionEnded))?;
        Ok((row, view))
    }

    /// Whether somebody who watches may go on: not locked, not disabled, still with the right to watch this very session. That
    /// their sign-in still holds is for the door to know.
    pub async fn may_still_watch(&self, caller: &Caller, session: SessionId) -> bool {
        let Ok(Some(row)) = self.store.session(session).await else { return false };
        let Ok(about) = self.about_session(&row).await else { return false };
        self.allowed(caller, Act::Watch, &Object::Session(about)).await.is_ok()
    }

    /// Opens a recording for reading; with what was typed only if asked for, which is a right of its own.
    ///
    /// # Errors
    /// If the caller may not, or the file is gone or can't be read.
    pub async fn read_recording(
        &self,
        caller: &Caller,
        session: SessionId,
        input: bool,
    ) -> Result<(SessionRow, RecordingReader<File>), Refusal> {
        let row = self.store.session(session).await.map_err(unavailable)?;
        let row = self.visible_session(caller, row).await?;
        let object = Object::Recording(self.about_session(&row).await?);
        self.authorize(caller, Act::Read, &object).await?;
        if input {
            // What was typed comes with what was shown, never instead of it.
            self.authorize(caller, Act::ReadInput, &object).await?;
        }
        let event = Event::RecordingRead { recording: row.recording, session, input };
        self.commit(Change::new(self.draft(caller, event))).await.map_err(refused)?;
        let keys = self.released_keys(row.recording, input)?;
        let file = File::open(self.recording_path(row.recording)).map_err(gone)?;
        let reader = RecordingReader::with_keys(file, keys).map_err(gone)?.ending_at(end_of(&row));
        Ok((row, reader))
    }

    /// Whether somebody who reads a recording may go on, as [`Gate::may_still_watch`].
    pub async fn may_still_read(&self, caller: &Caller, session: SessionId, input: bool) -> bool {
        let Ok(Some(row)) = self.store.session(session).await else { return false };
        let Ok(about) = self.about_session(&row).await else { return false };
        let object = Object::Recording(about);
        self.allowed(caller, Act::Read, &object).await.is_ok() && (!input || self.allowed(caller, Act::ReadInput, &object).await.is_ok())
    }

    /// A recording's data keys, unwrapped with whichever of the gate's identities they were wrapped to.
    pub(crate) fn released_keys(&self, recording: RecordingId, input: bool) -> Result<ReleasedKeys, Refusal> {
        let mut file = File::open(self.recording_path(recording)).map_err(gone)?;
        let opening = header::read(&mut file).map_err(gone)?;
        if opening.key_state() == header::KeyState::Destroyed {
            return Err(Refusal::because(Reason::NotFound, DESTROYED));
        }
        self.unwrapped(&opening, input)
    }

    /// The data keys behind a recording's header, those that the gate's identities open.
    pub(crate) fn unwrapped(&self, opening: &header::Opening, input: bool) -> Result<ReleasedKeys, Refusal> {
        let mut keys = ReleasedKeys::default();
        for identity in self.identities(Stream::Output)? {
            keys.output = keys.output.or(opening.unwrap_keys(&identity).ok().and_then(|k| k.output));
        }
        if input {
            for identity in self.identities(Stream::Input)? {
                keys.input = keys.input.or(opening.unwrap_keys(&identity).ok().and_then(|k| k.input));
            }
        }
        Ok(keys)
    }
}

/// What is said of a recording whose keys are destroyed.
pub(crate) const DESTROYED: &str = "its keys were destroyed, so nobody can read the recording any more";

/// Where the log says that a session's recording ends; `None` while it lives, and if nobody could say when it ended.
pub(crate) fn end_of(row: &SessionRow) -> Option<Anchor> {
    let chunks = u64::try_from(row.recording_chunks?).ok()?;
    let digest = hex::decode(row.recording_digest.as_deref()?).ok()?.try_into().ok()?;
    Some(Anchor { chunks, digest })
}

fn gone(error: impl std::fmt::Display) -> Refusal {
    Refusal::because(Reason::NotFound, format!("the recording cannot be read: {error}"))
}
