//! Grants: the bounded right.

use access::grant::{GrantEnd, GrantState};
use access::ids::{GrantId, PrincipalId, RequestId, SessionId};
use access::names::{ResourceName, RoleName};
use access::request::Asked;
use access::time::Span;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::requests::{Job, Limits};
use super::schema;
use super::terms::Terms;
use super::who::Who;

/// Who may do what where until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Grant {
    /// Its id.
    #[schema(value_type = schema::GrantId)]
    pub id: GrantId,
    /// The request it came from.
    #[schema(value_type = schema::RequestId)]
    pub request: RequestId,
    /// Whose.
    pub person: Who,
    /// Where to.
    #[schema(value_type = schema::ResourceName)]
    pub resource: ResourceName,
    /// What that speaks, and so what connects to it; null if the policy names it no more.
    #[serde(default)]
    pub kind: Option<String>,
    /// As what.
    #[schema(value_type = schema::RoleName)]
    pub role: RoleName,
    /// What the asker renounced.
    pub limits: Limits,
    /// What the path costs.
    pub terms: Terms,
    /// How long it is: a length, or `standing`.
    #[schema(value_type = schema::Asked)]
    pub length: Asked,
    /// Whether it is an emergency.
    pub break_glass: bool,
    /// The digest of the bundle that decided.
    pub bundle: String,
    /// The policy whose path was chosen.
    pub policy: String,
    /// Who agreed.
    pub approvers: Vec<Who>,
    /// The job of a CI system that it was given to, if it was one: no other job uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    /// Where it stands.
    #[schema(value_type = schema::GrantState)]
    pub state: GrantState,
    /// Since when it exists.
    #[schema(value_type = schema::Time)]
    pub created_at: Timestamp,
    /// Until when its clock must have started.
    #[schema(value_type = schema::Time)]
    pub activate_by: Timestamp,
    /// When its clock started.
    #[schema(value_type = Option<schema::Time>)]
    pub starts_at: Option<Timestamp>,
    /// When it ends; null before activation, and for standing grants.
    #[schema(value_type = Option<schema::Time>)]
    pub ends_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<schema::Time>)]
    pub ended_at: Option<Timestamp>,
    /// Why it ended.
    #[schema(value_type = Option<schema::GrantEnd>)]
    pub end: Option<GrantEnd>,
    /// Counts changes.
    pub version: i64,
}

/// More time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Extend {
    /// How long from now.
    #[schema(value_type = schema::Span)]
    pub duration: Span,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4000)]
    pub reason: Option<String>,
}

/// Why something is ended, locked or disabled.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Because {
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4000)]
    pub reason: Option<String>,
}

/// What became of live sessions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Cut {
    /// Gone, seen at the target.
    #[schema(value_type = Vec<schema::SessionId>)]
    pub confirmed: Vec<SessionId>,
    /// Cut off from their user; their end at the target was not seen yet.
    #[schema(value_type = Vec<schema::SessionId>)]
    pub unconfirmed: Vec<SessionId>,
    /// Went on, because another grant of the same person, role and resource covers them.
    #[schema(value_type = Vec<schema::SessionId>)]
    pub rehomed: Vec<SessionId>,
    /// Grants that still open the same door to the same person.
    #[schema(value_type = Vec<schema::GrantId>)]
    pub still_open: Vec<GrantId>,
}

/// A grant that ended before its time, and what that cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EndedGrant {
    /// The grant as it stands now.
    pub grant: Grant,
    /// What became of its sessions.
    pub cut: Cut,
}

/// Which grants to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct GrantsQuery {
    /// Everybody's that the caller may see, and not just their own.
    #[serde(default)]
    pub all: bool,
    /// With `all`: only this person's or machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::PrincipalId>)]
    pub person: Option<PrincipalId>,
    /// Only in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::GrantState>)]
    pub state: Option<GrantState>,
    /// Only on this resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::ResourceName>)]
    pub resource: Option<ResourceName>,
    /// How many at most: 1 to 500; 50 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next_cursor` of the part before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
