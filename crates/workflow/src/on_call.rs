//! Who is on call by schedules that are kept elsewhere: asked, entered in the log, and believed only then.
//!
//! *Takes* what a source says. *Proves* whom of ours it means, by the mapping alone. *Hands to* policy a roster, for as long as it
//! counts. What is not known, or too old, is nobody's duty; what a grant stood on when it was given stays frozen with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use access::approval::Seat;
use access::event::Event;
use access::identity::{PersonRow, PersonState};
use access::ids::PrincipalId;
use access::names::{GroupName, Username};
use access::on_call::{Belief, OnDuty, Roster};
use access::reason::Refusal;
use access::request::{RequestRow, RequestState};
use access::secret::Secret;
use arc_swap::ArcSwap;
use jiff::Timestamp;
use notify::oncall::{OnCallClient, Said, Shift, Source, TokenFrom, Trouble};
use policy::{Act, Bundle, Noun, Object};
use store::Change;
use tokio_util::sync::CancellationToken;

use crate::Caller;
use crate::approve::all_stages;
use crate::gate::{Gate, unavailable};

/// How often it is looked for beliefs that became too old, to enter that.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The sources of a gate, and what is believed of them.
#[derive(Debug, Default)]
pub(crate) struct OnCall {
    sources: OnceLock<Vec<Known>>,
    roster: ArcSwap<Roster>,
    /// By source and service.
    services: Mutex<BTreeMap<(GroupName, GroupName), Service>>,
    /// Held while beliefs change, so that the log and the roster have them in one order.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Known {
    source: Source,
    client: OnCallClient,
}

/// What is remembered of a service besides the belief.
#[derive(Debug, Clone, Default)]
struct Service {
    /// What the log says is believed; `None`: nothing since this node started.
    entered: Option<(bool, Vec<OnDuty>)>,
    /// Why the last answer was none.
    trouble: Option<String>,
    /// Whom it named that the mapping does not know.
    unmapped: Vec<String>,
}

/// Who is on call for one schedule of the policy, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duty {
    /// As policy calls it.
    pub schedule: GroupName,
    /// Where it is kept; `None`: in `people.toml`.
    pub source: Option<GroupName>,
    /// As the configuration calls it there.
    pub service: Option<GroupName>,
    /// The highest escalation level that counts; `None`: every one.
    pub level: Option<u32>,
    /// Who is on call now, first levels first.
    pub people: Vec<DutyPerson>,
    /// Why it cannot be told; then nobody is.
    pub unknown: Option<String>,
    /// When its source answered last.
    pub seen_at: Option<Timestamp>,
    /// Until when that counts.
    pub good_until: Option<Timestamp>,
    /// Why its source's newest answer was none.
    pub trouble: Option<String>,
    /// Whom the source named that the mapping does not know; empty for who may not administer nodes.
    pub unmapped: Vec<String>,
}

/// Somebody on call, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DutyPerson {
    /// Under which name.
    pub username: Username,
    /// The escalation level; `None`: the schedule has none.
    pub level: Option<u32>,
    /// Until when, if it is known.
    pub until: Option<Timestamp>,
}

/// How one source does, for whoever looks after the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceHealth {
    /// Which source.
    pub source: GroupName,
    /// Which service of it.
    pub service: GroupName,
    /// What is wrong, as a sentence; `None`: nothing.
    pub trouble: Option<String>,
}

impl OnCall {
    /// What is believed now.
    pub(crate) fn roster(&self) -> Arc<Roster> {
        self.roster.load_full()
    }

    fn services(&self) -> MutexGuard<'_, BTreeMap<(GroupName, GroupName), Service>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is believed of anybody, until the sources say it anew.
    pub(crate) fn forget(&self) {
        self.services().values_mut().for_each(|service| service.entered = None);
        self.roster.store(Arc::new(Roster::default()));
    }

