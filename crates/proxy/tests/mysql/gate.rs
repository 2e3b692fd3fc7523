//! A gatekeeper for tests: policy is what the test says; everything else is real.

use std::net::SocketAddr;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use access::identity::{Mfa, Scope, VerifiedIdentity, Via};
use access::ids::{GrantId, RecordingId, RequestId, SessionId, TokenId, UserId};
use access::limits::Limits;
use access::reason::{Reason, Refusal};
use access::request::RequestState;
use access::rights::{DatabaseRights, Rights};
use access::session::{
    ClosedSession, DatabaseCredential, DatabaseDial, Dial, EndReason, Protocol, RecordingTerms, SessionFacts, Standing, TargetTls,
};
use access::time::Span;
use access::verdict::{Durability, RecordLevel};
use async_trait::async_trait;
use evidence::recording::{Frame, FrameKind};
use jiff::Timestamp;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;
use testkit::mariadb::{Database, Proof as Proves};
use tidegate_proxy::gatekeeper::{
    Answer, Denied, Extended, Gatekeeper, Knock, Knocked, News, Offer, Opening, PermitWatch, Proof, Question, Waiting,
};
use tidegate_proxy::mysql::{DoorLimits, MysqlDoor};
use tidegate_proxy::tape::{Tape, TapeFailed};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// Ana's token.
pub(crate) const TOKEN: &str = "tg_pat_anas";

fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap()
}

/// What the door does with Ana.
#[derive(Clone)]
pub(crate) enum Policy {
    /// Lets her in.
    Open,
    /// Asks her; lets her in when Ben approves.
    NeedsBen,
}

pub(crate) struct Setup {
    pub(crate) policy: Policy,
    pub(crate) rights: DatabaseRights,
    pub(crate) level: RecordLevel,
    pub(crate) idle: Option<Span>,
    pub(crate) patience: Duration,
    pub(crate) proof: Proves,
    /// How the server is verified; `None`: under the authority that signed it.
    pub(crate) tls: Option<TargetTls>,
    /// The password that the gate has.
    pub(crate) password: &'static str,
    pub(crate) host: &'static str,
    pub(crate) guarded_allowed: bool,
    /// Whether the resource is one database.
    pub(crate) one_database: bool,
    pub(crate) door: DoorLimits,
    /// Instead of the real server.
    pub(crate) port: Option<u16>,
    /// The account there, instead of one that may do everything in its database.
    pub(crate) user: Option<&'static str>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            policy: Policy::Open,
            rights: DatabaseRights { unrestricted: true, ..DatabaseRights::default() },
            level: RecordLevel::Content,
            idle: None,
            patience: Duration::from_secs(60),
            proof: Proves::Native,
            tls: None,
            password: "right",
            host: "127.0.0.1",
            guarded_allowed: true,
            one_database: true,
            door: DoorLimits::default(),
            port: None,
            user: None,
        }
    }
}

pub(crate) struct TestGate {
    setup: Mutex<Setup>,
    person: UserId,
    user: String,
    database: String,
    port: u16,
    frames: Arc<Mutex<Vec<Frame>>>,
    recorder_broken: Arc<AtomicBool>,
    recorder_failed: Arc<Notify>,
    standings: Mutex<Vec<watch::Sender<Standing>>>,
    pub(crate) ended: watch::Sender<Vec<ClosedSession>>,
    pub(crate) refused: watch::Sender<Vec<Denied>>,
    pub(crate) asked: watch::Sender<Vec<Answer>>,
    news: watch::Sender<News>,
    approved: AtomicBool,
}

#[derive(Debug)]
struct MemoryTape {
    frames: Arc<Mutex<Vec<Frame>>>,
    broken: Arc<AtomicBool>,
    failed: Arc<Notify>,
}

#[async_trait]
impl Tape for MemoryTape {
    async fn record(&self, frame: Frame) -> Result<(), TapeFailed> {
        if self.broken.load(Ordering::Acquire) {
            return Err(TapeFailed);
        }
        self.frames.lock().unwrap().push(frame);
        Ok(())
    }
    async fn failed(&self) {
        self.failed.notified().await;
    }
    async fn close(&self, _: EndReason, _: u64) -> Option<(u64, String)> {
        Some((1, "digest".into()))
    }
}

impl TestGate {
    pub(crate) fn ben_approves(&self) {
        self.approved.store(true, Ordering::Release);
        self.news.send_modify(|n| {
            n.answers.push("Ben approved: go ahead".into());
            n.state = RequestState::Approved;
        });
    }

