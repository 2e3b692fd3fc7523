//! Who could reach a resource at a time, and who did: answered from the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use access::event::{Entry, Event};
use access::ids::{GrantId, PrincipalId, SessionId};
use access::names::{ResourceName, RoleName};
use access::on_call::{Belief, Roster};
use access::reason::{Reason, Refusal};
use access::request::Asked;
use access::verdict::Answer;
use jiff::Timestamp;
use policy::{Act, Ask, Bundle, Noun, Object, Situation};
use serde::Serialize;
use store::{EntryFilter, EntryPage};

use crate::Caller;
use crate::gate::{Gate, unavailable};

const BATCH: u32 = 1_000;
/// So many entries that open a session are read at once.
const OPENINGS: u32 = 256;

/// One way in that somebody had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// Who.
    pub person: PrincipalId,
    /// Under which name.
    pub username: String,
    /// As what.
    pub role: RoleName,
    /// By a grant that was open then, or by asking.
    pub by: ReachBy,
}

impl Reach {
    /// Where it stands among all of them.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { username: self.username.clone(), role: self.role.clone(), by: self.by.clone() }
    }
}

/// Where a way in stands among all of them: by name, by role, then as how they get in is told below.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Under which name.
    pub username: String,
    /// As what.
    pub role: RoleName,
    /// How.
    pub by: ReachBy,
}

/// How somebody could get in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReachBy {
    /// They held this grant.
    Grant(GrantId),
    /// They held this grant, and could have activated it.
    Ready(GrantId),
    /// Policy would have let them in at once.
    AtOnce,
    /// Policy would have let them in when so many people agreed.
    Approval(u32),
    /// Policy would have let them in if they had declared an emergency.
    Emergency,
}

/// One session that was open in the time asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Visit {
    /// Which.
    pub session: SessionId,
    /// Whose.
    pub person: PrincipalId,
    /// As what.
    pub role: RoleName,
    /// Since when.
    pub opened_at: Timestamp,
    /// Until when; `None`: still open.
    pub ended_at: Option<Timestamp>,
}

impl Gate {
    /// Who could have reached a resource at a time: by grants that were open, and by the policy then in force. So many behind the place given.
    ///
    /// Who was on call is as the gate believed then. Groups that only the store gave, and people not known then, are as the log has them at that time.
    ///
    /// # Errors
    /// If the caller may not read the audit log, or the policy of that time was not kept as it was: half an answer would pass for a whole one.
    pub async fn who_could(
        &self,
        caller: &Caller,
        resource: &ResourceName,
        at: Timestamp,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<Reach>, Refusal> {
        self.authorize(caller, Act::Administer(Noun::Audit), &Object::Nothing).await?;
        let then = self.as_of(at).await?;
        let (after, from) = (after.cloned(), after.map(|after| after.username.as_str()));
        let is_behind = move |reach: &Reach| after.as_ref().is_none_or(|after| reach.place() > *after);
        let mut reach: Vec<Reach> = Vec::new();
        for grant in then.rows.grants.values() {
            let by = match (grant.starts_at, grant.ends_at) {
                _ if grant.ended_at.is_some() || &grant.resource != resource => continue,
                (Some(start), end) if start <= at && end.is_none_or(|end| end > at) => ReachBy::Grant(grant.id),
                (None, _) if grant.activate_by > at => ReachBy::Ready(grant.id),
                _ => continue,
            };
            reach.push(Reach { person: grant.person, username: name_of(&then.rows, grant.person), role: grant.role.clone(), by });
        }
        reach.retain(&is_behind);
        let Some(bundle) = then.bundle else { return Ok(first_of(reach, limit)) };
        let mut asking = Vec::new();
        for person in then.rows.people.values().filter(|p| p.state == access::identity::PersonState::Active) {
            if from.is_some_and(|from| person.username.as_str() < from) {
                continue;
            }
            let mut situation = Situation::new(person.id, person.username.clone(), at);
            situation.roster = Arc::clone(&then.roster);
            situation.store_groups.clone_from(&person.groups.0);
            situation.store_groups.extend(self.groups_from_directory_then(person.id, &then.rows).unwrap_or_else(|| {
                let identities = then.rows.identities.values().filter(|row| row.person == person.id);
                self.groups_meant(identities, at)
            }));
            situation.owner = person.owner.map(|owner| name_of(&then.rows, owner.into())).and_then(|name| name.parse().ok());
            asking.push(situation);
        }
        asking.sort_by(|one, other| one.username.cmp(&other.username));
        let resource = resource.clone();
        // Policy is asked about everybody, as far as this part goes: not on a thread that others wait for.
        let decided = tokio::task::spawn_blocking(move || {
            let ways = asking.iter().flat_map(|who| first_of(by_asking(&bundle, who, &resource), usize::MAX));
            ways.filter(is_behind).take(limit).collect::<Vec<_>>()
        });
        reach.extend(decided.await.map_err(|_| Refusal::of(Reason::Internal))?);
        Ok(first_of(reach, limit))
    }

    /// Folds the whole log again and compares it with every row, column by column.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn replay(&self) -> Result<store::Replay, Refusal> {
        // The keyring's lock is not held across the read; rotation keeps old keys for verifying.
        self.store.replay(|row, logged| self.keyring().is_row_digest(row, logged)).await.map_err(unavailable)
    }

