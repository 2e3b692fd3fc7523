//! The numbers of small stories, counted by hand, and that keeping what was counted so far changes none of them.

use std::net::IpAddr;

use access::approval::Plan;
use access::event::{Actor, EntryDraft, Event};
use access::grant::Frozen;
use access::identity::Mfa;
use access::ids::{GrantId, LockId, PrincipalId, RecordingId, RequestId, SessionId, UserId, WorkloadId};
use access::limits::Limits;
use access::lock::LockScope;
use access::reason::Reason;
use access::request::{Asked, Door};
use access::session::{EndReason, Protocol};
use access::time::Span;
use access::verdict::{Durability, HostKeyRule, RecordLevel, Terms, TicketRule};
use jiff::Timestamp;
use jiff::civil::{Date, date};
use proptest::prelude::*;

use super::*;

/// Sunday, 1 March 2026, and so many seconds.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_772_323_200 + seconds).unwrap()
}

fn terms(production: bool) -> Terms {
    Terms {
        tier: if production { "prod" } else { "non-prod" }.parse().unwrap(),
        production,
        max: Span::hours(8),
        default: Span::hours(1),
        approvals: Vec::<Plan>::new(),
        mfa: Mfa::None,
        mfa_within: Span::hours(12),
        ticket: TicketRule::None,
        ticket_states: Vec::new(),
        reason: true,
        record: RecordLevel::Content,
        durability: Durability::Flush,
        idle: None,
        activate_within: Span::hours(8),
        pending_for: Span::hours(24),
        wait_at_connect: Span::seconds(120),
        host_keys: HostKeyRule::Pinned,
        standing: true,
        break_glass: None,
        sample: None,
        escalate_to: None,
        watch: Vec::new(),
        observed_until: None,
    }
}

/// A log that is being written.
#[derive(Default)]
struct Log(Vec<Vec<u8>>);

