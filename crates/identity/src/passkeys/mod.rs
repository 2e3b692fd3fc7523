//! Passkeys: registered by their owner, used to sign in, to prove freshly that it is them, and to sign approvals.
//!
//! What a passkey says is verified in `webauthn`, which see. Here stands what a gate makes of it: whose it is, whether its counter went
//! on, and what that is worth: [`Mfa::Verified`], since user verification is always demanded.

use std::net::IpAddr;

use access::identity::{Mfa, VerifiedIdentity, Via};
use access::ids::{PasskeyId, PrincipalId};
use access::reason::{Reason, Refusal};
use access::time::Span;
use jiff::Timestamp;

use crate::account::{Account, Proven};

mod ceremonies;
mod step_up;
#[cfg(test)]
mod tests;

pub use ceremonies::{Ceremonies, Ceremony, Purpose, VALID_FOR};
pub use step_up::{Asking, Begun, INTERVAL, RAISED_FOR, StepUpAsker, StepUps, WAITS};
#[cfg(feature = "authenticator")]
pub use webauthn::authenticator;
pub use webauthn::{ALGORITHMS, Assertion, Flaw, PublicKey, Registered, RelyingParty, decode, encode};

/// For so long a sign-in counts as fresh: time to add a passkey after it.
pub const FRESH: Span = Span::minutes(10);
/// At most so many passkeys a person.
pub const MOST: usize = 20;
/// The longest name a passkey has, in characters.
pub const LONGEST_LABEL: usize = 100;

/// What is kept of a passkey.
#[derive(Debug, Clone, Copy)]
pub struct PasskeyFacts<'a> {
    /// `pky_…`.
    pub id: PasskeyId,
    /// Whose.
    pub person: PrincipalId,
    /// Its id, as its authenticator knows it; base64url.
    pub credential: &'a str,
    /// Its public key (COSE_Key); base64url.
    pub public_key: &'a str,
    /// How often it had been used, by its own account.
    pub counter: u32,
    /// Whether it was taken away.
    pub removed: bool,
}

/// A passkey's answer, with whose it says it is where it was asked to sign in whoever has it (`userHandle`, base64url).
#[derive(Debug, Clone)]
pub struct Answered<'a> {
    /// The answer.
    pub assertion: &'a Assertion,
    /// Whose it says it is.
    pub user_handle: Option<&'a str>,
}

/// A passkey was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Whose, by it alone; with [`Via::Passkey`].
    pub who: VerifiedIdentity,
    /// Its counter now.
    pub counter: u32,
    /// Whether its owner's other devices have it now.
    pub backed_up: bool,
}

/// What an authenticator keeps as its owner: their id here.
#[must_use]
pub fn user_handle(person: PrincipalId) -> String {
    encode(person.to_string().as_bytes())
}

/// One sentence for every way a passkey can be none of ours: who presents it learns nothing from it.
#[must_use]
pub fn unknown() -> Refusal {
    Refusal::because(Reason::NotSignedIn, "this passkey is not registered here, or was removed")
}

/// What a flaw is as a refusal.
#[must_use]
pub fn flawed(flaw: &Flaw) -> Refusal {
    Refusal::because(Reason::NotSignedIn, format!("the passkey's answer is not taken: {flaw}"))
}

/// Says who used a passkey, for a challenge that was given out and taken back for just this.
///
/// # Errors
/// [`Reason::NotSignedIn`] when it is not this passkey, was removed, is not signed by it over this challenge on this page by somebody it
/// verified, or its counter went back; [`Reason::Disabled`] when its owner may not sign in.
pub fn verify_passkey(
    answered: &Answered<'_>,
    passkey: &PasskeyFacts<'_>,
    account: Account<'_>,
    (party, challenge): (&RelyingParty, &[u8]),
    from: IpAddr,
    now: Timestamp,
) -> Result<Used, Refusal> {
    let Answered { assertion, user_handle: says } = answered;
    let own = assertion.credential == passkey.credential
        && passkey.person == account.person.id
        && !passkey.removed
        && says.is_none_or(|says| says == user_handle(passkey.person));
    if !own {
        return Err(unknown());
    }
    let key = decode(passkey.public_key, "the public key").and_then(|bytes| PublicKey::read(&bytes)).map_err(|flaw| flawed(&flaw))?;
    let asserted = webauthn::verify_assertion(assertion, &key, webauthn::Expected { challenge, party }).map_err(|flaw| flawed(&flaw))?;
    asserted.goes_on_from(passkey.counter).map_err(|flaw| flawed(&flaw))?;
    let who = account.proven(Proven::in_person(Mfa::Verified, Via::Passkey(passkey.id)), Some(from), now)?;
    Ok(Used { who, counter: asserted.counter, backed_up: asserted.backed_up })
}

/// Reads what a browser hands over of a passkey just made.
///
/// # Errors
/// [`Reason::Invalid`], with what is wrong.
pub fn verify_new(client_data: &str, attestation_object: &str, (party, challenge): (&RelyingParty, &[u8])) -> Result<Registered, Refusal> {
    let flawed = |flaw: Flaw| Refusal::because(Reason::Invalid, format!("this passkey cannot be added: {flaw}"));
    let client_data = decode(client_data, "the client data").map_err(flawed)?;
    let object = decode(attestation_object, "the attestation object").map_err(flawed)?;
    webauthn::verify_registration(&client_data, &object, webauthn::Expected { challenge, party }).map_err(flawed)
}

/// The challenge that a browser's client data (base64url) says it answers, to look the ceremony up by.
///
/// # Errors
/// [`Reason::Invalid`].
pub fn challenge_of(client_data: &str) -> Result<Vec<u8>, Refusal> {
    let assertion = Assertion {
        credential: String::new(),
        client_data: client_data.to_owned(),
        authenticator_data: String::new(),
        signature: String::new(),
    };
    assertion.challenge().map_err(|flaw| Refusal::because(Reason::Invalid, flaw.to_string()))
}
