//! Something that rights stand on has changed: what is open is decided anew.
//!
//! *Takes* the grants that are open, of everybody or of some. *Proves* of each whether a path still covers it that was paid for. *Hands to* live
//! sessions the cut of what none covers, and to the log the end of those grants.
//!
//! Cut first, told afterwards: what somebody uses is decided before what nobody does, each part is cut as soon as it is decided, and the
//! entries follow, many in one transaction. Everybody is looked up once, and policy is asked on threads that nobody else waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use access::event::Event;
use access::grant::GrantRow;
use access::ids::{GrantId, PrincipalId, SessionId};
use access::lock::LockRow;
use access::reason::{Reason, Refusal};
use access::session::EndReason;
use jiff::Timestamp;
use policy::{Bundle, Situation};
use store::{Change, CommitError, StoreError};

use crate::gate::Gate;
use crate::live::LiveRights;
use crate::lock::shut_by;

/// How many are decided before what is to be cut among them is cut.
const PART: usize = 128;
/// How many people are looked up at once; the store has other readers.
pub(crate) const LOOKED_UP: usize = 4;
/// How many ends one transaction enters at most.
const IN_ONE_CHANGE: usize = 200;

/// What is known of somebody while what they have open is decided anew.
#[derive(Debug)]
struct Known {
    /// Who answers for them, if any lock is about people.
    owner: Result<Option<PrincipalId>, Refusal>,
    situation: Result<Situation, Refusal>,
}

impl Known {
    /// Whether nothing can be said of them, as the store did not answer.
    fn is_unread(&self) -> bool {
        let unread = |refusal: &Refusal| refusal.reason == Reason::StoreUnavailable;
        self.owner.as_ref().is_err_and(unread) || self.situation.as_ref().is_err_and(unread)
    }
}

/// Everybody who was looked up so far.
type Everybody = BTreeMap<PrincipalId, Arc<Known>>;

/// A grant that nothing covers any more, and why.
type Gone = (GrantId, Refusal);

impl Gate {
    /// Decides every open grant anew, after something it stands on changed. What no path covers that was paid for is withdrawn and cut.
    pub async fn redecide_all(&self) -> Vec<GrantId> {
        let _one_at_a_time = self.redeciding.lock().await;
        let open = self.store.open_grants().await.unwrap_or_else(|error| {
            self.redecide_later(&error);
            Vec::new()
        });
        Box::pin(self.decide_anew(open, |_| true)).await
    }

    /// Decides these open grants anew, and what live sessions of these people may do; those that were withdrawn. Whoever calls it holds
    /// `redeciding`, so that the policy stays the same meanwhile.
    pub(crate) async fn decide_anew(&self, open: Vec<GrantRow>, of: impl Fn(PrincipalId) -> bool) -> Vec<GrantId> {
        let bundle = self.bundle();
        let mut known = Everybody::new();
        let gone = self.cut_what_nothing_covers(&bundle, open, &mut known).await;
        let live = self.live.rights(of);
        self.cut_what_exceeds_its_role(&bundle, &live, &mut known).await;
        let withdrawn = self.enter_withdrawn(&bundle, &gone).await;
        // What came to stand on one of them meanwhile, as another grant of the same person ended. From here on nothing does.
        self.cut_those(&gone);
        withdrawn
    }

    /// What could not be decided anew is as soon as the store answers; every opening is decided by itself.
    pub(crate) fn redecide_later(&self, error: &StoreError) {
        tracing::error!(%error, "open grants cannot be read or withdrawn; every opening is decided, and the sweep tries again");
        self.redecide_due.store(true, Ordering::Relaxed);
    }

    /// Cuts the sessions of grants that are locked or that no paid path covers, and names those grants.
    async fn cut_what_nothing_covers(&self, bundle: &Arc<Bundle>, mut open: Vec<GrantRow>, known: &mut Everybody) -> Vec<Gone> {
        let now = self.now();
        let locks = match self.store.holding_locks(now).await {
            Ok(locks) => Arc::new(locks),
            Err(error) => {
                self.redecide_later(&error);
                return Vec::new();
            }
        };
        let in_use = self.live.grants();
        open.sort_by_key(|row| !in_use.contains(&row.id));
        let mut all = Vec::new();
        for part in open.chunks(PART) {
            self.look_up(part.iter().map(|row| row.person).collect(), &locks, known).await;
            let part: Vec<_> = part.iter().filter_map(|row| Some((row.clone(), self.readable(known, row.person)?))).collect();
            let (bundle, locks) = (Arc::clone(bundle), Arc::clone(&locks));
            let gone = self
                .off_the_runtime(move || {
                    let stands = |(row, known): (GrantRow, Arc<Known>)| {
                        still_stands(&row, &known, (locks.as_slice(), now), &bundle).err().map(|refusal| (row.id, refusal))
                    };
                    part.into_iter().filter_map(stands).collect::<Vec<Gone>>()
                })
                .await;
            self.cut_those(&gone);
            all.extend(gone);
        }
        all
    }

    /// Cuts what stands on grants that nothing covers.
    fn cut_those(&self, gone: &[Gone]) {
        for end in [EndReason::Locked, EndReason::Withdrawn] {
            let of_them: BTreeSet<GrantId> = gone.iter().filter(|(_, why)| end_for(why) == end).map(|(grant, _)| *grant).collect();
            if !of_them.is_empty() {
                self.live.cut(end, |live| of_them.contains(&live.grant));
            }
        }
    }

