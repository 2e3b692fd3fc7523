//! The session: from an opening to both sides closed.
//!
//! One task holds the permit's watch and both directions of the relay; whichever ends first ends the session.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use access::reason::{Reason, Refusal};
use access::rights::{DatabaseRights, Rights};
use access::session::{ClosedSession, Dial, EndReason, DatabaseDial, SessionFacts, Standing};
use access::verdict::RecordLevel;
use bytes::Bytes;
use evidence::recording::{Direction, Frame, FrameKind};
use futures::FutureExt;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};
use wire::postgres::back::{Severity, Writer};
use wire::postgres::front;

use super::client::Client;
use super::door::PostgresDoor;
use super::down::Down;
use super::judge::{Judge, Judging};
use super::ledger::Ledger;
use super::parameters::Wanted;
use super::relay::Stopped;
use super::target::{self, Call, Target};
use super::up::Up;
use crate::gatekeeper::{Denied, Gatekeeper, Opening, PermitWatch};
use crate::ssh::text::{inert, inert_bytes};
use crate::tape::{Tape, TapeFailed, WHOLE_SESSION};

/// How long the client may take to read why it was cut.
const CLIENT_READS: Duration = Duration::from_millis(400);
/// How long a server may take to close after its statement was cancelled, and once more after its process was ended.
const TARGET_CLOSES: Duration = Duration::from_millis(600);
/// Notices that wait to be shown.
const NOTICES: usize = 16;

/// A live session, as both directions share it.
pub(crate) struct Live {
    facts: SessionFacts,
    gate: Arc<dyn Gatekeeper>,
    tape: Box<dyn Tape>,
    started: Instant,
    ledger: Mutex<Ledger>,
    room: Notify,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
    /// Milliseconds since `started` at which something last moved.
    moved_at: AtomicU64,
}

impl Live {
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is due to be recorded about answers.
    pub(crate) fn take_due(&self) -> Vec<String> {
        std::mem::take(&mut self.ledger().due)
    }

    /// Waits until the server has answered enough for more to be asked.
    pub(crate) async fn room(&self) {
        while self.ledger().is_full() {
            self.room.notified().await;
        }
    }

    pub(crate) fn has_room(&self) {
        self.room.notify_one();
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
        self.bytes_up.fetch_add(bytes as u64, Ordering::Relaxed);
        self.moved_at.store(self.millis(), Ordering::Relaxed);
    }

    pub(crate) fn moved_down(&self, bytes: usize) {
        self.bytes_down.fetch_add(bytes as u64, Ordering::Relaxed);
        self.moved_at.store(self.millis(), Ordering::Relaxed);
    }

    /// Tells the audit log that a statement was refused.
    pub(crate) fn refused(&self, text: &[u8], why: &Refusal) {
        let (gate, session) = (self.gate.clone(), self.facts.session);
        let detail = format!("{}: {}", inert(why.detail.as_deref().unwrap_or_default(), 256), inert_bytes(text, 700));
        tokio::spawn(async move { gate.refused(session, Denied { what: "statement", detail }).await });
    }

