//! Carries committed entries into the Merkle tree, signs checkpoints, and publishes them outside the store.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use access::event::{Event, Progress};
use access::reason::{Reason, Refusal};
use evidence::log::checkpoint::SignedCheckpoint;
use evidence::log::publication;
use evidence::log::writer::LogWriter;
use store::Change;
use tokio_util::sync::CancellationToken;

use crate::gate::{Gate, unavailable};

/// How long an entry may wait for its place in the tree.
const WITHIN: Duration = Duration::from_millis(200);
/// How often at least a checkpoint is signed while there is something new.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// How often the progress of recordings is entered.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
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

    async fn with<T: Send + 'static>(&self, f: impl FnOnce(&mut LogWriter) -> T + Send + 'static) -> Result<T, Refusal> {
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
                self.enter_progress().await;
            }
            match self.sequence().await {
                Ok(_) => {}
                Err(refusal) => tracing::error!(%refusal, "entries wait for their place in the log"),
            }
            if stopping || signed.is_none_or(|at| at.elapsed() >= CHECKPOINT_EVERY) {
                signed = Some(tokio::time::Instant::now());
                if let Err(refusal) = self.checkpoint().await {
                    tracing::error!(%refusal, "no checkpoint could be signed");
                }
            }
            if stopping {
                return;
            }
        }
    }

    /// Whether the log on disk is no longer than the store: a store that was rolled back is noticed here.
    ///
    /// # Errors
    /// If it is longer.
    pub(crate) async fn refuse_rolled_back_store(&self) -> Result<(), Refusal> {
        while !self.store.sequence(BATCH).await.map_err(unavailable)?.is_empty() {}
        let count = self.store.sequenced().await.map_err(unavailable)?;
        self.sequencer.with(move |writer| writer.missing(count)).await?.map(drop).map_err(log_trouble)
    }

    /// Carries every committed entry into the tree.
    ///
    /// # Errors
    /// If the store or the log directory can't be used, or they differ.
    pub async fn sequence(&self) -> Result<u64, Refusal> {
        while !self.store.sequence(BATCH).await.map_err(unavailable)?.is_empty() {}
        loop {
            let size = self.sequencer.with(|writer| writer.size()).await?;
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

fn log_trouble(error: impl std::error::Error + 'static) -> Refusal {
    tracing::error!(error = &error as &dyn std::error::Error, "the log directory cannot be written");
    Refusal::because(Reason::Internal, error.to_string())
}
