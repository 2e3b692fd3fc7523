//! Looking back: who could reach a resource at a time and who did, told from the log and by the policy of that time.

use std::process::Command;
use std::time::Duration;

use access::approval::Decision::Approve;
use access::grant::GrantState;
use access::reason::Reason;
use access::session::{ClosedSession, EndReason, Protocol};
use jiff::Timestamp;
use testkit::gate::{TestGate, ask};
use tidegate_workflow::history::ReachBy;

/// How somebody could get at db-1 in a role, at a time.
async fn ways(t: &TestGate, at: Timestamp, username: &str, role: &str) -> Vec<ReachBy> {
    let all = t.gate.who_could(t.person("eve"), &"db-1".parse().unwrap(), at, None, usize::MAX).await.unwrap();
    all.into_iter().filter(|reach| reach.username == username && reach.role.as_str() == role).map(|reach| reach.by).collect()
}

/// A minute passes, then it is the time, then another minute.
async fn then(t: &TestGate) -> Timestamp {
    t.pass(Duration::from_secs(60)).await;
    let at = t.gate.now();
    t.pass(Duration::from_secs(60)).await;
    at
}

// covers: EV-9 (api)
#[tokio::test]
async fn who_could_and_who_did_is_told_as_it_was() {
    let t = TestGate::start().await.unwrap();
    let (db, debug) = ("db-1".parse().unwrap(), "debug".parse().unwrap());
    let before = then(&t).await;
    let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    let asked = then(&t).await;
    let grant = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap().grant.unwrap();
    assert_eq!(grant.state, GrantState::Ready);
    let agreed = then(&t).await;
    let opened = t.gate.open(t.person("ana"), &db, &debug, Protocol::Ssh).await.unwrap();
    let session = opened.permit.facts().session;
    let inside = then(&t).await;
    let live = t.gate.who_did(t.person("eve"), &db, (inside, inside), None, 100).await.unwrap();
    assert_eq!((live.len(), live[0].session, live[0].ended_at), (1, session, None));
    t.gate.close(ClosedSession { session, end: EndReason::Client, confirmed: true, bytes_up: 0, bytes_down: 0, recording: None }).await;
    let left = then(&t).await;
    t.pass(Duration::from_secs(3 * 3600)).await;
    let expired = then(&t).await;
    // Now nobody but in an emergency, and then she is disabled.
    let mut files = t.gate.bundle().files().clone();
    let access = String::from_utf8(files["access.cedar"].clone()).unwrap();
    let closed = access.replace(
        "unless { resource.role == Tide::Role::\"admin\" };",
        "unless { resource.role == Tide::Role::\"admin\" || resource.role == Tide::Role::\"debug\" };",
    );
    assert_ne!(access, closed);
    files.insert("access.cedar".into(), closed.into_bytes());
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    let changed = then(&t).await;
    t.gate.disable(t.person("dan"), t.person("ana").who.id(), None).await.unwrap();
    let disabled = then(&t).await;

    // All of it is asked now, of the past.
    let by_asking = ReachBy::Approval(1);
    for (when, at, wanted) in [
        ("before anything", before, vec![by_asking.clone()]),
        ("asked", asked, vec![by_asking.clone()]),
        ("agreed", agreed, vec![ReachBy::Ready(grant.id), by_asking.clone()]),
        ("inside", inside, vec![ReachBy::Grant(grant.id), by_asking.clone()]),
        ("left", left, vec![ReachBy::Grant(grant.id), by_asking.clone()]),
        ("expired", expired, vec![by_asking.clone()]),
        ("another policy", changed, vec![]),
        ("disabled", disabled, vec![]),
    ] {
        assert_eq!(ways(&t, at, "ana", "debug").await, wanted, "{when}");
    }
    // Of what was not touched by the new policy nothing changed, until she was disabled.
    assert_eq!(ways(&t, changed, "ana", "shell").await, vec![by_asking.clone()]);
    assert_eq!(ways(&t, disabled, "ana", "shell").await, vec![]);
    // Ben is on call: asking, or an emergency; and the emergency stays when the other way is closed.
    assert_eq!(ways(&t, before, "ben", "debug").await, vec![by_asking, ReachBy::Emergency]);
    assert_eq!(ways(&t, changed, "ben", "debug").await, vec![ReachBy::Emergency]);
    // Frank never could; and before there was anything, nobody.
    assert_eq!(ways(&t, inside, "frank", "debug").await, vec![]);
    let long_ago = "2020-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(t.gate.who_could(t.person("eve"), &db, long_ago, None, usize::MAX).await.unwrap(), vec![]);

    for (when, from, until, wanted) in [
        ("before it", before, agreed, 0),
        ("around it", before, left, 1),
        ("from within", inside, left, 1),
        ("until within", agreed, inside, 1),
        ("after it", left, disabled, 0),
    ] {
        let did = t.gate.who_did(t.person("eve"), &db, (from, until), None, 100).await.unwrap();
        assert_eq!(did.len(), wanted, "{when}: {did:?}");
        if let [visit] = &did[..] {
            assert_eq!((visit.session, visit.person, &visit.role), (session, t.person("ana").who.id(), &debug));
            assert!(agreed < visit.opened_at && visit.opened_at < inside, "{visit:?}");
            assert!(visit.ended_at.is_some_and(|end| inside < end && end < left), "{visit:?}");
        }
    }
    let elsewhere = t.gate.who_did(t.person("eve"), &"web-1".parse().unwrap(), (before, disabled), None, 100).await.unwrap();
    assert_eq!(elsewhere, vec![]);
    // It is the auditors' to ask.
    assert_eq!(t.gate.who_could(t.person("ben"), &db, before, None, usize::MAX).await.unwrap_err().reason, Reason::NotAllowed);
    assert_eq!(t.gate.who_did(t.person("ben"), &db, (before, left), None, 100).await.unwrap_err().reason, Reason::NotAllowed);
}

