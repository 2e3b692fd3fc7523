//! What is unusual about somebody, and about a session while it lives.
//!
//! *Takes* who asks or connects, and from where. *Proves* nothing; it counts what the store keeps, so that the same history gives the same
//! answer. *Hands to* policy the signals, to people their sentences, and to live sessions the end that a threshold of their tier asks for.

use std::net::IpAddr;
use std::sync::Arc;

use access::event::Event;
use access::ids::{PrincipalId, SessionId};
use access::names::ResourceName;
use access::reason::Refusal;
use access::risk::{
    Assessment, FAILED, Facts, History, KNOWN_AFTER, Known, LEARNT_FROM, NEVER_LARGE, RECENT, RESULTS_KNOWN, Risk, SHORT, Taken, usual,
};
use access::session::{EndReason, Onward};
use access::threshold::{Alert, Consequence, Over, Threshold, Watched};
use access::time::Span;
use jiff::{SignedDuration, Timestamp};
use policy::{Bundle, Situation};
use store::Change;

use crate::Caller;
use crate::activate::forbidden_unless_failed;
use crate::gate::{Gate, unavailable};
use crate::live::{Passed, Step};

/// So many acts of somebody are looked at in each stretch of time at most: the newest.
const ACTS: u32 = 2_000;
/// So many refused sign-ins are looked at.
const SIGN_INS: u32 = 2_000;
/// So many large sessions of the last day.
const LARGE: u32 = 20;
/// So many sessions say what is usual.
const SESSIONS: u32 = 200;

fn before(now: Timestamp, span: Span) -> Timestamp {
    now.checked_sub(SignedDuration::from_secs(i64::try_from(span.as_seconds()).unwrap_or(i64::MAX))).unwrap_or(Timestamp::MIN)
}

/// What was found to be unusual about somebody, for the entry of what they ask; and the sentences, a line each.
pub(crate) fn unusual(situation: &Situation, resource: &ResourceName) -> (Option<Risk>, Option<String>) {
    match &situation.risk {
        Some(Known::Now(facts)) => {
            let Assessment { risk, says } = facts.on(resource);
            (Some(risk), (!says.is_empty()).then(|| says.join("\n")))
        }
        Some(Known::Then(risk)) => (Some(risk.clone()), None),
        None => (None, None),
    }
}

/// What was found to be unusual about somebody, in sentences.
pub(crate) fn sentences(situation: &Situation, resource: &ResourceName) -> Vec<String> {
    unusual(situation, resource).1.iter().flat_map(|says| says.lines()).map(str::to_owned).collect()
}

