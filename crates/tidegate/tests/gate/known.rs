//! A gate as others know it: its addresses, its people with their keys and tokens, and how to use them.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::demo::PATIENCE;

/// The program under test; `TIDEGATE_TEST_BINARY` names another build of it.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("TIDEGATE_TEST_BINARY").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_tidegate")), PathBuf::from)
}

/// What the ready file says, and a home for those who use it.
pub(crate) struct Known {
    pub(crate) ready: Value,
    pub(crate) home: PathBuf,
}

impl Known {
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
            .args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=60"])
            .args(options)
            .arg(format!("{selector}.tide"))
            .args(command);
        ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        ssh
    }

    /// The program's own command line as this person.
    pub(crate) fn tidegate(&self, person: &str, args: &[&str]) -> Output {
        Command::new(program())
            .env("TIDEGATE_URL", self.ready["api"].as_str().unwrap())
            .env("TIDEGATE_TOKEN", self.person(person)["token"].as_str().unwrap())
            .env("HOME", &self.home)
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

    /// The same, where the gate may be gone or go meanwhile: `None`, if no whole answer came.
    pub(crate) fn try_api(&self, person: &str, method: &str, path: &str, body: Option<Value>) -> Option<(u16, Value)> {
        let token = self.person(person)["token"].as_str().unwrap();
        try_http(self.ready["api"].as_str().unwrap(), Some(token), method, path, body).ok()
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
        let approvers: &[&str] = match (resource, person) {
            ("ledger-1", _) => &["ben", "carla"],
            (_, "ben") => &["dan"],
            _ => &["ben"],
        };
        for approver in approvers {
            last = self.post(approver, &format!("/api/v1/requests/{request}/approve"), json!({}));
        }
        last["grant"]["id"].as_str().unwrap_or_else(|| panic!("no grant: {last}")).to_owned()
    }

    /// What a session's recording shows, joined: the output events of its asciicast.
    pub(crate) fn shown(&self, session: &str) -> String {
        let (status, answer) = self.api("eve", "GET", &format!("/api/v1/sessions/{session}/recording?format=asciicast"), None);
        assert_eq!(status, 200, "{session}: {answer}");
        let cast = answer["raw"].as_str().unwrap_or_else(|| panic!("no lines: {answer}")).to_owned();
        let events = cast.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")));
        events.filter(|event| event[1] == "o").map(|event| event[2].as_str().unwrap().to_owned()).collect()
    }

    /// The activities of one kind in a session's recording, as its export has them.
    pub(crate) fn activities(&self, session: &str, kind: &str) -> Vec<Value> {
        let file = self.home.join(format!("{session}.jsonl"));
        let exported = self.tidegate("eve", &["evidence", "export", "--session", session, "--jsonl", file.to_str().unwrap()]);
        assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
        let lines = std::fs::read_to_string(&file).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["kind"] == "activity" && line["event"] == kind).map(|line| line["data"]["activity"].clone()).collect()
    }

    /// Waits until none of somebody's sessions is live any more; gives all of them, the oldest first.
    pub(crate) fn ended_sessions(&self, person: &str) -> Vec<Value> {
        crate::demo::eventually("every session has ended", || {
            let id = self.id(person);
            let mut all = self.get("eve", &format!("/api/v1/sessions?all=true&person={id}"))["items"].as_array().unwrap().clone();
            all.sort_by_key(|row| row["opened_at"].as_str().unwrap().to_owned());
            (!all.is_empty() && all.iter().all(|row| row["state"] == "ended")).then_some(all)
        })
    }

    /// The one live session of a person.
    pub(crate) fn live_session(&self, person: &str) -> Option<Value> {
        let sessions = self.get(person, "/api/v1/sessions?state=live");
        sessions["items"].as_array().unwrap().first().cloned()
    }
}

/// One plain HTTP/1.1 call, written by hand so that nothing of ours stands between.
pub(crate) fn http(base: &str, token: Option<&str>, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    try_http(base, token, method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

/// The same, with what went wrong on the way.
pub(crate) fn try_http(base: &str, token: Option<&str>, method: &str, path: &str, body: Option<Value>) -> io::Result<(u16, Value)> {
    let (status, bytes) = send(base, token, method, path, "application/json", &body.map(|b| b.to_string()).unwrap_or_default())?;
    Ok((status, serde_json::from_slice(&bytes).unwrap_or_else(|_| json!({ "raw": String::from_utf8_lossy(&bytes) }))))
}

/// The same with a body of any kind; its answer, byte for byte.
pub(crate) fn send(base: &str, token: Option<&str>, method: &str, path: &str, kind: &str, body: &str) -> io::Result<(u16, Vec<u8>)> {
    let address = base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let auth = token.map(|t| format!("Authorization: Bearer {t}\r\n")).unwrap_or_default();
    let kind = if body.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{auth}{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status)?;
    let status: u16 = status.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut chunked = false;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        chunked |= line.to_ascii_lowercase().starts_with("transfer-encoding: chunked");
        if line.trim().is_empty() {
            break;
        }
    }
    let mut bytes = Vec::new();
    if chunked {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(|_| io::ErrorKind::UnexpectedEof)?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            if size == 0 {
                break;
            }
            bytes.extend_from_slice(&chunk[..size]);
        }
    } else {
        reader.read_to_end(&mut bytes)?;
    }
    Ok((status, bytes))
}
