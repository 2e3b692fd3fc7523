//! What was done in sessions is made searchable as they end.
//!
//! *Takes* the log's entries in their order, and of each session that ended its recording. *Proves* nothing: who may read what is asked by
//! [`crate::search`], for each hit. *Hands to* the search index marks of what was done, and takes them away when a recording goes.
//!
//! INVARIANT: nothing waits for the index. Where it is behind, away or broken, recordings are read instead, and the answers are the same.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use access::event::Event;
use access::ids::SessionId;
use access::names::SecretName;
use access::reason::{Reason, Refusal};
use access::secret::Secret;
use evidence::recording::RecordingReader;
use search::{ActivityIndex, Batch, IndexError, Made, Sealer};
use store::{EntryFilter, EntryPage};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::gate::{Gate, unavailable};
use crate::sweep::again;
use crate::watch::end_of;

/// How often it is looked whether sessions ended.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Entries that are read at once, and documents after which what was read is kept.
const ENTRIES: u32 = 500;
const DOCUMENTS: usize = 20_000;
/// How many sessions may have been opened since the index was written. If more were, it is too far behind to be asked.
const MOST_OPENED: usize = 2_000;
/// Entries without a place come late on a server; after so many that the index has, none is expected.
const SURELY_OLD: usize = 64;
/// What the index's key is sealed as.
const KEY: &str = "activity-index";

/// The index of this node, once it is open, and what is wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Indexed {
    index: Mutex<Option<Arc<ActivityIndex>>>,
    trouble: Mutex<Option<String>>,
    /// The file is to be thrown away before it is opened again.
    broken: AtomicBool,
    /// One at a time opens, writes or throws away.
    writing: tokio::sync::Mutex<()>,
}

/// How the search index stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexState {
    /// Sessions that it knows.
    pub sessions: u64,
    /// Those of them whose recordings are read whatever is looked for: live ones, and those that cannot be read to their end.
    pub unread: u64,
    /// Entries of the log that it does not have yet.
    pub waiting: u64,
    /// Why it is not written just now.
    pub trouble: Option<String>,
}

/// The gate's keys seal the index's.
struct Keys<'g>(&'g Gate);

impl Sealer for Keys<'_> {
    fn seal(&self, key: &[u8; 32]) -> Result<String, String> {
        let name: SecretName = KEY.parse().map_err(|_| "its key has no name".to_owned())?;
        let sealed = self.0.keyring().seal_secret(&name, &Secret::new(hex::encode(key)));
        sealed.map(|sealed| sealed.to_string()).map_err(|error| error.to_string())
    }

    fn open(&self, sealed: &str) -> Option<Zeroizing<[u8; 32]>> {
        let name: SecretName = KEY.parse().ok()?;
        let text = self.0.keyring().open_secret(&name, &sealed.parse().ok()?).ok()?;
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.expose(), key.as_mut_slice()).ok()?;
        Some(key)
    }
}

impl Gate {
    /// Makes what was done searchable until told to stop.
    pub async fn index_forever(self: Arc<Self>, stop: CancellationToken) {
        again(stop, LOOK_EVERY, "the search index", move || {
            let gate = Arc::clone(&self);
            async move {
                if let Err(refusal) = gate.index_activity().await {
                    tracing::warn!(%refusal, "the search index is not written just now; searches read recordings instead");
                }
            }
        })
        .await;
    }

    /// Takes in everything that has its place in the log by now, and brings what was removed off the disk.
    ///
    /// # Errors
    /// If the store can't be read, or the index can't be written. A broken one is thrown away and made anew.
    pub async fn index_activity(&self) -> Result<(), Refusal> {
        let _writing = self.indexed.writing.lock().await;
        let outcome = self.take_in_all().await;
        let trouble = outcome.as_ref().err().map(ToString::to_string);
        *self.indexed.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        outcome
    }

    async fn take_in_all(&self) -> Result<(), Refusal> {
        let Some(index) = self.opened_index().await? else { return Ok(()) };
        let outcome = async {
            while self.take_in(&index).await? {}
            index.purge().await.map(drop).map_err(|error| self.index_failed(error))
        };
        outcome.await
    }