    /// Resolves once nothing has moved for the idle time.
    async fn idle(&self) {
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

/// Runs a session to its end, and reports it exactly once.
pub(crate) async fn run(door: &Arc<PostgresDoor>, client: Client, opening: Opening, wanted: Wanted, in_lobby: bool) {
    let Opening { permit, watch, tape } = opening;
    let (facts, dial) = permit.spend();
    let live = Live {
        gate: door.gate.clone(),
        tape,
        started: Instant::now(),
        ledger: Mutex::default(),
        room: Notify::new(),
        bytes_up: AtomicU64::new(0),
        bytes_down: AtomicU64::new(0),
        moved_at: AtomicU64::new(0),
        facts,
    };
    let running = Box::pin(live_through(door, &live, client, dial, watch, &wanted, in_lobby));
    let (end, confirmed) = AssertUnwindSafe(running).catch_unwind().await.unwrap_or((EndReason::Error, false));
    let recording = live.tape.close(end, live.micros()).await;
    door.gate
        .ended(ClosedSession {
            session: live.facts.session,
            end,
            confirmed,
            bytes_up: live.bytes_up.load(Ordering::Relaxed),
            bytes_down: live.bytes_down.load(Ordering::Relaxed),
            recording,
        })
        .await;
}

async fn live_through(
    door: &Arc<PostgresDoor>,
    live: &Live,
    mut client: Client,
    dial: Dial,
    mut watch: PermitWatch,
    wanted: &Wanted,
    in_lobby: bool,
) -> (EndReason, bool) {
    let begun = tokio::select! {
        biased;
        end = cut(&mut watch) => Err((end, Refusal::because(ended_reason(end), end.sentence().trim_end_matches('.')))),
        () = live.tape.failed() => Err((EndReason::Recorder, Refusal::of(Reason::RecorderFailed))),
        begun = begin(door, live, dial, wanted) => begun.map_err(|refusal| (EndReason::Target, refusal)),
    };
    let (target, judge) = match begun {
        Ok(begun) => begun,
        Err((end, refusal)) => {
            client.refuse(&refusal).await;
            return (end, true);
        }
    };
    let issued = door.cancels.issue(target.hold.clone(), client.secret_length());
    let announced = client.write(|w| {
        for (name, value) in &target.parameters {
            w.parameter(name, value);
        }
        w.key_data(&issued.key);
        if in_lobby {
            w.command_complete("REQUEST");
        }
        w.ready()
    });
    let announced = announced.await;
    let Client { stream, unread, .. } = client;
    let (client_reader, client_writer) = tokio::io::split(stream);
    let (target_reader, target_writer) = tokio::io::split(target.stream);
    let (say, notices) = mpsc::channel(NOTICES);
    let withheld = judge.withheld();
    let mut up = Up::new(client_reader, unread, target_writer, judge, withheld.shown.is_some());
    let mut down = Down::new(target_reader, target.unread, client_writer, notices, withheld);
    let stopped = if announced.is_err() {
        Stopped::by(EndReason::Client)
    } else {
        tokio::select! {
            biased;
            end = watch_over(live, watch, say) => Stopped::by(end),
            stopped = up.run(live) => stopped,
            stopped = down.run(live) => stopped,
        }
    };
    close(live, &target.hold, up, down, stopped).await
}

/// Dials with the permit.
async fn begin(door: &Arc<PostgresDoor>, live: &Live, dial: Dial, wanted: &Wanted) -> Result<(Target, Box<dyn Judge>), Refusal> {
    let (Dial::Postgres(dial), Rights::Database(rights)) = (dial, &live.facts.rights) else {
        tracing::error!(session = %live.facts.session, "a permit for something else came to the PostgreSQL door");
        return Err(Refusal::of(Reason::Internal));
    };
    let (query, then) = match (door.judge)(&live.facts, rights) {
        Judging::Now(judge) => return Ok((reach(live, dial, rights, wanted, None).await?, judge)),
        Judging::AfterReading { query, then } => (query, then),
    };
    let mut target = reach(live, dial, rights, wanted, Some(&query)).await?;
    let judge = then(&std::mem::take(&mut target.rows))?;
    Ok((target, judge))
}

async fn reach(live: &Live, dial: DatabaseDial, rights: &DatabaseRights, wanted: &Wanted, query: Option<&str>) -> Result<Target, Refusal> {
    let given = wanted.settings(rights)?;
    let application = application_name(&wanted.application, &live.facts.session.to_string());
    let mut settings: Vec<(&str, &str)> = given.iter().map(|(name, value)| (*name, value.as_str())).collect();
    settings.push(("application_name", &application));
    target::dial(dial, Call { database: wanted.database.as_deref(), settings: &settings, query }).await
}

/// What the server is told: the client's own name as far as it fits, and the session's id. PostgreSQL keeps 63 bytes of printable ASCII.
fn application_name(client: &str, session: &str) -> String {
    let mut name: String = client.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(63 - 1 - session.len().min(62)).collect();
    if !name.is_empty() {
        name.push(' ');
    }
    name + session
}

/// Resolves when the permit is gone.
async fn cut(watch: &mut PermitWatch) -> EndReason {
    let mut standing = watch.now();
    loop {
        if let Standing::Cut(end) = standing {
            return end;
        }
        standing = watch.changed().await;
    }
}

/// Why somebody is told that a session ended.
fn ended_reason(end: EndReason) -> Reason {
    match end {
        EndReason::Expired => Reason::GrantExpired,
        EndReason::Revoked => Reason::GrantRevoked,
        EndReason::Withdrawn => Reason::GrantWithdrawn,
        EndReason::Locked => Reason::Locked,
        EndReason::Recorder => Reason::RecorderFailed,
        EndReason::Killed => Reason::SessionKilled,
        EndReason::Lease | EndReason::Node => Reason::Stopping,
        EndReason::Client | EndReason::Target | EndReason::Idle | EndReason::Error => Reason::SessionEnded,
    }
}

/// Waits for whatever of the gate's ends the session, and passes on warnings meanwhile.
async fn watch_over(live: &Live, mut watch: PermitWatch, say: mpsc::Sender<Bytes>) -> EndReason {
    let mut standing = watch.now();
    let mut warned = false;
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
            let mut writer = Writer::default();
            writer.say(Severity::Notice, "01000", &text, None);
            // A client that reads nothing must not hold up the watch.
            let _ = say.try_send(writer.into_bytes().into());
        }
        standing = tokio::select! {
            biased;
            standing = watch.changed() => standing,
            () = live.tape.failed() => return EndReason::Recorder,
            () = live.idle() => return EndReason::Idle,
        };
    }
}