    pub(crate) fn break_recorder(&self) {
        self.recorder_broken.store(true, Ordering::Release);
        self.recorder_failed.notify_waiters();
    }

    pub(crate) fn stand(&self, standing: &Standing) {
        for sender in self.standings.lock().unwrap().iter() {
            sender.send_replace(standing.clone());
        }
    }

    /// Every activity of one kind recorded so far.
    pub(crate) fn of_kind(&self, kind: &str) -> Vec<Value> {
        let frames = self.frames.lock().unwrap();
        let activities = frames.iter().filter(|f| f.kind == FrameKind::Activity);
        activities.map(|f| serde_json::from_slice::<Value>(&f.bytes).unwrap()).filter(|a| a["kind"] == kind).collect()
    }

    /// The texts of the statements recorded so far.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.of_kind("sql.statement").iter().map(|a| a["text"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Whatever is recorded, in one piece.
    pub(crate) fn everything(&self) -> Vec<u8> {
        self.frames.lock().unwrap().iter().flat_map(|frame| frame.bytes.to_vec()).collect()
    }

    /// The bytes recorded as they passed.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let frames = self.frames.lock().unwrap();
        frames.iter().filter(|f| f.kind == FrameKind::Bytes).flat_map(|f| f.bytes.to_vec()).collect()
    }

    /// Waits until this many sessions have ended.
    pub(crate) async fn ended(&self, count: usize) -> Vec<ClosedSession> {
        let mut ended = self.ended.subscribe();
        tokio::time::timeout(Duration::from_secs(20), ended.wait_for(|e| e.len() >= count)).await.expect("sessions end").unwrap().clone()
    }

    /// Waits until she has asked.
    pub(crate) async fn asked(&self) -> Answer {
        let mut asked = self.asked.subscribe();
        let asked = tokio::time::timeout(Duration::from_secs(20), asked.wait_for(|a| !a.is_empty())).await.expect("she asks").unwrap();
        asked[0].clone()
    }

    fn open(&self) -> Knocked {
        let setup = self.setup.lock().unwrap();
        let standing = watch::Sender::new(Standing::Open { ends_at: None });
        let watch = PermitWatch::new(standing.subscribe());
        self.standings.lock().unwrap().push(standing);
        let facts = SessionFacts {
            session: SessionId::generate(now()),
            grant: GrantId::generate(now()),
            person: self.person.into(),
            username: "ana".parse().unwrap(),
            resource: "orders-db".parse().unwrap(),
            role: "readwrite".parse().unwrap(),
            tier: "non-prod".parse().unwrap(),
            protocol: Protocol::Mysql,
            rights: Rights::Database(setup.rights.clone()),
            limits: Limits::default(),
            recording: RecordingTerms { id: RecordingId::generate(now()), level: setup.level, durability: Durability::Flush },
            idle: setup.idle,
            opened_at: now(),
            ends_at: None,
            bundle: "bundle".into(),
        };
        let dial = DatabaseDial {
            host: setup.host.to_owned(),
            port: setup.port.unwrap_or(self.port),
            database: setup.one_database.then(|| self.database.clone()),
            tls: setup.tls.clone().unwrap_or_else(|| TargetTls::Authority(Database::authority().unwrap())),
            credential: DatabaseCredential::Account { user: self.user.clone(), password: setup.password.to_owned().into() },
            guarded_allowed: setup.guarded_allowed,
        };
        #[expect(clippy::disallowed_methods, reason = "this stands in for workflow")]
        let permit = access::mint::session_permit(facts, Dial::Mysql(dial));
        let tape = MemoryTape { frames: self.frames.clone(), broken: self.recorder_broken.clone(), failed: self.recorder_failed.clone() };
        Knocked::Open(Box::new(Opening { permit, watch, tape: Box::new(tape) }))
    }

    fn waits(&self) -> Knocked {
        let patience = self.setup.lock().unwrap().patience;
        Knocked::Waiting(Waiting { request: RequestId::generate(now()), news: self.news.subscribe(), limits: String::new(), patience })
    }
}

#[async_trait]
impl Gatekeeper for TestGate {
    async fn is_known(&self, _: Offer<'_>) -> bool {
        false
    }

