//! What happens inside a session that its role does not cover.
//!
//! *Takes* what a proxy refused by the flat table in its permit. *Proves* nothing more. *Hands to* the log that it was tried.

use access::event::Event;
use access::event::{Actor, EntryDraft};
use access::ids::SessionId;
use access::reason::Reason;
use access::request::Door;
use store::Change;

use crate::gate::Gate;

impl Gate {
    /// Somebody tried inside a session what their rights don't cover; `door` is where the session came in.
    pub async fn denied(&self, session: SessionId, door: Door, what: &str, detail: String) {
        let person = match self.store.session(session).await {
            Ok(Some(row)) => Actor::Principal(row.person),
            _ => Actor::Unknown,
        };
        let event = Event::SessionDenied { session, action: what.to_owned(), reason: Reason::NotInRole };
        let draft = EntryDraft::new(self.now(), person, door, event).text("detail", Some(detail));
        if let Err(error) = self.commit(Change::new(draft)).await {
            tracing::error!(%error, %session, what, "a denied action could not be entered; it stays denied");
        }
    }
}
