//! Devices that a person signs in from a browser: the command line of a machine without one, and a connection that brought no key.
//!
//! *Takes* a device that asks, and a person in a browser who is shown what asks. *Proves* with their answer who the device works
//! for. *Hands to* the device a token, which is worth no more than the sign-in it was agreed in; to a connection, who is there.

use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};

use access::event::Event;
use access::identity::{Mfa, Scope, VerifiedIdentity, Via};
use access::ids::{SessionId, WebSessionId};
use access::names::Selector;
use access::reason::{Reason, Refusal};
use access::request::Door;
use access::session::EndReason;
use access::time::Span;
use identity::device::{Agreed, Asker, Begun, Devices};
use store::{Change, CommitError, TokenRow};

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::live::Gone;
use crate::people::LOGIN_VALID;
use crate::tokens::IssuedToken;

/// The longest text of a device's own that is shown.
const LONGEST: usize = 200;

impl Gate {
    fn devices(&self) -> MutexGuard<'_, Devices> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A device asks to be signed in. `client` and `purpose` are its own words.
    ///
    /// # Errors
    /// If too many wait from this address.
    pub fn begin_device(&self, from: IpAddr, client: &str, purpose: &str) -> Result<Begun, Refusal> {
        let now = self.now();
        let asker = Asker { from, client: plain(client), purpose: plain(purpose), connection: None, at: now };
        self.devices().begin(asker, now)
    }

    /// A connection at a door brought nothing that says who is there: somebody may say so in a browser. `client` is its software's own word.
    ///
    /// # Errors
    /// If too many wait from this address.
    pub fn begin_connection(&self, from: IpAddr, client: &str, to: &Selector, door: Door) -> Result<Begun, Refusal> {
        let now = self.now();
        let purpose = format!("one {} connection to {to}", door.code());
        self.devices().begin(Asker { from, client: plain(client), purpose, connection: Some(to.clone()), at: now }, now)
    }

    /// Who is at a connection that somebody was asked about; once.
    ///
    /// # Errors
    /// Refused: they said no, or nobody answered. The refusal is in the log.
    pub async fn identify_connection(&self, device_code: &str, from: IpAddr, door: Door) -> Result<VerifiedIdentity, Refusal> {
        let found = async {
            let (agreed, asker) = self.agreed(device_code).await?;
            self.forget_device(device_code);
            if asker.connection.is_none() {
                return Err(Refusal::of(Reason::CodeInvalid));
            }
            let known = self.known(agreed.who.id()).await?;
            agreed.at_connection(known.account(), from, self.now())
        };
        self.entered(found.await, from, door).await
    }

    /// What asked to be signed in is gone.
    pub fn forget_device(&self, device_code: &str) {
        self.devices().forget(device_code);
    }

    /// Cuts what browsers let in that are signed out now; says when each is gone.
    pub(crate) fn cut_let_in_by(&self, browsers: &[WebSessionId]) -> Vec<(SessionId, Gone)> {
        let with_it = |via: &Via| matches!(via, Via::WebSession(id) if browsers.contains(id));
        self.live.cut(EndReason::Revoked, |live| with_it(&live.via))
    }

    /// Cuts what browsers let in that are signed in no more, whatever ended that: a passkey that was removed, an account that is another's now,
    /// time.
    pub(crate) async fn cut_let_in_by_browsers_that_are_gone(&self) {
        for browser in self.live.browsers() {
            // A store that is away says nothing about it.
            if let Ok(false) = self.web_session_stands(browser).await {
                drop(self.cut_let_in_by(&[browser]));
            }
        }
    }

    /// Who asks under a code: for the person to see before they answer.
    ///
    /// # Errors
    /// If nobody does, or it was answered.
    pub fn device(&self, user_code: &str) -> Result<Asker, Refusal> {
        self.devices().asker(user_code, self.now())
    }

