//! A live session of a database's protocol: what it stands on, where it is recorded, and what ends it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use access::reason::{Reason, Refusal};
use access::session::{ClosedSession, EndReason, SessionFacts, Standing, Traffic};
use access::verdict::RecordLevel;
use bytes::Bytes;
use evidence::recording::{Direction, Frame, FrameKind};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::gatekeeper::{Denied, Gatekeeper, PermitWatch};
use crate::ssh::text::{inert, inert_bytes};
use crate::tape::{Tape, TapeFailed, WHOLE_SESSION};

/// How long it is left alone when a server works that was looked at.
const A_MOMENT: Duration = Duration::from_millis(50);

/// What a protocol remembers of what was asked.
pub(crate) trait Asked: Default {
    /// Whether the server has been asked for something that it has not answered, and waits for nothing of the client's.
    fn is_owed(&self) -> bool;
}

/// A live session, as all that work on it share it; `L` is what its protocol keeps besides.
pub(crate) struct Live<L> {
    pub(crate) facts: SessionFacts,
    pub(crate) gate: Arc<dyn Gatekeeper>,
    pub(crate) tape: Box<dyn Tape>,
    started: Instant,
    /// What the protocol has to remember of it.
    pub(crate) ledger: Mutex<L>,
    /// Told when more may be asked.
    pub(crate) room: Notify,
    traffic: Arc<Traffic>,
    /// Milliseconds since `started` at which something last moved.
    moved_at: AtomicU64,
    /// Whether the client is handed something that it has not taken.
    hands_on: AtomicBool,
}

impl<L: Asked> Live<L> {
    /// A session that has just been opened.
    pub(crate) fn new(facts: SessionFacts, gate: Arc<dyn Gatekeeper>, tape: Box<dyn Tape>, traffic: Arc<Traffic>) -> Self {
        Self {
            facts,
            gate,
            tape,
            started: Instant::now(),
            ledger: Mutex::default(),
            room: Notify::new(),
            traffic,
            moved_at: AtomicU64::new(0),
            hands_on: AtomicBool::new(false),
        }
    }

