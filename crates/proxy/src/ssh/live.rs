//! A session with an open target: what its channels share, and how they record, count and end it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use access::rights::SshRights;
use access::session::{EndReason, SessionFacts, Traffic};
use access::verdict::RecordLevel;
use bytes::Bytes;
use evidence::recording::{Direction, Frame, FrameKind};
use tokio::sync::watch;
use tokio::time::Instant;

use super::session::lock;
use super::stage::Stages;
use super::target::Target;
use super::text;
use crate::tape::{Tape, TapeFailed};

/// What every channel of a live session hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Nothing yet.
    Quiet,
    /// To be shown.
    Say(Arc<str>),
    /// It is over.
    Cut(EndReason),
}

/// A session with an open target.
pub(crate) struct Live {
    pub(crate) facts: SessionFacts,
    pub(crate) rights: SshRights,
    pub(crate) target: Target,
    pub(super) tape: Box<dyn Tape>,
    started: Instant,
    pub(super) notices: watch::Sender<Notice>,
    /// The terminals that others may join.
    pub(super) stages: Stages,
    /// The number of the next channel, as recordings count them.
    next_channel: Arc<AtomicU32>,
    /// The last warning, as long as the end it speaks of stands.
    pub(super) warned: Mutex<Option<Arc<str>>>,
    pub(super) wanted_end: watch::Sender<Option<EndReason>>,
    /// What its user is told when it ends by a fault that has a sentence of its own.
    fault: OnceLock<String>,
    /// Programs at the target that were started and not seen to end.
    running: watch::Sender<u32>,
    /// Programs that it was asked to start and did not refuse to.
    run: AtomicU32,
    pub(super) traffic: Arc<Traffic>,
    /// Milliseconds since `started` at which something last moved.
    moved_at: AtomicU64,
}

impl Live {
    pub(super) fn new(
        facts: SessionFacts,
        rights: SshRights,
        target: Target,
        tape: Box<dyn Tape>,
        next_channel: Arc<AtomicU32>,
        traffic: Arc<Traffic>,
    ) -> Self {
        Self {
            facts,
            rights,
            target,
            tape,
            started: Instant::now(),
            notices: watch::Sender::new(Notice::Quiet),
            stages: Stages::default(),
            next_channel,
            warned: Mutex::default(),
            wanted_end: watch::Sender::new(None),
            fault: OnceLock::new(),
            running: watch::Sender::new(0),
            run: AtomicU32::new(0),
            traffic,
            moved_at: AtomicU64::new(0),
        }
    }

