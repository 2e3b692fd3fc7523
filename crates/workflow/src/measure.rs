//! Whether access is getting better: the numbers of `docs/measures.md`, counted from the log as it grows.
//!
//! *Takes* the log's leaves, in order. *Proves* nothing. *Hands to* whoever may read the log what was counted, and to the store what has been
//! counted so far, so that a restart goes on from there.

use std::time::Duration;

use access::reason::{Reason, Refusal};
use evidence::measures::{By, Period, Projection, Report};
use jiff::civil::Date;
use policy::{Act, Noun, Object};
use tokio::time::Instant;

use crate::Caller;
use crate::gate::{Gate, unavailable};

/// What it is kept under.
const NAME: &str = "measures";
/// Leaves that are read at once.
const BATCH: u32 = 1_000;
/// Leaves that are counted while somebody waits; the rest is counted between.
const AT_ONCE: u64 = 20_000;
/// After so many leaves, or so long, it is kept.
const KEEP_AFTER: u64 = 20_000;
const KEEP_EVERY: Duration = Duration::from_secs(600);
/// Periods that one report has at most.
const MOST: usize = 400;

/// What was counted, and how much of it is kept.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// `None`: the store was not asked yet what was kept.
    projection: Option<Projection>,
    kept: u64,
    kept_at: Option<Instant>,
}

/// A report, and how far behind the log it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measures {
    /// The numbers.
    pub report: Report,
    /// Entries of the log that are not counted yet; more than a few only while the whole log is told again.
    pub waiting: u64,
}

impl Gate {
    /// The numbers of some time, for each period of it and for all.
    ///
    /// # Errors
    /// If the caller may not read the log, the time is empty or has too many periods, or the log can't be read.
    pub async fn measures(&self, caller: &Caller, since: Date, until: Date, by: By) -> Result<Measures, Refusal> {
        self.authorize(caller, Act::Administer(Noun::Audit), &Object::Nothing).await?;
        let mut measured = self.measured.lock().await;
        let projection = self.count_up(&mut measured, AT_ONCE).await?;
        let report = Report::of(projection, since, until, by, MOST).ok_or_else(|| {
            let why = format!("from {since} to {until} there are no periods, or more than {MOST}; name a later end, or longer periods");
            Refusal::because(Reason::Invalid, why)
        })?;
        let waiting = self.store.sequenced().await.map_err(unavailable)?.saturating_sub(report.entries);
        Ok(Measures { report, waiting })
    }

    /// Something read from what was counted so far.
    pub(crate) async fn with_measures<T>(&self, read: impl FnOnce(&Projection) -> T) -> Result<T, Refusal> {
        let mut measured = self.measured.lock().await;
        Ok(read(self.count_up(&mut measured, AT_ONCE).await?))
    }

    /// Everything since the log began, as one period, and how many entries it follows from.
    ///
    /// # Errors
    /// If the log can't be read.
    pub async fn measured_so_far(&self) -> Result<(Period, u64), Refusal> {
        self.with_measures(|projection| (Report::whole(projection), projection.entries())).await
    }

    /// Counts on, in the background, and keeps what was counted now and then.
    pub(crate) async fn keep_measuring(&self) {
        let mut measured = self.measured.lock().await;
        let counted = self.count_up(&mut measured, KEEP_AFTER).await.map(Projection::entries);
        let Ok(entries) = counted else { return };
        let (new, due) = (entries - measured.kept.min(entries), measured.kept_at.is_none_or(|kept| kept.elapsed() >= KEEP_EVERY));
        if new >= KEEP_AFTER || (new > 0 && due) {
            self.keep_measures(&mut measured).await;
        }
    }

    /// Keeps what was counted: the node stops.
    pub(crate) async fn keep_measures_now(&self) {
        let mut measured = self.measured.lock().await;
        if measured.projection.as_ref().is_some_and(|projection| projection.entries() > measured.kept) {
            self.keep_measures(&mut measured).await;
        }
    }

    async fn keep_measures(&self, measured: &mut Measured) {
        let Some(projection) = &measured.projection else { return };
        let (entries, body) = (projection.entries(), serde_json::to_string(projection));
        let kept = match body {
            Ok(body) => self.store.keep_projection(NAME, Projection::VERSION, entries, body).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match kept {
            Ok(()) => (measured.kept, measured.kept_at) = (entries, Some(Instant::now())),
            Err(error) => tracing::warn!(error, "what was counted for the measures could not be kept; the next start counts it again"),
        }
    }

    /// Counts what the log has grown by, at most so many entries.
    async fn count_up<'m>(&self, measured: &'m mut Measured, most: u64) -> Result<&'m Projection, Refusal> {
        if measured.projection.is_none() {
            let kept = self.kept_measures().await?;
            measured.kept = kept.entries();
            measured.projection = Some(kept);
        }
        let Some(projection) = &mut measured.projection else { return Err(Refusal::of(Reason::Internal)) };
        let begun = projection.entries();
        while projection.entries() - begun < most {
            let leaves = self.store.sequenced_from(projection.entries(), BATCH).await.map_err(unavailable)?;
            for leaf in &leaves {
                if leaf.index != projection.entries() {
                    let why = format!("the log has no entry {}; run `tidegate audit replay`", projection.entries());
                    return Err(Refusal::because(Reason::Internal, why));
                }
                projection.hear(&leaf.leaf).map_err(|error| {
                    tracing::error!(%error, "the measures stop there");
                    Refusal::because(Reason::Internal, error.to_string())
                })?;
            }
            if leaves.len() < BATCH as usize {
                break;
            }
            tokio::task::yield_now().await;
        }
        Ok(projection)
    }

    /// What was kept, if it follows from this log; else nothing, and the log is told from its beginning.
    async fn kept_measures(&self) -> Result<Projection, Refusal> {
        let body = self.store.projection(NAME).await.map_err(unavailable)?;
        let Some(kept) = body.as_deref().and_then(Projection::kept) else {
            if body.is_some() {
                self.store.forget_projection(NAME).await.map_err(unavailable)?;
            }
            return Ok(Projection::default());
        };
        let Some(last) = kept.entries().checked_sub(1) else { return Ok(kept) };
        let there = self.store.sequenced_from(last, 1).await.map_err(unavailable)?;
        if there.first().is_some_and(|leaf| leaf.index == last && Some(leaf.entry) == kept.last()) {
            return Ok(kept);
        }
        tracing::warn!("what was counted for the measures follows from another log; this one is told from its beginning");
        self.store.forget_projection(NAME).await.map_err(unavailable)?;
        Ok(Projection::default())
    }
}