    /// Waits until what the log says of anybody's duty is believed, too.
    pub(crate) async fn settled(&self) {
        drop(self.changing.lock().await);
    }

    fn set(&self, source: &GroupName, service: &GroupName, belief: &Belief) {
        self.roster.rcu(|roster| {
            let mut next = Roster::clone(roster);
            next.believe(source.clone(), service.clone(), belief.clone());
            next
        });
    }
}

impl Gate {
    /// Says where it is asked who is on call. Once; a second time changes nothing.
    pub fn serve_on_call(&self, sources: Vec<(Source, OnCallClient)>) {
        let known = |(source, client): (Source, OnCallClient)| {
            for service in source.services() {
                let because = "it has not been asked since the gate started".to_owned();
                self.on_call.set(&source.name, &service, &Belief::Unknown { because });
            }
            Known { source, client }
        };
        let _before = self.on_call.sources.set(sources.into_iter().map(known).collect());
    }

    /// Asks every source again and again, each on its own, until `stop`.
    pub async fn follow_on_call(self: Arc<Self>, stop: CancellationToken) {
        let asking = self.on_call.sources.get().into_iter().flatten().map(|known| self.follow_one(known, &stop));
        let aging = async {
            while !waited(&stop, LOOK_EVERY).await {
                self.note_what_is_too_old().await;
            }
        };
        tokio::join!(futures::future::join_all(asking), aging);
    }

    async fn follow_one(&self, known: &Known, stop: &CancellationToken) {
        loop {
            let asked_to_wait = tokio::select! {
                () = stop.cancelled() => return,
                asked_to_wait = self.ask_source(known) => asked_to_wait,
            };
            let refresh = known.source.refresh.as_std();
            if waited(stop, asked_to_wait.map_or(refresh, |wait| wait.max(refresh))).await {
                return;
            }
        }
    }

    /// Asks every source once, now.
    pub async fn refresh_on_call(&self) {
        let asking = self.on_call.sources.get().into_iter().flatten().map(|known| self.ask_source(known));
        futures::future::join_all(asking).await;
        self.note_what_is_too_old().await;
    }

    /// Asks one source; how long it wants to be left alone, if it says so.
    async fn ask_source(&self, known: &Known) -> Option<Duration> {
        let source = &known.source;
        // INVARIANT: an answer is as old as the question; one that takes long is no fresher for it.
        let asked_at = self.now();
        let said = match self.token_for(source).await {
            Ok(token) => known.client.look(source, token.as_ref(), asked_at).await,
            Err(trouble) => source.services().into_iter().map(|service| (service, Err(trouble.clone()))).collect(),
        };
        let mut wait = None;
        for (service, said) in said {
            if let Err(Trouble::TooOften(Some(asked))) = &said {
                wait = wait.max(Some(*asked));
            }
            self.hear(source, &service, said, asked_at).await;
        }
        wait
    }

    async fn token_for(&self, source: &Source) -> Result<Option<Secret<String>>, Trouble> {
        match &source.token {
            TokenFrom::Nowhere => Ok(None),
            TokenFrom::Sealed(name) => self.unsealed(name).await.map(Some).map_err(|refusal| Trouble::Here(refusal.to_string())),
            TokenFrom::File(path) => {
                let text = tokio::fs::read_to_string(path).await.map(Secret::new);
                let text = text.map_err(|error| Trouble::Here(format!("its token cannot be read from `{}`: {error}", path.display())))?;
                Ok(Some(Secret::new(text.expose().trim().to_owned())))
            }
        }
    }

