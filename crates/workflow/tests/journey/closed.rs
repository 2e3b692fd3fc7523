//! Closed by default: what is refused is entered, and what nobody looks after does not stay open.

use std::time::{Duration, Instant};

use access::approval::Decision::{Approve, Deny};
use access::event::Event;
use access::limits::Limits;
use access::reason::Reason;
use access::request::{Asked, Door, RequestState};
use access::session::{EndReason, Protocol, Standing};
use access::time::Span;
use testkit::gate::{HERE, TestGate, ask};
use tidegate_workflow::Caller;
use tidegate_workflow::knock::{Given, Knocked};
use tokio_util::sync::CancellationToken;

async fn last(t: &TestGate) -> String {
    t.entries().await.unwrap().pop().unwrap_or_default()
}

// covers: EV-1 (api), ASK-3
#[tokio::test]
async fn whatever_is_refused_is_in_the_log() {
    let t = TestGate::start().await.unwrap();
    let ana = t.person("ana");
    let given = || Given { reason: Some("looking".into()), ..Given::default() };
    assert!(matches!(t.gate.knock_with(ana, &"db-1+debug".parse().unwrap(), given(), Protocol::Ssh).await, Ok(Knocked::Waiting(_))));

    // A place that does not exist, by whatever verb.
    for n in 0..2 {
        let before = t.entries().await.unwrap().len();
        let nowhere = "nowhere".parse().unwrap();
        let refusal = match n {
            0 => t.gate.knock(ana, &nowhere, Protocol::Ssh).await.unwrap_err(),
            _ => t.gate.knock_with(ana, &nowhere, given(), Protocol::Ssh).await.unwrap_err(),
        };
        assert_eq!((refusal.reason, t.entries().await.unwrap().len()), (Reason::UnknownResource, before + 1), "{n}");
        assert_eq!(last(&t).await, "session.refused");
    }

    // The same again with other limits, and an edit that policy does not cover.
    let mut limited = ask("db-1", "debug");
    limited.limits = Limits { read_only: true, ..Limits::default() };
    assert_eq!(t.gate.submit(ana, limited).await.unwrap_err().reason, Reason::AlreadyAsked);
    assert_eq!(last(&t).await, "request.refused");
    let pending = t.gate.submit(ana, ask("db-1", "debug")).await.unwrap().request;
    let mut longer = ask("db-1", "debug");
    longer.asked = Asked::For(Span::hours(3));
    t.gate.edit(ana, pending.id, longer.clone()).await.expect("as long as it may be");
    longer.asked = Asked::For(Span::hours(1_000));
    let before = t.entries().await.unwrap().len();
    assert_eq!(t.gate.edit(ana, pending.id, longer).await.unwrap_err().reason, Reason::TooLong);
    assert_eq!((t.entries().await.unwrap().len(), last(&t).await.as_str()), (before + 1, "request.refused"));

    // A no that still stands is repeated, and entered each time.
    t.gate.vote(t.person("ben"), pending.id, Deny, None).await.unwrap();
    let refusal = t.gate.knock(ana, &"db-1+debug".parse().unwrap(), Protocol::Ssh).await.unwrap_err();
    assert_eq!((refusal.reason, last(&t).await.as_str()), (Reason::Denied, "session.refused"));
}

