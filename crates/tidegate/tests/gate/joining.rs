//! Two people at one terminal: who may, what the other is told, whose every letter is, and what ends it.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::demo::{Demo, Talk, eventually};
use crate::known::program;

fn session_of(demo: &Demo, person: &str) -> String {
    eventually("their session", || demo.live_session(person)).get("id").and_then(Value::as_str).unwrap().to_owned()
}

/// Joins with stock `ssh`.
fn joins(demo: &Demo, person: &str, at: &str, session: &str) -> Talk {
    Talk::start(demo.ssh(person, at, &["-tt", "-s"], &[&format!("join {session}")]))
}

/// What was typed on each channel of a recording, by who may read that.
fn typed(demo: &Demo, session: &str, channel: u64) -> String {
    use base64::Engine as _;
    let (status, answer) = demo.api("carla", "GET", &format!("/api/v1/sessions/{session}/recording?format=frames&input=true"), None);
    assert_eq!(status, 200, "{answer}");
    let lines = answer["raw"].as_str().map(str::to_owned).unwrap_or_else(|| answer.to_string());
    let frames = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let bytes: Vec<u8> = frames
        .filter(|frame| frame["direction"] == "input" && frame["channel"] == json!(channel))
        .flat_map(|frame| base64::prelude::BASE64_STANDARD.decode(frame["data"].as_str().unwrap_or_default()).unwrap_or_default())
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

// covers: SES-1 (ssh), B5 (ssh), WHO-4 (ssh), D2 (ssh)
#[test]
fn ben_joins_ana_by_a_grant_of_his_own_and_each_letter_has_one_author() {
    let demo = Demo::start();
    demo.grant("ana", "db-1", "shell", "1h");
    let mut ana = Talk::start(demo.ssh("ana", "db-1+shell", &["-tt"], &[]));
    ana.say("echo ready-$((1+1))\r");
    ana.until("ready-2");
    let hers = session_of(&demo, "ana");

    // Without a grant he is asked why, as wherever he connects.
    let mut asked = joins(&demo, "ben", "db-1+shell", &hers);
    asked.until("Reason");
    asked.say("\u{3}");
    assert_ne!(asked.end(), 0);
    let his_grant = demo.grant("ben", "db-1", "shell", "1h");
    let mut ben = joins(&demo, "ben", "db-1+shell", &hers);
    ana.until("ben has joined this session");
    ben.until("You are in ana's terminal");
    ben.say("echo from-ben-$((20+3))\r");
    ana.until("from-ben-23");
    ben.until("from-ben-23");
    ana.say("echo from-ana-$((20+4))\r");
    ben.until("from-ana-24");
    let his = session_of(&demo, "ben");
    assert_ne!(his, hers);

    // His grant ends: he is out, and she goes on.
    demo.post("dan", &format!("/api/v1/grants/{his_grant}/revoke"), json!({"reason": "enough"}));
    assert_eq!(ben.end(), 76, "{}", ben.heard());
    ana.until("ben has left this session");
    ana.say("echo still-$((30+1))\r");
    ana.until("still-31");
    assert!(!ben.heard().contains("still-31"));
    ana.say("exit\r");
    assert_eq!(ana.end(), 0);

    demo.ended_sessions("ana");
    demo.ended_sessions("ben");
    let entries = demo.get("eve", "/api/v1/audit/entries?event=session.joined");
    let entry = &entries["items"][0];
    assert!(entry.to_string().contains(&hers) && entry.to_string().contains(&his), "{entry}");
    let joined = demo.activities(&hers, "joined");
    assert_eq!((joined.len(), &joined[0]["by"], &joined[0]["session"]), (1, &json!("ben"), &json!(his)));
    assert_eq!(demo.activities(&his, "join")[0]["session"], json!(hers));
    // In her recording his letters stand on another channel than hers; in his stands what he saw.
    let (by_her, by_him) = (typed(&demo, &hers, 0), typed(&demo, &hers, 1));
    assert!(by_her.contains("from-ana") && !by_her.contains("from-ben"), "{by_her}");
    assert!(by_him.contains("from-ben") && !by_him.contains("from-ana"), "{by_him}");
    assert!(demo.shown(&his).contains("from-ana-24") && demo.shown(&hers).contains("from-ben-23"));
}

// covers: SES-1 (ssh), B2 (ssh), B5 (ssh)
#[test]
pub(crate) fn nobody_joins_what_they_may_not_watch_or_could_not_do_alone() {
    let demo = Demo::start();
    for person in ["ana", "ben"] {
        demo.grant(person, "db-1", "shell", "1h");
    }
    let mut ben = Talk::start(demo.ssh("ben", "db-1+shell", &["-tt"], &[]));
    ben.say("echo ready-$((1+1))\r");
    ben.until("ready-2");
    let his = session_of(&demo, "ben");
    // Ana has the same grant, and no right to watch: there is no such session for her.
    let mut ana = joins(&demo, "ana", "db-1+shell", &his);
    assert_eq!(ana.end(), 77, "{}", ana.heard());
    let unknown = ana.heard();
    let mut nothing = joins(&demo, "ana", "db-1+shell", "ses_01900000000070008000000000");
    nothing.end();
    assert!(!unknown.contains("ready") && !unknown.contains("terminal"), "{unknown}");
    // Ben may watch Ana's, but is at another door than hers.
    let mut hers = Talk::start(demo.ssh("ana", "db-1+shell", &["-tt"], &[]));
    hers.say("echo ready-$((1+1))\r");
    hers.until("ready-2");
    let session = session_of(&demo, "ana");
    let mut elsewhere = joins(&demo, "ben", "build-1+shell", &session);
    assert_eq!(elsewhere.end(), 77, "{}", elsewhere.heard());
    assert!(elsewhere.heard().contains("db-1+shell.tide join"), "{}", elsewhere.heard());
    let there = joins(&demo, "ben", "db-1+shell", &session);
    there.until("You are in ana's terminal");
    // And the command that joins stands at no target.
    let mut wrong = joins(&demo, "ben", "db-1+shell", "what");
    assert_eq!(wrong.end(), 77, "{}", wrong.heard());
    for talk in [&mut ben, &mut hers] {
        talk.say("exit\r");
        assert_eq!(talk.end(), 0);
    }
    there.until("terminal is closed");
}

// covers: SES-1 (cli)
#[test]
pub(crate) fn the_command_line_joins_and_leaves_with_the_session_it_joined() {
    let demo = Demo::start();
    for person in ["ana", "ben"] {
        demo.grant(person, "db-1", "shell", "1h");
    }
    let mut ana = Talk::start(demo.ssh("ana", "db-1+shell", &["-tt"], &[]));
    ana.say("echo ready-$((1+1))\r");
    ana.until("ready-2");
    let hers = session_of(&demo, "ana");
    let mut command = Command::new(program());
    command
        .env("TIDEGATE_URL", demo.ready["api"].as_str().unwrap())
        .env("TIDEGATE_TOKEN", demo.person("ben")["token"].as_str().unwrap())
        .env("HOME", &demo.home)
        .args(["session", "join", &hers, "--identity", demo.person("ben")["key"].as_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut ben = Talk::start(command);
    ben.until("You are in ana's terminal");
    ben.say("echo from-ben-$((20+3))\r");
    ana.until("from-ben-23");
    ana.say("exit\r");
    assert_eq!(ana.end(), 0);
    ben.until("terminal is closed");
    assert_eq!(ben.end(), 0);
    let over = demo.tidegate("ben", &["session", "join", &hers]);
    assert!(!over.status.success() && String::from_utf8_lossy(&over.stderr).contains("session replay"), "{over:?}");
}
