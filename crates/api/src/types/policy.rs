//! The policy in force, and coming into force.

use std::collections::BTreeMap;

use access::event::Actor;
use access::ids::{BundleId, GrantId};
use access::names::Username;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::requests::{NewRequest, Verdict};
use super::schema;

/// Which policy is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Policy {
    /// SHA-256 over the bundle's sorted paths and digests, hex.
    pub digest: String,
    /// Since when; null if it came with the gate's start.
    #[schema(value_type = Option<schema::Time>)]
    pub activated_at: Option<Timestamp>,
}

/// One activation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Activation {
    /// Its id.
    #[schema(value_type = schema::BundleId)]
    pub id: BundleId,
    /// SHA-256, hex.
    pub digest: String,
    /// The one it replaced.
    pub previous: Option<String>,
    /// When.
    #[schema(value_type = schema::Time)]
    pub activated_at: Timestamp,
}

/// One activation, and what it changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActivationDetail {
    /// The activation.
    #[serde(flatten)]
    pub activation: Activation,
    /// Who did it.
    #[schema(value_type = schema::Actor)]
    pub by: Actor,
    /// Who gained and who lost which access, in words; null if there was nothing before it.
    pub diff: Option<String>,
    /// The files that were added, changed or removed, by path.
    pub files: Vec<ChangedFile>,
}

/// A file of the policy directory, before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangedFile {
    /// Its path inside the directory, with `/`.
    pub path: String,
    /// What stood in it; null: it was not there.
    pub before: Option<String>,
    /// What stands in it; null: it was removed.
    pub after: Option<String>,
}

/// A policy directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFiles {
    /// Each file's path inside the directory, with `/`, and its bytes, base64 (RFC 4648 §4).
    pub files: BTreeMap<String, String>,
}

/// What an activation did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Activated {
    /// The bundle in force now.
    pub digest: String,
    /// Whether anything changed.
    pub changed: bool,
    /// Who gains and who loses which access, in words.
    pub diff: String,
    /// Grants that no path covers any more; their sessions are cut.
    #[schema(value_type = Vec<schema::GrantId>)]
    pub withdrawn: Vec<GrantId>,
}

/// What would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyDiff {
    /// The digest of what was sent.
    pub digest: String,
    /// Who gains and who loses which access, in words. Empty: nobody.
    pub diff: String,
}

/// A question to policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// Who would ask; absent: the caller. For somebody else that takes the right to administer the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Username>)]
    pub who: Option<Username>,
    /// What they would ask.
    pub request: NewRequest,
}

/// Why policy says what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explained {
    /// What it says.
    pub verdict: Verdict,
    /// Why, step by step, in words.
    pub text: String,
}
