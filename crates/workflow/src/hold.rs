//! Legal hold: what somebody has to keep is kept, until they say otherwise.
//!
//! *Takes* a person, resource or session, and a reason. *Proves* that the caller may. *Hands to* erasure and retention a no, as long as it
//! is set.
//!
//! INVARIANT: nothing is erased or destroyed but under [`Gate::keeping`], and no hold is set but alone: whoever is told that a hold is
//! set knows that nothing in its scope goes any more. Of other nodes the store sees to it: see [`store::Holds`].

mod about;

use access::entry::Entry;
use access::event::{Actor, Event};
use access::hold::{HoldRow, HoldScope};
use access::ids::{HoldId, PrincipalId, SessionId};
use access::names::ResourceName;
use access::reason::{Reason, Refusal};
use access::session::SessionRow;
use policy::{Act, Noun, Object};
use store::{Change, Holds};

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::submit::{LONGEST_WHY, fits};

impl Gate {
    /// Keeps everything in a scope.
    ///
    /// # Errors
    /// If the caller may not, gives no reason, or there is nothing by that name.
    pub async fn set_hold(&self, caller: &Caller, scope: HoldScope, reason: &str) -> Result<HoldRow, Refusal> {
        self.authorize(caller, Act::Administer(Noun::Hold), &Object::Nothing).await?;
        say_why(reason)?;
        let known = match &scope {
            HoldScope::Person(id) => self.store.person(*id).await.map_err(unavailable)?.is_some(),
            HoldScope::Session(id) => self.store.session(*id).await.map_err(unavailable)?.is_some(),
            // What policy no longer knows may have left recordings.
            HoldScope::Resource(name) => self.bundle.load().resource(name).is_some() || self.was_used(name).await?,
        };
        if !known {
            return Err(Refusal::because(Reason::NotFound, format!("`{scope}`")));
        }
        let _alone = self.keeping.write().await;
        let event = Event::HoldSet { hold: HoldId::generate(self.now()), scope };
        let committed =
            self.commit(Change::new(self.draft(caller, event).text("reason", Some(reason))).set_hold()).await.map_err(refused)?;
        committed.rows.holds.into_values().next().ok_or_else(|| Refusal::of(Reason::NotFound))
    }

    /// Lets go of what was kept: from now on its time counts again.
    ///
    /// # Errors
    /// If the caller may not, gives no reason, or it is lifted already.
    pub async fn lift_hold(&self, caller: &Caller, hold: HoldId, note: &str) -> Result<HoldRow, Refusal> {
        self.authorize(caller, Act::Administer(Noun::Hold), &Object::Nothing).await?;
        say_why(note)?;
        let row = self.store.hold(hold).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        let draft = self.draft(caller, Event::HoldLifted { hold }).text("note", Some(note));
        let committed = self.commit(Change::new(draft).expect(&row)).await.map_err(refused)?;
        committed.rows.holds.into_values().next().ok_or_else(|| Refusal::of(Reason::NotFound))
    }

    /// Whether somebody may see what is kept.
    ///
    /// # Errors
    /// If they may not; that is entered.
    pub async fn may_see_holds(&self, caller: &Caller) -> Result<(), Refusal> {
        if self.allowed(caller, Act::Administer(Noun::Hold), &Object::Nothing).await.is_ok() {
            return Ok(());
        }
        self.authorize(caller, Act::Administer(Noun::Audit), &Object::Nothing).await
    }

    /// Held while something is erased or destroyed: no hold is set meanwhile.
    pub(crate) async fn keeping(&self) -> tokio::sync::RwLockReadGuard<'_, ()> {
        self.keeping.read().await
    }

    /// Refused if a hold keeps a session; ask under [`Gate::keeping`]. What was looked at belongs into the change.
    pub(crate) async fn refuse_if_held(&self, row: &SessionRow) -> Result<Holds, Refusal> {
        let holds = self.store.holds_now().await.map_err(unavailable)?;
        match holds.set.iter().find(|hold| hold.scope.covers(row.id, row.person, &row.resource)) {
            Some(hold) => Err(held(hold)),
            None => Ok(holds),
        }
    }

    /// Whether a hold keeps a session, of which nothing may be left but its id.
    pub(crate) async fn is_held(&self, session: SessionId) -> Result<bool, Refusal> {
        let Some(row) = self.store.session(session).await.map_err(unavailable)? else { return Ok(false) };
        match self.refuse_if_held(&row).await {
            Ok(_) => Ok(false),
            Err(refusal) if refusal.reason == Reason::OnHold => Ok(true),
            Err(refusal) => Err(refusal),
        }
    }

    /// Refused if a hold keeps an entry: what it says of somebody, a resource or a session, what they did, and what led to a session. So
    /// does every hold if it cannot be told whom the entry is about. What was looked at belongs into the change.
    pub(crate) async fn refuse_if_entry_held(&self, entry: &Entry) -> Result<Holds, Refusal> {
        let holds = self.store.holds_now().await.map_err(unavailable)?;
        match self.hold_on(&holds, entry).await? {
            Some(hold) => Err(held(hold)),
            None => Ok(holds),
        }
    }

    /// The one of these holds that keeps an entry, if any does.
    pub(crate) async fn hold_on<'h>(&self, holds: &'h Holds, entry: &Entry) -> Result<Option<&'h HoldRow>, Refusal> {
        if holds.set.is_empty() {
            return Ok(None);
        }
        let actor = match entry.actor {
            Actor::Principal(id) => Some(id),
            _ => None,
        };
        let about = self.is_about(&entry.event, actor).await?;
        for hold in &holds.set {
            let session = match &hold.scope {
                HoldScope::Session(id) => self.store.session(*id).await.map_err(unavailable)?,
                HoldScope::Person(_) | HoldScope::Resource(_) => None,
            };
            if about.is_kept_by(&hold.scope, session.as_ref()) {
                return Ok(Some(hold));
            }
        }
        Ok(None)
    }

    /// Whether an event is of this person: about them, or about a request, right or session of theirs and of nobody else.
    pub(crate) async fn is_of(&self, event: &Event, person: PrincipalId) -> Result<bool, Refusal> {
        Ok(self.is_about(event, None).await?.is_of(person))
    }

    async fn was_used(&self, name: &ResourceName) -> Result<bool, Refusal> {
        let filter = store::SessionFilter { resource: Some(name.clone()), ..store::SessionFilter::default() };
        Ok(!self.store.sessions(&filter, &store::Page::first(1)).await.map_err(unavailable)?.is_empty())
    }
}

pub(crate) fn held(hold: &HoldRow) -> Refusal {
    let why = hold.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    Refusal::because(Reason::OnHold, format!("{} keeps `{}`{why}", hold.id, hold.scope))
}

fn say_why(reason: &str) -> Result<(), Refusal> {
    if reason.trim().is_empty() {
        return Err(Refusal::because(Reason::Invalid, "say why: others have to know what is kept for what"));
    }
    fits("a reason", Some(reason), LONGEST_WHY)
}
