//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the client's side (RFC 5802, RFC 7677), towards a server that may lie.

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Iterations a server may ask for; it decides how long the gate computes.
const MOST_ITERATIONS: u32 = 1_000_000;
/// A server's message is never longer.
const LONGEST: usize = 4096;

/// Without channel binding.
pub const PLAIN: &str = "SCRAM-SHA-256";
/// With.
pub const PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Why a server was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// A message that is none.
    #[error("the server's SCRAM message is malformed: {0}")]
    Malformed(&'static str),
    /// Too much to compute.
    #[error("the server asks for more than {MOST_ITERATIONS} iterations of its password hash")]
    TooCostly,
    /// It does not know the password either.
    #[error("the server could not prove that it knows the password, so it may be another one")]
    NotTheServer,
    /// It said no.
    #[error("the server refused the password")]
    Refused,
}

/// Whether and to what the exchange is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// No TLS, or a certificate that cannot be bound to.
    None,
    /// It could be, but the server offered no such mechanism.
    NotOffered,
    /// `tls-server-end-point`.
    EndPoint(Vec<u8>),
}

impl Binding {
    fn header(&self) -> &'static str {
        match self {
            Self::None => "n,,",
            Self::NotOffered => "y,,",
            Self::EndPoint(_) => "p=tls-server-end-point,,",
        }
    }

    fn encoded(&self) -> String {
        let mut bytes = self.header().as_bytes().to_vec();
        if let Self::EndPoint(data) = self {
            bytes.extend_from_slice(data);
        }
        STANDARD.encode(bytes)
    }

    /// The mechanism to name.
    #[must_use]
    pub fn mechanism(&self) -> &'static str {
        if matches!(self, Self::EndPoint(_)) { PLUS } else { PLAIN }
    }
}

/// A client that has said who it is.
#[derive(Debug)]
pub struct Started {
    binding: Binding,
    nonce: String,
}

/// A client that the server has asked to prove that it knows the password.
#[derive(Debug)]
pub struct Challenged {
    salt: Vec<u8>,
    iterations: NonZeroU32,
    signed: String,
    without_proof: String,
}

/// `ClientKey` and `ServerKey`: what a password becomes with a server's salt. It takes thousands of hashes to make them, and who has them
/// can sign in as the account does, as long as its password and salt stay. Zeroized when dropped.
#[derive(Clone)]
pub struct Keys {
    client: Zeroizing<[u8; 32]>,
    server: Zeroizing<[u8; 32]>,
}

/// A client that has proven to know the password, and waits for the server to do the same.
pub struct Proven {
    signature: hmac::Tag,
}

impl Started {
    /// Starts with a nonce: at least 18 random bytes, as printable text without commas.
    #[must_use]
    pub fn new(binding: Binding, nonce: String) -> Self {
        Self { binding, nonce }
    }

    /// `client-first-message`. PostgreSQL takes the user's name from the start-up packet.
    #[must_use]
    pub fn first(&self) -> String {
        format!("{}n=,r={}", self.binding.header(), self.nonce)
    }

    /// Takes `server-first-message`.
    ///
    /// # Errors
    /// If the message is malformed, asks for too much, or does not belong to this exchange.
    pub fn challenged(self, server_first: &[u8]) -> Result<Challenged, ScramError> {
        let text = text(server_first)?;
        let mut fields = text.split(',');
        let nonce = field(fields.next(), "r=")?;
        let salt = STANDARD.decode(field(fields.next(), "s=")?).map_err(|_| ScramError::Malformed("the salt is no base64"))?;
        let iterations: u32 =
            field(fields.next(), "i=")?.parse().map_err(|_| ScramError::Malformed("the count of iterations is no number"))?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(ScramError::Malformed("its nonce does not go on from ours"));
        }
        if iterations > MOST_ITERATIONS {
            return Err(ScramError::TooCostly);
        }
        let iterations = NonZeroU32::new(iterations).ok_or(ScramError::Malformed("it asks for no iterations"))?;
        let without_proof = format!("c={},r={nonce}", self.binding.encoded());
        let signed = format!("n=,r={},{text},{without_proof}", self.nonce);
        Ok(Challenged { salt, iterations, signed, without_proof })
    }
}

impl Challenged {
    /// What the server salts the password with, and how often it is hashed.
    #[must_use]
    pub fn salted_with(&self) -> (&[u8], NonZeroU32) {
        (&self.salt, self.iterations)
    }

    /// Makes the keys of the password. This is what takes the time.
    #[must_use]
    pub fn keys(&self, password: &str) -> Keys {
        Keys::of(password, &self.salt, self.iterations)
    }

