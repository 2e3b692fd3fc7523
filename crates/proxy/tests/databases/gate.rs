//! A gatekeeper for the tests of both databases' doors: policy is what the test says; everything else is real.

use std::net::SocketAddr;
use std::path::Path;
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
    ClosedSession, DatabaseCredential, DatabaseDial, Dial, EndReason, Onward, Protocol, RecordingTerms, SessionFacts, Standing, TargetTls,
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
use tidegate_proxy::gatekeeper::{
    Answer, Denied, Extended, Gatekeeper, Knock, Knocked, News, Offer, Opening, PermitWatch, Proof, Question, Waiting,
};
use tidegate_proxy::tape::{Tape, TapeFailed};
use tokio::sync::{Notify, watch};

/// Ana's token.
pub(crate) const TOKEN: &str = "tg_pat_anas";

fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap()
}

/// What the door does with Ana.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Way {
    /// Whether Ben has to agree.
    pub(crate) needs_ben: bool,
    /// Whether policy has no other path than an emergency.
    pub(crate) refused: bool,
    /// Whether she may declare an emergency.
    pub(crate) emergency: bool,
}

/// What sessions stand on.
pub(crate) struct Terms {
    pub(crate) way: Way,
    pub(crate) protocol: Protocol,
    pub(crate) rights: DatabaseRights,
    pub(crate) level: RecordLevel,
    pub(crate) idle: Option<Span>,
    pub(crate) patience: Duration,
    pub(crate) host: &'static str,
    pub(crate) port: u16,
    pub(crate) database: Option<String>,
    pub(crate) tls: TargetTls,
    pub(crate) user: String,
    pub(crate) password: &'static str,
    pub(crate) guarded_allowed: bool,
}

pub(crate) struct TestGate {
    pub(crate) terms: Mutex<Terms>,
    person: UserId,
    pub(crate) frames: Arc<Mutex<Vec<Frame>>>,
    recorder_broken: Arc<AtomicBool>,
    /// Whether recordings can be written, but not to their end.
    unclosable: Arc<AtomicBool>,
    /// Whether what is recorded next, once, is answered by a panic.
    pub(crate) recorder_faulty: Arc<AtomicBool>,
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
    unclosable: Arc<AtomicBool>,
    faulty: Arc<AtomicBool>,
    failed: Arc<Notify>,
}

#[async_trait]
impl Tape for MemoryTape {
    async fn record(&self, frame: Frame) -> Result<(), TapeFailed> {
        assert!(!self.faulty.swap(false, Ordering::AcqRel), "a fault of the recorder");
        if self.broken.load(Ordering::Acquire) {
            return Err(TapeFailed);
        }
        self.frames.lock().unwrap().push(frame);
        Ok(())
    }
    fn show(&self, _: Frame) {}
    async fn failed(&self) {
        self.failed.notified().await;
    }
    async fn close(&self, _: EndReason, _: u64) -> Option<(u64, String)> {
        (!self.unclosable.load(Ordering::Acquire)).then(|| (1, "digest".into()))
    }
}

impl TestGate {
    pub(crate) fn new(terms: Terms) -> Arc<Self> {
        Arc::new(Self {
            terms: Mutex::new(terms),
            person: UserId::generate(now()),
            frames: Arc::default(),
            recorder_broken: Arc::default(),
            unclosable: Arc::default(),
            recorder_faulty: Arc::default(),
            recorder_failed: Arc::default(),
            standings: Mutex::default(),
            ended: watch::Sender::default(),
            refused: watch::Sender::default(),
            asked: watch::Sender::default(),
            news: watch::Sender::new(News { state: RequestState::Pending, asked: vec!["1 of dba".into()], answers: vec![] }),
            approved: AtomicBool::new(false),
        })
    }

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

