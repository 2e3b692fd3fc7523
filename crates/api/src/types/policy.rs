//! The policy in force, and coming into force.

use std::collections::BTreeMap;

use access::event::Actor;
use access::ids::{BundleId, GrantId};
use access::names::{GroupName, Username};
use access::time::Span;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

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

/// What a path in does that need not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Noise {
    /// People are asked, and nearly always agree.
    Approved,
    /// People are asked, and nearly always deny.
    Denied,
    /// Nobody asked by it.
    Unused,
}

/// A path in that decides nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoisyPolicy {
    /// The policy's id.
    pub policy: String,
    /// Where it stands: `file:line:column`.
    pub place: String,
    /// What it does.
    pub noise: Noise,
    /// How often somebody asked by it.
    pub asked: u64,
    /// How often people agreed.
    pub approved: u64,
    /// How often they denied.
    pub denied: u64,
    /// How often nobody answered in time.
    pub expired: u64,
    /// What could be done.
    pub proposal: String,
    /// The same as a change of the directory; null: it takes thought.
    pub change: Option<ChangedFile>,
}

/// Paths in that decide nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoisyPolicies {
    /// From when on requests were counted.
    #[schema(value_type = schema::Time)]
    pub since: Timestamp,
    /// The digest of the bundle in force, which the changes are of.
    pub bundle: String,
    /// The paths.
    pub items: Vec<NoisyPolicy>,
}

/// How far to look back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct NoisyQuery {
    /// For so long; 90 days if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::Span>)]
    pub time: Option<Span>,
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
    /// The schedules they are supposed to be on call for; absent: as it is now. Only for somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<schema::GroupName>>)]
    pub on_call: Option<Vec<GroupName>>,
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
