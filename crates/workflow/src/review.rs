//! Looking back: at an emergency, at a session that was drawn, at a right without an end.
//!
//! *Takes* an open review and the proof of who answers. *Proves* that they are among those who owe it, and not the one it is about.
//! *Hands to* the log the outcome, which unblocks the person or takes the right away; to live sessions, in that case, the cut.

use access::approval::Seat;
use access::event::{EntryDraft, Event};
use access::grant::{GrantRow, GrantState};
use access::ids::{PrincipalId, ReviewId};
use access::names::GroupName;
use access::reason::{Reason, Refusal};
use access::review::{ReviewKind, ReviewOutcome, ReviewRow, ReviewState, is_sampled};
use access::session::EndReason;
use jiff::Timestamp;
use policy::{Act, Noun, Object};
use store::{Change, StoreError};

use crate::Caller;
use crate::gate::{Gate, unavailable};
use crate::recover::ADMINISTRATORS;
use crate::revoke::confirm;
use crate::seen::AsSeen;

/// Characters of a note, or of all follow-ups together, at most.
const LONGEST: usize = 4_000;

/// What a reviewer found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// In a word.
    pub outcome: ReviewOutcome,
    /// In their words.
    pub note: Option<String>,
    /// What is to be done now, one thing each.
    pub follow_ups: Vec<String>,
}

impl From<ReviewOutcome> for Finding {
    fn from(outcome: ReviewOutcome) -> Self {
        Self { outcome, note: None, follow_ups: Vec::new() }
    }
}

