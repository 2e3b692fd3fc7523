//! The measures: counted from the log, the same after a restart and when the whole log is told again.

use access::approval::Decision::Approve;
use access::grant::GrantState;
use access::lock::LockScope;
use access::reason::Reason;
use access::request::{Asked, Door};
use access::session::{ClosedSession, EndReason, Ends, Protocol, Standing};
use access::time::Span;
use evidence::measures::{By, Period};
use jiff::civil::date;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use testkit::gate::{HERE, TestGate, ask};
use tidegate_workflow::Caller;
use tidegate_workflow::open::Opened;

async fn open(t: &TestGate, caller: &Caller, resource: &str, role: &str) -> Opened {
    t.gate.open(caller, &resource.parse().unwrap(), &role.parse().unwrap(), Protocol::Ssh).await.unwrap()
}

async fn close(t: &TestGate, opened: Opened, end: EndReason, confirmed: bool) {
    let session = opened.permit.facts().session;
    let closed = opened.recording.close(end.code(), 0).await.unwrap();
    let digest = closed.digest.iter().map(|b| format!("{b:02x}")).collect();
    let recording = Some((closed.chunks, digest));
    t.gate.close(ClosedSession { session, end, confirmed, bytes_up: 1, bytes_down: 2, recording }).await;
}

/// Leaves when it is told to, half a second later by the gate's clock.
async fn obey(t: &TestGate, mut opened: Opened) {
    while !matches!(*opened.standing.borrow_and_update(), Standing::Cut(_)) {
        opened.standing.changed().await.unwrap();
    }
    t.time.advance(Duration::from_millis(500));
    close(t, opened, EndReason::Revoked, true).await;
}

/// Everything of March, as the auditor sees it.
async fn march(t: &TestGate) -> Period {
    t.gate.checkpoint().await.unwrap();
    let measures = t.gate.measures(t.person("eve"), date(2026, 3, 1), date(2026, 4, 1), By::Week).await.unwrap();
    assert_eq!(measures.waiting, 0, "all of the log is counted");
    assert_eq!(measures.report.entries, t.gate.store().sequenced().await.unwrap());
    measures.report.total
}

// covers: BACK-5 (api)
#[tokio::test]
async fn ana_waits_for_ben_and_carla_revokes_and_the_numbers_say_so_after_a_restart_too() {
    let t = TestGate::start().await.unwrap();
    let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    t.pass(Duration::from_secs(60)).await;
    let grant = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap().grant.unwrap();
    t.pass(Duration::from_secs(30)).await;
    let opened = open(&t, t.person("ana"), "db-1", "debug").await;
    let (revoked, ()) = tokio::join!(t.gate.revoke(t.person("carla"), grant.id, None), obey(&t, opened));
    assert_eq!(revoked.unwrap().0.state, GrantState::Ended);
    // On the build machine nobody has to agree, and it is not production.
    t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap();
    let opened = open(&t, t.person("ana"), "build-1", "shell").await;
    let locked = t.gate.lock(t.person("carla"), LockScope::Person(t.person("ana").who.id()), None, None);
    let (locked, ()) = tokio::join!(locked, obey(&t, opened));
    locked.unwrap();

    let first = march(&t).await;
    let sum = &first.sum;
    assert_eq!((sum.request_to_session.count(), sum.request_to_session.median()), (1, Some(90_000)));
    assert_eq!((sum.production, sum.time_bound, first.standing, sum.at_once), (1, 1, 0, 1));
    assert_eq!((sum.ended, sum.complete), (2, 2));
    assert_eq!((sum.revoked, sum.to_last_byte.longest()), (2, Some(500)));
    assert_eq!((sum.orders, sum.contained.longest(), sum.lateral_steps), (1, Some(500), 0));

    // What was counted is kept when the node stops, and gone on from.
    t.gate.stopped().await;
    assert!(t.gate.store().projection("measures").await.unwrap().is_some());
    let t = t.restart().await.unwrap();
    assert_eq!(march(&t).await.sum, first.sum);
    // It is lost, or of another version: the log says the same again.
    t.gate.store().keep_projection("measures", 0, 1, "{\"version\":0}".into()).await.unwrap();
    let t = t.restart().await.unwrap();
    assert_eq!(march(&t).await.sum, first.sum);
    // Kept of another log: longer than this one, or ending elsewhere.
    let kept = t.gate.store().projection("measures").await.unwrap();
    assert_eq!(kept, None, "what could not be used was forgotten");
}