    /// Closes its recording and reports it. Called exactly once, when both sides are closed.
    pub(crate) async fn over(&self, end: EndReason, confirmed: bool) {
        let recording = self.tape.close(end, self.micros()).await;
        // INVARIANT: a recording that lacks its end is an event, however the session ended.
        let end = if recording.is_some() { end } else { EndReason::Recorder };
        self.gate
            .ended(ClosedSession {
                session: self.facts.session,
                end,
                confirmed,
                bytes_up: self.traffic.up(),
                bytes_down: self.traffic.down(),
                recording,
            })
            .await;
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Records one activity.
    pub(crate) async fn note(&self, activity: String) -> Result<(), TapeFailed> {
        self.record(WHOLE_SESSION, Direction::Gate, FrameKind::Activity, activity.into()).await
    }

    /// Whether rows are kept.
    pub(crate) fn keeps_results(&self) -> bool {
        self.facts.recording.level >= RecordLevel::Results
    }

    /// Records what the server sent, as it was sent.
    pub(crate) async fn result(&self, bytes: Bytes) -> Result<(), TapeFailed> {
        self.record(0, Direction::Output, FrameKind::Bytes, bytes).await
    }

    async fn record(&self, channel: u32, direction: Direction, kind: FrameKind, bytes: Bytes) -> Result<(), TapeFailed> {
        self.tape.record(Frame { at_us: self.micros(), channel, direction, kind, bytes }).await
    }

    pub(crate) fn moved_up(&self, bytes: usize) {
        self.traffic.moved_up(bytes as u64);
        self.moved_at.store(self.millis(), Ordering::Relaxed);
    }

    pub(crate) fn moved_down(&self, bytes: usize) {
        self.traffic.moved_down(bytes as u64);
        self.moved_at.store(self.millis(), Ordering::Relaxed);
    }

    /// Whether the client is handed something now.
    pub(crate) fn hands_on(&self, now: bool) {
        self.hands_on.store(now, Ordering::Relaxed);
    }

    /// Whether it is the server that everybody waits for.
    fn waits_for_the_server(&self) -> bool {
        !self.hands_on.load(Ordering::Relaxed) && self.ledger.lock().unwrap_or_else(PoisonError::into_inner).is_owed()
    }

    /// Tells the audit log that a statement was refused.
    pub(crate) fn refused(&self, text: &[u8], why: &Refusal) {
        let (gate, session) = (self.gate.clone(), self.facts.session);
        let detail = format!("{}: {}", inert(why.detail.as_deref().unwrap_or_default(), 256), inert_bytes(text, 700));
        tokio::spawn(async move { gate.refused(session, Denied { what: "statement", detail }).await });
    }

    /// Records why a session is over that neither the client nor the gate simply ended, and enters it in the audit log: the end itself says
    /// `target` for a server that is down as for one with somebody else's certificate.
    pub(crate) async fn over_because(&self, end: EndReason, why: &Refusal) {
        // What the role does not include is entered where it was refused.
        if end.is_cut() || why.reason == Reason::NotInRole {
            return;
        }
        let (what, kind) = if end == EndReason::Target { ("target", "target.refused") } else { ("protocol", "protocol.refused") };
        let (code, detail) = (why.reason.code(), inert(why.detail.as_deref().unwrap_or_else(|| why.reason.sentence()), 512));
        // What cannot be recorded is entered all the same.
        let _ = self.note(serde_json::json!({"kind": kind, "reason": code, "why": detail}).to_string()).await;
        self.gate.refused(self.facts.session, Denied { what, detail: format!("{code}: {detail}") }).await;
    }

    /// Resolves once nothing has moved for the idle time. While a statement runs, nothing has to: the session is not idle then, and its
    /// idle time begins with the answer.
    pub(crate) async fn idle(&self) {
        let Some(limit) = self.facts.idle else { return std::future::pending().await };
        let limit = limit.as_std();
        loop {
            let since = Duration::from_millis(self.millis().saturating_sub(self.moved_at.load(Ordering::Relaxed)));
            match limit.checked_sub(since) {
                None | Some(Duration::ZERO) if self.waits_for_the_server() => {
                    self.moved_at.store(self.millis(), Ordering::Relaxed);
                    tokio::time::sleep(A_MOMENT).await;
                }
                None | Some(Duration::ZERO) => return,
                Some(rest) => tokio::time::sleep(rest).await,
            }
        }
    }
}

/// Waits for whatever of the gate's ends the session, and hands warnings to `say` meanwhile.
pub(crate) async fn watch_over<L: Asked>(live: &Live<L>, mut watch: PermitWatch, mut say: impl FnMut(&str)) -> EndReason {
    let mut standing = watch.now();
    let mut warned = false;
    let mut told = watch.told();
    loop {
        let text = match standing {
            Standing::Cut(end) => return end,
            Standing::Warned { ends_at, left } => {
                warned = true;
                let grant = live.facts.grant;
                Some(format!("this session ends in {left}, at {}; to ask for more time: tidegate grant extend {grant}", clock(ends_at)))
            }
            Standing::Open { ends_at } if warned => {
                warned = false;
                let until = ends_at.map_or_else(|| "without an end".to_owned(), |at| format!("until {}", clock(at)));
                Some(format!("this session has been extended; it is open {until}"))
            }
            Standing::Open { .. } => None,
        };
        if let Some(text) = text {
            say(&text);
        }
        standing = loop {
            tokio::select! {
                biased;
                standing = watch.changed() => break standing,
                // How it goes with more time that was asked for.
                text = told.next() => say(&inert(&text, 1024)),
                () = live.tape.failed() => return EndReason::Recorder,
                () = live.idle() => return EndReason::Idle,
            }
        };
    }
}

/// A time of day as people read it.
pub(crate) fn clock(at: jiff::Timestamp) -> String {
    at.strftime("%H:%M:%S UTC").to_string()
}
