//! Looking back: what somebody owes an answer about, and by when.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::ids::{GrantId, PrincipalId, ReviewId, SessionId};
use crate::names::GroupName;

codes! {
    /// Why a review is owed.
    ReviewKind("review kind") {
        /// An emergency was used.
        BreakGlass = "break_glass",
        /// A session was drawn.
        Sampled = "sampled",
        /// Somebody has a right without an end, and its owner is asked whether they still need it.
        Standing = "standing",
    }
}

impl ReviewKind {
    /// The answers to it.
    #[must_use]
    pub fn outcomes(self) -> &'static [ReviewOutcome] {
        match self {
            Self::BreakGlass | Self::Sampled => &[ReviewOutcome::Justified, ReviewOutcome::NotJustified],
            Self::Standing => &[ReviewOutcome::Kept, ReviewOutcome::Removed],
        }
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
        /// The right is needed still.
        Kept = "kept",
        /// It is not, or nobody said so in time: it was taken away.
        Removed = "removed",
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
        /// About which session on it; `None`: all of them.
        session: Option<SessionId>,
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
        /// What is to be done now, one thing per line; `None` if nothing or erased.
        follow_ups: Option<String>,
        /// When those who owe it were reminded.
        reminded_at: Option<Timestamp>,
        /// Who may answer it too, since it is overdue.
        escalated_to: Option<GroupName>,
        /// Since when.
        opened_at: Timestamp,
        /// When it was answered.
        done_at: Option<Timestamp>,
        /// Counts changes.
        version: i64,
    }
}

/// Whether a session that ended is drawn. Anybody who has the log can say so too, and nobody could have before the session was over:
/// SHA-256 over `tidegate sample 1`, the session's id and the digest that closes its recording, each with a line feed behind it; the first
/// eight bytes as a big-endian number, modulo 100, are below `percent`. One whose recording was not closed is always drawn.
#[must_use]
pub fn is_sampled(percent: u8, session: SessionId, recording_digest: Option<&str>) -> bool {
    let Some(digest) = recording_digest else { return percent > 0 };
    let drawn = Sha256::digest(format!("tidegate sample 1\n{session}\n{digest}\n"));
    let first = drawn.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    first % 100 < u64::from(percent)
}

impl ReviewRow {
    /// Whether those who owe it are to be reminded: three quarters of its time are over, and it was not done yet.
    #[must_use]
    pub fn is_to_be_reminded(&self, now: Timestamp) -> bool {
        let quarter = self.due_at.as_microsecond().saturating_sub(self.opened_at.as_microsecond()) / 4;
        let from = self.due_at.as_microsecond().saturating_sub(quarter);
        self.state == ReviewState::Open && self.reminded_at.is_none() && from <= now.as_microsecond()
    }
    /// Whether it should have been answered before `now`.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.state == ReviewState::Open && self.due_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    // covers: BACK-1
    #[test]
    fn who_is_drawn_can_be_said_again_and_is_as_many_as_was_said() {
        // Computed by hand: printf 'tidegate sample 1\nses_…\n00\n' | sha256sum
        let session: SessionId = "ses_01kbk2xg9hf0q8x3d5j7m9n1p3".parse().unwrap();
        let drawn: Vec<u8> = (0..=100).filter(|percent| is_sampled(*percent, session, Some("00"))).collect();
        let lowest = *drawn.first().unwrap();
        assert_eq!(lowest, 63);
        assert_eq!(drawn, (lowest..=100).collect::<Vec<_>>(), "who is drawn at some share is drawn at any greater one");
        assert!(is_sampled(1, session, None) && !is_sampled(0, session, None), "without a closed recording it is always looked at");
        let many = (0..4000).filter(|n| is_sampled(10, SessionId::generate(at(*n)), Some("00"))).count();
        assert!((250..=550).contains(&many), "{many} of 4000 at 10 %");
    }
}
