//! A narrower role from what was done as it: proposed as a diff, applied, and held to.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use testkit::postgres::Database;

use crate::databases::{psql, said, shop};
use crate::demo::eventually;
use crate::served::Served;

fn suggest(gate: &Served, person: &str, role: &str, more: &[&str]) -> Output {
    let dir = gate.dir().join("policy");
    gate.tidegate(person, &[&["policy", "suggest", dir.to_str().unwrap(), "--role", role], more].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until every session has ended; gives them, the newest first.
fn ended(gate: &Served) -> Vec<String> {
    eventually("every session has ended", || {
        let all = gate.get("eve", "/api/v1/sessions?all=true");
        let all = all["items"].as_array().unwrap().clone();
        let over = !all.is_empty() && all.iter().all(|session| session["state"] == "ended");
        over.then(|| all.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect())
    })
}

/// Applies a diff to the policy directory, checks that it is sound, and waits until it is in force.
fn apply(gate: &Served, diff: &str) {
    let before = gate.get("dan", "/api/v1/policy")["digest"].clone();
    let (dir, file) = (gate.dir().join("policy"), gate.dir().join("narrower.diff"));
    fs::write(&file, diff).unwrap();
    let applied = Command::new("git").current_dir(&dir).args(["apply", "-p1"]).arg(&file).output().unwrap();
    assert!(applied.status.success(), "{}\n{diff}", text(&applied.stderr));
    let checked = gate.tidegate("dan", &["policy", "check", dir.to_str().unwrap()]);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    eventually("the narrower policy is in force", || (gate.get("dan", "/api/v1/policy")["digest"] != before).then_some(()));
}

// covers: MAY-7 (cli, psql)
#[test]
fn ana_uses_a_part_of_her_role_and_the_rest_of_it_is_proposed_to_go() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(Database::fresh()).unwrap();
    let gate = shop(&database);
    let nothing = suggest(&gate, "eve", "clerk", &[]);
    assert!(!nothing.status.success() && text(&nothing.stderr).contains("nobody had a session as `clerk`"), "{}", text(&nothing.stderr));
    gate.grant("ana", "sales-db", "clerk", "10m");
    assert_eq!(said(&psql(&gate, &database, &["-c", "SELECT id FROM orders"])), "1");
    // What was refused, and what the server did not know, was not used.
    let tried = said(&psql(&gate, &database, &["-c", "SELECT id FROM payments", "-c", "SELECT stauts FROM orders"]));
    assert!(tried.contains("does not include this"), "{tried}");
    let sessions = ended(&gate);

    let typo = suggest(&gate, "eve", "clark", &[]);
    assert!(text(&typo.stderr).contains("did you mean `clerk`?"), "{}", text(&typo.stderr));
    // Frank sees none of it, and is not told that there is nothing.
    let frank = suggest(&gate, "frank", "clerk", &[]);
    assert!(
        !frank.status.success() && frank.stdout.is_empty() && text(&frank.stderr).contains("nothing is suggested"),
        "{}",
        text(&frank.stderr)
    );

    let out = suggest(&gate, "eve", "clerk", &[]);
    let (diff, notes) = (text(&out.stdout), text(&out.stderr));
    assert!(out.status.success(), "{notes}");
    for line in [
        "-  { name = \"public.orders\", select = true, update = [\"status\"] },",
        "+  { name = \"public.orders\", select = [\"id\"] },",
        "-  { name = \"public.customers\", select = [\"name\", \"card\"], mask = [\"card\"] },",
        "+  { name = \"public.customers\", select = [\"card\"], mask = [\"card\"] },",
    ] {
        assert!(diff.lines().any(|one| one == line), "{line}\n{diff}");
    }
    assert!(notes.contains("2 sessions") && notes.contains("nobody used: "), "{notes}");
    // The day before yesterday nobody was there.
    assert_eq!(text(&suggest(&gate, "eve", "clerk", &["--since", "1h"]).stdout), diff);

    apply(&gate, &diff);
    gate.grant("ana", "sales-db", "clerk", "10m");
    assert_eq!(said(&psql(&gate, &database, &["-c", "SELECT id FROM orders"])), "1");
    for unused in ["UPDATE orders SET status = 'x'", "SELECT status FROM orders", "SELECT name FROM customers"] {
        let refused = said(&psql(&gate, &database, &["-c", unused]));
        assert!(refused.contains("Your role does not include this"), "{unused}: {refused}");
    }
    ended(&gate);
    let again = suggest(&gate, "eve", "clerk", &[]);
    assert!(
        again.status.success() && again.stdout.is_empty() && text(&again.stderr).contains("nothing to narrow"),
        "{}",
        text(&again.stderr)
    );

    // A recording that nobody can read any more may have held anything.
    assert!(gate.tidegate("carla", &["evidence", "destroy", &sessions[0], "--reason", "nobody may keep it"]).status.success());
    let out = suggest(&gate, "eve", "clerk", &[]);
    assert!(!out.status.success() && out.stdout.is_empty(), "{}", text(&out.stdout));
    assert!(text(&out.stderr).contains(&sessions[0]) && text(&out.stderr).contains("destroyed"), "{}", text(&out.stderr));
    let out = suggest(&gate, "eve", "clerk", &["--partial", "--json"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let said: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(
        (said["missing"].as_array().unwrap().len(), &said["missing"][0]["session"]),
        (1, &Value::from(sessions[0].as_str())),
        "{said}"
    );
    gate.assert_provable();
}

// covers: MAY-7 (cli, ssh)
#[test]
fn a_role_for_machines_is_narrowed_to_the_commands_that_were_run() {
    let gate = Served::start();
    gate.grant("ana", "build-1", "shell", "10m");
    let run = |command: &str| gate.ssh("ana", "build-1+shell", &[], &[command]).output().unwrap();
    assert_eq!(text(&run("echo inside").stdout).trim(), "inside");
    ended(&gate);
    let out = suggest(&gate, "eve", "shell", &[]);
    let diff = text(&out.stdout);
    assert!(diff.contains("\n+ssh = { exec = [\"echo inside\"] }\n"), "{diff}{}", text(&out.stderr));
    apply(&gate, &diff);
    gate.grant("ana", "build-1", "shell", "10m");
    assert_eq!(text(&run("echo inside").stdout).trim(), "inside");
    let refused = run("echo outside");
    assert_eq!(refused.status.code(), Some(77), "{}", text(&refused.stderr));
}
