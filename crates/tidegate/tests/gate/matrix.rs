//! One engine, every door: what policy answers is the same whoever asks where. Generated over people, resources and roles.

use std::collections::{BTreeMap, BTreeSet};

use access::session::Protocol;
use serde_json::json;

use crate::demo::Demo;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Opens,
    AsksPeople,
    Refuses,
}

fn by_api(demo: &Demo, person: &str, resource: &str, role: &str) -> Answer {
    preview(demo, person, resource, role, false)
}

fn preview(demo: &Demo, person: &str, resource: &str, role: &str, emergency: bool) -> Answer {
    let ask = json!({"resource": resource, "role": role, "reason": "the matrix", "break_glass": emergency});
    let (status, answer) = demo.api(person, "POST", "/api/v1/requests/preview", Some(ask));
    match answer["answer"].as_str() {
        Some("permit") => Answer::Opens,
        Some("needs_approval") => Answer::AsksPeople,
        Some("deny" | "step_up") => Answer::Refuses,
        _ if status == 404 || status == 403 => Answer::Refuses,
        _ => panic!("{person} {resource}+{role}: {status} {answer}"),
    }
}

fn by_cli(demo: &Demo, person: &str, resource: &str, role: &str) -> Answer {
    asked(demo, person, &["request", "create", resource, role])
}

fn asked(demo: &Demo, person: &str, words: &[&str]) -> Answer {
    let out = demo.tidegate(person, &[words, &["--reason", "the matrix", "--json"]].concat());
    match out.status.code() {
        Some(0 | 75) => {
            let answer: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
            if answer["grant"]["id"].is_string() { Answer::Opens } else { Answer::AsksPeople }
        }
        Some(77) => Answer::Refuses,
        other => panic!("{person} {words:?}: {other:?} {}", String::from_utf8_lossy(&out.stderr)),
    }
}

fn by_ssh(demo: &Demo, person: &str, resource: &str, role: &str) -> Answer {
    knock(demo, person, resource, role, "TIDEGATE_REASON=matrix")
}

