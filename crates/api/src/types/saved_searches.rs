//! Filters of searches that somebody keeps.

use access::ids::{PrincipalId, SavedSearchId};
use access::names::{ResourceName, RoleName};
use access::session::{EndReason, Protocol, SessionState};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;
use super::sessions::SearchQuery;

/// What a search looks for: as `GET /api/v1/sessions/search` takes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchFilters {
    /// Of this person or machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::PrincipalId>)]
    pub person: Option<PrincipalId>,
    /// To this resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::ResourceName>)]
    pub resource: Option<ResourceName>,
    /// As this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::RoleName>)]
    pub role: Option<RoleName>,
    /// Through this door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Protocol>)]
    pub protocol: Option<Protocol>,
    /// That live, or that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::SessionState>)]
    pub state: Option<SessionState>,
    /// That ended so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::EndReason>)]
    pub end: Option<EndReason>,
    /// That began at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub since: Option<Timestamp>,
    /// That began before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub until: Option<Timestamp>,
    /// On a grant that was asked for with this ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 4000)]
    pub ticket: Option<String>,
    /// In which something was done that names this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200)]
    pub text: Option<String>,
}

impl From<SearchFilters> for SearchQuery {
    fn from(filters: SearchFilters) -> Self {
        let SearchFilters { person, resource, role, protocol, state, end, since, until, ticket, text } = filters;
        Self { person, resource, role, protocol, state, end, since, until, ticket, text, limit: None, cursor: None }
    }
}

impl From<SearchQuery> for SearchFilters {
    fn from(query: SearchQuery) -> Self {
        let SearchQuery { person, resource, role, protocol, state, end, since, until, ticket, text, limit: _, cursor: _ } = query;
        Self { person, resource, role, protocol, state, end, since, until, ticket, text }
    }
}

/// Filters that somebody keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SavedSearch {
    /// Its id.
    #[schema(value_type = schema::SavedSearchId)]
    pub id: SavedSearchId,
    /// What they call it.
    pub name: String,
    /// What it looks for.
    pub filters: SearchFilters,
    /// Since when it looks for that.
    #[schema(value_type = schema::Time)]
    pub saved_at: Timestamp,
}

/// Filters to be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSavedSearch {
    /// What to call it: one line.
    #[schema(min_length = 1, max_length = 60)]
    pub name: String,
    /// What it looks for.
    pub filters: SearchFilters,
}
