//! The gate's keys are replaced while people work; what left the gate as lines is whole.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::demo::{Demo, eventually};
use crate::known::program;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Ana's session: whether it opened, and what was said.
fn opens(demo: &Demo) -> (bool, String) {
    let ran = demo.ssh("ana", "db-1+shell", &[], &["echo it-opened"]).output().unwrap();
    (text(&ran.stdout).contains("it-opened"), text(&ran.stderr))
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn without_comment(line: &str) -> String {
    line.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

// covers: CRED-6 (ssh, cli)
#[test]
fn a_target_ca_is_replaced_in_two_steps_and_nobody_is_locked_out() {
    let demo = Demo::start();
    demo.grant("ana", "db-1", "shell", "1h");
    let trusted = demo.dir().join("target/user_ca.pub");
    let old = lines(&trusted);
    assert!(opens(&demo).0);

    // Step one: the new CA is announced. Both stand where everybody looks; sessions go on with the old.
    let announced = demo.tidegate("dan", &["keys", "rotate", "target_ca"]);
    let said = text(&announced.stdout);
    assert!(announced.status.success() && said.contains("is announced") && said.contains("keys activate target_ca"), "{said}");
    let facts = demo.get("ana", "/api/v1/gate");
    let published: Vec<String> =
        facts["target_cas"].as_array().unwrap().iter().map(|ca| ca["public_key"].as_str().unwrap().to_owned()).collect();
    assert_eq!((published.len(), &facts["target_cas"][1]["state"]), (2, &json!("announced")), "{facts}");
    assert!(published.iter().all(|key| said.contains(key.as_str())), "{said}");
    assert_eq!(published[0], without_comment(&old[0]), "the one in use comes first");
    let setup = demo.get("dan", "/api/v1/resources/db-1");
    assert!(published.iter().all(|key| setup["setup"].to_string().contains(key.as_str())), "{setup}");
    let opened = opens(&demo);
    assert!(opened.0, "the target knows nothing of the new one, and needs not yet: {}", opened.1);

    // Activated too early, the target refuses; with both lines it opens again.
    fs::write(&trusted, format!("{}\n", published.join("\n"))).unwrap();
    let activated = demo.tidegate("dan", &["keys", "activate", "target_ca", "--keep", "3d"]);
    assert!(activated.status.success() && text(&activated.stdout).contains("from now on"), "{}", text(&activated.stderr));
    let opened = opens(&demo);
    assert!(opened.0, "{}", opened.1);
    fs::write(&trusted, format!("{}\n", published[0])).unwrap();
    let refused = opens(&demo);
    assert!(!refused.0, "the new CA opens sessions now, and this target trusts only the old");
    // The old line goes; the new one alone opens.
    fs::write(&trusted, format!("{}\n", published[1])).unwrap();
    let opened = opens(&demo);
    assert!(opened.0, "{}", opened.1);
    let facts = demo.get("ana", "/api/v1/gate");
    assert_eq!((&facts["target_ca"], &facts["target_cas"][1]["state"]), (&json!(published[1]), &json!("replaced")), "{facts}");
    let listed = text(&demo.tidegate("ana", &["keys", "list"]).stdout);
    assert!(listed.contains("targets trust it until"), "{listed}");
    assert!(!demo.tidegate("ana", &["keys", "rotate", "target_ca"]).status.success(), "that is a right of its own");
}

/// The host key that the gate shows to who connects now.
fn shown(demo: &Demo) -> String {
    let facts = demo.get("ana", "/api/v1/gate");
    let (host, port) = (facts["ssh"]["host"].as_str().unwrap(), facts["ssh"]["port"].to_string());
    let scanned = Command::new("ssh-keyscan").args(["-T", "60", "-t", "ed25519", "-p", &port, host]).output().unwrap();
    let line = text(&scanned.stdout).lines().find(|line| !line.starts_with('#')).unwrap().to_owned();
    line.split(' ').skip(1).take(2).collect::<Vec<_>>().join(" ")
}

// covers: CRED-6 (ssh, cli)
#[test]
fn the_host_key_is_announced_and_then_shown_and_nothing_is_started_anew() {
    let demo = Demo::start();
    let keys = |demo: &Demo| demo.get("ana", "/api/v1/gate")["ssh"]["host_keys"].clone();
    let old = shown(&demo);
    assert_eq!(keys(&demo), json!([old]));
    assert!(!demo.tidegate("dan", &["keys", "activate", "ssh_host"]).status.success(), "none is announced");
    let announced = demo.tidegate("dan", &["keys", "rotate", "ssh_host"]);
    assert!(announced.status.success() && text(&announced.stdout).contains("keys activate ssh_host"), "{announced:?}");
    let both = keys(&demo);
    assert_eq!((both.as_array().unwrap().len(), &both[0]), (2, &json!(old)), "the one that is shown comes first");
    assert_eq!(shown(&demo), old, "people learn the new one first");
    let activated = demo.tidegate("dan", &["keys", "activate", "ssh_host"]);
    assert!(activated.status.success(), "{activated:?}");
    let new = shown(&demo);
    assert_eq!((json!(new), keys(&demo)), (both[1].clone(), json!([both[1]])));
    assert_ne!(new, old);
    for event in ["keys.announced", "keys.rotated"] {
        let entries = demo.get("eve", &format!("/api/v1/audit/entries?event={event}"));
        assert_eq!(entries["items"].as_array().unwrap().len(), 1, "{entries}");
    }
}

fn verify(kind: &str, path: &Path, key: &str, more: &[&str]) -> Output {
    Command::new(program()).env_clear().args([kind, "verify"]).arg(path).args(["--key", key]).args(more).output().unwrap()
}

// covers: CRED-6 (cli, api), EV-2 (cli), EV-3 (cli)
#[test]
fn whoever_holds_the_first_audit_key_verifies_after_it_was_replaced() {
    let demo = Demo::start();
    demo.grant("ana", "db-1", "shell", "1h");
    let first = demo.ready["checkpoint_verifier"].as_str().unwrap().to_owned();
    let before = demo.get("ana", "/api/v1/gate")["checkpoint_verifier"].as_str().unwrap().to_owned();
    for kind in ["audit", "row_digest", "audit", "login_ca", "sealing"] {
        let replaced = demo.cli("dan", &["keys", "rotate", kind]);
        assert_eq!((&replaced["kind"], &replaced["in_use"]), (&json!(kind), &json!(true)), "{replaced}");
    }
    let now = demo.get("ana", "/api/v1/gate")["checkpoint_verifier"].as_str().unwrap().to_owned();
    assert_ne!(now, before, "what everybody may know is the key of now");
    assert_eq!(demo.post("eve", "/api/v1/audit/replay", json!({}))["differences"], json!([]));
    assert!(opens(&demo).0);
    let session = eventually("the session is entered as ended", || {
        let all = demo.get("eve", "/api/v1/sessions?all=true");
        all["items"].as_array().unwrap().iter().find(|s| s["state"] == "ended").cloned()
    });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("proof.tar");
    let exported = demo.tidegate("eve", &["evidence", "export", "--session", session["id"].as_str().unwrap(), file.to_str().unwrap()]);
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    let copied = Command::new("cp").arg("-r").arg(demo.dir().join("data/audit")).arg(dir.path()).status().unwrap();
    assert!(copied.success());
    let published = demo.dir().join("checkpoints.published");
    let published = if published.exists() { published } else { demo.dir().join("data/checkpoints.published") };
    let more: Vec<&str> = if published.exists() { vec!["--checkpoint", published.to_str().unwrap()] } else { Vec::new() };

    // A process of its own, with nothing but the files and the key from before.
    for (kind, path, more) in [("evidence", file, Vec::new()), ("audit", dir.path().join("audit"), more)] {
        let good = verify(kind, &path, &first, &more);
        assert!(good.status.success(), "{kind}: {}{}", text(&good.stdout), text(&good.stderr));
        assert!(text(&good.stdout).contains("Keys: 3 signed one after another"), "{}", text(&good.stdout));
    }
}

/// The cells of a table (RFC 4180).
fn table(csv: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut rest) = (false, csv.chars().peekable());
    while let Some(c) = rest.next() {
        match c {
            '"' if quoted && rest.peek() == Some(&'"') => {
                rest.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    assert!(row.is_empty() && cell.is_empty() && !quoted, "the last row ends");
    rows
}

// covers: EV-6 (cli, api), F2 (cli, api)
#[test]
fn everything_leaves_as_json_lines_and_as_a_table_and_nothing_is_trimmed() {
    let demo = Demo::start();
    let hostile = format!("=HYPERLINK(\"x\")\r\n\u{202e}{}", " long".repeat(380));
    let asked = demo.post("ana", "/api/v1/requests", json!({"resource": "db-1", "role": "shell", "duration": "1h", "reason": hostile}));
    let request = asked["request"]["id"].as_str().unwrap().to_owned();
    demo.post("ben", &format!("/api/v1/requests/{request}/approve"), json!({}));
    // A command longer than any screen.
    let command = format!("true {}", "x".repeat(20_000));
    let ran = demo.ssh("ana", "db-1+shell", &[], &[&command]).output().unwrap();
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    let session = eventually("the session is entered as ended", || {
        let all = demo.get("eve", "/api/v1/sessions?all=true");
        all["items"].as_array().unwrap().iter().find(|s| s["state"] == "ended").cloned()
    });
    let id = session["id"].as_str().unwrap();

    let jsonl = text(&demo.tidegate("eve", &["audit", "export", "--jsonl"]).stdout);
    let entries: Vec<Value> = jsonl.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let asked = entries.iter().find(|entry| entry["event"] == "request.submitted").unwrap();
    assert_eq!(asked["texts"]["reason"], json!(hostile), "to the last letter");
    assert_eq!(entries[0]["event"], "log.started", "oldest first");
    let csv = text(&demo.tidegate("eve", &["audit", "export", "--csv"]).stdout);
    let rows = table(&csv);
    assert_eq!(rows[0], ["at", "kind", "id", "actor", "door", "event", "data", "texts"]);
    assert!(rows.len() > entries.len(), "one row for each entry, and the header");
    for (row, entry) in rows[1..].iter().zip(&entries) {
        assert_eq!((&json!(row[2]), serde_json::from_str::<Value>(&row[6]).unwrap()), (&entry["id"], entry["data"].clone()));
        assert_eq!(serde_json::from_str::<Value>(&row[7]).unwrap(), entry["texts"]);
        assert!(row.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@'])), "{row:?}");
    }
    assert!(!csv.contains('\u{202e}'));

    let dir = tempfile::tempdir().unwrap();
    for (flag, name) in [("--jsonl", "lines.jsonl"), ("--csv", "table.csv")] {
        let file = dir.path().join(name);
        let done = demo.tidegate("eve", &["evidence", "export", "--session", id, flag, file.to_str().unwrap()]);
        assert!(done.status.success(), "{}", text(&done.stderr));
        let written = fs::read_to_string(&file).unwrap();
        let activities: Vec<Value> = match flag {
            "--jsonl" => written
                .lines()
                .map(|l| serde_json::from_str::<Value>(l).unwrap())
                .filter(|l| l["kind"] == "activity")
                .map(|l| l["data"].clone())
                .collect(),
            _ => table(&written).into_iter().filter(|row| row[1] == "activity").map(|row| serde_json::from_str(&row[6]).unwrap()).collect(),
        };
        let exec = activities.iter().find(|data| data["activity"]["kind"] == "exec").unwrap_or_else(|| panic!("{flag}: {activities:?}"));
        assert_eq!(exec["activity"]["command"], json!(command), "{flag}: whole");
        assert!(written.contains("session.opened") && written.contains("request.submitted"), "{flag}");
    }
    let refused = demo.tidegate("frank", &["audit", "export", "--csv"]);
    assert!(!refused.status.success() && refused.stdout.is_empty());
}

// covers: EV-7 (cli, api), G2 (api)
#[test]
fn a_text_is_erased_and_a_recording_destroyed_by_who_may() {
    let demo = Demo::start();
    demo.grant("ana", "db-1", "shell", "1h");
    assert!(opens(&demo).0);
    let session = eventually("the session is entered as ended", || {
        let all = demo.get("eve", "/api/v1/sessions?all=true");
        all["items"].as_array().unwrap().iter().find(|s| s["state"] == "ended").cloned()
    });
    let id = session["id"].as_str().unwrap();
    let entries = demo.get("eve", "/api/v1/audit/entries?event=request.submitted");
    let entry = entries["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(entries["items"][0]["texts"]["reason"], "checking a slow query");

    for person in ["ana", "dan", "eve"] {
        assert!(!demo.tidegate(person, &["audit", "erase", &entry, "reason", "--reason", "x"]).status.success(), "{person}");
        assert!(!demo.tidegate(person, &["evidence", "destroy", id, "--reason", "x"]).status.success(), "{person}");
    }
    let erased = demo.tidegate("carla", &["audit", "erase", &entry, "reason", "--reason", "Ana asked for it"]);
    assert!(erased.status.success(), "{}", text(&erased.stderr));
    let destroyed = demo.tidegate("carla", &["evidence", "destroy", id, "--reason", "nobody may keep it"]);
    assert!(destroyed.status.success(), "{}", text(&destroyed.stderr));

    let entries = demo.get("eve", "/api/v1/audit/entries?event=request.submitted");
    assert!(entries["items"][0]["texts"]["reason"].is_null(), "{entries}");
    let gone = demo.tidegate("eve", &["session", "replay", id, "--asciicast", "-"]);
    assert!(!gone.status.success() && text(&gone.stderr).contains("destroyed"), "{}", text(&gone.stderr));
    assert_eq!(demo.post("eve", "/api/v1/audit/replay", json!({}))["differences"], json!([]));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("proof.tar");
    assert!(demo.tidegate("eve", &["evidence", "export", "--session", id, file.to_str().unwrap()]).status.success());
    let good = verify("evidence", &file, demo.ready["checkpoint_verifier"].as_str().unwrap(), &[]);
    assert!(good.status.success() && text(&good.stdout).contains("its keys were destroyed"), "{}", text(&good.stdout));
}
