//! A copy of a running gate, and a gate that goes on from it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::demo::eventually;
use crate::known::program;
use crate::served::Served;

fn backup(gate: &Served, to: &str, more: &[&str]) -> Output {
    Command::new(program()).current_dir(gate.dir()).args(["backup", to, "--config", "tidegate.toml", "--json"]).args(more).output().unwrap()
}

/// Ana has been on a machine.
fn worked(gate: &Served, says: &str) -> Value {
    let ran = gate.ssh("ana", "db-1+shell", &[], &[&format!("echo {says}")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout).trim(), says, "{ran:?}");
    eventually("its end is entered", || {
        let all = gate.get("eve", "/api/v1/sessions?all=true&limit=500");
        let live = all["items"].as_array().unwrap().iter().any(|session| session["state"] == "live");
        all["items"].as_array().unwrap().first().cloned().filter(|_| !live)
    })
}

fn put_in_place(gate: &Served, backup: &str) {
    let data = gate.dir().join("data");
    let lost = gate.dir().join("lost");
    fs::rename(&data, &lost).unwrap();
    let copied = Command::new("cp").arg("-a").arg(gate.dir().join(backup)).arg(&data).status().unwrap();
    assert!(copied.success());
    // These are kept elsewhere.
    for kept in ["keys", "sealing.key"] {
        fs::rename(lost.join(kept), data.join(kept)).unwrap();
    }
}

// covers: RUN-4 (cli), F7 (cli)
#[test]
fn a_gate_goes_on_from_a_backup_that_was_made_while_it_ran() {
    let mut gate = Served::start();
    gate.grant("ana", "db-1", "shell", "1h");
    let before = worked(&gate, "before");
    let copied = backup(&gate, "copy", &[]);
    assert!(copied.status.success(), "{copied:?}");
    let said: Value = serde_json::from_slice(&copied.stdout).unwrap();
    assert_eq!((&said["verified"], &said["recordings"], &said["keys"]), (&json!(true), &json!(1), &json!(false)), "{said}");
    let copy = gate.dir().join("copy");
    assert!(!copy.join("keys").exists(), "the keys stay where they are");
    for file in ["store.db", "audit/checkpoint"] {
        assert_eq!(fs::metadata(copy.join(file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    let again = backup(&gate, "copy", &[]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("is not empty"), "{again:?}");

    // What came after it is lost with the machine, and the gate says so instead of going on as if nothing had been.
    worked(&gate, "afterwards");
    eventually("what came after it is published", || {
        let published = fs::read_to_string(gate.dir().join("checkpoints.published")).unwrap();
        let then = fs::read_to_string(copy.join("checkpoints.published")).unwrap();
        (published.len() > then.len()).then_some(())
    });
    gate.kill();
    put_in_place(&gate, "copy");
    let config = gate.dir().join("tidegate.toml");
    let refused = Command::new(program()).current_dir(gate.dir()).args(["serve", "--config", "tidegate.toml"]).output().unwrap();
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && why.contains("the store was rolled back"), "{why}");
    // On purpose: those checkpoints are kept for the auditors, and it goes on with the copy's.
    fs::rename(gate.dir().join("checkpoints.published"), gate.dir().join("lost.published")).unwrap();
    fs::copy(copy.join("checkpoints.published"), gate.dir().join("checkpoints.published")).unwrap();
    assert!(fs::read_to_string(&config).unwrap().contains("checkpoints.published"));
    gate.run_again();
    gate.assert_provable();
    let sessions = gate.get("eve", "/api/v1/sessions?all=true&limit=500");
    assert_eq!(sessions["items"].as_array().unwrap().len(), 1, "{sessions}");
    assert!(gate.recording(before["id"].as_str().unwrap()).contains("before"));
    worked(&gate, "on");
}

// covers: RUN-4 (cli), G1 (cli)
#[test]
fn keys_are_copied_when_that_is_said_and_never_what_seals_them() {
    let gate = Served::start();
    let copied = backup(&gate, "copy", &["--with-keys"]);
    assert!(copied.status.success(), "{copied:?}");
    let names: Vec<String> =
        fs::read_dir(gate.dir().join("copy/keys")).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.len() >= 8, "{names:?}");
    let sealing: Vec<Vec<u8>> = ["data/sealing.key", "data/keys/sealing.key", "sealing.key"]
        .iter()
        .filter_map(|path| fs::read(gate.dir().join(path)).ok())
        .collect();
    assert!(!sealing.is_empty(), "it is somewhere");
    let mut left = vec![gate.dir().join("copy")];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            assert!(!sealing.contains(&fs::read(&path).unwrap()), "{}", path.display());
        }
    }
}