impl Log {
    fn enter(&mut self, seconds: i64, actor: Actor, event: Event, texts: &[&'static str]) {
        let mut draft = EntryDraft::new(at(seconds), actor, Door::Api, event);
        for name in texts {
            draft = draft.text(name, Some("words"));
        }
        self.0.push(draft.seal().leaf().unwrap());
    }

    fn gate(&mut self, seconds: i64, event: Event) {
        self.enter(seconds, Actor::Gate, event, &[]);
    }

    /// Somebody asks and gets; `agreed` by somebody, for an hour or standing.
    fn grant(&mut self, seconds: i64, person: PrincipalId, wish: Wish) -> GrantId {
        let (request, grant) = (RequestId::generate(at(seconds)), GrantId::generate(at(seconds)));
        let terms = terms(wish.production);
        let submitted = Event::RequestSubmitted {
            request,
            person,
            resource: "db-1".parse().unwrap(),
            role: "debug".parse().unwrap(),
            asked: Asked::Default,
            limits: Limits::default(),
            break_glass: false,
            extends: None,
            mfa: Mfa::None,
            claims: None,
            terms: terms.clone(),
            bundle: "b".into(),
            policy: "path".into(),
            expires_at: at(seconds + 1000),
            risk: None,
        };
        let said: &[_] = if wish.reason { &["reason", "from"] } else { &["from"] };
        self.enter(seconds, Actor::Principal(person), submitted, said);
        let approvers = if wish.agreed { vec![UserId::generate(at(0)).into()] } else { Vec::new() };
        self.gate(seconds + wish.wait, Event::RequestApproved { request, approvers: approvers.clone() });
        self.gate(
            seconds + wish.wait,
            Event::GrantCreated {
                grant,
                request,
                person,
                resource: "db-1".parse().unwrap(),
                role: "debug".parse().unwrap(),
                limits: Limits::default(),
                terms,
                length: (!wish.standing).then(|| Span::hours(1)),
                break_glass: false,
                bundle: "b".into(),
                policy: "path".into(),
                approvers,
                frozen: Frozen {
                    mfa: Mfa::None,
                    mfa_at: at(seconds),
                    ticket: None,
                    on_call: Vec::new(),
                    claims: None,
                    network: Some(IpAddr::from([10, 0, 0, 1])),
                    risk: None,
                    asked_at: at(seconds),
                },
                activate_by: at(seconds + 5000),
            },
        );
        self.gate(seconds + wish.wait, Event::GrantActivated { grant, starts_at: at(seconds), ends_at: None });
        grant
    }

    fn open(&mut self, seconds: i64, person: PrincipalId, grant: GrantId) -> SessionId {
        let session = SessionId::generate(at(seconds));
        let opened = Event::SessionOpened {
            session,
            grant,
            person,
            resource: "db-1".parse().unwrap(),
            role: "debug".parse().unwrap(),
            protocol: Protocol::Ssh,
            recording: RecordingId::generate(at(seconds)),
            recording_header: Some("00".into()),
            level: RecordLevel::Content,
            node: "n".into(),
            bundle: "b".into(),
            ends_at: None,
        };
        self.enter(seconds, Actor::Principal(person), opened, &["from"]);
        session
    }

    fn end(&mut self, seconds: i64, session: SessionId, confirmed: bool, recorded: bool) {
        let ended = Event::SessionEnded {
            session,
            reason: EndReason::Revoked,
            confirmed,
            bytes_up: 0,
            bytes_down: 0,
            recording_chunks: recorded.then_some(1),
            recording_digest: recorded.then(|| "00".into()),
        };
        self.gate(seconds, ended);
    }

    fn told(&self) -> Projection {
        told(&self.0)
    }
}

#[derive(Clone, Copy)]
struct Wish {
    production: bool,
    standing: bool,
    agreed: bool,
    reason: bool,
    wait: i64,
}

const USUAL: Wish = Wish { production: true, standing: false, agreed: true, reason: true, wait: 60 };

fn told(leaves: &[Vec<u8>]) -> Projection {
    let mut projection = Projection::default();
    leaves.iter().for_each(|leaf| projection.hear(leaf).unwrap());
    projection
}

fn ana() -> PrincipalId {
    UserId::generate(at(0)).into()
}

fn first(projection: &Projection) -> Day {
    projection.days().get(&date(2026, 3, 1)).cloned().unwrap_or_default()
}

// covers: BACK-5
#[test]
fn from_request_to_session_counts_what_people_agreed_to_once() {
    let (mut log, ana) = (Log::default(), ana());
    let grant = log.grant(0, ana, USUAL);
    let one = log.open(90, ana, grant);
    log.end(100, one, true, true);
    // The second session on it waited for nobody.
    log.open(500, ana, grant);
    let at_once = log.grant(600, ana, Wish { agreed: false, ..USUAL });
    log.open(601, ana, at_once);
    let day = first(&log.told());
    assert_eq!((day.request_to_session.count(), day.request_to_session.median(), day.at_once), (1, Some(90_000), 1));
    assert_eq!(day.policies["path"], PolicyDay { asked: 2, approved: 1, ..PolicyDay::default() });
}

// covers: BACK-5
#[test]
fn production_is_time_bound_or_standing_and_what_the_log_does_not_say_counts_against() {
    let (mut log, ana) = (Log::default(), ana());
    let bound = log.grant(0, ana, USUAL);
    let standing = log.grant(1, ana, Wish { standing: true, ..USUAL });
    let elsewhere = log.grant(2, ana, Wish { standing: true, production: false, ..USUAL });
    for grant in [bound, standing, elsewhere, GrantId::generate(at(3))] {
        log.open(100, ana, grant);
    }
    let projection = log.told();
    let day = first(&projection);
    assert_eq!((day.production, day.time_bound, day.standing_began), (3, 1, 1));
    assert_eq!(Report::whole(&projection).standing, 1);
    log.gate(86_400, Event::GrantRevoked { grant: standing, still_open: Vec::new() });
    let projection = log.told();
    let report = Report::of(&projection, date(2026, 3, 1), date(2026, 3, 4), By::Day, 10).unwrap();
    assert_eq!(report.periods.iter().map(|period| period.standing).collect::<Vec<_>>(), [1, 0, 0]);
}

// covers: BACK-5
#[test]
fn a_session_is_complete_when_who_why_where_from_and_a_closed_recording_stand_in_the_log() {
    let (mut log, ana) = (Log::default(), ana());
    let whole = log.grant(0, ana, USUAL);
    let silent = log.grant(1, ana, Wish { reason: false, ..USUAL });
    for (grant, recorded) in [(whole, true), (whole, false), (silent, true)] {
        let session = log.open(100, ana, grant);
        log.end(200, session, true, recorded);
    }
    // A session that the log never saw begin.
    log.end(300, SessionId::generate(at(9)), true, true);
    let day = first(&log.told());
    assert_eq!((day.ended, day.complete), (4, 1));
}

// covers: BACK-5
#[test]
fn a_lock_is_carried_out_when_the_last_target_has_confirmed() {
    let (mut log, ana, ben) = (Log::default(), ana(), UserId::generate(at(0)));
    let bot = PrincipalId::Workload(WorkloadId::generate(at(0)));
    log.gate(0, Event::PersonCreated { person: bot, username: "bot".parse().unwrap(), owner: Some(ben), groups: Vec::new() });
    let (hers, its) = (log.grant(0, ana, USUAL), log.grant(0, bot, USUAL));
    let (one, two, other) = (log.open(100, bot, its), log.open(100, bot, its), log.open(100, ana, hers));
    // A lock on the human who answers for it.
    let set = Event::LockSet {
        lock: LockId::generate(at(200)),
        scope: LockScope::Person(ben.into()),
        until: None,
        contains: false,
        transmitter: None,
        sessions: Vec::new(),
    };
    log.enter(200, Actor::Principal(ana), set, &[]);
    log.end(201, one, true, true);
    log.end(202, two, false, true);
    let waiting = first(&log.told());
    assert_eq!((waiting.orders, waiting.contained.count(), waiting.revoked, waiting.to_last_byte.count()), (1, 0, 2, 1));
    log.gate(260, Event::SessionConfirmed { session: two });
    log.end(300, other, true, true);
    let day = first(&log.told());
    assert_eq!((day.contained.median(), day.revoked, day.to_last_byte.longest()), (Some(60_000), 2, Some(60_000)));
    // Nothing was open: there was nothing to contain. Who ends their own session contains nothing either.
    let set = Event::LockSet {
        lock: LockId::generate(at(400)),
        scope: LockScope::Resource("db-1".parse().unwrap()),
        until: None,
        contains: false,
        transmitter: None,
        sessions: Vec::new(),
    };
    log.gate(400, set);
    let own = log.open(500, ana, hers);
    log.enter(501, Actor::Principal(ana), Event::SessionKilled { session: own }, &[]);
    assert_eq!(first(&log.told()).orders, 1);
}

// covers: BACK-5
#[test]
fn a_lock_on_a_network_is_carried_out_on_the_sessions_that_it_names() {
    let (mut log, ana) = (Log::default(), ana());
    let hers = log.grant(0, ana, USUAL);
    let (inside, outside) = (log.open(100, ana, hers), log.open(100, ana, hers));
    let network = |sessions: Vec<SessionId>| Event::LockSet {
        lock: LockId::generate(at(200)),
        scope: "network:10.0.0.0/8".parse().unwrap(),
        until: None,
        contains: false,
        transmitter: None,
        sessions,
    };
    // Nobody is there: nothing is contained by it.
    log.gate(150, network(Vec::new()));
    log.gate(200, network(vec![inside, SessionId::generate(at(9))]));
    let ordered = first(&log.told());
    assert_eq!((ordered.orders, ordered.revoked, ordered.contained.count()), (1, 1, 0));
    log.end(202, inside, true, true);
    log.end(300, outside, true, true);
    let day = first(&log.told());
    assert_eq!((day.orders, day.contained.longest(), day.revoked, day.to_last_byte.longest()), (1, Some(2_000), 1, Some(2_000)));
}

// covers: BACK-5
#[test]
fn weeks_begin_on_monday_and_months_on_the_first() {
    let mut log = Log::default();
    for day in [0, 1, 8, 31] {
        log.grant(day * 86_400, ana(), USUAL);
    }
    let projection = log.told();
    let asked = |by, since: Date, until: Date| {
        let report = Report::of(&projection, since, until, by, 100).unwrap();
        let of = |sum: &Day| sum.policies.get("path").map_or(0, |policy| policy.asked);
        (report.periods.iter().map(|p| (p.from, of(&p.sum))).collect::<Vec<_>>(), of(&report.total.sum))
    };
    let (february, march, april) = (date(2026, 2, 27), date(2026, 3, 1), date(2026, 4, 2));
    assert_eq!(asked(By::Week, march, date(2026, 3, 12)), (vec![(march, 1), (date(2026, 3, 2), 1), (date(2026, 3, 9), 1)], 3));
    assert_eq!(asked(By::Month, february, april), (vec![(february, 0), (march, 3), (date(2026, 4, 1), 1)], 4));
    assert!(Report::of(&projection, february, april, By::Day, 10).is_none(), "more than there may be");
    assert!(Report::of(&projection, april, february, By::Day, 10).is_none(), "backwards");
}

#[test]
fn what_is_no_entry_is_not_counted_and_another_version_is_thrown_away() {
    let mut projection = Projection::default();
    let error = projection.hear(b"{}").unwrap_err();
    assert_eq!((error.index, projection.entries()), (0, 0));
    let kept = serde_json::to_string(&projection).unwrap();
    assert_eq!(Projection::kept(&kept), Some(projection));
    let version = |version: u32| format!("\"version\":{version}");
    assert_eq!(Projection::kept(&kept.replace(&version(Projection::VERSION), &version(Projection::VERSION - 1))), None);
    assert_eq!(Projection::kept("not that"), None);
}

// covers: BACK-5
#[test]
fn a_session_that_moves_onto_a_right_without_an_end_is_no_longer_time_bound() {
    let (mut log, ana) = (Log::default(), ana());
    let (bound, other) = (log.grant(0, ana, USUAL), log.grant(1, ana, USUAL));
    let standing = log.grant(2, ana, Wish { standing: true, ..USUAL });
    let session = log.open(100, ana, bound);
    log.gate(86_400, Event::SessionRehomed { session, from_grant: bound, to_grant: other });
    assert_eq!(first(&log.told()).time_bound, 1);
    for _ in 0..2 {
        log.gate(86_401, Event::SessionRehomed { session, from_grant: other, to_grant: standing });
        let day = first(&log.told());
        assert_eq!((day.production, day.time_bound), (1, 0), "on the day it was opened, and once");
    }
}

/// One step of a made-up story; numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    Grant { production: bool, standing: bool, agreed: bool, reason: bool },
    Open(usize),
    End { which: usize, confirmed: bool, recorded: bool },
    Confirm(usize),
    Revoke(usize),
    Kill(usize),
    LockAna,
    LockAll,
    LockNetwork(usize),
    Expire(usize),
    Rehome(usize, usize),
    Deny,
    Wait(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<[bool; 4]>().prop_map(|[production, standing, agreed, reason]| Step::Grant { production, standing, agreed, reason }),
        5 => any::<usize>().prop_map(Step::Open),
        4 => (any::<usize>(), any::<bool>(), any::<bool>()).prop_map(|(which, confirmed, recorded)| Step::End { which, confirmed, recorded }),
        2 => any::<usize>().prop_map(Step::Confirm),
        2 => any::<usize>().prop_map(Step::Revoke),
        2 => any::<usize>().prop_map(Step::Kill),
        1 => Just(Step::LockAna),
        1 => Just(Step::LockAll),
        1 => any::<usize>().prop_map(Step::LockNetwork),
        1 => any::<usize>().prop_map(Step::Expire),
        1 => any::<[usize; 2]>().prop_map(|[session, grant]| Step::Rehome(session, grant)),
        1 => Just(Step::Deny),
        3 => (1u32..200_000).prop_map(Step::Wait),
    ]
}