    /// Who was on a resource between two times, oldest first: so many behind the session given.
    ///
    /// Each visit is told by the entry that opened the session and the one that ended it, which the log's own index finds; whatever became of
    /// the session's row.
    ///
    /// # Errors
    /// If the caller may not read the audit log, or no entry opens the session given.
    pub async fn who_did(
        &self,
        caller: &Caller,
        resource: &ResourceName,
        between: (Timestamp, Timestamp),
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<Visit>, Refusal> {
        self.authorize(caller, Act::Administer(Noun::Audit), &Object::Nothing).await?;
        let opened = |mentions: String, until: Timestamp| EntryFilter {
            mentions: Some(mentions),
            name: Some("session.opened".to_owned()),
            until: (until < Timestamp::MAX).then_some(until),
            ..EntryFilter::default()
        };
        let mut page = EntryPage { limit: OPENINGS, after: None, newest_first: false };
        if let Some(after) = after {
            let found = self.store.entries(&opened(after.to_string(), Timestamp::MAX), page).await.map_err(unavailable)?;
            let place = found.iter().find(|logged| matches!(logged.entry.event, Event::SessionOpened { session, .. } if session == after));
            let unknown = || Refusal::because(Reason::Invalid, format!("no entry opens `{after}`, so nothing comes behind it"));
            page.after = Some(place.ok_or_else(unknown)?.seq);
        }
        let (filter, wanted) = (opened(resource.to_string(), between.1), limit as usize);
        let mut visits: Vec<Visit> = Vec::new();
        while visits.len() < wanted {
            let entries = self.store.entries(&filter, page).await.map_err(unavailable)?;
            let Some(last) = entries.last() else { break };
            page.after = Some(last.seq);
            let mut came: Vec<Visit> = entries.iter().filter_map(|logged| visit(&logged.entry, resource)).collect();
            self.see_who_left(&mut came).await?;
            visits.extend(came.into_iter().filter(|visit| visit.ended_at.is_none_or(|end| end >= between.0)));
        }
        visits.truncate(wanted);
        Ok(visits)
    }

    /// Adds when each visit ended, if it did.
    async fn see_who_left(&self, visits: &mut [Visit]) -> Result<(), Refusal> {
        let sessions: Vec<String> = visits.iter().map(|visit| visit.session.to_string()).collect();
        let entries = self.store.entries_about_any("session.ended", &sessions).await.map_err(unavailable)?;
        let ended: BTreeMap<SessionId, Timestamp> = entries
            .into_iter()
            .filter_map(|logged| match logged.entry.event {
                Event::SessionEnded { session, .. } => Some((session, logged.entry.at)),
                _ => None,
            })
            .collect();
        for visit in visits {
            visit.ended_at = ended.get(&visit.session).copied();
        }
        Ok(())
    }

    /// How everything stood at a time, as the log says, but for the policy's own text.
    async fn past(&self, at: Timestamp) -> Result<Past, Refusal> {
        let mut rows = access::fold::Tables::default();
        let mut digest = None;
        let mut roster = Roster::default();
        let mut after = None;
        loop {
            let filter = EntryFilter { until: (at < Timestamp::MAX).then_some(at), ..EntryFilter::default() };
            let page = EntryPage { limit: BATCH, after, newest_first: false };
            let entries = self.store.entries(&filter, page).await.map_err(unavailable)?;
            let Some(last) = entries.last() else { break };
            after = Some(last.seq);
            for logged in &entries {
                match &logged.entry.event {
                    Event::BundleActivated { digest: activated, .. } => digest = Some(activated.clone()),
                    // What was believed before a start is not believed after it, until it is entered anew.
                    Event::NodeStarted { .. } | Event::ClockAccepted { .. } => roster = Roster::default(),
                    Event::OnCallChanged { source, service, known, people } => {
                        let belief = if *known {
                            Belief::Known { people: people.clone(), seen_at: logged.entry.at, good_until: Timestamp::MAX }
                        } else {
                            Belief::Unknown { because: "it was not known then".to_owned() }
                        };
                        roster.believe(source.clone(), service.clone(), belief);
                    }
                    _ => {}
                }
                // An entry that doesn't fit is for `audit replay` to name; here the rest still answers.
                let _ = access::fold::apply(&mut rows, &logged.entry);
            }
        }
        Ok(Past { rows, digest, roster: Arc::new(roster) })
    }

    /// The same with the policy itself.
    async fn as_of(&self, at: Timestamp) -> Result<AsOf, Refusal> {
        let Past { rows, digest, roster } = self.past(at).await?;
        let bundle = match digest {
            Some(digest) => {
                let kept = self.kept_bundle(&digest).await?;
                let unusable =
                    |problems| Refusal::because(Reason::Internal, format!("the policy of that time, {digest}, can't be used: {problems}"));
                Some(kept.map_err(unusable)?)
            }
            None => None,
        };
        Ok(AsOf { rows, bundle, roster })
    }
}

/// So many of these, by their places.
fn first_of(mut ways: Vec<Reach>, limit: usize) -> Vec<Reach> {
    ways.sort_by_cached_key(Reach::place);
    ways.truncate(limit);
    ways
}

/// The visit that an entry opens, if it is one to this resource.
fn visit(entry: &Entry, to: &ResourceName) -> Option<Visit> {
    match &entry.event {
        Event::SessionOpened { session, person, resource, role, .. } if resource == to => {
            Some(Visit { session: *session, person: *person, role: role.clone(), opened_at: entry.at, ended_at: None })
        }
        _ => None,
    }
}

/// The ways in that policy has for somebody, as each role.
fn by_asking(bundle: &Bundle, who: &Situation, resource: &ResourceName) -> Vec<Reach> {
    let (mut reach, asker) = (Vec::new(), bundle.asker(who));
    for role in bundle.roles_for(resource) {
        let mut ask = Ask::plain(resource.clone(), role.name.clone());
        ask.asked = Asked::Default;
        ask.ticket = Some("any".to_owned());
        let ordinary = match asker.decide(&ask).answer() {
            Answer::Permit { terms } | Answer::NeedsApproval { terms } | Answer::StepUp { terms, .. } if terms.people() == 0 => {
                Some(ReachBy::AtOnce)
            }
            Answer::Permit { terms } | Answer::NeedsApproval { terms } | Answer::StepUp { terms, .. } => {
                Some(ReachBy::Approval(terms.people()))
            }
            Answer::Deny { .. } => None,
        };
        ask.break_glass = true;
        // Who gets in at once has no need of an emergency.
        let urgent = ordinary != Some(ReachBy::AtOnce) && !matches!(asker.decide(&ask).answer(), Answer::Deny { .. });
        for by in ordinary.into_iter().chain(urgent.then_some(ReachBy::Emergency)) {
            reach.push(Reach { person: who.id, username: who.username.to_string(), role: role.name.clone(), by });
        }
    }
    reach
}

struct Past {
    rows: access::fold::Tables,
    /// Of the policy that was in force.
    digest: Option<String>,
    roster: Arc<Roster>,
}

struct AsOf {
    rows: access::fold::Tables,
    bundle: Option<Bundle>,
    roster: Arc<Roster>,
}

fn name_of(rows: &access::fold::Tables, person: PrincipalId) -> String {
    rows.people.get(&person.to_string()).map_or_else(|| person.to_string(), |p| p.username.to_string())
}
