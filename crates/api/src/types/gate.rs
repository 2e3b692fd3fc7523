//! What everybody may know of the gate.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Public facts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GateFacts {
    /// The release.
    pub version: String,
    /// The address of the API as clients reach it: `https://gate.example.com`.
    pub api: String,
    /// Where `ssh` connects to; null if there is no such listener.
    pub ssh: Option<SshFacts>,
    /// The public key of the login CA, OpenSSH's format.
    pub login_ca: Option<String>,
    /// The public key of the target CA, OpenSSH's format: for `TrustedUserCAKeys` on targets.
    pub target_ca: Option<String>,
    /// The key that verifies checkpoints of the audit log, as C2SP signed notes write one.
    pub checkpoint_verifier: Option<String>,
}

/// Where `ssh` connects to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SshFacts {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The gate's host keys, OpenSSH's format without comment.
    pub host_keys: Vec<String>,
    /// Their fingerprints, `SHA256:…`.
    pub fingerprints: Vec<String>,
}

/// Whether the gate can serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Whether everything below is well.
    pub ready: bool,
    /// Whether the store answers.
    pub store: bool,
    /// Whether the wall clock is not behind the log.
    pub clock: bool,
}
