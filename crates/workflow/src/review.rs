//! Looking back at an emergency.
//!
//! *Takes* an open review and the proof of who answers. *Proves* that they are among those who owe it, and not the one it is about.
//! *Hands to* the log the outcome, which unblocks the person.

use access::approval::Seat;
use access::event::Event;
use access::ids::ReviewId;
use access::reason::{Reason, Refusal};
use access::review::{ReviewOutcome, ReviewRow, ReviewState};
use policy::{Act, Noun, Object};
use store::Change;

use crate::Caller;
use crate::gate::{Gate, unavailable};
use crate::seen::AsSeen;

impl Gate {
    /// Somebody answers a review.
    ///
    /// # Errors
    /// If it is about themselves, they are not among the reviewers, or it is answered already.
    pub async fn complete_review(
        &self,
        caller: &Caller,
        review: impl Into<AsSeen<ReviewId>>,
        outcome: ReviewOutcome,
        note: Option<String>,
    ) -> Result<ReviewRow, Refusal> {
        let AsSeen { id: review, seen } = review.into();
        let row = self.store.review(review).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        if row.person == caller.who.id() {
            return Err(self.enter_action_refused(caller, "review", review.to_string(), Refusal::of(Reason::SelfApproval)).await);
        }
        let situation = self.situation(&caller.who).await?;
        if !self.bundle.load().seated(&situation, &Seat::Group(row.reviewers.clone())) {
            let refusal = Refusal::because(Reason::NotAllowed, format!("the review is owed by `{}`", row.reviewers));
            let refusal = self.enter_action_refused(caller, "review", review.to_string(), refusal).await;
            // Who may not even see it is told the same as if it did not exist.
            let sees = self.allowed(caller, Act::Administer(Noun::Review), &Object::Nothing).await.is_ok();
            return Err(if sees { refusal } else { Refusal::of(Reason::NotFound) });
        }
        let grant = self.store.grant(row.grant).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        let on = Object::Review { about: self.about_grant(&grant).await?, reviewers: row.reviewers.clone() };
        self.authorize(caller, Act::Review, &on).await?;
        seen.is(row.version)?;
        if row.state == ReviewState::Done {
            return Err(Refusal::of(Reason::AlreadyDecided));
        }
        if outcome == ReviewOutcome::NotJustified && note.as_deref().is_none_or(|n| n.trim().is_empty()) {
            return Err(Refusal::because(Reason::ReasonRequired, "say with `--note` what follows from it"));
        }
        let draft = self.draft(caller, Event::ReviewCompleted { review, outcome }).text("note", note);
        let committed = self.commit_seen(Change::new(draft).expect(&row), &row, &seen).await?;
        committed.rows.reviews.into_values().next().ok_or_else(|| Refusal::of(Reason::NotFound))
    }
}