impl Finding {
    /// The follow-ups as they are kept: a line each.
    fn lines(&self) -> Option<String> {
        let lines: Vec<String> = self.follow_ups.iter().map(|one| one.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let lines: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    fn check(&self, kind: ReviewKind) -> Result<(), Refusal> {
        let invalid = |why: String| Err(Refusal::because(Reason::Invalid, why));
        if !kind.outcomes().contains(&self.outcome) {
            let answers = kind.outcomes().iter().map(|outcome| outcome.code()).collect::<Vec<_>>().join("` or `");
            return invalid(format!("`{}` is no answer to a review of the kind `{kind}`; answer `{answers}`", self.outcome));
        }
        let length = |text: &str| text.chars().count();
        if self.note.as_deref().is_some_and(|note| length(note) > LONGEST) || self.lines().is_some_and(|lines| length(&lines) > LONGEST) {
            return invalid(format!("a note, and all follow-ups together, have at most {LONGEST} characters"));
        }
        let said = self.note.as_deref().is_some_and(|note| !note.trim().is_empty()) || self.lines().is_some();
        if self.outcome == ReviewOutcome::NotJustified && !said {
            return Err(Refusal::because(Reason::ReasonRequired, "say with `--note` what follows from it"));
        }
        Ok(())
    }
}

impl Gate {
    /// Somebody answers a review. A right without an end that is not kept is taken away, and its sessions cut.
    ///
    /// # Errors
    /// If it is about themselves, they are not among the reviewers, or it is answered already.
    pub async fn complete_review(
        &self,
        caller: &Caller,
        review: impl Into<AsSeen<ReviewId>>,
        finding: impl Into<Finding>,
    ) -> Result<ReviewRow, Refusal> {
        let (AsSeen { id: review, seen }, finding) = (review.into(), finding.into());
        let row = self.store.review(review).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        if row.person == caller.who.id() {
            return Err(self.enter_action_refused(caller, "review", review.to_string(), Refusal::of(Reason::SelfApproval)).await);
        }
        if !matches!(caller.who.id(), PrincipalId::User(_)) {
            let refusal = Refusal::because(Reason::NotAllowed, "people look back at what was done; a machine does not");
            return Err(self.enter_action_refused(caller, "review", review.to_string(), refusal).await);
        }
        // As with a vote. Whether a right is needed still is its owner's to say, whoever signed whom in.
        if row.kind != ReviewKind::Standing
            && (self.signed_in_by(row.person, caller.who.id()).await? || self.signed_in_by(caller.who.id(), row.person).await?)
        {
            let refusal = Refusal::because(Reason::SelfApproval, "one of the two got their sign-in from the other");
            return Err(self.enter_action_refused(caller, "review", review.to_string(), refusal).await);
        }
        let situation = self.situation(&caller.who).await?;
        let owed_by = [Some(&row.reviewers), row.escalated_to.as_ref()].into_iter().flatten();
        let mut seats = owed_by.filter(|group| self.bundle.load().seated(&situation, &Seat::Group((*group).clone())));
        let Some(reviewers) = seats.next().cloned() else {
            let refusal = Refusal::because(Reason::NotAllowed, format!("the review is owed by `{}`", row.reviewers));
            let refusal = self.enter_action_refused(caller, "review", review.to_string(), refusal).await;
            // Who may not even see it is told the same as if it did not exist.
            let sees = self.allowed(caller, Act::Administer(Noun::Review), &Object::Nothing).await.is_ok();
            return Err(if sees { refusal } else { Refusal::of(Reason::NotFound) });
        };
        let grant = self.store.grant(row.grant).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        let on = Object::Review { about: self.about_grant(&grant).await?, reviewers };
        self.authorize(caller, Act::Review, &on).await?;
        seen.is(row.version)?;
        if row.state == ReviewState::Done {
            return Err(Refusal::of(Reason::AlreadyDecided));
        }
        finding.check(row.kind)?;
        let outcome = finding.outcome;
        let (lines, completed) = (finding.lines(), Event::ReviewCompleted { review, outcome });
        let draft = self.draft(caller, completed).text("note", finding.note).text("follow_ups", lines);
        let removes = outcome == ReviewOutcome::Removed && grant.state != GrantState::Ended;
        let mut change = Change::new(draft);
        if removes {
            change = change.and(self.draft(caller, Event::GrantRevoked { grant: grant.id, still_open: self.others_open(&grant).await? }));
        }
        let committed = self.commit_seen(change, &row, &seen).await?;
        if removes {
            confirm(self.live.cut(EndReason::Revoked, |live| live.grant == grant.id)).await;
        }
        committed.rows.reviews.into_values().next().ok_or_else(|| Refusal::of(Reason::NotFound))
    }

    /// Reminds those who owe a review that is due soon, lets others answer one that is overdue, and takes rights away that nobody kept.
    pub(crate) async fn look_after_reviews(&self, now: Timestamp) {
        for row in self.store.reviews_to_move(now).await.unwrap_or_default() {
            let Ok(grant) = self.store.grant(row.grant).await else { return };
            if row.kind == ReviewKind::Standing && row.is_overdue(now) {
                self.remove_by_default(&row, grant).await;
            } else if row.is_overdue(now) && row.escalated_to.is_none() {
                let Some(to) = grant.and_then(|grant| grant.terms.escalate_to).or_else(administrators) else { continue };
                self.set(self.own_draft(Event::ReviewEscalated { review: row.id, to }), &row).await;
            } else if row.is_to_be_reminded(now) {
                self.set(self.own_draft(Event::ReviewReminded { review: row.id }), &row).await;
            }
        }
    }

    /// Nobody said in time that a right without an end is needed still.
    async fn remove_by_default(&self, row: &ReviewRow, grant: Option<GrantRow>) {
        let completed = Event::ReviewCompleted { review: row.id, outcome: ReviewOutcome::Removed };
        let mut change = Change::new(self.own_draft(completed)).expect(row);
        let open = grant.filter(|grant| grant.state != GrantState::Ended);
        if let Some(grant) = &open {
            let Ok(still_open) = self.others_open(grant).await else { return };
            let revoked = self.own_draft(Event::GrantRevoked { grant: grant.id, still_open });
            change = change.and(revoked.text("reason", Some(format!("nobody kept it in {}", row.id))));
        }
        match self.commit(change).await {
            Ok(_) => {
                if let Some(grant) = open {
                    self.live.cut(EndReason::Revoked, |live| live.grant == grant.id);
                }
            }
            Err(error) => {
                tracing::debug!(%error, review = %row.id, "somebody was faster, or the store is away; the next sweep looks again")
            }
        }
    }

    /// What enters the end of a session: that, and if it is drawn, that somebody has to look at it.
    pub(crate) async fn ending(&self, ended: EntryDraft) -> Result<Change, StoreError> {
        let Event::SessionEnded { session, recording_digest, .. } = &ended.event else { return Ok(Change::new(ended)) };
        let (session, digest) = (*session, recording_digest.clone());
        let Some(row) = self.store.session(session).await? else { return Ok(Change::new(ended)) };
        let Some(grant) = self.store.grant(row.grant).await? else { return Ok(Change::new(ended)) };
        let change = Change::new(ended);
        // An emergency is looked at anyway.
        let Some(sample) = grant.terms.sample.clone().filter(|_| !grant.break_glass) else { return Ok(change) };
        if !is_sampled(sample.percent, session, digest.as_deref()) {
            return Ok(change);
        }
        let now = self.now();
        Ok(change.and(self.own_draft(Event::ReviewOpened {
            review: ReviewId::generate(now),
            kind: ReviewKind::Sampled,
            grant: grant.id,
            session: Some(session),
            person: row.person,
            reviewers: sample.reviewers,
            due_at: sample.review_within.after(now),
        })))
    }
}

/// Who answers for what nobody else does.
pub(crate) fn administrators() -> Option<GroupName> {
    ADMINISTRATORS.parse().ok()
}
