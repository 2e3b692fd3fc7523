//! A gatekeeper for tests: policy is what the test says; everything else is real.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
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
use access::session::{ClosedSession, Dial, EndReason, Onward, Protocol, RecordingTerms, SessionFacts, SshCredential, SshDial, Standing};
use access::time::Span;
use access::verdict::{Durability, HostKeyRule, RecordLevel};
use async_trait::async_trait;
use evidence::recording::{About, Direction, Frame, FrameKind, KeyIdentity, KeyRecipients, PoolOptions, RecorderPool};
use jiff::Timestamp;
use russh::keys::{PrivateKey, PublicKey};
use testkit::sshd::{self, Sshd, SshdOptions};
use tidegate_proxy::gatekeeper::{
    Answer, Denied, Extended, Gatekeeper, InBrowser, Knock, Knocked, News, Offer, Opening, PermitWatch, Proof, Question, Waiting,
};
use tidegate_proxy::ssh::{DoorLimits, HostKeys, SshDoor};
use tidegate_proxy::tape::{Tape, TapeFailed};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

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

/// Where a recorder fails; mostly it panics there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TapeFault {
    Nowhere,
    /// When it is given a frame that holds the word `fault`.
    Record,
    /// When it is broken.
    Failed,
    /// When it is closed.
    Close,
    /// Nowhere, but it cannot be closed.
    NoClose,
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

/// The gate, its target and Ana's key, all in one directory.
pub(crate) struct Town {
    pub(crate) gate: Arc<TestGate>,
    pub(crate) port: u16,
    pub(crate) target: Sshd,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) ana: PathBuf,
    pub(crate) stranger: PathBuf,
    stop: CancellationToken,
}

pub(crate) struct TestGate {
    pub(crate) setup: Mutex<Setup>,
    dial: Box<dyn Fn(&Setup) -> SshDial + Send + Sync>,
    known: PublicKey,
    pub(crate) frames: Arc<Mutex<Vec<Frame>>>,
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

#[derive(Debug)]
struct MemoryTape {
    frames: Arc<Mutex<Vec<Frame>>>,
    keep: bool,
    broken: Arc<AtomicBool>,
    failed: Arc<Notify>,
    fault: TapeFault,
    closed: Arc<AtomicUsize>,
}

#[async_trait]
impl Tape for MemoryTape {
    async fn record(&self, frame: Frame) -> Result<(), TapeFailed> {
        let faulty = self.fault == TapeFault::Record && frame.bytes.windows(5).any(|word| word == b"fault");
        assert!(!faulty, "a fault, put here by a test");
        if self.broken.load(Ordering::Acquire) {
            return Err(TapeFailed);
        }
        if self.keep || frame.kind == FrameKind::Activity {
            self.frames.lock().unwrap().push(frame);
        }
        Ok(())
    }
    fn show(&self, _: Frame) {}
    async fn failed(&self) {
        self.failed.notified().await;
        assert!(self.fault != TapeFault::Failed, "a fault, put here by a test");
    }
    async fn close(&self, _: EndReason, _: u64) -> Option<(u64, String)> {
        assert!(self.fault != TapeFault::Close, "a fault, put here by a test");
        self.closed.fetch_add(1, Ordering::AcqRel);
        (self.fault != TapeFault::NoClose).then(|| (1, "digest".into()))
    }
}

#[expect(clippy::disallowed_methods, reason = "this stands in for identity")]
fn ana(from: SocketAddr) -> VerifiedIdentity {
    let via = Via::SshKey(KeyId::generate(now()));
    let id = "usr_01kaaaaaaaaaaaaaaaaaaaaaaa".parse::<UserId>().unwrap().into();
    access::mint::verified_identity(id, "ana".parse().unwrap(), Mfa::None, via, vec![Scope::Ask], Some(from.ip()), now())
}

impl TestGate {
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

