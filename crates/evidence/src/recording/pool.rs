//! The recorder: a few threads that write the recordings of all sessions.
//!
//! What a session records goes into its own chunk buffer at once, bounded by its own budget; a full chunk, or one that
//! has stood for most of a second, is compressed, sealed and written by a worker. A session that is idle costs its keys,
//! an open file and a few hundred bytes.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{Semaphore, broadcast, watch};

use super::handle::RecordingHandle;
use super::header::About;
use super::keys::KeyRecipients;
use super::live::{LiveView, Watched};
use super::shared::{Pending, Shared, Standing, lock};
use super::sink::{Sink, SinkError, Tools, file_name};
use super::worker::{self, Queue};

const SYNC_EVERY: Duration = Duration::from_secs(1);
const WATCHERS_MAY_LAG: usize = 128;

/// When a frame counts as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Handed to the system within a second and on the disk a second later: a process that is killed loses the last second at most, a machine
    /// that stops the last two.
    Flush,
    /// On the disk before `record` returns; frames recorded meanwhile share one sync.
    Sync,
}

/// How a pool works.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// How many threads write. Each holds one compression context, over half a MiB.
    pub workers: usize,
    /// How many bytes one recording may have in memory before `record` waits. At least 256 KiB is used.
    pub budget: usize,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self { workers: 2, budget: 1024 * 1024 }
    }
}

/// Why a recording could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot record `{recording}` in `{}`; without a recording the session does not open", dir.display())]
pub struct StartError {
    recording: String,
    dir: PathBuf,
    source: SinkError,
}

/// How far a live recording has come: what the audit log notes while a session lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The recording.
    pub recording: String,
    /// How many chunks are written.
    pub chunks: u64,
    /// The chain after them.
    pub digest: [u8; 32],
    /// How many chunks had been written when it was last asked for.
    reported: u64,
}

/// A pool of recorder threads over one directory. Cheap to clone; the threads end with the last one.
#[derive(Clone)]
pub struct RecorderPool {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for RecorderPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecorderPool").field("dir", &self.inner.dir).finish_non_exhaustive()
    }
}

