//! A session is over, and nobody saw its target end it: the gate died, or the target did not answer.
//!
//! *Takes* such a session and the connection it went over. *Proves* nothing new: it ended, and its grant with it or not. *Hands to* the
//! door the right to go there once more, with no rights inside, and to the log that nothing of it is left.
//!
//! What went over which connection is kept in a file for each session, from before anything is started at the target until its end is
//! confirmed. Losing one takes away nothing but that confirmation.

use std::path::PathBuf;
use std::time::Duration;

use access::event::Event;
use access::ids::SessionId;
use access::reason::{Reason, Refusal};
use access::rights::{Rights, SshRights};
use access::session::{Ends, Protocol, RecordingTerms, SessionFacts, SessionPermit, SessionState};
use access::time::Span;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::Change;

use crate::gate::{Gate, refused, unavailable};

/// For so long a target is asked again that does not answer.
const FOR: Span = Span::hours(7 * 24);

/// What is kept of a session while its target may still run something of it.
#[derive(Debug, Serialize, Deserialize)]
struct Reached {
    ends: Ends,
    at: Timestamp,
}

/// What going after a session takes.
#[derive(Debug)]
pub struct Errand {
    /// The right to go there once.
    pub permit: SessionPermit,
    /// The connection that the session went over.
    pub ends: Ends,
    /// How long ago that was made.
    pub age: Duration,
    /// How long the session has been over.
    pub over: Duration,
}

impl Gate {
    fn reached_dir(&self) -> PathBuf {
        self.settings.data_dir.join("reached")
    }

    fn reached_file(&self, session: SessionId) -> PathBuf {
        self.reached_dir().join(session.to_string())
    }

    /// A session's target was reached over a connection with these ends; nothing runs there yet.
    pub async fn reached(&self, session: SessionId, ends: Ends) {
        self.live.reached(session, ends);
        let reached = Reached { ends, at: self.now() };
        let (dir, file) = (self.reached_dir(), self.reached_file(session));
        let kept = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(dir)?;
            std::fs::write(file, serde_json::to_vec(&reached)?)
        });
        if let Ok(Err(error)) = kept.await {
            tracing::error!(%error, %session, "if this gate dies, what the session left at its target will not be found");
        }
    }

    /// Nothing more is to be found out about it.
    pub(crate) fn forget_reached(&self, session: SessionId) {
        match std::fs::remove_file(self.reached_file(session)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, %session, "a file of a session that is over cannot be removed");
            }
            _ => {}
        }
    }

    /// The sessions that are over here, whose target may still run something of them.
    #[must_use]
    pub fn left_behind(&self) -> Vec<SessionId> {
        let files = std::fs::read_dir(self.reached_dir()).into_iter().flatten().flatten();
        let known = files.filter_map(|file| file.file_name().to_str().and_then(|name| name.parse().ok()));
        known.filter(|session| !self.live.holds(*session)).collect()
    }

    /// What it takes to go after one; `None` if that is not to be done (any more).
    ///
    /// # Errors
    /// If the store can't be read, or what opens its target can't be had just now.
    pub async fn errand(&self, session: SessionId) -> Result<Option<Errand>, Refusal> {
        let read = std::fs::read(self.reached_file(session)).ok();
        let Some(Reached { ends, at }) = read.and_then(|bytes| serde_json::from_slice(&bytes).ok()) else {
            self.forget_reached(session);
            return Ok(None);
        };
        let now = self.now();
        let row = match self.store.session(session).await.map_err(unavailable)? {
            Some(row) if row.state == SessionState::Live => return Ok(None),
            Some(row) if row.confirmed != Some(true) && row.protocol == Protocol::Ssh && FOR.after(at) > now => row,
            row => {
                if row.is_some_and(|row| row.confirmed != Some(true)) {
                    tracing::error!(%session, "what it left at its target was never seen to end; look there yourself");
                }
                self.forget_reached(session);
                return Ok(None);
            }
        };
        let grant = self.store.grant(row.grant).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        let person = self.store.person(row.person).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        let bundle = self.bundle();
        let resource = bundle.resource(&row.resource).ok_or_else(|| Refusal::of(Reason::UnknownResource))?;
        let nothing = Rights::Ssh(SshRights::default());
        let facts = SessionFacts {
            session,
            grant: row.grant,
            person: row.person,
            username: person.username,
            resource: row.resource.clone(),
            role: row.role.clone(),
            tier: grant.terms.tier.clone(),
            protocol: row.protocol,
            rights: nothing.clone(),
            limits: access::limits::Limits::default(),
            recording: RecordingTerms { id: row.recording, level: grant.terms.record, durability: grant.terms.durability },
            idle: None,
            opened_at: now,
            ends_at: None,
            bundle: bundle.digest().to_owned(),
        };
        let dial = self.dial(resource, &facts, &grant, &nothing).await?;
        let since = |then: Timestamp| Span::between(then, now).as_std();
        let (age, over) = (since(at), since(row.ended_at.unwrap_or(now)));
        #[expect(clippy::disallowed_methods, reason = "`workflow` is the one maker of session permits")]
        let permit = access::mint::session_permit(facts, dial);
        Ok(Some(Errand { permit, ends, age, over }))
    }

    /// The target says that nothing of the session is left.
    ///
    /// # Errors
    /// If that can't be entered.
    pub async fn cleared(&self, session: SessionId) -> Result<(), Refusal> {
        self.commit(Change::new(self.own_draft(Event::SessionConfirmed { session }))).await.map_err(refused)?;
        self.forget_reached(session);
        Ok(())
    }

    /// Nobody can find out what is left of the session: the target sees the gate under another address than the gate itself.
    pub fn not_to_be_told(&self, session: SessionId) {
        tracing::warn!(%session, "its target sees the gate under another address, so what it left there cannot be told from the rest; look yourself");
        self.forget_reached(session);
    }
}
