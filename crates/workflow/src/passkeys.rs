//! Passkeys: people add, name and remove them, and sign in with them.
//!
//! *Takes* what a browser says of a passkey. *Proves*, with a challenge that was given out for just this, that its owner used it here.
//! *Hands to* every other verb the caller; to `step_up` and `sign` the proof that they are there now.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use access::event::{Actor, EntryDraft, Event};
use access::identity::{IdentityRow, KeyKind, KeyRow, KeyState, Mfa, PasskeyUse, Via};
use access::ids::{PasskeyId, PrincipalId};
use access::reason::{Reason, Refusal};
use access::request::Door;
use identity::account::Account;
use identity::passkeys::{
    Answered, Assertion, Ceremonies, FRESH, LONGEST_LABEL, MOST, PasskeyFacts, Purpose, RelyingParty, StepUps, Used, challenge_of, encode,
    unknown, user_handle, verify_new, verify_passkey,
};
use identity::web_session::LONGEST;
use policy::{Act, Noun, Object};
use sha2::{Digest as _, Sha256};
use store::{Change, CommitError, PasskeyRow};

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::web_session::OpenedWebSession;

/// What is about to sign nobody in any more.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Going<'a> {
    /// This passkey.
    Passkey(PasskeyId),
    /// This account at an identity provider.
    Account(&'a str),
}

/// What goes on signing somebody in.
#[derive(Debug)]
pub(crate) enum Stays {
    /// A passkey.
    Passkey(PasskeyId),
    /// A key of theirs.
    Key(KeyRow),
    /// An account at an identity provider.
    Account(IdentityRow),
}

impl Stays {
    /// The change, only if this still signs them in when it is made.
    ///
    /// INVARIANT: of two ways in that go at the same moment, each because of the other, one stays.
    pub(crate) fn or_not_at_all(&self, change: Change) -> Change {
        match self {
            Self::Passkey(id) => change.only_with_passkey(*id),
            Self::Key(row) => change.expect(row),
            Self::Account(row) => change.expect(row),
        }
    }
}

/// Where passkeys are used, and what waits for one.
#[derive(Debug, Default)]
pub(crate) struct Passkeys {
    party: OnceLock<Option<RelyingParty>>,
    ceremonies: Mutex<Ceremonies>,
    step_ups: Mutex<StepUps>,
}

/// What a browser is told to make a passkey.
#[derive(Debug, Clone)]
pub struct ToRegister {
    /// The challenge.
    pub challenge: Vec<u8>,
    /// Whose it will be: what the authenticator keeps as its owner, base64url.
    pub user_handle: String,
    /// How they sign in.
    pub username: String,
    /// How they are called.
    pub display_name: String,
    /// The passkeys they have: an authenticator makes no second one.
    pub have: Vec<String>,
}

/// A passkey that was used for what it was asked for, and what is to be kept of that; nothing is before it is committed.
pub(crate) struct Proved {
    pub(crate) purpose: Purpose,
    pub(crate) used: Used,
    /// As it stands afterwards.
    pub(crate) row: PasskeyRow,
    pub(crate) entry: EntryDraft,
}

impl Proved {
    /// The change that notes the use; with whatever it is for.
    pub(crate) fn noted(&self) -> Change {
        Change::new(self.entry.clone()).change_passkey(&self.row)
    }
}

impl Gate {
    /// Says on which page passkeys are used. Once; a second time changes nothing.
    pub fn serve_passkeys(&self, page: &str) {
        let _before = self.passkeys.party.set(RelyingParty::of_page(page));
    }

    /// The name and page that passkeys are bound to; `None` if this gate has no name.
    #[must_use]
    pub fn relying_party(&self) -> Option<&RelyingParty> {
        self.passkeys.party.get()?.as_ref()
    }

    pub(crate) fn party(&self) -> Result<&RelyingParty, Refusal> {
        let none = "this gate is reached by an address and not by a name, and passkeys are bound to a name";
        self.relying_party().ok_or_else(|| Refusal::because(Reason::NotAllowed, none))
    }

