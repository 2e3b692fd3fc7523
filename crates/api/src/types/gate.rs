//! What everybody may know of the gate.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::passkeys::PasskeyFacts;
use super::providers::ProviderFacts;
use super::schema;

/// Public facts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GateFacts {
    /// The release.
    pub version: String,
    /// The address of the API as clients reach it: `https://gate.example.com`.
    pub api: String,
    /// Where `ssh` connects to; null if there is no such listener.
    pub ssh: Option<SshFacts>,
    /// Where PostgreSQL's clients connect to; null if there is no such listener.
    #[serde(default)]
    pub postgres: Option<DatabaseFacts>,
    /// Where MySQL's and MariaDB's clients connect to; null if there is no such listener.
    #[serde(default)]
    pub mysql: Option<DatabaseFacts>,
    /// The root that the certificates of these listeners are under, PEM; null: one that machines trust by themselves.
    #[serde(default)]
    pub ca: Option<String>,
    /// The public key of the login CA, OpenSSH's format.
    pub login_ca: Option<String>,
    /// The public key of the target CA in use, OpenSSH's format.
    pub target_ca: Option<String>,
    /// Every target CA that targets have to trust now: all of them go into the file of `TrustedUserCAKeys`.
    #[serde(default)]
    pub target_cas: Vec<TargetCaFacts>,
    /// Where people sign in.
    #[serde(default)]
    pub providers: Vec<ProviderFacts>,
    /// Where passkeys are used; null if the gate is reached by an address and not by a name.
    #[serde(default)]
    pub passkeys: Option<PasskeyFacts>,
    /// The key that verifies checkpoints of the audit log, as C2SP signed notes write one.
    pub checkpoint_verifier: Option<String>,
}

/// A target CA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TargetCaFacts {
    /// Its id: `key_…`.
    pub id: String,
    /// OpenSSH's format, without comment.
    pub public_key: String,
    /// What it is now.
    pub state: TargetCaState,
    /// Until when targets have to trust one that was replaced.
    #[schema(value_type = Option<schema::Time>)]
    pub trusted_until: Option<Timestamp>,
}

/// What a target CA is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TargetCaState {
    /// Sessions are opened with it.
    InUse,
    /// Sessions will be opened with it; targets should trust it already.
    Announced,
    /// Sessions were opened with it; targets need not trust it any more after `trusted_until`.
    Replaced,
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

/// Where clients of a database connect to, over TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DatabaseFacts {
    /// Host name or address; the listener's certificate is made out to it.
    pub host: String,
    /// Port.
    pub port: u16,
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
    /// Whether entries reach the signed log, and its checkpoints the place they are published at.
    #[serde(default)]
    pub log: bool,
    /// Whether the ends of live sessions are looked at.
    #[serde(default)]
    pub sweep: bool,
}
