//! Time, restarts and crashes: never longer than granted.

use access::grant::{GrantEnd, GrantState};
use access::reason::Reason;
use access::session::{EndReason, Protocol, SessionState};
use jiff::SignedDuration;
use std::time::Duration;
use testkit::gate::{TestGate, ask};

// covers: D4, GRANT-7 (api)
#[tokio::test]
async fn a_clock_set_back_opens_nothing_and_lengthens_nothing() {
    let t = TestGate::start().await.unwrap();
    let grant = t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap().grant.unwrap();
    let active = t.gate.activate(t.person("ana"), grant.id).await.unwrap();
    t.gate
        .open(t.person("ana"), &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh)
        .await
        .expect("while the clock is right");
    let real = t.gate.now();
    t.time.step_wall(real - SignedDuration::from_hours(1));
    let refusal = t.gate.open(t.person("ana"), &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::ClockBehind);
    t.pass(Duration::from_secs(2 * 3600 + 1)).await;
    let row = t.gate.store().grant(grant.id).await.unwrap().unwrap();
    assert_eq!((row.end, row.ends_at), (Some(GrantEnd::Expired), active.ends_at));
}

// covers: GRANT-7, D4 (api)
#[tokio::test]
async fn a_restart_keeps_ends_and_closes_what_was_left_open() {
    let t = TestGate::start().await.unwrap();
    let grant = t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap().grant.unwrap();
    let opened = t.gate.open(t.person("ana"), &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap();
    let session = opened.permit.facts().session;
    let ends_at = opened.permit.facts().ends_at;
    drop(opened);
    // The wall clock jumps back while the gate is down; the log knows better.
    t.time.step_wall(t.gate.now() - SignedDuration::from_hours(3));
    let t = t.restart().await.unwrap();
    let row = t.gate.store().session(session).await.unwrap().unwrap();
    assert_eq!((row.state, row.end, row.confirmed), (SessionState::Ended, Some(EndReason::Node), Some(false)));
    let row = t.gate.store().grant(grant.id).await.unwrap().unwrap();
    assert_eq!((row.state, row.ends_at), (GrantState::Active, ends_at));
    let refusal = t.gate.open(t.person("ana"), &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::ClockBehind);
    let replay = t.gate.replay().await.unwrap();
    assert!(replay.differences.is_empty(), "{:?}", replay.differences);
}

// covers: GRANT-1 (api)
#[tokio::test]
async fn a_grant_not_used_in_time_lapses() {
    let t = TestGate::start().await.unwrap();
    let grant = t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap().grant.unwrap();
    t.pass(Duration::from_secs(8 * 3600 + 1)).await;
    assert_eq!(t.gate.store().grant(grant.id).await.unwrap().unwrap().end, Some(GrantEnd::Lapsed));
    assert!(t.gate.activate(t.person("ana"), grant.id).await.is_err());
}

// covers: GRANT-6 (api)
#[tokio::test]
async fn a_grant_nobody_uses_ends_by_itself() {
    let t = TestGate::start().await.unwrap();
    let grant = t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap().grant.unwrap();
    t.gate.activate(t.person("ana"), grant.id).await.unwrap();
    t.pass(Duration::from_secs(59 * 60)).await;
    assert_eq!(t.gate.store().grant(grant.id).await.unwrap().unwrap().state, GrantState::Active);
    t.pass(Duration::from_secs(2 * 60)).await;
    assert_eq!(t.gate.store().grant(grant.id).await.unwrap().unwrap().end, Some(GrantEnd::Idle));
}
