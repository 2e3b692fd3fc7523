//! What time does by itself: sessions warned and cut, grants and requests that run out, locks that lift.
//!
//! *Takes* the time. *Proves* nothing by itself: each end is compared and set. *Hands to* live sessions their warnings and cuts.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use access::event::{EntryDraft, Event};
use access::grant::GrantState;
use access::request::{RequestRow, RequestState};
use access::row::Row;
use access::session::EndReason;
use futures::FutureExt as _;
use jiff::Timestamp;
use store::{Change, Page, SessionFilter};
use tokio_util::sync::CancellationToken;

use crate::gate::Gate;

/// How often live sessions are looked at. It bounds how late a cut at the end of a grant can be.
const TICK: Duration = Duration::from_millis(100);
/// How often it is seen whether they still are.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// How often the store is looked at.
const STORE_EVERY: Duration = Duration::from_millis(500);
/// How often what the log has grown by is counted.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// How often recordings whose time is up are looked for.
const LET_GO_EVERY: Duration = Duration::from_secs(300);
/// After how many looks at the store every open grant is decided anew: what time alone changes, as the end of a contract.
const REDECIDE_EVERY: u32 = 120;
/// How often it is looked which ways beside the gate are inside by now, and which targets are to be looked at.
const INVENTORY_EVERY: Duration = Duration::from_secs(60);
/// How long a session whose time is up may take to find another grant it can stand on.
const REHOME_WITHIN: Duration = Duration::from_millis(300);
/// How many due rows one look takes at most.
const BATCH: u32 = 500;

/// Does something again and again until told to stop. A fault in one time is told, and the next time comes all the same.
pub(crate) async fn again<W: Future<Output = ()>>(
    stop: CancellationToken,
    every: Duration,
    what: &'static str,
    mut once: impl FnMut() -> W,
) {
    while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
        match stop.run_until_cancelled(AssertUnwindSafe(once()).catch_unwind()).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(_)) => tracing::error!(what, "a fault of the gate while it looked after this; it goes on"),
        }
    }
}

impl Gate {
    /// Runs until told to stop.
    pub async fn sweep_forever(self: Arc<Self>, stop: CancellationToken) {
        // INVARIANT: a task each, so that nothing that is slow, and no fault in what looks at the store, delays a cut.
        let gate = Arc::clone(&self);
        let sessions = tokio::spawn(again(stop.clone(), TICK, "the ends of sessions", move || {
            let gate = Arc::clone(&gate);
            async move {
                gate.sweep_sessions().await;
                gate.last_look.now(Instant::now());
            }
        }));
        let gate = Arc::clone(&self);
        let watchdog = tokio::spawn(again(stop.clone(), WATCH_EVERY, "the sweep", move || {
            gate.look_after_the_sweep(Instant::now());
            std::future::ready(())
        }));
        let gate = Arc::clone(&self);
        let looks = Arc::new(AtomicU32::new(0));
        let store = tokio::spawn(again(stop.clone(), STORE_EVERY, "what is due in the store", move || {
            let (gate, looks) = (Arc::clone(&gate), Arc::clone(&looks));
            async move {
                gate.sweep_store().await;
                if looks.fetch_add(1, Ordering::Relaxed).wrapping_add(1).is_multiple_of(REDECIDE_EVERY) {
                    gate.redecide_all().await;
                }
            }
        }));
        let gate = Arc::clone(&self);
        let measures = tokio::spawn(again(stop.clone(), COUNT_EVERY, "the measures", move || {
            let gate = Arc::clone(&gate);
            async move { gate.keep_measuring().await }
        }));
        let gate = Arc::clone(&self);
        let thresholds = tokio::spawn(again(stop.clone(), TICK, "what sessions take out", move || {
            let gate = Arc::clone(&gate);
            async move { gate.watch_results().await }
        }));
        let gate = Arc::clone(&self);
        let kept = tokio::spawn(again(stop.clone(), LET_GO_EVERY, "recordings whose time is up", move || {
            let gate = Arc::clone(&gate);
            async move {
                match gate.let_go_of_recordings().await {
                    Ok(0) => {}
                    Ok(gone) => tracing::info!(gone, "recordings were kept for as long as their tier says, and are gone"),
                    Err(refusal) => tracing::warn!(%refusal, "recordings whose time is up could not be let go of; it is tried again"),
                }
            }
        }));
        let gate = Arc::clone(&self);
        let inventory = tokio::spawn(again(stop.clone(), INVENTORY_EVERY, "the inventory", move || {
            let gate = Arc::clone(&gate);
            async move {
                gate.look_after_inventory().await;
                gate.look_for_drift_where_due().await;
            }
        }));
        let accounts = tokio::spawn(again(stop, STORE_EVERY, "accounts that nobody uses", move || {
            let gate = Arc::clone(&self);
            async move { gate.drop_unused_accounts().await }
        }));
        let _ended = tokio::join!(sessions, watchdog, store, measures, kept, thresholds, accounts, inventory);
    }

