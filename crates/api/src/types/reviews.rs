//! Reviews: looking back at emergencies, at sessions that were drawn, and at rights without an end.

use access::ids::{GrantId, ReviewId, SessionId};
use access::names::{GroupName, ResourceName, RoleName, TierName};
use access::review::{ReviewKind, ReviewOutcome, ReviewState};
use access::time::Span;
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
    /// About which session on it; null: all of them.
    #[schema(value_type = Option<schema::SessionId>)]
    pub session: Option<SessionId>,
    /// Where that grant leads to.
    #[schema(value_type = Option<schema::ResourceName>)]
    pub resource: Option<ResourceName>,
    /// As what.
    #[schema(value_type = Option<schema::RoleName>)]
    pub role: Option<RoleName>,
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
    /// What is to be done now.
    pub follow_ups: Vec<String>,
    /// When those who owe it were reminded.
    #[schema(value_type = Option<schema::Time>)]
    pub reminded_at: Option<Timestamp>,
    /// Who may answer it too, since it is overdue.
    #[schema(value_type = Option<schema::GroupName>)]
    pub escalated_to: Option<GroupName>,
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
    /// What was found: `justified` or `not_justified` of an emergency or a session, `kept` or `removed` of a right without an end.
    #[schema(value_type = schema::ReviewOutcome)]
    pub outcome: ReviewOutcome,
    /// What follows from it; needed if it was not justified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4000)]
    pub note: Option<String>,
    /// What is to be done now, one thing each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follow_ups: Vec<String>,
}

/// Asks the owners of rights without an end whether they are needed still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCampaign {
    /// How long they have; what nobody says a word for by then is taken away.
    #[schema(value_type = schema::Span)]
    pub within: Span,
    /// Only rights in this tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::TierName>)]
    pub tier: Option<TierName>,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Campaign {
    /// The reviews that were opened, one for each right.
    pub opened: Vec<Review>,
    /// How many rights have one open already.
    pub open_already: u64,
}

/// Which reviews to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReviewsQuery {
    /// Only in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::ReviewState>)]
    pub state: Option<ReviewState>,
    /// Only of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::ReviewKind>)]
    pub kind: Option<ReviewKind>,
    /// How many at most: 1 to 500; 50 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next_cursor` of the part before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
