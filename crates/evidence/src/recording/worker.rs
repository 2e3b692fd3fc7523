//! The threads that compress, seal and write. Each owns one compression context and serves many recordings.

use std::collections::VecDeque;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::handle::ClosedRecording;
use super::pool::Durability;
use super::shared::{Call, Shared, lock};
use super::sink::{SinkError, Tools};

/// How long frames may stand in memory; writing them adds to it, and together that stays under a second.
const FLUSH_AFTER: Duration = Duration::from_millis(900);
/// From so many files on, one `syncfs` is cheaper than a sync for each.
const MANY_FILES: usize = 8;

/// Recordings that wait for their worker. Each stands here at most twice, so it is no longer than there are recordings.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    woken: Condvar,
}

#[derive(Default)]
struct Waiting {
    now: VecDeque<Arc<Shared>>,
    later: VecDeque<(Instant, Arc<Shared>)>,
    stopping: bool,
}

impl Queue {
    pub(crate) fn now(&self, recording: &Arc<Shared>) {
        lock(&self.waiting).now.push_back(Arc::clone(recording));
        self.woken.notify_one();
    }

    pub(crate) fn later(&self, recording: &Arc<Shared>, since: Instant) {
        let mut waiting = lock(&self.waiting);
        waiting.later.push_back((since + FLUSH_AFTER, Arc::clone(recording)));
        if waiting.later.len() == 1 {
            self.woken.notify_one();
        }
    }

    pub(crate) fn stop(&self) {
        lock(&self.waiting).stopping = true;
        self.woken.notify_one();
    }

    /// What is to be served next, and whether it stood among those that could wait; `None` when the pool has stopped and
    /// nothing is left.
    fn next(&self) -> Option<Vec<(Arc<Shared>, Call)>> {
        let mut waiting = lock(&self.waiting);
        loop {
            let now = Instant::now();
            let mut batch: Vec<_> = waiting.now.drain(..).map(|recording| (recording, Call::Now)).collect();
            let stopping = waiting.stopping;
            while waiting.later.front().is_some_and(|(due, _)| *due <= now || stopping) {
                batch.extend(waiting.later.pop_front().map(|(_, recording)| (recording, Call::Later)));
            }
            if !batch.is_empty() {
                return Some(batch);
            }
            if stopping {
                return None;
            }
            waiting = match waiting.later.front().map(|(due, _)| due.saturating_duration_since(now)) {
                Some(wait) => self.woken.wait_timeout(waiting, wait).unwrap_or_else(PoisonError::into_inner).0,
                None => self.woken.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Serves recordings until the pool stops.
pub(crate) fn work(queue: &Queue, mut tools: Tools, dir: &File, unsynced: &AtomicBool) {
    while let Some(batch) = queue.next() {
        let mut to_sync = Vec::new();
        for (recording, call) in batch {
            // A fault in one recording is the end of that one only.
            let served = catch_unwind(AssertUnwindSafe(|| serve(&recording, call, &mut tools)));
            match served {
                Ok(Ok((accepted, closed))) if closed.is_some() || recording.durability == Durability::Sync => {
                    to_sync.push((recording, accepted, closed));
                }
                Ok(Ok(_)) => unsynced.store(true, Ordering::Relaxed),
                Ok(Err(e)) => recording.fail(in_words(&e)),
                Err(_) => recording.fail("the recorder met a fault of its own".into()),
            }
        }
        sync_together(to_sync, dir);
    }
}

/// A recording whose file is to be forced to the disk, up to which frame it is written, and what it is if it was closed.
type Written = (Arc<Shared>, u64, Option<ClosedRecording>);

/// Writes what one recording has; the number of the last frame that is in the file, and what was closed.
fn serve(recording: &Arc<Shared>, call: Call, tools: &mut Tools) -> Result<(u64, Option<ClosedRecording>), SinkError> {
    let batch = recording.take(call);
    let mut sink = lock(&recording.sink);
    for (stream, filling) in batch.chunks {
        sink.write(tools, stream, filling.first_at_us, filling.frames, &filling.raw)?;
        recording.budget.add_permits(filling.cost);
    }
    let closed = match batch.closing {
        Some((reason, at_us)) => {
            sink.close(tools, &reason, at_us)?;
            true
        }
        None => false,
    };
    let (chunks, digest, bytes) = sink.standing();
    drop(sink);
    {
        let mut progress = lock(&recording.progress);
        progress.chunks = chunks;
        progress.digest = digest;
    }
    Ok((batch.accepted, closed.then_some(ClosedRecording { chunks, digest, bytes })))
}

/// Forces several recordings to the disk at once, then tells those who wait for it.
///
/// Where a thousand sessions are cut at once, a thousand recordings are closed: one look at the disk is enough for all of them.
fn sync_together(written: Vec<Written>, dir: &File) {
    let all = if written.len() > MANY_FILES { Some(rustix::fs::syncfs(dir).map_err(|e| SinkError::Write(e.into()))) } else { None };
    for (recording, accepted, closed) in written {
        let synced = match &all {
            Some(Ok(())) => Ok(()),
            Some(Err(e)) => Err(in_words(e)),
            None => lock(&recording.sink).sync().map_err(|e| in_words(&e)),
        };
        match synced {
            Ok(()) => {
                recording.standing.send_modify(|standing| {
                    standing.synced = standing.synced.max(accepted);
                    if closed.is_some() {
                        standing.closed = closed;
                    }
                });
            }
            Err(reason) => recording.fail(reason),
        }
    }
}

pub(crate) fn in_words(error: &SinkError) -> String {
    match error {
        SinkError::Write(e) if e.kind() == std::io::ErrorKind::StorageFull => {
            "the disk is full; free space in the recordings' directory".into()
        }
        other => other.to_string(),
    }
}