// covers: EV-1 (api), MAY-1 (api)
#[tokio::test]
async fn what_policy_refuses_is_entered_with_its_policies_and_its_bundle() {
    let t = TestGate::start().await.unwrap();
    let ana = t.person("ana");
    let newest = async |named: &str| {
        let page = store::EntryPage { limit: 1, after: None, newest_first: true };
        let filter = store::EntryFilter { name: Some(named.to_owned()), ..store::EntryFilter::default() };
        t.gate.store().entries(&filter, page).await.unwrap().remove(0).entry
    };
    let (first, second) = (ask("db-1", "debug"), ask("db-1", "logs"));
    let agreed = t.gate.submit(ana, first.clone()).await.unwrap().request;
    assert!(t.gate.vote(t.person("ben"), agreed.id, Approve, None).await.unwrap().grant.is_some());
    let pending = t.gate.submit(ana, second).await.unwrap().request;
    let whole = t.gate.bundle().files().clone();
    let mut files = whole.clone();
    let frozen = "@id(\"frozen\") @reason(\"the disks are changed\") \
                  forbid(principal, action == Tide::Action::\"request\", resource in Tide::Tier::\"prod\")\n\
                  when { resource.role == Tide::Role::\"debug\" || resource.role == Tide::Role::\"logs\" };\n";
    files.insert("frozen.cedar".into(), frozen.as_bytes().to_vec());
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    let says = "`frozen`: the disks are changed";

    let refusal = t.gate.submit(ana, first).await.unwrap_err();
    assert_eq!((refusal.reason, refusal.detail.as_deref()), (Reason::Forbidden, Some(says)));
    let entry = newest("request.refused").await;
    let Event::RequestRefused { bundle, policies, .. } = &entry.event else { panic!("{entry:?}") };
    assert_eq!((bundle.as_str(), policies.clone()), (t.gate.bundle().digest(), vec!["frozen".to_owned()]));
    assert_eq!(entry.text("detail"), Some(says));

    assert!(t.gate.vote(t.person("ben"), pending.id, Approve, None).await.unwrap().grant.is_none());
    let entry = newest("request.denied").await;
    let Event::RequestDenied { bundle, policies, reason, .. } = &entry.event else { panic!("{entry:?}") };
    assert_eq!((*reason, policies.clone()), (Reason::Forbidden, vec!["frozen".to_owned()]));
    assert_eq!(bundle.as_deref(), Some(t.gate.bundle().digest()));
    // What people say no to no policy did.
    t.gate.push_bundle(t.person("dan"), whole).await.unwrap();
    let pending = t.gate.submit(ana, ask("db-1", "logs")).await.unwrap().request;
    t.gate.vote(t.person("ben"), pending.id, Deny, None).await.unwrap();
    let entry = newest("request.denied").await;
    assert!(matches!(&entry.event, Event::RequestDenied { bundle: None, policies, .. } if policies.is_empty()), "{entry:?}");
}

// covers: ASK-3, OK-1 (api)
#[tokio::test]
async fn what_no_person_said_no_to_can_be_asked_again_at_once() {
    let t = TestGate::start().await.unwrap();
    let ana = t.person("ana");
    let there = "db-1+debug".parse().unwrap();
    let given = || Given { reason: Some("looking".into()), ..Given::default() };
    let pending = t.gate.submit(ana, ask("db-1", "debug")).await.unwrap().request;
    // What was agreed to is no longer possible when the last of them agrees.
    let (lock, _) = t.gate.lock(t.person("carla"), access::lock::LockScope::Resource("db-1".parse().unwrap()), None, None).await.unwrap();
    let _refused = t.gate.vote(t.person("ben"), pending.id, Approve, None).await;
    let row = t.gate.store().request(pending.id).await.unwrap().unwrap();
    assert_eq!(row.state, RequestState::Denied, "policy said no, and nobody else");
    let shut = t.gate.knock_with(ana, &there, given(), Protocol::Ssh).await.unwrap_err();
    assert_eq!(shut.reason, Reason::Locked);
    t.gate.lift(t.person("carla"), lock.id).await.unwrap();
    let again = t.gate.knock_with(ana, &there, given(), Protocol::Ssh).await;
    assert!(matches!(again, Ok(Knocked::Waiting(_))), "{again:?}");
}

// covers: F2 (api)
#[tokio::test]
async fn a_request_too_large_for_its_entry_is_refused_and_the_log_goes_on() {
    let t = TestGate::start().await.unwrap();
    let (ana, ben) = (t.person("ana"), t.person("ben"));
    let long = |letters: usize| {
        let mut limited = ask("db-1", "debug");
        limited.limits = Limits { command: Some("x".repeat(letters)), ..Limits::default() };
        limited
    };
    assert_eq!(t.gate.submit(ana, long(70_000)).await.unwrap_err().reason, Reason::Invalid);
    assert_eq!(t.gate.submit(ana, long(20_000)).await.unwrap_err().reason, Reason::Invalid);
    let asked = t.gate.submit(ana, ask("db-1", "debug")).await.unwrap().request;
    assert_eq!(t.gate.edit(ana, asked.id, long(70_000)).await.unwrap_err().reason, Reason::Invalid);
    t.gate.vote(ben, asked.id, Approve, None).await.expect("all goes on");
}