// covers: EV-9 (api)
#[tokio::test]
async fn who_could_comes_a_part_at_a_time_and_each_way_in_once() {
    let t = TestGate::start().await.unwrap();
    let (eve, db) = (t.person("eve"), "db-1".parse().unwrap());
    for role in ["debug", "shell"] {
        let request = t.gate.submit(t.person("ana"), ask("db-1", role)).await.unwrap().request;
        t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap().grant.unwrap();
    }
    let at = then(&t).await;
    let all = t.gate.who_could(eve, &db, at, None, usize::MAX).await.unwrap();
    assert!(all.iter().any(|reach| matches!(reach.by, ReachBy::Ready(_))) && all.len() > 4, "{all:?}");
    for limit in [1, 2, 3, all.len()] {
        let (mut parts, mut after) = (Vec::new(), None);
        loop {
            let part = t.gate.who_could(eve, &db, at, after.as_ref(), limit).await.unwrap();
            assert!(part.len() <= limit);
            let Some(last) = part.last() else { break };
            after = Some(last.place());
            parts.extend(part);
        }
        assert_eq!(parts, all, "{limit} at a time");
    }
}

// covers: EV-9 (api), F7
#[tokio::test]
async fn a_policy_that_was_not_kept_as_it_was_gives_no_half_answer() {
    let t = TestGate::start().await.unwrap();
    let db = "db-1".parse().unwrap();
    let before = then(&t).await;
    let old = t.gate.bundle().digest().to_owned();
    let mut files = t.gate.bundle().files().clone();
    files.get_mut("roles.toml").unwrap().extend_from_slice(b"\n# later\n");
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    let after = then(&t).await;
    assert!(!t.gate.who_could(t.person("eve"), &db, before, None, usize::MAX).await.unwrap().is_empty());
    for (what, behind) in [
        ("rewritten", "update bundle_files set content = content || '# x' where digest = ? and path = 'roles.toml'"),
        ("in part", "delete from bundle_files where digest = ? and path = 'roles.toml'"),
        ("all of it", "delete from bundle_files where digest = ?"),
    ] {
        let script = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1], timeout=30); n=c.execute(sys.argv[2], (sys.argv[3],)).rowcount; c.commit(); sys.exit(n < 1)";
        let changed = Command::new("python3").args(["-c", script]).arg(t.dir().join("store.db")).args([behind, &old]).status().unwrap();
        assert!(changed.success(), "{what}");
        let refusal = t.gate.who_could(t.person("eve"), &db, before, None, usize::MAX).await.expect_err(what);
        assert_ne!(refusal.reason, Reason::NotAllowed, "{what}: {refusal}");
        // What rests on another policy is answered as before.
        assert!(!t.gate.who_could(t.person("eve"), &db, after, None, usize::MAX).await.unwrap().is_empty(), "{what}");
    }
}

// covers: EV-9 (api), F7
#[tokio::test]
async fn who_did_is_told_by_the_log_whatever_became_of_the_rows() {
    let t = TestGate::start().await.unwrap();
    let (build, shell) = ("build-1".parse().unwrap(), "shell".parse().unwrap());
    let mut sessions = Vec::new();
    for who in ["ana", "ben"] {
        t.gate.submit(t.person(who), ask("build-1", "shell")).await.unwrap();
    }
    for who in ["ana", "ben", "ana"] {
        let session = t.gate.open(t.person(who), &build, &shell, Protocol::Ssh).await.unwrap().permit.facts().session;
        t.pass(Duration::from_secs(60)).await;
        sessions.push(session);
    }
    let closed =
        ClosedSession { session: sessions[0], end: EndReason::Client, confirmed: true, bytes_up: 0, bytes_down: 0, recording: None };
    t.gate.close(closed).await;
    let ever = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
    let told = t.gate.who_did(t.person("eve"), &build, ever, None, 100).await.unwrap();
    assert_eq!(told.iter().map(|visit| visit.session).collect::<Vec<_>>(), sessions);
    assert_eq!(told.iter().map(|visit| visit.ended_at.is_some()).collect::<Vec<_>>(), [true, false, false]);
    assert!(t.gate.replay().await.unwrap().differences.is_empty());
    for behind in [
        "update sessions set resource = 'web-1'",
        "update sessions set ended_at = opened_at, role = 'debug'",
        "update sessions set person = (select max(person) from sessions)",
        "delete from sessions",
    ] {
        let script = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1], timeout=30); c.execute(sys.argv[2]); c.commit()";
        let changed = Command::new("python3").args(["-c", script]).arg(t.dir().join("store.db")).arg(behind).status().unwrap();
        assert!(changed.success(), "{behind}");
        assert!(!t.gate.replay().await.unwrap().differences.is_empty(), "{behind}");
        assert_eq!(t.gate.who_did(t.person("eve"), &build, ever, None, 100).await.unwrap(), told, "{behind}");
        // In parts, too.
        let rest = t.gate.who_did(t.person("eve"), &build, ever, Some(sessions[0]), 1).await.unwrap();
        assert_eq!(rest, told[1..2], "{behind}");
    }
    let strange = t.person("ana").who.id().to_string().replace("usr_", "ses_").parse().unwrap();
    assert_eq!(t.gate.who_did(t.person("eve"), &build, ever, Some(strange), 1).await.unwrap_err().reason, Reason::Invalid);
}
