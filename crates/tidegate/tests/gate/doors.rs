//! The doors suite for SSH: open, refuse, warn, cut mid-flight, expire, watch, record, kill. Cuts are measured at the target.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use credentials::keyring::Keyring;
use credentials::sealing::SealingSource;
use serde_json::json;
use ssh_key::LineEnding;
use testkit::sshd::keypair;

use crate::demo::{CUT_WITHIN, Demo, Talk, eventually, lives};
use crate::known::Known;
use crate::served::{Plan, Served};

/// Starts something at the target that would run for long, and gives its process id there.
pub(crate) fn long_runner(gate: &Known, person: &str, selector: &str) -> (Talk, u32) {
    long_runner_with(gate, person, selector, &[])
}

fn long_runner_with(gate: &Known, person: &str, selector: &str, options: &[&str]) -> (Talk, u32) {
    let ssh = Talk::start(gate.ssh(person, selector, options, &["echo pid-$$-; exec sleep 1000"]));
    let pid = eventually("the target's process", || {
        let heard = ssh.heard();
        let rest = heard.split("pid-").nth(1)?;
        rest.split_once('-').and_then(|(pid, _)| pid.parse().ok())
    });
    assert!(lives(pid));
    (ssh, pid)
}

fn gone_within(pid: u32, started: Instant) {
    eventually("the process at the target is gone", || (!lives(pid)).then_some(()));
    assert!(started.elapsed() < CUT_WITHIN, "it took {:?}", started.elapsed());
}

// covers: GRANT-3 (ssh), D2 (ssh), SES-1 (ssh), GRANT-2 (ssh), D1 (ssh)
#[test]
fn every_end_cuts_what_runs_at_the_target() {
    let demo = Demo::start();
    let ana = demo.id("ana");
    type Act = Box<dyn Fn(&Demo, &str)>;
    let ways: Vec<(&str, Act, &str)> = vec![
        (
            "revocation",
            Box::new(|demo, grant| {
                let answer = demo.post("carla", &format!("/api/v1/grants/{grant}/revoke"), json!({"reason": "drill"}));
                assert_eq!(answer["cut"]["unconfirmed"], json!([]), "{answer}");
            }),
            "revoked",
        ),
        (
            "kill",
            Box::new(|demo, _| {
                let session = demo.live_session("ana").unwrap();
                demo.post("carla", &format!("/api/v1/sessions/{}/kill", session["id"].as_str().unwrap()), json!({"reason": "drill"}));
            }),
            "killed",
        ),
        (
            "lock of the resource",
            Box::new(|demo, _| {
                let lock = demo.post("carla", "/api/v1/locks", json!({"scope": "resource:db-1", "reason": "drill"}));
                demo.post("carla", &format!("/api/v1/locks/{}/lift", lock["lock"]["id"].as_str().unwrap()), json!({}));
            }),
            "locked",
        ),
        (
            "lock of the person",
            {
                let ana = ana.clone();
                Box::new(move |demo, _| {
                    let lock = demo.post("carla", "/api/v1/locks", json!({"scope": format!("person:{ana}"), "reason": "drill"}));
                    demo.post("carla", &format!("/api/v1/locks/{}/lift", lock["lock"]["id"].as_str().unwrap()), json!({}));
                })
            },
            "locked",
        ),
        (
            "return",
            Box::new(|demo, grant| {
                demo.post("ana", &format!("/api/v1/grants/{grant}/return"), json!({}));
            }),
            "expired",
        ),
        (
            "disabling the person",
            {
                let ana = ana.clone();
                Box::new(move |demo, _| {
                    demo.post("dan", &format!("/api/v1/users/{ana}/disable"), json!({"reason": "drill"}));
                    demo.post("dan", &format!("/api/v1/users/{ana}/enable"), json!({}));
                })
            },
            "locked",
        ),
    ];
    for (name, act, end) in ways {
        let grant = demo.grant("ana", "db-1", "shell", "1h");
        let (mut ssh, pid) = long_runner(&demo, "ana", "db-1+shell");
        let session = demo.live_session("ana").unwrap()["id"].as_str().unwrap().to_owned();
        let started = Instant::now();
        act(&demo, &grant);
        gone_within(pid, started);
        assert_ne!(ssh.end(), 0, "{name}");
        let row = eventually("the entry", || {
            let row = demo.get("eve", &format!("/api/v1/sessions/{session}"));
            (row["state"] == "ended").then_some(row)
        });
        assert_eq!((&row["end"], &row["confirmed"]), (&json!(end), &json!(true)), "{name}: {row}");
        let open = demo.get("ana", "/api/v1/grants?state=active");
        for left in open["items"].as_array().unwrap() {
            demo.post("ana", &format!("/api/v1/grants/{}/return", left["id"].as_str().unwrap()), json!({}));
        }
    }
}

