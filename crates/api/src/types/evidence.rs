//! Evidence that can be taken away and verified offline.

use access::ids::{PrincipalId, SessionId};
use access::names::ResourceName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// What to export; what is given all has to match.
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
}
