//! The sessions that live on this node, and the handle by which each is warned and cut.
//!
//! INVARIANT: a session stands here before its opening is committed, so that whatever is decided afterwards finds it.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use access::identity::Via;
use access::ids::{GrantId, PrincipalId, SessionId, WebSessionId};
use access::limits::Limits;
use access::lock::Network;
use access::names::{ResourceName, RoleName};
use access::rights::Rights;
use access::session::{EndReason, Ends, Onward, SessionFacts, Standing, Traffic};
use access::threshold::{Threshold, Watched};
use access::time::Span;
use jiff::Timestamp;
use policy::Situation;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::timings::Timings;

/// What the fan-out needs to know of a live session.
#[derive(Debug)]
pub struct LiveSession {
    /// Which.
    pub session: SessionId,
    /// The grant it stands on; changes when it is re-homed.
    pub grant: GrantId,
    /// Whose.
    pub person: PrincipalId,
    /// Where to.
    pub resource: ResourceName,
    /// As what.
    pub role: RoleName,
    /// What may be done inside, as its relay holds it.
    pub rights: Rights,
    /// What its asker renounced.
    pub limits: Limits,
    /// What its client signed in with.
    pub via: Via,
    judged_in: Situation,
    ends_at: Option<Timestamp>,
    warned: Option<Span>,
    standing: watch::Sender<Standing>,
    told: watch::Sender<Option<Arc<str>>>,
    gone: watch::Sender<Option<bool>>,
    cut_at: Option<Instant>,
    /// The address of the machine it goes to, once it is there.
    machine: Option<IpAddr>,
    traffic: Arc<Traffic>,
    watch: Vec<Threshold>,
    /// What such a session usually takes out.
    usual: Option<u64>,
    /// The thresholds, by their place, that it went over.
    passed: BTreeSet<usize>,
    steps: u64,
    /// Where it was gone on to.
    onward: BTreeSet<(Onward, String)>,
    /// The other networks that its person came from since it began.
    networks: BTreeSet<String>,
}

impl LiveSession {
    /// From where its client came, as far as that is known.
    #[must_use]
    pub fn from(&self) -> Option<std::net::IpAddr> {
        self.judged_in.network
    }

    /// What it has moved so far.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// How many steps were made onward from its target.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Which of the thresholds for something it is over with this many, and was not before.
    fn over(&mut self, what: Watched, value: u64) -> Vec<Passed> {
        let mut passed = Vec::new();
        if matches!(*self.standing.borrow(), Standing::Cut(_)) {
            return passed;
        }
        for (place, threshold) in self.watch.iter().enumerate().filter(|(_, threshold)| threshold.what == what) {
            let bound = threshold.bound(self.usual);
            if value > bound && self.passed.insert(place) {
                passed.push(Passed { session: self.session, place, threshold: *threshold, value, bound });
            }
        }
        passed
    }
}

/// A threshold that a live session just went over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Which session.
    pub session: SessionId,
    place: usize,
    /// Which threshold.
    pub threshold: Threshold,
    /// With how many.
    pub value: u64,
    /// More than this was too much.
    pub bound: u64,
}

/// What is watched of a session while it lives.
#[derive(Debug, Clone, Default)]
pub struct ToWatch {
    /// From where on, and what follows.
    pub watch: Vec<Threshold>,
    /// What such a session usually takes out, if that is known.
    pub usual: Option<u64>,
}

/// Places that one session was gone on to, known at most. Of more nobody tells whether they are new: each counts.
const ONWARD: usize = 100;

/// What going on from a session's target was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// None: the same place once more, or the session is over.
    None,
    /// One that is entered.
    New,
    /// One that only counts, as so many are entered already.
    Counted,
}

/// What a session's relay listens to, and where it counts.
#[derive(Debug, Clone)]
pub struct Relayed {
    /// When to warn, when to cut.
    pub standing: watch::Receiver<Standing>,
    /// The newest thing its user is to be told.
    pub told: watch::Receiver<Option<Arc<str>>>,
    /// Where its relay counts.
    pub traffic: Arc<Traffic>,
}

