//! A recorder that keeps frames in memory, and fails where a test says.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use access::session::EndReason;
use async_trait::async_trait;
use evidence::recording::{Frame, FrameKind};
use tidegate_proxy::tape::{Tape, TapeFailed};
use tokio::sync::Notify;

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

#[derive(Debug)]
pub(crate) struct MemoryTape {
    pub(crate) frames: Arc<Mutex<Vec<Frame>>>,
    /// Told of each frame that is kept.
    pub(crate) recorded_more: Arc<Notify>,
    /// Whether it keeps more than activities.
    pub(crate) keep: bool,
    pub(crate) broken: Arc<AtomicBool>,
    pub(crate) failed: Arc<Notify>,
    pub(crate) fault: TapeFault,
    pub(crate) closed: Arc<AtomicUsize>,
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
            self.recorded_more.notify_waiters();
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
