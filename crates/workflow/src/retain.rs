//! Retention: recordings go when their tier's time is up, and leave a proof that they were.
//!
//! *Takes* the time, and what tiers say of how long they keep. *Proves* that nothing holds a recording. *Hands to* the log, for each one
//! that goes, an entry with the digest that closes its chain; then its keys are destroyed, and its file is removed.
//!
//! INVARIANT: nothing goes by a clock that is not to be trusted: one that is behind what is known, or ran ahead of the time since boot.
//! INVARIANT: nothing goes but what every policy of the last [`policy::NOTICE`] lets go: a mistake in a tier, or a resource that somebody moves to
//! another one, can be put right in that time.

mod keeps;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use access::event::Event;
use access::ids::{RecordingId, SessionId};
use access::names::TierName;
use access::reason::{Reason, Refusal};
use access::session::{SessionRow, SessionState};
use access::time::Span;
use evidence::recording::{header, keys};
use jiff::Timestamp;
use store::{Change, CommitError, EntryFilter, EntryPage, Holds, Unique};

use crate::gate::{Gate, refused, unavailable};

use keeps::Kept;

/// How many go in one look; the next one goes on.
const BATCH: usize = 500;
const ENTRIES: u32 = 1_000;
/// For so long what could not be removed is not entered again.
const ENTERED: Span = Span::hours(366 * 24);

/// What is remembered from look to look.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    /// For how long recordings were kept by the policies of the last days, by their digests.
    kept: tokio::sync::Mutex<BTreeMap<String, Arc<Kept>>>,
    /// Whether it stands still, and that is entered.
    stopped: AtomicBool,
}

/// What became of a recording whose time is up.
enum Went {
    /// It is gone.
    Gone,
    /// Something holds it.
    Held,
    /// It is entered as gone, and is still there.
    Stays(std::io::Error),
}

impl Gate {
    /// Lets go of every recording whose time is up and that nothing holds; how many went.
    ///
    /// # Errors
    /// If the store or the recordings can't be read. What went before that is gone, and entered.
    pub async fn let_go_of_recordings(&self) -> Result<usize, Refusal> {
        let Some(shortest) = self.bundle.load().tiers().filter_map(|tier| tier.keep).min() else { return Ok(0) };
        if let Err(refusal) = self.refuse_if_clock_is_wrong() {
            self.enter_that_it_stopped(&refusal).await?;
            return Err(refusal);
        }
        self.retention.stopped.store(false, Ordering::Relaxed);
        let now = self.now();
        let Ok(newest) = now.checked_sub(shortest.as_std()) else { return Ok(0) };
        let (dir, newest) = (self.recorder.dir().to_owned(), RecordingId::generate(newest));
        let found = tokio::task::spawn_blocking(move || older_than(&dir, newest)).await.map_err(|_| Refusal::of(Reason::Internal))?;
        let found = found.map_err(|error| Refusal::because(Reason::Internal, format!("recordings cannot be listed: {error}")))?;
        let lately = if found.is_empty() { Vec::new() } else { self.kept_lately(now).await? };
        let (mut gone, mut stay) = (0, Vec::new());
        for (recording, session) in found {
            if gone >= BATCH {
                break;
            }
            let Some(row) = self.store.session(session).await.map_err(unavailable)? else { continue };
            if row.recording != recording || !lately.iter().all(|kept| kept.is_over(&row, now)) {
                continue;
            }
            let Some((tier, kept)) = self.time_is_up(&row, now) else { continue };
            match self.let_go(&row, tier, kept).await? {
                Went::Gone => gone += 1,
                Went::Held => {}
                Went::Stays(error) => stay.push((recording, error)),
            }
        }
        if let Some((recording, error)) = stay.first() {
            let recordings = stay.len();
            tracing::error!(%error, first = %recording, recordings, "recordings that are entered as gone cannot be removed; it is tried again");
        }
        Ok(gone)
    }

    /// Refused if what the clock says may be wrong: whoever sets it forward makes nothing old.
    fn refuse_if_clock_is_wrong(&self) -> Result<(), Refusal> {
        let wrong = |why: String| Err(Refusal::because(Reason::ClockBehind, why));
        if let Some((wall, now)) = self.clock.behind() {
            return wrong(format!("no recording goes by age: the wall clock shows {wall}, and {now} is known already"));
        }
        if let Some(ahead) = self.clock.ran_ahead() {
            return wrong(format!(
                "no recording goes by age: the clock ran {ahead:#} ahead of the time since boot; set it right and say `tidegate clock accept`, \
                 or, if it is right, start the gate anew"
            ));
        }
        Ok(())
    }

    /// Whether no recording goes by age just now, because the clock may be wrong.
    #[must_use]
    pub fn retention_is_stopped(&self) -> bool {
        self.retention.stopped.load(Ordering::Relaxed)
    }