/// What one live session may do inside.
#[derive(Debug, Clone)]
pub struct LiveRights {
    /// Which.
    pub session: SessionId,
    /// Whose.
    pub person: PrincipalId,
    /// Where to.
    pub resource: ResourceName,
    /// As what.
    pub role: RoleName,
    /// What its relay lets through.
    pub rights: Rights,
    /// What its asker renounced.
    pub limits: Limits,
    /// What was true of its asker when it opened: second factor, address, duty, and when that was.
    pub judged_in: Situation,
}

/// How long before the end a session is warned.
pub const WARNINGS: [Span; 2] = [Span::minutes(5), Span::minutes(1)];

/// A cut that is under way: resolves to whether the target's end was seen to close.
pub type Gone = watch::Receiver<Option<bool>>;

/// Every live session of this node. Its lock is held for a few loads and stores, never across I/O.
#[derive(Debug, Default)]
pub struct LiveSessions(Mutex<HashMap<SessionId, LiveSession>>, Arc<Timings>);

impl LiveSessions {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<SessionId, LiveSession>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// None live yet; how long cuts take is told there.
    pub(crate) fn measured_by(timings: Arc<Timings>) -> Self {
        Self(Mutex::default(), timings)
    }

    /// Registers a session that is about to open, with what its client signed in with and the circumstances it was judged in.
    pub fn register(&self, facts: &SessionFacts, via: Via, judged_in: Situation, ToWatch { watch, usual }: ToWatch) -> Relayed {
        let traffic = Arc::new(Traffic::default());
        let (standing, stands) = watch::channel(Standing::Open { ends_at: facts.ends_at });
        let (told, hears) = watch::channel(None);
        let live = LiveSession {
            session: facts.session,
            grant: facts.grant,
            person: facts.person,
            resource: facts.resource.clone(),
            role: facts.role.clone(),
            rights: facts.rights.clone(),
            limits: facts.limits.clone(),
            via,
            judged_in,
            ends_at: facts.ends_at,
            warned: None,
            standing,
            told,
            gone: watch::channel(None).0,
            cut_at: None,
            machine: None,
            traffic: Arc::clone(&traffic),
            watch,
            usual,
            passed: BTreeSet::new(),
            steps: 0,
            onward: BTreeSet::new(),
            networks: BTreeSet::new(),
        };
        self.with(|all| all.insert(facts.session, live));
        Relayed { standing: stands, told: hears, traffic }
    }

    /// Its target was reached over a connection with these ends.
    pub fn reached(&self, session: SessionId, ends: Ends) {
        // On the gate's own machine nobody can tell who comes from the target and who from the gate.
        let machine = (ends.gate.ip().to_canonical() != ends.target.ip().to_canonical()).then(|| ends.target.ip().to_canonical());
        self.with(|all| {
            if let Some(live) = all.get_mut(&session) {
                live.machine = machine;
            }
        });
    }

    /// The session that lives on the machine with this address: one of the same person before any other, the newest before older ones.
    #[must_use]
    pub fn on_machine(&self, address: IpAddr, person: PrincipalId) -> Option<SessionId> {
        let there = |live: &&LiveSession| live.machine == Some(address.to_canonical());
        self.with(|all| all.values().filter(there).max_by_key(|live| (live.person == person, live.session)).map(|live| live.session))
    }

    /// Takes a session out that is over, or that never opened.
    pub fn remove(&self, session: SessionId, confirmed: bool) {
        if let Some(live) = self.with(|all| all.remove(&session)) {
            if let Some(cut_at) = live.cut_at {
                self.1.cut.took(cut_at.elapsed());
            }
            live.gone.send_replace(Some(confirmed));
        }
    }

    /// Cuts, from memory and at once, every session that matches. What comes back resolves as each is gone.
    pub fn cut(&self, end: EndReason, matches: impl Fn(&LiveSession) -> bool) -> Vec<(SessionId, Gone)> {
        self.with(|all| {
            all.values_mut()
                .filter(|live| matches(live))
                .map(|live| {
                    let cut = live.standing.send_if_modified(|standing| match standing {
                        Standing::Cut(_) => false,
                        open => {
                            *open = Standing::Cut(end);
                            true
                        }
                    });
                    if cut {
                        live.cut_at = Some(Instant::now());
                    }
                    (live.session, live.gone.subscribe())
                })
                .collect()
        })
    }

