//! What a session and its recorder worker share: the frames that are not written yet, and how the writing goes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Semaphore, broadcast, watch};

use super::chunk::{LONGEST_RAW, Stream};
use super::frame::{Frame, Piece};
use super::handle::{ClosedRecording, RecorderFailure};
use super::pool::{Durability, Progress};
use super::sink::Sink;
use super::worker::Queue;

/// Locks, whatever became of the last holder: what a panic left behind is judged by who reads it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Frames of one stream on their way into one chunk.
#[derive(Default)]
pub(crate) struct Filling {
    pub(crate) raw: Vec<u8>,
    pub(crate) frames: u32,
    pub(crate) first_at_us: u64,
    /// What these frames took from the budget.
    pub(crate) cost: usize,
}

/// How the writing of one recording goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// Why it cannot go on.
    pub(crate) failed: Option<RecorderFailure>,
    /// Frames up to here are on the disk.
    pub(crate) synced: u64,
    /// What came of closing it.
    pub(crate) closed: Option<ClosedRecording>,
}

/// Frames not written yet, and what else the worker is to do.
#[derive(Default)]
pub(crate) struct Pending {
    output: Filling,
    input: Filling,
    full: VecDeque<(Stream, Filling)>,
    accepted: u64,
    activities: u32,
    /// Whether the worker has been told to come at once, or by and by.
    pub(crate) called_now: bool,
    pub(crate) called_later: bool,
    closing: Option<(String, u64)>,
    closed: bool,
    pub(crate) live: Option<broadcast::Sender<Frame>>,
}

/// What the worker takes to write.
pub(crate) struct Batch {
    pub(crate) chunks: VecDeque<(Stream, Filling)>,
    pub(crate) accepted: u64,
    pub(crate) closing: Option<(String, u64)>,
}

/// One recording, as its session and its worker see it.
pub(crate) struct Shared {
    pub(crate) id: String,
    pub(crate) durability: Durability,
    pub(crate) budget: Semaphore,
    pub(crate) pending: Mutex<Pending>,
    pub(crate) sink: Mutex<Sink>,
    pub(crate) progress: Mutex<Progress>,
    pub(crate) standing: watch::Sender<Standing>,
    pub(crate) queue: Arc<Queue>,
}

/// When the worker is to come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Now,
    Later,
}

impl Shared {
    /// Puts one piece into its stream's chunk; the number of this frame and whether anybody watches, or `None` if the
    /// recording is closed.
    pub(crate) fn accept(self: &Arc<Self>, piece: Piece<'_>, typed: bool, cost: usize) -> Option<(u64, bool)> {
        let mut pending = lock(&self.pending);
        if pending.closed {
            return None;
        }
        let stream = if typed { Stream::Input } else { Stream::Output };
        let mut call = if self.durability == Durability::Sync { Call::Now } else { Call::Later };
        let filling = pending.filling(stream);
        if filling.raw.len() + piece.encoded_len() > LONGEST_RAW {
            let full = std::mem::take(filling);
            pending.full.push_back((stream, full));
            call = Call::Now;
        }
        let filling = pending.filling(stream);
        if filling.frames == 0 {
            filling.first_at_us = piece.at_us;
        }
        // Under load chunks fill: take the whole room at once instead of growing into it.
        if piece.bytes.len() >= 4096 && filling.raw.capacity() < LONGEST_RAW {
            filling.raw.reserve_exact(LONGEST_RAW - filling.raw.len());
        }
        piece.encode(&mut filling.raw);
        filling.frames += 1;
        filling.cost += cost;
        pending.accepted += 1;
        let number = pending.accepted;
        self.call(&mut pending, call);
        Some((number, pending.live.is_some()))
    }

    /// Passes a frame on to those who watch.
    pub(crate) fn show(&self, frame: &Frame) {
        let mut pending = lock(&self.pending);
        if let Some(live) = &pending.live
            && live.send(frame.clone()).is_err()
        {
            pending.live = None;
        }
    }

    /// A number for an activity that needs several frames.
    pub(crate) fn next_activity(&self) -> u32 {
        let mut pending = lock(&self.pending);
        pending.activities = pending.activities.wrapping_add(1);
        pending.activities
    }

    /// Tells the worker to come, unless it already knows.
    pub(crate) fn call(self: &Arc<Self>, pending: &mut Pending, call: Call) {
        match call {
            Call::Now if !pending.called_now => {
                pending.called_now = true;
                self.queue.now(self);
            }
            Call::Later if !pending.called_now && !pending.called_later => {
                pending.called_later = true;
                self.queue.later(self, Instant::now());
            }
            _ => {}
        }
    }

    /// Asks the worker to write everything at once.
    pub(crate) fn hurry(self: &Arc<Self>) {
        self.call(&mut lock(&self.pending), Call::Now);
    }

    /// Asks the worker to write the rest and, with a reason, the closing chunk. Later calls change nothing.
    pub(crate) fn end(self: &Arc<Self>, closing: Option<(String, u64)>) {
        let mut pending = lock(&self.pending);
        if pending.closed {
            return;
        }
        pending.closed = true;
        pending.live = None;
        pending.closing = closing;
        self.call(&mut pending, Call::Now);
    }

    /// Everything that is to be written, for a worker that came by this call.
    pub(crate) fn take(&self, call: Call) -> Batch {
        let mut pending = lock(&self.pending);
        match call {
            Call::Now => pending.called_now = false,
            Call::Later => pending.called_later = false,
        }
        let mut chunks = std::mem::take(&mut pending.full);
        let (output, input) = (std::mem::take(&mut pending.output), std::mem::take(&mut pending.input));
        let mut rest = [(Stream::Output, output), (Stream::Input, input)];
        rest.sort_by_key(|(_, filling)| filling.first_at_us);
        chunks.extend(rest.into_iter().filter(|(_, filling)| filling.frames > 0));
        Batch { chunks, accepted: pending.accepted, closing: pending.closing.take() }
    }

    /// Says that nothing can be recorded any more, and why; the session ends by it.
    pub(crate) fn fail(&self, reason: String) {
        let mut pending = lock(&self.pending);
        pending.full = VecDeque::new();
        pending.output = Filling::default();
        pending.input = Filling::default();
        pending.closed = true;
        // What is not all there is never closed as if it were.
        pending.closing = None;
        pending.live = None;
        drop(pending);
        let failure = RecorderFailure { recording: self.id.clone(), reason };
        self.standing.send_modify(|standing| {
            standing.failed.get_or_insert(failure);
        });
        self.budget.close();
    }
}

impl Pending {
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    fn filling(&mut self, stream: Stream) -> &mut Filling {
        if stream == Stream::Input { &mut self.input } else { &mut self.output }
    }
}
