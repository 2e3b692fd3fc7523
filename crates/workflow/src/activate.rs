//! A grant's clock starts.
//!
//! *Takes* a ready grant. *Proves* that it may still be used. *Hands to* `open` an active one.

use access::event::{EntryDraft, Event};
use access::grant::{GrantRow, GrantState};
use access::ids::GrantId;
use access::reason::{Reason, Refusal};
use policy::Situation;
use store::Change;

use crate::Caller;
use crate::gate::{Gate, unavailable};
use crate::seen::AsSeen;

impl Gate {
    /// The holder starts a grant's clock without connecting.
    ///
    /// # Errors
    /// If it is not theirs, has ended, or policy no longer allows it.
    pub async fn activate(&self, caller: &Caller, grant: impl Into<AsSeen<GrantId>>) -> Result<GrantRow, Refusal> {
        let AsSeen { id: grant, seen } = grant.into();
        let row = self.own_grant(caller, grant).await?;
        seen.is(row.version)?;
        match row.state {
            GrantState::Active => return Ok(row),
            GrantState::Ended => return Err(Refusal::of(Reason::GrantEnded)),
            GrantState::Ready => {}
        }
        self.still_paid_for(&row).await?;
        if let Err(refusal) = self.refuse_grant_s_ticket_unless(&row).await {
            self.enter_refused(caller, Some(&row.resource), Some(&row.role), &refusal).await;
            return Err(refusal);
        }
        let draft = self.activation(caller, &row)?;
        let committed = self.commit_seen(Change::new(draft).expect(&row), &row, &seen).await?;
        committed.rows.grants.into_values().next().ok_or_else(|| Refusal::of(Reason::NotFound))
    }

    /// The entry that starts a ready grant's clock, once.
    pub(crate) fn activation(&self, caller: &Caller, row: &GrantRow) -> Result<EntryDraft, Refusal> {
        let now = self.now();
        if row.activate_by <= now {
            return Err(Refusal::because(Reason::GrantExpired, format!("it had to be used by {}", row.activate_by)));
        }
        let ends_at = row.ends_if_started(now);
        Ok(self.draft(caller, Event::GrantActivated { grant: row.id, starts_at: now, ends_at }))
    }

    /// Whether nothing is locked and policy still has a path that this grant has paid for.
    pub(crate) async fn still_paid_for(&self, row: &GrantRow) -> Result<(), Refusal> {
        let (unlocked, situation) =
            tokio::join!(self.refuse_if_locked(row.person, &row.role, &row.resource), self.situation_of(row.person));
        unlocked?;
        self.bundle.load().redecide(&situation?, row)
    }

    /// Whether it also is from where the caller is now. The grant stands as it was given; the door stays shut from elsewhere.
    pub(crate) async fn may_be_used_from_here(&self, caller: &Caller, row: &GrantRow) -> Result<(), Refusal> {
        let here = caller.who.from().map(|address| address.to_canonical());
        if here.is_none() || here == row.frozen.network.map(|address| address.to_canonical()) {
            return Ok(());
        }
        let situation = Situation { network: here, ..self.situation_of(row.person).await? };
        self.bundle.load().redecide(&situation, row).map_err(|refusal| {
            let from = here.map(|address| address.to_string()).unwrap_or_default();
            let detail = refusal.detail.map(|detail| format!(": {detail}")).unwrap_or_default();
            let why = format!("`{}+{}` may not be used from {from}{detail}", row.resource, row.role);
            Refusal { ruled: refusal.ruled, ..Refusal::because(forbidden_unless_failed(refusal.reason), why) }
        })
    }

    /// A grant of the caller's own; anybody else's is as one that doesn't exist.
    pub(crate) async fn own_grant(&self, caller: &Caller, grant: GrantId) -> Result<GrantRow, Refusal> {
        let row = self.store.grant(grant).await.map_err(unavailable)?;
        row.filter(|row| is_for(row, caller)).ok_or_else(|| Refusal::of(Reason::NotFound))
    }
}

/// Why a grant that stands is shut: something forbids it, or cannot be evaluated.
pub(crate) fn forbidden_unless_failed(reason: Reason) -> Reason {
    if reason == Reason::PolicyError { reason } else { Reason::Forbidden }
}

/// Whether a grant is the caller's own. INVARIANT: what one job of a workload was given, no other job of it uses.
pub(crate) fn is_for(grant: &GrantRow, caller: &Caller) -> bool {
    grant.person == caller.who.id() && grant.frozen.claims.as_ref() == caller.who.claims()
}