fn story(steps: &[Step]) -> Vec<Vec<u8>> {
    let (mut log, people) = (Log::default(), [ana(), UserId::generate(at(1)).into()]);
    let (mut now, mut grants, mut sessions) = (0i64, Vec::new(), Vec::new());
    let one_of = |all: &[(PrincipalId, GrantId)], n: usize| (!all.is_empty()).then(|| all[n % all.len()]);
    for (n, step) in steps.iter().enumerate() {
        now += 1;
        let person = people[n % 2];
        let session = |n: usize| (!sessions.is_empty()).then(|| sessions[n % sessions.len()]);
        match step.clone() {
            Step::Grant { production, standing, agreed, reason } => {
                grants.push((person, log.grant(now, person, Wish { production, standing, agreed, reason, wait: 5 })));
            }
            Step::Open(n) => {
                if let Some((person, grant)) = one_of(&grants, n) {
                    let opened = log.open(now, person, grant);
                    sessions.push(opened);
                }
            }
            Step::End { which, confirmed, recorded } => {
                if let Some(session) = session(which) {
                    log.end(now, session, confirmed, recorded);
                }
            }
            Step::Confirm(n) => {
                if let Some(session) = session(n) {
                    log.gate(now, Event::SessionConfirmed { session });
                }
            }
            Step::Kill(n) => {
                if let Some(session) = session(n) {
                    log.gate(now, Event::SessionKilled { session });
                }
            }
            Step::Revoke(n) => {
                if let Some((_, grant)) = one_of(&grants, n) {
                    log.gate(now, Event::GrantRevoked { grant, still_open: Vec::new() });
                }
            }
            Step::Expire(n) => {
                if let Some((_, grant)) = one_of(&grants, n) {
                    log.gate(now, Event::GrantExpired { grant });
                }
            }
            Step::Rehome(n, to) => {
                if let (Some(session), Some((_, to_grant))) = (session(n), one_of(&grants, to)) {
                    log.gate(now, Event::SessionRehomed { session, from_grant: to_grant, to_grant });
                }
            }
            Step::LockAna => {
                log.gate(
                    now,
                    Event::LockSet {
                        lock: LockId::generate(at(now)),
                        scope: LockScope::Person(people[0]),
                        until: None,
                        contains: false,
                        transmitter: None,
                        sessions: Vec::new(),
                    },
                );
            }
            Step::LockAll => {
                let scope = LockScope::Role("debug".parse().unwrap());
                log.gate(
                    now,
                    Event::LockSet {
                        lock: LockId::generate(at(now)),
                        scope,
                        until: None,
                        contains: false,
                        transmitter: None,
                        sessions: Vec::new(),
                    },
                );
            }
            Step::LockNetwork(n) => {
                let (lock, scope) = (LockId::generate(at(now)), "network:10.0.0.0/8".parse().unwrap());
                let sessions = session(n).into_iter().collect();
                log.gate(now, Event::LockSet { lock, scope, until: None, contains: false, transmitter: None, sessions });
            }
            Step::Deny => {
                let request = RequestId::generate(at(now));
                log.gate(now, Event::RequestDenied { request, reason: Reason::Denied, bundle: None, policies: Vec::new() })
            }
            Step::Wait(seconds) => now += i64::from(seconds),
        }
    }
    log.0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // covers: BACK-5
    #[test]
    fn going_on_from_what_was_kept_is_the_same_as_counting_anew(steps in proptest::collection::vec(step(), 1..60), cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 1..4)) {
        let leaves = story(&steps);
        let anew = told(&leaves);
        let mut stops: Vec<usize> = cuts.iter().map(|cut| cut.index(leaves.len() + 1)).collect();
        stops.sort_unstable();
        let mut kept = serde_json::to_string(&Projection::default()).unwrap();
        for end in stops.into_iter().chain([leaves.len()]) {
            let mut projection = Projection::kept(&kept).unwrap();
            let begin = usize::try_from(projection.entries()).unwrap();
            leaves[begin.min(end)..end].iter().for_each(|leaf| projection.hear(leaf).unwrap());
            // What holds of any log.
            let sum = Report::whole(&projection).sum;
            prop_assert!(sum.time_bound <= sum.production && sum.complete <= sum.ended);
            prop_assert!(sum.contained.count() <= sum.orders && sum.to_last_byte.count() <= sum.revoked);
            kept = serde_json::to_string(&projection).unwrap();
        }
        prop_assert_eq!(Projection::kept(&kept).unwrap(), anew);
    }
}
