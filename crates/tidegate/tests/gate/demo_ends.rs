//! The demo is a normal server: Ctrl-C ends it and all it started, what it left in its directory serves without it, and everybody in
//! its ready file has what the file says.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use testkit::preload::WallClock;

use crate::demo::{Demo, Talk, eventually, lives};
use crate::known::{http, program};

/// Every process that was started by this one, or by one of those.
fn descendants(of: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|process| {
            let pid = process.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(process.path().join("stat")).ok()?;
            Some((pid, stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()?))
        })
        .collect();
    let mut found = vec![of];
    let mut looked = 0;
    while looked < found.len() {
        let parent = found[looked];
        looked += 1;
        let children: Vec<u32> = parents.iter().filter(|(pid, by)| *by == parent && !found.contains(pid)).map(|(pid, _)| *pid).collect();
        found.extend(children);
    }
    found.split_off(1)
}

/// The arguments of every process that works in a directory.
fn working_in(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().unwrap();
    let arguments = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(|process| String::from_utf8_lossy(&fs::read(process.path().join("cmdline")).unwrap_or_default()).replace('\0', " "));
    arguments.filter(|arguments| arguments.contains(dir)).collect()
}

// covers: RUN-1
#[test]
fn ctrl_c_ends_the_demo_and_all_it_started_and_what_it_left_serves() {
    let demo = Demo::start();
    demo.grant("ana", "db-1", "shell", "1h");
    let ssh = Talk::start(demo.ssh("ana", "db-1+shell", &[], &["echo pid-$$-; exec sleep 100000"]));
    let pid: u32 = eventually("the target's process", || ssh.heard().split("pid-").nth(1)?.split_once('-')?.0.parse().ok());
    // Its target, the target's child for Ana, and both databases with theirs.
    let started = descendants(demo.pid());
    assert!(started.contains(&pid), "{pid} is not among {started:?}");
    for program in ["sshd", "postgres", "mariadbd"] {
        let named = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == program);
        assert!(started.iter().any(named), "the demo started no {program}");
    }
    let (base, token) = (demo.ready["api"].as_str().unwrap().to_owned(), demo.person("ana")["token"].as_str().unwrap().to_owned());
    let (config, demo_dir) = (demo.ready["config"].as_str().unwrap().to_owned(), demo.dir());
    let (status, _kept) = demo.interrupt();
    assert_eq!(status, Some(0));
    // All of it went before the demo did, but for the target's children, which end with their connections.
    eventually("nothing is left of what it started", || started.iter().all(|pid| !lives(*pid)).then_some(()));
    eventually("nothing works in its directory", || working_in(&demo_dir).is_empty().then_some(()));
    drop(ssh);

    // It is a normal server, with a normal configuration.
    let mut serve = Command::new(program());
    serve.args(["serve", "--config", &config]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut served = Talk::start(serve);
    served.until("The gate serves");
    let (status, me) = http(&base, Some(&token), "GET", "/api/v1/me", None);
    assert_eq!((status, &me["user"]["username"]), (200, &json!("ana")), "{me}");
    let (_, sessions) = http(&base, Some(&token), "GET", "/api/v1/sessions", None);
    assert_eq!(sessions["items"][0]["state"], json!("ended"), "{sessions}");
    let checked = Command::new(program()).args(["config", "check", "--config", &config]).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert!(Command::new("kill").args(["-TERM", &served.child.id().to_string()]).status().unwrap().success());
    assert_eq!(served.end(), 0, "{}", served.heard());
}

// covers: RUN-1, WHO-5 (ssh), WHO-7 (ssh)
#[test]
fn everybody_in_the_ready_file_signs_in_by_key_by_certificate_and_by_token() {
    let demo = Demo::start();
    let people = demo.ready["people"].as_array().unwrap();
    assert!(people.iter().any(|person| person["username"] == "deploy-bot"));
    // The pipeline does its work with what it has.
    let bot = demo.ssh("deploy-bot", "build-1+deploy", &[], &["echo rolled-out"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&bot.stdout).trim(), "rolled-out", "{}", String::from_utf8_lossy(&bot.stderr));
    for person in people {
        let name = person["username"].as_str().unwrap();
        let (status, me) = demo.api(name, "GET", "/api/v1/me", None);
        assert_eq!((status, &me["user"]["username"]), (200, &person["username"]), "{me}");
        // Somebody the gate knows is told what it has for them; a stranger is not let in at all.
        let config = fs::read_to_string(person["ssh_config"].as_str().unwrap()).unwrap();
        let key = person["key"].as_str().unwrap();
        let certified = person["certificate"].as_str().unwrap().strip_suffix("-cert.pub").unwrap();
        for (how, identity) in [("key", key), ("certificate", certified)] {
            let mine = demo.home.join(format!("{name}-{how}"));
            fs::write(&mine, config.replace(key, identity)).unwrap();
            let out =
                Command::new("ssh").arg("-F").arg(&mine).args(["-o", "BatchMode=yes", "nowhere.tide", "-l", "nowhere", "true"]).output();
            let out = out.unwrap();
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            assert!(out.status.code() == Some(77) && said.contains("no such"), "{name} by {how}: {said}");
        }
    }
}

