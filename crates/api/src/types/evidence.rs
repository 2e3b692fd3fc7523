//! Evidence that can be taken away and verified offline.

use access::ids::{PrincipalId, SessionId};
use access::names::ResourceName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// What to export: one session, everything of a person or at a resource, or everything from `since` to `until`; exactly one of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportQuery {
    /// One session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::SessionId>)]
    pub session: Option<SessionId>,
    /// Of one person or machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::PrincipalId>)]
    pub person: Option<PrincipalId>,
    /// To one resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::ResourceName>)]
    pub resource: Option<ResourceName>,
    /// From then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub since: Option<Timestamp>,
    /// Before then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub until: Option<Timestamp>,
    /// Whether what was typed goes with it; that takes a right of its own.
    #[serde(default)]
    pub input: bool,
    /// An age recipient: the keys to the recordings are wrapped to it instead of given openly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
}
