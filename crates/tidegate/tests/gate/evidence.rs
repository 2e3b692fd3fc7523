//! An auditor proves it all from an exported file, without the gate.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use evidence::recording::KeyIdentity;
use serde_json::{Value, json};
use workflow::clock::{SystemTime, TimeSource as _};

use crate::demo::{Demo, Talk, eventually};

fn verify(file: &std::path::Path, key: &str) -> std::process::Output {
    // A process of its own, in an empty home, with no address of any gate.
    Command::new(env!("CARGO_BIN_EXE_tidegate")).env_clear().args(["evidence", "verify"]).arg(file).args(["--key", key]).output().unwrap()
}

fn position(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
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
    // One byte of an entry, and one of the recording: each is named.
    let whole = fs::read(&file).unwrap();
    let recording = session["recording"].as_str().unwrap();
    let entry = position(&whole, b"\"request.voted\"").unwrap() + 4;
    // What follows a file's name in the archive is its head, of 512 bytes in all, and then the file.
    let chunk =
        position(&whole, format!("{recording}.").as_bytes()).or_else(|| position(&whole, recording.as_bytes())).unwrap() + 512 + 2_000;
    for (at, names) in [(entry, "entry"), (chunk, "chunk")] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&file, &bytes).unwrap();
        let bad = verify(&file, key);
        let said = format!("{}{}", String::from_utf8_lossy(&bad.stdout), String::from_utf8_lossy(&bad.stderr));
        assert!(!bad.status.success() && said.contains("WRONG: ") && said.contains(names), "{names}: {said}");
    }
    // The file of the recording is taken away: the gate exports what there is, and whoever verifies that is told; so is whoever looks after it.
    let kept = demo.dir().join(format!("data/recordings/{recording}.tgr"));
    let doctor = || {
        let configuration = demo.dir().join("tidegate.toml");
        let said = demo.tidegate("eve", &["doctor", "--config", configuration.to_str().unwrap()]);
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    assert!(!doctor().contains(recording), "{}", doctor());
    fs::rename(&kept, dir.path().join("taken")).unwrap();
    let exported = demo.tidegate("eve", &["evidence", "export", "--session", id, file.to_str().unwrap()]);
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let bad = verify(&file, key);
    let said = String::from_utf8_lossy(&bad.stdout).into_owned();
    let gone = format!("WRONG: recording `{recording}` is not the one that the log knows: its session ended and it is not here");
    assert!(!bad.status.success() && said.contains(&gone) && !said.contains("Sound"), "{said}");
    assert!(doctor().contains(&format!("no file is there of {recording}")), "{}", doctor());
    fs::rename(dir.path().join("taken"), &kept).unwrap();
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
    let mut ana = Talk::start(demo.ssh("ana", "db-1+shell", &["-tt"], &[]));
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

/// Plays a session out of a file, in a process that knows of no gate.
fn replay(file: &std::path::Path, session: &str, more: &[&str]) -> std::process::Output {
    let mut replay = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    replay.env_clear().args(["evidence", "replay"]).arg(file).arg(session).args(more).output().unwrap()
}

// covers: EV-3 (cli), EV-4 (cli)
#[test]
fn a_session_is_replayed_from_a_file_by_the_recipient_of_its_keys_and_by_nobody_else() {
    let demo = Demo::start();
    demo.grant("ana", "db-1", "shell", "1h");
    let mut ana = Talk::start(demo.ssh("ana", "db-1+shell", &["-tt"], &[]));
    ana.say("stty -echo; echo now-$((1+1)); read x\r");
    ana.until("now-2");
    ana.say("typed-unseen\r");
    ana.say("stty echo; seq 1 20000; printf '\\033]0;title\\007'; echo shown-$((3+4))\r");
    ana.until("shown-7");
    ana.say("exit\r");
    ana.end();
    let session = demo.ended_sessions("ana").pop().unwrap();
    let (id, recording) = (session["id"].as_str().unwrap(), session["recording"].as_str().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let key = demo.ready["checkpoint_verifier"].as_str().unwrap();
    let export = |name: &str, more: &[&str]| {
        let file = dir.path().join(name);
        let exported = demo.tidegate("carla", &[&["evidence", "export", "--session", id], more, &[file.to_str().unwrap()]].concat());
        assert!(exported.status.success(), "{more:?}: {}", String::from_utf8_lossy(&exported.stderr));
        file
    };
    let identity = |name: &str| {
        let (identity, file) = (KeyIdentity::generate(), dir.path().join(name));
        fs::write(&file, format!("# public key: {}\n{}\n", identity.recipient(), identity.expose().as_str())).unwrap();
        (identity.recipient(), file.to_str().unwrap().to_owned())
    };
    let ((hers, opens), (_, another)) = (identity("auditor.key"), identity("another.key"));
    let (opens, another) = (opens.as_str(), another.as_str());
    let open = export("open.tar", &["--input"]);
    let wrapped = export("wrapped.tar", &["--input", "--recipient", &hers]);
    // Both verify; only in the one lie keys that open it.
    let frames = |file: &std::path::Path| {
        let proof = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .env_clear()
            .args(["evidence", "verify", "--json", "--key", key])
            .arg(file)
            .output()
            .unwrap();
        let found: Value = serde_json::from_slice(&proof.stdout).unwrap();
        assert!(proof.status.success() && found["sound"] == true, "{found}");
        found["recordings"][0]["frames"].clone()
    };
    assert_eq!(frames(&wrapped), Value::Null);
    // Each form of it, byte by byte what the gate replays; and as many frames as the file has.
    for more in [&["--json"][..], &["--json", "--input"], &["--asciicast", "-"], &["--asciicast", "-", "--input"], &[]] {
        let online = demo.tidegate("carla", &[&["session", "replay", id], more].concat());
        assert!(online.status.success(), "{more:?}: {}", String::from_utf8_lossy(&online.stderr));
        let offline = replay(&wrapped, id, &[&["--identity", opens], more].concat());
        assert!(offline.status.success(), "{more:?}: {}", String::from_utf8_lossy(&offline.stderr));
        assert!(offline.stdout == online.stdout && !offline.stdout.is_empty(), "{more:?}: {}", String::from_utf8_lossy(&offline.stdout));
        assert_eq!(replay(&open, id, more).stdout, online.stdout, "{more:?}");
    }
    let lines = |more: &[&str]| {
        let all = replay(&wrapped, id, &[&["--identity", opens, "--json"], more].concat());
        String::from_utf8(all.stdout).unwrap().lines().count()
    };
    assert_eq!(frames(&open), json!(lines(&["--input"])));
    assert!(lines(&[]) < lines(&["--input"]));
    let cast = replay(&wrapped, id, &["--identity", opens, "--input", "--asciicast", "-"]);
    assert!(position(&cast.stdout, b"typed-unseen").is_some() && position(&cast.stdout, b"shown-7").is_some());
    // What drives a terminal beyond its screen stays out of it.
    let shown = replay(&wrapped, id, &["--identity", opens]).stdout;
    assert!(position(&shown, b"shown-7").is_some() && position(&shown, b"\x1b]0;").is_none());
    // Who has no identity, or another, is told so; and who asks for what is not in it.
    let shown_only = export("shown.tar", &["--recipient", &hers]);
    let other = demo.id("ana").replacen("usr_", "ses_", 1);
    for (file, session, more, said) in [
        (&wrapped, id, &[][..], "give the identity that belongs to it"),
        (&wrapped, id, &["--identity", another][..], "not wrapped to this identity"),
        (&wrapped, id, &["--identity", key][..], "is no file of identities"),
        (&wrapped, other.as_str(), &["--identity", opens][..], "no recording of session"),
        (&shown_only, id, &["--identity", opens, "--input"][..], "what was typed was not given along"),
    ] {
        let refused = replay(file, session, more);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && refused.stdout.is_empty() && told.contains(said), "{more:?}: {told}");
    }
    assert!(replay(&shown_only, id, &["--identity", opens]).status.success());
    // A recording that was altered is shown as far as it goes, and that it was altered is said.
    let mut bytes = fs::read(&wrapped).unwrap();
    let name = format!("recordings/{recording}.tgr");
    let head = bytes.windows(name.len()).rposition(|window| window == name.as_bytes()).unwrap();
    let length = fs::metadata(demo.dir().join("data").join(&name)).unwrap().len() as usize;
    bytes[head + 512 + length - 40] ^= 1;
    fs::write(&wrapped, &bytes).unwrap();
    let torn = replay(&wrapped, id, &["--identity", opens]);
    let told = String::from_utf8_lossy(&torn.stderr).into_owned();
    assert!(!torn.status.success() && told.contains("A part of this recording cannot be read"), "{told}");
    assert!(position(&torn.stdout, b"shown-7").is_some());
}

// covers: EV-3 (cli), EV-3 (api), EV-6 (cli)
#[test]
fn everything_of_a_person_a_resource_or_a_period_is_one_file_and_nothing_else_is_in_it() {
    let demo = Demo::start();
    let enters = |person: &str, resource: &str| {
        if resource == "db-1" {
            demo.grant(person, resource, "shell", "1h");
        }
        let ran = demo.ssh(person, &format!("{resource}+shell"), &[], &["echo inside"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.stdout).trim(), "inside", "{}", String::from_utf8_lossy(&ran.stderr));
        let row = demo.ended_sessions(person).pop().unwrap();
        (row["id"].as_str().unwrap().to_owned(), row["recording"].as_str().unwrap().to_owned())
    };
    let before = SystemTime.wall().to_string();
    let (hers, his) = (enters("ana", "build-1"), enters("ben", "build-1"));
    let between = SystemTime.wall().to_string();
    let at_db = enters("ana", "db-1");
    let key = demo.ready["checkpoint_verifier"].as_str().unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (selection, wanted) in [
        (vec!["--person", "ana"], vec![&hers, &at_db]),
        (vec!["--person", "ben"], vec![&his]),
        (vec!["--resource", "db-1"], vec![&at_db]),
        (vec!["--resource", "build-1"], vec![&hers, &his]),
        (vec!["--since", &between], vec![&at_db]),
        (vec!["--since", &before, "--until", &between], vec![&hers, &his]),
        (vec!["--since", &before], vec![&hers, &his, &at_db]),
    ] {
        let export = |file: &str, more: &[&str]| {
            let file = dir.path().join(file);
            let args = [&["evidence", "export"], &selection[..], more, &[file.to_str().unwrap()]].concat();
            let exported = demo.tidegate("eve", &args);
            assert!(exported.status.success(), "{selection:?}: {}", String::from_utf8_lossy(&exported.stderr));
            file
        };
        let proof = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .env_clear()
            .args(["evidence", "verify", "--json", "--key", key])
            .arg(export("proof.tar", &[]))
            .output()
            .unwrap();
        let found: Value = serde_json::from_slice(&proof.stdout).unwrap();
        assert!(proof.status.success() && found["sound"] == true, "{selection:?}: {found}");
        let recordings: BTreeSet<_> = found["recordings"].as_array().unwrap().iter().map(|r| r["recording"].as_str().unwrap()).collect();
        assert_eq!(recordings, wanted.iter().map(|(_, recording)| recording.as_str()).collect(), "{selection:?}: {found}");
        assert_eq!(found["recordings_absent"], json!([]), "{selection:?}");
        let lines = fs::read_to_string(export("lines.jsonl", &["--jsonl"])).unwrap();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let opened: BTreeSet<_> =
            lines.iter().filter(|line| line["event"] == "session.opened").map(|line| line["data"].to_string()).collect();
        assert_eq!(opened.len(), wanted.len(), "{selection:?}: {opened:?}");
        assert!(wanted.iter().all(|(session, _)| opened.iter().any(|data| data.contains(session))), "{selection:?}: {opened:?}");
        // What was done in them is there as well, and of nothing else.
        let done: BTreeSet<_> = lines.iter().filter(|line| line["kind"] == "activity").map(|line| line["id"].as_str().unwrap()).collect();
        assert_eq!(done, wanted.iter().map(|(session, _)| session.as_str()).collect(), "{selection:?}");
    }
    // Who may not, can't; and nothing is no file.
    for (who, selection, said) in [
        ("frank", ["--person", "ana"], ""),
        ("ana", ["--resource", "db-1"], ""),
        ("eve", ["--since", "2100-01-01T00:00:00Z"], "a later `until`"),
        ("eve", ["--person", "nobody"], "nobody"),
    ] {
        let file = dir.path().join("none.tar");
        let refused = demo.tidegate(who, &["evidence", "export", selection[0], selection[1], file.to_str().unwrap()]);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && told.contains(said) && !file.exists(), "{who} {selection:?}: {told}");
    }
}