    /// Cuts those of these live sessions whose relay still lets through what the role no longer includes.
    async fn cut_what_exceeds_its_role(&self, bundle: &Arc<Bundle>, live: &[LiveRights], known: &mut Everybody) {
        for part in live.chunks(PART) {
            // No lock is asked about here.
            self.look_up(part.iter().map(|live| live.person).collect(), &[], known).await;
            let part: Vec<_> = part.iter().filter_map(|live| Some((live.clone(), self.readable(known, live.person)?))).collect();
            let bundle = Arc::clone(bundle);
            let exceed = self
                .off_the_runtime(move || {
                    let exceed = |(live, known): &(LiveRights, Arc<Known>)| exceeds_its_role(live, known, &bundle);
                    part.iter().filter(|one| exceed(one)).map(|(live, _)| live.session).collect::<BTreeSet<SessionId>>()
                })
                .await;
            if !exceed.is_empty() {
                self.live.cut(EndReason::Withdrawn, |live| exceed.contains(&live.session));
            }
        }
    }

    /// Enters the end of these grants; those of which it was entered. Where one of many ended by itself meanwhile, each is entered alone.
    async fn enter_withdrawn(&self, bundle: &Bundle, gone: &[Gone]) -> Vec<GrantId> {
        let mut withdrawn = Vec::with_capacity(gone.len());
        for part in gone.chunks(IN_ONE_CHANGE) {
            let mut tries = vec![part];
            while let Some(now) = tries.pop() {
                match self.withdraw(bundle, now).await {
                    Ok(()) => withdrawn.extend(now.iter().map(|(grant, _)| *grant)),
                    Err(CommitError::Unavailable(error)) => {
                        self.redecide_later(&error);
                        return withdrawn;
                    }
                    Err(_) if now.len() > 1 => tries.extend(now.chunks(1)),
                    // Somebody else ended it first.
                    Err(CommitError::Conflict { .. } | CommitError::Illegal(_)) => {}
                    Err(error) => {
                        tracing::error!(%error, "a grant that nothing covers could not be withdrawn; its sessions are cut, and the sweep tries again");
                        self.redecide_due.store(true, Ordering::Relaxed);
                    }
                }
            }
        }
        withdrawn
    }

    async fn withdraw(&self, bundle: &Bundle, gone: &[Gone]) -> Result<(), CommitError> {
        let mut drafts = gone.iter().map(|(grant, why)| {
            let (reason, bundle) = (why.reason, bundle.digest().to_owned());
            let event = Event::GrantWithdrawn { grant: *grant, reason, bundle, policies: why.policies() };
            self.own_draft(event).text("detail", why.detail.clone())
        });
        let Some(first) = drafts.next() else { return Ok(()) };
        let change = Change::new(first).and_all(drafts);
        self.commit(change).await.map(drop)
    }

    /// Looks up those of these people who are not known yet, each once.
    async fn look_up(&self, people: Vec<PrincipalId>, locks: &[LockRow], known: &mut Everybody) {
        let new: BTreeSet<PrincipalId> = people.into_iter().filter(|person| !known.contains_key(person)).collect();
        let new: Vec<PrincipalId> = new.into_iter().collect();
        for few in new.chunks(LOOKED_UP) {
            let found = futures::future::join_all(few.iter().map(|person| self.as_judged(*person, locks))).await;
            known.extend(few.iter().copied().zip(found.into_iter().map(Arc::new)));
        }
    }

    async fn as_judged(&self, person: PrincipalId, locks: &[LockRow]) -> Known {
        Known { owner: self.owner_of(person, locks).await, situation: self.situation_of(person).await }
    }

    /// What is known of somebody; of whom the store told nothing, what they have is decided by a later look.
    fn readable(&self, known: &Everybody, person: PrincipalId) -> Option<Arc<Known>> {
        let found = known.get(&person).filter(|known| !known.is_unread()).cloned();
        if found.is_none() {
            self.redecide_due.store(true, Ordering::Relaxed);
        }
        found
    }

    /// Works on a thread of its own. A fault there finds nothing, and is looked at again.
    async fn off_the_runtime<T: Default + Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
            tracing::error!(%error, "what is open could not be decided anew by a fault of the gate; the sweep tries again");
            self.redecide_due.store(true, Ordering::Relaxed);
            T::default()
        })
    }
}

/// Whether nothing is locked and policy still has a path that a grant has paid for.
fn still_stands(row: &GrantRow, known: &Known, (locks, now): (&[LockRow], Timestamp), bundle: &Bundle) -> Result<(), Refusal> {
    // A fault in one is an answer about that one: no.
    let decided = catch_unwind(AssertUnwindSafe(|| {
        let owner = known.owner.clone()?;
        shut_by(locks, now, (row.person, owner), &row.role, &row.resource)?;
        bundle.redecide(known.situation.as_ref().map_err(Clone::clone)?, row)
    }));
    decided.unwrap_or_else(|_| Err(Refusal::of(Reason::PolicyError)))
}

/// Whether a session may do more than its role includes now. Who they are counts as it is now; what was frozen when it opened (second factor,
/// address, duty, hours) as it was then.
fn exceeds_its_role(live: &LiveRights, known: &Known, bundle: &Bundle) -> bool {
    let now = known.situation.as_ref().ok().and_then(|situation| {
        let then = live.judged_in.clone();
        let situation = Situation {
            claims: then.claims,
            mfa: then.mfa,
            mfa_at: then.mfa_at,
            network: then.network,
            now: then.now,
            on_call: then.on_call,
            ..situation.clone()
        };
        bundle.rights(&situation, &live.role, &live.resource)
    });
    let within = now.is_some_and(|now| policy::rights_added(&live.limits.narrow(now), &live.rights).is_empty());
    !within
}

/// Why a grant's sessions end.
fn end_for(why: &Refusal) -> EndReason {
    if matches!(why.reason, Reason::Locked | Reason::Disabled) { EndReason::Locked } else { EndReason::Withdrawn }
}
