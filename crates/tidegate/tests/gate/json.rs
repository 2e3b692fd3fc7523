//! What commands on files answer with `--json`: others read it, so its keys stay. The API's own answers are in its document.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::known::program;
use crate::served::Served;

/// The answer of a command at the gate's own machine.
fn answer(gate: &Served, words: &[&str]) -> Value {
    let mut command = Command::new(program());
    command.env_clear().env("TIDEGATE_CONFIG", gate.dir().join("tidegate.toml")).args(words).arg("--json");
    let output = command.output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{words:?}: {error}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    })
}

fn assert_keys(what: &[&str], found: &Value, keys: &str) {
    let found: BTreeSet<&str> = found.as_object().unwrap_or_else(|| panic!("{what:?}: {found}")).keys().map(String::as_str).collect();
    assert_eq!(found, keys.split_whitespace().collect(), "{what:?}");
}

// covers: RUN-4 (cli)
#[test]
fn commands_on_files_answer_in_json_whose_keys_stay() {
    let gate = Served::start();
    gate.grant("ana", "db-1", "shell", "1h");
    let ran = gate.ssh("ana", "db-1+shell", &[], &["echo in"]).output().unwrap();
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    let session = gate.ended_sessions("ana").pop().unwrap();
    let path = |name: &str| gate.dir().join(name).to_str().unwrap().to_owned();
    let (policy, log, export, copy, key) = (path("policy"), path("data/audit"), path("proof.tar"), path("copy"), path("checkpoint.pub"));
    gate.cli("eve", &["evidence", "export", "--session", session["id"].as_str().unwrap(), &export]);
    let example = testkit::gate::example_policy();
    let example = example.to_str().unwrap();
    for (words, keys, first_of, its_keys) in [
        (&["config", "check"][..], "file mistakes", "", ""),
        (&["doctor"][..], "findings health", "/findings/0", "check health says"),
        (&["policy", "check", &policy][..], "digest mistakes warnings", "", ""),
        (&["policy", "test", &policy][..], "outcomes", "/outcomes/0", "at name wrong"),
        (&["policy", "diff", example, &policy][..], "changes kept new old whole", "", ""),
        (
            &["policy", "explain", "build-1+shell", "--who", "ana", "--dir", &policy][..],
            "policies steps verdict",
            "/policies/0",
            "at id text",
        ),
        (&["policy", "playbook", &policy][..], "playbook", "", ""),
        (
            &["audit", "verify", &log, "--key", &key][..],
            "consulted findings keys not_consulted origin signed size sound texts_erased texts_matching",
            "",
            "",
        ),
        (
            &["evidence", "verify", &export, "--key", &key][..],
            "checkpoint entries exported findings keys origin policies recordings recordings_absent selection signed_approvals sound \
             texts_absent texts_matching",
            "/recordings/0",
            "anchors chunks closed destroyed end_unknown frames recording",
        ),
        (&["backup", &copy][..], "dir entries keys recordings verified", "", ""),
        (&["recover", "night-shift"][..], "api code expires_at username", "", ""),
    ] {
        let found = answer(&gate, words);
        assert_keys(words, &found, keys);
        if !first_of.is_empty() {
            assert_keys(words, found.pointer(first_of).unwrap_or_else(|| panic!("{words:?}: {found}")), its_keys);
        }
    }
}
