//! Accounts at chat services: whose each is, by their own word, given once in a browser that is signed in.
//!
//! What is done with such an account is worth no more than that: it asks and decides, and proves nothing that a passkey would.

use access::chat::{ChatAccountRow, ChatService};
use access::identity::{Mfa, Scope, VerifiedIdentity, Via};
use access::reason::{Reason, Refusal};
use access::time::Span;
use jiff::Timestamp;

use crate::account::{Account, Proven};
use crate::opaque::{self, Issued};

/// What codes begin with.
const PREFIX: &str = "tg_chat_";
/// How long a link is good for.
pub const VALID: Span = Span::minutes(15);

/// An account that asks whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatAsker {
    /// Where.
    pub service: ChatService,
    /// Of which workspace.
    pub team: String,
    /// Who there.
    pub account: String,
    /// How they call themselves there.
    pub name: String,
    /// Until when its link is good.
    pub expires_at: Timestamp,
}

/// Asks whose an account is: what is kept of it, and the code that it alone is shown, once.
#[must_use]
pub fn ask_whose(service: ChatService, team: &str, account: &str, name: &str, now: Timestamp) -> (ChatAsker, Issued) {
    let name: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
    let asker = ChatAsker { service, team: team.to_owned(), account: account.to_owned(), name, expires_at: VALID.after(now) };
    (asker, opaque::issue(PREFIX))
}

/// Who did something with an account at a chat service, which the service itself says they did.
///
/// # Errors
/// If the account is nobody's any more, or its owner may not sign in.
pub fn verify_chat_account(row: &ChatAccountRow, account: Account<'_>, now: Timestamp) -> Result<VerifiedIdentity, Refusal> {
    if !row.counts() || row.person != account.person.id {
        return Err(Refusal::because(Reason::NotSignedIn, "this account is nobody's here"));
    }
    let scopes = vec![Scope::Read, Scope::Ask, Scope::Approve];
    account.proven(Proven { mfa: Mfa::None, via: Via::ChatAccount(row.id.clone()), scopes, claims: None }, None, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::people::*;
    use access::identity::{PersonRow, PersonState};

    fn row(person: &PersonRow) -> ChatAccountRow {
        ChatAccountRow {
            id: access::chat::key(ChatService::Slack, "T1", "U1"),
            person: person.id,
            service: ChatService::Slack,
            team: "T1".into(),
            account: "U1".into(),
            address: None,
            told: access::chat::Told::All,
            linked_at: noon(),
            removed_at: None,
            version: 1,
        }
    }

    // covers: C1 (chat)
    #[test]
    fn an_account_is_its_owners_and_proves_nothing_stronger() {
        let (ana, ben) = (person("ana"), person("ben"));
        let who = verify_chat_account(&row(&ana), Account::human(&ana), noon()).unwrap();
        assert_eq!((who.id(), who.mfa(), who.via()), (ana.id, Mfa::None, &Via::ChatAccount("slack.T1.U1".into())));
        assert!(who.may(Scope::Approve) && !who.may(Scope::Administer));
        let refused =
            |row: &ChatAccountRow, person: &PersonRow| verify_chat_account(row, Account::human(person), noon()).unwrap_err().reason;
        assert_eq!(refused(&row(&ana), &ben), Reason::NotSignedIn);
        let removed = ChatAccountRow { removed_at: Some(noon()), ..row(&ana) };
        assert_eq!(refused(&removed, &ana), Reason::NotSignedIn);
        let gone = PersonRow { state: PersonState::Disabled, ..ana.clone() };
        assert_eq!(refused(&row(&ana), &gone), Reason::Disabled);
    }
}
