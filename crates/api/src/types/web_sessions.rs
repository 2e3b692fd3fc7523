//! Browsers that are signed in to the portal.

use access::identity::{Mfa, Scope};
use access::ids::{PasskeyId, TokenId, WebSessionId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;
use super::users::User;

/// What signs a browser in; exactly one of these.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebSession {
    /// The single-use code of an invitation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200, write_only)]
    pub code: Option<String>,
    /// A token of a person's own. The session may do what the token may, and ends with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200, write_only)]
    pub token: Option<String>,
}

impl std::fmt::Debug for NewWebSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewWebSession").finish_non_exhaustive()
    }
}

/// A browser that is signed in. Its cookie, `__Host-tide`, is never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebSession {
    /// Its id.
    #[schema(value_type = schema::WebSessionId)]
    pub id: WebSessionId,
    /// Whether it is the one that asks.
    pub current: bool,
    /// The token it was made from; it ends with that.
    #[schema(value_type = Option<schema::TokenId>)]
    pub token: Option<TokenId>,
    /// The passkey it was made with; it ends with that.
    #[schema(value_type = Option<schema::PasskeyId>)]
    pub passkey: Option<PasskeyId>,
    /// What it may be used for.
    #[schema(value_type = Vec<schema::Scope>)]
    pub scopes: Vec<Scope>,
    /// How strongly the sign-in proved who it was.
    #[schema(value_type = schema::Mfa)]
    pub mfa: Mfa,
    /// The address it was made from.
    pub address: Option<String>,
    /// What the browser calls itself.
    pub agent: Option<String>,
    /// Since when.
    #[schema(value_type = schema::Time)]
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    #[schema(value_type = schema::Time)]
    pub seen_at: Timestamp,
    /// When it ends if it is not used.
    #[schema(value_type = schema::Time)]
    pub idle_ends_at: Timestamp,
    /// When it ends in any case.
    #[schema(value_type = schema::Time)]
    pub ends_at: Timestamp,
}

/// Who is signed in now, and by which web session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignedInBrowser {
    /// Who.
    pub user: User,
    /// The session; its cookie came with the answer.
    pub session: WebSession,
}
