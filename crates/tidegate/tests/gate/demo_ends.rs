//! The demo is a normal server: Ctrl-C ends it and all it started, what it left in its directory serves without it, and everybody in
//! its ready file has what the file says.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

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
