//! Whose accounts at chat services are: said once by their owner, in a browser that is signed in; entered; taken back at any time.

use access::chat::{ChatAccountRow, key};
use access::event::Event;
use access::identity::Via;
use access::ids::PrincipalId;
use access::reason::{Reason, Refusal};
use identity::chat::ChatAsker;
use identity::opaque::Verifier;
use policy::{Act, Noun, Object};
use store::{Change, ChatLink, CommitError};

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};

impl Gate {
    /// Which account asks with a code, for whoever opened its link to see before they say that it is theirs.
    ///
    /// # Errors
    /// [`Reason::CodeInvalid`].
    pub async fn chat_asker(&self, code: &str) -> Result<ChatAsker, Refusal> {
        let found = self.store.chat_link(Verifier::of(code).as_str(), self.now()).await.map_err(unavailable)?;
        let ChatLink { service, team, account, name, expires_at, .. } = found.ok_or_else(|| Refusal::of(Reason::CodeInvalid))?;
        Ok(ChatAsker { service, team, account, name, expires_at })
    }

    /// Somebody signed in in a browser says that the account that asks with a code is theirs.
    ///
    /// # Errors
    /// If the code is no good, it is somebody else's account already, or they are not in a browser.
    pub async fn link_chat_account(&self, caller: &Caller, code: &str) -> Result<ChatAccountRow, Refusal> {
        if !matches!(caller.who.via(), Via::WebSession(_)) || !matches!(caller.who.id(), PrincipalId::User(_)) {
            return Err(Refusal::because(Reason::NotAllowed, "people say who they are in a browser that they are signed in with"));
        }
        self.refuse_if_person_locked(caller.who.id()).await?;
        // It decides in their name for good, as a passkey does, and is added like one.
        self.refuse_if_not_fresh(caller).await?;
        let asker = self.chat_asker(code).await?;
        let id = key(asker.service, &asker.team, &asker.account);
        let before = self.store.chat_account(&id).await.map_err(unavailable)?;
        if before.as_ref().is_some_and(|row| row.counts() && row.person != caller.who.id()) {
            let refusal = Refusal::because(Reason::NotAllowed, "this account is somebody else's here; they have to give it up first");
            return Err(self.enter_action_refused(caller, "link_chat_account", id, refusal).await);
        }
        let event = Event::ChatAccountLinked {
            chat_account: id,
            person: caller.who.id(),
            service: asker.service,
            team: asker.team,
            account: asker.account,
        };
        let change = Change::new(self.draft(caller, event).text("from", caller.from()));
        let change = match &before {
            Some(row) => change.expect(row),
            None => change,
        };
        // INVARIANT: a code counts once, whoever else has it at the same instant and on whichever node.
        let committed = self.commit(change.spend_chat_link(Verifier::of(code).as_str())).await.map_err(|error| match error {
            CommitError::Conflict { table: "chat_links", .. } => Refusal::of(Reason::CodeInvalid),
            error => refused(error),
        })?;
        committed.rows.chat_accounts.into_values().next().ok_or_else(|| Refusal::of(Reason::Internal))
    }

    /// The accounts that count as the caller's.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn chat_accounts(&self, caller: &Caller) -> Result<Vec<ChatAccountRow>, Refusal> {
        self.store.chat_accounts_of(caller.who.id()).await.map_err(unavailable)
    }

    /// The accounts that count as somebody's: one's own, or anybody's for who administers people.
    ///
    /// # Errors
    /// If they are another's and the caller may not, or the store can't be read.
    pub async fn chat_accounts_of(&self, caller: &Caller, person: PrincipalId) -> Result<Vec<ChatAccountRow>, Refusal> {
        if person != caller.who.id() {
            self.authorize(caller, Act::Administer(Noun::Person), &Object::Nothing).await?;
        }
        self.store.chat_accounts_of(person).await.map_err(unavailable)
    }

    /// An account is nobody's any more: its owner says so, or who administers people.
    ///
    /// # Errors
    /// If there is none, or it is another's and they may not.
    pub async fn remove_chat_account(&self, caller: &Caller, id: &str) -> Result<ChatAccountRow, Refusal> {
        let row = self.store.chat_account(id).await.map_err(unavailable)?.filter(ChatAccountRow::counts);
        let row = row.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        if row.person != caller.who.id() {
            let allowed = self.authorize(caller, Act::Administer(Noun::Person), &Object::Nothing).await;
            allowed.map_err(|refusal| match refusal.reason {
                Reason::StoreUnavailable => refusal,
                _ => Refusal::of(Reason::NotFound),
            })?;
        }
        let event = Event::ChatAccountRemoved { chat_account: row.id.clone(), person: row.person };
        let committed = self.commit(Change::new(self.draft(caller, event)).expect(&row)).await.map_err(refused)?;
        committed.rows.chat_accounts.into_values().next().ok_or_else(|| Refusal::of(Reason::Internal))
    }
}