    /// What the audit log was told was refused so far, a line each.
    pub(crate) fn entered(&self) -> String {
        self.refused.borrow().iter().map(|denied| format!("{}: {}\n", denied.what, denied.detail)).collect()
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

    /// A session ends as its client ends it while its recording can be closed, and by that when it cannot.
    pub(crate) async fn notices_what_cannot_be_closed(&self, works: impl AsyncFn() -> Output) {
        for (unclosable, end) in [(false, EndReason::Client), (true, EndReason::Recorder)] {
            self.unclosable.store(unclosable, Ordering::Release);
            let before = self.ended.borrow().len();
            let out = works().await;
            assert!(out.status.success(), "{}", errors_of(&out));
            let closed = self.ended(before + 1).await[before].clone();
            assert_eq!((closed.end, closed.recording.is_some()), (end, !unclosable));
        }
    }

    /// Waits until this many sessions have ended.
    pub(crate) async fn ended(&self, count: usize) -> Vec<ClosedSession> {
        let mut ended = self.ended.subscribe();
        tokio::time::timeout(Duration::from_secs(60), ended.wait_for(|e| e.len() >= count)).await.expect("sessions end").unwrap().clone()
    }

    /// Waits until she has asked.
    pub(crate) async fn asked(&self) -> Answer {
        let mut asked = self.asked.subscribe();
        let asked = tokio::time::timeout(Duration::from_secs(60), asked.wait_for(|a| !a.is_empty())).await.expect("she asks").unwrap();
        asked[0].clone()
    }

    fn open(&self) -> Knocked {
        let terms = self.terms.lock().unwrap();
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
            protocol: terms.protocol,
            rights: Rights::Database(terms.rights.clone()),
            limits: Limits::default(),
            recording: RecordingTerms { id: RecordingId::generate(now()), level: terms.level, durability: Durability::Flush },
            idle: terms.idle,
            opened_at: now(),
            ends_at: None,
            bundle: "bundle".into(),
        };
        let dial = DatabaseDial {
            host: terms.host.to_owned(),
            port: terms.port,
            database: terms.database.clone(),
            tls: terms.tls.clone(),
            credential: DatabaseCredential::Account { user: terms.user.clone(), password: terms.password.to_owned().into() },
            guarded_allowed: terms.guarded_allowed,
        };
        let dial = if terms.protocol == Protocol::Mysql { Dial::Mysql(dial) } else { Dial::Postgres(dial) };
        #[expect(clippy::disallowed_methods, reason = "this stands in for workflow")]
        let permit = access::mint::session_permit(facts, dial);
        let tape = MemoryTape {
            frames: self.frames.clone(),
            broken: self.recorder_broken.clone(),
            unclosable: self.unclosable.clone(),
            faulty: self.recorder_faulty.clone(),
            failed: self.recorder_failed.clone(),
        };
        Knocked::Open(Box::new(Opening { permit, watch, tape: Box::new(tape) }))
    }

    fn waits(&self) -> Knocked {
        let patience = self.terms.lock().unwrap().patience;
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
                let scopes = Scope::OF_PEOPLE.to_vec();
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
        let way = self.terms.lock().unwrap().way;
        let declared = self.asked.borrow().iter().any(|answer| answer.break_glass);
        let has_asked = !self.asked.borrow().is_empty();
        let emergency = way.emergency.then(|| "Everybody of dba is told, and it is reviewed.".to_owned());
        if !(way.needs_ben || way.refused) || (way.emergency && declared) {
            return self.open();
        }
        if way.refused {
            return Knocked::Ask(Question {
                refused: Some(Refusal::because(Reason::Forbidden, "it is Friday")),
                emergency,
                ..Question::default()
            });
        }
        match (self.approved.load(Ordering::Acquire), has_asked) {
            (true, _) => self.open(),
            (false, true) => self.waits(),
            (false, false) => Knocked::Ask(Question {
                emergency,
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

    async fn onward(&self, _: SessionId, _: Onward, _: &str) {}

    async fn refused(&self, _: SessionId, what: Denied) {
        self.refused.send_modify(|r| r.push(what));
    }

    async fn ended(&self, closed: ClosedSession) {
        self.ended.send_modify(|e| e.push(closed));
    }
}

/// How a door shows itself to clients: `ca.pem` in this directory is what they trust.
pub(crate) fn door_tls(dir: &Path) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(dir.join("ca.pem"), certificate.pem()).unwrap();
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap()
}

pub(crate) fn out_of(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

pub(crate) fn errors_of(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).trim().to_owned()
}