    /// Takes what a source said of one service.
    async fn hear(&self, source: &Source, service: &GroupName, said: Said, asked_at: Timestamp) {
        let now = self.now();
        let key = (source.name.clone(), service.clone());
        let heard = match said {
            Ok(shifts) => self.whom_it_means(source, shifts).await.map_err(|refusal| refusal.to_string()),
            Err(trouble) => Err(trouble.to_string()),
        };
        let _one_at_a_time = self.on_call.changing.lock().await;
        match heard {
            Ok((people, unmapped)) => {
                {
                    let mut services = self.on_call.services();
                    let state = services.entry(key).or_default();
                    (state.trouble, state.unmapped) = (None, unmapped);
                }
                let belief = Belief::Known { people, seen_at: asked_at, good_until: source.stale_after.after(asked_at) };
                self.believe(&source.name, service, belief).await;
            }
            Err(because) => {
                tracing::warn!(source = %source.name, %service, because, "it is not told who is on call");
                self.on_call.services().entry(key).or_default().trouble = Some(because.clone());
                // What was said before counts until it is too old.
                let still = matches!(
                    self.on_call.roster().belief(&source.name, service),
                    Some(Belief::Known { good_until, .. }) if *good_until > now
                );
                if !still {
                    self.believe(&source.name, service, Belief::Unknown { because }).await;
                }
            }
        }
    }

    /// Whom of ours a source means, and whom the mapping does not know.
    async fn whom_it_means(&self, source: &Source, shifts: Vec<Shift>) -> Result<(Vec<OnDuty>, Vec<String>), Refusal> {
        let (mut people, mut unmapped): (BTreeMap<(PrincipalId, u32), Option<Timestamp>>, Vec<String>) = Default::default();
        for shift in shifts {
            let person = match source.known(&shift.who) {
                Some(username) => self.store.person_named(username).await.map_err(unavailable)?,
                None => self.known_to_directory(source, &shift).await?,
            };
            let human = person.filter(|person| matches!(person.id, PrincipalId::User(_)) && person.state == PersonState::Active);
            let Some(person) = human else {
                unmapped.push(match source.known(&shift.who) {
                    Some(username) => format!("{}, who is `{username}` by the mapping, and nobody of that name can sign in", shift.who),
                    None => shift.who.to_string(),
                });
                continue;
            };
            // Twice on call at one level: until the later of the two ends; one without an end has none.
            people
                .entry((person.id, shift.level))
                .and_modify(|until| *until = until.zip(shift.until).map(|(one, other)| one.max(other)))
                .or_insert(shift.until);
        }
        unmapped.sort();
        unmapped.dedup();
        let people = people.into_iter().map(|((person, level), until)| OnDuty { person, level, until }).collect();
        Ok((people, unmapped))
    }

    /// Who has somebody's e-mail address as `userName` in the directory that the source names.
    async fn known_to_directory(&self, source: &Source, shift: &Shift) -> Result<Option<PersonRow>, Refusal> {
        let (Some(directory), Some(email)) = (&source.directory, &shift.who.email) else { return Ok(None) };
        let key = access::directory::key(directory, "userName", &email.to_lowercase());
        match self.store.directory_user_named(directory, &key).await.map_err(unavailable)? {
            Some(row) if row.is_there() && row.active => self.store.person(row.id).await.map_err(unavailable),
            _ => Ok(None),
        }
    }

    /// Believes something from now on. Whoever calls holds `changing`.
    async fn believe(&self, source: &GroupName, service: &GroupName, belief: Belief) {
        let key = (source.clone(), service.clone());
        let (now_entered, detail) = match &belief {
            Belief::Known { people, .. } => ((true, people.clone()), None),
            Belief::Unknown { because } => ((false, Vec::new()), Some(because.clone())),
        };
        let before = self.on_call.services().get(&key).and_then(|state| state.entered.clone());
        if before.as_ref() != Some(&now_entered) {
            let (known, people) = now_entered.clone();
            let event = Event::OnCallChanged { source: source.clone(), service: service.clone(), known, people };
            // INVARIANT: what is believed is in the log before anything is decided by it.
            if let Err(error) = self.commit(Change::new(self.own_draft(event).text("detail", detail))).await {
                tracing::error!(%error, %source, %service, "who is on call could not be entered, and is not believed");
                let because = "the change could not be entered in the log".to_owned();
                self.on_call.set(source, service, &Belief::Unknown { because });
                return;
            }
            self.on_call.services().entry(key).or_default().entered = Some(now_entered);
        }
        self.on_call.set(source, service, &belief);
    }