    /// The index, opened if it was not; `None` while the log has no entry yet.
    async fn opened_index(&self) -> Result<Option<Arc<ActivityIndex>>, Refusal> {
        if let Some(index) = self.index() {
            return Ok(Some(index));
        }
        let first = self.store.sequenced_from(0, 1).await.map_err(unavailable)?;
        let Some(first) = first.first() else { return Ok(None) };
        let placed = self.store.sequenced().await.map_err(unavailable)?;
        let path = self.settings.data_dir.join("index").join("activity.db");
        let failed = |error| Refusal::because(Reason::Internal, said(&error));
        if self.indexed.broken.load(Ordering::Acquire) {
            ActivityIndex::discard(&path).map_err(failed)?;
            self.indexed.broken.store(false, Ordering::Release);
        }
        let opened = ActivityIndex::open(&path, &first.entry.to_string(), placed, &Keys(self)).await;
        let (index, made) = opened.map_err(failed)?;
        if let Made::Anew(why) = made {
            tracing::warn!(why, "the search index could not be used and is made anew from the recordings; until then searches read these");
        }
        let index = Arc::new(index);
        *self.indexed.index.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&index));
        Ok(Some(index))
    }

    /// The index, if it is open.
    pub(crate) fn index(&self) -> Option<Arc<ActivityIndex>> {
        self.indexed.index.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What becomes of an index that failed: a broken one is let go of, and its file thrown away when it is opened again.
    pub(crate) fn index_failed(&self, error: IndexError) -> Refusal {
        if error.is_broken() {
            self.indexed.broken.store(true, Ordering::Release);
            *self.indexed.index.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        Refusal::because(Reason::Internal, said(&error))
    }

    /// Takes in some entries; whether there may be more.
    async fn take_in(&self, index: &ActivityIndex) -> Result<bool, Refusal> {
        let mut next = index.next();
        let entries = self.store.entries_from(next, ENTRIES).await.map_err(unavailable)?;
        if entries.is_empty() {
            return Ok(false);
        }
        let failed = |error| self.index_failed(error);
        let mut batch = index.begin().await.map_err(failed)?;
        for logged in &entries {
            if logged.index != Some(next) {
                return Err(Refusal::because(Reason::Internal, format!("the log has no entry {next}; run `tidegate audit replay`")));
            }
            next += 1;
            match logged.entry.event {
                Event::SessionOpened { session, .. } => batch.opened(&session.to_string()).await.map_err(failed)?,
                Event::SessionEnded { session, .. } => self.take_recording(&mut batch, session).await?,
                Event::RecordingDestroyed { session, .. } | Event::RecordingExpired { session, .. } => {
                    batch.forget(&session.to_string()).await.map_err(failed)?;
                }
                _ => {}
            }
            if batch.documents() >= DOCUMENTS {
                break;
            }
        }
        batch.commit(next).await.map_err(failed)?;
        Ok(true)
    }

    /// Takes in what was done in a session. One whose recording is not here or cannot be read stays one that is looked into each time.
    async fn take_recording(&self, batch: &mut Batch<'_>, session: SessionId) -> Result<(), Refusal> {
        let Some(row) = self.store.session(session).await.map_err(unavailable)? else { return Ok(()) };
        let reader = || {
            let keys = self.released_keys(row.recording, false).ok()?;
            let file = BufReader::new(File::open(self.recording_path(row.recording)).ok()?);
            Some(RecordingReader::with_keys(file, keys).ok()?.ending_at(end_of(&row)))
        };
        let taken = match (reader(), reader()) {
            (Some(first), Some(second)) => batch.take(&session.to_string(), [first, second]).await.map(drop),
            _ => batch.opened(&session.to_string()).await,
        };
        taken.map_err(|error| self.index_failed(error))
    }

    /// Sessions that were opened since the index was written up to this entry; `None`: too many.
    pub(crate) async fn opened_since(&self, next: u64) -> Result<Option<BTreeSet<SessionId>>, Refusal> {
        let filter = EntryFilter { name: Some("session.opened".to_owned()), ..EntryFilter::default() };
        let (mut opened, mut old) = (BTreeSet::new(), 0);
        let mut page = EntryPage { limit: 100, after: None, newest_first: true };
        loop {
            let entries = self.store.entries(&filter, page).await.map_err(unavailable)?;
            for logged in &entries {
                if logged.index.is_some_and(|index| index < next) {
                    old += 1;
                } else if let Event::SessionOpened { session, .. } = logged.entry.event {
                    opened.insert(session);
                }
            }
            if opened.len() > MOST_OPENED {
                return Ok(None);
            }
            match entries.last() {
                Some(last) if old < SURELY_OLD => page.after = Some(last.seq),
                _ => return Ok(Some(opened)),
            }
        }
    }

    /// How the search index stands.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn index_state(&self) -> Result<IndexState, Refusal> {
        let placed = self.store.sequenced().await.map_err(unavailable)?;
        let trouble = self.indexed.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(index) = self.index() else { return Ok(IndexState { waiting: placed, trouble, ..IndexState::default() }) };
        let waiting = placed.saturating_sub(index.next());
        match index.counts().await {
            Ok((sessions, unread)) => Ok(IndexState { sessions, unread, waiting, trouble }),
            Err(error) => Ok(IndexState { waiting, trouble: Some(self.index_failed(error).to_string()), ..IndexState::default() }),
        }
    }
}

/// An error and what caused it.
fn said(error: &IndexError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
