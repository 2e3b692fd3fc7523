//! One engine, every door: what policy answers is the same whoever asks where. Generated over people, resources and roles.

use serde_json::json;

use crate::demo::Demo;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Opens,
    AsksPeople,
    Refuses,
}

fn by_api(demo: &Demo, person: &str, resource: &str, role: &str) -> Answer {
    let ask = json!({"resource": resource, "role": role, "reason": "the matrix"});
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
    let out = demo.tidegate(person, &["request", "create", resource, role, "--reason", "the matrix", "--json"]);
    match out.status.code() {
        Some(0 | 75) => {
            let answer: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
            if answer["grant"]["id"].is_string() { Answer::Opens } else { Answer::AsksPeople }
        }
        Some(77) => Answer::Refuses,
        other => panic!("{person} {resource}+{role}: {other:?} {}", String::from_utf8_lossy(&out.stderr)),
    }
}

fn by_ssh(demo: &Demo, person: &str, resource: &str, role: &str) -> Answer {
    let config = demo.person(person)["ssh_config"].as_str().unwrap();
    let out = std::process::Command::new("ssh")
        .args([
            "-F",
            config,
            "-o",
            "BatchMode=yes",
            "-o",
            "SetEnv=TIDEGATE_REASON=matrix",
            "-l",
            &format!("{resource}+{role}"),
            "build-1.tide",
            "true",
        ])
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

// covers: B8 (ssh), B8 (api), B8 (cli), ASK-4 (ssh), ASK-4 (api), ASK-4 (cli), WHO-7 (ssh), WHO-7 (api), WHO-7 (cli), MAY-1 (ssh), MAY-1 (api), MAY-1 (cli)
#[test]
fn every_door_gives_the_same_answer_to_everybody() {
    let demo = Demo::start();
    let mut seen = std::collections::BTreeMap::new();
    for resource in demo.ready["resources"].as_array().unwrap().clone() {
        let name = resource["name"].as_str().unwrap();
        for role in resource["roles"].as_array().unwrap() {
            let role = role.as_str().unwrap();
            for person in ["ana", "ben", "carla", "dan", "eve", "frank", "deploy-bot"] {
                let expected = by_api(&demo, person, name, role);
                // A database has doors of its own, with suites of their own.
                if resource["kind"] == "ssh" {
                    assert_eq!(by_ssh(&demo, person, name, role), expected, "ssh: {person} {name}+{role}");
                }
                assert_eq!(by_cli(&demo, person, name, role), expected, "cli: {person} {name}+{role}");
                *seen.entry(format!("{expected:?}")).or_insert(0) += 1;
            }
        }
    }
    // A matrix in which one answer never comes proves nothing.
    assert_eq!(seen.len(), 3, "{seen:?}");
}
