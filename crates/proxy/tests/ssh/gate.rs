//! A gatekeeper for tests: policy is what the test says; everything else is real.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use access::identity::{Mfa, Scope, VerifiedIdentity, Via};
use access::ids::{GrantId, KeyId, RecordingId, RequestId, SessionId, UserId};
use access::limits::Limits;
use access::names::Selector;
use access::reason::{Reason, Refusal};
use access::request::RequestState;
use access::rights::{ExecRights, Rights, SftpRights, SshRights};
use access::session::{ClosedSession, Dial, EndReason, Onward, Protocol, RecordingTerms, SessionFacts, SshDial, Standing};
use access::time::Span;
use access::verdict::{Durability, RecordLevel};
use async_trait::async_trait;
use evidence::recording::{About, Direction, Frame, FrameKind, KeyIdentity, KeyRecipients, PoolOptions, RecorderPool};
use jiff::Timestamp;
use russh::keys::PublicKey;
use tidegate_proxy::gatekeeper::{
    Answer, Denied, Extended, Gatekeeper, InBrowser, Knock, Knocked, News, Offer, Opening, PermitWatch, Proof, Question, Waiting,
};
use tidegate_proxy::ssh::{DoorLimits, HostKeys};
use tokio::sync::{Notify, watch};

use crate::tape::{MemoryTape, TapeFault};

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
    /// Refuses her.
    Closed,
}

pub(crate) struct Setup {
    pub(crate) rights: SshRights,
    pub(crate) policy: Policy,
    pub(crate) level: RecordLevel,
    pub(crate) limits: Limits,
    pub(crate) idle: Option<Span>,
    /// How long a connection waits at the door.
    pub(crate) patience: Duration,
    /// Whether she may come in without being asked.
    pub(crate) emergency: bool,
    pub(crate) host_keys: Option<Vec<String>>,
    pub(crate) guarded_allowed: bool,
    pub(crate) certificate_only: bool,
    pub(crate) keep_frames: bool,
    /// Records to a file as the gate does, instead of to memory.
    pub(crate) real_recorder: bool,
    /// Panics where a refusal is reported.
    pub(crate) faulty: bool,
    /// Where the recorder fails.
    pub(crate) tape: TapeFault,
    /// Another target than the real one: its port and host key.
    pub(crate) instead: Option<(u16, String)>,
    pub(crate) door: DoorLimits,
    pub(crate) sshd: Vec<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            rights: everything(),
            policy: Policy::Open,
            level: RecordLevel::Content,
            limits: Limits::default(),
            idle: None,
            patience: Duration::from_secs(120),
            emergency: false,
            host_keys: None,
            guarded_allowed: true,
            certificate_only: false,
            keep_frames: true,
            real_recorder: false,
            faulty: false,
            tape: TapeFault::Nowhere,
            instead: None,
            door: DoorLimits::default(),
            sshd: Vec::new(),
        }
    }
}

pub(crate) fn everything() -> SshRights {
    SshRights {
        shell: true,
        pty: true,
        exec: ExecRights::Any,
        sftp: SftpRights::Write,
        local_forward: vec!["127.0.0.1:*".parse().unwrap(), "localhost:*".parse().unwrap()],
        remote_forward: vec!["127.0.0.1:*".parse().unwrap(), "localhost:*".parse().unwrap()],
        local_socket: Vec::new(),
        remote_socket: Vec::new(),
        agent_forward: true,
        env: vec!["LANG".into(), "LC_*".into(), "GREETING".into()],
        subsystems: Vec::new(),
    }
}

