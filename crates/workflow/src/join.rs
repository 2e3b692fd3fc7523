//! Joining a session: somebody who could do the same in a session of their own comes into another's terminal.
//!
//! *Takes* the session of who joins, open by a grant of theirs, and the one to be joined. *Proves* that they may watch it, and that both
//! are to the same resource as the same role. *Hands on* nothing: the doors do the rest, and each session ends as it would alone.

use access::event::Event;
use access::ids::SessionId;
use access::reason::{Reason, Refusal};
use access::session::{SessionRow, SessionState};
use policy::{Act, Object};
use store::Change;

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};

impl Gate {
    /// Whether the caller, whose session `own` is open, may be in the terminal of `host`.
    ///
    /// # Errors
    /// Refused, or one of both is over. A session that they may not see is as one that does not exist.
    pub async fn may_join(&self, caller: &Caller, own: SessionId, host: SessionId) -> Result<(), Refusal> {
        let (_, object) = self.joinable(caller, own, host).await?;
        self.allowed(caller, Act::Watch, &object).await
    }

    /// Enters that they join it.
    ///
    /// # Errors
    /// As [`Gate::may_join`]; the refusal of policy is in the log.
    pub async fn join_session(&self, caller: &Caller, own: SessionId, host: SessionId) -> Result<(), Refusal> {
        let (row, object) = self.joinable(caller, own, host).await?;
        self.authorize(caller, Act::Watch, &object).await?;
        let entry = self.draft(caller, Event::SessionJoined { session: row.id, by: own });
        self.commit(Change::new(entry)).await.map(drop).map_err(refused)
    }

    async fn joinable(&self, caller: &Caller, own: SessionId, host: SessionId) -> Result<(SessionRow, Object), Refusal> {
        let row = self.store.session(host).await.map_err(unavailable)?;
        let row = self.visible_session(caller, row).await?;
        let own = self.store.session(own).await.map_err(unavailable)?;
        let own = own.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        if !self.is_own_session(caller, &own).await? {
            return Err(Refusal::of(Reason::NotFound));
        }
        if row.state == SessionState::Ended || own.state == SessionState::Ended {
            return Err(Refusal::of(Reason::SessionEnded));
        }
        if row.id == own.id {
            return Err(Refusal::because(Reason::Invalid, "a session does not join itself"));
        }
        if (&row.resource, &row.role) != (&own.resource, &own.role) {
            let why = format!("it is to {0} as {1}; join it by `ssh -t -s {0}+{1}.tide join {2}`", row.resource, row.role, row.id);
            return Err(Refusal::because(Reason::OutsideLimits, why));
        }
        let object = Object::Session(self.about_session(&row).await?);
        Ok((row, object))
    }
}
