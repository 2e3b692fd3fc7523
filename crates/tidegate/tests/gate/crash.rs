//! `kill -9` with real clients attached: no grant longer, no session unrecorded, no approval lost.

use serde_json::json;

use crate::demo::{Demo, Talk, eventually, lives};
use crate::served::Served;

// covers: GRANT-7 (ssh), GRANT-7 (api), D4 (ssh), D4 (api), D6 (ssh), D6 (api), F1 (ssh), F1 (api)
#[test]
fn a_killed_gate_keeps_what_was_agreed_and_enters_what_was_cut() {
    let demo = Demo::start();
    let grant = demo.grant("ana", "db-1", "shell", "1h");
    let pending =
        demo.post("ana", "/api/v1/requests", json!({"resource": "web-1", "role": "debug", "reason": "looking", "duration": "1h"}));
    let pending = pending["request"]["id"].as_str().unwrap().to_owned();
    let mut ssh =
        Talk::start(demo.ssh("ana", "db-1+shell", &[], &["echo pid-$$-; i=0; while :; do i=$((i+1)); echo line-$i; sleep 0.05; done"]));
    ssh.until("line-80");
    let pid: u32 = ssh.heard().split("pid-").nth(1).unwrap().split('-').next().unwrap().parse().unwrap();
    let session = demo.live_session("ana").unwrap();
    let before = demo.get("ana", &format!("/api/v1/grants/{grant}"));
    let demo = demo.kill_and_restart();
    assert_ne!(ssh.end(), 0);
    let received = ssh.heard();
    eventually("what ran at the target is gone", || (!lives(pid)).then_some(()));

    let after = demo.get("ana", &format!("/api/v1/grants/{grant}"));
    assert_eq!((&after["ends_at"], &after["state"]), (&before["ends_at"], &json!("active")));
    let row = demo.get("ana", &format!("/api/v1/sessions/{}", session["id"].as_str().unwrap()));
    assert_eq!((&row["state"], &row["end"]), (&json!("ended"), &json!("node")), "{row}");
    let voted = demo.post("ben", &format!("/api/v1/requests/{pending}/approve"), json!({}));
    assert_eq!(voted["request"]["state"], "approved");
    let replayed = demo.post("eve", "/api/v1/audit/replay", json!({}));
    assert_eq!(replayed["differences"], json!([]), "{replayed}");

    // The recording holds what its client received, but for at most the last second: 20 lines a second.
    let id = session["id"].as_str().unwrap();
    let recorded = demo.shown(id);
    let recorded: Vec<&str> = recorded.lines().map(str::trim).collect();
    let last = received.lines().filter_map(|l| l.trim().strip_prefix("line-")).filter_map(|n| n.parse::<u32>().ok()).max().unwrap();
    let kept = (1..=last).filter(|n| recorded.contains(&format!("line-{n}").as_str())).count();
    assert!(kept + 25 >= last as usize, "the client saw {last} lines, the recording has {kept}");

    // And it goes on: the same grant opens again.
    let again = demo.ssh("ana", "db-1+shell", &[], &["echo again"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&again.stdout).trim(), "again", "{}", String::from_utf8_lossy(&again.stderr));
}

/// The process that a process was started by.
fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}

// covers: GRANT-7 (ssh), D4 (ssh)
#[test]
fn what_a_killed_gate_left_at_a_target_is_found_there_and_killed_and_that_is_entered() {
    let mut gate = Served::start();
    let facts = gate.get("ana", "/api/v1/gate");
    gate.grant("ana", "db-1", "shell", "1h");
    // No terminal, and it writes nothing: it learns of nothing.
    let mut ssh = Talk::start(gate.ssh("ana", "db-1+shell", &[], &["echo pid-$$-; exec sleep 100000 >/dev/null 2>&1 </dev/null"]));
    let pid: u32 = eventually("the target's process", || ssh.heard().split("pid-").nth(1)?.split_once('-')?.0.parse().ok());
    let session = gate.live_session("ana").unwrap()["id"].as_str().unwrap().to_owned();
    let server = parent(pid);
    gate.kill();
    assert_ne!(ssh.end(), 0);
    eventually("the target's server has seen the connection go", || (!lives(server)).then_some(()));
    assert!(lives(pid), "nothing but the gate would end it");

    // At first the target does not let the gate in.
    gate.target.trust("").unwrap();
    gate.run_again();
    eventually("the gate has tried", || gate.log().contains("is looked for again later").then_some(()));
    let row = gate.get("ana", &format!("/api/v1/sessions/{session}"));
    assert_eq!((&row["state"], &row["end"], &row["confirmed"]), (&json!("ended"), &json!("node"), &json!(false)), "{row}");
    assert!(lives(pid));
    gate.target.trust(facts["target_ca"].as_str().unwrap()).unwrap();
    eventually("it is gone", || (!lives(pid)).then_some(()));
    eventually("that is entered", || {
        let row = gate.get("ana", &format!("/api/v1/sessions/{session}"));
        (row["confirmed"] == json!(true)).then_some(())
    });
    let entries = gate.get("eve", &format!("/api/v1/audit/entries?event=session.confirmed&about={session}"));
    assert_eq!(entries["items"].as_array().unwrap().len(), 1, "{entries}");
    gate.assert_provable();
}