// covers: GRANT-3 (ssh), D2 (ssh), MAY-8 (ssh)
#[test]
fn what_is_taken_out_of_the_policy_is_cut_at_the_target() {
    let resource = "[[resource]]\nname = \"extra-1\"\nkind = \"ssh\"\naddress = \"127.0.0.1:{port}\"\nlogin = \"{login}\"\n\
                    tier = \"non-prod\"\nowner = \"platform\"\nhost_keys = [\"{host_key}\"]\n";
    let role = "[[role]]\nname = \"probe\"\ndescription = \"To look.\"\nkind = \"ssh\"\nlogin = \"{login}\"\nssh = { exec = \"any\" }\n";
    let plan = Plan { policy: vec![("resources.toml", resource.to_owned()), ("roles.toml", role.to_owned())], ..Plan::default() };
    let gate = Served::with(plan);
    let until = |text: String, mark: &str| {
        let at = text.find(mark).unwrap_or_else(|| panic!("no {mark} in {text}"));
        text[..at].to_owned()
    };
    // What stands on neither goes on all the while.
    let (mut untouched, his) = long_runner(&gate, "ben", "build-1+shell");
    for (what, selector, file, mark) in [
        ("the role", "build-1+probe", "roles.toml", "[[role]]\nname = \"probe\""),
        ("the resource", "extra-1+shell", "resources.toml", "[[resource]]\nname = \"extra-1\""),
    ] {
        let (host, role) = selector.split_once('+').unwrap();
        let grant = gate.grant("ana", host, role, "1h");
        let (mut ssh, pid) = long_runner_with(&gate, "ana", &format!("{host}+shell"), &["-o", &format!("User={selector}")]);
        let session = gate.live_session("ana").unwrap()["id"].as_str().unwrap().to_owned();
        gate.change_policy(file, |text| until(text, mark));
        eventually("the process at the target is gone", || (!lives(pid)).then_some(()));
        assert_eq!(ssh.end(), 76, "{what}: {}", ssh.heard());
        let row = eventually("the entry", || {
            let row = gate.get("eve", &format!("/api/v1/sessions/{session}"));
            (row["state"] == "ended").then_some(row)
        });
        assert_eq!((&row["end"], &row["confirmed"]), (&json!("withdrawn"), &json!(true)), "{what}: {row}");
        let row = gate.get("eve", &format!("/api/v1/grants/{grant}"));
        assert_eq!((&row["state"], &row["end"]), (&json!("ended"), &json!("withdrawn")), "{what}: {row}");
        // And it is not there any more.
        let gone = gate.ssh("ana", &format!("{host}+shell"), &["-o", &format!("User={selector}")], &["echo inside"]).output().unwrap();
        let said = String::from_utf8_lossy(&gone.stderr).into_owned();
        assert_eq!((gone.status.code(), gone.stdout.as_slice()), (Some(77), &b""[..]), "{what}: {said}");
        assert!(said.contains("no such"), "{what}: {said}");
    }
    assert!(lives(his) && untouched.child.try_wait().unwrap().is_none(), "{}", untouched.heard());
    gate.assert_provable();
}

// covers: GRANT-2 (ssh), D1 (ssh)
#[test]
fn at_the_end_of_its_grant_a_session_ends() {
    let demo = Demo::start();
    demo.grant("ana", "db-1", "shell", "12s");
    let (mut ssh, pid) = long_runner(&demo, "ana", "db-1+shell");
    let grants = demo.get("ana", "/api/v1/grants?state=active");
    let ends_at = grants["items"][0]["ends_at"].as_str().unwrap().to_owned();
    // A second session, opened later, has the same end.
    let (mut second, later) = long_runner(&demo, "ana", "db-1+shell");
    eventually("both are gone", || (!lives(pid) && !lives(later)).then_some(()));
    assert_ne!((ssh.end(), second.end()), (0, 0));
    let sessions = eventually("both ends are entered", || {
        let sessions = demo.get("eve", "/api/v1/sessions?all=true");
        let all_ended = sessions["items"].as_array().unwrap().iter().all(|s| s["state"] == "ended");
        all_ended.then_some(sessions)
    });
    for session in sessions["items"].as_array().unwrap() {
        assert_eq!(session["end"], "expired", "{session}");
        let end: jiff::Timestamp = session["ended_at"].as_str().unwrap().parse().unwrap();
        let due: jiff::Timestamp = ends_at.parse().unwrap();
        let late = end.duration_since(due);
        assert!(late.as_millis() >= 0 && late.as_secs() < 3, "ended {late:?} after its end");
    }
}

