//! The store goes away while people work: what is due is cut all the same, nothing new opens, and what happened meanwhile is entered
//! when it is back, with the time at which it happened.

use std::fs;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use testkit::postgres::Database;
use workflow::clock::{SystemTime, TimeSource as _};

use crate::demo::{Talk, eventually, lives};
use crate::served::{Plan, Served};

/// Long enough to get in and to take the store away before the end.
const LENGTH: Duration = Duration::from_secs(15);

fn take_away(database: &Database) {
    let name = database.name();
    database.admin(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).unwrap();
    database.admin(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")).unwrap();
}

fn bring_back(database: &Database) {
    database.admin(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", database.name())).unwrap();
}

fn journal(gate: &Served) -> String {
    fs::read_to_string(gate.dir().join("data/journal.jsonl")).unwrap()
}

/// Ana is in for a while, and runs something that would go on for longer: what she runs, its process, her session, and when her time ends.
fn ana_works(gate: &Served) -> (Talk, u32, String, Timestamp) {
    gate.grant("ana", "db-1", "shell", &format!("{}s", LENGTH.as_secs()));
    let ssh = Talk::start(gate.ssh("ana", "db-1+shell", &[], &["echo pid-$$-; while :; do echo on; sleep 0.1; done"]));
    let pid = eventually("the target's process", || ssh.heard().split("pid-").nth(1)?.split_once('-')?.0.parse().ok());
    let session = gate.live_session("ana").unwrap();
    let grant = gate.get("ana", &format!("/api/v1/grants/{}", session["grant"].as_str().unwrap()));
    (ssh, pid, session["id"].as_str().unwrap().to_owned(), grant["ends_at"].as_str().unwrap().parse().unwrap())
}

/// Her time runs out while there is no store: she is cut, and not before; when it was, at the latest.
fn cut_in_time(gate: &Served, ssh: &mut Talk, pid: u32, session: &str, since: Instant) -> Timestamp {
    eventually("the process at the target is gone", || (!lives(pid)).then_some(()));
    assert!(since.elapsed() >= LENGTH, "cut before its time: {:?}", since.elapsed());
    assert_ne!(ssh.end(), 0);
    eventually("its end stands in the journal", || (journal(gate).contains(session)).then_some(()));
    SystemTime.wall()
}

fn entered_as(gate: &Served, session: &str, due: Timestamp, before: Timestamp) -> Value {
    let row = eventually("the end is entered", || {
        let row = gate.get("eve", &format!("/api/v1/sessions/{session}"));
        (row["state"] == "ended").then_some(row)
    });
    assert_eq!((&row["end"], &row["confirmed"]), (&json!("expired"), &json!(true)), "{row}");
    let at: Timestamp = row["ended_at"].as_str().unwrap().parse().unwrap();
    assert!(due <= at && at <= before, "it was due at {due} and over at {before}, and stands as {at}");
    let entries = gate.get("eve", &format!("/api/v1/audit/entries?event=session.ended&about={session}"));
    assert_eq!(entries["items"].as_array().unwrap().len(), 1, "{entries}");
    assert_eq!(entries["items"][0]["at"], row["ended_at"], "{entries}");
    row
}

// covers: D4 (ssh), GRANT-7 (ssh), GRANT-2 (ssh), D1 (ssh), F1 (ssh)
#[test]
fn without_a_store_time_still_ends_sessions_and_their_ends_are_entered_later() {
    let database = tokio::runtime::Runtime::new().unwrap().block_on(Database::fresh()).unwrap();
    let mut gate = Served::with(Plan { store: Some(database.url()), ..Plan::default() });
    let inside = gate.ssh("ben", "build-1+shell", &[], &["echo inside"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&inside.stdout).trim(), "inside", "{}", String::from_utf8_lossy(&inside.stderr));

    // Ben is signed in already, and has opened nothing yet.
    let home = tempfile::tempdir().unwrap();
    let control = format!("ControlPath={}", home.path().join("ben").display());
    let _signed_in = Talk::start(gate.ssh("ben", "build-1+shell", &["-M", "-N", "-o", &control], &[]));
    eventually("he is signed in", || home.path().join("ben").exists().then_some(()));

    let since = Instant::now();
    let (mut ssh, pid, session, due) = ana_works(&gate);
    take_away(&database);
    // What is open goes on; nothing else opens, and that is said.
    let heard = ssh.heard().len();
    eventually("she goes on working", || (ssh.heard().len() > heard).then_some(()));
    let refused = gate.ssh("ben", "build-1+shell", &["-o", &control], &["echo inside"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!((refused.status.code(), refused.stdout.as_slice()), (Some(75), &b""[..]), "{said}");
    assert!(said.contains("cannot reach its store") && said.contains("Try again shortly"), "{said}");
    // Who is not signed in yet is not taken for anybody, and reads why.
    let stranger = gate.ssh("ben", "build-1+shell", &[], &["echo inside"]).output().unwrap();
    assert!(!stranger.status.success() && stranger.stdout.is_empty());
    let said = String::from_utf8_lossy(&stranger.stderr);
    assert!(said.contains("cannot reach its store") && said.contains("Try again shortly"), "{said}");
    let (status, problem) = gate.api("ben", "GET", "/api/v1/me", None);
    assert_eq!((status, &problem["code"]), (503, &json!("store_unavailable")), "{problem}");
    let over = cut_in_time(&gate, &mut ssh, pid, &session, since);
    bring_back(&database);
    entered_as(&gate, &session, due, over);
    eventually("nothing waits in the journal any more", || journal(&gate).trim().is_empty().then_some(()));
    let again = gate.ssh("ben", "build-1+shell", &["-o", &control], &["echo again"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&again.stdout).trim(), "again", "{}", String::from_utf8_lossy(&again.stderr));
    gate.assert_provable();

    // The same, and the gate is killed before the store is back: what it told nobody but its journal is entered by the next.
    let since = Instant::now();
    let (mut ssh, pid, session, due) = ana_works(&gate);
    take_away(&database);
    let over = cut_in_time(&gate, &mut ssh, pid, &session, since);
    gate.kill();
    bring_back(&database);
    gate.run_again();
    entered_as(&gate, &session, due, over);
    eventually("nothing waits in the journal any more", || journal(&gate).trim().is_empty().then_some(()));
    gate.assert_provable();
}

// covers: MAY-8 (ssh), GRANT-3 (ssh)
#[test]
fn a_policy_that_could_not_be_taken_without_a_store_is_taken_when_it_is_back() {
    let database = tokio::runtime::Runtime::new().unwrap().block_on(Database::fresh()).unwrap();
    let gate = Served::with(Plan { store: Some(database.url()), ..Plan::default() });
    let digest = || {
        let (status, policy) = gate.api("dan", "GET", "/api/v1/policy", None);
        (status == 200).then(|| policy["digest"].clone())
    };
    let before = digest().unwrap();
    let mut ssh = Talk::start(gate.ssh("ana", "build-1+shell", &[], &["while :; do echo on; sleep 0.1; done"]));
    eventually("she works", || ssh.heard().contains("on").then_some(()));
    take_away(&database);
    let access = gate.dir().join("policy/access.cedar");
    let text = fs::read_to_string(&access).unwrap();
    let changed = text.replacen("principal in Tide::Group::\"engineers\"", "principal in Tide::Group::\"auditors\"", 1);
    assert_ne!(changed, text);
    fs::write(&access, changed).unwrap();
    eventually("it is tried in vain", || gate.log().contains("could not be taken yet, and is tried again").then_some(()));
    bring_back(&database);
    eventually("it is taken", || digest().filter(|digest| *digest != before));
    assert_ne!(ssh.end(), 0, "what it withdraws is cut");
    gate.assert_provable();
}