// covers: C6 (api)
#[tokio::test]
async fn what_costs_more_by_now_is_not_called_approved() {
    for dearer in [false, true] {
        let t = TestGate::start().await.unwrap();
        let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
        let mut files = t.gate.bundle().files().clone();
        let access = String::from_utf8(files["access.cedar"].clone()).unwrap();
        let price = if dearer { "@id(\"team-on-its-own\")\n@approval(\"lead-and-security\")" } else { "@id(\"team-on-its-own\")" };
        files.insert("access.cedar".into(), format!("// looked at\n{}", access.replace("@id(\"team-on-its-own\")", price)).into_bytes());
        assert!(t.gate.push_bundle(t.person("dan"), files).await.unwrap().changed);
        let voted = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap();
        let opened = t.gate.open(t.person("ana"), &"db-1".parse().unwrap(), &"debug".parse().unwrap(), Protocol::Ssh).await;
        if dearer {
            assert_eq!((voted.request.state, voted.grant), (RequestState::Denied, None));
            assert_eq!(opened.unwrap_err().reason, Reason::NoPath);
        } else {
            assert_eq!((voted.request.state, voted.grant.is_some()), (RequestState::Approved, true));
            opened.expect("what was approved opens");
        }
    }
}

// covers: WHO-4
#[tokio::test]
async fn who_is_invited_anew_has_one_invitation() {
    let t = TestGate::start().await.unwrap();
    let gil = t.gate.invite(t.person("dan"), "gil".parse().unwrap(), None).await.unwrap();
    let again = t.gate.invite_again(t.person("dan"), gil.person.id).await.unwrap();
    // Whom an administrator invites meanwhile takes nothing from the administrator's own.
    let dans = t.gate.invite_again(t.person("admin"), t.person("dan").who.id()).await.unwrap();
    t.gate.invite(t.person("dan"), "hal".parse().unwrap(), None).await.unwrap();
    t.gate.accept_invitation(dans.code.expose(), HERE).await.expect("the newest of his own");
    assert_eq!(t.gate.accept_invitation(gil.code.expose(), HERE).await.unwrap_err().reason, Reason::CodeInvalid, "the lost one");
    let (who, _) = t.gate.accept_invitation(again.code.expose(), HERE).await.unwrap();
    assert_eq!(who.id(), gil.person.id);
}

// covers: D4
#[tokio::test]
async fn nothing_stays_open_that_nobody_would_cut() {
    let t = TestGate::start().await.unwrap();
    t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap().grant.expect("at once");
    let opened = t.gate.open(t.person("ana"), &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap();
    let stop = CancellationToken::new();
    let sweeping = tokio::spawn(t.gate.clone().sweep_forever(stop.clone()));
    // It has looked once at least when something that is due is done.
    t.time.advance(Duration::from_secs(1));
    while !t.gate.was_swept() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    t.gate.look_after_the_sweep(Instant::now());
    assert!(t.gate.is_swept() && matches!(*opened.standing.borrow(), Standing::Open { .. }));
    stop.cancel();
    sweeping.await.unwrap();
    t.gate.look_after_the_sweep(Instant::now() + Duration::from_secs(60));
    assert!(matches!(*opened.standing.borrow(), Standing::Open { .. }), "it may just have stood still");
    t.gate.look_after_the_sweep(Instant::now() + Duration::from_secs(61));
    assert!(matches!(*opened.standing.borrow(), Standing::Cut(EndReason::Node)));
}

// covers: A9, D1
#[tokio::test]
async fn what_a_browser_let_in_ends_with_its_sign_in() {
    let t = TestGate::start().await.unwrap();
    t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap().grant.expect("at once");
    let until = Span::hours(12).after(t.gate.now());
    let browser = t.gate.open_web_session(t.person("ana").who.clone(), until, None).await.unwrap();
    let who = t.gate.identify_web_session(browser.cookie.expose(), HERE, true).await.unwrap();
    let by_browser = Caller { who, door: Door::Ssh };
    let (resource, role) = ("build-1".parse().unwrap(), "shell".parse().unwrap());
    let let_in = t.gate.open(&by_browser, &resource, &role, Protocol::Ssh).await.unwrap();
    let by_key = t.gate.open(t.person("ana"), &resource, &role, Protocol::Ssh).await.unwrap();
    let lives = |opened: &tidegate_workflow::open::Opened| !matches!(*opened.standing.borrow(), Standing::Cut(_));
    t.pass(Duration::from_secs(59 * 60)).await;
    assert!(lives(&let_in) && lives(&by_key));
    // Nobody was at the browser for an hour.
    t.pass(Duration::from_secs(2 * 60)).await;
    assert!(matches!(*let_in.standing.borrow(), Standing::Cut(EndReason::Revoked)));
    assert!(lives(&by_key));
    assert_eq!(t.gate.open(&by_browser, &resource, &role, Protocol::Ssh).await.unwrap_err().reason, Reason::NotSignedIn);
}
