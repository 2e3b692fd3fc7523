//! Sealed secrets and the gate's own keys.

use access::names::SecretName;
use access::time::Span;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// A sealed secret; its value is never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SealedSecret {
    /// Its name.
    #[schema(value_type = schema::SecretName)]
    pub name: SecretName,
    /// When it was set.
    #[schema(value_type = schema::Time)]
    pub set_at: Timestamp,
    /// The key that seals it.
    pub key_id: String,
}

/// A value to seal.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretValue {
    /// A password, or a private key in OpenSSH's format.
    #[schema(write_only)]
    pub value: String,
}

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretValue").finish_non_exhaustive()
    }
}

/// Which of the gate's keys to replace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    /// Which: `login_ca`, `target_ca`, `audit`, `ssh_host`, `recording_output`, `recording_input`, `row_digest`, `secrets`, `sealing`.
    pub kind: String,
}

/// Which announced key to put in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivateKey {
    /// Which: `target_ca`.
    pub kind: String,
    /// For how long targets go on trusting the old one; absent: seven days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Span>)]
    pub keep: Option<Span>,
}

/// A key that was replaced, or is to be; the old one still verifies what it signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RotatedKey {
    /// Which.
    pub kind: String,
    /// The old id.
    pub old: String,
    /// The new id.
    pub new: String,
    /// The half of the new one that may be known.
    pub public_key: Option<String>,
    /// Whether the new one is used from now on; else it is announced, and waits to be activated.
    pub in_use: bool,
    /// Until when targets are to go on trusting the old one.
    #[schema(value_type = Option<schema::Time>)]
    pub trusted_until: Option<Timestamp>,
}
