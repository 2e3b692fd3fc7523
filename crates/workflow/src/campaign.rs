//! Asking whether rights without an end are needed still.
//!
//! *Takes* how long their owners have to answer. *Proves* that the caller may ask. *Hands to* the owner of each resource a review of each
//! such right on it; one that nobody keeps in time is taken away by the sweep.

use access::event::Event;
use access::grant::GrantRow;
use access::ids::ReviewId;
use access::names::{GroupName, TierName};
use access::reason::{Reason, Refusal};
use access::review::{ReviewKind, ReviewRow};
use access::time::Span;
use policy::{Act, Noun, Object};
use store::Change;

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::review::administrators;

/// The shortest time to answer.
const LEAST: Span = Span::hours(24);

/// What was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Campaign {
    /// The reviews that were opened, one for each right.
    pub opened: Vec<ReviewRow>,
    /// How many rights have one open already.
    pub open_already: u64,
}

impl Gate {
    /// Asks for every right without an end, or those on what is in one tier today, whether it is needed still.
    ///
    /// # Errors
    /// If the caller may not administer reviews, or nobody would have time to answer.
    pub async fn start_campaign(&self, caller: &Caller, within: Span, tier: Option<TierName>) -> Result<Campaign, Refusal> {
        self.authorize(caller, Act::Administer(Noun::Review), &Object::Nothing).await?;
        // INVARIANT: no answer removes a right, so nobody makes that their own power by leaving no time to answer.
        if within < LEAST {
            return Err(Refusal::because(Reason::Invalid, "give the owners a day or more to answer, as in `--within 14d`"));
        }
        if tier.as_ref().is_some_and(|tier| self.bundle().tier(tier).is_none()) {
            return Err(Refusal::because(Reason::NotFound, "there is no tier by that name"));
        }
        let open = self.store.open_grants().await.map_err(unavailable)?;
        let reviewed = self.store.open_reviews_of(ReviewKind::Standing).await.map_err(unavailable)?;
        let now = self.now();
        let (mut events, mut open_already) = (Vec::new(), 0);
        for grant in open.iter().filter(|grant| grant.length.is_none() && tier.as_ref().is_none_or(|tier| self.tier_of(grant) == *tier)) {
            if reviewed.iter().any(|review| review.grant == grant.id) {
                open_already += 1;
                continue;
            }
            events.push(Event::ReviewOpened {
                review: ReviewId::generate(now),
                kind: ReviewKind::Standing,
                grant: grant.id,
                session: None,
                person: grant.person,
                reviewers: self.owner_of_right(grant)?,
                due_at: within.after(now),
            });
        }
        let mut drafts = events.into_iter().map(|event| self.draft(caller, event));
        let Some(first) = drafts.next() else { return Ok(Campaign { opened: Vec::new(), open_already }) };
        let committed = self.commit(Change::new(first).and_all(drafts)).await.map_err(refused)?;
        Ok(Campaign { opened: committed.rows.reviews.into_values().collect(), open_already })
    }

    /// The tier in which what a right opens is today; of what is no more, the one it was in.
    fn tier_of(&self, grant: &GrantRow) -> TierName {
        let today = self.bundle().resource(&grant.resource).and_then(|resource| resource.tier.clone());
        today.unwrap_or_else(|| grant.terms.tier.clone())
    }

    /// Who says whether a right is needed: who owns the resource, else who answers for the tier's overdue reviews.
    fn owner_of_right(&self, grant: &GrantRow) -> Result<GroupName, Refusal> {
        let owner = self.bundle().resource(&grant.resource).and_then(|resource| resource.owner.clone());
        owner.or_else(|| grant.terms.escalate_to.clone()).or_else(administrators).ok_or_else(|| Refusal::of(Reason::Internal))
    }
}
