//! What is kept of one channel: which of its bytes are recorded, which are digested, and what is said when it closes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use access::rights::SftpRights;
use bytes::Bytes;
use evidence::recording::{Direction, FrameKind};
use russh::{ChannelWriteHalf, client, server};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::live::Live;
use super::session::lock;
use super::sftp::{OFTEN, Observer, SELDOM};
use super::stage::Stage;
use crate::tape::TapeFailed;

/// How much of a stream that carries files is recorded, beside its digest.
const BEGINNING: u64 = 64 * 1024;

/// One of the byte streams of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// What the client sends.
    In,
    /// What the target sends.
    Out,
    /// What the target sends as extended data: standard error.
    Err,
}

impl Stream {
    /// How a recording calls it. What a client sends is sealed apart.
    fn framed(self) -> (Direction, FrameKind) {
        match self {
            Self::In => (Direction::Input, FrameKind::Bytes),
            Self::Out => (Direction::Output, FrameKind::Bytes),
            Self::Err => (Direction::Output, FrameKind::Stderr),
        }
    }
}

/// Nothing more may be forwarded: the recorder failed, or the stream can't be understood. The session is ending already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

impl From<TapeFailed> for Stopped {
    fn from(_: TapeFailed) -> Self {
        Self
    }
}

/// What comes of some bytes once they are recorded.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// To be forwarded.
    pub(crate) on: Vec<Bytes>,
    /// To be sent back to where they came from.
    pub(crate) back: Vec<Bytes>,
}

impl Passed {
    fn all(bytes: Bytes) -> Self {
        Self { on: vec![bytes], back: Vec::new() }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.close_stage();
    }
}

/// What a channel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cargo {
    /// A terminal: content is what is shown and typed.
    Terminal,
    /// A shell or command without a terminal: content and digests.
    Command,
    /// A file transfer program: digests, and the content of all but the stream that carries the files, of which the beginning.
    Transfer {
        /// Which stream does.
        files: Stream,
    },
    /// The sftp subsystem: operations.
    Sftp(SftpRights),
    /// A forwarded connection: byte counts.
    Forward,
}

/// What passes and leaves nothing in the recording.
#[derive(Debug)]
struct Unrecorded {
    /// Bytes since it was last told of.
    bytes: AtomicU64,
    /// When that was, in microseconds since the session began.
    told_at_us: AtomicU64,
}

impl Unrecorded {
    fn new(at_us: u64) -> Self {
        Self { bytes: AtomicU64::new(0), told_at_us: AtomicU64::new(at_us) }
    }

    /// Counts so many more; whether it is time to tell of them.
    fn passed(&self, bytes: usize, at_us: u64) -> bool {
        let bytes = bytes as u64;
        let due = self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) >= OFTEN
            || at_us.saturating_sub(self.told_at_us.load(Ordering::Relaxed)) >= SELDOM;
        if due {
            self.bytes.store(0, Ordering::Relaxed);
            self.told_at_us.store(at_us, Ordering::Relaxed);
        }
        due
    }
}

struct Tally {
    bytes: u64,
    digest: Option<Sha256>,
}

impl Tally {
    fn new(digested: bool) -> Mutex<Self> {
        Mutex::new(Self { bytes: 0, digest: digested.then(Sha256::new) })
    }

    fn report(&self) -> Value {
        match &self.digest {
            Some(digest) => json!({"bytes": self.bytes, "sha256": crate::hex(&digest.clone().finalize())}),
            None => json!({"bytes": self.bytes}),
        }
    }
}

/// One channel as it is recorded.
pub(crate) struct Lane {
    pub(crate) number: u32,
    pub(crate) client: server::Handle,
    cargo: Cargo,
    keeps_content: bool,
    tallies: [Mutex<Tally>; 3],
    unrecorded: Unrecorded,
    sftp: Option<Mutex<Observer>>,
    exit: Mutex<Value>,
    /// A terminal that runs, which others may join.
    stage: OnceLock<Arc<Stage>>,
}

