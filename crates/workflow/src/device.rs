//! Devices that a person signs in from a browser: the command line of a machine without one.
//!
//! *Takes* a device that asks, and a person in a browser who is shown what asks. *Proves* with their answer who the device works
//! for. *Hands to* the device a token, which is worth no more than the sign-in it was agreed in.

use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};

use access::identity::{Scope, VerifiedIdentity, Via};
use access::reason::{Reason, Refusal};
use access::request::Door;
use access::time::Span;
use identity::device::{Agreed, Asker, Begun, Devices};

use crate::Caller;
use crate::gate::{Gate, unavailable};
use crate::people::{IssuedToken, LOGIN_VALID};

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
        let plain = |text: &str| text.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        self.devices().begin(Asker { from, client: plain(client), purpose: plain(purpose), at: now }, now)
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
        let agreed = agree.then(|| Agreed { who: caller.who.clone(), until: session.ends_at, browser });
        self.devices().answer(user_code, agreed, self.now())
    }

    /// A device asks whether somebody agreed, and gets its token if so.
    ///
    /// # Errors
    /// [`Reason::Pending`] until then.
    pub async fn poll_device(&self, device_code: &str) -> Result<(VerifiedIdentity, IssuedToken), Refusal> {
        let now = self.now();
        let (agreed, asker) = self.devices().poll(device_code, now)?;
        // What happened since they agreed counts.
        self.situation_of(agreed.who.id()).await?;
        self.refuse_if_person_locked(agreed.who.id()).await?;
        if !self.web_session_stands(agreed.browser).await? {
            return Err(Refusal::because(Reason::NotSignedIn, "the browser in which somebody agreed is signed out"));
        }
        let scopes = Scope::ALL.iter().copied().filter(|scope| agreed.who.may(*scope)).collect();
        let valid = LOGIN_VALID.min(Span::between(now, agreed.until));
        let caller = Caller { who: agreed.who, door: Door::Api };
        // So that whoever looks through their tokens, or the log, finds the device again.
        let label = format!("signed in from the browser: {} at {}", asker.client, asker.from).chars().take(LONGEST).collect();
        let token = self.issue_token(&caller, caller.who.id(), scopes, valid, Some(label)).await?;
        Ok((caller.who, token))
    }
}
