//! People and machines as they are mentioned elsewhere.

use access::ids::PrincipalId;
use access::names::Username;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// Somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Who {
    /// Their id.
    #[schema(value_type = schema::PrincipalId)]
    pub id: PrincipalId,
    /// How they sign in; null if nobody by this id is known.
    #[schema(value_type = Option<schema::Username>)]
    pub username: Option<Username>,
    /// How they are called; null if they said nothing or it was erased.
    pub display_name: Option<String>,
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.display_name, &self.username) {
            (Some(name), _) => f.pad(name),
            (None, Some(username)) => f.pad(username.as_str()),
            (None, None) => f.pad(&self.id.to_string()),
        }
    }
}
