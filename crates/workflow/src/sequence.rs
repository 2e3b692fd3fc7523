//! Carries committed entries into the Merkle tree, signs checkpoints, and publishes them outside the store.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use access::event::{Event, Progress};
use access::reason::{Reason, Refusal};
use evidence::log::checkpoint::SignedCheckpoint;
use evidence::log::publication;
use evidence::log::writer::LogWriter;
use futures::FutureExt as _;
use store::Change;
use tokio_util::sync::CancellationToken;

use crate::gate::{Gate, refused, unavailable};

/// How long an entry may wait for its place in the tree.
const WITHIN: Duration = Duration::from_millis(200);
/// How often at least a checkpoint is signed while there is something new.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// How often the progress of recordings is entered.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// How long it waits after a failure before it tries again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How many entries one batch takes.
const BATCH: u32 = 2_000;

/// The tree's writer. One task at a time holds it; files are written on a blocking thread.
#[derive(Debug)]
pub(crate) struct Sequencer(Arc<Mutex<LogWriter>>);

impl Sequencer {
    /// Takes over the log directory.
    pub(crate) fn new(writer: LogWriter) -> Self {
        Self(Arc::new(Mutex::new(writer)))
    }

    pub(crate) async fn with<T: Send + 'static>(&self, f: impl FnOnce(&mut LogWriter) -> T + Send + 'static) -> Result<T, Refusal> {
        let writer = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || f(&mut writer.lock().unwrap_or_else(PoisonError::into_inner)))
            .await
            .map_err(|_| Refusal::because(Reason::Internal, "the log's writer had a fault"))
    }
}