struct Inner {
    dir: PathBuf,
    budget: usize,
    queues: Vec<Arc<Queue>>,
    next: AtomicUsize,
    live: Arc<Mutex<HashMap<String, Weak<Shared>>>>,
    stop_sync: Arc<(Mutex<bool>, Condvar)>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl RecorderPool {
    /// Starts the threads; the directory is made if need be.
    ///
    /// # Errors
    /// When the directory cannot be used, or the system gives no threads or memory.
    pub fn open(dir: impl Into<PathBuf>, options: &PoolOptions) -> io::Result<Self> {
        let dir = dir.into();
        fs::create_dir_all(&dir)?;
        let folder = Arc::new(File::open(&dir)?);
        let unsynced = Arc::new(AtomicBool::new(false));
        let mut queues = Vec::new();
        let mut threads = Vec::new();
        for i in 0..options.workers.max(1) {
            let queue = Arc::new(Queue::default());
            let tools = Tools::new()?;
            let (for_thread, folder, unsynced) = (Arc::clone(&queue), Arc::clone(&folder), Arc::clone(&unsynced));
            let work = move || worker::work(&for_thread, tools, &folder, &unsynced);
            threads.push(thread::Builder::new().name(format!("recorder-{i}")).spawn(work)?);
            queues.push(queue);
        }
        let live: Arc<Mutex<HashMap<String, Weak<Shared>>>> = Arc::default();
        let stop_sync: Arc<(Mutex<bool>, Condvar)> = Arc::default();
        let (recordings, stop) = (Arc::clone(&live), Arc::clone(&stop_sync));
        let sync = move || sync_each_second(&folder, &unsynced, &recordings, &stop);
        threads.push(thread::Builder::new().name("recorder-sync".into()).spawn(sync)?);
        let budget = options.budget.max(256 * 1024);
        let (next, threads) = (AtomicUsize::new(0), Mutex::new(threads));
        Ok(Self { inner: Arc::new(Inner { dir, budget, queues, next, live, stop_sync, threads }) })
    }

    /// Where the recordings are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Where a recording's file is, if there is one.
    ///
    /// # Errors
    /// When the id cannot name a file.
    pub fn path(&self, recording: &str) -> Result<PathBuf, SinkError> {
        Ok(self.inner.dir.join(file_name(recording)?))
    }

    /// Starts a recording: makes its keys and its file and writes the header. Blocks for as long as that takes; an
    /// asynchronous caller wraps it in `spawn_blocking`.
    ///
    /// # Errors
    /// When the file cannot be made, or there is nobody the keys could be wrapped to.
    pub fn start(
        &self,
        about: &About,
        durability: Durability,
        output_to: &KeyRecipients,
        input_to: &KeyRecipients,
    ) -> Result<RecordingHandle, StartError> {
        let inner = &self.inner;
        let refused = |source| StartError { recording: about.recording.clone(), dir: inner.dir.clone(), source };
        let sink = Sink::create(&inner.dir, about, output_to, input_to).map_err(refused)?;
        if durability == Durability::Sync {
            sink.sync().and_then(|()| Ok(File::open(&inner.dir)?.sync_all()?)).map_err(refused)?;
        }
        let queue = &inner.queues[inner.next.fetch_add(1, Ordering::Relaxed) % inner.queues.len()];
        let (chunks, digest, _) = sink.standing();
        let recording = about.recording.clone();
        let shared = Arc::new(Shared {
            id: recording.clone(),
            durability,
            budget: Semaphore::new(inner.budget),
            pending: Mutex::new(Pending::default()),
            sink: Mutex::new(sink),
            progress: Mutex::new(Progress { recording: recording.clone(), chunks, digest, reported: 0 }),
            standing: watch::Sender::new(Standing::default()),
            queue: Arc::clone(queue),
        });
        lock(&inner.live).insert(recording, Arc::downgrade(&shared));
        Ok(RecordingHandle::new(shared, inner.budget, digest, Arc::clone(&inner.live)))
    }

    /// The recordings that have grown since this was last asked, and how far they have come.
    #[must_use]
    pub fn progress(&self) -> Vec<Progress> {
        let live: Vec<Arc<Shared>> = lock(&self.inner.live).values().filter_map(Weak::upgrade).collect();
        let mut grown = Vec::new();
        for recording in live {
            let mut progress = lock(&recording.progress);
            if progress.chunks > progress.reported {
                progress.reported = progress.chunks;
                grown.push(progress.clone());
            }
        }
        grown.sort_by(|a, b| a.recording.cmp(&b.recording));
        grown
    }

    /// Watches a live recording from now on; `None` if it is not live. Who may watch, and whether with the input, is for
    /// the caller to have asked.
    #[must_use]
    pub fn watch(&self, recording: &str, what: Watched) -> Option<LiveView> {
        let shared = lock(&self.inner.live).get(recording)?.upgrade()?;
        let mut pending = lock(&shared.pending);
        if pending.is_closed() {
            return None;
        }
        let live = pending.live.get_or_insert_with(|| broadcast::channel(WATCHERS_MAY_LAG).0);
        Some(LiveView::new(live.subscribe(), what))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for queue in &self.queues {
            queue.stop();
        }
        *lock(&self.stop_sync.0) = true;
        self.stop_sync.1.notify_one();
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // A worker that panicked has nothing left to say.
            let _ = thread.join();
        }
        // Nobody would ever come for what these still record.
        let left: Vec<Arc<Shared>> = lock(&self.live).values().filter_map(Weak::upgrade).collect();
        for recording in left {
            recording.fail("the recorder has stopped".into());
        }
    }
}

/// Each second, if anything was written: one `syncfs` for all recordings. If the disk refuses, none of them can be
/// trusted to be there, and all end.
fn sync_each_second(dir: &File, unsynced: &AtomicBool, live: &Mutex<HashMap<String, Weak<Shared>>>, stop: &(Mutex<bool>, Condvar)) {
    let mut stopped = lock(&stop.0);
    while !*stopped {
        stopped = stop.1.wait_timeout(stopped, SYNC_EVERY).unwrap_or_else(PoisonError::into_inner).0;
        if !unsynced.swap(false, Ordering::Relaxed) {
            continue;
        }
        if let Err(e) = rustix::fs::syncfs(dir) {
            let error = SinkError::Write(e.into());
            let recordings: Vec<Arc<Shared>> = lock(live).values().filter_map(Weak::upgrade).collect();
            for recording in recordings {
                recording.fail(worker::in_words(&error));
            }
        }
    }
}

#[cfg(test)]
mod tests;