    /// `client-final-message`.
    #[must_use]
    pub fn answer(self, keys: &Keys) -> (Proven, String) {
        let (proof, signature) = keys.prove(&self.signed);
        (Proven { signature }, format!("{},p={}", self.without_proof, STANDARD.encode(proof)))
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

impl Keys {
    /// RFC 5802 §3.
    fn of(password: &str, salt: &[u8], iterations: NonZeroU32) -> Self {
        // A password that cannot be prepared is used as it is, as PostgreSQL does.
        let prepared = stringprep::saslprep(password).map(|prepared| Zeroizing::new(prepared.into_owned()));
        let prepared = prepared.as_ref().map_or(password, |prepared| prepared.as_str());
        let mut salted = Zeroizing::new([0; 32]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, prepared.as_bytes(), &mut *salted);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*salted);
        let part = |name: &[u8]| {
            let mut part = Zeroizing::new([0; 32]);
            part.copy_from_slice(hmac::sign(&key, name).as_ref());
            part
        };
        Self { client: part(b"Client Key"), server: part(b"Server Key") }
    }

    /// The client's proof, and the signature that the server will have to show.
    fn prove(&self, signed: &str) -> (Vec<u8>, hmac::Tag) {
        let stored_key = digest::digest(&digest::SHA256, &*self.client);
        let client_signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, stored_key.as_ref()), signed.as_bytes());
        let proof = self.client.iter().zip(client_signature.as_ref()).map(|(a, b)| a ^ b).collect();
        (proof, hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*self.server), signed.as_bytes()))
    }
}

impl Proven {
    /// Checks `server-final-message`: that the server knows the password too.
    ///
    /// # Errors
    /// If it does not, or refused ours.
    pub fn check(self, server_final: &[u8]) -> Result<(), ScramError> {
        let text = text(server_final)?;
        if text.starts_with("e=") {
            return Err(ScramError::Refused);
        }
        let signature =
            STANDARD.decode(field(text.split(',').next(), "v=")?).map_err(|_| ScramError::Malformed("its proof is no base64"))?;
        constant_time::verify_slices_are_equal(&signature, self.signature.as_ref()).map_err(|_| ScramError::NotTheServer)
    }
}

fn text(bytes: &[u8]) -> Result<&str, ScramError> {
    if bytes.len() > LONGEST {
        return Err(ScramError::Malformed("it is too long"));
    }
    std::str::from_utf8(bytes).map_err(|_| ScramError::Malformed("it is not UTF-8"))
}

fn field<'a>(field: Option<&'a str>, prefix: &'static str) -> Result<&'a str, ScramError> {
    field.and_then(|f| f.strip_prefix(prefix)).ok_or(ScramError::Malformed("a field is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7677 §3.
    #[test]
    fn the_proof_is_the_one_of_the_rfc() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let signed = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
                      c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let (proof, signature) = Keys::of("pencil", &salt, NonZeroU32::new(4096).unwrap()).prove(signed);
        assert_eq!(STANDARD.encode(proof), "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        assert_eq!(STANDARD.encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    // covers: E6 (psql)
    #[test]
    fn a_server_that_lies_is_not_believed() {
        let challenged = |message: &[u8]| Started::new(Binding::None, "abc".into()).challenged(message);
        let answer = |message: &str| challenged(message.as_bytes()).map(|challenged| challenged.salted_with().1.get());
        assert_eq!(answer("r=abcdef,s=c2FsdA==,i=4096"), Ok(4096));
        for (message, why) in [
            ("r=abcdef,s=c2FsdA==,i=4294967295", ScramError::TooCostly),
            ("r=abcdef,s=c2FsdA==,i=1000001", ScramError::TooCostly),
            ("r=abcdef,s=c2FsdA==,i=0", ScramError::Malformed("it asks for no iterations")),
            ("r=abcdef,s=c2FsdA==,i=99999999999", ScramError::Malformed("the count of iterations is no number")),
            ("r=abc,s=c2FsdA==,i=4096", ScramError::Malformed("its nonce does not go on from ours")),
            ("r=xyzdef,s=c2FsdA==,i=4096", ScramError::Malformed("its nonce does not go on from ours")),
            ("r=abcdef,s=!!,i=4096", ScramError::Malformed("the salt is no base64")),
            ("r=abcdef,i=4096", ScramError::Malformed("a field is missing")),
            ("", ScramError::Malformed("a field is missing")),
        ] {
            assert_eq!(answer(message), Err(why), "{message}");
        }
        let proven = || {
            let challenged = challenged(b"r=abcdef,s=c2FsdA==,i=4096").unwrap();
            let keys = challenged.keys("secret");
            challenged.answer(&keys).0
        };
        assert_eq!(proven().check(b"v=AAAA"), Err(ScramError::NotTheServer));
        assert_eq!(proven().check(b"e=invalid-proof"), Err(ScramError::Refused));
        assert!(challenged(&[b'r'; 5000]).is_err());
    }

    #[test]
    fn the_binding_is_in_the_mechanism_and_in_what_is_signed() {
        let bound = Binding::EndPoint(vec![1, 2, 3]);
        assert_eq!(bound.mechanism(), PLUS);
        assert_eq!(bound.encoded(), STANDARD.encode(b"p=tls-server-end-point,,\x01\x02\x03"));
        assert_eq!((Binding::None.encoded().as_str(), Binding::NotOffered.encoded().as_str()), ("biws", "eSws"));
    }
}
