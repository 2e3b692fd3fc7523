//! Accounts at chat services, and whose they are here.

use access::chat::{ChatService, Told};
use access::ids::PrincipalId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// An account at a chat service: what is done with it there counts as its owner's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChatAccount {
    /// By what it is known here.
    pub id: String,
    /// Whose it is.
    #[schema(value_type = schema::PrincipalId)]
    pub person: PrincipalId,
    /// Where.
    #[schema(value_type = schema::ChatService)]
    pub service: ChatService,
    /// Of which workspace, by the service's own id.
    pub team: String,
    /// Who there, by the service's own id; a mailbox's address.
    pub account: String,
    /// What its owner is told there.
    #[schema(value_type = schema::Told)]
    pub told: Told,
    /// Since when.
    #[schema(value_type = schema::Time)]
    pub linked_at: Timestamp,
}

/// What somebody wants to be told at an account of theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangedChatAccount {
    /// What.
    #[schema(value_type = schema::Told)]
    pub told: Told,
}

/// An account that asks whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AskingChatAccount {
    /// Where.
    #[schema(value_type = schema::ChatService)]
    pub service: ChatService,
    /// Of which workspace, by the service's own id.
    pub team: String,
    /// Who there, by the service's own id.
    pub account: String,
    /// How they call themselves there.
    pub name: String,
    /// Until when its link is good.
    #[schema(value_type = schema::Time)]
    pub expires_at: Timestamp,
}

/// The code of a link that a chat service showed to somebody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatCode {
    /// It.
    #[schema(max_length = 200, write_only)]
    pub code: String,
}

impl std::fmt::Debug for ChatCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatCode").finish_non_exhaustive()
    }
}