/// What the SSH door answers to somebody who says this along.
fn knock(demo: &Demo, person: &str, resource: &str, role: &str, along: &str) -> Answer {
    let config = demo.person(person)["ssh_config"].as_str().unwrap();
    let out = std::process::Command::new("ssh")
        .args(["-F", config, "-o", "BatchMode=yes", "-o", &format!("SetEnv={along}")])
        .args(["-l", &format!("{resource}+{role}"), "build-1.tide", "true"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    match out.status.code() {
        Some(75) => Answer::AsksPeople,
        Some(0) => Answer::Opens,
        // The door is open, but the role includes no commands, or not this one.
        Some(77) if said.contains("does not include") => Answer::Opens,
        Some(77) => Answer::Refuses,
        // The listed command runs and fails at the target.
        Some(_) => panic!("{person} {resource}+{role}: {:?} {said}", out.status),
        None => panic!("{person} {resource}+{role}: killed"),
    }
}

/// What a database's door answers to a program that gave no reason, so that nobody is asked by it.
fn by_client(mut client: std::process::Command) -> Answer {
    let out = client.stdin(std::process::Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    // The door is open, but the role does not include what the client does first.
    if out.status.success() || said.contains("Your role does not include this") {
        Answer::Opens
    } else if said.contains("needs the agreement of") {
        Answer::AsksPeople
    } else {
        // The gate's own words, and not those of a client that reached nothing.
        assert!(["No policy lets you", "There is no such"].iter().any(|words| said.contains(words)), "{client:?}: {said}");
        Answer::Refuses
    }
}

fn by_postgres(demo: &Demo, person: &str, resource: &str, role: &str) -> Answer {
    let door = &demo.ready["postgres"];
    let place = format!("host={} port={} user={resource}+{role} sslmode=require", door["host"].as_str().unwrap(), door["port"]);
    let mut psql = std::process::Command::new("psql");
    // Not as `psql`, for a person at that is asked for the reason.
    psql.args(["-X", "-w", "-d", &place, "-c", "SELECT 1"]).env("PGAPPNAME", "matrix");
    psql.env("PGPASSWORD", demo.person(person)["token"].as_str().unwrap());
    by_client(psql)
}

fn by_mysql(demo: &Demo, person: &str, resource: &str, role: &str) -> Answer {
    let door = &demo.ready["mysql"];
    // Not the command line, for a person at that is asked for the reason.
    let mut dump = std::process::Command::new("mariadb-dump");
    dump.args([
        "--no-defaults",
        "--ssl",
        "--no-data",
        "--skip-triggers",
        "--skip-lock-tables",
        "--skip-comments",
        "-h",
        door["host"].as_str().unwrap(),
    ]);
    dump.args(["-P", &door["port"].to_string(), "-u", &format!("{resource}+{role}"), "stock", "items"]);
    dump.env("MYSQL_PWD", demo.person(person)["token"].as_str().unwrap());
    by_client(dump)
}

const EVERYBODY: [&str; 7] = ["ana", "ben", "carla", "dan", "eve", "frank", "deploy-bot"];

/// A door: what it answers to somebody who goes there, in a role.
type Door = fn(&Demo, &str, &str, &str) -> Answer;

/// Where one connects to what speaks a protocol. One without a door does not compile here.
fn door_of(protocol: Protocol) -> Door {
    match protocol {
        Protocol::Ssh => by_ssh,
        Protocol::Postgres => by_postgres,
        Protocol::Mysql => by_mysql,
    }
}

// covers: B8 (ssh), B8 (api), B8 (cli), ASK-4 (ssh), ASK-4 (api), ASK-4 (cli), WHO-7 (ssh), WHO-7 (api), WHO-7 (cli), MAY-1 (ssh), MAY-1 (api), MAY-1 (cli)
// covers: B8 (psql), B8 (mysql), ASK-4 (psql), ASK-4 (mysql), WHO-7 (psql), WHO-7 (mysql), MAY-1 (psql), MAY-1 (mysql)
#[test]
fn every_door_gives_the_same_answer_to_everybody() {
    let demo = Demo::start();
    let (mut seen, mut used) = (BTreeMap::new(), BTreeMap::<&str, BTreeSet<String>>::new());
    for resource in demo.ready["resources"].as_array().unwrap().clone() {
        let name = resource["name"].as_str().unwrap();
        let protocol: Protocol = serde_json::from_value(resource["kind"].clone()).unwrap();
        for role in resource["roles"].as_array().unwrap() {
            let role = role.as_str().unwrap();
            for person in EVERYBODY {
                let expected = by_api(&demo, person, name, role);
                assert_eq!(door_of(protocol)(&demo, person, name, role), expected, "{}: {person} {name}+{role}", protocol.code());
                used.entry(protocol.code()).or_default().insert(format!("{expected:?}"));
                assert_eq!(by_cli(&demo, person, name, role), expected, "cli: {person} {name}+{role}");
                *seen.entry(format!("{expected:?}")).or_insert(0) += 1;
            }
        }
    }
    // A matrix in which one answer never comes proves nothing, nor one in which nobody goes to a door, or all get in there.
    assert_eq!(seen.len(), 3, "{seen:?}");
    let doors: BTreeSet<&str> = Protocol::ALL.iter().map(|protocol| protocol.code()).collect();
    assert_eq!(used.keys().copied().collect::<BTreeSet<_>>(), doors);
    assert!(used.values().all(|answers| answers.len() > 1), "{used:?}");
}

// covers: B8 (ssh), B8 (api), B8 (cli), GRANT-9 (ssh), GRANT-9 (api), GRANT-9 (cli), C8 (ssh)
#[test]
fn an_emergency_is_answered_alike_by_ssh_api_and_command_to_everybody() {
    let demo = Demo::start();
    let mut seen = BTreeSet::new();
    for (resource, role) in [("db-1", "shell"), ("db-1", "debug"), ("build-1", "shell")] {
        for person in EVERYBODY {
            let expected = preview(&demo, person, resource, role, true);
            assert_eq!(knock(&demo, person, resource, role, "TIDEGATE_BREAK_GLASS=matrix"), expected, "ssh: {person} {resource}+{role}");
            assert_eq!(asked(&demo, person, &["break-glass", resource, role]), expected, "cli: {person} {resource}+{role}");
            seen.insert(format!("{expected:?}"));
        }
    }
    assert_eq!(seen, BTreeSet::from(["Opens", "Refuses"].map(str::to_owned)), "nobody else is asked in an emergency");
}

// covers: B8 (ssh), B8 (api), GRANT-5 (ssh), GRANT-5 (api)
#[test]
fn only_who_holds_a_grant_asks_for_it_to_be_longer_by_ssh_and_by_api() {
    let demo = Demo::start();
    let holders = ["ana", "ben"];
    let grants = holders.map(|holder| {
        let grant = demo.grant(holder, "db-1", "shell", "1h");
        // Its clock starts when it is used.
        assert_eq!(by_ssh(&demo, holder, "db-1", "shell"), Answer::Opens);
        grant
    });
    for person in EVERYBODY {
        let out = demo.ssh(person, "db-1+shell", &["-s"], &["extend", "90m", "matrix"]).output().unwrap();
        let holds = holders.contains(&person);
        assert_eq!(out.status.code() == Some(75), holds, "ssh: {person}: {out:?}");
        for (holder, grant) in holders.iter().zip(&grants) {
            let longer = json!({"duration": "90m", "reason": "matrix"});
            let (status, answer) = demo.api(person, "POST", &format!("/api/v1/grants/{grant}/extend"), Some(longer));
            assert_eq!(status < 300, person == *holder, "api: {person}, of {holder}: {status} {answer}");
        }
    }
}