    async fn identify(&self, proof: Proof, from: SocketAddr) -> Result<VerifiedIdentity, Refusal> {
        match proof {
            Proof::Token(token) if token.expose() == TOKEN => {
                let (id, via) = (UserId::generate(now()).into(), Via::Token(TokenId::generate(now())));
                let scopes = Scope::ALL.to_vec();
                #[expect(clippy::disallowed_methods, reason = "this stands in for identity")]
                let who = access::mint::verified_identity(id, "ana".parse().unwrap(), Mfa::None, via, scopes, Some(from.ip()), now());
                Ok(who)
            }
            _ => Err(Refusal::of(Reason::NotSignedIn)),
        }
    }

    async fn how_to_sign_in(&self, _: SocketAddr) -> String {
        String::new()
    }

    async fn knock(&self, knock: &Knock) -> Knocked {
        if knock.to.resource.as_str() != "orders-db" {
            return Knocked::Refused(Refusal::of(Reason::UnknownResource));
        }
        let policy = self.setup.lock().unwrap().policy.clone();
        let has_asked = !self.asked.borrow().is_empty();
        match policy {
            Policy::Open => self.open(),
            Policy::NeedsBen if self.approved.load(Ordering::Acquire) => self.open(),
            Policy::NeedsBen if has_asked => self.waits(),
            Policy::NeedsBen => Knocked::Ask(Question {
                missing: "orders-db as readwrite needs the agreement of 1 of dba.".into(),
                reason: true,
                times: "30m, at most 2h".into(),
                ..Question::default()
            }),
        }
    }

    async fn submit(&self, _: &Knock, answer: Answer) -> Knocked {
        let emergency = answer.break_glass;
        self.asked.send_modify(|a| a.push(answer));
        if emergency { self.open() } else { self.waits() }
    }

    async fn extend(&self, _: &Knock, more: Option<Span>, reason: Option<String>) -> Extended {
        match (more, reason) {
            (_, None) => Extended::Refused(Refusal::of(Reason::ReasonRequired)),
            (Some(more), Some(_)) => Extended::Until(now() + more.as_std()),
            (None, Some(_)) => {
                let Knocked::Waiting(waiting) = self.waits() else { panic!("it waits") };
                Extended::Waiting(waiting)
            }
        }
    }

    async fn trust_first_host_key(&self, _: SessionId, _: &ssh_key::PublicKey) -> bool {
        false
    }

    async fn refused(&self, _: SessionId, what: Denied) {
        self.refused.send_modify(|r| r.push(what));
    }

    async fn ended(&self, closed: ClosedSession) {
        self.ended.send_modify(|e| e.push(closed));
    }
}

/// The gate and its target.
pub(crate) struct Town {
    pub(crate) gate: Arc<TestGate>,
    pub(crate) port: u16,
    pub(crate) target: Database,
    pub(crate) dir: tempfile::TempDir,
    stop: CancellationToken,
}