impl Lane {
    pub(crate) fn new(number: u32, cargo: Cargo, live: &Live, client: server::Handle) -> Self {
        let digested = matches!(cargo, Cargo::Command | Cargo::Transfer { .. });
        Self {
            number,
            client,
            cargo,
            keeps_content: live.keeps_content(),
            tallies: [Tally::new(digested), Tally::new(digested), Tally::new(digested)],
            unrecorded: Unrecorded::new(live.micros()),
            sftp: match cargo {
                Cargo::Sftp(rights) => Some(Mutex::new(Observer::new(rights == SftpRights::Write))),
                _ => None,
            },
            exit: Mutex::new(Value::Null),
            stage: OnceLock::new(),
        }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.cargo == Cargo::Terminal
    }

    pub(crate) fn has_error_stream(&self) -> bool {
        self.cargo != Cargo::Forward
    }

    /// Lets others join what runs on this channel, if it is a terminal.
    pub(crate) fn set_stage(&self, live: &Live, target: &Arc<ChannelWriteHalf<client::Msg>>) {
        if self.is_terminal() {
            let stage = Stage::new(target.clone());
            live.stages.add(stage.clone());
            let _ = self.stage.set(stage);
        }
    }

    /// Nobody joins its terminal any more; who did is told so.
    pub(crate) fn close_stage(&self) {
        if let Some(stage) = self.stage.get() {
            stage.close();
        }
    }

    pub(crate) fn stage(&self) -> Option<&Stage> {
        self.stage.get().map(|stage| &**stage)
    }

    fn tally(&self, stream: Stream) -> &Mutex<Tally> {
        let [input, output, error] = &self.tallies;
        match stream {
            Stream::In => input,
            Stream::Out => output,
            Stream::Err => error,
        }
    }

    /// What is content of bytes that come after so many others.
    ///
    /// What is called like a file transfer program is whatever the target's shell finds by that name. So of a dialogue with something else
    /// at least one side is kept, and how the other began.
    fn content(&self, stream: Stream, before: u64, bytes: &Bytes) -> Option<Bytes> {
        match self.cargo {
            Cargo::Terminal | Cargo::Command => Some(bytes.clone()),
            Cargo::Transfer { files } if files == stream => {
                let left = usize::try_from(BEGINNING.saturating_sub(before)).unwrap_or(0).min(bytes.len());
                (left > 0).then(|| bytes.slice(..left))
            }
            Cargo::Transfer { .. } => Some(bytes.clone()),
            // Not SFTP, and shown to whoever transfers.
            Cargo::Sftp(_) if stream == Stream::Err => Some(bytes.clone()),
            Cargo::Sftp(_) | Cargo::Forward => None,
        }
    }

    /// Records content; where the tier keeps none, what is shown is passed on to those who watch.
    async fn keep(&self, live: &Live, stream: Stream, bytes: Bytes) -> Result<(), Stopped> {
        let (direction, kind) = stream.framed();
        if self.keeps_content {
            live.record(self.number, direction, kind, bytes).await?;
        } else if direction == Direction::Output {
            live.show(self.number, kind, bytes);
        }
        Ok(())
    }

    /// Records bytes as they arrive; says what to do with them then.
    pub(crate) async fn take(&self, live: &Live, stream: Stream, bytes: Bytes) -> Result<Passed, Stopped> {
        let before = {
            let mut tally = lock(self.tally(stream));
            let before = tally.bytes;
            tally.bytes += bytes.len() as u64;
            if let Some(digest) = &mut tally.digest {
                digest.update(&bytes);
            }
            before
        };
        let mut recorded = 0;
        if let Some(content) = self.content(stream, before, &bytes) {
            recorded = if self.keeps_content { content.len() } else { 0 };
            self.keep(live, stream, content).await?;
        }
        match (&self.sftp, stream) {
            (Some(observer), Stream::In | Stream::Out) => self.observe(live, observer, stream, bytes).await,
            _ => {
                // A recording that can no longer be written is noticed by what is written to it, and by nothing else.
                if recorded < bytes.len() && self.unrecorded.passed(bytes.len() - recorded, live.micros()) {
                    self.under_way(live).await?;
                }
                Ok(Passed::all(bytes))
            }
        }
    }

