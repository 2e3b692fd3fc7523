//! Resources: what one can ask for, and what it would take.

use std::collections::BTreeSet;

use access::names::{GroupName, ResourceName, RoleName, SecretName, TierName};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::requests::{AnswerCode, Verdict};
use super::schema;

/// Which resources to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ResourcesQuery {
    /// All there are, to who administers the policy or reads the audit log; and not just those on which a role is open to the caller.
    #[serde(default)]
    pub all: bool,
    /// How many at most: 1 to 500; 50 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next_cursor` of the part before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Something behind the gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Resource {
    /// Its name.
    #[schema(value_type = schema::ResourceName)]
    pub name: ResourceName,
    /// In plain words, what it is.
    pub description: Option<String>,
    /// What it speaks.
    pub kind: String,
    /// Its tier.
    #[schema(value_type = Option<schema::TierName>)]
    pub tier: Option<TierName>,
    /// The environment it belongs to.
    pub environment: Option<String>,
    /// Words policies speak of.
    pub tags: BTreeSet<String>,
    /// The group that answers for it.
    #[schema(value_type = Option<schema::GroupName>)]
    pub owner: Option<GroupName>,
    /// The roles that are open to the caller, in an emergency at least, and what each would take.
    pub roles: Vec<RoleOffer>,
}

/// One role on one resource, as it is open to the caller now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleOffer {
    /// The role.
    #[schema(value_type = schema::RoleName)]
    pub role: RoleName,
    /// In plain words, what it is for.
    pub description: String,
    /// Whether it is meant when none is named.
    pub default: bool,
    /// Whether it is open in an emergency alone.
    #[serde(default)]
    pub emergency: bool,
    /// What policy would say to an ordinary request; where it is open in an emergency alone, to a request for one.
    pub answer: AnswerCode,
    /// What that means, as a sentence.
    pub takes: String,
}

/// A resource with its roles and how to set it up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResourceDetail {
    /// The resource.
    #[serde(flatten)]
    pub resource: Resource,
    /// What each role may do.
    pub rights: Vec<RoleDetail>,
    /// What an administrator of the target has to do once; only for those who may administer resources.
    pub setup: Option<Setup>,
}

/// One role and its rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleDetail {
    /// The role.
    #[schema(value_type = schema::RoleName)]
    pub role: RoleName,
    /// The account it uses on the target.
    pub login: String,
    /// What it may do, in plain words, one right each.
    pub may: Vec<String>,
    /// What an ordinary request would be told; where it is open in an emergency alone, a request for one.
    pub verdict: Verdict,
}

/// How a target is made to trust the gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Setup {
    /// Where the gate connects to.
    pub address: String,
    /// Host keys that the policy names.
    pub host_keys: Vec<String>,
    /// What opens the target.
    pub credential: TargetCredential,
    /// Lines for a file on the target; empty if a secret opens it.
    pub files: Vec<SetupFile>,
}

/// What opens a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum TargetCredential {
    /// A short certificate of the target CA.
    TargetCa,
    /// A sealed secret.
    Secret {
        /// Which.
        #[schema(value_type = schema::SecretName)]
        name: SecretName,
        /// Whether it is set.
        set: bool,
    },
    /// A secret in a vault, fetched for each session.
    Vault {
        /// Which, and where in it: `NAME/PATH#FIELD`.
        secret: String,
    },
}

/// A file on the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SetupFile {
    /// Where.
    pub path: String,
    /// What has to stand in it.
    pub lines: Vec<String>,
}
