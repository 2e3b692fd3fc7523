//! A running `tidegate demo`, known only by its ready file.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The demo; its server and target are ended when dropped.
pub(crate) struct Demo {
    child: Child,
    dir: Arc<TempDir>,
    pub(crate) ready: Value,
}

impl Demo {
    /// Starts one and waits until everything answers.
    pub(crate) fn start() -> Self {
        Self::start_in(Arc::new(tempfile::Builder::new().prefix("demo-").tempdir().unwrap()))
    }

    fn start_in(dir: Arc<TempDir>) -> Self {
        let ready_file = dir.path().join("ready.json");
        let _ = fs::remove_file(&ready_file);
        let log = fs::OpenOptions::new().create(true).append(true).open(dir.path().join("server.log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["demo", "--dir"])
            .arg(dir.path().join("demo"))
            .arg("--ready-file")
            .arg(&ready_file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !ready_file.exists() {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the demo ended with {status}:\n{}", fs::read_to_string(dir.path().join("server.log")).unwrap());
            }
            assert!(Instant::now() < deadline, "the demo is not ready:\n{}", fs::read_to_string(dir.path().join("server.log")).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
        let ready = serde_json::from_slice(&fs::read(&ready_file).unwrap()).unwrap();
        Self { child, dir, ready }
    }

    /// Kills the server as nobody should (`kill -9`) and starts it again on what it left.
    pub(crate) fn kill_and_restart(mut self) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        end_target(&self.dir.path().join("demo"));
        let dir = Arc::clone(&self.dir);
        drop(self);
        Self::start_in(dir)
    }

    /// Stops the server in order, changes something in its directory, and starts it again.
    pub(crate) fn restart_after(self, change: impl FnOnce(&Path)) -> Self {
        let dir = Arc::clone(&self.dir);
        drop(self);
        change(&dir.path().join("demo"));
        Self::start_in(dir)
    }

    /// The directory of the demo.
    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.path().join("demo")
    }

    pub(crate) fn person(&self, name: &str) -> &Value {
        self.ready["people"].as_array().unwrap().iter().find(|p| p["username"] == name).unwrap_or_else(|| panic!("nobody is called {name}"))
    }

    pub(crate) fn id(&self, name: &str) -> String {
        self.person(name)["id"].as_str().unwrap().to_owned()
    }

    /// Stock `ssh` as this person: `ssh("ana", "db-1+shell", &["-tt"], &["uptime"])`.
    pub(crate) fn ssh(&self, person: &str, selector: &str, options: &[&str], command: &[&str]) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F")
            .arg(self.person(person)["ssh_config"].as_str().unwrap())
            .args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=20"])
            .args(options)
            .arg(format!("{selector}.tide"))
            .args(command);
        ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        ssh
    }

    /// The program's own command line as this person.
    pub(crate) fn tidegate(&self, person: &str, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .env("TIDEGATE_URL", self.ready["api"].as_str().unwrap())
            .env("TIDEGATE_TOKEN", self.person(person)["token"].as_str().unwrap())
            .env("HOME", self.dir.path())
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The program's own command line as this person, its JSON answer.
    pub(crate) fn cli(&self, person: &str, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.push("--json");
        let output = self.tidegate(person, &all);
        assert!(output.status.success(), "tidegate {args:?} as {person}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("tidegate {args:?}: {e}: {}", String::from_utf8_lossy(&output.stdout)))
    }

    /// One call of the HTTP API as this person: status and body.
    pub(crate) fn api(&self, person: &str, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let token = self.person(person)["token"].as_str().unwrap();
        http(self.ready["api"].as_str().unwrap(), Some(token), method, path, body)
    }

    pub(crate) fn post(&self, person: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.api(person, "POST", path, Some(body));
        assert!(status < 300, "POST {path} as {person}: {status} {answer}");
        answer
    }

    pub(crate) fn get(&self, person: &str, path: &str) -> Value {
        let (status, answer) = self.api(person, "GET", path, None);
        assert_eq!(status, 200, "GET {path} as {person}: {answer}");
        answer
    }

    /// Ana asks by the API; who has to agrees. Gives the grant's id.
    pub(crate) fn grant(&self, person: &str, resource: &str, role: &str, duration: &str) -> String {
        let asked = self.post(
            person,
            "/api/v1/requests",
            json!({"resource": resource, "role": role, "duration": duration, "reason": "checking a slow query", "ticket": "INC-7"}),
        );
        if let Some(grant) = asked["grant"]["id"].as_str() {
            return grant.to_owned();
        }
        let request = asked["request"]["id"].as_str().unwrap();
        let mut last = Value::Null;
        let approvers: &[&str] = if resource == "ledger-1" { &["ben", "carla"] } else { &["ben"] };
        for approver in approvers {
            last = self.post(approver, &format!("/api/v1/requests/{request}/approve"), json!({}));
        }
        last["grant"]["id"].as_str().unwrap_or_else(|| panic!("no grant: {last}")).to_owned()
    }

    /// The one live session of a person.
    pub(crate) fn live_session(&self, person: &str) -> Option<Value> {
        let sessions = self.get(person, "/api/v1/sessions?state=live");
        sessions["items"].as_array().unwrap().first().cloned()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        end_target(&self.dir.path().join("demo"));
    }
}

/// Ends the target of a demo that could not do it itself.
fn end_target(dir: &Path) {
    let _ = Command::new("pkill").args(["-KILL", "-f", &format!("{}/target/sshd_config", dir.display())]).status();
}

/// A process whose output is read line by line while it runs.
pub(crate) struct Talk {
    pub(crate) child: Child,
    stdin: Option<ChildStdin>,
    heard: Arc<Mutex<String>>,
}

impl Talk {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let heard = Arc::new(Mutex::new(String::new()));
        let readers: [Box<dyn std::io::Read + Send>; 2] = [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for mut reader in readers {
            let heard = Arc::clone(&heard);
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(n) = reader.read(&mut buffer) {
                    if n == 0 {
                        break;
                    }
                    heard.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..n]));
                }
            });
        }
        Self { stdin: child.stdin.take(), child, heard }
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn heard(&self) -> String {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until this was heard.
    pub(crate) fn until(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.heard().contains(text) {
            assert!(Instant::now() < deadline, "never heard {text:?}, but:\n{}", self.heard());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it ends; gives its exit status.
    pub(crate) fn end(&mut self) -> i32 {
        self.stdin = None;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.heard());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something holds.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process lives on this machine, which is the target's too.
pub(crate) fn lives(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'),
        Err(_) => false,
    }
}

/// One plain HTTP/1.1 call, written by hand so that nothing of ours stands between.
pub(crate) fn http(base: &str, token: Option<&str>, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let address = base.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let body = body.map(|b| b.to_string()).unwrap_or_default();
    let auth = token.map(|t| format!("Authorization: Bearer {t}\r\n")).unwrap_or_default();
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{auth}{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status).unwrap();
    let status: u16 = status.split(' ').nth(1).unwrap().parse().unwrap();
    let mut chunked = false;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        chunked |= line.to_ascii_lowercase().starts_with("transfer-encoding: chunked");
        if line.trim().is_empty() {
            break;
        }
    }
    let mut bytes = Vec::new();
    if chunked {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).unwrap();
            if size == 0 {
                break;
            }
            bytes.extend_from_slice(&chunk[..size]);
        }
    } else {
        reader.read_to_end(&mut bytes).unwrap();
    }
    (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| json!({ "raw": String::from_utf8_lossy(&bytes) })))
}
