//! A newcomer lives the journey: Ana asks in her own `ssh`, Ben approves, Ana works, the grant ends.

use serde_json::json;

use crate::demo::{Demo, Talk, eventually};

// covers: ASK-3, OK-5, SSH-1, WHO-5 (ssh, api), RUN-1
#[test]
fn ana_asks_where_she_connects_and_goes_through_when_ben_agrees() {
    let demo = Demo::start();
    let mut ana = Talk::start(demo.ssh("ana", "db-1+shell", &["-tt"], &[]));
    ana.until("Reason:");
    assert!(ana.heard().contains("db-1 as shell"), "{}", ana.heard());
    ana.say("orders are slow\r");
    eventually("the question how long, or the request", || {
        (ana.heard().contains("For how long") || ana.heard().contains("waits for approval")).then_some(())
    });
    if ana.heard().contains("For how long") {
        ana.say("\r");
    }
    ana.until("waits for approval");
    let inbox = demo.cli("ben", &["request", "list", "--inbox"]);
    let request = inbox["items"][0].clone();
    assert_eq!((&request["resource"], &request["role"], &request["reason"]), (&json!("db-1"), &json!("shell"), &json!("orders are slow")));
    let id = request["id"].as_str().unwrap();
    demo.cli("ben", &["request", "approve", id, "--note", "go ahead"]);
    ana.until("go ahead");
    ana.say("echo $((6*7))-is-the-answer\r");
    ana.until("42-is-the-answer");
    let session = demo.live_session("ana").expect("her session is live");
    assert_eq!(session["resource"], "db-1");
    ana.say("exit 7\r");
    assert_eq!(ana.end(), 7, "the exit status of the shell is hers");
    let ended = eventually("the session's end", || {
        let row = demo.get("ana", &format!("/api/v1/sessions/{}", session["id"].as_str().unwrap()));
        (row["state"] == "ended").then_some(row)
    });
    assert!(matches!(ended["end"].as_str(), Some("client" | "target")), "{ended}");
}

// covers: ASK-3 (ssh)
#[test]
fn without_a_terminal_one_line_and_an_exit_status() {
    let demo = Demo::start();
    let no_reason = demo.ssh("ana", "db-1+shell", &[], &["true"]).output().unwrap();
    assert_eq!(no_reason.status.code(), Some(77), "{}", String::from_utf8_lossy(&no_reason.stderr));
    let asked = demo.ssh("ana", "db-1+shell", &["-o", "SetEnv=TIDEGATE_REASON=nightly"], &["true"]).output().unwrap();
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert_eq!(asked.status.code(), Some(75), "{said}");
    assert!(said.contains("req_"), "{said}");
    // Connecting again finds the same request; waiting goes through the moment it is approved.
    let mut waiting = Talk::start(demo.ssh("ana", "db-1+shell", &["-o", "SetEnv=TIDEGATE_WAIT=1"], &["echo through"]));
    waiting.until("waits for approval");
    let inbox = demo.get("ben", "/api/v1/requests?of=inbox");
    assert_eq!(inbox["items"].as_array().map(Vec::len), Some(1), "{inbox}");
    let id = inbox["items"][0]["id"].as_str().unwrap();
    demo.post("ben", &format!("/api/v1/requests/{id}/approve"), json!({}));
    waiting.until("through");
    assert_eq!(waiting.end(), 0);
    // Low risk opens at once.
    let build = demo.ssh("ana", "build-1+shell", &[], &["echo open"]).output().unwrap();
    assert_eq!((build.status.code(), String::from_utf8_lossy(&build.stdout).trim()), (Some(0), "open"));
}

// covers: ASK-3, OK-5 (ssh)
#[test]
fn a_denial_is_told_in_the_terminal() {
    let demo = Demo::start();
    let mut ana = Talk::start(demo.ssh("ana", "db-1+shell", &["-o", "SetEnv=TIDEGATE_WAIT=1 TIDEGATE_REASON=curious"], &["true"]));
    ana.until("waits for approval");
    let inbox = demo.get("ben", "/api/v1/requests?of=inbox");
    let id = inbox["items"][0]["id"].as_str().unwrap();
    demo.post("ben", &format!("/api/v1/requests/{id}/deny"), json!({"note": "not today"}));
    assert_eq!(ana.end(), 77);
    assert!(ana.heard().contains("not today") && ana.heard().contains("denied"), "{}", ana.heard());
}
