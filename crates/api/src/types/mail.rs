//! Links in mails, and mailboxes.

use access::approval::Decision;
use access::ids::{PrincipalId, RequestId};
use access::request::RequestState;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// The code of a link that stands in a mail, what follows the `#`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MailCode {
    /// It.
    #[schema(max_length = 512, write_only)]
    pub code: String,
}

impl std::fmt::Debug for MailCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailCode").finish_non_exhaustive()
    }
}

/// A yes or no by the link of a mail.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MailDecision {
    /// The link's code.
    #[schema(max_length = 512, write_only)]
    pub code: String,
    /// Yes or no.
    #[schema(value_type = schema::Decision)]
    pub decision: Decision,
    /// Why; a no needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4000)]
    pub note: Option<String>,
}

impl std::fmt::Debug for MailDecision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailDecision").field("decision", &self.decision).finish_non_exhaustive()
    }
}

/// A line of facts about a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fact {
    /// What it is about.
    pub name: String,
    /// What it is.
    pub value: String,
}

/// What the link of a mail asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MailAsking {
    /// Whose link it is.
    #[schema(value_type = schema::PrincipalId)]
    pub person: PrincipalId,
    /// What they are called.
    pub name: String,
    /// The request.
    #[schema(value_type = schema::RequestId)]
    pub request: RequestId,
    /// How far it has come.
    #[schema(value_type = schema::RequestState)]
    pub state: RequestState,
    /// Who asks.
    pub asker: String,
    /// Where.
    pub resource: String,
    /// As what.
    pub role: String,
    /// What it costs and what it is limited to.
    pub facts: Vec<Fact>,
    /// Why, in the asker's own words.
    pub reason: Option<String>,
    /// Who decided what so far.
    pub votes: Vec<String>,
    /// How it ended; null while it waits.
    pub outcome: Option<String>,
    /// Whether it was changed after the mail was written: the link does not count for what it says now.
    pub changed: bool,
    /// Why the link alone does not approve it; null: it does.
    pub needs_more: Option<String>,
    /// Until when the link is good.
    #[schema(value_type = schema::Time)]
    pub expires_at: Timestamp,
}

/// What came of a decision by the link of a mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MailDecided {
    /// The request.
    #[schema(value_type = schema::RequestId)]
    pub request: RequestId,
    /// How far it has come.
    #[schema(value_type = schema::RequestState)]
    pub state: RequestState,
    /// How it ended; null while others are asked too.
    pub outcome: Option<String>,
}

/// A mailbox that somebody says is theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedMailbox {
    /// Its address.
    #[schema(max_length = 254)]
    pub address: String,
}
