//! An auditor proves it all from an exported file, without the gate.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::demo::{Demo, eventually};

fn verify(file: &std::path::Path, key: &str) -> std::process::Output {
    // A process of its own, in an empty home, with no address of any gate.
    Command::new(env!("CARGO_BIN_EXE_tidegate")).env_clear().args(["evidence", "verify"]).arg(file).args(["--key", key]).output().unwrap()
}

// covers: EV-1 (ssh), EV-1 (cli), EV-2 (ssh), EV-2 (cli), EV-3 (ssh), EV-3 (cli), EV-4 (ssh), EV-4 (cli), F3 (ssh), F3 (cli), F6 (ssh), F6 (cli)
#[test]
fn a_session_is_proved_from_a_file_and_a_flipped_byte_is_named() {
    let demo = Demo::start();
    demo.grant("ana", "db-1", "shell", "1h");
    let ran = demo.ssh("ana", "db-1+shell", &[], &["echo secret-of-the-session"]).output().unwrap();
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    let session = eventually("the session is entered as ended", || {
        let all = demo.get("eve", "/api/v1/sessions?all=true");
        all["items"].as_array().unwrap().iter().find(|s| s["state"] == "ended").cloned()
    });
    let id = session["id"].as_str().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("proof.tar");
    let exported = demo.tidegate("eve", &["evidence", "export", "--session", id, file.to_str().unwrap()]);
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let key = demo.ready["checkpoint_verifier"].as_str().unwrap();
    let good = verify(&file, key);
    assert!(good.status.success(), "{}{}", String::from_utf8_lossy(&good.stdout), String::from_utf8_lossy(&good.stderr));
    let names = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
    for event in ["request.submitted", "request.voted", "grant.created", "session.opened", "session.ended", "access.cedar"] {
        assert!(names.contains(event), "{event} is missing");
    }
    assert!(!names.contains("secret-of-the-session"), "the recording is ciphertext");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let bad = verify(&file, key);
    assert!(!bad.status.success());
    // Who may not export, can't; and can't tell whether it exists.
    let refused = demo.tidegate("frank", &["evidence", "export", "--session", id, dir.path().join("x").to_str().unwrap()]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no such thing"), "{}", String::from_utf8_lossy(&refused.stderr));
}

// covers: EV-2 (api), EV-2 (cli), F3 (api), F3 (cli), F7 (api), F7 (cli), EV-9 (api), EV-9 (cli)
#[test]
fn the_log_verifies_from_a_copy_and_replay_finds_what_was_changed_behind_our_back() {
    let demo = Demo::start();
    let grant = demo.grant("ana", "db-1", "shell", "1h");
    demo.ssh("ana", "db-1+shell", &[], &["true"]).output().unwrap();
    demo.get("eve", "/api/v1/audit/checkpoint");
    let replayed = demo.post("eve", "/api/v1/audit/replay", json!({}));
    assert_eq!(replayed["differences"], json!([]), "{replayed}");
    let copy = tempfile::tempdir().unwrap();
    let status = Command::new("cp").arg("-r").arg(demo.dir().join("data/audit")).arg(copy.path()).status().unwrap();
    assert!(status.success());
    let key = demo.ready["checkpoint_verifier"].as_str().unwrap();
    let verify = || {
        Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .env_clear()
            .args(["audit", "verify"])
            .arg(copy.path().join("audit"))
            .args(["--key", key])
            .output()
            .unwrap()
    };
    let good = verify();
    assert!(good.status.success(), "{}{}", String::from_utf8_lossy(&good.stdout), String::from_utf8_lossy(&good.stderr));

    // A longer grant, written straight into the store.
    let changed = Command::new("python3")
        .args(["-c", "import sqlite3,sys; c=sqlite3.connect(sys.argv[1], timeout=30); c.execute('update grants set ends_at = ends_at + 3600000000 where id = ?', (sys.argv[2],)); c.commit()"])
        .arg(demo.dir().join("data/store.db"))
        .arg(&grant)
        .output()
        .unwrap();
    assert!(changed.status.success(), "{}", String::from_utf8_lossy(&changed.stderr));
    let replayed = demo.post("eve", "/api/v1/audit/replay", json!({}));
    let found = replayed["differences"].to_string();
    assert!(found.contains(&grant) && found.contains("ends_at"), "{found}");

    let could = demo.cli("eve", &["audit", "who-could", "db-1"]);
    assert!(could.to_string().contains("ana"), "{could}");
    let did = demo.cli("eve", &["audit", "who-did", "db-1"]);
    assert!(did.to_string().contains(&demo.id("ana")), "{did}");
}

// covers: F5 (ssh), EV-4 (ssh)
#[test]
fn what_was_shown_can_be_replayed_and_what_was_typed_is_sealed_apart() {
    let demo = Demo::start();
    demo.grant("ana", "db-1", "shell", "1h");
    let mut ana = crate::demo::Talk::start(demo.ssh("ana", "db-1+shell", &["-tt"], &[]));
    ana.say("stty -echo; echo now-$((1+1)); read x\r");
    ana.until("now-2");
    ana.say("hunter2-never-shown\r");
    ana.say("stty echo; echo shown-$((3+4))\r");
    ana.until("shown-7");
    ana.say("exit\r");
    ana.end();
    let session = eventually("the session's end", || {
        let all = demo.get("eve", "/api/v1/sessions?all=true");
        all["items"].as_array().unwrap().iter().find(|s| s["state"] == "ended").cloned()
    });
    let id = session["id"].as_str().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cast = dir.path().join("a.cast");
    let saved = demo.tidegate("eve", &["session", "replay", id, "--asciicast", cast.to_str().unwrap()]);
    assert!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
    let cast = fs::read_to_string(&cast).unwrap();
    assert!(cast.starts_with("{\"version\""), "{}", &cast[..cast.len().min(200)]);
    assert!(cast.contains("shown-7") && !cast.contains("hunter2"), "{cast}");
    // Reading what was typed is a right of its own.
    let refused = demo.tidegate("eve", &["session", "replay", id, "--input", "--asciicast", "-"]);
    assert!(!refused.status.success());
    let allowed = demo.tidegate("carla", &["session", "replay", id, "--input", "--asciicast", "-"]);
    assert!(String::from_utf8_lossy(&allowed.stdout).contains("hunter2"), "{}", String::from_utf8_lossy(&allowed.stderr));
    // Nowhere on disk in clear.
    let grep = Command::new("grep").args(["-r", "-l", "-a", "hunter2"]).arg(demo.dir().join("data")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&grep.stdout), "");
}