    pub(crate) fn ceremonies(&self) -> MutexGuard<'_, Ceremonies> {
        self.passkeys.ceremonies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn step_ups(&self) -> MutexGuard<'_, StepUps> {
        self.passkeys.step_ups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A person's passkeys, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn passkeys(&self, caller: &Caller) -> Result<Vec<PasskeyRow>, Refusal> {
        self.store.passkeys_of(caller.who.id()).await.map_err(unavailable)
    }

    /// What the browser of somebody who adds a passkey is told.
    ///
    /// # Errors
    /// If they are no person in a browser who signed in a moment ago, or passkeys can't be used here.
    pub async fn begin_passkey(&self, caller: &Caller) -> Result<ToRegister, Refusal> {
        self.party()?;
        self.refuse_if_not_fresh(caller).await?;
        let (person, _) = self.account_of(caller.who.id()).await?;
        let have = self.passkeys(caller).await?;
        if have.len() >= MOST {
            return Err(Refusal::because(Reason::Invalid, format!("you have {MOST} passkeys; remove one that you no longer use")));
        }
        let challenge = self.ceremonies().begin(Purpose::Register(caller.who.id()), address(caller), self.now());
        Ok(ToRegister {
            challenge,
            user_handle: user_handle(person.id),
            username: person.username.to_string(),
            display_name: person.display_name.unwrap_or_else(|| person.username.to_string()),
            have: have.into_iter().map(|row| row.credential).collect(),
        })
    }

    /// Adds the passkey that a browser made. Both parts are base64url, as WebAuthn gives them.
    ///
    /// # Errors
    /// If it was not made for this challenge, here, by somebody it verified; or is known already.
    pub async fn add_passkey(
        &self,
        caller: &Caller,
        client_data: &str,
        attestation_object: &str,
        label: Option<String>,
    ) -> Result<PasskeyRow, Refusal> {
        let now = self.now();
        let ceremony = self.ceremonies().take(&challenge_of(client_data)?, now)?;
        if ceremony.purpose != Purpose::Register(caller.who.id()) {
            return Err(Refusal::because(Reason::CodeInvalid, "this was not given out to add a passkey of yours"));
        }
        self.refuse_if_not_fresh(caller).await?;
        self.refuse_if_person_locked(caller.who.id()).await?;
        let made = verify_new(client_data, attestation_object, (self.party()?, &ceremony.challenge))?;
        let row = PasskeyRow {
            id: PasskeyId::generate(now),
            person: caller.who.id(),
            credential: encode(&made.credential),
            public_key: encode(&made.public_key),
            label: label.and_then(named),
            aaguid: hex::encode(made.aaguid),
            backed_up: made.backed_up,
            counter: i64::from(made.counter),
            version: 1,
            added_at: now,
            used_at: None,
            removed_at: None,
        };
        let event = Event::PasskeyAdded {
            passkey: row.id,
            person: row.person,
            public_key: hex::encode(Sha256::digest(&made.public_key)),
            row_digest: self.row_digest(&store::digestible(&row))?,
        };
        let change = Change::new(self.draft(caller, event).text("label", row.label.clone())).put_passkey(&row);
        self.commit(change).await.map_err(|error| match error {
            CommitError::Duplicate { .. } => Refusal::because(Reason::Invalid, "this passkey is registered already"),
            other => refused(other),
        })?;
        Ok(row)
    }

    /// A passkey is called differently.
    ///
    /// # Errors
    /// If there is none of the caller's by that id.
    pub async fn rename_passkey(&self, caller: &Caller, id: PasskeyId, label: String) -> Result<PasskeyRow, Refusal> {
        let row = self.own_passkey(caller, id).await?;
        self.label_passkey(caller, row, named(label)).await
    }

    /// The same, by somebody who may.
    pub(crate) async fn label_passkey(&self, caller: &Caller, row: PasskeyRow, label: Option<String>) -> Result<PasskeyRow, Refusal> {
        let row = PasskeyRow { label, version: row.version + 1, ..row };
        let event = Event::PasskeyRenamed { passkey: row.id, row_digest: self.row_digest(&store::digestible(&row))? };
        let change = Change::new(self.draft(caller, event).text("label", row.label.clone())).change_passkey(&row);
        self.commit(change).await.map_err(refused)?;
        Ok(row)
    }

    /// A passkey no longer signs anybody in, whoever is signed in with it is signed out, and what was proved with it counts no more: one of
    /// the caller's own, proved freshly, or by who administers keys.
    ///
    /// # Errors
    /// If there is none, the caller may not, or nothing else would sign its owner in.
    pub async fn remove_passkey(&self, caller: &Caller, id: PasskeyId) -> Result<PasskeyRow, Refusal> {
        let not_found = || Refusal::of(Reason::NotFound);
        let row = self.store.passkey(id).await.map_err(unavailable)?.filter(|row| row.removed_at.is_none()).ok_or_else(not_found)?;
        let mut stays = None;
        if row.person == caller.who.id() {
            self.refuse_if_not_fresh(caller).await?;
            stays = Some(self.what_stays(row.person, Going::Passkey(id)).await?);
        } else {
            self.authorize(caller, Act::Administer(Noun::Key), &Object::Nothing).await.map_err(|no| match no.reason {
                Reason::StoreUnavailable => no,
                _ => not_found(),
            })?;
        }
        let row = PasskeyRow { removed_at: Some(self.now()), version: row.version + 1, ..row };
        let event = Event::PasskeyRemoved { passkey: id, person: row.person, row_digest: self.row_digest(&store::digestible(&row))? };
        let change = Change::new(self.draft(caller, event)).remove_passkey(&row);
        let change = stays.iter().fold(change, |change, stays| stays.or_not_at_all(change));
        self.commit(change).await.map_err(refused)?;
        self.step_ups().forget(id);
        Ok(row)
    }

    /// A challenge for whoever has a passkey here.
    ///
    /// # Errors
    /// If passkeys can't be used here.
    pub fn begin_passkey_sign_in(&self, from: IpAddr) -> Result<Vec<u8>, Refusal> {
        self.party()?;
        Ok(self.ceremonies().begin(Purpose::SignIn, from, self.now()))
    }

    /// Signs a browser in with a passkey. `user_handle` is whose it says it is. One challenge signs in once.
    ///
    /// # Errors
    /// [`Reason::CodeInvalid`] and [`Reason::NotSignedIn`]; entered in the log.
    pub async fn sign_in_with_passkey(
        &self,
        assertion: &Assertion,
        user_handle: Option<&str>,
        from: IpAddr,
        agent: Option<String>,
    ) -> Result<OpenedWebSession, Refusal> {
        // A passkey that was found without anybody being named has to say whose it is (WebAuthn §7.2 step 6).
        let answered = Answered { assertion, user_handle: Some(user_handle.unwrap_or_default()) };
        let proved = self.prove(&answered, from, PasskeyUse::SignIn, |purpose| *purpose == Purpose::SignIn).await?;
        let who = proved.used.who.clone();
        self.entered(self.refuse_if_person_locked(who.id()).await.map(|()| who.clone()), from, Door::Api).await?;
        let (row, cookie) = self.new_web_session(&who, None, LONGEST.after(self.now()), agent)?;
        self.commit(proved.noted().put_web_session(&row)).await.map_err(used_meanwhile)?;
        Ok(OpenedWebSession { who, row, cookie })
    }

    /// Who used a passkey, for a challenge that was given out for this.
    pub(crate) async fn prove(
        &self,
        answered: &Answered<'_>,
        from: IpAddr,
        used_for: PasskeyUse,
        wanted: impl FnOnce(&Purpose) -> bool,
    ) -> Result<Proved, Refusal> {
        let found = self.proved(answered, from, used_for, wanted).await;
        if let Err(refusal) = &found {
            self.enter_passkey_refused(refusal, from).await;
        }
        found
    }

    async fn proved(
        &self,
        answered: &Answered<'_>,
        from: IpAddr,
        used_for: PasskeyUse,
        wanted: impl FnOnce(&Purpose) -> bool,
    ) -> Result<Proved, Refusal> {
        let party = self.party()?;
        let now = self.now();
        // Gone with the first answer, right or wrong.
        let ceremony = self.ceremonies().take(&challenge_of(&answered.assertion.client_data)?, now)?;
        if !wanted(&ceremony.purpose) {
            return Err(Refusal::because(Reason::CodeInvalid, "the passkey answered a question that was asked for something else"));
        }
        let row = self.store.passkey_by_credential(&answered.assertion.credential).await.map_err(unavailable)?.ok_or_else(unknown)?;
        let (person, owner) = self.account_of(row.person).await?;
        let account = match &owner {
            Some(owner) => Account::workload(&person, owner),
            None => Account::human(&person),
        };
        let facts = PasskeyFacts {
            id: row.id,
            person: row.person,
            credential: &row.credential,
            public_key: &row.public_key,
            counter: u32::try_from(row.counter).unwrap_or(u32::MAX),
            removed: row.removed_at.is_some(),
        };
        let used = verify_passkey(answered, &facts, account, (party, &ceremony.challenge), from, now)?;
        let row =
            PasskeyRow { counter: i64::from(used.counter), backed_up: used.backed_up, used_at: Some(now), version: row.version + 1, ..row };
        let event = Event::PasskeyUsed {
            passkey: row.id,
            person: row.person,
            purpose: used_for,
            row_digest: self.row_digest(&store::digestible(&row))?,
        };
        let entry = EntryDraft::new(now, Actor::Principal(row.person), Door::Api, event).text("from", Some(from.to_string()));
        Ok(Proved { purpose: ceremony.purpose, used, row, entry })
    }

    async fn enter_passkey_refused(&self, refusal: &Refusal, from: IpAddr) {
        if refusal.reason == Reason::StoreUnavailable {
            return;
        }
        let event = Event::SigninRefused { door: Door::Api, reason: refusal.reason };
        let draft = EntryDraft::new(self.now(), Actor::Unknown, Door::Api, event)
            .text("from", Some(from.to_string()))
            .text("detail", refusal.detail.clone());
        if let Err(error) = self.commit(Change::new(draft)).await {
            tracing::error!(%error, "a refused passkey could not be entered; it stays refused");
        }
    }

    pub(crate) async fn own_passkey(&self, caller: &Caller, id: PasskeyId) -> Result<PasskeyRow, Refusal> {
        let row = self.store.passkey(id).await.map_err(unavailable)?;
        row.filter(|row| row.person == caller.who.id() && row.removed_at.is_none()).ok_or_else(|| Refusal::of(Reason::NotFound))
    }

    /// Whoever adds or removes a passkey was just here themselves: signed in a moment ago, and, once they have a passkey, with one of them
    /// or by a new invitation. So what somebody finds open, or a token that leaked, makes no lasting way in.
    pub(crate) async fn refuse_if_not_fresh(&self, caller: &Caller) -> Result<(), Refusal> {
        let Via::WebSession(session) = caller.who.via() else {
            return Err(Refusal::because(Reason::NotAllowed, "a person does this in a browser that they are signed in with"));
        };
        let row = self.store.web_session(*session).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotSignedIn))?;
        let now = self.now();
        let verified = row.mfa == Mfa::Verified && now < FRESH.after(row.proved_at);
        let just_signed_in = now < FRESH.after(row.created_at);
        let invited = row.token.is_none() && row.identity.is_none() && row.passkey.is_none();
        if verified || (just_signed_in && invited) {
            return Ok(());
        }
        let has_passkeys = !self.passkeys(caller).await?.is_empty();
        match (has_passkeys, just_signed_in) {
            (false, true) => Ok(()),
            (true, _) => Err(Refusal::because(
                Reason::MfaRequired,
                "use one of your passkeys first; if you have none of them any more, ask an administrator for a new invitation",
            )),
            (false, false) => Err(Refusal::because(
                Reason::MfaRequired,
                format!("you signed in more than {FRESH} ago; sign out, sign in again, and come back"),
            )),
        }
    }

    /// What goes on signing somebody in when something goes; the only way in is not thrown away by accident. Tokens do not count: they end.
    pub(crate) async fn what_stays(&self, person: PrincipalId, going: Going<'_>) -> Result<Stays, Refusal> {
        let passkeys = self.store.passkeys_of(person).await.map_err(unavailable)?;
        let other = |passkey: &PasskeyRow| !matches!(going, Going::Passkey(id) if id == passkey.id);
        if let Some(passkey) = passkeys.into_iter().find(other) {
            return Ok(Stays::Passkey(passkey.id));
        }
        let keys = self.store.keys_of(person).await.map_err(unavailable)?;
        if let Some(key) = keys.into_iter().find(|key| key.state == KeyState::Active && key.kind == KeyKind::Registered) {
            return Ok(Stays::Key(key));
        }
        let identities = self.store.identities_of(person).await.map_err(unavailable)?;
        let other = |identity: &IdentityRow| !matches!(going, Going::Account(id) if id == identity.id);
        let served = |identity: &IdentityRow| self.providers().any(|provider| provider.issuer == identity.issuer);
        let account = identities.into_iter().find(|identity| other(identity) && served(identity));
        account.map(Stays::Account).ok_or_else(|| Refusal::of(Reason::LastSignIn))
    }
}

/// A passkey's answer was taken meanwhile, by whoever was faster.
pub(crate) fn used_meanwhile(error: CommitError) -> Refusal {
    match error {
        CommitError::Conflict { .. } | CommitError::Duplicate { .. } => {
            Refusal::because(Reason::CodeInvalid, "the passkey was used twice at once; try once more")
        }
        other => refused(other),
    }
}

pub(crate) fn address(caller: &Caller) -> IpAddr {
    caller.who.from().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
}

fn named(label: String) -> Option<String> {
    let label: String = label.trim().chars().filter(|c| !c.is_control()).take(LONGEST_LABEL).collect();
    (!label.is_empty()).then_some(label)
}
