//! Asking where one connects, through the whole program and stock clients: more time, less than the role, emergencies, patience, roles,
//! and what is told to who has no key.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testkit::security_key::SecurityKey;
use testkit::sshd::public_half;

use crate::demo::{Demo, Talk, eventually};
use crate::known::program;
use crate::served::{Plan, Served};

/// The line that a warning says to type, as the words after `ssh`.
fn line_to_type(heard: &str) -> Vec<String> {
    let line =
        heard.lines().find_map(|line| line.trim_end().strip_prefix("***   ssh ")).unwrap_or_else(|| panic!("no line to type in:\n{heard}"));
    line.split(' ').map(|word| word.trim_matches('\'').to_owned()).collect()
}

/// Stock `ssh` of a person with these words after it, and nothing else.
fn type_it(config: &Value, words: &[String]) -> Command {
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(config.as_str().unwrap()).args(words).stdin(Stdio::null());
    ssh
}

// covers: GRANT-5, ASK-3 (ssh)
#[test]
pub(crate) fn ana_types_what_the_warning_says_ben_agrees_and_her_shell_goes_on() {
    let demo = Demo::start();
    let grant = demo.grant("ana", "db-1", "shell", "25s");
    let mut ana = Talk::start(demo.ssh("ana", "db-1+shell", &["-tt"], &[]));
    ana.until("This session ends in ");
    ana.until(" extend 30m ");
    let session = demo.live_session("ana").unwrap();
    let before = demo.get("ana", &format!("/api/v1/grants/{grant}"))["ends_at"].as_str().unwrap().to_owned();
    let asked = type_it(&demo.person("ana")["ssh_config"], &line_to_type(&ana.heard())).output().unwrap();
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(asked.status.code() == Some(75) && said.contains("waits for approval"), "{asked:?}");
    // It is told in the shell as well, and Ben sees that it is for longer.
    ana.until("You asked for 30m more; it waits for approval (req_");
    let inbox = String::from_utf8(demo.tidegate("ben", &["request", "list", "--inbox"]).stdout).unwrap();
    assert!(inbox.contains("db-1+shell, longer"), "{inbox}");
    let request = demo.get("ben", "/api/v1/requests?of=inbox")["items"][0].clone();
    assert_eq!((&request["extends"], &request["reason"]), (&json!(grant), &json!("why")));
    demo.post("ben", &format!("/api/v1/requests/{}/approve", request["id"].as_str().unwrap()), json!({}));
    ana.until("This session has been extended; it is open until ");
    let after = demo.get("ana", &format!("/api/v1/grants/{grant}"))["ends_at"].as_str().unwrap().to_owned();
    assert!(after > before, "{after} is later than {before}");
    #[expect(clippy::disallowed_methods, reason = "the gate runs for real, by the machine's clock")]
    let now = jiff::Timestamp::now;
    eventually("the first end is past", || (now() > before.parse::<jiff::Timestamp>().unwrap()).then_some(()));
    ana.say("echo still-$((6*7))-here\r");
    ana.until("still-42-here");
    assert_eq!(demo.live_session("ana").unwrap()["id"], session["id"], "the same session");
    ana.say("exit\r");
    assert_eq!(ana.end(), 0);
    // Where nobody has to agree it is there at once; where nothing is open there is nothing to make longer.
    demo.grant("ana", "build-1", "shell", "10m");
    demo.post("ana", &format!("/api/v1/grants/{grant}/return"), json!({}));
    let _build = Talk::start(demo.ssh("ana", "build-1+shell", &[], &["echo in; exec sleep 1000"]));
    eventually("her session there", || demo.live_session("ana"));
    let at_once = demo.ssh("ana", "build-1", &["-s"], &["extend", "20m"]).output().unwrap();
    let said = String::from_utf8_lossy(&at_once.stderr).into_owned();
    assert!(at_once.status.success() && said.contains("build-1 is open until "), "{at_once:?}");
    let nothing = demo.ssh("ana", "db-1+shell", &["-s"], &["extend", "30m", "why"]).output().unwrap();
    assert!(!nothing.status.success() && String::from_utf8_lossy(&nothing.stderr).contains("nothing of yours is open"), "{nothing:?}");
}