    /// Enters which beliefs became too old; they count for nothing already.
    async fn note_what_is_too_old(&self) {
        let now = self.now();
        let _one_at_a_time = self.on_call.changing.lock().await;
        let roster = self.on_call.roster();
        for (source, service, belief) in roster.beliefs() {
            let Belief::Known { seen_at, good_until, .. } = belief else { continue };
            if *good_until > now {
                continue;
            }
            let trouble = self.on_call.services().get(&(source.clone(), service.clone())).and_then(|state| state.trouble.clone());
            let because = format!("its last answer is from {seen_at}; {}", trouble.as_deref().unwrap_or("it has not answered since"));
            self.believe(source, service, Belief::Unknown { because }).await;
        }
    }

    /// What is believed of schedules that are kept elsewhere.
    #[must_use]
    pub fn roster(&self) -> Arc<Roster> {
        self.on_call.roster()
    }

    /// How each service of each source does.
    #[must_use]
    pub fn on_call_health(&self) -> Vec<SourceHealth> {
        let now = self.now();
        let (roster, services) = (self.on_call.roster(), self.on_call.services().clone());
        let health = |(source, service, _): (&GroupName, &GroupName, &Belief)| {
            let state = services.get(&(source.clone(), service.clone())).cloned().unwrap_or_default();
            let trouble = match roster.on_call(source, service, None, now) {
                Err(unknown) => Some(unknown.to_string()),
                Ok(_) if state.trouble.is_some() => state.trouble,
                Ok(_) if !state.unmapped.is_empty() => Some(format!("nobody here is mapped to {}", state.unmapped.join(", "))),
                Ok(people) if people.is_empty() => Some("nobody is on call, says the source".to_owned()),
                Ok(_) => None,
            };
            SourceHealth { source: source.clone(), service: service.clone(), trouble }
        };
        roster.beliefs().map(health).collect()
    }

    /// Who is on call for each schedule of the policy, as the caller may know it: a contractor knows of none.
    ///
    /// # Errors
    /// If the caller is disabled or the store can't be reached.
    pub async fn duties(&self, caller: &Caller) -> Result<Vec<Duty>, Refusal> {
        let (situation, bundle) = (self.situation(&caller.who).await?, self.bundle());
        if bundle.people().contractors.contains_key(&situation.username) {
            return Ok(Vec::new());
        }
        let looks_after = bundle.may(&situation, Act::Administer(Noun::Node), &Object::Nothing).allowed;
        let mut duties = Vec::new();
        for schedule in bundle.people().on_call.keys() {
            let mut duty = self.duty(&bundle, schedule).await?;
            if !looks_after {
                duty.unmapped.clear();
            }
            duties.push(duty);
        }
        Ok(duties)
    }

    /// Who is on call for the seats that a pending request waits for; none for one that waits for nobody, and for a contractor.
    ///
    /// # Errors
    /// If the store can't be reached.
    pub async fn duties_for(&self, caller: &Caller, row: &RequestRow) -> Result<Vec<Duty>, Refusal> {
        let bundle = self.bundle();
        if row.state != RequestState::Pending || bundle.people().contractors.contains_key(caller.who.username()) {
            return Ok(Vec::new());
        }
        let mut wanted: Vec<&GroupName> = all_stages(row)
            .flat_map(|stage| stage.seats.iter().chain(&stage.escalate_to))
            .filter_map(|seat| match seat {
                Seat::OnCall(schedule) => Some(schedule),
                Seat::Group(_) => None,
            })
            .collect();
        wanted.sort();
        wanted.dedup();
        let mut duties = Vec::new();
        for schedule in wanted {
            duties.push(Duty { unmapped: Vec::new(), ..self.duty(&bundle, schedule).await? });
        }
        Ok(duties)
    }

