//! The log, folded leaf by leaf: the days so far, and what has to be known of the past to understand the next leaf.

use std::collections::{BTreeMap, BTreeSet};

use access::event::{Actor, Entry, Event, LeafError};
use access::ids::{EntryId, GrantId, PrincipalId, RequestId, SessionId};
use access::lock::LockScope;
use access::names::{ResourceName, RoleName};
use access::reason::Reason;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::day::{Day, PolicyDay};

/// A leaf that nothing can be counted from.
#[derive(Debug, thiserror::Error)]
#[error("leaf {index} of the log cannot be counted: {source}")]
pub struct CannotHear {
    /// Its place.
    pub index: u64,
    /// Why.
    pub source: LeafError,
}

/// What follows from the first so many leaves of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Projection {
    version: u32,
    entries: u64,
    last: Option<EntryId>,
    days: BTreeMap<Date, Day>,
    open: Open,
}

/// What is not over yet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Open {
    /// Machines, and who answers for them.
    owners: BTreeMap<PrincipalId, PrincipalId>,
    requests: BTreeMap<RequestId, Asked>,
    grants: BTreeMap<GrantId, Held>,
    sessions: BTreeMap<SessionId, Live>,
    /// Sessions that are over, were to be ended, and whose end their target has not confirmed.
    unconfirmed: BTreeMap<SessionId, Option<Timestamp>>,
    /// Orders that are not carried out yet, by the entry that gave them.
    orders: BTreeMap<EntryId, Order>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Asked {
    at: Timestamp,
    policy: String,
    /// A reason was given, or none is asked for.
    why: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Held {
    /// When it was asked for, and whether with a reason where one is needed; `None` if the log does not say.
    asked: Option<(Timestamp, bool)>,
    agreed: bool,
    production: bool,
    standing: bool,
    active: bool,
    used: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Live {
    grant: GrantId,
    person: PrincipalId,
    resource: ResourceName,
    role: RoleName,
    /// Who, why, by which right, from where and into which recording stands in the log.
    complete: bool,
    /// When what it stands on was first taken away.
    taken: Option<Timestamp>,
    /// When it was counted as one on production whose right has an end; `None`: it was not, or is no longer.
    bound: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    at: Timestamp,
    left: BTreeSet<SessionId>,
    last: Timestamp,
}

/// The names of an entry's texts, erased or not: their digests stay in the leaf.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    texts: BTreeMap<String, serde::de::IgnoredAny>,
}

impl Default for Projection {
    fn default() -> Self {
        Self { version: Self::VERSION, entries: 0, last: None, days: BTreeMap::new(), open: Open::default() }
    }
}

impl Projection {
    /// Of these definitions. What was kept under another one is thrown away, and the log told again from its first leaf.
    ///
    /// INVARIANT: whoever changes what is counted changes this.
    pub const VERSION: u32 = 3;

    /// What was kept, if it is of this version.
    #[must_use]
    pub fn kept(text: &str) -> Option<Self> {
        serde_json::from_str::<Self>(text).ok().filter(|kept| kept.version == Self::VERSION)
    }

    /// How many leaves it follows from.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The entry of the last of them.
    #[must_use]
    pub fn last(&self) -> Option<EntryId> {
        self.last
    }

    /// The days so far on which something was counted.
    #[must_use]
    pub fn days(&self) -> &BTreeMap<Date, Day> {
        &self.days
    }

    /// The next leaf.
    ///
    /// # Errors
    /// If it is no entry that this release knows; then nothing is counted from it.
    pub fn hear(&mut self, leaf: &[u8]) -> Result<(), CannotHear> {
        let index = self.entries;
        let cannot = |source| CannotHear { index, source };
        let entry = Entry::from_leaf(leaf, BTreeMap::new()).map_err(cannot)?;
        let said: BTreeSet<String> = match entry.event {
            Event::RequestSubmitted { .. } | Event::RequestEdited { .. } | Event::SessionOpened { .. } => {
                let said: Said = serde_json::from_slice(leaf).map_err(|e| cannot(e.into()))?;
                said.texts.into_keys().collect()
            }
            _ => BTreeSet::new(),
        };
        self.entries += 1;
        self.last = Some(entry.id);
        self.count(&entry, &said);
        Ok(())
    }

    fn day(&mut self, at: Timestamp) -> &mut Day {
        self.days.entry(TimeZone::UTC.to_datetime(at).date()).or_default()
    }

    fn policy(&mut self, at: Timestamp, policy: &str) -> &mut PolicyDay {
        self.day(at).policies.entry(policy.to_owned()).or_default()
    }

    #[expect(clippy::too_many_lines, reason = "one arm per event that counts, each a few lines; cutting it up would hide which do")]
    fn count(&mut self, entry: &Entry, said: &BTreeSet<String>) {
        use Event as E;
        let at = entry.at;
        match &entry.event {
            E::PersonCreated { person, owner: Some(owner), .. } => {
                self.open.owners.insert(*person, (*owner).into());
            }
            E::WorkloadHandedOver { person, owner } => {
                self.open.owners.insert(*person, (*owner).into());
            }
            E::RequestSubmitted { request, terms, policy, .. } => {
                self.policy(at, policy).asked += 1;
                let why = !terms.reason || said.contains("reason");
                self.open.requests.insert(*request, Asked { at, policy: policy.clone(), why });
            }
            E::RequestEdited { request, terms, .. } => {
                if let Some(asked) = self.open.requests.get_mut(request) {
                    asked.why = !terms.reason || said.contains("reason");
                }
            }
            E::RequestApproved { request, approvers } => {
                if let Some(policy) = self.open.requests.get(request).map(|asked| asked.policy.clone())
                    && !approvers.is_empty()
                {
                    self.policy(at, &policy).approved += 1;
                }
            }
            E::RequestDenied { request, reason, .. } => {
                if let Some(asked) = self.open.requests.remove(request)
                    && *reason == Reason::Denied
                {
                    self.policy(at, &asked.policy).denied += 1;
                }
            }
            E::RequestExpired { request } => {
                if let Some(asked) = self.open.requests.remove(request) {
                    self.policy(at, &asked.policy).expired += 1;
                }
            }
            E::RequestCancelled { request } | E::GrantExtended { request, .. } => drop(self.open.requests.remove(request)),
            E::GrantCreated { grant, request, terms, length, break_glass, approvers, .. } => {
                let asked = self.open.requests.remove(request).map(|asked| (asked.at, asked.why));
                let (agreed, production, standing) =
                    (!approvers.is_empty(), terms.production, length.is_none() || terms.observed_until.is_some());
                self.day(at).emergencies += u64::from(*break_glass);
                self.open.grants.insert(*grant, Held { asked, agreed, production, standing, active: false, used: false });
            }
            E::GrantActivated { grant, .. } => {
                if let Some(held) = self.open.grants.get_mut(grant) {
                    held.active = true;
                    if held.standing && held.production {
                        self.day(at).standing_began += 1;
                    }
                }
            }
            E::GrantRevoked { grant, .. } => {
                self.take(at, |live, _| live.grant == *grant);
                self.grant_over(at, *grant);
            }
            E::GrantExpired { grant }
            | E::GrantReturned { grant }
            | E::GrantWithdrawn { grant, .. }
            | E::GrantLapsed { grant }
            | E::GrantIdled { grant } => self.grant_over(at, *grant),
            E::SessionOpened { session, grant, person, resource, role, recording_header, .. } => {
                self.opened(
                    at,
                    *session,
                    *grant,
                    Live {
                        grant: *grant,
                        person: *person,
                        resource: resource.clone(),
                        role: role.clone(),
                        complete: recording_header.is_some() && said.contains("from"),
                        taken: None,
                        bound: None,
                    },
                );
            }
            E::SessionRehomed { session, to_grant, .. } => {
                let standing = self.open.grants.get(to_grant).is_none_or(|held| held.standing);
                let bound = self.open.sessions.get_mut(session).and_then(|live| {
                    live.grant = *to_grant;
                    live.bound.take_if(|_| standing)
                });
                if let Some(opened) = bound {
                    let day = self.day(opened);
                    day.time_bound = day.time_bound.saturating_sub(1);
                }
            }
            E::SessionStepped { .. } => self.day(at).lateral_steps += 1,
            E::SessionEnded { session, confirmed, recording_chunks, recording_digest, .. } => {
                let live = self.open.sessions.remove(session);
                let complete = live.as_ref().is_some_and(|live| live.complete) && recording_chunks.is_some() && recording_digest.is_some();
                let day = self.day(at);
                day.ended += 1;
                day.complete += u64::from(complete);
                let taken = live.and_then(|live| live.taken);
                if *confirmed {
                    self.closed(at, *session, taken);
                } else if taken.is_some() {
                    self.open.unconfirmed.insert(*session, taken);
                }
            }
            E::SessionConfirmed { session } => {
                if let Some(taken) = self.open.unconfirmed.remove(session) {
                    self.closed(at, *session, taken);
                }
            }
            E::SessionKilled { session } => self.contain(entry, |_, id| id == *session),
            E::PersonDisabled { person } => self.contain_person(entry, *person),
            E::LockSet { scope: LockScope::Person(person), .. } => self.contain_person(entry, *person),
            E::LockSet { scope: LockScope::Network(_), sessions, .. } => {
                let named: BTreeSet<&SessionId> = sessions.iter().collect();
                self.contain(entry, |_, id| named.contains(&id));
            }
            E::LockSet { scope, .. } => self.contain(entry, |live, _| scope.covers(live.person, &live.role, &live.resource)),
            _ => {}
        }
    }

    fn opened(&mut self, at: Timestamp, session: SessionId, grant: GrantId, mut live: Live) {
        let held = self.open.grants.get_mut(&grant);
        let first = held.as_ref().is_some_and(|held| !held.used);
        let facts = held.map(|held| {
            held.used = true;
            held.clone()
        });
        // INVARIANT: what the log does not say counts against: as production, as without an end, as incomplete.
        let (production, time_bound) = facts.as_ref().map_or((true, false), |held| (held.production, !held.standing));
        let asked = facts.as_ref().and_then(|held| held.asked);
        let agreed = facts.is_some_and(|held| held.agreed);
        live.complete &= asked.is_some_and(|(_, why)| why);
        live.bound = (production && time_bound).then_some(at);
        let day = self.day(at);
        if production {
            day.production += 1;
            day.time_bound += u64::from(time_bound);
        }
        match asked {
            Some((asked, _)) if first && agreed => day.request_to_session.measured(asked, at),
            _ => day.at_once += u64::from(first),
        }
        self.open.sessions.insert(session, live);
    }

    fn grant_over(&mut self, at: Timestamp, grant: GrantId) {
        if let Some(held) = self.open.grants.remove(&grant)
            && held.active
            && held.standing
            && held.production
        {
            self.day(at).standing_ended += 1;
        }
    }

    /// What these sessions stand on is taken away; gives those that are open.
    fn take(&mut self, at: Timestamp, covers: impl Fn(&Live, SessionId) -> bool) -> BTreeSet<SessionId> {
        let mut taken = BTreeSet::new();
        let mut first = 0;
        for (id, live) in &mut self.open.sessions {
            if covers(live, *id) {
                taken.insert(*id);
                // The first who took it away is who it is measured from.
                if live.taken.is_none() {
                    live.taken = Some(at);
                    first += 1;
                }
            }
        }
        if first > 0 {
            self.day(at).revoked += first;
        }
        taken
    }

    fn contain_person(&mut self, entry: &Entry, person: PrincipalId) {
        let owned: BTreeSet<PrincipalId> =
            self.open.owners.iter().filter(|(_, owner)| **owner == person).map(|(machine, _)| *machine).collect();
        self.contain(entry, |live, _| live.person == person || owned.contains(&live.person));
    }

    fn contain(&mut self, entry: &Entry, covers: impl Fn(&Live, SessionId) -> bool) {
        // Who ends a session of their own leaves; nothing is contained by that.
        let left = self.take(entry.at, |live, id| covers(live, id) && entry.actor != Actor::Principal(live.person));
        if !left.is_empty() {
            self.day(entry.at).orders += 1;
            self.open.orders.insert(entry.id, Order { at: entry.at, left, last: entry.at });
        }
    }

    /// The target confirmed that nothing of the session is left.
    fn closed(&mut self, at: Timestamp, session: SessionId, taken: Option<Timestamp>) {
        let Some(taken) = taken else { return };
        self.day(taken).to_last_byte.measured(taken, at);
        let mut done = Vec::new();
        self.open.orders.retain(|_, order| {
            if order.left.remove(&session) {
                order.last = order.last.max(at);
            }
            if order.left.is_empty() {
                done.push((order.at, order.last));
            }
            !order.left.is_empty()
        });
        for (ordered, last) in done {
            self.day(ordered).contained.measured(ordered, last);
        }
    }
}
