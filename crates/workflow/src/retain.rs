//! Retention: recordings go when their tier's time is up, and leave a proof that they were.
//!
//! *Takes* the time, and what tiers say of how long they keep. *Proves* that nothing holds a recording. *Hands to* the log, for each one
//! that goes, an entry with the digest that closes its chain; then its keys are destroyed, and its file is removed.
//!
//! INVARIANT: nothing goes by a clock that is not to be trusted: one that is behind what is known, or ran ahead of the time since boot.

use std::path::{Path, PathBuf};

use access::event::Event;
use access::ids::{RecordingId, SessionId};
use access::names::TierName;
use access::reason::{Reason, Refusal};
use access::session::{SessionRow, SessionState};
use access::time::Span;
use evidence::recording::{header, keys};
use jiff::Timestamp;
use store::{Change, EntryFilter, EntryPage};

use crate::gate::{Gate, refused, unavailable};

/// How many go in one look; the next one goes on.
const BATCH: usize = 500;
const ENTRIES: u32 = 1_000;

impl Gate {
    /// Lets go of every recording whose time is up and that nothing holds; how many went.
    ///
    /// # Errors
    /// If the store or the recordings can't be read. What went before that is gone, and entered.
    pub async fn let_go_of_recordings(&self) -> Result<usize, Refusal> {
        let Some(shortest) = self.bundle.load().tiers().filter_map(|tier| tier.keep).min() else { return Ok(0) };
        self.refuse_if_clock_is_wrong()?;
        let now = self.now();
        let Ok(newest) = now.checked_sub(shortest.as_std()) else { return Ok(0) };
        let (dir, newest) = (self.recorder.dir().to_owned(), RecordingId::generate(newest));
        let found = tokio::task::spawn_blocking(move || older_than(&dir, newest)).await.map_err(|_| Refusal::of(Reason::Internal))?;
        let found = found.map_err(|error| Refusal::because(Reason::Internal, format!("recordings cannot be listed: {error}")))?;
        let mut gone = 0;
        for (recording, session) in found {
            if gone >= BATCH {
                break;
            }
            let Some(row) = self.store.session(session).await.map_err(unavailable)? else { continue };
            if row.recording != recording {
                continue;
            }
            let Some((tier, kept)) = self.time_is_up(&row, now) else { continue };
            if self.let_go(&row, tier, kept).await? {
                gone += 1;
            }
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

    /// The tier that says that a session's recording was kept long enough. A resource that policy no longer names has none: then it stays.
    fn time_is_up(&self, row: &SessionRow, now: Timestamp) -> Option<(TierName, Span)> {
        let ended = row.ended_at.filter(|_| row.state == SessionState::Ended)?;
        let bundle = self.bundle.load();
        let resource = bundle.resource(&row.resource)?;
        let tier = bundle.tiers().find(|tier| Some(&tier.name) == resource.tier.as_ref())?;
        let kept = tier.keep?;
        (kept.after(ended) <= now).then(|| (tier.name.clone(), kept))
    }

    async fn let_go(&self, row: &SessionRow, tier: TierName, kept: Span) -> Result<bool, Refusal> {
        let _keeping = self.keeping().await;
        self.refuse_if_clock_is_wrong()?;
        if let Err(refusal) = self.refuse_if_held(row).await {
            return if refusal.reason == Reason::OnHold { Ok(false) } else { Err(refusal) };
        }
        let event = Event::RecordingExpired {
            recording: row.recording,
            session: row.id,
            tier,
            kept,
            chunks: row.recording_chunks,
            digest: row.recording_digest.clone(),
        };
        self.commit(Change::new(self.own_draft(event))).await.map_err(refused)?;
        let path = self.recording_path(row.recording);
        if let Err(error) = remove(path).await? {
            tracing::error!(%error, recording = %row.recording, "a recording whose time is up cannot be removed; the next start does it");
        }
        Ok(true)
    }

    /// Removes what is entered as gone and is not, because the gate died in between: that can only be among the newest.
    pub(crate) async fn finish_letting_go(&self) -> Result<(), Refusal> {
        let filter = EntryFilter { name: Some("recording.expired".to_owned()), ..EntryFilter::default() };
        let page = EntryPage { limit: ENTRIES, after: None, newest_first: true };
        for logged in self.store.entries(&filter, page).await.map_err(unavailable)? {
            let Event::RecordingExpired { recording, .. } = logged.entry.event else { continue };
            if let Err(error) = remove(self.recording_path(recording)).await? {
                tracing::error!(%error, %recording, "a recording that is entered as gone is still there");
            }
        }
        Ok(())
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
