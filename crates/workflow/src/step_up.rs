//! Proving freshly that it is oneself, when a path asks for it.
//!
//! *Takes* a passkey's answer from a person who is signed in. *Proves* that they are there now, verified. *Hands to* the browser's own
//! sign-in, or to a terminal that waits, that proof with its time: policy sees it when they ask again.

use access::event::Event;
use access::identity::{Mfa, PasskeyUse, VerifiedIdentity, Via};
use access::ids::PrincipalId;
use access::names::{ResourceName, RoleName};
use access::reason::{Reason, Refusal};
use access::request::AccessRequest;
use access::verdict::Answer;
use identity::passkeys::{Answered, Asking, Assertion, Purpose, StepUpAsker};
use jiff::Timestamp;
use policy::Situation;
use store::Change;
use tokio::sync::watch;

use crate::Caller;
use crate::gate::{Gate, unavailable};
use crate::passkeys::{address, used_meanwhile};

/// The longest text of a client's own that is shown.
const LONGEST: usize = 200;

/// A terminal that waits for its owner's passkey.
#[derive(Debug, Clone)]
pub struct StepUpWait {
    /// Where the person goes.
    pub link: String,
    /// The code that stands in the link, to compare or to type.
    pub user_code: String,
    /// Until when.
    pub expires_at: Timestamp,
    /// `Some(true)` once they proved it, `Some(false)` if they said that it is not them.
    pub answered: watch::Receiver<Option<bool>>,
}

/// What a browser is told to use a passkey.
#[derive(Debug, Clone)]
pub struct ToProve {
    /// The challenge.
    pub challenge: Vec<u8>,
    /// The passkeys that will do.
    pub credentials: Vec<String>,
}

/// What an ask is, for proving freshly that it is oneself.
pub(crate) fn asking(ask: &AccessRequest) -> Asking {
    Asking::Access { resource: ask.resource.clone(), role: ask.role.clone(), break_glass: ask.break_glass }
}

impl Gate {
    /// What policy has to know of somebody who wants something: with what they proved for just that a moment ago.
    pub(crate) async fn situation_asking(&self, who: &VerifiedIdentity, what: &Asking) -> Result<Situation, Refusal> {
        let mut situation = self.situation(who).await?;
        if let Some(at) = self.step_ups().proved_at(who.id(), who.via(), who.from(), what, self.now()) {
            situation.mfa = Mfa::Verified;
            situation.mfa_at = at;
        }
        if matches!(what, Asking::Access { .. }) {
            // Whoever decides sees what is unusual, whether a policy asks or not.
            self.look_for_risk(&mut situation).await?;
        }
        Ok(situation)
    }

    /// Somebody at a terminal wants to prove freshly that it is them. `client` is what they sit at.
    ///
    /// # Errors
    /// [`Reason::MfaRequired`] if they have no passkey; if passkeys can't be used here, or they are a machine.
    pub async fn begin_step_up(&self, caller: &Caller, asking: Asking, client: &str) -> Result<StepUpWait, Refusal> {
        let origin = self.party()?.origin.clone();
        if matches!(caller.who.id(), PrincipalId::Workload(_)) {
            return Err(Refusal::because(Reason::NotAllowed, "only people prove that it is them"));
        }
        if self.passkeys(caller).await?.is_empty() {
            return Err(Refusal::because(Reason::MfaRequired, format!("you have no passkey yet; add one at {origin}/account")));
        }
        let client = client.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        let now = self.now();
        let asker =
            StepUpAsker { person: caller.who.id(), via: caller.who.via().clone(), from: caller.who.from(), client, asking, at: now };
        let begun = self.step_ups().begin(asker, now);
        Ok(StepUpWait {
            link: format!("{origin}/prove?code={}", begun.user_code),
            user_code: begun.user_code,
            expires_at: begun.expires_at,
            answered: begun.answered,
        })
    }

    /// How a terminal's wait goes: `Some(true)` once it was proved for this sign-in and just this, `Some(false)` if its owner said no.
    #[must_use]
    pub fn step_up_answer(&self, caller: &Caller, asking: &Asking) -> Option<bool> {
        self.step_ups().said(caller.who.id(), caller.who.via(), caller.who.from(), asking, self.now())
    }

    /// Who waits under a code, for its owner to see before they use their passkey.
    ///
    /// # Errors
    /// [`Reason::CodeInvalid`]; also for anybody else.
    pub fn step_up_asker(&self, caller: &Caller, user_code: &str) -> Result<StepUpAsker, Refusal> {
        self.step_ups().asker(user_code, caller.who.id(), self.now())
    }

