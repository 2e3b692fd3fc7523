//! A session's end of its recording.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::TryAcquireError;

use super::frame::{FRAME_HEAD, Frame, FrameKind, LONGEST_PIECE, PIECE_HEAD, Piece};
use super::pool::Durability;
use super::shared::{Shared, lock};

/// A recording can no longer be written: the session ends by it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot go on recording `{recording}`: {reason}")]
pub struct RecorderFailure {
    /// The recording.
    pub recording: String,
    /// Why.
    pub reason: String,
}

/// What a closed recording is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedRecording {
    /// How many chunks it has, the closing one included.
    pub chunks: u64,
    /// The chain after them.
    pub digest: [u8; 32],
    /// How long the file is.
    pub bytes: u64,
}

/// A live recording. Dropped without [`RecordingHandle::close`], what was recorded is written and the file stays
/// unclosed, which readers report.
pub struct RecordingHandle {
    shared: Arc<Shared>,
    budget: usize,
    header: [u8; 32],
    live: Arc<Mutex<HashMap<String, Weak<Shared>>>>,
}

impl std::fmt::Debug for RecordingHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RecordingHandle({})", self.shared.id)
    }
}

impl RecordingHandle {
    pub(crate) fn new(shared: Arc<Shared>, budget: usize, header: [u8; 32], live: Arc<Mutex<HashMap<String, Weak<Shared>>>>) -> Self {
        Self { shared, budget, header, live }
    }

    /// SHA-256 over the header, where the recording's chain starts: who, what, and to whom its keys are wrapped.
    #[must_use]
    pub fn header_digest(&self) -> [u8; 32] {
        self.header
    }

    /// The recording's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// Records a frame. Returns when it may be forwarded: at once while there is room, later when the recorder is slow,
    /// and with [`Durability::Sync`] when it is on the disk.
    ///
    /// Bytes longer than 32 KiB are recorded, and read back, as several frames; an activity always as one.
    ///
    /// A call that is dropped half-way has recorded nothing, or the first parts of a long frame; it must then not be
    /// forwarded.
    ///
    /// # Errors
    /// When nothing can be recorded any more; the session must end.
    pub async fn record(&self, frame: Frame) -> Result<(), RecorderFailure> {
        let typed = frame.is_typed();
        let long = frame.bytes.len() > LONGEST_PIECE;
        let activity = (long && frame.kind == FrameKind::Activity).then(|| self.shared.next_activity());
        let mut rest = &frame.bytes[..];
        let (number, watched) = loop {
            let (now, later) = rest.split_at(rest.len().min(LONGEST_PIECE));
            let piece = Piece {
                at_us: frame.at_us,
                channel: frame.channel,
                direction: frame.direction,
                kind: frame.kind,
                part: activity.map(|activity| (activity, later.is_empty())),
                bytes: now,
            };
            let cost = now.len() + FRAME_HEAD + PIECE_HEAD;
            self.wait_for_room(cost).await?;
            let accepted = self.shared.accept(piece, typed, cost).ok_or_else(|| self.failure())?;
            rest = later;
            if rest.is_empty() {
                break accepted;
            }
        };
        if watched {
            self.shared.show(&frame);
        }
        match self.shared.durability {
            Durability::Sync => self.wait_for_disk(number).await,
            Durability::Flush => Ok(()),
        }
    }

    /// Shows a frame to those who watch, and keeps nothing of it: what the tier does not record is seen live all the same.
    pub fn show(&self, frame: &Frame) {
        self.shared.show(frame);
    }

    async fn wait_for_room(&self, cost: usize) -> Result<(), RecorderFailure> {
        // INVARIANT: a piece is far smaller than the smallest budget, so waiting for it always ends.
        let permits = u32::try_from(cost.min(self.budget)).unwrap_or(u32::MAX);
        match self.shared.budget.try_acquire_many(permits) {
            Ok(permit) => permit.forget(),
            Err(TryAcquireError::Closed) => return Err(self.failure()),
            Err(TryAcquireError::NoPermits) => {
                self.shared.hurry();
                match self.shared.budget.acquire_many(permits).await {
                    Ok(permit) => permit.forget(),
                    Err(_) => return Err(self.failure()),
                }
            }
        }
        Ok(())
    }

    async fn wait_for_disk(&self, number: u64) -> Result<(), RecorderFailure> {
        let mut standing = self.shared.standing.subscribe();
        let reached = standing.wait_for(|s| s.failed.is_some() || s.synced >= number).await;
        match reached {
            Ok(standing) if standing.failed.is_none() => Ok(()),
            _ => Err(self.failure()),
        }
    }

    /// Why nothing can be recorded: what failed, or that it was closed.
    fn failure(&self) -> RecorderFailure {
        self.shared
            .standing
            .borrow()
            .failed
            .clone()
            .unwrap_or_else(|| RecorderFailure { recording: self.shared.id.clone(), reason: "it was closed".into() })
    }

    /// Resolves when nothing can be recorded any more because writing failed; never otherwise.
    pub async fn failed(&self) -> RecorderFailure {
        let mut standing = self.shared.standing.subscribe();
        let failed = standing.wait_for(|s| s.failed.is_some()).await.ok().and_then(|s| s.failed.clone());
        match failed {
            Some(failure) => failure,
            // The sender lives as long as this handle, so this is never reached.
            None => std::future::pending().await,
        }
    }

    /// Writes the rest and the closing chunk, and forces the file to the disk. `at_us` is when the session ended, in
    /// microseconds since the recording started. A second call tells what came of the first.
    ///
    /// # Errors
    /// When that cannot be written; the file is then valid to its last whole chunk.
    pub async fn close(&self, reason: &str, at_us: u64) -> Result<ClosedRecording, RecorderFailure> {
        self.shared.end(Some((reason.to_owned(), at_us)));
        let mut standing = self.shared.standing.subscribe();
        let ended = standing.wait_for(|s| s.failed.is_some() || s.closed.is_some()).await;
        match ended.ok().map(|s| s.clone()) {
            Some(s) => match (s.closed, s.failed) {
                (Some(closed), _) => Ok(closed),
                (None, Some(failure)) => Err(failure),
                (None, None) => Err(self.failure()),
            },
            None => Err(self.failure()),
        }
    }
}

impl Drop for RecordingHandle {
    fn drop(&mut self) {
        lock(&self.live).remove(&self.shared.id);
        self.shared.end(None);
    }
}

#[cfg(test)]
impl RecordingHandle {
    /// From now on the disk is full.
    pub(crate) fn break_for_test(&self) {
        lock(&self.shared.sink).break_for_test();
    }
}
