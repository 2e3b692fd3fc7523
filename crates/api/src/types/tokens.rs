//! Bearer tokens of the API.

use access::identity::{Mfa, Scope};
use access::ids::{GrantId, PrincipalId, TokenId};
use access::time::Span;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// What is known of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its id.
    #[schema(value_type = schema::TokenId)]
    pub id: TokenId,
    /// Whose.
    #[schema(value_type = schema::PrincipalId)]
    pub person: PrincipalId,
    /// What it may be used for; nothing, of a connect token.
    #[schema(value_type = Vec<schema::Scope>)]
    pub scopes: Vec<Scope>,
    /// The one grant on which a connect token opens connections, and with which it ends; null: it is none.
    #[schema(value_type = Option<schema::GrantId>)]
    pub grant: Option<GrantId>,
    /// How strongly whoever got it had proved who they are, at `created_at`.
    #[schema(value_type = schema::Mfa)]
    pub mfa: Mfa,
    /// What its owner calls it.
    pub label: Option<String>,
    /// Since when.
    #[schema(value_type = schema::Time)]
    pub created_at: Timestamp,
    /// Until when, at most.
    #[schema(value_type = schema::Time)]
    pub expires_at: Timestamp,
    /// When it was taken away.
    #[schema(value_type = Option<schema::Time>)]
    pub revoked_at: Option<Timestamp>,
}

/// A token to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// For whom; absent: for the caller. An administrator makes those of machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::PrincipalId>)]
    pub person: Option<PrincipalId>,
    /// What it may be used for; at most what the caller's own sign-in may.
    #[schema(value_type = Vec<schema::Scope>, min_items = 1)]
    pub scopes: Vec<Scope>,
    /// How long it works.
    #[schema(value_type = schema::Span)]
    pub duration: Span,
    /// What its owner calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub label: Option<String>,
}

/// A connect token to make.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConnectToken {
    /// How long it works; absent: until the grant ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Span>)]
    pub duration: Option<Span>,
    /// What its owner calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub label: Option<String>,
}

/// A token just made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IssuedToken {
    /// What is kept of it.
    pub token: Token,
    /// The token; shown once.
    pub secret: String,
}

impl std::fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedToken").field("token", &self.token).finish_non_exhaustive()
    }
}
