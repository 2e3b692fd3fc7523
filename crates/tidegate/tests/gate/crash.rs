//! `kill -9` with real clients attached: no grant longer, no session unrecorded, no approval lost.

use serde_json::json;

use crate::demo::{Demo, Talk, eventually, lives};

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
    ssh.until("line-30");
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
    let (status, recording) = demo.api("eve", "GET", &format!("/api/v1/sessions/{id}/recording?format=asciicast"), None);
    assert_eq!(status, 200);
    let recorded = recording.to_string();
    let last = received.lines().filter_map(|l| l.trim().strip_prefix("line-")).filter_map(|n| n.parse::<u32>().ok()).max().unwrap();
    let kept = (1..=last).filter(|n| recorded.contains(&format!("line-{n}\\")) || recorded.contains(&format!("line-{n}"))).count();
    assert!(kept + 25 >= last as usize, "the client saw {last} lines, the recording has {kept}");

    // And it goes on: the same grant opens again.
    let again = demo.ssh("ana", "db-1+shell", &[], &["echo again"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&again.stdout).trim(), "again", "{}", String::from_utf8_lossy(&again.stderr));
}
