//! Containment: everything of a person or resource shut in one go.

use access::ids::{GrantId, RequestId};
use access::lock::LockScope;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::grants::Cut;
use super::locks::Lock;
use super::passkeys::Passkey;
use super::schema;

/// Somebody or something to contain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewContainment {
    /// Whom or what: a person, machine or resource.
    #[schema(value_type = schema::LockScope)]
    pub scope: LockScope,
    /// Why.
    #[schema(max_length = 4000)]
    pub reason: String,
}

/// What a containment did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Contained {
    /// The lock that holds it, and that is lifted to end it.
    pub lock: Lock,
    /// Whether it held before; then only what was left over was taken away.
    pub already: bool,
    /// What became of sessions.
    pub cut: Cut,
    /// Pending requests that were denied.
    #[schema(value_type = Vec<schema::RequestId>)]
    pub requests: Vec<RequestId>,
    /// Grants that were revoked, those without an end too.
    #[schema(value_type = Vec<schema::GrantId>)]
    pub grants: Vec<GrantId>,
    /// Tokens, keys, certificates, accounts at chat services, mailboxes and invitations that no longer work.
    pub credentials: u64,
    /// Passkeys that were added within the last 30 days. They stay: whoever knows that one is not its owner's removes it.
    pub passkeys: Vec<Passkey>,
    /// Browsers that were signed out.
    pub browsers: u64,
    /// Seconds from the call to the last end of a session that was seen at its target.
    pub seconds: f64,
}

/// Why a containment is lifted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Lifting {
    /// Why.
    #[schema(max_length = 4000)]
    pub reason: String,
}
