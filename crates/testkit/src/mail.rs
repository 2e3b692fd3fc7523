//! A mail server that verifies: SMTP by aiosmtpd, over TLS and for whoever signs in. It refuses what real ones refuse.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use serde_json::{Value, json};
use tempfile::TempDir;

/// As whom the gate signs in there.
pub const USER: &str = "gate";
/// By what.
pub const PASSWORD: &str = "Cr4ne-over-water";
/// Whom mails are from.
pub const FROM: &str = "gate@tide.example";

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// TLS from the first byte.
    Tls,
    /// TLS after `STARTTLS`.
    StartTls,
}

/// A mail that it took.
#[derive(Debug, Clone)]
pub struct Mail {
    /// To whom.
    pub to: String,
    /// Its headers, each once.
    pub headers: Value,
    /// The names of its headers, in order.
    pub names: Vec<String>,
    /// Its plain text.
    pub text: String,
    /// Its HTML.
    pub html: String,
    /// Whether it came over TLS.
    pub encrypted: bool,
}

impl Mail {
    /// One header.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].as_str().unwrap_or_default()
    }

    /// What stands behind the `#` of its first link to a page of the portal.
    #[must_use]
    pub fn code(&self, page: &str) -> Option<String> {
        let at = self.text.split_once(&format!("/{page}#"))?.1;
        Some(at.split_whitespace().next().unwrap_or_default().to_owned())
    }
}

#[derive(Debug, Default)]
struct State {
    taken: Vec<Mail>,
    refused: Vec<String>,
}

/// A mail server.
#[derive(Debug)]
pub struct MailServer {
    child: Child,
    commands: Mutex<(ChildStdin, Receiver<()>)>,
    state: Arc<Mutex<State>>,
    dir: TempDir,
    /// Its port, on 127.0.0.1; it calls itself `localhost`.
    pub port: u16,
}

impl MailServer {
    /// A server with an empty mailbox for everybody but `nobody@…`.
    ///
    /// # Errors
    /// If it does not start; `scripts/packages` installs what it needs.
    pub fn start(kind: Kind) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        let (certificate, key) = (dir.path().join("certificate.pem"), dir.path().join("key.pem"));
        std::fs::write(&certificate, certified.cert.pem())?;
        std::fs::write(&key, certified.signing_key.serialize_pem())?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let kind = match kind {
            Kind::Tls => "tls",
            Kind::StartTls => "starttls",
        };
        let mut child = Command::new(root.join("../../.cache/venv/bin/python"))
            .arg(root.join("src/mail_server.py"))
            .arg(kind)
            .args([&certificate, &key])
            .args([USER, PASSWORD, "tide.example"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the mail server does not start; `scripts/packages` installs what it needs")?;
        let stdin = child.stdin.take().context("its standard input")?;
        let stdout = child.stdout.take().context("its standard output")?;
        let state = Arc::new(Mutex::new(State::default()));
        let (done, answers) = channel();
        let mut lines = BufReader::new(stdout).lines();
        let first = lines.next().context("the mail server ended at once; `scripts/packages` installs what it needs")??;
        let port = serde_json::from_str::<Value>(&first)?["port"].as_u64().and_then(|port| u16::try_from(port).ok()).context("its port")?;
        let kept = Arc::clone(&state);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                note(&kept, &done, &line);
            }
        });
        Ok(Self { child, commands: Mutex::new((stdin, answers)), state, dir, port })
    }

    /// What it said so far: all of it, as it says everything before it answers this.
    fn state(&self) -> MutexGuard<'_, State> {
        self.tell(&json!({}));
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The certificate that it shows, which alone is to be trusted.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("certificate.pem")
    }

    /// What it took.
    #[must_use]
    pub fn taken(&self) -> Vec<Mail> {
        self.state().taken.clone()
    }

    /// What it took for somebody.
    #[must_use]
    pub fn to(&self, address: &str) -> Vec<Mail> {
        self.state().taken.iter().filter(|mail| mail.to == address).cloned().collect()
    }

    /// What it refused, and why.
    #[must_use]
    pub fn refused(&self) -> Vec<String> {
        self.state().refused.clone()
    }

    /// The next `RCPT`, `DATA` or `AUTH` is answered so, like `451 4.3.0 try again`. `250-lost` to `DATA`: it takes the mail, and the
    /// connection breaks before it says so.
    pub fn answer_next(&self, command: &str, answer: &str) {
        self.tell(&json!({ "reply": [command, answer] }));
    }

    /// Nobody can connect any more, or again.
    pub fn down(&self, down: bool) {
        self.tell(&if down { json!({ "close": true }) } else { json!({ "listen": true }) });
    }

    fn tell(&self, command: &Value) {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        // A server that is gone answers nothing, and the test that waits for it says so.
        let _gone = writeln!(commands.0, "{command}").and_then(|()| commands.0.flush());
        let _done = commands.1.recv();
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _waited = self.child.wait();
    }
}

fn note(state: &Mutex<State>, done: &Sender<()>, line: &str) {
    let said: Value = serde_json::from_str(line).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if said["done"] == true {
        let _nobody_waits = done.send(());
        return;
    }
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(refused) = said["refused"].as_str() {
        state.refused.push(refused.to_owned());
    }
    let mail = &said["taken"];
    if mail.is_object() {
        state.taken.push(Mail {
            to: text(&mail["to"][0]),
            headers: mail["headers"].clone(),
            names: mail["names"].as_array().into_iter().flatten().map(text).collect(),
            text: text(&mail["text"]),
            html: text(&mail["html"]),
            encrypted: mail["encrypted"] == true,
        });
    }
}