// covers: B1 (ssh), MAY-6 (ssh)
#[test]
fn what_a_role_does_not_include_is_refused_and_entered() {
    let demo = Demo::start();
    // The same act with just the role put right, first.
    demo.grant("ana", "db-1", "shell", "1h");
    let allowed = demo.ssh("ana", "db-1+shell", &[], &["echo hello"]).output().unwrap();
    assert_eq!(allowed.status.code(), Some(0), "{}", String::from_utf8_lossy(&allowed.stderr));
    demo.grant("ana", "db-1", "debug", "1h");
    let refused = demo.ssh("ana", "db-1+debug", &[], &["echo hello"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(77), "{}", String::from_utf8_lossy(&refused.stderr));
    assert!(!String::from_utf8_lossy(&refused.stdout).contains("hello"));
    let denied = eventually("the entry", || {
        let entries = demo.get("eve", "/api/v1/audit/entries?event=session.denied");
        entries["items"].as_array().unwrap().first().cloned()
    });
    assert!(denied.to_string().contains("exec"), "{denied}");
    // Exactly the listed command, and nothing that looks like it.
    demo.grant("ana", "db-1", "logs", "1h");
    let near = demo.ssh("ana", "db-1+logs", &[], &["journalctl -u app --no-pager -n 200; id"]).output().unwrap();
    assert_eq!(near.status.code(), Some(77));
    let exact = demo.ssh("ana", "db-1+logs", &[], &["journalctl -u app --no-pager -n 200"]).output().unwrap();
    assert_ne!(exact.status.code(), Some(77), "{}", String::from_utf8_lossy(&exact.stderr));
}

// covers: SES-1 (api), SES-1 (ssh), B5 (api), B5 (ssh), F4 (api), F4 (ssh)
#[test]
fn security_watches_live_and_others_cannot() {
    let demo = Demo::start();
    // Of the second nothing that is shown is kept; it is seen live all the same.
    for (resource, kept) in [("db-1", true), ("build-1", false)] {
        demo.grant("ana", resource, "shell", "1h");
        let mut ana = Talk::start(demo.ssh("ana", &format!("{resource}+shell"), &["-tt"], &[]));
        ana.say("echo ready-$((1+1))\r");
        ana.until("ready-2");
        let session = demo.live_session("ana").unwrap()["id"].as_str().unwrap().to_owned();
        let mut carla = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"));
        carla
            .env("TIDEGATE_URL", demo.ready["api"].as_str().unwrap())
            .env("TIDEGATE_TOKEN", demo.person("carla")["token"].as_str().unwrap())
            .args(["session", "watch", &session])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let carla = Talk::start(carla);
        eventually("the watch is entered", || {
            let entries = demo.get("eve", &format!("/api/v1/audit/entries?event=session.watched&about={session}"));
            (!entries["items"].as_array().unwrap().is_empty()).then_some(())
        });
        eventually("carla sees what ana sees", || {
            ana.say("echo seen-$((40+2))\r");
            std::thread::sleep(Duration::from_millis(200));
            carla.heard().contains("seen-42").then_some(())
        });
        let (status, _) = demo.api("frank", "GET", &format!("/api/v1/sessions/{session}/watch"), None);
        assert_eq!(status, 404, "frank can't know that it exists");
        ana.say("exit\r");
        assert_eq!(ana.end(), 0);
        demo.ended_sessions("ana");
        assert_eq!(demo.shown(&session).contains("seen-42"), kept);
    }
}

// covers: WHO-5 (ssh), A1 (ssh), D9 (ssh)
#[test]
fn a_key_nobody_registered_opens_nothing() {
    let demo = Demo::start();
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("stranger");
    let made = std::process::Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap();
    assert!(made.success());
    let with_hers = demo.ssh("ana", "build-1+shell", &[], &["true"]).output().unwrap();
    assert_eq!(with_hers.status.code(), Some(0), "{}", String::from_utf8_lossy(&with_hers.stderr));
    let config = demo.person("ana")["ssh_config"].as_str().unwrap();
    let text = std::fs::read_to_string(config).unwrap().replace(demo.person("ana")["key"].as_str().unwrap(), &key.display().to_string());
    let other = dir.path().join("config");
    std::fs::write(&other, text).unwrap();
    let stranger = std::process::Command::new("ssh")
        .arg("-F")
        .arg(&other)
        .args(["-o", "BatchMode=yes", "build-1+shell.tide", "true"])
        .output()
        .unwrap();
    assert_eq!(stranger.status.code(), Some(255));
    let refused = || demo.get("eve", "/api/v1/audit/entries?event=signin.refused")["items"].as_array().unwrap().clone();
    assert!(refused().is_empty(), "a key that nobody knows is nobody's");
    // Her public key, and nothing that signs as it does: that is told of, once.
    std::fs::copy(format!("{}.pub", demo.person("ana")["key"].as_str().unwrap()), key.with_extension("pub")).unwrap();
    let pretender = std::process::Command::new("ssh")
        .arg("-F")
        .arg(&other)
        .args(["-o", "BatchMode=yes", "build-1+shell.tide", "true"])
        .output()
        .unwrap();
    assert_eq!(pretender.status.code(), Some(255));
    let entered = eventually("it is entered", || Some(refused()).filter(|all| !all.is_empty()));
    assert!(entered.len() == 1 && entered[0].to_string().contains("never came"), "{entered:?}");
    // Her login certificate works as her key does.
    let certificate = demo.person("ana")["certificate"].as_str().unwrap();
    let login = certificate.trim_end_matches("-cert.pub");
    let text = std::fs::read_to_string(config).unwrap().replace(demo.person("ana")["key"].as_str().unwrap(), login);
    std::fs::write(&other, text).unwrap();
    let certified = std::process::Command::new("ssh")
        .arg("-F")
        .arg(&other)
        .args(["-o", "BatchMode=yes", "build-1+shell.tide", "echo in"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&certified.stdout).trim(), "in", "{}", String::from_utf8_lossy(&certified.stderr));
    // A login certificate opens no target.
    let port = std::fs::read_to_string(demo.dir().join("target/sshd_config")).unwrap();
    let port = port.lines().find_map(|l| l.strip_prefix("Port ")).unwrap().to_owned();
    let direct = std::process::Command::new("ssh")
        .args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "IdentitiesOnly=yes",
            "-i",
            login,
            "-p",
            &port,
            "127.0.0.1",
            "true",
        ])
        .output()
        .unwrap();
    assert_eq!(direct.status.code(), Some(255), "{}", String::from_utf8_lossy(&direct.stderr));
}

