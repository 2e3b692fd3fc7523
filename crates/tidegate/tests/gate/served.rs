//! A running `tidegate serve`: with a configuration, a policy, targets and surroundings of the test's own, and everybody in it as they
//! join a gate in earnest, by invitation.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::sshd::{Sshd, SshdOptions, keypair, public_half};

use crate::demo::{PATIENCE, eventually};
use crate::known::{Known, http, program};

/// What a test wants to be different.
#[derive(Default)]
pub(crate) struct Plan {
    /// `store` in `tidegate.toml`.
    pub(crate) store: Option<String>,
    /// What the gate's process gets in its environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Texts to add at the end of files of the example's policy; `{port}`, `{login}` and `{host_key}` are the target's.
    pub(crate) policy: Vec<(&'static str, String)>,
    /// What stands at the end of `tidegate.toml`.
    pub(crate) settings: String,
    /// Files beside it.
    pub(crate) files: Vec<(&'static str, String)>,
    /// Whether the gate listens for PostgreSQL and MySQL too.
    pub(crate) databases: bool,
    /// How the target is set up; it trusts the gate's target CA besides.
    pub(crate) target: SshdOptions,
}

/// A gate and its target; both are ended when dropped.
pub(crate) struct Served {
    child: Child,
    environment: Vec<(String, String)>,
    dir: Arc<TempDir>,
    known: Known,
    /// Where it listens for PostgreSQL.
    pub(crate) databases: Option<SocketAddr>,
    /// Where it listens for MySQL.
    pub(crate) mysql: Option<SocketAddr>,
    /// The example's machines, all of them.
    pub(crate) target: Sshd,
}

const PEOPLE: &[&str] = &["ana", "ben", "carla", "dan", "eve", "frank"];

impl Served {
    /// The example's gate.
    pub(crate) fn start() -> Self {
        Self::with(Plan::default())
    }

    pub(crate) fn with(plan: Plan) -> Self {
        let dir = Arc::new(tempfile::Builder::new().prefix("served-").tempdir().unwrap());
        let target = Sshd::start(&SshdOptions { trusted_user_ca: Some(String::new()), ..plan.target }).unwrap();
        write_policy(&dir.path().join("policy"), &target, &plan.policy);
        let free = || testkit::ports::free().unwrap();
        let store = plan.store.map(|url| format!("store = \"{url}\"\n")).unwrap_or_default();
        let databases = plan.databases.then(free);
        let mysql = plan.databases.then(free);
        let postgres = databases.map(|address| format!("postgres = \"{address}\"\n")).unwrap_or_default()
            + &mysql.map(|address| format!("mysql = \"{address}\"\n")).unwrap_or_default();
        let config = format!(
            "node = \"one\"\ndata_dir = \"data\"\npolicy_dir = \"policy\"\n{store}[listen]\napi = \"{}\"\nssh = \"{}\"\nplain_http = true\n{postgres}\
             [audit]\ncheckpoints = \"checkpoints.published\"\n{}",
            free(),
            free(),
            plan.settings
        );
        for (file, text) in &plan.files {
            fs::write(dir.path().join(file), text).unwrap();
        }
        fs::write(dir.path().join("tidegate.toml"), config).unwrap();
        let child = run(dir.path(), &plan.environment);
        let known = Known { ready: settle(dir.path()), home: dir.path().to_owned() };
        let gate = known.get("ana", "/api/v1/gate");
        target.trust(gate["target_ca"].as_str().unwrap()).unwrap();
        Self { child, environment: plan.environment, dir, known, databases, mysql, target }
    }

    /// Everything of the gate's stands here.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The gate's process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and nothing after it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on what it left.
    pub(crate) fn run_again(&mut self) {
        self.child = run(self.dir.path(), &self.environment);
    }

    /// Stops it as an operator does.
    pub(crate) fn stop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it said about itself.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// `audit replay` finds no row changed, and a copy of the log verifies with the public key alone, against all published checkpoints.
    pub(crate) fn assert_provable(&self) {
        let replayed = self.post("eve", "/api/v1/audit/replay", json!({}));
        assert_eq!(replayed["differences"], json!([]), "{replayed}");
        self.get("eve", "/api/v1/audit/checkpoint");
        let copy = tempfile::tempdir().unwrap();
        // The checkpoints first: the log only grows.
        let published = copy.path().join("published");
        fs::copy(self.dir().join("checkpoints.published"), &published).unwrap();
        assert!(Command::new("cp").arg("-r").arg(self.dir().join("data/audit")).arg(copy.path()).status().unwrap().success());
        let verified = Command::new(program())
            .env_clear()
            .args(["audit", "verify"])
            .arg(copy.path().join("audit"))
            .args(["--key", self.ready["checkpoint_verifier"].as_str().unwrap(), "--checkpoint"])
            .arg(&published)
            .output()
            .unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&verified.stdout), String::from_utf8_lossy(&verified.stderr));
        assert!(verified.status.success(), "{said}");
    }

