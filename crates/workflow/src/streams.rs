//! The log goes outside as it grows, to whoever collects logs: at least once, in order, nothing left out.
//!
//! *Takes* the log's entries in their order and, where that is wanted, what was done in each session when its end is met. *Proves* nothing.
//! *Hands to* a collector batches of lines, and to the store how far it came: only after the collector took them.
//!
//! INVARIANT: nothing waits for a collector. One that is away delays its own stream alone, and gets everything afterwards; sessions and
//! entries do not know that there are streams.

mod feed;
mod send;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use access::reason::Refusal;
use access::time::Span;
use evidence::lines::Form;
use jiff::Timestamp;
use notify::outcome::Outcome;
use notify::stream::Batch;
use notify::webhook::Endpoint;
use policy::{Act, Noun, Object};
use store::StreamRow;
use tokio_util::sync::CancellationToken;

use crate::Caller;
use crate::gate::{Gate, unavailable};
use crate::outbox::KeptSecret;
use crate::sweep::again;
use feed::{Feed, Next, Place};

/// Lines of one batch, and bytes of them, at most; a line that is longer by itself goes alone.
const BATCH: (usize, usize) = (1_000, 1024 * 1024);
/// How often it is looked whether there is more to send.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The first wait after a failure, and the longest.
const WAITS: (Span, Span) = (Span::seconds(1), Span::minutes(5));
/// For so long one node alone sends a stream.
const LEASE: Span = Span::minutes(3);

/// Where a stream goes.
#[derive(Debug, Clone)]
pub enum Sink {
    /// Syslog over TLS.
    Syslog(notify::stream::syslog::Collector),
    /// Standard Webhooks.
    Http {
        /// Where.
        endpoint: Endpoint,
        /// What signs.
        secret: KeptSecret,
    },
    /// S3, and what speaks its protocol.
    S3 {
        /// Where.
        bucket: notify::stream::s3::Bucket,
        /// The secret half of its access key.
        secret: KeptSecret,
    },
    /// OpenTelemetry.
    Otlp {
        /// Where.
        collector: notify::stream::otlp::Collector,
        /// The bearer token, if it wants one.
        token: Option<KeptSecret>,
    },
}

impl Sink {
    /// What it speaks.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Syslog(_) => "syslog",
            Self::Http { .. } => "http",
            Self::S3 { .. } => "s3",
            Self::Otlp { .. } => "otlp",
        }
    }
}

/// A stream, as it is configured.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// In which form lines are.
    pub form: Form,
    /// Whether what was done in sessions goes with it.
    pub activity: bool,
    /// The longest line; what is longer goes in parts.
    pub largest: usize,
    /// How long lines are gathered before a batch is sent that is not full.
    pub every: Span,
    /// Where to.
    pub sink: Sink,
}

/// How a stream stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// How far it came.
    pub row: StreamRow,
    /// What it speaks.
    pub kind: &'static str,
    /// In which form lines are.
    pub form: Form,
    /// Whether what was done in sessions goes with it.
    pub activity: bool,
    /// Entries of the log that wait for it.
    pub waiting: u64,
    /// When the oldest of them happened.
    pub oldest: Option<Timestamp>,
}

/// The streams of a gate, each with who reads for it.
#[derive(Debug, Default)]
pub(crate) struct Streams(OnceLock<Vec<(Stream, tokio::sync::Mutex<Feed>)>>);

impl Gate {
    /// Says where the log goes. Once; a second time changes nothing.
    pub fn serve_streams(&self, streams: Vec<Stream>) {
        let _before = self.streams.0.set(streams.into_iter().map(|stream| (stream, tokio::sync::Mutex::default())).collect());
    }

    /// Sends until told to stop. Each stream by itself, so that none waits for another.
    pub async fn stream_forever(self: Arc<Self>, stop: CancellationToken) {
        let count = self.streams.0.get().map_or(0, Vec::len);
        let senders = (0..count).map(|nth| {
            let gate = Arc::clone(&self);
            tokio::spawn(again(stop.clone(), LOOK_EVERY, "a stream of the log", move || {
                let gate = Arc::clone(&gate);
                async move {
                    if let Some((stream, feed)) = gate.streams.0.get().and_then(|all| all.get(nth)) {
                        gate.send_on(stream, feed).await;
                    }
                }
            }))
        });
        futures::future::join_all(senders.collect::<Vec<_>>()).await;
    }

    /// Sends what there is, on every stream.
    pub async fn stream_all(&self) {
        for (stream, feed) in self.streams.0.get().into_iter().flatten() {
            self.send_on(stream, feed).await;
        }
    }