// covers: RUN-1
#[test]
fn a_demo_that_was_killed_ends_what_it_left_when_it_is_started_again() {
    let sshd_of = |demo: &Demo| {
        let named = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sshd");
        descendants(demo.pid()).into_iter().find(named).unwrap()
    };
    let demo = Demo::start();
    let left = sshd_of(&demo);
    let again = demo.kill_and_restart();
    eventually("the old target is gone", || (!lives(left)).then_some(()));
    assert_ne!(sshd_of(&again), left);
    let dir = again.dir();
    assert_eq!(again.interrupt().0, Some(0));
    eventually("nothing works in its directory", || working_in(&dir).is_empty().then_some(()));
}

// covers: RUN-1, WHO-5 (ssh)
#[test]
fn what_people_sign_in_with_is_made_anew_when_it_is_nearly_over() {
    let demo = Demo::start();
    let held = |demo: &Demo, name: &str| {
        let person = demo.person(name);
        let certificate = fs::read_to_string(person["certificate"].as_str().unwrap()).unwrap();
        (person["token"].as_str().unwrap().to_owned(), certificate)
    };
    let before = ["ana", "deploy-bot"].map(|name| held(&demo, name));
    let dir = tempfile::tempdir().unwrap();
    let clock = WallClock::right(dir.path()).unwrap();
    // Soon afterwards both are good; the next day only the token is; after a month neither.
    let mut demo = demo;
    for (later, same_token, same_certificate) in [("+1h", true, true), ("+1d", true, false), ("+31d", false, false)] {
        clock.set(later).unwrap();
        demo = demo.restart_by(&clock);
        for (name, (token, certificate)) in ["ana", "deploy-bot"].into_iter().zip(&before) {
            let now = held(&demo, name);
            assert_eq!((now.0 == *token, now.1 == *certificate), (same_token, same_certificate), "{name} {later}");
            let (status, me) = demo.api(name, "GET", "/api/v1/me", None);
            assert_eq!((status, &me["user"]["username"]), (200, &json!(name)), "{later}: {me}");
            let person = demo.person(name);
            let login = person["certificate"].as_str().unwrap().strip_suffix("-cert.pub").unwrap();
            let config = fs::read_to_string(person["ssh_config"].as_str().unwrap()).unwrap();
            let mine = demo.home.join(format!("{name}-certified"));
            fs::write(&mine, config.replace(person["key"].as_str().unwrap(), login)).unwrap();
            let role = if name == "ana" { "shell" } else { "deploy" };
            let ssh =
                Command::new("ssh").arg("-F").arg(&mine).args(["-o", "BatchMode=yes", &format!("build-1+{role}.tide"), "echo in"]).output();
            let out = ssh.unwrap();
            assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), "in", "{name} {later}: {}", String::from_utf8_lossy(&out.stderr));
        }
    }
}

// covers: G1
#[test]
fn nobody_else_on_the_machine_reads_a_token_of_the_demo() {
    let demo = Demo::start();
    let tokens: Vec<&str> = demo.ready["people"].as_array().unwrap().iter().map(|person| person["token"].as_str().unwrap()).collect();
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o077;
    // A file below a directory that is its owner's alone is out of reach.
    let mut open = vec![demo.dir()];
    let (mut files, mut looked) = (vec![demo.home.join("ready.json")], 0);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path()).filter(|path| mode(path) != 0) {
            if entry.is_dir() {
                open.push(entry);
            } else if entry.is_file() {
                files.push(entry);
            }
        }
    }
    assert_eq!(mode(&files[0]), 0, "the ready file");
    for file in files.iter().skip(1) {
        let bytes = fs::read(file).unwrap_or_default();
        looked += 1;
        assert!(!tokens.iter().any(|token| bytes.windows(token.len()).any(|part| part == token.as_bytes())), "{}", file.display());
    }
    assert!(looked > 5, "the policy, the configuration, the target's files");
    // They are there, for whoever runs it.
    assert!(fs::read_to_string(demo.dir().join("people/people.json")).unwrap().contains(tokens[0]));
}