// covers: EV-4 (ssh), EV-4 (api)
#[test]
fn the_digests_of_a_recording_enter_the_log_while_the_session_lives() {
    let demo = Demo::start();
    demo.grant("ana", "db-1", "shell", "1h");
    let mut ana = Talk::start(demo.ssh("ana", "db-1+shell", &["-tt"], &[]));
    ana.say("echo ready-$((1+1)); while :; do date +%N; sleep 0.2; done\r");
    ana.until("ready-2");
    let session = demo.live_session("ana").unwrap();
    let (id, recording) = (session["id"].as_str().unwrap(), session["recording"].as_str().unwrap());
    let named = || {
        let entries = demo.get("eve", "/api/v1/audit/entries?event=recording.progress");
        entries["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|entry| entry["data"].to_string().contains(recording))
            .cloned()
            .collect::<Vec<_>>()
    };
    let first = eventually("the log has its first digest", || named().pop());
    assert_eq!(demo.get("eve", &format!("/api/v1/sessions/{id}"))["state"], "live", "{first}");
    eventually("and another, as it goes on", || (named().len() > 1).then_some(()));
    ana.say("\u{3}exit\r");
    ana.end();
    demo.ended_sessions("ana");
    // Each of them, and the one at its end, is what the file is verified against.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("proof.tar");
    let exported = demo.tidegate("eve", &["evidence", "export", "--session", id, file.to_str().unwrap()]);
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let key = demo.ready["checkpoint_verifier"].as_str().unwrap();
    let verified =
        Command::new(env!("CARGO_BIN_EXE_tidegate")).env_clear().args(["evidence", "verify", "--json", "--key", key]).arg(&file).output();
    let found: Value = serde_json::from_slice(&verified.unwrap().stdout).unwrap();
    assert_eq!((&found["sound"], &found["recordings"][0]["recording"]), (&json!(true), &json!(recording)), "{found}");
    assert!(found["recordings"][0]["anchors"].as_u64() >= Some(3), "{found}");
}