/// Ana's login certificate, as whoever has a CA can make it: the gate itself makes none that is restricted or late.
struct Forged<'a> {
    demo: &'a Demo,
    dir: tempfile::TempDir,
    key_id: String,
    login: String,
}

impl<'a> Forged<'a> {
    fn new(demo: &'a Demo) -> Self {
        let certificate = demo.person("ana")["certificate"].as_str().unwrap();
        let shown = Command::new("ssh-keygen").args(["-L", "-f", certificate]).output().unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        let key_id = shown.lines().find_map(|line| line.trim().strip_prefix("Key ID: ")).unwrap().trim_matches('"').to_owned();
        Self { demo, dir: tempfile::tempdir().unwrap(), key_id, login: certificate.trim_end_matches("-cert.pub").to_owned() }
    }

    /// The login CA that is in use now.
    fn ca(&self) -> PathBuf {
        let data = self.demo.dir().join("data");
        let keyring = Keyring::open(&data.join("keys"), &SealingSource::File(data.join("sealing.key"))).unwrap();
        let ca = self.dir.path().join("ca");
        write_private(&ca, keyring.login_ca().unwrap().to_openssh(LineEnding::LF).unwrap().as_bytes());
        ca
    }

    /// Her key with a new certificate, signed by this CA as `ssh-keygen` is told.
    fn sign(&self, by: &Path, arguments: &[&str]) -> PathBuf {
        let mine = self.dir.path().join("login");
        for half in ["", ".pub"] {
            std::fs::copy(format!("{}{half}", self.login), format!("{}{half}", mine.display())).unwrap();
        }
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-s"]).arg(by).args(["-I", &self.key_id, "-n", &self.demo.id("ana"), "-O", "clear"]).args(arguments);
        assert!(sign.arg(mine.with_extension("pub")).status().unwrap().success(), "{arguments:?}");
        mine
    }

