//! Legal hold: what somebody has to keep is kept, until they say otherwise.
//!
//! *Takes* a person, resource or session, and a reason. *Proves* that the caller may. *Hands to* erasure and retention a no, as long as it
//! is set.
//!
//! INVARIANT: nothing is erased or destroyed but under [`Gate::keeping`], and no hold is set but alone: whoever is told that a hold is
//! set knows that nothing in its scope goes any more.

use access::entry::Entry;
use access::event::{Actor, Event};
use access::hold::{HoldRow, HoldScope};
use access::ids::{GrantId, HoldId, PrincipalId, RequestId, SessionId};
use access::names::ResourceName;
use access::reason::{Reason, Refusal};
use access::session::SessionRow;
use policy::{Act, Noun, Object};
use serde_json::Value;
use store::Change;

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};

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
        let committed = self.commit(Change::new(self.draft(caller, event).text("reason", Some(reason)))).await.map_err(refused)?;
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

    /// Refused if a hold keeps a session; ask under [`Gate::keeping`].
    pub(crate) async fn refuse_if_held(&self, row: &SessionRow) -> Result<(), Refusal> {
        let holds = self.store.set_holds().await.map_err(unavailable)?;
        match holds.iter().find(|hold| hold.scope.covers(row.id, row.person, &row.resource)) {
            Some(hold) => Err(held(hold)),
            None => Ok(()),
        }
    }

    /// Refused if a hold keeps an entry: what it says of somebody, a resource or a session, or what they did.
    pub(crate) async fn refuse_if_entry_held(&self, entry: &Entry) -> Result<(), Refusal> {
        let holds = self.store.set_holds().await.map_err(unavailable)?;
        if holds.is_empty() {
            return Ok(());
        }
        let (people, resources, sessions) = self.scopes_of(entry).await?;
        let keeps = |hold: &&HoldRow| match &hold.scope {
            HoldScope::Person(id) => people.contains(id),
            HoldScope::Resource(name) => resources.contains(name),
            HoldScope::Session(id) => sessions.contains(id),
        };
        match holds.iter().find(keeps) {
            Some(hold) => Err(held(hold)),
            None => Ok(()),
        }
    }

    /// Whom and what an entry is about, through its session, grant and request too.
    async fn scopes_of(&self, entry: &Entry) -> Result<(Vec<PrincipalId>, Vec<ResourceName>, Vec<SessionId>), Refusal> {
        let (mut people, mut resources, mut sessions) = (Vec::new(), Vec::new(), Vec::new());
        let fields = serde_json::to_value(&entry.event).unwrap_or_default();
        let named = |name: &str| fields.get(name).and_then(Value::as_str);
        people.extend(named("person").and_then(|id| id.parse::<PrincipalId>().ok()));
        if let Actor::Principal(id) = entry.actor {
            people.push(id);
        }
        resources.extend(named("resource").and_then(|name| name.parse::<ResourceName>().ok()));
        if let Some(id) = named("session").and_then(|id| id.parse::<SessionId>().ok()) {
            sessions.push(id);
            if let Some(row) = self.store.session(id).await.map_err(unavailable)? {
                people.push(row.person);
                resources.push(row.resource);
            }
        }
        if let Some(id) = named("grant").and_then(|id| id.parse::<GrantId>().ok())
            && let Some(row) = self.store.grant(id).await.map_err(unavailable)?
        {
            people.push(row.person);
            resources.push(row.resource);
        }
        if let Some(id) = named("request").and_then(|id| id.parse::<RequestId>().ok())
            && let Some(row) = self.store.request(id).await.map_err(unavailable)?
        {
            people.push(row.person);
            resources.push(row.resource);
        }
        Ok((people, resources, sessions))
    }

    async fn was_used(&self, name: &ResourceName) -> Result<bool, Refusal> {
        let filter = store::SessionFilter { resource: Some(name.clone()), ..store::SessionFilter::default() };
        Ok(!self.store.sessions(&filter, &store::Page::first(1)).await.map_err(unavailable)?.is_empty())
    }
}

fn held(hold: &HoldRow) -> Refusal {
    let why = hold.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    Refusal::because(Reason::OnHold, format!("{} keeps `{}`{why}", hold.id, hold.scope))
}

fn say_why(reason: &str) -> Result<(), Refusal> {
    if reason.trim().is_empty() {
        return Err(Refusal::because(Reason::Invalid, "say why: others have to know what is kept for what"));
    }
    Ok(())
}