    /// Sends batch after batch until there is nothing to send, or nobody takes it.
    async fn send_on(&self, stream: &Stream, feed: &tokio::sync::Mutex<Feed>) {
        let mut feed = feed.lock().await;
        loop {
            match self.send_one(stream, &mut feed).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(refusal) => {
                    // Whatever was read and not taken is read again.
                    *feed = Feed::default();
                    let why = refusal.detail.clone().unwrap_or_else(|| refusal.to_string());
                    return self.note_failure(stream, &why, None).await;
                }
            }
        }
    }

    /// Sends one batch; whether there may be more.
    async fn send_one(&self, stream: &Stream, feed: &mut Feed) -> Result<bool, Refusal> {
        let now = self.now();
        let row = self.store.stream(&stream.name).await.map_err(unavailable)?;
        let row = row.unwrap_or_else(|| StreamRow { name: stream.name.clone(), ..StreamRow::default() });
        if row.due_at.is_some_and(|due| due > now) {
            return Ok(false);
        }
        let lease = format!("stream {}", stream.name);
        if !self.store.take_lease(&lease, &self.settings.node, now, LEASE.after(now)).await.map_err(unavailable)? {
            return Ok(false);
        }
        let from = Place::of(&row);
        let Next { lines, first, last, until, full } = self.read_on(stream, feed, &from).await?;
        let Some(oldest) = lines.first().map(|line| line.at) else {
            if until != from {
                // Entries without a line of their own are passed over.
                self.store.move_stream(&row, &until.mark(), until.at(), now).await.map_err(unavailable)?;
            }
            return Ok(false);
        };
        if !full && stream.every > Span::default() && stream.every.after(oldest) > now {
            return Ok(false);
        }
        let batch = Batch { stream: &stream.name, node: &self.settings.node, first, last, now, lines: &lines };
        let (why, after) = match self.put_out(&stream.sink, &batch).await? {
            Outcome::Later { why, after } => (why, after),
            Outcome::Never { why } => (why, None),
            Outcome::Taken(()) => {
                if !self.store.move_stream(&row, &until.mark(), until.at(), self.now()).await.map_err(unavailable)? {
                    tracing::warn!(stream = stream.name, "a stream was moved by somebody else; what was sent here may come twice");
                    *feed = Feed::default();
                    return Ok(false);
                }
                if row.failing_since.is_some() {
                    tracing::info!(stream = stream.name, "a stream goes on");
                }
                feed.taken();
                return Ok(true);
            }
        };
        // Read again when it is tried again: a text that is erased meanwhile does not leave any more.
        *feed = Feed::default();
        self.note_failure(stream, &why, after).await;
        Ok(false)
    }

    /// Keeps that nothing was taken, and when it is tried again: after half the time it fails already, or when the collector says.
    async fn note_failure(&self, stream: &Stream, why: &str, asked: Option<Duration>) {
        let now = self.now();
        let known = self.store.stream(&stream.name).await.ok().flatten();
        let since = known.and_then(|row| row.failing_since);
        if since.is_none() {
            tracing::warn!(stream = stream.name, why, "a stream of the log is not taken; it is tried again until it is");
        }
        let failing = since.map_or(Span::default(), |since| Span::between(since, now));
        let own = Span::seconds(failing.as_seconds() / 2).clamp(WAITS.0, WAITS.1);
        let asked = asked.map_or(Span::default(), |asked| Span::seconds(asked.as_secs()));
        if let Err(error) = self.store.stream_failed(&stream.name, why, now, own.max(asked).after(now)).await {
            tracing::warn!(%error, stream = stream.name, "that a stream fails could not be kept");
        }
    }

    /// How every stream stands, as configured.
    ///
    /// # Errors
    /// If the caller may not see the gate's nodes, or the store can't be read.
    pub async fn streams(&self, caller: &Caller) -> Result<Vec<StreamState>, Refusal> {
        self.authorize(caller, Act::Administer(Noun::Node), &Object::Nothing).await?;
        self.stream_states().await
    }

    /// The same, for the gate's own numbers.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn stream_states(&self) -> Result<Vec<StreamState>, Refusal> {
        let Some(all) = self.streams.0.get().filter(|all| !all.is_empty()) else { return Ok(Vec::new()) };
        let rows = self.store.streams().await.map_err(unavailable)?;
        let placed = self.store.sequenced().await.map_err(unavailable)?;
        let mut states = Vec::with_capacity(all.len());
        for (stream, _) in all {
            let found = rows.iter().find(|row| row.name == stream.name).cloned();
            let row = found.unwrap_or_else(|| StreamRow { name: stream.name.clone(), ..StreamRow::default() });
            let waiting = placed.saturating_sub(row.next);
            let oldest = match waiting {
                0 => None,
                _ => self.store.entries_from(row.next, 1).await.map_err(unavailable)?.first().map(|logged| logged.entry.at),
            };
            states.push(StreamState { row, kind: stream.sink.kind(), form: stream.form, activity: stream.activity, waiting, oldest });
        }
        Ok(states)
    }
}