/// A time of day as people read it.
fn clock(at: jiff::Timestamp) -> String {
    at.strftime("%H:%M:%S UTC").to_string()
}

/// Closes both sides; says whether the server was seen to have ended the session. Never waits for a peer longer than a moment.
async fn close(live: &Live, hold: &Arc<target::Hold>, mut up: Up, mut down: Down, stopped: Stopped) -> (EndReason, bool) {
    let Stopped { end, say } = stopped;
    // Whatever has not gone to the server does not go any more; nor what was not recorded to the client.
    let whole = up.to.abandon();
    let unrecorded = down.to.forget_unrecorded();
    let busy = !live.ledger().is_quiet() || !whole;
    let farewell = async {
        // What is out already is only added to between two messages.
        let told = async {
            down.to.flush().await?;
            if !unrecorded && down.to.left == 0 && (end.is_cut() || say.is_some()) {
                let mut writer = Writer::default();
                match &say {
                    Some(refusal) => {
                        let text = super::client::sentence(refusal);
                        writer.say(Severity::Fatal, refusal.reason.sqlstate(), &text, Some(refusal.reason.hint()));
                    }
                    None => {
                        writer.say(Severity::Fatal, "57P01", end.sentence(), Some(ended_reason(end).hint()));
                    }
                }
                down.to.push(writer.into_bytes().into());
                down.to.flush().await?;
            }
            tokio::io::AsyncWriteExt::shutdown(&mut down.to.writer).await
        };
        let _ = timeout(CLIENT_READS, told).await;
    };
    let goodbye = async {
        let leave = async {
            if whole {
                up.to.push(front::message(b'X', &[]).into());
                up.to.flush().await?;
            }
            tokio::io::AsyncWriteExt::shutdown(&mut up.to.writer).await
        };
        let cancel = async {
            if busy {
                hold.cancel().await;
            }
        };
        let (_, ()) = tokio::join!(timeout(CLIENT_READS, leave), cancel);
    };
    let ((), ()) = tokio::join!(farewell, goodbye);
    let mut confirmed = timeout(TARGET_CLOSES, down.drain()).await.unwrap_or(false);
    if !confirmed {
        hold.terminate().await;
        confirmed = timeout(TARGET_CLOSES, down.drain()).await.unwrap_or(false);
    }
    (end, confirmed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_is_named_at_the_server_whatever_the_client_calls_itself() {
        let session = "ses_01hzy3v7k2m9q4r8t6w0x5c1bn";
        assert_eq!(application_name("psql", session), format!("psql {session}"));
        assert_eq!(application_name("", session), session);
        let long = application_name(&"é".repeat(9).to_owned().chars().chain("x".repeat(200).chars()).collect::<String>(), session);
        assert_eq!((long.len(), long.ends_with(session)), (63, true));
    }
}
