//! Reviews: looking back at an emergency.

use access::ids::{GrantId, ReviewId};
use access::names::GroupName;
use access::review::{ReviewKind, ReviewOutcome, ReviewState};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::schema;
use super::who::Who;

/// An answer that somebody owes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Review {
    /// Its id.
    #[schema(value_type = schema::ReviewId)]
    pub id: ReviewId,
    /// Why it is owed.
    #[schema(value_type = schema::ReviewKind)]
    pub kind: ReviewKind,
    /// About which grant.
    #[schema(value_type = schema::GrantId)]
    pub grant: GrantId,
    /// About whom.
    pub person: Who,
    /// Who owes it.
    #[schema(value_type = schema::GroupName)]
    pub reviewers: GroupName,
    /// By when.
    #[schema(value_type = schema::Time)]
    pub due_at: Timestamp,
    /// Whether it should have been answered by now.
    pub overdue: bool,
    /// Whether it was answered.
    #[schema(value_type = schema::ReviewState)]
    pub state: ReviewState,
    /// With what.
    #[schema(value_type = Option<schema::ReviewOutcome>)]
    pub outcome: Option<ReviewOutcome>,
    /// By whom.
    pub done_by: Option<Who>,
    /// What they wrote.
    pub note: Option<String>,
    /// Since when.
    #[schema(value_type = schema::Time)]
    pub opened_at: Timestamp,
    /// When it was answered.
    #[schema(value_type = Option<schema::Time>)]
    pub done_at: Option<Timestamp>,
    /// Counts changes.
    pub version: i64,
}

/// The answer to a review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompleteReview {
    /// What was found.
    #[schema(value_type = schema::ReviewOutcome)]
    pub outcome: ReviewOutcome,
    /// What follows from it; needed if it was not justified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4000)]
    pub note: Option<String>,
}

/// Which reviews to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReviewsQuery {
    /// Only in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::ReviewState>)]
    pub state: Option<ReviewState>,
    /// How many at most: 1 to 500; 50 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next_cursor` of the part before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
