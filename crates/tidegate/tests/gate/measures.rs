//! The measures by command and from outside: the gate's numbers are those that a script of its own counts from the exported log.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::demo::eventually;
use crate::served::Served;

/// What the script counts from the log, as it is exported now.
fn counted_again(gate: &Served) -> Value {
    let exported = gate.tidegate("eve", &["audit", "export", "--jsonl"]);
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/measures");
    let mut running = Command::new("python3").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(&exported.stdout).unwrap();
    let out = running.wait_with_output().unwrap();
    assert!(out.status.success());
    serde_json::from_slice(&out.stdout).unwrap()
}

// covers: BACK-5 (ssh), BACK-5 (cli), BACK-5 (api)
#[test]
fn a_script_of_its_own_counts_the_same_from_the_log() {
    let mut gate = Served::start();
    // Ben agrees; Ana works, and is revoked while she does. On the build machine nobody has to agree.
    let grant = gate.grant("ana", "db-1", "shell", "1h");
    let done = gate.ssh("ana", "db-1+shell", &[], &["true"]).status().unwrap();
    assert!(done.success());
    let over = || gate.live_session("ana").is_none().then_some(());
    eventually("that session is over", over);
    let mut cut = gate
        .ssh("ana", "db-1+shell", &["-tt"], &["sleep 600"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("her session lives", || gate.live_session("ana"));
    gate.post("carla", &format!("/api/v1/grants/{grant}/revoke"), json!({ "reason": "a drill" }));
    let _ended = cut.wait().unwrap();
    eventually("that one is over too", over);
    gate.grant("ana", "build-1", "shell", "1h");
    let mut locked = gate
        .ssh("ana", "build-1+shell", &["-tt"], &["sleep 600"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("her session on the build machine lives", || gate.live_session("ana"));
    // Then the network that another one comes from is locked.
    let mut shut_out = gate
        .ssh("ana", "build-1+shell", &["-tt", "-b", "127.0.0.2"], &["sleep 600"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let both = || gate.get("eve", "/api/v1/sessions?state=live&all=true")["items"].as_array().unwrap().len() == 2;
    eventually("both of her sessions live", || both().then_some(()));
    gate.post("carla", "/api/v1/locks", json!({ "scope": "network:127.0.0.2/32", "reason": "a drill" }));
    let _ended = shut_out.wait().unwrap();
    eventually("the other one goes on", || {
        let live = gate.get("eve", "/api/v1/sessions?state=live&all=true");
        (live["items"].as_array().unwrap().len() == 1).then_some(())
    });
    gate.post("carla", "/api/v1/locks", json!({ "scope": format!("person:{}", gate.id("ana")), "reason": "a drill" }));
    let _ended = locked.wait().unwrap();
    eventually("every session is over", || {
        let live = gate.get("eve", "/api/v1/sessions?state=live&all=true");
        live["items"].as_array().unwrap().is_empty().then_some(())
    });

    let compare = |gate: &Served| {
        eventually("all of the log is counted, and nothing is under way", || {
            let (told, again) = (gate.cli("eve", &["measures"]), counted_again(gate));
            let mut total = told["total"].clone();
            for key in ["from", "until"] {
                total.as_object_mut().unwrap().remove(key);
            }
            (told["waiting"] == json!(0) && total == again).then_some(total)
        })
    };
    let total = compare(&gate);
    assert_eq!((&total["request_to_session"]["count"], &total["at_once"]), (&json!(1), &json!(1)));
    assert_eq!((&total["time_bound"]["part"], &total["time_bound"]["of"]), (&json!(2), &json!(2)));
    assert_eq!((&total["complete_audit"]["part"], &total["complete_audit"]["of"]), (&json!(4), &json!(4)));
    assert_eq!((&total["revocation_to_last_byte"]["done"], &total["containment"]["done"]), (&json!(3), &json!(2)));
    // In words, and the same after a crash.
    let said = gate.tidegate("eve", &["measures", "--by", "month"]);
    let words = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(words.contains("100.0 %") && words.lines().next().is_some_and(|line| line.contains("REVOKED IN")), "{words}");
    gate.kill();
    gate.run_again();
    assert_eq!(compare(&gate), total);
    assert_eq!(gate.tidegate("ana", &["measures"]).status.code(), Some(77), "she may not read the log, and is locked besides");
}
