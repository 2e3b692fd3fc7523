//! What a node does before it serves: it settles what the process before it left open, and makes an empty store usable.

use access::event::{Actor, Event};
use access::ids::{BundleId, PrincipalId};
use access::names::{GroupName, Username};
use access::reason::{Reason, Refusal};
use access::request::Door;
use access::session::{ClosedSession, EndReason};
use store::Change;

use crate::close::ended;
use crate::gate::{Gate, refused, unavailable};
use crate::people::{BOOTSTRAP_VALID, Invitation, Invited};
use crate::recover::ADMINISTRATORS;

/// What starting found.
#[derive(Debug, Default)]
pub struct Started {
    /// The first administrator's invitation, if the store was empty.
    pub first_administrator: Option<Invited>,
    /// Sessions that the process before this one left open.
    pub closed_leftovers: usize,
}

impl Gate {
    /// Makes the gate ready to serve.
    ///
    /// # Errors
    /// If the store can't be read or written.
    pub async fn start(&self, release: &str) -> Result<Started, Refusal> {
        let mut started = Started::default();
        self.refuse_rolled_back_store().await?;
        self.settle_keys().await?;
        let empty = self.store.is_empty().await.map_err(unavailable)?;
        if empty {
            self.enter(Event::LogStarted { node: self.settings.node.clone() }).await?;
        }
        self.enter(Event::NodeStarted { node: self.settings.node.clone(), version: release.to_owned() }).await?;
        crate::export::discard_unfinished(&self.settings.data_dir);
        self.drain_journal().await;
        started.closed_leftovers = self.close_leftovers().await?;
        self.finish_destructions().await?;
        self.finish_letting_go().await?;
        self.put_bundle_in_force().await?;
        if empty {
            started.first_administrator = Some(self.invite_first_administrator().await?);
        }
        Ok(started)
    }

    /// Says that the node stops in order.
    pub async fn stopped(&self) {
        self.keep_measures_now().await;
        if let Err(refusal) = self.enter(Event::NodeStopped { node: self.settings.node.clone() }).await {
            tracing::error!(%refusal, "that this node stops could not be entered");
        }
    }

    async fn enter(&self, event: Event) -> Result<(), Refusal> {
        self.commit(Change::new(self.own_draft(event))).await.map(drop).map_err(refused)
    }

    /// INVARIANT: no session row stays live without a process that relays it.
    async fn close_leftovers(&self) -> Result<usize, Refusal> {
        let left = self.store.live_sessions_of_node(&self.settings.node).await.map_err(unavailable)?;
        let count = left.len();
        for row in left {
            // The process that relayed it is gone, and with it both of its connections; nobody saw the target's end close.
            let closed = ClosedSession {
                session: row.id,
                end: EndReason::Node,
                confirmed: false,
                bytes_up: 0,
                bytes_down: 0,
                recording: self.recording_as_left(row.recording),
            };
            let change = self.ending(self.own_draft(ended(&closed))).await.map_err(unavailable)?;
            self.commit(change).await.map_err(refused)?;
        }
        Ok(count)
    }

    /// The loaded bundle comes into force, if the store knows another one or none.
    async fn put_bundle_in_force(&self) -> Result<(), Refusal> {
        let bundle = self.bundle();
        let newest = self.store.newest_bundle().await.map_err(unavailable)?;
        if newest.as_ref().is_some_and(|row| row.digest == bundle.digest()) {
            return Ok(());
        }
        let event = Event::BundleActivated {
            bundle: BundleId::generate(self.now()),
            digest: bundle.digest().to_owned(),
            previous: newest.map(|row| row.digest),
        };
        self.commit(Change::new(self.own_draft(event)).put_bundle_files(&crate::reload::files_of(&bundle))).await.map_err(refused)?;
        self.redecide_all().await;
        Ok(())
    }

    async fn invite_first_administrator(&self) -> Result<Invited, Refusal> {
        let fault = |_| Refusal::of(Reason::Internal);
        let username: Username = "admin".parse().map_err(fault)?;
        let group: GroupName = ADMINISTRATORS.parse().map_err(fault)?;
        self.create_invited(Actor::Gate, Door::Gate, username, None, vec![group], BOOTSTRAP_VALID).await
    }

    /// Creates people for an example: each with an invitation. For the demo alone, on an empty store.
    ///
    /// # Errors
    /// If a name is taken.
    pub async fn invite_example(&self, username: Username, display_name: &str) -> Result<Invited, Refusal> {
        self.create_invited(Actor::Gate, Door::Gate, username, Some(display_name.to_owned()), Vec::new(), BOOTSTRAP_VALID).await
    }

    /// Invites somebody of an example anew, whose sign-in ran out while nobody ran it. For the demo alone.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn invite_example_again(&self, person: PrincipalId) -> Result<Invited, Refusal> {
        let known = self.store.person(person).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        let Invitation { row, event, code, expires_at } = self.new_invitation(person, BOOTSTRAP_VALID)?;
        self.commit(Change::new(self.own_draft(event)).put_invitation(&row)).await.map_err(refused)?;
        Ok(Invited { person: known, code, expires_at })
    }
}