    /// Records how far it has come.
    async fn under_way(&self, live: &Live) -> Result<(), Stopped> {
        let [input, output, error] = self.tallies.each_ref().map(|tally| json!({"bytes": lock(tally).bytes}));
        let so_far = json!({"kind": "channel.under_way", "in": input, "out": output, "err": error});
        Ok(live.note(self.number, so_far).await?)
    }

    async fn observe(&self, live: &Live, observer: &Mutex<Observer>, stream: Stream, bytes: Bytes) -> Result<Passed, Stopped> {
        let (seen, under_way) = {
            let mut observer = lock(observer);
            let seen = match stream {
                Stream::In => observer.up(bytes),
                Stream::Out | Stream::Err => observer.down(bytes),
            };
            (seen, observer.under_way(live.micros()))
        };
        match seen {
            Ok(seen) => {
                for operation in seen.operations.into_iter().chain(under_way) {
                    live.note(self.number, operation).await?;
                }
                Ok(Passed { on: seen.on, back: seen.back })
            }
            Err(nonsense) => {
                live.note(self.number, json!({"kind": "sftp.unreadable", "why": nonsense.to_string()})).await?;
                live.fail(format!(
                    "This session was closed, since what passed on a file transfer was not SFTP as it can be recorded: {nonsense}."
                ));
                Err(Stopped)
            }
        }
    }

    /// A reply of the gate's own to the client, to stand between two packets of the target.
    pub(crate) fn inject(&self, reply: Bytes) -> Vec<Bytes> {
        match &self.sftp {
            Some(observer) => lock(observer).inject(reply),
            None => vec![reply],
        }
    }

    /// Records what the gate itself shows.
    pub(crate) async fn shown(&self, live: &Live, stream: Stream, bytes: Bytes) -> Result<(), Stopped> {
        match self.cargo {
            Cargo::Forward => Ok(()),
            _ => self.keep(live, stream, bytes).await,
        }
    }

    /// The terminal has a new size.
    pub(crate) async fn resized(&self, live: &Live, columns: u32, rows: u32) -> Result<(), Stopped> {
        if self.is_terminal() {
            live.record_size(self.number, columns, rows).await?;
        }
        Ok(())
    }

    /// How the target's process ended. A target says so once; what it says later counts for nothing.
    pub(crate) fn exited(&self, live: &Live, how: Value) {
        let mut exit = lock(&self.exit);
        if exit.is_null() {
            *exit = how;
            if self.cargo != Cargo::Forward {
                live.stopped();
            }
        }
    }

    /// Whether something runs on it of which is not known yet how it ended.
    pub(crate) fn waits_for_exit(&self) -> bool {
        self.cargo != Cargo::Forward && lock(&self.exit).is_null()
    }

    /// Records that the channel is closed and what passed through it.
    pub(crate) async fn closed(&self, live: &Live) -> Result<(), Stopped> {
        let left_open = self.sftp.as_ref().map(|observer| lock(observer).finish()).unwrap_or_default();
        for operation in left_open {
            live.note(self.number, operation).await?;
        }
        let [input, output, error] = &self.tallies;
        let closed = json!({
            "kind": "channel.closed",
            "exit": lock(&self.exit).clone(),
            "in": lock(input).report(),
            "out": lock(output).report(),
            "err": lock(error).report(),
        });
        Ok(live.note(self.number, closed).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_recorded_is_told_of_now_and_then() {
        let unrecorded = Unrecorded::new(5);
        let packet = 32 * 1024;
        let told = (0..3 * OFTEN / packet).filter(|_| unrecorded.passed(packet as usize, 6)).count();
        assert_eq!(told, 3, "each 64 MiB, however fast");
        assert!(!unrecorded.passed(1, 5 + SELDOM), "it was told of since");
        assert!(unrecorded.passed(1, 6 + SELDOM) && !unrecorded.passed(1, 7 + SELDOM));
    }
}