    /// The number of one more channel of its recording.
    pub(crate) fn next_channel(&self) -> u32 {
        self.next_channel.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether content is kept, or events only.
    pub(crate) fn keeps_content(&self) -> bool {
        self.facts.recording.level >= RecordLevel::Content
    }

    /// Microseconds since the session began.
    pub(super) fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Records bytes; on failure the session ends.
    pub(crate) async fn record(&self, channel: u32, direction: Direction, kind: FrameKind, bytes: Bytes) -> Result<(), TapeFailed> {
        self.tape_frame(Frame { at_us: self.micros(), channel, direction, kind, bytes }).await
    }

    /// Shows bytes of the target's to those who watch, where they are not kept.
    pub(crate) fn show(&self, channel: u32, kind: FrameKind, bytes: Bytes) {
        self.tape.show(Frame { at_us: self.micros(), channel, direction: Direction::Output, kind, bytes });
    }

    /// Records the size of a terminal.
    pub(crate) async fn record_size(&self, channel: u32, columns: u32, rows: u32) -> Result<(), TapeFailed> {
        self.tape_frame(Frame::resize(self.micros(), channel, columns, rows)).await
    }

    /// Records one activity: a JSON object whose `kind` says what was done.
    pub(crate) async fn note(&self, channel: u32, activity: serde_json::Value) -> Result<(), TapeFailed> {
        self.record(channel, Direction::Gate, FrameKind::Activity, Bytes::from(activity.to_string())).await
    }

    async fn tape_frame(&self, frame: Frame) -> Result<(), TapeFailed> {
        let recorded = self.tape.record(frame).await;
        if recorded.is_err() {
            self.end(EndReason::Recorder);
        }
        recorded
    }

    /// Asks for the session's end. The first reason counts.
    pub(crate) fn end(&self, reason: EndReason) {
        self.wanted_end.send_if_modified(|wanted| {
            let first = wanted.is_none();
            if first {
                *wanted = Some(reason);
            }
            first
        });
    }

    /// Ends the session for a fault that its user is told of.
    pub(crate) fn fail(&self, sentence: String) {
        let _ = self.fault.set(text::inert(&sentence, 512));
        self.end(EndReason::Error);
    }

    /// Ends for a threshold are said with their numbers.
    pub(super) fn says_why(&self, end: EndReason, why: &str) {
        let _ = self.fault.set(text::inert(&format!("{} {why}", end.sentence()), 512));
    }

    /// What its user is told when it ends like this.
    pub(crate) fn farewell(&self, end: EndReason) -> &str {
        match (end, self.fault.get()) {
            (EndReason::Error | EndReason::Threshold, Some(fault)) => fault,
            _ => end.sentence(),
        }
    }

    /// Something was started at the target.
    pub(crate) fn started(&self) {
        self.run.fetch_add(1, Ordering::AcqRel);
        self.running.send_modify(|running| *running += 1);
    }

    /// Something that was started was seen to end.
    pub(crate) fn stopped(&self) {
        self.running.send_modify(|running| *running = running.saturating_sub(1));
    }

    /// It was not started after all: the target said so.
    pub(crate) fn not_started(&self) {
        self.run.fetch_sub(1, Ordering::AcqRel);
        self.stopped();
    }

    /// Whether nothing was ever started at the target.
    pub(super) fn has_run_nothing(&self) -> bool {
        self.run.load(Ordering::Acquire) == 0
    }

    /// Whether all that was started was seen to end.
    pub(super) fn has_all_ended(&self) -> bool {
        *self.running.borrow() == 0
    }

    /// Resolves when all that was started was seen to end.
    pub(super) async fn all_ended(&self) {
        // The sender lives as long as this, so it never fails.
        let _ = self.running.subscribe().wait_for(|running| *running == 0).await;
    }

    /// Kills what still runs at the target; whether the target said that nothing is left.
    pub(super) async fn kill_processes(&self) -> bool {
        let running = self.running.subscribe();
        self.target.kill_processes(move || *running.borrow() > 0).await
    }

    /// What a channel that begins only now is told: that the end is near.
    pub(crate) fn warning(&self) -> Option<Arc<str>> {
        lock(&self.warned).clone()
    }

    /// Tells its user something, on every channel that can show it.
    pub(crate) fn tell(&self, text: Arc<str>) {
        self.notices.send_if_modified(|notice| {
            // What was cut stays cut.
            let open = !matches!(notice, Notice::Cut(_));
            if open {
                *notice = Notice::Say(text);
            }
            open
        });
    }

    pub(crate) fn notices(&self) -> watch::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// Counts bytes that were forwarded.
    pub(crate) fn moved(&self, direction: Direction, bytes: usize) {
        match direction {
            Direction::Input => self.traffic.moved_up(bytes as u64),
            Direction::Output | Direction::Gate => self.traffic.moved_down(bytes as u64),
        }
        self.moved_at.store(self.millis(), Ordering::Relaxed);
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Resolves once nothing has moved for the idle time.
    pub(super) async fn idle(&self) {
        let Some(limit) = self.facts.idle else { return std::future::pending().await };
        let limit = limit.as_std();
        loop {
            let since = Duration::from_millis(self.millis().saturating_sub(self.moved_at.load(Ordering::Relaxed)));
            match limit.checked_sub(since) {
                None | Some(Duration::ZERO) => return,
                Some(rest) => tokio::time::sleep(rest).await,
            }
        }
    }
}