impl Gate {
    /// What is unusual if the caller wants this resource now.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn risk(&self, caller: &Caller, resource: &ResourceName) -> Result<Assessment, Refusal> {
        Ok(self.facts_of(caller.who.id(), caller.who.from()).await?.on(resource))
    }

    /// Looks at somebody, unless that was done: policy is then told what was found.
    pub(crate) async fn look_for_risk(&self, situation: &mut Situation) -> Result<Arc<Facts>, Refusal> {
        if let Some(Known::Now(facts)) = &situation.risk {
            return Ok(Arc::clone(facts));
        }
        let facts = Arc::new(self.facts_of(situation.id, situation.network).await?);
        situation.risk = Some(Known::Now(Arc::clone(&facts)));
        Ok(facts)
    }

    async fn facts_of(&self, person: PrincipalId, from: Option<IpAddr>) -> Result<Facts, Refusal> {
        let now = self.now();
        let since = before(now, LEARNT_FROM);
        // What they asked counts for an hour alone. What they opened today pushes nothing out that is known from before.
        let young = before(now, KNOWN_AFTER);
        let mut acts = self.store.asked_since(person, before(now, SHORT), ACTS).await.map_err(unavailable)?;
        acts.extend(self.store.opened_since(person, young, ACTS).await.map_err(unavailable)?);
        acts.extend(self.store.opened_between(person, (since, young), ACTS).await.map_err(unavailable)?);
        let failed = match from {
            Some(from) => self.refused_sign_ins(from, now).await?,
            None => None,
        };
        let mut results = Vec::new();
        let recent = before(now, RECENT);
        let large = self.store.large_sessions_since(person, recent, NEVER_LARGE, LARGE).await.map_err(unavailable)?;
        // INVARIANT: many large ones hide no larger one: if there may be more than were looked at, what is usual of them cannot be told.
        if let Some(oldest) = large.last().filter(|_| large.len() as u64 >= u64::from(LARGE)) {
            results.push(Taken { resource: oldest.resource.clone(), bytes: oldest.bytes, usual: None });
        }
        for large in large {
            let usual = self.usual_results(person, (&large.resource, &large.role), (since, recent)).await?;
            results.push(Taken { resource: large.resource, bytes: large.bytes, usual });
        }
        let history = History { acts, results, failed };
        Ok(Facts::of(&history, from, now, self.bundle.load().time_zone()))
    }

    /// How many were refused there lately. `None`: so many were refused everywhere that not all of them are looked at.
    async fn refused_sign_ins(&self, from: IpAddr, now: Timestamp) -> Result<Option<u64>, Refusal> {
        let refused = self.store.refused_sign_ins_since(before(now, SHORT), SIGN_INS).await.map_err(unavailable)?;
        let here = access::source::source(from);
        let there = refused.iter().filter_map(|logged| logged.entry.text("from")?.parse::<IpAddr>().ok());
        let count = there.filter(|address| access::source::source(*address) == here).count() as u64;
        // INVARIANT: whoever fills the look with refusals of their own does not hide others' by that; those that were seen count.
        Ok((count >= FAILED || (refused.len() as u64) < u64::from(SIGN_INS)).then_some(count))
    }

    /// What somebody's sessions as a role on a resource usually took in some time; where they had too few, anybody's.
    async fn usual_results(
        &self,
        person: PrincipalId,
        access: (&ResourceName, &access::names::RoleName),
        time: (Timestamp, Timestamp),
    ) -> Result<Option<u64>, Refusal> {
        let own = self.store.taken_by(Some(person), access, time, SESSIONS).await.map_err(unavailable)?;
        if let Some(usual) = usual(own, RESULTS_KNOWN.0) {
            return Ok(Some(usual));
        }
        Ok(usual(self.store.taken_by(None, access, time, SESSIONS).await.map_err(unavailable)?, RESULTS_KNOWN.1))
    }

    /// What a session that is about to open usually takes, if a threshold is a multiple of that.
    pub(crate) async fn usual_for(
        &self,
        person: PrincipalId,
        access: (&ResourceName, &access::names::RoleName),
        watch: &[Threshold],
    ) -> Result<Option<u64>, Refusal> {
        if !watch.iter().any(|threshold| matches!(threshold.over, Over::Times(_))) {
            return Ok(None);
        }
        let now = self.now();
        self.usual_results(person, access, (before(now, LEARNT_FROM), now)).await
    }

    /// Of these grants those that what is unusual about their holder now does not shut. One that is shut stays as it is, and may be used when
    /// nothing is unusual any more; meanwhile one may ask, and pays what a path costs then. That it is shut is entered, but of those `told`.
    pub(crate) async fn not_shut_by_risk(
        &self,
        caller: &Caller,
        bundle: &Bundle,
        grants: Vec<access::grant::GrantRow>,
        told: &mut std::collections::BTreeSet<access::ids::GrantId>,
    ) -> Result<Vec<access::grant::GrantRow>, Refusal> {
        if !bundle.asks_for_risk() || grants.is_empty() {
            return Ok(grants);
        }
        let mut now = self.circumstances(&caller.who).await?;
        let facts = self.look_for_risk(&mut now).await?;
        let calm = Situation { risk: None, ..now.clone() };
        let mut open = Vec::with_capacity(grants.len());
        for grant in grants {
            match bundle.redecide(&now, &grant) {
                Err(refusal) if bundle.redecide(&calm, &grant).is_ok() => {
                    if !told.insert(grant.id) {
                        continue;
                    }
                    let says = facts.on(&grant.resource).says.join(" ");
                    let why = refusal.detail.unwrap_or_default();
                    let why = format!("not while this is unusual: {why}. {says}");
                    let refusal = Refusal { ruled: refusal.ruled, ..Refusal::because(forbidden_unless_failed(refusal.reason), why) };
                    self.enter_refused(caller, Some(&grant.resource), Some(&grant.role), &refusal).await;
                }
                // Whatever else stands against it is told where that is looked at.
                _ => open.push(grant),
            }
        }
        Ok(open)
    }

    /// Somebody came: to ask or to open a session, whatever is answered. Their sessions that are watched for it are looked at.
    pub(crate) async fn came(&self, person: PrincipalId, from: Option<IpAddr>) {
        if let Some(from) = from {
            let passed = self.live.came_from(person, &access::risk::network_of(from));
            self.alert_all(passed).await;
        }
        if !self.live.is_watched(person, Watched::Resources) {
            return;
        }
        let now = self.now();
        match self.store.opened_since(person, before(now, SHORT), ACTS).await {
            Ok(acts) => {
                let resources: std::collections::BTreeSet<ResourceName> = acts.into_iter().map(|act| act.resource).collect();
                let count = resources.len() as u64;
                let passed = self.live.pass(Watched::Resources, |live| (live.person == person).then_some(count));
                self.alert_all(passed).await;
            }
            Err(error) => {
                // A threshold that cannot be looked at is passed.
                tracing::error!(%error, "how many resources somebody uses cannot be read; their sessions that are watched for it are alerted");
                let passed = self.live.pass(Watched::Resources, |live| (live.person == person).then_some(u64::MAX));
                self.alert_all(passed).await;
            }
        }
    }

    /// Through a session somebody went on from its target. Counted as far as it is something new, and the first of it entered.
    pub async fn onward(&self, session: SessionId, how: Onward, to: &str) {
        let step = self.live.goes_on(session, how, to);
        if step == Step::None {
            return;
        }
        let passed = self.live.pass(Watched::Steps, |live| (live.session == session).then(|| live.steps()));
        let event = Event::SessionOnward { session, how };
        let draft = self.own_draft(event).text("to", Some(to.chars().take(300).collect::<String>()));
        self.alert_all(passed).await;
        if step == Step::Counted {
            return;
        }
        if let Err(error) = self.commit(Change::new(draft)).await {
            tracing::error!(%error, %session, "a step onward from a session could not be entered");
        }
    }

    /// A session was opened from the machine on which another one lives: one step more of that.
    pub(crate) async fn stepped(&self, from_session: SessionId) {
        self.live.stepped(from_session);
        let passed = self.live.pass(Watched::Steps, |live| (live.session == from_session).then(|| live.steps()));
        self.alert_all(passed).await;
    }

    /// One look at what live sessions have taken out so far.
    pub async fn watch_results(&self) {
        let passed = self.live.pass(Watched::Results, |live| Some(live.traffic().down()));
        self.alert_all(passed).await;
    }

    async fn alert_all(&self, passed: Vec<Passed>) {
        // Closing never waits: what is to end is cut before anything is entered.
        for one in passed.iter().filter(|one| one.threshold.then == Consequence::End) {
            let alert = self.alert_of(one);
            self.live.tell_one(one.session, &alert.sentence());
            self.live.cut(EndReason::Threshold, |live| live.session == one.session);
        }
        for one in passed {
            let Alert { what, value, bound, then, .. } = self.alert_of(&one);
            let event = Event::SessionAlerted { session: one.session, what, value, bound, then };
            if let Err(error) = self.commit(Change::new(self.own_draft(event))).await {
                tracing::error!(%error, session = %one.session, "an alert could not be entered; the next look tries again");
                self.live.forget_passed(&one);
            }
        }
    }

    fn alert_of(&self, one: &Passed) -> Alert {
        // The greatest number that every reader of JSON takes for itself.
        let most = (1 << 53) - 1;
        Alert { at: self.now(), what: one.threshold.what, value: one.value.min(most), bound: one.bound.min(most), then: one.threshold.then }
    }
}