    /// Looks at what is watched of live sessions: those that go over a threshold with what `value` finds, and were not over it before.
    pub(crate) fn pass(&self, what: Watched, value: impl Fn(&LiveSession) -> Option<u64>) -> Vec<Passed> {
        self.with(|all| {
            let mut passed = Vec::new();
            for live in all.values_mut().filter(|live| !live.watch.is_empty()) {
                if let Some(value) = value(live) {
                    passed.extend(live.over(what, value));
                }
            }
            passed
        })
    }

    /// One that was not entered: the next look sees it again.
    pub(crate) fn forget_passed(&self, passed: &Passed) {
        self.with(|all| {
            if let Some(live) = all.get_mut(&passed.session) {
                live.passed.remove(&passed.place);
            }
        });
    }

    /// Somebody came from a network: those of their sessions that began in another one are told so.
    pub(crate) fn came_from(&self, person: PrincipalId, network: &str) -> Vec<Passed> {
        self.with(|all| {
            let mut passed = Vec::new();
            for live in all.values_mut().filter(|live| live.person == person && !live.watch.is_empty()) {
                let began = live.from().map(access::risk::network_of);
                if began.as_deref() != Some(network) && live.networks.len() < ONWARD {
                    live.networks.insert(network.to_owned());
                }
                let others = live.networks.len() as u64;
                passed.extend(live.over(Watched::Network, others));
            }
            passed
        })
    }

    /// Whether any session of somebody is watched for something.
    pub(crate) fn is_watched(&self, person: PrincipalId, what: Watched) -> bool {
        self.with(|all| all.values().any(|live| live.person == person && live.watch.iter().any(|threshold| threshold.what == what)))
    }

    /// Somebody went on from a session's target. Whether that is a step: to a forward's destination the first time, with an agent each time.
    pub(crate) fn goes_on(&self, session: SessionId, how: Onward, to: &str) -> Step {
        self.with(|all| {
            let Some(live) = all.get_mut(&session) else { return Step::None };
            let key = match how {
                Onward::Forward => to.to_owned(),
                Onward::Agent => live.onward.len().to_string(),
            };
            let step = if live.onward.len() < ONWARD {
                if live.onward.insert((how, key)) { Step::New } else { Step::None }
            } else if how == Onward::Forward && live.onward.contains(&(how, key)) {
                Step::None
            } else {
                Step::Counted
            };
            live.steps += u64::from(step != Step::None);
            step
        })
    }

    /// A session was opened from the machine on which this one lives.
    pub(crate) fn stepped(&self, session: SessionId) {
        self.with(|all| {
            if let Some(live) = all.get_mut(&session) {
                live.steps += 1;
            }
        });
    }

    /// Tells the user of one session something, where they can be told.
    pub(crate) fn tell_one(&self, session: SessionId, text: &str) {
        let text: Arc<str> = text.into();
        self.with(|all| {
            if let Some(live) = all.get(&session) {
                live.told.send_replace(Some(text));
            }
        });
    }

    /// The browsers that let sessions in which live now.
    #[must_use]
    pub fn browsers(&self) -> BTreeSet<WebSessionId> {
        let browser = |live: &LiveSession| match live.via {
            Via::WebSession(browser) => Some(browser),
            _ => None,
        };
        self.with(|all| all.values().filter_map(browser).collect())
    }

    /// Lets whatever is decided about a grant from now on find this session, before it is entered that it stands on it.
    pub fn stand_on(&self, session: SessionId, grant: GrantId) {
        self.with(|all| {
            if let Some(live) = all.get_mut(&session) {
                live.grant = grant;
            }
        });
    }

    /// Stands a session on another grant with its own end.
    pub fn rehome(&self, session: SessionId, grant: GrantId, ends_at: Option<Timestamp>) {
        self.with(|all| {
            if let Some(live) = all.get_mut(&session) {
                live.grant = grant;
                live.set_end(ends_at);
            }
        });
    }

