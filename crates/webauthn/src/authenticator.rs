//! A passkey made of software, for tests: it signs whatever it is wished to, right or wrong.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use sha2::{Digest as _, Sha256};

use crate::{Assertion, RelyingParty, encode};

enum Pair {
    Es256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rs256(RsaKeyPair),
}

/// How the next answer is to be; by default as a good passkey answers.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Somebody touched it.
    pub present: bool,
    /// It checked who.
    pub verified: bool,
    /// The page was shown inside another.
    pub cross_origin: bool,
    /// It says that it made a key, though it used one.
    pub creating: bool,
    /// The counter it shows; `None`: one more than before.
    pub counter: Option<u32>,
    /// Whether it is on other devices too.
    pub backed_up: bool,
}

impl Default for Wish {
    fn default() -> Self {
        Self { present: true, verified: true, cross_origin: false, creating: false, counter: None, backed_up: false }
    }
}

/// A passkey.
pub struct Authenticator {
    pair: Pair,
    credential: Vec<u8>,
    counter: u32,
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator").field("counter", &self.counter).finish_non_exhaustive()
    }
}

#[expect(clippy::expect_used, reason = "a helper of tests that fails is a test that fails")]
impl Authenticator {
    fn of(pair: Pair) -> Self {
        let mut credential = vec![0; 32];
        aws_lc_rs::rand::fill(&mut credential).expect("random bytes");
        Self { pair, credential, counter: 0 }
    }

    /// One on P-256.
    ///
    /// # Panics
    /// If no key can be made.
    #[must_use]
    pub fn es256() -> Self {
        Self::of(Pair::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key")))
    }

    /// One on Ed25519.
    ///
    /// # Panics
    /// If no key can be made.
    #[must_use]
    pub fn ed25519() -> Self {
        Self::of(Pair::Ed25519(Ed25519KeyPair::generate().expect("a key")))
    }

    /// One with RSA.
    ///
    /// # Panics
    /// If no key can be made.
    #[must_use]
    pub fn rs256() -> Self {
        Self::of(Pair::Rs256(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")))
    }

    /// Its id.
    #[must_use]
    pub fn credential(&self) -> &[u8] {
        &self.credential
    }

    /// Registers: client data and attestation object.
    pub fn register(&mut self, challenge: &[u8], party: &RelyingParty, wish: &Wish) -> (Vec<u8>, Vec<u8>) {
        let mut data = self.data(party, wish, 0x40);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.credential.len()).unwrap_or(0).to_be_bytes());
        data.extend(&self.credential);
        data.extend(self.cose());
        let mut object = vec![0xa3, 0x63];
        object.extend(b"fmt");
        object.push(0x64);
        object.extend(b"none");
        object.push(0x67);
        object.extend(b"attStmt");
        object.push(0xa0);
        object.push(0x68);
        object.extend(b"authData");
        object.extend(bytes(&data));
        (client_data("webauthn.create", challenge, party, wish), object)
    }

    /// Answers a challenge.
    ///
    /// # Panics
    /// If it can't sign.
    pub fn assert(&mut self, challenge: &[u8], party: &RelyingParty, wish: &Wish) -> Assertion {
        let data = self.data(party, wish, 0);
        let client_data = client_data(if wish.creating { "webauthn.create" } else { "webauthn.get" }, challenge, party, wish);
        let mut message = data.clone();
        message.extend(Sha256::digest(&client_data));
        let signature = match &self.pair {
            Pair::Es256(pair) => pair.sign(&SystemRandom::new(), &message).expect("a signature").as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(&message).as_ref().to_vec(),
            Pair::Rs256(pair) => {
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &message, &mut out).expect("a signature");
                out
            }
        };
        Assertion {
            credential: encode(&self.credential),
            client_data: encode(&client_data),
            authenticator_data: encode(&data),
            signature: encode(&signature),
        }
    }

    fn data(&mut self, party: &RelyingParty, wish: &Wish, more: u8) -> Vec<u8> {
        self.counter = wish.counter.unwrap_or(self.counter + 1);
        let mut data = Sha256::digest(party.id.as_bytes()).to_vec();
        let backed = if wish.backed_up { 0x18 } else { 0 };
        data.push(u8::from(wish.present) | (u8::from(wish.verified) << 2) | backed | more);
        data.extend(self.counter.to_be_bytes());
        data
    }

    fn cose(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Es256(pair) => {
                let point = pair.public_key().as_ref();
                let mut key = vec![0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21];
                key.extend(bytes(&point[1..33]));
                key.push(0x22);
                key.extend(bytes(&point[33..]));
                key
            }
            Pair::Ed25519(pair) => {
                let mut key = vec![0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21];
                key.extend(bytes(pair.public_key().as_ref()));
                key
            }
            Pair::Rs256(pair) => {
                let modulus = pair.public_key().modulus().big_endian_without_leading_zero().to_vec();
                let exponent = pair.public_key().exponent().big_endian_without_leading_zero().to_vec();
                let mut key = vec![0xa4, 0x01, 0x03, 0x03, 0x39, 0x01, 0x00, 0x20];
                key.extend(bytes(&modulus));
                key.push(0x21);
                key.extend(bytes(&exponent));
                key
            }
        }
    }
}

/// A CBOR byte string.
fn bytes(content: &[u8]) -> Vec<u8> {
    let mut out = match content.len() {
        n @ 0..=23 => vec![0x40 | u8::try_from(n).unwrap_or(0)],
        n @ 24..=255 => vec![0x58, u8::try_from(n).unwrap_or(0)],
        n => {
            let [high, low] = u16::try_from(n).unwrap_or(0).to_be_bytes();
            vec![0x59, high, low]
        }
    };
    out.extend(content);
    out
}

fn client_data(kind: &str, challenge: &[u8], party: &RelyingParty, wish: &Wish) -> Vec<u8> {
    let challenge = encode(challenge);
    let json = serde_json::json!({ "type": kind, "challenge": challenge, "origin": party.origin, "crossOrigin": wish.cross_origin });
    json.to_string().into_bytes()
}
