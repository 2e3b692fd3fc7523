//! What happens to reviews.

macro_rules! review_events {
    ($then:ident! $state:tt) => {
        $then! { $state Review {
            /// Somebody owes an answer.
            "review.opened" ReviewOpened {
                /// Which review.
                review: ReviewId,
                /// Of which kind.
                kind: ReviewKind,
                /// Which grant.
                grant: GrantId,
                /// Which session on it; absent: all of them.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                session: Option<SessionId>,
                /// Who.
                person: PrincipalId,
                /// Who owes it.
                reviewers: GroupName,
                /// By when.
                due_at: Timestamp,
            }
            /// It is due soon: those who owe it were reminded.
            "review.reminded" ReviewReminded {
                /// Which review.
                review: ReviewId,
            }
            /// It is overdue, and others may answer it too.
            "review.escalated" ReviewEscalated {
                /// Which review.
                review: ReviewId,
                /// Who.
                to: GroupName,
            }
            /// It was answered. Texts: `note`, `follow_ups`.
            "review.completed" ReviewCompleted {
                /// Which review.
                review: ReviewId,
                /// With what.
                outcome: ReviewOutcome,
            }
        } }
    };
}