impl Drop for Town {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Town {
    pub(crate) async fn open() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let target = Database::fresh().await.unwrap();
        let user = target.account("app", "right", setup.proof).unwrap();
        let user = setup.user.map_or(user, str::to_owned);
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(dir.path().join("ca.pem"), certificate.pem()).unwrap();
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let limits = setup.door.clone();
        let gate = Arc::new(TestGate {
            user,
            person: UserId::generate(now()),
            database: target.name().to_owned(),
            port: target.port(),
            setup: Mutex::new(setup),
            frames: Arc::default(),
            recorder_broken: Arc::default(),
            recorder_failed: Arc::default(),
            standings: Mutex::default(),
            ended: watch::Sender::default(),
            refused: watch::Sender::default(),
            asked: watch::Sender::default(),
            news: watch::Sender::new(News { state: RequestState::Pending, asked: vec!["1 of dba".into()], answers: vec![] }),
            approved: AtomicBool::new(false),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = CancellationToken::new();
        tokio::spawn(MysqlDoor::new(gate.clone(), tls, limits).serve(listener, stop.clone()));
        Self { gate, port, target, dir, stop }
    }

    /// From now on the role has these rights.
    pub(crate) fn allow(&self, rights: DatabaseRights) {
        self.gate.setup.lock().unwrap().rights = rights;
    }

    /// `mariadb` and its kin, signing in as Ana; further arguments after that.
    pub(crate) fn tool(&self, program: &str, arguments: &[&str]) -> Command {
        let mut tool = Command::new(program);
        tool.args(["--no-defaults", "-h", "127.0.0.1", "-P", &self.port.to_string(), "-u", "orders-db+readwrite"])
            .arg(format!("-p{TOKEN}"))
            .arg("--ssl")
            .arg(format!("--ssl-ca={}", self.dir.path().join("ca.pem").display()))
            .args(arguments)
            .kill_on_drop(true)
            .stdin(std::process::Stdio::null());
        tool
    }

    /// The command-line client, printing bare rows; further arguments after that.
    pub(crate) fn client(&self, arguments: &[&str]) -> Command {
        let mut all = vec!["-N", "-B"];
        all.extend(arguments);
        self.tool("mariadb", &all)
    }

    /// The same program as the administrator, past the gate.
    pub(crate) fn direct(&self, program: &str, arguments: &[&str]) -> Command {
        let (user, password) = testkit::mariadb::ADMIN;
        let mut tool = Command::new(program);
        tool.args(["--no-defaults", "-h", "127.0.0.1", "-P", &self.target.port().to_string(), "-u", user]).arg(format!("-p{password}"));
        tool.args(arguments).kill_on_drop(true).stdin(std::process::Stdio::null());
        tool
    }

    /// What a program for Node prints that has `mysql` (mysql2) and `options` set.
    pub(crate) async fn node(&self, program: &str) -> String {
        let head = format!(
            "const mysql = require('mysql2/promise'); const fs = require('fs');\n\
             const options = {{host: 'localhost', port: {}, user: 'orders-db+readwrite', password: {TOKEN:?}, database: {:?}, \
             ssl: {{ca: fs.readFileSync({:?})}}}};\n(async () => {{\n",
            self.port,
            self.target.name(),
            self.dir.path().join("ca.pem")
        );
        let modules = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/mysql2/node_modules");
        let mut node = Command::new("node");
        node.env("NODE_PATH", modules).arg("-e").arg(format!("{head}{program}\n}})()")).kill_on_drop(true);
        let out = tokio::time::timeout(Duration::from_secs(60), node.output()).await.expect("the program ends").unwrap();
        assert!(out.status.success(), "{}\n{}", out_of(&out), errors_of(&out));
        out_of(&out)
    }

    /// What statements through the gate give.
    pub(crate) async fn run(&self, sql: &str) -> Output {
        self.client(&["-e", sql]).output().await.unwrap()
    }

    fn interpreter(&self, program: &str) -> Command {
        let mut python = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/venv/bin/python"));
        python.arg("-c").arg(program).kill_on_drop(true);
        python
    }

    fn head(&self) -> String {
        format!(
            "host='localhost'; port={}; ca={:?}; token={TOKEN:?}; database={:?}; user='orders-db+readwrite'\n\
             def connect(**more):\n    import pymysql\n    \
             return pymysql.connect(**{{**dict(host=host, port=port, user=user, password=token, database=database, ssl={{'ca': ca}}), **more}})\n",
            self.port,
            self.dir.path().join("ca.pem"),
            self.target.name()
        )
    }

    /// The same, with something that is done once it has printed its first line; then it gets a line to read.
    pub(crate) async fn python_beside(&self, program: &str, doing: impl Future<Output = ()>) -> String {
        use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
        let running = async {
            let mut command = self.interpreter(&(self.head() + program));
            let piped = std::process::Stdio::piped;
            let mut child = command.stdin(piped()).stdout(piped()).stderr(piped()).spawn().unwrap();
            let mut out = tokio::io::BufReader::new(child.stdout.take().unwrap());
            let mut said = String::new();
            out.read_line(&mut said).await.unwrap();
            doing.await;
            let _ = child.stdin.take().unwrap().write_all(b"\n").await;
            out.read_to_string(&mut said).await.unwrap();
            let mut errors = String::new();
            child.stderr.take().unwrap().read_to_string(&mut errors).await.unwrap();
            assert!(child.wait().await.unwrap().success(), "{said}\n{errors}");
            said
        };
        tokio::time::timeout(Duration::from_secs(90), running).await.expect("the program ends")
    }

    /// What a Python program prints that has `host`, `port`, `ca`, `token`, `database`, `user` set, and `connect()` for PyMySQL.
    pub(crate) async fn python(&self, program: &str) -> String {
        let running = self.interpreter(&(self.head() + program)).output();
        let out = tokio::time::timeout(Duration::from_secs(90), running).await.expect("the program ends").unwrap();
        assert!(out.status.success(), "{}\n{}", out_of(&out), errors_of(&out));
        out_of(&out)
    }
}

pub(crate) fn out_of(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

pub(crate) fn errors_of(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).trim().to_owned()
}
