//! Watching a session while it lives. A watcher who cannot keep up is dropped with a notice; the session never waits.

use tokio::sync::broadcast::{self, error::RecvError};

use super::frame::Frame;

/// What a watcher may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// Output and activity.
    Output,
    /// What is typed, too.
    WithInput,
}

/// What a watcher is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveEvent {
    /// Something passed.
    Frame(Frame),
    /// The watcher was too slow and has missed this many frames; nothing follows.
    FellBehind(u64),
}

/// One watcher's view.
#[derive(Debug)]
pub struct LiveView {
    frames: Option<broadcast::Receiver<Frame>>,
    what: Watched,
}

impl LiveView {
    pub(crate) fn new(frames: broadcast::Receiver<Frame>, what: Watched) -> Self {
        Self { frames: Some(frames), what }
    }

    /// What passes next; `None` when the recording has ended or the watcher was dropped.
    pub async fn next(&mut self) -> Option<LiveEvent> {
        loop {
            match self.frames.as_mut()?.recv().await {
                Ok(frame) if frame.is_typed() && self.what == Watched::Output => {}
                Ok(frame) => return Some(LiveEvent::Frame(frame)),
                Err(RecvError::Lagged(missed)) => {
                    self.frames = None;
                    return Some(LiveEvent::FellBehind(missed));
                }
                Err(RecvError::Closed) => self.frames = None,
            }
        }
    }
}
