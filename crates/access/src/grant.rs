//! The bounded right: who may do what where until when, and why it ended.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::claims::JobClaims;
use crate::identity::Mfa;
use crate::ids::{GrantId, PrincipalId, RequestId};
use crate::limits::Limits;
use crate::names::{ResourceName, RoleName};
use crate::reason::{Reason, Refusal};
use crate::time::Span;
use crate::verdict::Terms;

codes! {
    /// Where a grant stands.
    GrantState("grant state") {
        /// Agreed, its clock not yet started.
        Ready = "ready",
        /// Its clock runs.
        Active = "active",
        /// It is over.
        Ended = "ended",
    }
}

codes! {
    /// Why a grant ended.
    GrantEnd("grant end") {
        /// Its time was up.
        Expired = "expired",
        /// Somebody who may took it away.
        Revoked = "revoked",
        /// Its holder gave it back.
        Returned = "returned",
        /// Policy, groups, a lock or the resource changed, and no path that was paid for is left.
        Withdrawn = "withdrawn",
        /// It was not used within the time to activate it.
        Lapsed = "lapsed",
        /// Nobody used it for its idle time.
        Idle = "idle",
    }
}

/// Who agreed, in the order they did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Approvers(pub Vec<PrincipalId>);
json_fields!(Approvers);

/// What was true when the grant was made and is not asked again: decisions after a change use these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// How strongly the asker had proved who they are.
    pub mfa: Mfa,
    /// When.
    pub mfa_at: Timestamp,
    /// The ticket they named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The schedules they were on call for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_call: Vec<crate::names::GroupName>,
    /// From where they asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<std::net::IpAddr>,
    /// The job that asked: no other may use the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<JobClaims>,
    /// What was unusual about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<crate::risk::Risk>,
    /// When they asked; windows and hours are judged as of then.
    pub asked_at: Timestamp,
}
json_fields!(Frozen);

row! {
    /// A grant as it is kept.
    GrantRow in "grants" {
        /// `grt_…`.
        id: GrantId,
        /// The request it came from.
        request: RequestId,
        /// Whose.
        person: PrincipalId,
        /// Where to.
        resource: ResourceName,
        /// As what.
        role: RoleName,
        /// What the asker renounced.
        limits: Limits,
        /// What the path costs.
        terms: Terms,
        /// How long it is; `None`: standing.
        length: Option<Span>,
        /// Whether it is an emergency.
        break_glass: bool,
        /// The digest of the bundle that decided.
        bundle: String,
        /// The policy whose path was chosen.
        policy: String,
        /// Who agreed.
        approvers: Approvers,
        /// What was true then.
        frozen: Frozen,
        /// Where it stands.
        state: GrantState,
        /// Since when it exists.
        created_at: Timestamp,
        /// Until when its clock must have started.
        activate_by: Timestamp,
        /// When its clock started.
        starts_at: Option<Timestamp>,
        /// When it ends; `None` before activation, and for standing grants.
        ends_at: Option<Timestamp>,
        /// When it ended.
        ended_at: Option<Timestamp>,
        /// Why it ended.
        end: Option<GrantEnd>,
        /// Counts changes.
        version: i64,
    }
}

/// Proof that a grant is open at a moment. Consumed by opening a session.
#[derive(Debug)]
pub struct Grant {
    row: GrantRow,
}

impl GrantRow {
    /// Whether it counts as standing: it has no end, or a tier that is only observed let it through.
    #[must_use]
    pub fn is_standing(&self) -> bool {
        self.length.is_none() || self.terms.observed_until.is_some()
    }

    /// When it ends if its clock starts now. INVARIANT: what was given because a tier was only observed ends when that does.
    #[must_use]
    pub fn ends_if_started(&self, now: Timestamp) -> Option<Timestamp> {
        let end = self.length.map(|length| length.after(now));
        match (end, self.terms.observed_until) {
            (Some(end), Some(until)) => Some(end.min(until)),
            (None, until) => until,
            (end, None) => end,
        }
    }
}

impl Grant {
    /// The grant, if its clock runs and its end is not reached at `now`.
    ///
    /// # Errors
    /// Says why it is not open.
    pub fn open(row: GrantRow, now: Timestamp) -> Result<Self, Refusal> {
        match (row.state, row.end) {
            (GrantState::Ready, _) => Err(Refusal::of(Reason::NotActivated)),
            // The clock was set back since.
            (GrantState::Active, _) if row.starts_at.is_some_and(|start| start > now) => Err(Refusal::of(Reason::NotActivated)),
            (GrantState::Active, _) if row.ends_at.is_some_and(|end| end <= now) => Err(Refusal::of(Reason::GrantExpired)),
            (GrantState::Active, _) => Ok(Self { row }),
            (GrantState::Ended, Some(GrantEnd::Revoked)) => Err(Refusal::of(Reason::GrantRevoked)),
            (GrantState::Ended, Some(GrantEnd::Withdrawn)) => Err(Refusal::of(Reason::GrantWithdrawn)),
            (GrantState::Ended, _) => Err(Refusal::of(Reason::GrantExpired)),
        }
    }

    /// What is kept of it.
    #[must_use]
    pub fn row(&self) -> &GrantRow {
        &self.row
    }
}
