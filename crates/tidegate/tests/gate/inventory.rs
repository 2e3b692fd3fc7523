//! The inventory by command, and a real SSH server that is looked at for what the gate did not put there.

use std::fs;

use serde_json::json;
use testkit::sshd::{SshdOptions, keypair, public_half};

use crate::served::{Plan, Served};

// covers: BACK-3 (cli, api)
#[test]
fn a_list_is_imported_by_command_and_its_backlog_worked_off() {
    let gate = Served::start();
    let file = gate.dir().join("laptop");
    fs::write(&file, "Host old\n  HostName 10.9.9.9\n  User root\n  IdentityFile ~/.ssh/id_rsa\n").unwrap();
    let done = gate.cli("dan", &["inventory", "import", "ssh-config", file.to_str().unwrap(), "--of", "ana"]);
    assert_eq!((&done["found"], &done["source"]), (&json!(1), &json!("ssh-config.ana")));
    let again = gate.cli("dan", &["inventory", "import", "ssh-config", file.to_str().unwrap(), "--of", "ana"]);
    assert_eq!(again["same"], json!(true));
    let ways = gate.cli("dan", &["inventory", "list", "--state", "open"]);
    let way = &ways["items"][0];
    assert_eq!((&way["target"], &way["attribution"], &way["person"]["username"]), (&json!("10.9.9.9:22"), &json!("shared"), &json!("ana")));
    let id = way["id"].as_str().unwrap();
    let closed = gate.cli("dan", &["inventory", "close", id, "--reason", "the machine is gone"]);
    assert_eq!(closed["state"], json!("closed"));
    let backlog = gate.cli("dan", &["inventory", "backlog", "--weeks", "1"]);
    assert_eq!((&backlog["now"]["open"], &backlog["now"]["closed"]), (&json!(0), &json!(1)));
    // In words; and a file that is none says where.
    let said = gate.tidegate("dan", &["inventory", "list"]);
    assert!(String::from_utf8_lossy(&said.stdout).contains("10.9.9.9:22"));
    fs::write(&file, "Host \"old\n").unwrap();
    let wrong = gate.tidegate("dan", &["inventory", "import", "ssh-config", file.to_str().unwrap()]);
    assert!(!wrong.status.success());
    let why = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(why.contains("line 1: a quote is not closed here"), "{why}");
    let ana = gate.tidegate("ana", &["inventory", "list"]);
    assert_eq!(ana.status.code(), Some(77), "{}", String::from_utf8_lossy(&ana.stderr));
}

// covers: BACK-4 (ssh), BACK-4 (cli)
#[test]
fn a_key_that_somebody_left_on_a_target_is_found_until_it_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let key = public_half(&keypair(dir.path(), "left").unwrap()).unwrap();
    let target = SshdOptions { authorized_keys: vec![format!("{key} somebody@laptop")], ..SshdOptions::default() };
    let gate = Served::with(Plan { target, ..Plan::default() });
    let look = || gate.cli("dan", &["inventory", "drift", "db-1"]);
    let looked = look();
    let findings = looked["findings"].as_array().unwrap();
    let of = |kind: &str| findings.iter().filter(|one| one["kind"] == json!(kind)).collect::<Vec<_>>();
    let left = of("authorized_key");
    assert!(left.iter().any(|one| one["detail"].as_str().unwrap().contains("somebody@laptop")), "{looked}");
    assert!(of("trusted_authority").is_empty(), "the gate's own authority is none: {looked}");
    // It is taken away, and the next look says so.
    fs::write(gate.target.dir().join("authorized_keys"), "").unwrap();
    let after = look();
    assert!(after["mended"].as_u64().unwrap() >= 1, "{after}");
    assert!(!after["findings"].to_string().contains("somebody@laptop"), "{after}");
    let listed = gate.cli("dan", &["inventory", "findings", "--state", "mended"]);
    assert!(listed.to_string().contains("somebody@laptop"), "{listed}");
    // Somebody trusts another authority.
    let other = public_half(&keypair(dir.path(), "other").unwrap()).unwrap();
    let facts = gate.get("ana", "/api/v1/gate");
    gate.target.trust(&format!("{}\n{other}", facts["target_ca"].as_str().unwrap())).unwrap();
    let found = look();
    assert_eq!(found["findings"].as_array().unwrap().iter().filter(|one| one["kind"] == json!("trusted_authority")).count(), 1, "{found}");
}

// covers: BACK-4 (cli)
#[test]
fn a_target_whose_roles_are_root_is_looked_at_once_somebody_says_as_whom() {
    let machine = |name: &str, line: &str| {
        format!(
            "[[resource]]\nname = \"{name}\"\nkind = \"ssh\"\naddress = \"127.0.0.1:{{port}}\"\nlogin = \"root\"\n{line}tier = \"non-prod\"\n\
             host_keys = [\"{{host_key}}\"]\n"
        )
    };
    let additions = format!("{}{}", machine("told-1", "look_as = \"{login}\"\n"), machine("untold-1", ""));
    let gate = Served::with(Plan { policy: vec![("resources.toml", additions)], ..Plan::default() });
    let looked = gate.cli("dan", &["inventory", "drift", "told-1"]);
    assert!(looked["findings"].is_array(), "{looked}");
    let refused = gate.tidegate("dan", &["inventory", "drift", "untold-1"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("as root alone") && said.contains("write `look_as` at `untold-1`"), "{said}");
    let entered = |name: &str| {
        let entries = gate.get("eve", &format!("/api/v1/audit/entries?event={name}"));
        entries["items"].as_array().unwrap().iter().filter(|one| one.to_string().contains("untold-1")).count()
    };
    assert_eq!((entered("drift.failed"), entered("drift.begun")), (1, 0), "it did not go there");
}

// covers: RUN-8 (cli, api)
#[test]
fn a_rollout_is_said_in_numbers() {
    let gate = Served::start();
    let rollout = gate.cli("dan", &["rollout"]);
    let names: Vec<&str> = rollout["phases"].as_array().unwrap().iter().map(|phase| phase["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["inventory", "identity", "policy", "pipelines"]);
    assert_eq!(rollout["phases"][0]["progress"], json!("not_begun"));
    let said = gate.tidegate("dan", &["rollout"]);
    assert!(String::from_utf8_lossy(&said.stdout).contains("not begun"), "{}", String::from_utf8_lossy(&said.stdout));
}