// covers: BACK-5 (api)
#[tokio::test]
async fn who_may_not_read_the_log_may_not_read_what_follows_from_it() {
    let t = TestGate::start().await.unwrap();
    let (since, until) = (date(2026, 3, 1), date(2026, 3, 31));
    t.gate.measures(t.person("eve"), since, until, By::Month).await.unwrap();
    assert_eq!(t.gate.measures(t.person("ana"), since, until, By::Month).await.unwrap_err().reason, Reason::NotAllowed);
    for (since, until, by) in [(until, since, By::Day), (date(2020, 1, 1), until, By::Day)] {
        assert_eq!(t.gate.measures(t.person("eve"), since, until, by).await.unwrap_err().reason, Reason::Invalid);
    }
}

// covers: BACK-5 (ssh)
#[tokio::test]
async fn a_session_from_the_machine_of_another_is_a_lateral_step() {
    let t = TestGate::start().await.unwrap();
    let machine: IpAddr = "10.20.0.21".parse().unwrap();
    let ends = |target: IpAddr| Ends { gate: SocketAddr::new(HERE, 4000), target: SocketAddr::new(target, 22) };
    t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap();
    let first = open(&t, t.person("ana"), "build-1", "shell").await;
    let session = first.permit.facts().session;
    let token =
        t.gate.issue_token(t.person("ana"), t.person("ana").who.id(), access::identity::Scope::OF_PEOPLE.to_vec(), Span::hours(1), None);
    let token = token.await.unwrap();
    let there = Caller { who: t.gate.identify_token(token.token.expose(), machine).await.unwrap(), door: Door::Ssh };
    // Nobody knows yet where the first one went; then that it is on the gate's own machine, where nobody can tell who comes from it.
    for reached in [None, Some(HERE)] {
        if let Some(target) = reached {
            t.gate.reached(session, ends(target)).await;
        }
        close(&t, open(&t, &there, "build-1", "shell").await, EndReason::Client, true).await;
        assert_eq!(march(&t).await.sum.lateral_steps, 0);
    }
    t.gate.reached(session, ends(machine)).await;
    close(&t, open(&t, &there, "build-1", "shell").await, EndReason::Client, true).await;
    assert_eq!(march(&t).await.sum.lateral_steps, 1);
    assert!(t.entries().await.unwrap().contains(&"session.stepped".to_owned()));
    // From elsewhere, or once the first one is over, it is none.
    close(&t, open(&t, t.person("ana"), "build-1", "shell").await, EndReason::Client, true).await;
    close(&t, first, EndReason::Client, true).await;
    close(&t, open(&t, &there, "build-1", "shell").await, EndReason::Client, true).await;
    assert_eq!(march(&t).await.sum.lateral_steps, 1);
}

// covers: BACK-5 (api)
#[tokio::test]
async fn a_right_without_an_end_counts_while_it_is_active() {
    let t = TestGate::start().await.unwrap();
    let mut files = t.gate.bundle().files().clone();
    let tiers = String::from_utf8(files["tiers.toml"].clone())
        .unwrap()
        .replace("production = false\n", "")
        .replace("host_keys = \"first-use\"\n", "");
    files.insert("tiers.toml".into(), tiers.into_bytes());
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    let bot = crate::reviewing::bot(&t).await;
    let mut wish = ask("build-1", "deploy");
    wish.asked = Asked::Standing;
    let grant = t.gate.submit(&bot, wish).await.unwrap().grant.unwrap();
    assert_eq!(march(&t).await.standing, 0, "its clock has not started");
    t.gate.activate(&bot, grant.id).await.unwrap();
    assert_eq!(march(&t).await.standing, 1);
    close(&t, open(&t, &bot, "build-1", "deploy").await, EndReason::Client, true).await;
    let sum = march(&t).await.sum;
    assert_eq!((sum.production, sum.time_bound), (1, 0));
    t.gate.give_back(&bot, grant.id).await.unwrap();
    assert_eq!(march(&t).await.standing, 0);
}
