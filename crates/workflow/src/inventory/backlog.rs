//! Whether the backlog shrinks: counted from the log.

use std::collections::BTreeMap;

use access::event::Event;
use access::ids::PathId;
use access::inventory::{PathState, SourceRow};
use access::reason::Refusal;
use jiff::{Timestamp, ToSpan as _};
use store::{EntryFilter, EntryPage};

use crate::Caller;
use crate::gate::{Gate, unavailable};

/// So many weeks are told at most.
const MOST_WEEKS: u32 = 104;
/// How many entries are read at once.
const BATCH: u32 = 1_000;

/// The backlog, now and over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Backlog {
    /// How many ways are in which state now.
    pub now: BTreeMap<PathState, u64>,
    /// At the end of each week, the oldest first; the last one is now.
    pub weeks: Vec<Week>,
    /// The lists that ways came from.
    pub sources: Vec<SourceRow>,
}

/// How many ways were in which state at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Week {
    /// When.
    pub at: Timestamp,
    /// How many.
    pub counts: BTreeMap<PathState, u64>,
}

impl Gate {
    /// The backlog of ways outside the gate, now and at the end of each of the last weeks.
    ///
    /// # Errors
    /// If the caller may not see the inventory, or the store can't be read.
    pub async fn backlog(&self, caller: &Caller, weeks: u32) -> Result<Backlog, Refusal> {
        self.may_see_inventory(caller).await?;
        let now: BTreeMap<PathState, u64> = self.store.inventory_counts().await.map_err(unavailable)?.into_iter().collect();
        let weeks = self.backlog_by_week(weeks.clamp(1, MOST_WEEKS)).await?;
        let sources = self.store.inventory_sources().await.map_err(unavailable)?;
        Ok(Backlog { now, weeks, sources })
    }

    async fn backlog_by_week(&self, weeks: u32) -> Result<Vec<Week>, Refusal> {
        let now = self.now();
        let ends: Vec<Timestamp> = (0..weeks).rev().filter_map(|back| now.checked_sub((i64::from(back) * 7 * 24).hours()).ok()).collect();
        let (mut states, mut out, mut after) = (BTreeMap::<PathId, PathState>::new(), Vec::with_capacity(ends.len()), None);
        let mut ends = ends.into_iter().peekable();
        loop {
            let filter = EntryFilter { name: Some("path.".to_owned()), ..EntryFilter::default() };
            let page = EntryPage { limit: BATCH, after, newest_first: false };
            let entries = self.store.entries(&filter, page).await.map_err(unavailable)?;
            let Some(last) = entries.last() else { break };
            after = Some(last.seq);
            let all = entries.len() < BATCH as usize;
            for logged in entries {
                while let Some(end) = ends.next_if(|end| *end < logged.entry.at) {
                    out.push(week(end, &states));
                }
                if let Some((path, state)) = moved(&logged.entry.event) {
                    states.insert(path, state);
                }
            }
            if all {
                break;
            }
        }
        out.extend(ends.map(|end| week(end, &states)));
        Ok(out)
    }
}

fn week(at: Timestamp, states: &BTreeMap<PathId, PathState>) -> Week {
    let mut counts = BTreeMap::new();
    for state in states.values() {
        *counts.entry(*state).or_insert(0) += 1;
    }
    Week { at, counts }
}

/// What an entry says became of a way.
fn moved(event: &Event) -> Option<(PathId, PathState)> {
    match event {
        Event::PathFound { path, .. } | Event::PathReopened { path } => Some((*path, PathState::Open)),
        Event::PathTakenIn { path, .. } => Some((*path, PathState::TakenIn)),
        Event::PathAccepted { path, .. } => Some((*path, PathState::Accepted)),
        Event::PathClosed { path } => Some((*path, PathState::Closed)),
        Event::PathGone { path } => Some((*path, PathState::Gone)),
        _ => None,
    }
}
