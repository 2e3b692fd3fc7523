//! Who people are where they chat.

use jiff::Timestamp;

use crate::ids::PrincipalId;

codes! {
    /// A service people chat at.
    ChatService("chat service") {
        /// Slack.
        Slack = "slack",
        /// Microsoft Teams.
        Teams = "teams",
        /// A mailbox.
        Mail = "mail",
    }
}

codes! {
    /// What somebody is told at an account of theirs.
    Told("what to be told") {
        /// What they are asked to decide, and how things ended.
        All = "all",
        /// What they are asked to decide.
        Asks = "asks",
        /// How what they asked for ended.
        Own = "own",
        /// Nothing.
        Nothing = "nothing",
    }
}

impl Told {
    /// Whether they are told that they are asked to decide.
    #[must_use]
    pub fn asks(self) -> bool {
        matches!(self, Self::All | Self::Asks)
    }

    /// Whether they are told how something ended that they asked for.
    #[must_use]
    pub fn own(self) -> bool {
        matches!(self, Self::All | Self::Own)
    }
}

row! {
    /// An account at a chat service, or a mailbox, and whose it is here.
    ChatAccountRow in "chat_accounts" {
        /// As [`key`] makes it.
        id: String,
        /// Whose it is.
        person: PrincipalId,
        /// Where.
        service: ChatService,
        /// Of which workspace, by the service's own id.
        team: String,
        /// Who there, by the service's own id; nothing for a mailbox, whose address is a text.
        account: String,
        /// A mailbox's address; `None` once erased, and for all else.
        address: Option<String>,
        /// What its owner is told there.
        told: Told,
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
        self.removed_at.is_none() && (self.service != ChatService::Mail || self.address.is_some())
    }
}

/// By what an account is known: service, workspace and account, which together are nobody else's.
#[must_use]
pub fn key(service: ChatService, team: &str, account: &str) -> String {
    format!("{service}.{team}.{account}")
}

/// By what a person's mailbox is known: they have one.
#[must_use]
pub fn mailbox_key(person: PrincipalId) -> String {
    format!("{}.{person}", ChatService::Mail)
}