pub(crate) struct TestGate {
    pub(crate) setup: Mutex<Setup>,
    dial: Box<dyn Fn(&Setup) -> SshDial + Send + Sync>,
    known: PublicKey,
    pub(crate) frames: Arc<Mutex<Vec<Frame>>>,
    recorded_more: Arc<Notify>,
    pub(crate) recorder_broken: Arc<AtomicBool>,
    recorders_failed: Mutex<Vec<Arc<Notify>>>,
    pub(crate) tapes_closed: Arc<AtomicUsize>,
    pub(crate) standings: Mutex<Vec<watch::Sender<Standing>>>,
    pub(crate) ended: watch::Sender<Vec<ClosedSession>>,
    pub(crate) refused: watch::Sender<Vec<Denied>>,
    /// The ways on from a target that the gate was told of.
    pub(crate) onward: Mutex<Vec<(Onward, String)>>,
    pub(crate) asked: watch::Sender<Vec<Answer>>,
    /// What was renounced with each answer.
    pub(crate) renounced: Mutex<Vec<Limits>>,
    /// Who asked for how much more time, and why.
    pub(crate) more: watch::Sender<Vec<(Option<Span>, Option<String>)>>,
    told: watch::Sender<Option<Arc<str>>>,
    pub(crate) news: watch::Sender<News>,
    approved: AtomicBool,
    pub(crate) proofs: Mutex<Vec<Proof>>,
    /// Of connections that ended without anybody signed in, though somebody tried: why.
    pub(crate) not_signed_in: watch::Sender<Vec<String>>,
    /// Answers in a browser to who brought no key, if anybody is asked there: each is heard by the next that comes.
    pub(crate) browser: Mutex<Vec<watch::Receiver<Option<bool>>>>,
    pub(crate) host_keys: Mutex<Option<HostKeys>>,
    pub(crate) auditor: KeyIdentity,
    pub(crate) recorders: RecorderPool,
}

#[expect(clippy::disallowed_methods, reason = "this stands in for identity")]
fn ana(from: SocketAddr) -> VerifiedIdentity {
    let via = Via::SshKey(KeyId::generate(now()));
    let id = "usr_01kaaaaaaaaaaaaaaaaaaaaaaa".parse::<UserId>().unwrap().into();
    access::mint::verified_identity(id, "ana".parse().unwrap(), Mfa::None, via, vec![Scope::Ask], Some(from.ip()), now())
}

impl TestGate {
    /// A gate that dials like this and knows Ana by this key.
    pub(crate) fn new(
        setup: Setup,
        dial: impl Fn(&Setup) -> SshDial + Send + Sync + 'static,
        known: PublicKey,
        recordings: &Path,
    ) -> Arc<Self> {
        Arc::new(Self {
            setup: Mutex::new(setup),
            dial: Box::new(dial),
            known,
            frames: Arc::default(),
            recorded_more: Arc::default(),
            recorder_broken: Arc::default(),
            recorders_failed: Mutex::default(),
            tapes_closed: Arc::default(),
            standings: Mutex::default(),
            ended: watch::Sender::default(),
            refused: watch::Sender::default(),
            onward: Mutex::default(),
            asked: watch::Sender::default(),
            renounced: Mutex::default(),
            more: watch::Sender::default(),
            told: watch::Sender::default(),
            news: watch::Sender::new(News { state: RequestState::Pending, asked: vec!["dba".into()], answers: Vec::new() }),
            approved: AtomicBool::default(),
            proofs: Mutex::default(),
            not_signed_in: watch::Sender::default(),
            browser: Mutex::default(),
            host_keys: Mutex::default(),
            auditor: KeyIdentity::generate(),
            recorders: RecorderPool::open(recordings, &PoolOptions::default()).unwrap(),
        })
    }

    /// Ben answers.
    pub(crate) fn ben_approves(&self) {
        self.approved.store(true, Ordering::Release);
        self.news.send_modify(|n| {
            n.answers.push("Ben approved: go ahead".into());
            n.state = RequestState::Approved;
        });
    }

    pub(crate) fn ben_denies(&self) {
        self.setup.lock().unwrap().policy = Policy::Closed;
        self.news.send_modify(|n| n.state = RequestState::Denied);
    }

    /// Tells the session that was opened last, and no other, that its recorder has failed.
    pub(crate) fn break_recorder_of_the_last(&self) {
        self.recorders_failed.lock().unwrap().last().unwrap().notify_waiters();
    }

    pub(crate) fn break_recorder(&self) {
        self.recorder_broken.store(true, Ordering::Release);
        for recorder in self.recorders_failed.lock().unwrap().iter() {
            recorder.notify_waiters();
        }
    }

    /// Says something to the user of every live session.
    pub(crate) fn tell(&self, text: &str) {
        self.told.send_replace(Some(text.into()));
    }

    /// Says to every live session how it stands.
    pub(crate) fn stand(&self, standing: &Standing) {
        for sender in self.standings.lock().unwrap().iter() {
            sender.send_replace(standing.clone());
        }
    }

    pub(crate) fn cut(&self, end: EndReason) {
        self.stand(&Standing::Cut(end));
    }

