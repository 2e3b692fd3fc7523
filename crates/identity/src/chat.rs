//! Accounts at chat services: whose each is, by their own word, given once in a browser that is signed in.
//!
//! What is done with such an account is worth no more than that: it asks and decides, and proves nothing that a passkey would.

use std::collections::VecDeque;

use access::chat::{ChatAccountRow, ChatService};
use access::identity::{Mfa, Scope, VerifiedIdentity, Via};
use access::reason::{Reason, Refusal};
use access::secret::Secret;
use access::time::Span;
use jiff::Timestamp;

use crate::account::{Account, Proven};
use crate::opaque::{self, Verifier};

/// What codes begin with.
const PREFIX: &str = "tg_chat_";
/// How long a link is good for.
pub const VALID: Span = Span::minutes(15);
/// How many wait at most.
const ROOM: usize = 1_000;

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

/// Links that wait for the one who opens them. In memory: what is lost is asked for again.
#[derive(Debug, Default)]
pub struct ChatLinks(VecDeque<(Verifier, ChatAsker)>);

impl ChatLinks {
    /// A code for an account; an earlier one of the same account is good no more.
    pub fn begin(&mut self, service: ChatService, team: &str, account: &str, name: &str, now: Timestamp) -> Secret<String> {
        self.0.retain(|(_, asker)| asker.expires_at > now && !(asker.service == service && asker.team == team && asker.account == account));
        if self.0.len() >= ROOM {
            self.0.pop_front();
        }
        let issued = opaque::issue(PREFIX);
        let name: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
        let asker = ChatAsker { service, team: team.to_owned(), account: account.to_owned(), name, expires_at: VALID.after(now) };
        self.0.push_back((issued.verifier, asker));
        issued.secret
    }

    /// Who asks with a code.
    ///
    /// # Errors
    /// [`Reason::CodeInvalid`].
    pub fn asker(&self, code: &str, now: Timestamp) -> Result<ChatAsker, Refusal> {
        let verifier = Verifier::of(code);
        let found = self.0.iter().find(|(kept, asker)| *kept == verifier && asker.expires_at > now);
        found.map(|(_, asker)| asker.clone()).ok_or_else(|| Reason::CodeInvalid.into())
    }

    /// Spends a code.
    ///
    /// # Errors
    /// [`Reason::CodeInvalid`].
    pub fn spend(&mut self, code: &str, now: Timestamp) -> Result<ChatAsker, Refusal> {
        let asker = self.asker(code, now)?;
        let verifier = Verifier::of(code);
        self.0.retain(|(kept, _)| *kept != verifier);
        Ok(asker)
    }
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

    // covers: C4 (chat)
    #[test]
    fn a_link_is_good_once_for_a_quarter_of_an_hour_and_the_newest_counts() {
        let mut links = ChatLinks::default();
        let begin = |links: &mut ChatLinks| links.begin(ChatService::Slack, "T1", "U1", "ben", noon());
        let first = begin(&mut links);
        assert_eq!(links.asker(first.expose(), noon()).unwrap().account, "U1");
        let second = begin(&mut links);
        assert!(links.asker(first.expose(), noon()).is_err(), "an earlier one of the same account");
        let other = links.begin(ChatService::Slack, "T1", "U2", "carla", noon());
        assert!(links.asker(second.expose(), VALID.after(noon())).is_err());
        assert_eq!(links.spend(second.expose(), noon()).unwrap().name, "ben");
        assert!(links.spend(second.expose(), noon()).is_err(), "once");
        assert!(links.asker(other.expose(), noon()).is_ok() && links.asker("tg_chat_", noon()).is_err());
    }
}
