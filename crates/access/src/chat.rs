//! Who people are where they chat.

use jiff::Timestamp;

use crate::ids::PrincipalId;

codes! {
    /// A service people chat at.
    ChatService("chat service") {
        /// Slack.
        Slack = "slack",
    }
}

row! {
    /// An account at a chat service, and whose it is here.
    ChatAccountRow in "chat_accounts" {
        /// As [`key`] makes it.
        id: String,
        /// Whose it is.
        person: PrincipalId,
        /// Where.
        service: ChatService,
        /// Of which workspace, by the service's own id.
        team: String,
        /// Who there, by the service's own id.
        account: String,
        /// Since when.
        linked_at: Timestamp,
        /// Since when it is nobody's any more.
        removed_at: Option<Timestamp>,
        /// Counts changes.
        version: i64,
    }
}

impl ChatAccountRow {
    /// Whether what it says there counts as said by its owner here.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.removed_at.is_none()
    }
}

/// By what an account is known: service, workspace and account, which together are nobody else's.
#[must_use]
pub fn key(service: ChatService, team: &str, account: &str) -> String {
    format!("{service}.{team}.{account}")
}