impl Gate {
    /// Runs until told to stop, then carries over what is left and signs a last checkpoint.
    pub async fn sequence_forever(self: Arc<Self>, stop: CancellationToken) {
        let mut signed: Option<tokio::time::Instant> = None;
        let mut told = tokio::time::Instant::now();
        loop {
            let stopping = tokio::select! {
                () = stop.cancelled() => true,
                () = self.appended.notified() => {
                    // Whoever comes right behind shares the batch.
                    tokio::time::sleep(WITHIN / 10).await;
                    false
                }
                () = tokio::time::sleep(WITHIN) => false,
            };
            if told.elapsed() >= PROGRESS_EVERY {
                told = tokio::time::Instant::now();
                let _told = AssertUnwindSafe(self.enter_progress()).catch_unwind().await;
            }
            // After a failure a checkpoint is tried with each batch, so that what was missed is made up for at once.
            let due = stopping || self.log_trouble().is_some() || signed.is_none_or(|at| at.elapsed() >= CHECKPOINT_EVERY);
            let once = async {
                self.sequence().await?;
                if due {
                    signed = Some(tokio::time::Instant::now());
                    self.checkpoint().await?;
                }
                Ok::<(), Refusal>(())
            };
            // A fault in one batch is trouble like any other: it is told, and the next batch comes all the same.
            let done = AssertUnwindSafe(once).catch_unwind().await;
            let done = done.unwrap_or_else(|_| Err(Refusal::because(Reason::Internal, "a fault of the gate")));
            self.note_log_trouble(done.err());
            if stopping {
                return;
            }
            if self.log_trouble().is_some() {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }

    /// Why entries are not reaching the signed and published log just now; `None`: they are.
    #[must_use]
    pub fn log_trouble(&self) -> Option<String> {
        self.log_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says when trouble begins, changes and ends, and not each time in between.
    fn note_log_trouble(&self, trouble: Option<Refusal>) {
        let now = trouble.map(|refusal| refusal.detail.clone().unwrap_or_else(|| refusal.to_string()));
        let mut known = self.log_trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*known, &now) {
            (before, Some(why)) if before.as_ref() != Some(why) => {
                tracing::error!(%why, "entries are kept, but do not reach the signed log; it is tried again until they do");
            }
            (Some(_), None) => tracing::warn!("entries reach the signed log again"),
            _ => {}
        }
        *known = now;
    }

    /// Whether the store continues what the log on disk, and the newest checkpoint published outside, have promised: a store
    /// that was rolled back or exchanged is noticed here, even if the log's directory was rolled back with it.
    ///
    /// # Errors
    /// If it does not, with what to do.
    pub(crate) async fn refuse_rolled_back_store(&self) -> Result<(), Refusal> {
        while self.store.sequence(BATCH).await.map_err(unavailable)?.len() == BATCH as usize {}
        let count = self.store.sequenced().await.map_err(unavailable)?;
        self.refuse_emptied_log(count).await?;
        self.sequencer.with(move |writer| writer.missing(count)).await?.map(drop).map_err(log_trouble)?;
        let path = self.settings.checkpoints.clone();
        let promised = self.sequencer.with(move |writer| publication::newest(&path, writer.keys())).await?;
        let shown = self.settings.checkpoints.display();
        let promised = promised.map_err(|error| {
            let why = format!(
                "the checkpoints published at `{shown}` cannot be used: {error}; put this log's file back, or, if it belongs to another \
                 gate, name another `checkpoints` under `[audit]`"
            );
            Refusal::because(Reason::Internal, why)
        })?;
        let Some(promised) = promised else {
            if count > 0 {
                tracing::warn!(
                    "no checkpoint is published at `{shown}`, and the log has {count} entries: if the file was taken away, put it back; without it \
                     a log that was rolled back does not show"
                );
            }
            return Ok(());
        };
        let (size, root) = (promised.size(), promised.root());
        let signed = promised.at().map(|at| format!(" (signed {at})")).unwrap_or_default();
        if size > count {
            let why = format!(
                "the store has {count} entries, and the newest checkpoint published at `{shown}` commits to {size}{signed}: the store was \
                 rolled back; restore a newer copy of the store and of `audit/`. If there is none, what lies between is lost: keep that \
                 file for the auditors, and name another `checkpoints` under `[audit]` to go on"
            );
            return Err(Refusal::because(Reason::Internal, why));
        }
        self.sequence().await?;
        let here = self.sequencer.with(move |writer| writer.root_at(size)).await?.map_err(log_trouble)?;
        if here != root {
            let why = format!(
                "the first {size} entries of the store are not those that the checkpoint published at `{shown}`{signed} commits to: the store \
                 was exchanged or rewritten; find out by whom (`tidegate audit verify`), and restore the store and `audit/` from the same moment"
            );
            return Err(Refusal::because(Reason::Internal, why));
        }
        Ok(())
    }

    /// INVARIANT: a log is signed before it has its first entry. So one without any checkpoint, under a store with entries, is one that was
    /// taken away; signing whatever the store says now would turn a forged history into a signed one.
    async fn refuse_emptied_log(&self, count: u64) -> Result<(), Refusal> {
        if self.sequencer.with(|writer| writer.is_signed()).await? {
            return Ok(());
        }
        if count == 0 {
            return self.sign_nothing().await;
        }
        let why = format!(
            "the store has {count} entries, and `audit/` holds no log: it was lost or taken away; restore `audit/` from a copy. If there is \
             none, find out why first: `tidegate serve --rebuild-log` makes a new log of what the store says now, and enters that it did"
        );
        Err(Refusal::because(Reason::Internal, why))
    }

    /// Signs a log that has no entry yet.
    async fn sign_nothing(&self) -> Result<(), Refusal> {
        let now = self.now();
        self.sequencer.with(move |writer| writer.checkpoint(now)).await?.map(drop).map_err(log_trouble)
    }

    /// Makes a new log of what the store says, in the place of one that is gone, and enters that; before [`Gate::start`]. A log that is
    /// there stays as it is.
    ///
    /// # Errors
    /// If it can't be entered or signed.
    pub async fn rebuild_log(&self) -> Result<(), Refusal> {
        let count = self.store.sequenced().await.map_err(unavailable)?;
        if count == 0 || self.sequencer.with(|writer| writer.is_signed()).await? {
            return Ok(());
        }
        let why = format!("the log was gone; it was made anew from {count} entries of the store");
        tracing::warn!("{why}");
        let draft = self.own_draft(Event::LogStarted { node: self.settings.node.clone() }).text("reason", Some(why));
        self.commit(Change::new(draft)).await.map_err(refused)?;
        self.sign_nothing().await
    }

    /// Carries every committed entry into the tree.
    ///
    /// # Errors
    /// If the store or the log directory can't be used, or they differ.
    pub async fn sequence(&self) -> Result<u64, Refusal> {
        while self.store.sequence(BATCH).await.map_err(unavailable)?.len() == BATCH as usize {}
        loop {
            // Where a failed write left the tree half-way, it is taken up again at its newest checkpoint.
            let size = self.sequencer.with(|writer| writer.recover().map(|()| writer.size())).await?.map_err(log_trouble)?;
            let batch = self.store.sequenced_from(size, BATCH).await.map_err(unavailable)?;
            if batch.is_empty() {
                return Ok(size);
            }
            let leaves: Vec<Vec<u8>> = batch.into_iter().map(|entry| entry.leaf).collect();
            self.sequencer.with(move |writer| writer.append_at(size, &leaves)).await?.map_err(log_trouble)?;
        }
    }

    /// Signs a checkpoint over everything committed so far, and publishes it.
    ///
    /// # Errors
    /// If it can't be signed, written or published.
    pub async fn checkpoint(&self) -> Result<SignedCheckpoint, Refusal> {
        let oldest = self.timings.takes();
        let published = self.sign_and_publish().await;
        self.timings.published(oldest, published.is_ok());
        published
    }

    async fn sign_and_publish(&self) -> Result<SignedCheckpoint, Refusal> {
        self.sequence().await?;
        let now = self.now();
        let signed = self.sequencer.with(move |writer| writer.checkpoint(now)).await?.map_err(log_trouble)?;
        let path = self.settings.checkpoints.clone();
        let size = signed.size();
        if self.published.load(Ordering::Relaxed) == size {
            return Ok(signed);
        }
        let publish = signed.clone();
        tokio::task::spawn_blocking(move || publication::publish(&path, &publish))
            .await
            .map_err(|_| Refusal::of(Reason::Internal))?
            .map_err(|error| {
                Refusal::because(
                    Reason::Internal,
                    format!("the checkpoint cannot be published at `{}`: {error}", self.settings.checkpoints.display()),
                )
            })?;
        self.published.store(size, Ordering::Relaxed);
        Ok(signed)
    }

    async fn enter_progress(&self) {
        let recordings: Vec<Progress> = self
            .recorder
            .progress()
            .into_iter()
            .filter_map(|p| Some(Progress { recording: p.recording.parse().ok()?, chunks: p.chunks, digest: hex::encode(p.digest) }))
            .collect();
        for batch in recordings.chunks(400) {
            let event = Event::RecordingProgress { node: self.settings.node.clone(), recordings: batch.to_vec() };
            if let Err(error) = self.commit(Change::new(self.own_draft(event))).await {
                tracing::error!(%error, "the progress of recordings could not be entered; the next entry says more");
            }
        }
    }
}

/// What is wrong with the log's directory, its causes included.
pub(crate) fn log_trouble(error: impl std::error::Error + 'static) -> Refusal {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    Refusal::because(Reason::Internal, why)
}
