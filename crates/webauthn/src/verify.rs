//! The two ceremonies, from the relying party's side: registering (WebAuthn §7.1) and using (§7.2) a passkey.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::cbor::{self, Value};
use crate::client_data::{self, Purpose};
use crate::cose::PublicKey;
use crate::data::AuthenticatorData;
use crate::{Flaw, RelyingParty, decode};

/// What an answer has to be an answer to.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The challenge's bytes.
    pub challenge: &'a [u8],
    /// Whose challenge.
    pub party: &'a RelyingParty,
}

/// A passkey just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its id.
    pub credential: Vec<u8>,
    /// Its public key as it was written (COSE_Key).
    pub public_key: Vec<u8>,
    /// Which make of authenticator, if it says: all zero if not. Nobody vouches for it.
    pub aaguid: [u8; 16],
    /// How often it was used; 0 if nobody counts.
    pub counter: u32,
    /// Whether its owner's other devices may have it too.
    pub backup_eligible: bool,
    /// Whether they do.
    pub backed_up: bool,
}

/// What a browser hands over when a passkey was used. Each part is base64url without padding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// The passkey's id.
    pub credential: String,
    /// `clientDataJSON`.
    pub client_data: String,
    /// `authenticatorData`.
    pub authenticator_data: String,
    /// `signature`.
    pub signature: String,
}

impl Assertion {
    /// The challenge it says it answers, to look that up by.
    ///
    /// # Errors
    /// [`Flaw::Unreadable`].
    pub fn challenge(&self) -> Result<Vec<u8>, Flaw> {
        client_data::challenge(&decode(&self.client_data, "the client data")?)
    }
}

/// A passkey was used, by its owner, for just this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asserted {
    /// How often it was used; 0 if nobody counts.
    pub counter: u32,
    /// Whether its owner's other devices have it now.
    pub backed_up: bool,
}

/// Verifies that a passkey was made here, for this challenge, by somebody it verified (§7.1).
///
/// No attestation is asked for (`attestation: "none"`), so the statement is not looked at, whatever its format.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn verify_registration(client_data: &[u8], attestation_object: &[u8], expected: Expected<'_>) -> Result<Registered, Flaw> {
    client_data::check(client_data, Purpose::Create, expected.challenge, expected.party)?;
    const WHAT: &str = "the attestation object";
    let object = cbor::read_all(attestation_object, WHAT)?;
    let data = object.named("authData").and_then(Value::bytes).ok_or(Flaw::Unreadable(WHAT))?;
    let data = AuthenticatorData::read(data)?;
    check_data(&data, expected.party)?;
    let attested = data.attested.as_ref().ok_or(Flaw::Unreadable(WHAT))?;
    Ok(Registered {
        credential: attested.credential.to_vec(),
        public_key: attested.public_key_bytes.to_vec(),
        aaguid: attested.aaguid,
        counter: data.counter,
        backup_eligible: data.backup_eligible(),
        backed_up: data.backed_up(),
    })
}

/// Verifies that a passkey with this public key was used here, for this challenge, by somebody it verified (§7.2).
///
/// Whose passkey it is, and whether its counter went on, is for the caller: see [`Asserted::goes_on_from`].
///
/// # Errors
/// The first thing that is not as it should be.
pub fn verify_assertion(assertion: &Assertion, public_key: &PublicKey, expected: Expected<'_>) -> Result<Asserted, Flaw> {
    let client_data = decode(&assertion.client_data, "the client data")?;
    client_data::check(&client_data, Purpose::Get, expected.challenge, expected.party)?;
    let bytes = decode(&assertion.authenticator_data, "the authenticator data")?;
    let data = AuthenticatorData::read(&bytes)?;
    check_data(&data, expected.party)?;
    let signature = decode(&assertion.signature, "the signature")?;
    let mut message = bytes.clone();
    message.extend(Sha256::digest(&client_data));
    public_key.verify(&message, &signature)?;
    Ok(Asserted { counter: data.counter, backed_up: data.backed_up() })
}

