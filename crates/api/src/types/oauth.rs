//! Token exchange (RFC 8693): a CI job's own token for one of the gate's.

use access::ids::TokenId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// The one grant type there is.
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// What a job shows: a JWT …
pub const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// … also called an ID token.
pub const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
/// What it gets.
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What a job asks with (RFC 8693 §2.1), as a form.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct ExchangeForm {
    /// `urn:ietf:params:oauth:grant-type:token-exchange`.
    pub grant_type: String,
    /// The OIDC token that the CI system issued to the job.
    pub subject_token: String,
    /// `urn:ietf:params:oauth:token-type:jwt` or `…:id_token`.
    pub subject_token_type: String,
    /// `urn:ietf:params:oauth:token-type:access_token`, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_token_type: Option<String>,
    /// For what: `read ask`, or one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The address of this gate, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The address of this gate, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Nothing: nobody acts for a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_token: Option<String>,
}

/// What it gets (RFC 8693 §2.2.1).
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Exchanged {
    /// The token, as a bearer token of this API.
    pub access_token: String,
    /// `urn:ietf:params:oauth:token-type:access_token`.
    pub issued_token_type: String,
    /// `Bearer`.
    pub token_type: String,
    /// How many seconds it is good for.
    pub expires_in: u64,
    /// For what.
    pub scope: String,
    /// Its id, by which it is taken back.
    #[schema(value_type = schema::TokenId)]
    pub token_id: TokenId,
    /// Which workload the job is.
    pub workload: String,
}

/// Why it gets none (RFC 6749 §5.2), beside the members of every problem of this API.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ExchangeRefused {
    /// `invalid_request`, `invalid_scope`, `invalid_target`, `unsupported_grant_type` or `temporarily_unavailable`.
    pub error: String,
    /// Why, in words.
    pub error_description: String,
}