    /// Moves the end of every session of a grant.
    pub fn extend(&self, grant: GrantId, ends_at: Option<Timestamp>) {
        self.with(|all| {
            for live in all.values_mut().filter(|live| live.grant == grant) {
                live.set_end(ends_at);
            }
        });
    }

    /// Tells the users of every session of a grant something, where they can be told.
    pub fn tell(&self, grant: GrantId, text: &str) {
        let text: Arc<str> = text.into();
        self.with(|all| {
            for live in all.values().filter(|live| live.grant == grant) {
                live.told.send_replace(Some(Arc::clone(&text)));
            }
        });
    }

    /// The sessions of whoever came from a network.
    #[must_use]
    pub fn within(&self, network: &Network) -> Vec<SessionId> {
        let within = |live: &&LiveSession| live.from().is_some_and(|from| network.contains(from));
        let mut found: Vec<SessionId> = self.with(|all| all.values().filter(within).map(|live| live.session).collect());
        found.sort();
        found
    }

    /// The sessions that stand on a grant.
    #[must_use]
    pub fn of_grant(&self, grant: GrantId) -> Vec<SessionId> {
        self.with(|all| all.values().filter(|live| live.grant == grant).map(|live| live.session).collect())
    }

    /// The grants that any session stands on.
    #[must_use]
    pub fn grants(&self) -> BTreeSet<GrantId> {
        self.with(|all| all.values().map(|live| live.grant).collect())
    }

    /// What each live session of these people may do inside, for deciding that anew; one that is cut already is not asked about.
    #[must_use]
    pub fn rights(&self, of: impl Fn(PrincipalId) -> bool) -> Vec<LiveRights> {
        self.with(|all| {
            all.values()
                .filter(|live| of(live.person) && !matches!(*live.standing.borrow(), Standing::Cut(_)))
                .map(|live| LiveRights {
                    session: live.session,
                    person: live.person,
                    resource: live.resource.clone(),
                    role: live.role.clone(),
                    rights: live.rights.clone(),
                    limits: live.limits.clone(),
                    judged_in: live.judged_in.clone(),
                })
                .collect()
        })
    }

    /// Whether one lives here.
    #[must_use]
    pub fn holds(&self, session: SessionId) -> bool {
        self.with(|all| all.contains_key(&session))
    }

    /// Whether one stands on its own grant and no other, by what it was opened with.
    pub(crate) fn is_bound(&self, session: SessionId) -> bool {
        self.with(|all| all.get(&session).is_some_and(|live| matches!(live.via, Via::ConnectToken { .. })))
    }

    /// How many live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.with(|all| all.len())
    }

    /// Whether none lives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Warns those whose end is near, and names those whose end is reached.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Vec<(SessionId, GrantId)> {
        self.with(|all| {
            let mut expired = Vec::new();
            for live in all.values_mut() {
                let Some(ends_at) = live.ends_at else { continue };
                if matches!(*live.standing.borrow(), Standing::Cut(_)) {
                    continue;
                }
                if ends_at <= now {
                    expired.push((live.session, live.grant));
                } else {
                    live.warn(ends_at, now);
                }
            }
            expired
        })
    }
}

impl LiveSession {
    fn set_end(&mut self, ends_at: Option<Timestamp>) {
        self.ends_at = ends_at;
        self.warned = None;
        self.standing.send_if_modified(|standing| {
            if matches!(standing, Standing::Cut(_)) {
                return false;
            }
            *standing = Standing::Open { ends_at };
            true
        });
    }

    fn warn(&mut self, ends_at: Timestamp, now: Timestamp) {
        let left = Span::between(now, ends_at);
        let Some(mark) = WARNINGS.into_iter().filter(|mark| left <= *mark).min() else { return };
        if self.warned.is_some_and(|warned| warned <= mark) {
            return;
        }
        self.warned = Some(mark);
        self.standing.send_if_modified(|standing| {
            if matches!(standing, Standing::Cut(_)) {
                return false;
            }
            *standing = Standing::Warned { ends_at, left: left.max(Span::seconds(1)) };
            true
        });
    }
}