    /// Enters once that nothing goes any more, for whoever is told of entries: it stays so until somebody does something.
    async fn enter_that_it_stopped(&self, refusal: &Refusal) -> Result<(), Refusal> {
        if self.retention_is_stopped() {
            return Ok(());
        }
        let event = Event::RetentionStopped { node: self.settings.node.clone() };
        self.commit(Change::new(self.own_draft(event).text("why", refusal.detail.clone()))).await.map_err(refused)?;
        self.retention.stopped.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The tier that says that a session's recording was kept long enough. A resource that policy no longer names has none: then it stays.
    fn time_is_up(&self, row: &SessionRow, now: Timestamp) -> Option<(TierName, Span)> {
        let ended = row.ended_at.filter(|_| row.state == SessionState::Ended)?;
        let bundle = self.bundle.load();
        let (tier, kept) = bundle.kept(&row.resource)?;
        (kept.after(ended) <= now).then(|| (tier.clone(), kept))
    }

    async fn let_go(&self, row: &SessionRow, tier: TierName, kept: Span) -> Result<Went, Refusal> {
        let _keeping = self.keeping().await;
        self.refuse_if_clock_is_wrong()?;
        let holds = match self.refuse_if_held(row).await {
            Ok(holds) => holds,
            Err(refusal) if refusal.reason == Reason::OnHold => return Ok(Went::Held),
            Err(refusal) => return Err(refusal),
        };
        // What could not be removed the last time is entered already.
        let once = format!("recording.expired {}", row.recording);
        if !self.store.was_taken(&once).await.map_err(unavailable)? && !self.enter_as_gone(row, tier, kept, &once, &holds).await? {
            return Ok(Went::Held);
        }
        Ok(match remove(self.recording_path(row.recording)).await? {
            Ok(()) => Went::Gone,
            Err(error) => Went::Stays(error),
        })
    }

    /// Whether a recording is entered as gone now; it is not if somebody held something meanwhile.
    async fn enter_as_gone(&self, row: &SessionRow, tier: TierName, kept: Span, once: &str, holds: &Holds) -> Result<bool, Refusal> {
        let event = Event::RecordingExpired {
            recording: row.recording,
            session: row.id,
            tier,
            kept,
            chunks: row.recording_chunks,
            digest: row.recording_digest.clone(),
        };
        let change = Change::new(self.own_draft(event)).held_as(holds).once(once, ENTERED.after(self.now()));
        match self.commit(change).await {
            Ok(_) | Err(CommitError::Duplicate { what: Unique::Once }) => Ok(true),
            Err(CommitError::Conflict { .. }) => Ok(false),
            Err(error) => Err(refused(error)),
        }
    }

    /// Removes what is entered as gone and is not, because the gate died in between or could not; but what is held by now.
    pub(crate) async fn finish_letting_go(&self) -> Result<(), Refusal> {
        let filter = EntryFilter { name: Some("recording.expired".to_owned()), ..EntryFilter::default() };
        let mut after = None;
        loop {
            let page = EntryPage { limit: ENTRIES, after, newest_first: true };
            let entries = self.store.entries(&filter, page).await.map_err(unavailable)?;
            let Some(last) = entries.last() else { return Ok(()) };
            after = Some(last.seq);
            for logged in &entries {
                let Event::RecordingExpired { recording, session, .. } = logged.entry.event else { continue };
                let path = self.recording_path(recording);
                // Most are long gone: nothing else is asked of these.
                if !path.exists() || self.is_held(session).await? {
                    continue;
                }
                if let Err(error) = remove(path).await? {
                    tracing::error!(%error, %recording, "a recording that is entered as gone is still there");
                }
            }
        }
    }
}

/// Destroys a recording's keys, so that no copy of the disk's blocks opens, and then removes it. One that is gone is gone.
async fn remove(path: PathBuf) -> Result<std::io::Result<()>, Refusal> {
    let removing = tokio::task::spawn_blocking(move || {
        if !path.exists() {
            return Ok(());
        }
        let destroyed =
            std::fs::File::open(&path).ok().and_then(|mut file| header::read(&mut file).ok()).map(|opening| opening.key_state());
        if destroyed.is_some_and(|state| state != header::KeyState::Destroyed) {
            keys::destroy(&path)?;
        }
        std::fs::remove_file(&path)
    });
    removing.await.map_err(|_| Refusal::of(Reason::Internal))
}

/// The recordings that were begun before one was or would have been, oldest first, with the sessions that they say they are of.
fn older_than(dir: &Path, newest: RecordingId) -> std::io::Result<Vec<(RecordingId, SessionId)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)?.flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".tgr")).and_then(|id| id.parse::<RecordingId>().ok()) else {
            continue;
        };
        // An id begins with the time at which it was made.
        if id > newest {
            continue;
        }
        let about = std::fs::File::open(entry.path()).ok().and_then(|mut file| header::read(&mut file).ok());
        let Some(session) = about.and_then(|opening| opening.about().session.parse().ok()) else { continue };
        found.push((id, session));
    }
    found.sort_unstable();
    Ok(found)
}