// covers: GRANT-9, ASK-3 (ssh)
#[test]
pub(crate) fn ben_on_call_breaks_the_glass_in_his_terminal() {
    let demo = Demo::start();
    let mut ben = Talk::start(demo.ssh("ben", "db-1+shell", &["-tt"], &[]));
    ben.until("In an emergency answer `break glass`");
    ben.until("Reason: ");
    assert!(ben.heard().lines().all(|line| line.trim_end().chars().count() <= 80), "{}", ben.heard());
    ben.say("break glass\r");
    ben.until("What is the emergency: ");
    ben.say("checkout is down\r");
    ben.until("Emergency access");
    ben.say("echo in-$((6*7))\r");
    ben.until("in-42");
    let reviews = demo.get("carla", "/api/v1/reviews?state=open");
    assert_eq!(reviews["items"].as_array().map(Vec::len), Some(1), "{reviews}");
    let longer = demo.ssh("ben", "db-1+shell", &["-s"], &["extend", "30m", "why"]).output().unwrap();
    assert!(
        longer.status.code() == Some(77) && String::from_utf8_lossy(&longer.stderr).contains("emergency is not made longer"),
        "{longer:?}"
    );
    // Ana is not on call: she is offered none, and the variable opens none.
    let mut ana = Talk::start(demo.ssh("ana", "db-1+shell", &["-tt"], &[]));
    ana.until("Reason: ");
    assert!(!ana.heard().contains("emergency"), "{}", ana.heard());
    let refused = demo.ssh("ana", "db-1+shell", &["-o", "SetEnv=TIDEGATE_BREAK_GLASS=now"], &["true"]).output().unwrap();
    assert!(refused.status.code() == Some(77) && String::from_utf8_lossy(&refused.stderr).contains("no emergency path"), "{refused:?}");
    ana.say("\x03");
    ben.say("exit\r");
    ben.end();
}

// covers: ASK-3, C5 (ssh)
#[test]
fn a_yes_that_comes_while_ana_types_her_reason_lets_her_in_and_asks_nobody_again() {
    let demo = Demo::start();
    let mut ana = Talk::start(demo.ssh("ana", "db-1+shell", &["-tt"], &[]));
    ana.until("Reason: ");
    let grant = demo.grant("ana", "db-1", "shell", "10m");
    ana.say("looking\r");
    ana.until("For how long");
    ana.say("\r");
    ana.until("Opening db-1+shell");
    ana.say("echo in-$((6*7))\r");
    ana.until("in-42");
    assert_eq!(demo.live_session("ana").unwrap()["grant"], json!(grant));
    let pending = demo.get("ana", "/api/v1/requests?state=pending");
    assert_eq!(pending["items"], json!([]), "{pending}");
    ana.say("exit\r");
    assert_eq!(ana.end(), 0);
}