    async fn duty(&self, bundle: &Bundle, schedule: &GroupName) -> Result<Duty, Refusal> {
        let now = self.now();
        let mut duty = Duty {
            schedule: schedule.clone(),
            source: None,
            service: None,
            level: None,
            people: Vec::new(),
            unknown: None,
            seen_at: None,
            good_until: None,
            trouble: None,
            unmapped: Vec::new(),
        };
        let Some(kept) = bundle.people().on_call.get(schedule) else {
            duty.unknown = Some(format!("the policy in force has no on-call schedule `{schedule}` any more"));
            return Ok(duty);
        };
        let Some(at) = &kept.elsewhere else {
            let person = |username: &Username| DutyPerson { username: username.clone(), level: None, until: None };
            duty.people = kept.on_call(now).into_iter().map(person).collect();
            return Ok(duty);
        };
        let roster = self.on_call.roster();
        (duty.source, duty.service, duty.level) = (Some(at.source.clone()), Some(at.service.clone()), at.level);
        if let Some(Belief::Known { seen_at, good_until, .. }) = roster.belief(&at.source, &at.service) {
            (duty.seen_at, duty.good_until) = (Some(*seen_at), Some(*good_until));
        }
        if let Some(state) = self.on_call.services().get(&(at.source.clone(), at.service.clone())) {
            duty.trouble.clone_from(&state.trouble);
            duty.unmapped.clone_from(&state.unmapped);
        }
        match roster.on_call(&at.source, &at.service, at.level, now) {
            Err(unknown) => duty.unknown = Some(unknown.to_string()),
            Ok(people) => {
                for on_duty in people {
                    let Some(person) = self.store.person(on_duty.person).await.map_err(unavailable)? else { continue };
                    duty.people.push(DutyPerson { username: person.username, level: Some(on_duty.level), until: on_duty.until });
                }
            }
        }
        Ok(duty)
    }

    /// Why nobody can fill a seat by being on call, of those that somebody has no place on: for who is told that they have none.
    pub(crate) fn why_nobody_is_on_call(&self, bundle: &Bundle, row: &RequestRow) -> Option<String> {
        let (now, roster) = (self.now(), self.on_call.roster());
        let seats = all_stages(row).flat_map(|stage| stage.seats.iter().chain(&stage.escalate_to));
        let mut unknown: Vec<String> = seats
            .filter_map(|seat| match seat {
                Seat::OnCall(schedule) => bundle.duty_unknown(schedule, &roster, now).map(|why| why.to_string()),
                Seat::Group(_) => None,
            })
            .collect();
        unknown.sort();
        unknown.dedup();
        (!unknown.is_empty()).then(|| unknown.join("; "))
    }
}

/// The schedules by which somebody may be needed for a request.
fn schedules(row: &RequestRow) -> impl Iterator<Item = &GroupName> {
    let seats = all_stages(row).flat_map(|stage| stage.seats.iter().chain(&stage.escalate_to));
    seats.filter_map(|seat| match seat {
        Seat::OnCall(schedule) => Some(schedule),
        Seat::Group(_) => None,
    })
}

/// Whether somebody may be needed for a request by being on call.
pub(crate) fn is_waited_for(row: &RequestRow) -> bool {
    schedules(row).next().is_some()
}

/// When somebody else may be on call for a request, by the schedules that policy keeps itself. Of others it is entered when they change.
pub(crate) fn next_change(bundle: &Bundle, row: &RequestRow, now: Timestamp) -> Option<Timestamp> {
    schedules(row).filter_map(|schedule| bundle.people().on_call.get(schedule)?.next_change(now)).min()
}

/// Waits; whether it was stopped meanwhile.
async fn waited(stop: &CancellationToken, time: Duration) -> bool {
    tokio::select! {
        () = stop.cancelled() => true,
        () = tokio::time::sleep(time) => false,
    }
}