    /// What was recorded of one stream, joined.
    pub(crate) fn recorded(&self, direction: Direction, kind: FrameKind) -> String {
        let frames = self.frames.lock().unwrap();
        let bytes: Vec<u8> = frames.iter().filter(|f| (f.direction, f.kind) == (direction, kind)).flat_map(|f| f.bytes.to_vec()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn output(&self) -> String {
        self.recorded(Direction::Output, FrameKind::Bytes)
    }

    pub(crate) fn errors(&self) -> String {
        self.recorded(Direction::Output, FrameKind::Stderr)
    }

    pub(crate) fn input(&self) -> String {
        self.recorded(Direction::Input, FrameKind::Bytes)
    }

    /// The activities of one sort.
    pub(crate) fn activities(&self, sort: &str) -> Vec<serde_json::Value> {
        let frames = self.frames.lock().unwrap();
        frames
            .iter()
            .filter(|f| f.kind == FrameKind::Activity)
            .map(|f| serde_json::from_slice::<serde_json::Value>(&f.bytes).unwrap())
            .filter(|a| a["kind"] == sort)
            .collect()
    }

    /// The first activity of one sort, as soon as there is one.
    pub(crate) async fn activity(&self, sort: &str) -> serde_json::Value {
        let first = async {
            loop {
                let more = self.recorded_more.notified();
                if let Some(first) = self.activities(sort).into_iter().next() {
                    return first;
                }
                more.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), first).await.expect("no such activity")
    }

    pub(crate) async fn ended(&self) -> ClosedSession {
        let mut ended = self.ended.subscribe();
        let all =
            tokio::time::timeout(Duration::from_secs(60), ended.wait_for(|e| !e.is_empty())).await.expect("no session ended").unwrap();
        all.last().unwrap().clone()
    }

    fn open(&self) -> Knocked {
        let setup = self.setup.lock().unwrap();
        let standing = watch::Sender::new(Standing::Open { ends_at: None });
        let watch = PermitWatch::new(standing.subscribe()).hearing(self.told.subscribe());
        self.standings.lock().unwrap().push(standing);
        let facts = SessionFacts {
            session: SessionId::generate(now()),
            grant: GrantId::generate(now()),
            person: UserId::generate(now()).into(),
            username: "ana".parse().unwrap(),
            resource: "db-1".parse().unwrap(),
            role: "debug".parse().unwrap(),
            tier: "production".parse().unwrap(),
            protocol: Protocol::Ssh,
            rights: setup.limits.narrow(Rights::Ssh(setup.rights.clone())),
            limits: setup.limits.clone(),
            recording: RecordingTerms { id: RecordingId::generate(now()), level: setup.level, durability: Durability::Flush },
            idle: setup.idle,
            opened_at: now(),
            ends_at: None,
            bundle: "bundle".into(),
        };
        let facts_recording = facts.recording.id.to_string();
        #[expect(clippy::disallowed_methods, reason = "this stands in for workflow")]
        let permit = access::mint::session_permit(facts, Dial::Ssh((self.dial)(&setup)));
        if setup.real_recorder {
            let about = About {
                recording: facts_recording,
                session: "ses".into(),
                grant: "grt".into(),
                person: "usr".into(),
                resource: "db-1".into(),
                bundle: "bundle".into(),
                started: now(),
                levels: vec!["content".into()],
            };
            let to = KeyRecipients::parse(&[self.auditor.recipient()]).unwrap();
            let tape = self.recorders.start(&about, evidence::recording::Durability::Flush, &to, &to).unwrap();
            return Knocked::Open(Box::new(Opening { permit, watch, tape: Box::new(tape) }));
        }
        let failed = Arc::new(Notify::new());
        self.recorders_failed.lock().unwrap().push(failed.clone());
        let tape = MemoryTape {
            frames: self.frames.clone(),
            recorded_more: self.recorded_more.clone(),
            keep: setup.keep_frames,
            broken: self.recorder_broken.clone(),
            failed,
            fault: setup.tape,
            closed: self.tapes_closed.clone(),
        };
        Knocked::Open(Box::new(Opening { permit, watch, tape: Box::new(tape) }))
    }
}

#[async_trait]
impl Gatekeeper for TestGate {
    async fn is_known(&self, offer: Offer<'_>) -> bool {
        match offer {
            Offer::Key(key) => key.key_data() == self.known.key_data(),
            Offer::Certificate(certificate) => certificate.public_key() == self.known.key_data(),
            Offer::ClientCertificate(_) => false,
        }
    }

    async fn identify(&self, proof: Proof, from: SocketAddr) -> Result<VerifiedIdentity, Refusal> {
        self.proofs.lock().unwrap().push(proof.clone());
        match proof {
            Proof::Key { key, .. } if key.key_data() == self.known.key_data() => Ok(ana(from)),
            _ => Err(Refusal::of(Reason::NotSignedIn)),
        }
    }

    async fn not_signed_in(&self, refusal: Refusal, _: SocketAddr) {
        assert_eq!(refusal.reason, Reason::NotSignedIn);
        self.not_signed_in.send_modify(|all| all.push(refusal.to_string()));
    }

    async fn knock(&self, knock: &Knock) -> Knocked {
        assert_eq!(knock.to.resource.as_str(), "db-1");
        let policy = self.setup.lock().unwrap().policy.clone();
        match policy {
            Policy::Open => self.open(),
            Policy::Closed => Knocked::Refused(Refusal::of(Reason::Denied)),
            Policy::NeedsBen if self.approved.load(Ordering::Acquire) => self.open(),
            Policy::NeedsBen if !self.asked.borrow().is_empty() => self.waiting(),
            Policy::NeedsBen => Knocked::Ask(Question {
                missing: "db-1 as debug needs the agreement of 1 of dba.".into(),
                reason: true,
                emergency: self.setup.lock().unwrap().emergency.then(|| "In an emergency answer `break glass`.".into()),
                ..Question::default()
            }),
        }
    }

    async fn ask_in_browser(&self, to: &Selector, client: &str, from: SocketAddr) -> Option<InBrowser> {
        let mut heard = self.browser.lock().unwrap().pop()?;
        let answer = async move {
            match heard.wait_for(Option::is_some).await.map(|said| *said) {
                Ok(Some(true)) => Ok(ana(from)),
                _ => Err(Refusal::because(Reason::Denied, "somebody said no at the link")),
            }
        };
        Some(InBrowser { told: format!("Say yes at https://gate/device\nfor {to}\nby {client}"), answer: Box::pin(answer) })
    }

    async fn how_to_sign_in(&self, _: SocketAddr) -> String {
        "Nobody is known by a key here.\nJoin first: tidegate join".to_owned()
    }

    async fn submit(&self, knock: &Knock, answer: Answer) -> Knocked {
        let emergency = answer.break_glass;
        self.asked.send_modify(|a| a.push(answer));
        self.renounced.lock().unwrap().push(knock.limits.clone());
        if emergency { self.open() } else { self.waiting() }
    }

    async fn extend(&self, knock: &Knock, more: Option<Span>, reason: Option<String>) -> Extended {
        assert_eq!(knock.to.resource.as_str(), "db-1");
        let answered = match &reason {
            None => return Extended::Refused(Refusal::of(Reason::ReasonRequired)),
            Some(reason) if reason == "ask Ben" => Extended::Waiting(self.waits()),
            Some(_) => Extended::Until(Span::minutes(30).after(now())),
        };
        self.more.send_modify(|all| all.push((more, reason)));
        answered
    }

    fn host_keys(&self) -> Result<HostKeys, Refusal> {
        self.host_keys.lock().unwrap().clone().ok_or_else(|| Refusal::of(Reason::Internal))
    }

    async fn trust_first_host_key(&self, _: SessionId, _: &PublicKey) -> bool {
        false
    }

    async fn onward(&self, _: SessionId, how: Onward, to: &str) {
        self.onward.lock().unwrap().push((how, to.to_owned()));
    }

    async fn refused(&self, _: SessionId, what: Denied) {
        let faulty = self.setup.lock().unwrap().faulty;
        assert!(!faulty, "a fault, put here by a test");
        self.refused.send_modify(|r| r.push(what));
    }

    async fn ended(&self, closed: ClosedSession) {
        self.ended.send_modify(|e| e.push(closed));
    }
}

impl TestGate {
    fn waiting(&self) -> Knocked {
        Knocked::Waiting(self.waits())
    }

    fn waits(&self) -> Waiting {
        let patience = self.setup.lock().unwrap().patience;
        Waiting { request: RequestId::generate(now()), news: self.news.subscribe(), limits: String::new(), patience }
    }
}
