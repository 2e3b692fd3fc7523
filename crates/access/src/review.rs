//! Looking back: what somebody owes an answer about, and by when.

use jiff::Timestamp;

use crate::ids::{GrantId, PrincipalId, ReviewId};
use crate::names::GroupName;

codes! {
    /// Why a review is owed.
    ReviewKind("review kind") {
        /// An emergency was used.
        BreakGlass = "break_glass",
    }
}

codes! {
    /// Whether it was answered.
    ReviewState("review state") {
        /// Not yet.
        Open = "open",
        /// It was.
        Done = "done",
    }
}

codes! {
    /// What the reviewer found.
    ReviewOutcome("review outcome") {
        /// The emergency was one, and what was done was right.
        Justified = "justified",
        /// It was not; the note says what follows.
        NotJustified = "not_justified",
    }
}

row! {
    /// A review as it is kept.
    ReviewRow in "reviews" {
        /// `rvw_…`.
        id: ReviewId,
        /// Why it is owed.
        kind: ReviewKind,
        /// About which grant.
        grant: GrantId,
        /// About whom.
        person: PrincipalId,
        /// Who owes it.
        reviewers: GroupName,
        /// By when.
        due_at: Timestamp,
        /// Whether it was answered.
        state: ReviewState,
        /// With what.
        outcome: Option<ReviewOutcome>,
        /// By whom.
        done_by: Option<PrincipalId>,
        /// What they wrote; `None` if nothing or erased.
        note: Option<String>,
        /// Since when.
        opened_at: Timestamp,
        /// When it was answered.
        done_at: Option<Timestamp>,
        /// Counts changes.
        version: i64,
    }
}

impl ReviewRow {
    /// Whether it should have been answered before `now`.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.state == ReviewState::Open && self.due_at <= now
    }
}
