//! No administrator can sign in any more.
//!
//! *Takes* a name, and the proof that root, or the gate's own user, asks at the machine itself. *Proves* nothing about people: who
//! holds the machine holds the gate. *Hands to* them an invitation for an administrator, and to the log an entry that nobody
//! overlooks.

use access::event::{Actor, EntryDraft, Event};
use access::identity::{PersonRow, PersonState};
use access::ids::{PrincipalId, UserId};
use access::names::{GroupName, Username};
use access::reason::{Reason, Refusal};
use access::request::Door;
use identity::local::LocalPeer;
use store::Change;

use crate::gate::{Gate, refused, unavailable};
use crate::people::{BOOTSTRAP_VALID, Invitation, Invited};

/// The group that the first administrator is in, and whoever is recovered.
pub(crate) const ADMINISTRATORS: &str = "administrators";

impl Gate {
    /// Invites an administrator: a new one, or one who is known and lost all ways to sign in. A disabled one is enabled again.
    ///
    /// # Errors
    /// If the name is that of somebody who is no administrator: nobody becomes one this way who was somebody else before.
    pub async fn recover(&self, peer: &LocalPeer, username: Username) -> Result<Invited, Refusal> {
        let now = self.now();
        let group: GroupName = ADMINISTRATORS.parse().map_err(|_| Refusal::of(Reason::Internal))?;
        let entered = |event| EntryDraft::new(now, Actor::Gate, Door::Socket, event);
        let known = self.store.person_named(&username).await.map_err(unavailable)?;
        let person = known.as_ref().map_or_else(|| PrincipalId::User(UserId::generate(now)), |row| row.id);
        let mut change = Change::new(entered(Event::AdministratorRecovered { person }).text("by", Some(peer.to_string())));
        change = match &known {
            None => change.and(entered(Event::PersonCreated { person, username, owner: None, groups: vec![group] })),
            Some(row @ PersonRow { id: PrincipalId::User(_), groups, .. }) if groups.0.contains(&group) => change.expect(row),
            Some(_) => {
                let why = format!("`{username}` is known and was never invited as an administrator; name somebody new");
                return Err(Refusal::because(Reason::Invalid, why));
            }
        };
        if known.as_ref().is_some_and(|row| row.state == PersonState::Disabled) {
            change = change.and(entered(Event::PersonEnabled { person }));
        }
        let Invitation { row, event, code, expires_at } = self.new_invitation(person, BOOTSTRAP_VALID)?;
        let committed = self.commit(change.and(entered(event)).put_invitation(&row)).await.map_err(refused)?;
        let person = committed.rows.people.into_values().next().or(known).ok_or_else(|| Refusal::of(Reason::Internal))?;
        tracing::error!(username = %person.username, by = %peer, "an administrator was invited at the machine itself");
        Ok(Invited { person, code, expires_at })
    }
}