    /// A session's recording as asciicast.
    pub(crate) fn recording(&self, session: &str) -> String {
        let (status, text) = self.api("eve", "GET", &format!("/api/v1/sessions/{session}/recording?format=asciicast"), None);
        assert_eq!(status, 200, "{session}: {text}");
        text.to_string()
    }

    /// Puts a changed policy in force and waits until it is.
    pub(crate) fn change_policy(&self, file: &str, change: impl FnOnce(String) -> String) {
        let path = self.dir().join("policy").join(file);
        let before = self.get("dan", "/api/v1/policy")["digest"].clone();
        fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
        eventually("the changed policy is in force", || (self.get("dan", "/api/v1/policy")["digest"] != before).then_some(()));
    }
}

impl std::ops::Deref for Served {
    type Target = Known;
    fn deref(&self) -> &Known {
        &self.known
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.stop();
        }
    }
}

fn run(dir: &Path, environment: &[(String, String)]) -> Child {
    let log_file = dir.join("log");
    let log = File::options().create(true).append(true).open(&log_file).unwrap();
    let before = fs::read_to_string(&log_file).unwrap().len();
    let mut child = Command::new(program())
        .args(["serve", "--config"])
        .arg(dir.join("tidegate.toml"))
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = fs::read_to_string(&log_file).unwrap();
        if said[before..].contains("The gate serves") {
            return child;
        }
        assert!(child.try_wait().unwrap().is_none() && Instant::now() < deadline, "the gate does not start:\n{said}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The example's policy, with its machines standing where the target is.
fn write_policy(dir: &Path, target: &Sshd, additions: &[(&str, String)]) {
    let example = testkit::gate::example_policy();
    assert!(Command::new("cp").arg("-r").arg(&example).arg(dir).status().unwrap().success());
    let login = login();
    let (mut resources, mut machine) = (String::new(), false);
    for line in fs::read_to_string(dir.join("resources.toml")).unwrap().lines() {
        if line.starts_with("kind = ") {
            machine = line == "kind = \"ssh\"";
        }
        if line.starts_with("address = ") {
            resources.push_str(&format!("address = \"127.0.0.1:{}\"\nlogin = \"{login}\"\n", target.port()));
            if machine {
                resources.push_str(&format!("look_as = \"{login}\"\n"));
            }
        } else if line.starts_with("host_keys = ") {
            resources.push_str(&format!("host_keys = [\"{}\"]\n", target.host_key()));
        } else {
            resources.push_str(&format!("{line}\n"));
        }
    }
    fs::write(dir.join("resources.toml"), resources).unwrap();
    for (file, text) in additions {
        let path = dir.join(file);
        let text = text.replace("{port}", &target.port().to_string()).replace("{login}", &login).replace("{host_key}", target.host_key());
        fs::write(&path, format!("{}\n{text}", fs::read_to_string(&path).unwrap_or_default())).unwrap();
    }
}

/// Whoever runs the tests: the only one the target can log in.
fn login() -> String {
    String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim().to_owned()
}

/// Everybody joins by invitation, and registers a key. Gives what a ready file says.
fn settle(dir: &Path) -> Value {
    let said = fs::read_to_string(dir.join("log")).unwrap();
    let base = said.lines().find_map(|line| line.strip_prefix("API  ")).unwrap().to_owned();
    let code = said.lines().find(|line| line.contains("tidegate join")).and_then(|line| line.split_whitespace().last()).unwrap();
    let call = |token: Option<&str>, path: &str, body: Value| {
        let (status, answer) = http(&base, token, "POST", &format!("/api/v1{path}"), Some(body));
        assert!(status < 300, "{path}: {status} {answer}");
        answer
    };
    let admin = call(None, "/invitations/accept", json!({"code": code}));
    let admin = admin["token"]["secret"].as_str().unwrap();
    let (_, gate) = http(&base, Some(admin), "GET", "/api/v1/gate", None);
    fs::write(dir.join("checkpoint.pub"), format!("{}\n", gate["checkpoint_verifier"].as_str().unwrap())).unwrap();
    let (host, port) = (gate["ssh"]["host"].as_str().unwrap(), &gate["ssh"]["port"]);
    let host_key = gate["ssh"]["host_keys"][0].as_str().unwrap();
    fs::write(dir.join("known_hosts"), format!("gate {host_key}\n")).unwrap();
    let mut people = Vec::new();
    for name in PEOPLE {
        let invited = call(Some(admin), "/users", json!({"username": name, "display_name": name}));
        let joined = call(None, "/invitations/accept", json!({"code": invited["code"]}));
        let (home, key) = home_and_key(dir, name);
        let token = joined["token"]["secret"].as_str().unwrap();
        call(Some(token), "/me/keys", json!({"public_key": public_half(&key).unwrap()}));
        people.push(person(&home, name, &joined["user"]["id"], &key, token, (host, port)));
    }
    let dan = people.iter().find(|p| p["username"] == "dan").unwrap();
    let (owner, dan) = (dan["id"].clone(), dan["token"].as_str().unwrap().to_owned());
    let bot = call(Some(&dan), "/workloads", json!({"username": "deploy-bot", "owner": owner}));
    let (home, key) = home_and_key(dir, "deploy-bot");
    call(Some(&dan), &format!("/users/{}/keys", bot["id"].as_str().unwrap()), json!({"public_key": public_half(&key).unwrap()}));
    let token = call(Some(&dan), "/tokens", json!({"person": bot["id"], "scopes": ["read", "ask"], "duration": "8h"}));
    people.push(person(&home, "deploy-bot", &bot["id"], &key, token["secret"].as_str().unwrap(), (host, port)));
    json!({
        "api": base,
        "ssh": {"host": host, "port": port, "known_hosts": dir.join("known_hosts")},
        "people": people,
        "checkpoint_verifier": dir.join("checkpoint.pub"),
    })
}

fn home_and_key(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    let home = dir.join("people").join(name);
    fs::create_dir_all(&home).unwrap();
    let key = keypair(&home, "id_ed25519").unwrap();
    (home, key)
}

fn person(home: &Path, name: &str, id: &Value, key: &Path, token: &str, (host, port): (&str, &Value)) -> Value {
    let mut config = String::new();
    // `Host NAME+ROLE.tide` for whatever is named: the user name is the host without its end.
    for resource in ["web-1", "db-1", "build-1", "ledger-1", "extra-1", "extra-2", "bound-1", "bound-2", "shown-1", "shown-2", "plain-1"] {
        for role in ["", "+shell", "+debug", "+logs", "+deploy", "+tunnel", "+admin"] {
            config.push_str(&format!("Host {resource}{role}.tide\n  User {resource}{role}\n"));
        }
    }
    config.push_str(&format!(
        "Host *.tide\n  HostName {host}\n  Port {port}\n  HostKeyAlias gate\n  UserKnownHostsFile {}\n  StrictHostKeyChecking yes\n  \
         IdentityFile {}\n  IdentitiesOnly yes\n  IdentityAgent none\n  SendEnv TIDEGATE_*\n",
        home.parent().unwrap().with_file_name("known_hosts").display(),
        key.display()
    ));
    let file = home.join("ssh_config");
    fs::write(&file, config).unwrap();
    json!({"username": name, "name": name, "id": id, "key": key, "token": token, "ssh_config": file})
}
