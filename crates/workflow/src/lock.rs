//! Something is kept shut until somebody lifts it.
//!
//! *Takes* a scope: a person or machine, role, resource or network. *Proves* that the caller may. *Hands to* live sessions the cut; while the lock holds,
//! nothing in its scope opens.

use std::net::IpAddr;

use access::event::Event;
use access::ids::{LockId, PrincipalId};
use access::lock::{LockRow, LockScope};
use access::names::{ResourceName, RoleName};
use access::reason::{Reason, Refusal};
use access::session::EndReason;
use access::time::Span;
use jiff::Timestamp;
use policy::{Act, Noun, Object};
use store::Change;

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::revoke::{Cut, confirm};
use crate::seen::AsSeen;
use crate::submit::{LONGEST_TEXT, fits};

impl Gate {
    /// Locks a person, role or resource, for a time or until lifted, and cuts every live session in its scope.
    ///
    /// # Errors
    /// If the caller may not, or there is nothing by that name.
    pub async fn lock(
        &self,
        caller: &Caller,
        scope: LockScope,
        time: Option<Span>,
        reason: Option<String>,
    ) -> Result<(LockRow, Cut), Refusal> {
        self.authorize(caller, Act::Administer(Noun::Lock), &Object::Nothing).await?;
        fits("a reason", reason.as_deref(), LONGEST_TEXT)?;
        self.refuse_unknown_scope(&scope).await?;
        if caller.who.from().is_some_and(|from| scope.covers_address(from)) {
            let why = format!("you come from there yourself, and could not lift it: `{scope}`");
            return Err(Refusal::because(Reason::Invalid, why));
        }
        let now = self.now();
        let event = Event::LockSet {
            lock: LockId::generate(now),
            scope: scope.clone(),
            until: time.map(|span| span.after(now)),
            contains: false,
            transmitter: None,
            sessions: match &scope {
                LockScope::Network(network) => self.live.within(network),
                _ => Vec::new(),
            },
        };
        let committed = self.commit(Change::new(self.draft(caller, event).text("reason", reason))).await.map_err(refused)?;
        let cut = match scope {
            LockScope::Person(person) => self.cut_person(person, EndReason::Locked).await,
            LockScope::Network(network) => {
                confirm(self.live.cut(EndReason::Locked, |live| live.from().is_some_and(|from| network.contains(from)))).await
            }
            _ => confirm(self.live.cut(EndReason::Locked, |live| scope.covers(live.person, &live.role, &live.resource))).await,
        };
        self.redecide_all().await;
        let row = committed.rows.locks.into_values().next().ok_or_else(|| Refusal::of(Reason::NotFound))?;
        Ok((row, cut))
    }

    /// Lifts a lock.
    ///
    /// # Errors
    /// If the caller may not, or it is lifted already.
    pub async fn lift(&self, caller: &Caller, lock: impl Into<AsSeen<LockId>>) -> Result<LockRow, Refusal> {
        let AsSeen { id: lock, seen } = lock.into();
        self.authorize(caller, Act::Administer(Noun::Lock), &Object::Nothing).await?;
        let row = self.store.lock(lock).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        if row.contains {
            let why = format!("it contains `{}`; `tidegate contain lift {lock}` lifts it, with a reason", row.scope);
            return Err(Refusal::because(Reason::Invalid, why));
        }
        seen.is(row.version)?;
        let change = Change::new(self.draft(caller, Event::LockLifted { lock })).expect(&row);
        let committed = self.commit_seen(change, &row, &seen).await?;
        committed.rows.locks.into_values().next().ok_or_else(|| Refusal::of(Reason::NotFound))
    }

    /// Refused if a lock that holds now covers whoever comes from this address.
    ///
    /// # Errors
    /// [`Reason::Locked`], or that the locks can't be read.
    pub async fn refuse_if_network_locked(&self, from: Option<IpAddr>) -> Result<(), Refusal> {
        let Some(from) = from else { return Ok(()) };
        let now = self.now();
        let locks = self.store.holding_locks(now).await.map_err(unavailable)?;
        match locks.iter().find(|lock| lock.holds(now) && lock.scope.covers_address(from)) {
            Some(lock) => Err(Refusal::because(Reason::Locked, describe(lock))),
            None => Ok(()),
        }
    }