    pub(crate) async fn ended(&self) -> ClosedSession {
        let mut ended = self.ended.subscribe();
        let all =
            tokio::time::timeout(Duration::from_secs(10), ended.wait_for(|e| !e.is_empty())).await.expect("no session ended").unwrap();
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

impl Town {
    pub(crate) async fn new(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ana = sshd::keypair(dir.path(), "ana").unwrap();
        let stranger = sshd::keypair(dir.path(), "stranger").unwrap();
        let gate_key = sshd::keypair(dir.path(), "gate").unwrap();
        let mut options = SshdOptions { extra: setup.sshd.clone(), ..SshdOptions::default() };
        let ca = sshd::keypair(dir.path(), "ca").unwrap();
        let certificate = if setup.certificate_only {
            options.trusted_user_ca = Some(sshd::public_half(&ca).unwrap());
            let signed = std::process::Command::new("ssh-keygen")
                .args(["-q", "-s"])
                .arg(&ca)
                .args(["-I", "session", "-n", &login(), "-V", "-1m:+5m"])
                .arg(dir.path().join("gate.pub"))
                .status()
                .unwrap();
            assert!(signed.success());
            Some(std::fs::read_to_string(dir.path().join("gate-cert.pub")).unwrap())
        } else {
            options.authorized_keys = vec![sshd::public_half(&gate_key).unwrap()];
            None
        };
        let target = Sshd::start(&options).unwrap();
        let (port, host_key) = (target.port(), target.host_key().to_owned());
        let private = std::fs::read_to_string(&gate_key).unwrap();
        let dial = move |setup: &Setup| SshDial {
            host: "127.0.0.1".into(),
            port: setup.instead.as_ref().map_or(port, |(port, _)| *port),
            login: login(),
            host_keys: match (&setup.host_keys, &setup.instead) {
                (Some(keys), _) => keys.clone(),
                (None, Some((_, key))) => vec![key.clone()],
                (None, None) => vec![host_key.clone()],
            },
            host_key_rule: HostKeyRule::Pinned,
            credential: match &certificate {
                Some(certificate) => SshCredential::Certificate { private_key: private.clone().into(), certificate: certificate.clone() },
                None => SshCredential::Key(private.clone().into()),
            },
            guarded_allowed: setup.guarded_allowed,
        };
        let limits = setup.door.clone();
        let gate = Arc::new(TestGate {
            setup: Mutex::new(setup),
            dial: Box::new(dial),
            known: PublicKey::from_openssh(&sshd::public_half(&ana).unwrap()).unwrap(),
            frames: Arc::default(),
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
            recorders: RecorderPool::open(dir.path().join("recordings"), &PoolOptions::default()).unwrap(),
        });
        let host = sshd::keypair(dir.path(), "gate_host").unwrap();
        let host = PrivateKey::read_openssh_file(&host).unwrap();
        *gate.host_keys.lock().unwrap() = Some(HostKeys::new(vec![host]));
        let door = SshDoor::new(gate.clone(), limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = CancellationToken::new();
        tokio::spawn(door.serve(listener, stop.clone()));
        Self { gate, port, target, dir, ana, stranger, stop }
    }

    pub(crate) async fn open(rights: SshRights) -> Self {
        Self::new(Setup { rights, ..Setup::default() }).await
    }

    pub(crate) fn options(&self) -> Vec<String> {
        let known_hosts = self.dir.path().join("known_hosts");
        [
            "-F/dev/null".into(),
            format!("-i{}", self.ana.display()),
            "-oIdentitiesOnly=yes".into(),
            "-oIdentityAgent=none".into(),
            "-oStrictHostKeyChecking=accept-new".into(),
            format!("-oUserKnownHostsFile={}", known_hosts.display()),
            "-oLogLevel=ERROR".into(),
            "-oBatchMode=yes".into(),
        ]
        .to_vec()
    }

    /// Ana's `ssh` to db-1 through the gate.
    pub(crate) fn ssh(&self, arguments: &[&str]) -> Command {
        self.tool("ssh", &[&["-p", &self.port.to_string()][..], &["db-1@127.0.0.1"], arguments].concat())
    }

    /// The same with options before the destination.
    pub(crate) fn ssh_with(&self, options: &[&str], arguments: &[&str]) -> Command {
        self.tool("ssh", &[&["-p", &self.port.to_string()][..], options, &["db-1@127.0.0.1"], arguments].concat())
    }

    pub(crate) fn tool(&self, tool: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(tool);
        command.args(self.options()).args(arguments).kill_on_drop(true).stdin(std::process::Stdio::null());
        command.env_clear().env("PATH", std::env::var("PATH").unwrap()).env("HOME", self.dir.path());
        command
    }

    /// `ssh` as other programs want it named.
    pub(crate) fn ssh_line(&self) -> String {
        format!("ssh {} -p {}", self.options().join(" "), self.port)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn login() -> String {
    let out = std::process::Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// Writes `size` bytes that don't compress and differ by `seed`.
pub(crate) fn random_file(path: &Path, size: usize, seed: u64) {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    std::fs::write(path, bytes).unwrap();
}

pub(crate) fn sha256(path: &Path) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(std::fs::read(path).unwrap());
    digest.iter().map(|b| format!("{b:02x}")).collect()
}