    /// A challenge for a person's own passkeys: for the browser they are signed in with, or for the terminal that waits under a code.
    ///
    /// # Errors
    /// If they are no person in a browser, have no passkey, or nothing of theirs waits under that code.
    pub async fn begin_proof(&self, caller: &Caller, user_code: Option<&str>) -> Result<ToProve, Refusal> {
        let origin = &self.party()?.origin;
        let Via::WebSession(session) = caller.who.via() else {
            return Err(Refusal::because(Reason::NotAllowed, "a passkey is used in a browser that you are signed in with"));
        };
        let purpose = match user_code {
            None => Purpose::StepUp(caller.who.id(), *session),
            Some(code) => {
                self.step_up_asker(caller, code)?;
                Purpose::Terminal(caller.who.id(), code.to_owned())
            }
        };
        let credentials: Vec<String> = self.passkeys(caller).await?.into_iter().map(|row| row.credential).collect();
        if credentials.is_empty() {
            return Err(Refusal::because(Reason::MfaRequired, format!("you have no passkey yet; add one at {origin}/account")));
        }
        Ok(ToProve { challenge: self.ceremonies().begin(purpose, address(caller), self.now()), credentials })
    }

    /// A person used their passkey: from now on their browser's sign-in, or the terminal that waits under the code, counts as verified.
    ///
    /// # Errors
    /// If the passkey is not theirs or not good, or it answered for something else.
    pub async fn prove_again(&self, caller: &Caller, assertion: &Assertion, user_code: Option<&str>) -> Result<Timestamp, Refusal> {
        let Via::WebSession(session) = *caller.who.via() else {
            return Err(Refusal::because(Reason::NotAllowed, "a passkey is used in a browser that you are signed in with"));
        };
        let person = caller.who.id();
        let wanted = match user_code {
            None => Purpose::StepUp(person, session),
            Some(code) => Purpose::Terminal(person, code.to_owned()),
        };
        let answered = Answered { assertion, user_handle: None };
        let proved = self.prove(&answered, address(caller), PasskeyUse::StepUp, |purpose| *purpose == wanted).await?;
        self.refuse_another(caller, proved.used.who.id())?;
        self.refuse_if_person_locked(person).await?;
        let at = proved.used.who.at();
        let change = match user_code {
            None => proved.noted().raise_web_session(session, proved.row.id, Mfa::Verified, at),
            Some(_) => proved.noted(),
        };
        self.commit(change).await.map_err(used_meanwhile)?;
        if let Some(code) = user_code {
            let passkey = proved.row.id;
            self.step_ups().answer(code, person, Some(passkey), at)?;
            // INVARIANT: a passkey that was removed proves nothing: neither before it was answered with here, nor after.
            let row = self.store.passkey(passkey).await;
            if !matches!(&row, Ok(Some(row)) if row.removed_at.is_none()) {
                self.step_ups().forget(passkey);
                row.map_err(unavailable)?;
                return Err(identity::passkeys::unknown());
            }
        }
        Ok(at)
    }

    /// A person says that it is not them who waits.
    ///
    /// # Errors
    /// [`Reason::CodeInvalid`].
    pub async fn refuse_step_up(&self, caller: &Caller, user_code: &str) -> Result<StepUpAsker, Refusal> {
        let asker = self.step_ups().answer(user_code, caller.who.id(), None, self.now())?;
        let event = Event::ActionRefused {
            action: "step_up".to_owned(),
            object: asker.client.clone(),
            reason: Reason::Denied,
            bundle: None,
            policies: Vec::new(),
        };
        self.commit(Change::new(self.draft(caller, event).text("from", asker.from.map(|ip| ip.to_string()))))
            .await
            .map_err(crate::gate::refused)?;
        Ok(asker)
    }

    /// A passkey proves its owner and nobody else.
    pub(crate) fn refuse_another(&self, caller: &Caller, owner: PrincipalId) -> Result<(), Refusal> {
        if owner == caller.who.id() {
            return Ok(());
        }
        Err(Refusal::because(Reason::NotAllowed, "this passkey is somebody else's; use one of yours"))
    }

    /// For who stands at a door and lacks nothing but a fresh proof: where to give it, if they can.
    pub(crate) async fn offer_step_up(
        &self,
        caller: &Caller,
        (resource, role): (&ResourceName, &RoleName),
        ordinary: &Answer,
        emergency_needs: Option<Mfa>,
    ) -> Result<Option<StepUpWait>, Refusal> {
        let break_glass = match (ordinary, emergency_needs) {
            (Answer::StepUp { needs, .. }, _) if needs.mfa.is_some() => false,
            (Answer::Deny { .. } | Answer::StepUp { .. }, Some(_)) => true,
            _ => return Ok(None),
        };
        let is_person = matches!(caller.who.id(), PrincipalId::User(_));
        if !is_person || self.relying_party().is_none() || self.store.passkeys_of(caller.who.id()).await.map_err(unavailable)?.is_empty() {
            return Ok(None);
        }
        let asking = Asking::Access { resource: resource.clone(), role: role.clone(), break_glass };
        self.begin_step_up(caller, asking, caller.door.code()).await.map(Some)
    }
}
