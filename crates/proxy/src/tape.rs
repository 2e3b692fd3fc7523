//! Record first, forward second: what a relay hands over before it forwards anything.

use async_trait::async_trait;
use evidence::recording::{Frame, RecordingHandle};

use access::session::EndReason;

/// The channel number of frames that concern the whole session.
pub const WHOLE_SESSION: u32 = u32::MAX;

/// Where the frames of one session go: a [`RecordingHandle`], or whatever stands before one.
#[async_trait]
pub trait Tape: std::fmt::Debug + Send + Sync {
    /// Takes one frame. Returns when the frame is in the recorder's bounded queue (or, where the tier says so, on disk); a slow
    /// recorder makes the relay wait. A call that is dropped half-way may have recorded the frame; it is not forwarded then.
    ///
    /// # Errors
    /// The recorder has failed. The session ends with [`EndReason::Recorder`].
    async fn record(&self, frame: Frame) -> Result<(), TapeFailed>;

    /// Shows a frame to those who watch live, and keeps nothing of it.
    fn show(&self, frame: Frame);

    /// Resolves when the recorder has failed, and never otherwise.
    async fn failed(&self);

    /// Closes the recording, `at_us` microseconds after it began: the number of its whole chunks and the digest that closes their chain,
    /// hex; `None` if it could not be closed.
    async fn close(&self, end: EndReason, at_us: u64) -> Option<(u64, String)>;
}

/// The recorder can take nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the recorder has failed; look for a full or unwritable recordings directory")]
pub struct TapeFailed;

#[async_trait]
impl Tape for RecordingHandle {
    async fn record(&self, frame: Frame) -> Result<(), TapeFailed> {
        RecordingHandle::record(self, frame).await.map_err(|failure| {
            tracing::error!(%failure, "a session can no longer be recorded");
            TapeFailed
        })
    }

    fn show(&self, frame: Frame) {
        RecordingHandle::show(self, &frame);
    }

    async fn failed(&self) {
        RecordingHandle::failed(self).await;
    }

    async fn close(&self, end: EndReason, at_us: u64) -> Option<(u64, String)> {
        match RecordingHandle::close(self, end.code(), at_us).await {
            Ok(closed) => Some((closed.chunks, crate::hex(&closed.digest))),
            Err(failure) => {
                tracing::error!(%failure, "a recording stays unclosed");
                None
            }
        }
    }
}