    /// Stock `ssh` with that key in the place of her own; it says what it offers.
    fn knock(&self, mine: &Path, options: &[&str]) -> Output {
        let config = std::fs::read_to_string(self.demo.person("ana")["ssh_config"].as_str().unwrap()).unwrap();
        let own = self.demo.person("ana")["key"].as_str().unwrap();
        let with_it = self.dir.path().join("config");
        std::fs::write(&with_it, config.replace(own, &mine.display().to_string())).unwrap();
        let mut ssh = Command::new("ssh");
        ssh.arg("-v").args(options).arg("-F").arg(&with_it).args(["-o", "BatchMode=yes", "build-1+shell.tide", "echo in"]).output().unwrap()
    }
}

fn assert_inside(what: &str, out: &Output) {
    assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), "in", "{what}: {}", String::from_utf8_lossy(&out.stderr));
}

/// Shut, though the certificate was shown.
fn assert_shut(what: &str, out: &Output) {
    let told = String::from_utf8_lossy(&out.stderr);
    let shown = told.lines().any(|line| line.contains("Offering public key") && line.contains("-CERT "));
    assert!(out.status.code() == Some(255) && out.stdout.is_empty() && shown, "{what}: {told}");
}

const FOR_AN_HOUR: [&str; 2] = ["-V", "-1m:+1h"];

// covers: A2 (ssh)
#[test]
fn a_restriction_in_a_login_certificate_is_held_or_the_door_stays_shut() {
    let demo = Demo::start();
    let forged = Forged::new(&demo);
    let ca = forged.ca();
    let with = |options: &[&str]| forged.knock(&forged.sign(&ca, &[&FOR_AN_HOUR[..], options].concat()), &[]);
    for held in [&[][..], &["-O", "source-address=127.0.0.0/8"]] {
        assert_inside(&format!("{held:?}"), &with(held));
    }
    for shut in ["source-address=192.0.2.0/24", "force-command=true", "critical:permit-everything@example.com=x"] {
        assert_shut(shut, &with(&["-O", shut]));
    }
}

/// An agent of OpenSSH's, which offers whatever it holds; `ssh` itself shows no certificate of a host.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    fn holding(mine: &Path) -> Self {
        let socket = mine.with_extension("agent");
        let child = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        let agent = Self { child, socket };
        eventually("the agent listens", || agent.socket.exists().then_some(()));
        let added = Command::new("ssh-add").arg("-q").arg(mine).env("SSH_AUTH_SOCK", &agent.socket).status().unwrap();
        assert!(added.success());
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

// covers: A4 (ssh)
#[test]
fn a_login_certificate_counts_in_its_time_for_a_user_and_by_the_ca_in_use() {
    let demo = Demo::start();
    let forged = Forged::new(&demo);
    let ca = forged.ca();
    let within = |time: &str| forged.knock(&forged.sign(&ca, &["-V", time]), &[]);
    assert_inside("now", &within("-1m:+1h"));
    assert_shut("past", &within("-2h:-1h"));
    assert_shut("future", &within("+1h:+2h"));
    let other = keypair(forged.dir.path(), "other_ca").unwrap();
    assert_shut("another CA", &forged.knock(&forged.sign(&other, &FOR_AN_HOUR), &[]));
    // One of a host, with everything else the same.
    let by_agent = |arguments: &[&str]| {
        let mine = forged.sign(&ca, arguments);
        let agent = Agent::holding(&mine);
        forged.knock(&mine, &["-o", "IdentitiesOnly=no", "-o", &format!("IdentityAgent={}", agent.socket.display())])
    };
    assert_inside("a user's, by the agent", &by_agent(&FOR_AN_HOUR));
    assert_shut("a host's, by the agent", &by_agent(&["-V", "-1m:+1h", "-h"]));
    // After another CA took its place nothing new of the old one counts.
    assert_inside("before", &within("-0s:+1h"));
    demo.cli("dan", &["keys", "rotate", "login_ca"]);
    assert_shut("after", &within("-0s:+1h"));
    std::fs::remove_file(&ca).unwrap();
    assert_inside("by the new one", &forged.knock(&forged.sign(&forged.ca(), &["-V", "-0s:+1h"]), &[]));
}

fn write_private(path: &std::path::Path, content: &[u8]) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap().write_all(content).unwrap();
}