fn check_data(data: &AuthenticatorData<'_>, party: &RelyingParty) -> Result<(), Flaw> {
    let own: [u8; 32] = Sha256::digest(party.id.as_bytes()).into();
    if !bool::from(own.ct_eq(&data.party)) {
        return Err(Flaw::OtherParty);
    }
    if !data.present() {
        return Err(Flaw::NobodyThere);
    }
    // User verification is always required: a passkey stands for `verified`.
    if !data.verified() {
        return Err(Flaw::NotVerified);
    }
    // §6.1.3: who is backed up may be.
    if data.backed_up() && !data.backup_eligible() {
        return Err(Flaw::Unreadable("the authenticator data"));
    }
    Ok(())
}

impl Asserted {
    /// Checks the counter against the one kept (§7.2 step 22). Passkeys that are synchronised do not count: theirs stays 0.
    ///
    /// # Errors
    /// [`Flaw::Counter`] when it counts and did not go up.
    pub fn goes_on_from(&self, kept: u32) -> Result<(), Flaw> {
        if (self.counter == 0 && kept == 0) || self.counter > kept { Ok(()) } else { Err(Flaw::Counter) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authenticator::{Authenticator, Wish};
    use proptest::prelude::*;

    fn gate() -> RelyingParty {
        RelyingParty::of_page("https://gate.example.com:8443").unwrap()
    }

    fn expected<'a>(challenge: &'a [u8], party: &'a RelyingParty) -> Expected<'a> {
        Expected { challenge, party }
    }

    // covers: WHO-2
    #[test]
    fn a_passkey_is_made_and_used_with_each_algorithm() {
        let gate = gate();
        for mut key in [Authenticator::es256(), Authenticator::ed25519(), Authenticator::rs256()] {
            let (client_data, object) = key.register(b"make", &gate, &Wish::default());
            let made = verify_registration(&client_data, &object, expected(b"make", &gate)).unwrap();
            assert_eq!((made.credential.as_slice(), made.counter, made.backed_up), (key.credential(), 1, false));
            let public = PublicKey::read(&made.public_key).unwrap();
            let used = key.assert(b"use", &gate, &Wish::default());
            assert_eq!(used.challenge().unwrap(), b"use");
            let asserted = verify_assertion(&used, &public, expected(b"use", &gate)).unwrap();
            assert_eq!(asserted.counter, 2);
            assert_eq!(asserted.goes_on_from(made.counter), Ok(()));

            // Anything signed that is changed afterwards is no signature of it.
            for part in 0..2 {
                let mut changed = used.clone();
                let field = if part == 0 { &mut changed.authenticator_data } else { &mut changed.signature };
                let mut bytes = decode(field, "it").unwrap();
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                *field = crate::encode(&bytes);
                assert_eq!(verify_assertion(&changed, &public, expected(b"use", &gate)), Err(Flaw::Signature), "part {part}");
            }
        }
    }

    // covers: WHO-2, A8
    #[test]
    fn what_was_made_for_something_else_is_refused() {
        let gate = gate();
        let mut key = Authenticator::es256();
        let (client_data, object) = key.register(b"make", &gate, &Wish::default());
        let made = verify_registration(&client_data, &object, expected(b"make", &gate)).unwrap();
        let public = PublicKey::read(&made.public_key).unwrap();
        let mut used = |challenge: &[u8], party: &RelyingParty, wish: &Wish| {
            verify_assertion(&key.assert(challenge, party, wish), &public, expected(b"use", &gate))
        };
        assert!(used(b"use", &gate, &Wish::default()).is_ok());
        // The challenge of another sign-in.
        assert_eq!(used(b"other", &gate, &Wish::default()), Err(Flaw::OtherChallenge));
        // A page that looks like the gate's.
        let evil = RelyingParty { origin: "https://gate.example.com.evil.example".into(), ..gate.clone() };
        assert_eq!(used(b"use", &evil, &Wish::default()), Err(Flaw::OtherOrigin));
        let plain = RelyingParty { origin: "http://gate.example.com:8443".into(), ..gate.clone() };
        assert_eq!(used(b"use", &plain, &Wish::default()), Err(Flaw::OtherOrigin));
        let other_port = RelyingParty { origin: "https://gate.example.com".into(), ..gate.clone() };
        assert_eq!(used(b"use", &other_port, &Wish::default()), Err(Flaw::OtherOrigin));
        // Another relying party's key, signed as if on our page.
        let parent = RelyingParty { id: "example.com".into(), ..gate.clone() };
        assert_eq!(used(b"use", &parent, &Wish::default()), Err(Flaw::OtherParty));
        // Nobody there; there, but nobody checked.
        assert_eq!(used(b"use", &gate, &Wish { present: false, ..Wish::default() }), Err(Flaw::NobodyThere));
        assert_eq!(used(b"use", &gate, &Wish { verified: false, ..Wish::default() }), Err(Flaw::NotVerified));
        // Shown inside another page.
        assert_eq!(used(b"use", &gate, &Wish { cross_origin: true, ..Wish::default() }), Err(Flaw::CrossOrigin));
        // Another key.
        let mut other = Authenticator::es256();
        let forged = other.assert(b"use", &gate, &Wish::default());
        assert_eq!(verify_assertion(&forged, &public, expected(b"use", &gate)), Err(Flaw::Signature));
        // What was made to add a passkey is no use of one, nor the other way round.
        let used = key.assert(b"use", &gate, &Wish { creating: true, ..Wish::default() });
        assert!(matches!(verify_assertion(&used, &public, expected(b"use", &gate)), Err(Flaw::OtherPurpose { .. })));
        let (_, object) = key.register(b"use", &gate, &Wish::default());
        let client_data = decode(&key.assert(b"use", &gate, &Wish::default()).client_data, "it").unwrap();
        assert!(matches!(verify_registration(&client_data, &object, expected(b"use", &gate)), Err(Flaw::OtherPurpose { .. })));
    }

    // covers: WHO-2
    #[test]
    fn a_passkey_that_checks_nobody_is_not_registered() {
        let gate = gate();
        let mut key = Authenticator::es256();
        let mut made = |challenge: &[u8], party: &RelyingParty, wish: &Wish| {
            let (client_data, object) = key.register(challenge, party, wish);
            verify_registration(&client_data, &object, expected(b"make", &gate)).map(drop)
        };
        assert_eq!(made(b"make", &gate, &Wish::default()), Ok(()));
        assert_eq!(made(b"make", &gate, &Wish { verified: false, ..Wish::default() }), Err(Flaw::NotVerified));
        assert_eq!(made(b"other", &gate, &Wish::default()), Err(Flaw::OtherChallenge));
        let evil = RelyingParty::of_page("https://gate.example.com.evil.example").unwrap();
        assert_eq!(made(b"make", &evil, &Wish::default()), Err(Flaw::OtherOrigin));
    }

    #[test]
    fn a_counter_goes_up_or_stays_at_nothing() {
        let at = |counter| Asserted { counter, backed_up: false };
        assert_eq!(at(0).goes_on_from(0), Ok(()));
        assert_eq!(at(6).goes_on_from(5), Ok(()));
        for (counter, kept) in [(5, 5), (4, 5), (0, 5)] {
            assert_eq!(at(counter).goes_on_from(kept), Err(Flaw::Counter), "{counter} after {kept}");
        }
    }

    #[test]
    fn keys_of_other_kinds_and_broken_ones_are_refused() {
        // ES384, which was not asked for.
        assert_eq!(PublicKey::read(&[0xa2, 0x01, 0x02, 0x03, 0x38, 0x22]), Err(Flaw::Algorithm));
        assert!(PublicKey::read(&[0xa0]).is_err());
        assert!(PublicKey::read(&[]).is_err());
        // A point that is on no curve verifies nothing.
        let nowhere = PublicKey::Es256(Box::new([4; 65]));
        assert_eq!(nowhere.verify(b"x", &[]), Err(Flaw::Signature));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_a_fault(a in prop::collection::vec(any::<u8>(), 0..300), b in prop::collection::vec(any::<u8>(), 0..300)) {
            let gate = gate();
            prop_assert!(verify_registration(&a, &b, expected(b"x", &gate)).is_err());
            let _read = AuthenticatorData::read(&a);
            let _read = PublicKey::read(&b);
            let assertion = Assertion { credential: String::new(), client_data: crate::encode(&a), authenticator_data: crate::encode(&b), signature: crate::encode(&a) };
            prop_assert!(verify_assertion(&assertion, &PublicKey::Ed25519([7; 32]), expected(b"x", &gate)).is_err());
        }
    }
}
