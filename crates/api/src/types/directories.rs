//! Directories that bring people and groups.

use access::names::{GroupName, Username};
use access::time::Span;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;
use super::tokens::Token;
use super::who::Who;

/// A directory, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Directory {
    /// Its name in the configuration.
    #[schema(value_type = schema::Username)]
    pub name: Username,
    /// Where it sends what it says.
    pub url: String,
    /// The issuer of the identity provider where its people sign in; null: they are invited.
    pub issuer: Option<String>,
    /// What of its users is their subject there: `externalId` or `userName`.
    pub subject: Option<String>,
    /// The groups here that its groups mean.
    pub groups: Vec<Meaning>,
    /// People it has now.
    pub people: u64,
    /// Those of them whom it lets sign in.
    pub active_people: u64,
    /// Groups it has now.
    pub group_count: u64,
    /// Who answers for it; null: it has no token yet.
    pub owner: Option<Who>,
    /// Whether they may sign in still. It goes on if not, and somebody else should answer for it.
    pub owner_is_active: bool,
    /// Its tokens, newest first.
    pub tokens: Vec<Token>,
}

/// What a group of a directory means here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Meaning {
    /// Its name there.
    pub theirs: String,
    /// The group here.
    #[schema(value_type = schema::GroupName)]
    pub ours: GroupName,
}

/// A directory's token to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDirectoryToken {
    /// How long it works.
    #[schema(value_type = schema::Span)]
    pub duration: Span,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub label: Option<String>,
}