    /// A person answers in a browser that they are signed in with.
    ///
    /// # Errors
    /// If nobody asks under this code, it was answered, or the caller is no person in a browser.
    pub async fn answer_device(&self, caller: &Caller, user_code: &str, agree: bool) -> Result<Asker, Refusal> {
        let Via::WebSession(session) = caller.who.via() else {
            return Err(Refusal::because(Reason::NotAllowed, "a person does this in a browser that they are signed in with"));
        };
        let browser = *session;
        let session = self.store.web_session(browser).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotSignedIn))?;
        self.refuse_if_person_locked(caller.who.id()).await?;
        // INVARIANT: no answer counts that is not entered, with what they were shown.
        let asker = self.devices().asker(user_code, self.now())?;
        // A connection is let in as oneself would be by asking; a device gets a token that outlives the page.
        if asker.connection.is_none() && !caller.who.may(Scope::Administer) {
            return Err(Refusal::because(Reason::ScopeMissing, "the token this browser was signed in with lacks the scope `administer`"));
        }
        let what = format!("{} at {}: {}", asker.client, asker.from, asker.purpose);
        let entry =
            self.draft(caller, Event::DeviceAnswered { browser, agreed: agree }).text("from", caller.from()).text("detail", Some(what));
        self.commit(Change::new(entry)).await.map_err(refused)?;
        let agreed = agree.then(|| Agreed { who: caller.who.clone(), until: session.ends_at, browser });
        self.devices().answer(user_code, agreed, self.now())
    }

    /// A device asks whether somebody agreed, and gets its token if so. A yes is spent when the token is there, or refused; a store that is
    /// away spends none.
    ///
    /// # Errors
    /// [`Reason::Pending`] until then.
    pub async fn poll_device(&self, device_code: &str) -> Result<(VerifiedIdentity, IssuedToken), Refusal> {
        let got = self.token_for_device(device_code).await;
        match &got {
            Ok(_) => self.devices().forget(device_code),
            Err(no) if no.reason == Reason::StoreUnavailable => self.devices().give_back(device_code),
            Err(_) => {}
        }
        got
    }

    async fn token_for_device(&self, device_code: &str) -> Result<(VerifiedIdentity, IssuedToken), Refusal> {
        let now = self.now();
        let (agreed, asker) = self.agreed(device_code).await?;
        if asker.connection.is_some() {
            return Err(Refusal::of(Reason::CodeInvalid));
        }
        let scopes = Scope::ALL.iter().copied().filter(|scope| agreed.who.may(*scope)).collect();
        let valid = LOGIN_VALID.min(Span::between(now, agreed.until));
        let caller = Caller { who: agreed.who, door: Door::Api };
        // So that whoever looks through their tokens, or the log, finds the device again.
        let label = format!("signed in from the browser: {} at {}", asker.client, asker.from).chars().take(LONGEST).collect();
        let signed_out = || Refusal::because(Reason::NotSignedIn, "the browser in which somebody agreed is signed out");
        let browser = self.store.web_session(agreed.browser).await.map_err(unavailable)?.ok_or_else(signed_out)?;
        let (row, token) = self.new_token(caller.who.id(), scopes, None, valid, Mfa::None, Some(label));
        // INVARIANT: what a provider's sign-in let in ends with it.
        let row = TokenRow { identity: browser.identity, sid: browser.sid, ..row };
        let change = Change::new(self.token_issued(&caller, &row)?).put_token(&row).only_with_web_session(agreed.browser);
        self.commit(change).await.map_err(|error| match error {
            CommitError::Conflict { .. } => signed_out(),
            other => refused(other),
        })?;
        Ok((caller.who, IssuedToken { row, token }))
    }

    /// What somebody agreed to, if that still counts.
    async fn agreed(&self, device_code: &str) -> Result<(Agreed, Asker), Refusal> {
        let (agreed, asker) = self.devices().poll(device_code, self.now())?;
        let counts = async {
            // What happened since they agreed counts.
            self.situation_of(agreed.who.id()).await?;
            self.refuse_if_person_locked(agreed.who.id()).await?;
            if !self.web_session_stands(agreed.browser).await? {
                return Err(Refusal::because(Reason::NotSignedIn, "the browser in which somebody agreed is signed out"));
            }
            Ok(())
        };
        match counts.await {
            Ok(()) => Ok((agreed, asker)),
            Err(refusal) => {
                match refusal.reason {
                    Reason::StoreUnavailable => self.devices().give_back(device_code),
                    _ => self.devices().forget(device_code),
                }
                Err(refusal)
            }
        }
    }
}

/// A device's own words, as they are shown.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}
