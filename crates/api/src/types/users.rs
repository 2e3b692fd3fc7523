//! People and machines.

use access::identity::{Mfa, PersonState, Scope};
use access::ids::{PrincipalId, UserId};
use access::names::{GroupName, ResourceName, TierName, Username};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::grants::Cut;
use super::resources::RoleOffer;
use super::schema;
use super::tokens::IssuedToken;
use super::who::Who;

/// A person or machine that can sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// Their id.
    #[schema(value_type = schema::PrincipalId)]
    pub id: PrincipalId,
    /// How they sign in; never reused.
    #[schema(value_type = schema::Username)]
    pub username: Username,
    /// How they are called.
    pub display_name: Option<String>,
    /// The human who answers for a machine.
    pub owner: Option<Who>,
    /// The groups the store itself gives; all others are facts of the policy.
    #[schema(value_type = Vec<schema::GroupName>)]
    pub groups: Vec<GroupName>,
    /// The directory that brought them, and says in which groups they are; null: none did.
    #[serde(default)]
    #[schema(value_type = Option<schema::Username>)]
    pub directory: Option<Username>,
    /// Whether they may sign in.
    #[schema(value_type = schema::PersonState)]
    pub state: PersonState,
    /// Since when they are known.
    #[schema(value_type = schema::Time)]
    pub created_at: Timestamp,
    /// Counts changes.
    pub version: i64,
}

/// The caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// Who they are.
    pub user: User,
    /// How strongly they proved it.
    #[schema(value_type = schema::Mfa)]
    pub mfa: Mfa,
    /// What this sign-in may be used for.
    #[schema(value_type = Vec<schema::Scope>)]
    pub scopes: Vec<Scope>,
    /// What they may administer by policy, such as `lock` or `audit`.
    pub administers: Vec<String>,
    /// Whether this gate sends mail, so that they can name a mailbox.
    #[serde(default)]
    pub mail: bool,
    /// The resources that they pinned, by name.
    #[serde(default)]
    #[schema(value_type = Vec<schema::ResourceName>)]
    pub pins: Vec<ResourceName>,
}

/// Somebody to make known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// How they will sign in.
    #[schema(value_type = schema::Username)]
    pub username: Username,
    /// How they are called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub display_name: Option<String>,
}

/// A machine to make known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWorkload {
    /// How it will sign in.
    #[schema(value_type = schema::Username)]
    pub username: Username,
    /// How it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub display_name: Option<String>,
    /// The human who answers for it.
    #[schema(value_type = schema::UserId)]
    pub owner: UserId,
}

/// A person and the single-use code by which they sign in for the first time.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Invited {
    /// Who.
    pub user: User,
    /// The code; shown once.
    pub code: String,
    /// Until when it can be used.
    #[schema(value_type = schema::Time)]
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for Invited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invited").field("user", &self.user.id).field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// A challenge to be signed with a registered SSH key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Challenge {
    /// To be given back with the answer; good once, for two minutes.
    pub nonce: String,
    /// What to sign: `ssh-keygen -Y sign -n NAMESPACE -f KEY`.
    pub text: String,
    /// The namespace to sign it in.
    pub namespace: String,
}

/// A signed challenge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerChallenge {
    /// The challenge's nonce.
    pub nonce: String,
    /// The signature as `ssh-keygen -Y sign` prints it.
    #[schema(max_length = 16384)]
    pub signature: String,
}

/// A single-use code to spend.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptInvitation {
    /// The code.
    pub code: String,
}

impl std::fmt::Debug for AcceptInvitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AcceptInvitation").finish_non_exhaustive()
    }
}

/// Who accepted, and their first token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// Who.
    pub user: User,
    /// Their first token.
    pub token: IssuedToken,
}

/// Somebody who may no longer sign in, and what that cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DisabledUser {
    /// Who.
    pub user: User,
    /// What became of their sessions.
    pub cut: Cut,
}

/// A way in that is open to somebody by asking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WayIn {
    /// Where to.
    #[schema(value_type = schema::ResourceName)]
    pub resource: ResourceName,
    /// The tier of it.
    #[schema(value_type = Option<schema::TierName>)]
    pub tier: Option<TierName>,
    /// As what.
    pub role: RoleOffer,
    /// The policies that open it.
    pub policies: Vec<String>,
}

/// Which ways in to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WaysInQuery {
    /// How many at most: 1 to 500; 50 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next_cursor` of the part before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Which people to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UsersQuery {
    /// Only the one of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::Username>)]
    pub username: Option<Username>,
    /// How many at most: 1 to 500; 50 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next_cursor` of the part before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