    /// One look at the sessions that live here. Cuts act from memory; entries follow.
    pub async fn sweep_sessions(&self) {
        let moving = self.live.due(self.now()).into_iter().map(|(session, grant)| async move {
            let rehomed = tokio::time::timeout(REHOME_WITHIN, async {
                match self.store.grant(grant).await {
                    Ok(Some(row)) => self.rehome(session, &row).await,
                    _ => false,
                }
            });
            match rehomed.await {
                Ok(true) => {}
                Ok(false) => drop(self.live.cut(EndReason::Expired, |live| live.session == session && live.grant == grant)),
                // Whichever grant it would have stood on: closing does not wait for the store.
                Err(_) => drop(self.live.cut(EndReason::Expired, |live| live.session == session)),
            }
        });
        futures::future::join_all(moving).await;
    }

    /// One look at everything in the store whose time is up.
    pub async fn sweep_store(&self) {
        self.drain_journal().await;
        if self.groups_ran_out(self.now()).await {
            self.redecide_due.store(true, Ordering::Relaxed);
        }
        if self.redecide_due.swap(false, Ordering::Relaxed) {
            self.redecide_all().await;
        }
        let keeping = self.keeping_time.read().await;
        let now = self.now();
        if let Err(error) = self.store.raise_high_water(now).await {
            tracing::error!(%error, "the newest time could not be kept");
        }
        drop(keeping);
        for row in self.store.due_grants(now, BATCH).await.unwrap_or_default() {
            let event =
                if row.state == GrantState::Ready { Event::GrantLapsed { grant: row.id } } else { Event::GrantExpired { grant: row.id } };
            self.set(self.own_draft(event), &row).await;
        }
        self.end_idle_grants(now).await;
        self.cut_let_in_by_browsers_that_are_gone().await;
        for row in self.store.overdue_requests(now, BATCH).await.unwrap_or_default() {
            self.set(self.own_draft(Event::RequestExpired { request: row.id }), &row).await;
            self.tell_of_extension(&RequestRow { state: RequestState::Expired, ..row }, None).await;
        }
        for row in self.store.due_locks(now).await.unwrap_or_default() {
            self.set(self.own_draft(Event::LockLifted { lock: row.id }), &row).await;
        }
        self.look_after_reviews(now).await;
    }

    /// Ends active grants that nobody has used for their idle time.
    async fn end_idle_grants(&self, now: Timestamp) {
        let in_use = self.live.grants();
        for row in self.store.open_grants().await.unwrap_or_default() {
            let (Some(idle), Some(starts_at)) = (row.terms.idle, row.starts_at) else { continue };
            if row.ends_at.is_none() || idle.after(starts_at) > now || in_use.contains(&row.id) {
                continue;
            }
            let filter = SessionFilter { grant: Some(row.id), ..SessionFilter::default() };
            let Ok(sessions) = self.store.sessions(&filter, &Page::first(BATCH)).await else { return };
            let used = sessions.iter().map(|session| session.ended_at.unwrap_or(now)).max().unwrap_or(starts_at);
            if idle.after(used) <= now {
                // INVARIANT: nobody is cut before the end is entered; a grant that changed meanwhile goes on.
                if self.set(self.own_draft(Event::GrantIdled { grant: row.id }), &row).await {
                    // Who came in at this very moment stood on it already; the grant is over for them too.
                    self.live.cut(EndReason::Expired, |live| live.grant == row.id);
                }
            }
        }
    }

    /// Enters an end if nobody was faster; who was, is right. Whether it was entered.
    pub(crate) async fn set<R: Row>(&self, draft: EntryDraft, row: &R) -> bool {
        let set = self.commit(Change::new(draft).expect(row)).await;
        if let Err(error) = &set {
            tracing::debug!(%error, "somebody was faster, or the store is away; the next sweep looks again");
        }
        set.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    // covers: GRANT-2, E8 (api)
    #[tokio::test]
    async fn a_fault_in_one_look_is_not_the_end_of_looking() {
        let (stop, looks) = (CancellationToken::new(), Arc::new(AtomicU32::new(0)));
        let (counted, enough) = (Arc::clone(&looks), stop.clone());
        let looking = again(stop, TICK, "a test", move || {
            let (counted, enough) = (Arc::clone(&counted), enough.clone());
            async move {
                let look = counted.fetch_add(1, Ordering::Relaxed);
                if look == 5 {
                    enough.cancel();
                }
                assert!(look % 2 == 0, "a fault, put here by a test");
            }
        });
        tokio::time::timeout(Duration::from_secs(60), looking).await.expect("it stopped looking");
        assert_eq!(looks.load(Ordering::Relaxed), 6);
    }
}
