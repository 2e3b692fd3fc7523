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
use testkit::postgres::{Database, Proof as Proves};
use tidegate_proxy::gatekeeper::{
    Answer, Denied, Extended, Gatekeeper, Knock, Knocked, News, Offer, Opening, PermitWatch, Proof, Question, Waiting,
};
use tidegate_proxy::postgres::by_rights::by_rights;
use tidegate_proxy::postgres::judge::MakeJudge;
use tidegate_proxy::postgres::{DoorLimits, PostgresDoor};
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
    /// Lets her in if she declares an emergency.
    OnlyEmergency,
    /// Asks her, or lets her in if she declares an emergency.
    NeedsBenOrEmergency,
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
    pub(crate) judge: MakeJudge,
    pub(crate) door: DoorLimits,
    /// Instead of the real server.
    pub(crate) port: Option<u16>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            policy: Policy::Open,
            rights: DatabaseRights { unrestricted: true, ..DatabaseRights::default() },
            level: RecordLevel::Content,
            idle: None,
            patience: Duration::from_secs(60),
            proof: Proves::Scram,
            tls: None,
            password: "right",
            host: "127.0.0.1",
            guarded_allowed: true,
            one_database: true,
            judge: by_rights,
            door: DoorLimits::default(),
            port: None,
        }
    }
}

pub(crate) struct TestGate {
    setup: Mutex<Setup>,
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
            person: UserId::generate(now()).into(),
            username: "ana".parse().unwrap(),
            resource: "orders-db".parse().unwrap(),
            role: "readwrite".parse().unwrap(),
            tier: "non-prod".parse().unwrap(),
            protocol: Protocol::Postgres,
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
        let permit = access::mint::session_permit(facts, Dial::Postgres(dial));
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
            Policy::NeedsBenOrEmergency | Policy::OnlyEmergency if self.asked.borrow().iter().any(|answer| answer.break_glass) => {
                self.open()
            }
            Policy::OnlyEmergency => Knocked::Ask(Question {
                refused: Some(Refusal::because(Reason::Forbidden, "it is Friday")),
                emergency: Some("Everybody of dba is told, and it is reviewed.".into()),
                ..Question::default()
            }),
            Policy::NeedsBen | Policy::NeedsBenOrEmergency if self.approved.load(Ordering::Acquire) => self.open(),
            Policy::NeedsBen | Policy::NeedsBenOrEmergency if has_asked => self.waits(),
            Policy::NeedsBen | Policy::NeedsBenOrEmergency => Knocked::Ask(Question {
                emergency: matches!(policy, Policy::NeedsBenOrEmergency).then(|| "Everybody of dba is told, and it is reviewed.".into()),
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
    /// How it shows itself to clients.
    pub(crate) tls: ServerConfig,
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
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(dir.path().join("ca.pem"), certificate.pem()).unwrap();
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let (judge, limits) = (setup.judge, setup.door.clone());
        let gate = Arc::new(TestGate {
            user,
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
        tokio::spawn(PostgresDoor::new(gate.clone(), tls.clone(), judge, limits).serve(listener, stop.clone()));
        Self { gate, port, target, dir, tls, stop }
    }

    /// A connection string for libpq; `more` after it.
    pub(crate) fn conninfo(&self, more: &str) -> String {
        let (ca, database) = (self.dir.path().join("ca.pem"), self.target.name());
        format!(
            "host=localhost port={} user=orders-db+readwrite dbname={database} password={TOKEN} sslmode=verify-full sslrootcert={} \
             connect_timeout=20 {more}",
            self.port,
            ca.display()
        )
    }

    /// `psql` with a connection string and further arguments.
    pub(crate) fn psql(&self, conninfo: &str, arguments: &[&str]) -> Command {
        let mut psql = Command::new("/usr/lib/postgresql/15/bin/psql");
        psql.args(["-X", "-A", "-t", "-d", conninfo]).args(arguments).kill_on_drop(true);
        psql.env("PGPASSFILE", "/dev/null").stdin(std::process::Stdio::null());
        psql
    }

    /// What statements through the gate give.
    pub(crate) async fn run(&self, sql: &str) -> Output {
        self.psql(&self.conninfo(""), &["-c", sql]).output().await.unwrap()
    }

    /// What a Python program prints that has `dsn`, `port`, `ca`, `token`, `database` and `user` set.
    pub(crate) async fn python(&self, program: &str) -> String {
        let head = format!(
            "dsn={:?}; port={}; ca={:?}; token={TOKEN:?}; database={:?}; user='orders-db+readwrite'\n",
            self.conninfo(""),
            self.port,
            self.dir.path().join("ca.pem"),
            self.target.name()
        );
        let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/venv/bin/python");
        let running = Command::new(python).arg("-c").arg(head + program).kill_on_drop(true).output();
        let out = tokio::time::timeout(Duration::from_secs(60), running).await.expect("the program ends").unwrap();
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
