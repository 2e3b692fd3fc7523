//! What time does by itself: sessions warned and cut, grants and requests that run out, locks that lift.
//!
//! *Takes* the time. *Proves* nothing by itself: each end is compared and set. *Hands to* live sessions their warnings and cuts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use access::event::{EntryDraft, Event};
use access::grant::{GrantRow, GrantState};
use access::ids::GrantId;
use access::reason::Reason;
use access::request::{RequestRow, RequestState};
use access::row::Row;
use access::session::EndReason;
use jiff::Timestamp;
use store::{Change, Page, SessionFilter};
use tokio_util::sync::CancellationToken;

use crate::gate::Gate;

/// How often live sessions are looked at. It bounds how late a cut at the end of a grant can be.
const TICK: Duration = Duration::from_millis(100);
/// How often the store is looked at.
const STORE_EVERY: Duration = Duration::from_millis(500);
/// After how many looks at the store every open grant is decided anew: what time alone changes, as the end of a contract.
const REDECIDE_EVERY: u32 = 120;
/// How long a session whose time is up may take to find another grant it can stand on.
const REHOME_WITHIN: Duration = Duration::from_millis(300);
/// How many due rows one look takes at most.
const BATCH: u32 = 500;

impl Gate {
    /// Runs until told to stop.
    pub async fn sweep_forever(self: Arc<Self>, stop: CancellationToken) {
        let sessions = async {
            loop {
                tokio::time::sleep(TICK).await;
                self.sweep_sessions().await;
            }
        };
        // Apart from it, so that a store that doesn't answer delays no cut.
        let store = async {
            let mut look: u32 = 0;
            loop {
                tokio::time::sleep(STORE_EVERY).await;
                self.sweep_store().await;
                look = look.wrapping_add(1);
                if look.is_multiple_of(REDECIDE_EVERY) {
                    self.redecide_all().await;
                }
            }
        };
        // Apart from both, so that a target that doesn't answer delays nothing else.
        let accounts = async {
            loop {
                tokio::time::sleep(STORE_EVERY).await;
                self.drop_unused_accounts().await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = sessions => {}
            () = store => {}
            () = accounts => {}
        }
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
            if !rehomed.await.unwrap_or(false) {
                self.live.cut(EndReason::Expired, |live| live.session == session && live.grant == grant);
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
        let now = self.now();
        if let Err(error) = self.store.raise_high_water(now).await {
            tracing::error!(%error, "the newest time could not be kept");
        }
        for row in self.store.due_grants(now, BATCH).await.unwrap_or_default() {
            let event =
                if row.state == GrantState::Ready { Event::GrantLapsed { grant: row.id } } else { Event::GrantExpired { grant: row.id } };
            self.set(self.own_draft(event), &row).await;
        }
        self.end_idle_grants(now).await;
        for row in self.store.overdue_requests(now, BATCH).await.unwrap_or_default() {
            self.set(self.own_draft(Event::RequestExpired { request: row.id }), &row).await;
            self.tell_of_extension(&RequestRow { state: RequestState::Expired, ..row }, None).await;
        }
        for row in self.store.due_locks(now).await.unwrap_or_default() {
            self.set(self.own_draft(Event::LockLifted { lock: row.id }), &row).await;
        }
    }

    /// Ends active grants that nobody has used for their idle time.
    async fn end_idle_grants(&self, now: Timestamp) {
        for row in self.store.open_grants().await.unwrap_or_default() {
            let (Some(idle), Some(starts_at)) = (row.terms.idle, row.starts_at) else { continue };
            if row.ends_at.is_none() || idle.after(starts_at) > now || !self.live.of_grant(row.id).is_empty() {
                continue;
            }
            let filter = SessionFilter { grant: Some(row.id), ..SessionFilter::default() };
            let Ok(sessions) = self.store.sessions(&filter, &Page::first(BATCH)).await else { return };
            let used = sessions.iter().map(|session| session.ended_at.unwrap_or(now)).max().unwrap_or(starts_at);
            if idle.after(used) <= now {
                self.set(self.own_draft(Event::GrantIdled { grant: row.id }), &row).await;
                // Who came in at this very moment stood on it already; the grant is over for them too.
                self.live.cut(EndReason::Expired, |live| live.grant == row.id);
            }
        }
    }

    /// Enters an end if nobody was faster; who was, is right.
    async fn set<R: Row>(&self, draft: EntryDraft, row: &R) {
        if let Err(error) = self.commit(Change::new(draft).expect(row)).await {
            tracing::debug!(%error, "somebody was faster, or the store is away; the next sweep looks again");
        }
    }

    /// Decides every open grant anew, after something it stands on changed. What no path covers that was paid for is withdrawn and cut.
    pub async fn redecide_all(&self) -> Vec<GrantId> {
        let _one_at_a_time = self.redeciding.lock().await;
        let open = match self.store.open_grants().await {
            Ok(open) => open,
            Err(error) => {
                tracing::error!(%error, "open grants cannot be read to be decided anew; every opening is, and the next change tries again");
                self.redecide_due.store(true, Ordering::Relaxed);
                Vec::new()
            }
        };
        let mut withdrawn = Vec::new();
        for row in open {
            if self.redecide_one(&row).await {
                withdrawn.push(row.id);
            }
        }
        self.cut_what_exceeds_its_role().await;
        withdrawn
    }

    /// Cuts live sessions whose relay still lets through what the role no longer includes.
    async fn cut_what_exceeds_its_role(&self) {
        let bundle = self.bundle();
        for live in self.live.rights() {
            let now = match self.situation_of(live.person).await {
                Ok(situation) => bundle.rights(&situation, &live.role, &live.resource),
                Err(refusal) if refusal.reason == Reason::StoreUnavailable => {
                    self.redecide_due.store(true, Ordering::Relaxed);
                    continue;
                }
                Err(_) => None,
            };
            let within = now.is_some_and(|now| policy::rights_added(&live.limits.narrow(now), &live.rights).is_empty());
            if !within {
                self.live.cut(EndReason::Withdrawn, |other| other.session == live.session);
            }
        }
    }

    async fn redecide_one(&self, row: &GrantRow) -> bool {
        let Err(refusal) = self.still_paid_for(row).await else { return false };
        let (reason, end) = match refusal.reason {
            Reason::StoreUnavailable => {
                self.redecide_due.store(true, Ordering::Relaxed);
                return false;
            }
            Reason::Locked | Reason::Disabled => (refusal.reason, EndReason::Locked),
            other => (other, EndReason::Withdrawn),
        };
        self.live.cut(end, |live| live.grant == row.id);
        let event = Event::GrantWithdrawn { grant: row.id, reason, bundle: self.bundle.load().digest().to_owned() };
        let draft = self.own_draft(event).text("detail", refusal.detail);
        self.commit(Change::new(draft)).await.is_ok()
    }
}