/// A home of a person's own, in which nothing but this program's settings is.
fn with_home(gate: &Served, keys: &SecurityKey, home: &Path, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(program());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", home);
    command.env("TIDEGATE_URL", gate.ready["api"].as_str().unwrap()).env("SSH_SK_PROVIDER", keys.library());
    keys.unlock(&mut command);
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

// covers: GRANT-9, C8, MAY-4, WHO-2 (ssh, cli)
#[test]
fn an_emergency_that_wants_a_verified_key_is_reached_with_one_over_ssh_and_by_command_line() {
    let path = "@id(\"payments-in-an-emergency\")\n@breakglass(\"security, 24h\")\n@mfa(\"verified, 15m\")\n@max_duration(\"30m\")\n\
                permit(principal in Tide::Team::\"payments\", action == Tide::Action::\"request\", resource in Tide::Tier::\"prod\");\n";
    let gate = Served::with(Plan { policy: vec![("access.cedar", path.to_owned())], ..Plan::default() });
    let dir = tempfile::tempdir().unwrap();
    let keys = SecurityKey::build(dir.path()).unwrap();
    let key = dir.path().join("verified");
    keys.enroll(&key, Some("verify-required")).unwrap();
    gate.post("ana", "/api/v1/me/keys", json!({"public_key": public_half(&key).unwrap(), "label": "verified"}));
    let emergency = ["-o", "SetEnv=TIDEGATE_BREAK_GLASS=down"];

    // Her plain key proves too little, over SSH and by the token it brings; she is told what would do.
    let plain = gate.ssh("ana", "db-1+shell", &emergency, &["echo inside"]).output().unwrap();
    let said = String::from_utf8_lossy(&plain.stderr).into_owned();
    assert!(plain.status.code() == Some(77) && said.contains("security key"), "{plain:?}");
    let weak = gate.tidegate("ana", &["break-glass", "db-1+shell", "--reason", "down"]);
    assert!(!weak.status.success() && String::from_utf8_lossy(&weak.stderr).contains("security key"), "{weak:?}");

    // With the key that checks who holds it, it opens, and a review is owed.
    let hers = std::fs::read_to_string(gate.person("ana")["ssh_config"].as_str().unwrap()).unwrap();
    let only_this: String = hers.lines().filter(|line| !line.trim().starts_with("IdentityFile")).map(|line| format!("{line}\n")).collect();
    let config = dir.path().join("config");
    std::fs::write(&config, only_this).unwrap();
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(&config).args(emergency);
    for option in [format!("IdentityFile={}", key.display()), format!("SecurityKeyProvider={}", keys.library().display())] {
        ssh.args(["-o", &option]);
    }
    keys.unlock(&mut ssh);
    let strong = ssh.args(["db-1+shell.tide", "echo inside"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&strong.stdout).trim(), "inside", "{}", String::from_utf8_lossy(&strong.stderr));
    let open = gate.get("carla", "/api/v1/reviews?state=open")["items"].as_array().map(Vec::len);
    assert_eq!(open, Some(1));

    // Signed in with it, the command line has what it proved.
    let home = dir.path().join("home");
    std::fs::create_dir(&home).unwrap();
    let login = with_home(&gate, &keys, &home, &["login", "--key", key.to_str().unwrap()]);
    assert!(login.status.success(), "{}", String::from_utf8_lossy(&login.stderr));
    let done = with_home(&gate, &keys, &home, &["break-glass", "web-1+shell", "--reason", "down"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let open = gate.get("carla", "/api/v1/reviews?state=open")["items"].as_array().map(Vec::len);
    assert_eq!(open, Some(2));
    // A token that she makes from there proves nothing.
    let made = with_home(&gate, &keys, &home, &["token", "create", "--scope", "ask", "--for", "1h", "--json"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap_or_else(|e| panic!("{e}: {made:?}"));
    assert_eq!(made["token"]["mfa"], "none", "{}", made["token"]);
    gate.assert_provable();
}

// covers: ASK-6 (cli, api, ssh)
#[test]
fn a_request_for_one_command_is_seen_decided_and_held_to() {
    let demo = Demo::start();
    let command = "echo only this";
    let asked = demo.tidegate("ana", &["request", "create", "db-1+shell", "--command", command, "--reason", "a look", "--json"]);
    let asked: Value = serde_json::from_slice(&asked.stdout).unwrap();
    let id = asked["request"]["id"].as_str().unwrap();
    let inbox = String::from_utf8(demo.tidegate("ben", &["request", "list", "--inbox"]).stdout).unwrap();
    assert!(inbox.contains("only the command"), "{inbox}");
    let shown = String::from_utf8(demo.tidegate("ben", &["request", "show", id]).stdout).unwrap();
    assert!(shown.contains(command), "{shown}");
    let voted = demo.post("ben", &format!("/api/v1/requests/{id}/approve"), json!({}));
    assert_eq!(voted["grant"]["limits"]["command"], command);
    let ran = demo.ssh("ana", "db-1+shell", &[], &[command]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout).trim(), "only this", "{ran:?}");
    for other in [&["echo only this; id"][..], &["id"], &[]] {
        let refused = demo.ssh("ana", "db-1+shell", &["-T"], other).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(77) && said.contains("limited to less"), "{other:?}: {refused:?}");
    }
    // By ssh itself, without the command line: read-only.
    let limited = ["-o", "SetEnv=TIDEGATE_LIMIT=read-only TIDEGATE_REASON=looking"];
    let pending = demo.ssh("ana", "web-1+shell", &limited, &["true"]).output().unwrap();
    assert_eq!(pending.status.code(), Some(75), "{pending:?}");
    let request = demo.get("ben", "/api/v1/requests?of=inbox")["items"][0].clone();
    assert_eq!((&request["resource"], &request["limits"]["read_only"]), (&json!("web-1"), &json!(true)), "{request}");
    demo.post("ben", &format!("/api/v1/requests/{}/approve", request["id"].as_str().unwrap()), json!({}));
    let refused = demo.ssh("ana", "web-1+shell", &[], &["true"]).output().unwrap();
    assert!(refused.status.code() == Some(77) && String::from_utf8_lossy(&refused.stderr).contains("limited to less"), "{refused:?}");
}

// covers: ASK-3, WHO-5 (ssh)
#[test]
fn a_stranger_is_told_where_to_begin() {
    let demo = Demo::start();
    let port = demo.ready["ssh"]["port"].to_string();
    let known_hosts = format!("UserKnownHostsFile={}", demo.ready["ssh"]["known_hosts"].as_str().unwrap());
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "/dev/null", "-o", &known_hosts, "-o", "StrictHostKeyChecking=no", "-o", "IdentityFile=/dev/null"])
        .args(["-o", "IdentityAgent=none", "-p", &port, "db-1@127.0.0.1", "echo inside"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let api = demo.ready["api"].as_str().unwrap();
    let stranger = Talk::start(ssh);
    for line in [format!("{api}/device?code="), format!("tidegate login --url {api}"), format!("tidegate join {api} CODE")] {
        stranger.until(&line);
    }
    let said = stranger.heard();
    assert!(said.lines().all(|line| line.trim_end().chars().count() <= 80) && !said.contains("inside"), "{said}");
}

// covers: ASK-3 (ssh)
#[test]
fn a_client_waits_as_long_as_the_tier_says_and_comes_back_to_the_same_request() {
    let gate = Served::start();
    gate.change_policy("tiers.toml", |tiers| tiers.replace("idle = \"15m\"", "idle = \"15m\"\nwait_at_connect = \"1s\""));
    let waits = ["-o", "SetEnv=TIDEGATE_WAIT=1 TIDEGATE_REASON=nightly"];
    let waited = gate.ssh("ana", "db-1+shell", &waits, &["true"]).output().unwrap();
    let said = String::from_utf8_lossy(&waited.stderr).into_owned();
    assert!(waited.status.code() == Some(75) && said.contains("Waiting for at most 1 s"), "{waited:?}");
    let inbox = gate.get("ben", "/api/v1/requests?of=inbox");
    let id = inbox["items"][0]["id"].as_str().unwrap();
    assert!(said.contains(id) && inbox["items"].as_array().unwrap().len() == 1, "{said} {inbox}");
    gate.post("ben", &format!("/api/v1/requests/{id}/approve"), json!({}));
    let through = gate.ssh("ana", "db-1+shell", &waits, &["echo through"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&through.stdout).trim(), "through", "{through:?}");

    // Without naming a role she gets the one that she has; others would have to be named.
    let plain = gate.ssh("ana", "db-1", &[], &["echo plain"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&plain.stdout).trim(), "plain", "{plain:?}");
    let several = gate.ssh("ana", "web-1", &[], &["true"]).output().unwrap();
    let said = String::from_utf8_lossy(&several.stderr).into_owned();
    assert!(several.status.code() == Some(77) && said.contains("`web-1+shell`") && said.contains("`web-1+logs`"), "{several:?}");
}
