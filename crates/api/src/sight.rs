//! What a caller may see in lists, by the same policy that the verbs ask.

use std::sync::Arc;

use access::approval::Seat;
use access::ids::PrincipalId;
use access::names::{ResourceName, RoleName};
use access::reason::Reason;
use access::request::{RequestRow, RequestState};
use access::time::Span;
use policy::{About, Act, Bundle, Noun, Object, Situation};
use workflow::{Caller, Gate};

use crate::problem::Answer;

/// A caller and the policy in force, as they are now.
pub(crate) struct Sight<'g> {
    pub(crate) gate: &'g Gate,
    pub(crate) bundle: Arc<Bundle>,
    pub(crate) situation: Situation,
}

impl<'g> Sight<'g> {
    /// What policy has to know of the caller, now.
    pub(crate) async fn of(gate: &'g Gate, caller: &Caller) -> Answer<Self> {
        let row = gate.store().person(caller.who.id()).await?.ok_or(Reason::NotSignedIn)?;
        let owner = match row.owner {
            Some(owner) => gate.store().person(owner.into()).await?.map(|owner| owner.username),
            None => None,
        };
        let situation = Situation::of(&caller.who, owner, row.groups.0, gate.now());
        Ok(Self { gate, bundle: gate.bundle(), situation })
    }

    /// Whether policy lets them; leaves no entry.
    pub(crate) fn may(&self, act: Act, on: &Object) -> bool {
        self.bundle.may(&self.situation, act, on).allowed
    }

    /// Whether policy lets them administer this.
    pub(crate) fn administers(&self, noun: Noun) -> bool {
        self.may(Act::Administer(noun), &Object::Nothing)
    }

    /// Whether they may read the whole log, and with it everything it speaks of.
    pub(crate) fn audits(&self) -> bool {
        self.administers(Noun::Audit)
    }

    /// Whether they hold one of these seats.
    pub(crate) fn seated<'s>(&self, seats: impl IntoIterator<Item = &'s Seat>) -> bool {
        seats.into_iter().any(|seat| self.bundle.seated(&self.situation, seat))
    }

    /// Whose access to what something is about, for policy.
    pub(crate) async fn about(&self, person: PrincipalId, resource: &ResourceName, role: &RoleName, break_glass: bool) -> Answer<About> {
        let row = self.gate.store().person(person).await?.ok_or(Reason::NotFound)?;
        let owner = match row.owner {
            Some(owner) => self.gate.store().person(owner.into()).await?.map(|owner| owner.username),
            None => None,
        };
        Ok(About { person, username: row.username, owner, resource: resource.clone(), role: role.clone(), break_glass })
    }

    /// Whether they could say yes or no to a request now: it is pending and not theirs, they hold a seat of it, policy
    /// lets them, and they have not done so yet.
    pub(crate) async fn can_decide(&self, row: &RequestRow) -> Answer<bool> {
        let now = self.gate.now();
        if row.state != RequestState::Pending || row.expires_at <= now || !matches!(self.situation.id, PrincipalId::User(_)) {
            return Ok(false);
        }
        let since = Span::between(row.submitted_at, now);
        let seats = row.terms.approvals.iter().flat_map(|plan| &plan.stages).flat_map(|stage| stage.seats_after(since));
        if !self.seated(seats) {
            return Ok(false);
        }
        let about = self.about(row.person, &row.resource, &row.role, row.break_glass).await?;
        if !self.may(Act::Approve, &Object::Request(about)) {
            return Ok(false);
        }
        let votes = self.gate.store().votes(row.id).await?;
        Ok(!votes.iter().any(|vote| vote.revision == row.revision && vote.voter == self.situation.id))
    }
}