    /// Refused if a lock that holds now covers this person, role or resource.
    pub(crate) async fn refuse_if_locked(&self, person: PrincipalId, role: &RoleName, resource: &ResourceName) -> Result<(), Refusal> {
        let now = self.now();
        let locks = self.store.holding_locks(now).await.map_err(unavailable)?;
        let owner = self.owner_of(person, &locks).await?;
        shut_by(&locks, now, (person, owner), role, resource)
    }

    /// Refused if a lock that holds now shuts this resource for everybody, the gate itself included.
    ///
    /// # Errors
    /// [`Reason::Locked`], or that the locks can't be read.
    pub(crate) async fn refuse_if_resource_locked(&self, resource: &ResourceName) -> Result<(), Refusal> {
        let now = self.now();
        let locks = self.store.holding_locks(now).await.map_err(unavailable)?;
        match locks.iter().find(|lock| lock.holds(now) && lock.scope == LockScope::Resource(resource.clone())) {
            Some(lock) => Err(Refusal::because(Reason::Locked, describe(lock))),
            None => Ok(()),
        }
    }

    /// Refused if a lock that holds now covers this person everywhere.
    ///
    /// # Errors
    /// [`Reason::Locked`], or that the locks can't be read.
    pub async fn refuse_if_person_locked(&self, person: PrincipalId) -> Result<(), Refusal> {
        let now = self.now();
        let locks = self.store.holding_locks(now).await.map_err(unavailable)?;
        let owner = self.owner_of(person, &locks).await?;
        let covers =
            |lock: &LockRow| lock.scope == LockScope::Person(person) || owner.is_some_and(|owner| lock.scope == LockScope::Person(owner));
        match locks.iter().find(|lock| lock.holds(now) && covers(lock)) {
            Some(lock) => Err(Refusal::because(Reason::Locked, describe(lock))),
            None => Ok(()),
        }
    }

    /// The human who answers for a workload, if any lock is about people at all: a lock on them holds for it too.
    pub(crate) async fn owner_of(&self, person: PrincipalId, locks: &[LockRow]) -> Result<Option<PrincipalId>, Refusal> {
        if !matches!(person, PrincipalId::Workload(_)) || !locks.iter().any(|lock| matches!(lock.scope, LockScope::Person(_))) {
            return Ok(None);
        }
        Ok(self.store.person(person).await.map_err(unavailable)?.and_then(|row| row.owner).map(PrincipalId::User))
    }

    async fn refuse_unknown_scope(&self, scope: &LockScope) -> Result<(), Refusal> {
        let bundle = self.bundle.load();
        let known = match scope {
            LockScope::Person(id) => self.store.person(*id).await.map_err(unavailable)?.is_some(),
            LockScope::Role(name) => bundle.role(name).is_some(),
            LockScope::Resource(name) => bundle.resource(name).is_some(),
            LockScope::Network(_) => true,
        };
        if known { Ok(()) } else { Err(Refusal::because(Reason::NotFound, format!("`{scope}`"))) }
    }
}

/// Refused if one of these locks holds now and covers this person, who answers for them, this role or this resource.
pub(crate) fn shut_by(
    locks: &[LockRow],
    now: Timestamp,
    (person, owner): (PrincipalId, Option<PrincipalId>),
    role: &RoleName,
    resource: &ResourceName,
) -> Result<(), Refusal> {
    let covers =
        |lock: &LockRow| lock.scope.covers(person, role, resource) || owner.is_some_and(|owner| lock.scope == LockScope::Person(owner));
    match locks.iter().find(|lock| lock.holds(now) && covers(lock)) {
        Some(lock) => Err(Refusal::because(Reason::Locked, describe(lock))),
        None => Ok(()),
    }
}

fn describe(lock: &LockRow) -> String {
    let until = lock.until.map_or_else(String::new, |until| format!(" until {until}"));
    format!("{} holds {}{until}", lock.id, lock.scope)
}
