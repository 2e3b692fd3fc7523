//! Opaque secrets that we hand out once: 160 random bits as text, kept as their SHA-256.
//!
//! The text is `tg_<kind>_` and 32 lower-case Crockford base32 digits. It is random enough that a plain hash cannot be
//! reversed and that guessing is hopeless; [`crate::throttle`] keeps guessing from being cheap as well.

use std::fmt;

use access::secret::Secret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Digits after the prefix: 160 bits, five in each.
const LENGTH: usize = 32;

/// What is kept of an opaque secret: the SHA-256 of its whole text, in lower-case hex.
#[derive(Clone)]
pub struct Verifier(String);

impl Verifier {
    /// The verifier of a secret's text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(hex::encode(Sha256::digest(text.as_bytes())))
    }

    /// The text to keep and to look up by.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the verifier that was kept; takes the same time wherever they differ.
    #[must_use]
    pub fn matches(&self, kept: &str) -> bool {
        self.0.as_bytes().ct_eq(kept.as_bytes()).into()
    }
}

impl PartialEq for Verifier {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({}…)", self.0.get(..8).unwrap_or_default())
    }
}

/// A secret that was just made: its text is shown once, its verifier kept.
#[derive(Debug)]
pub struct Issued {
    /// What its owner gets to see, this once.
    pub secret: Secret<String>,
    /// What is kept.
    pub verifier: Verifier,
}

/// Makes a secret that starts with `prefix`.
pub(crate) fn issue(prefix: &str) -> Issued {
    let mut random: [u8; LENGTH] = rand::random();
    let mut text = String::with_capacity(prefix.len() + LENGTH);
    text.push_str(prefix);
    for byte in random {
        text.push(char::from(DIGITS[usize::from(byte & 31)]));
    }
    random.zeroize();
    let verifier = Verifier::of(&text);
    Issued { secret: Secret::new(text), verifier }
}

/// Whether what follows the prefix is what [`issue`] puts there.
pub(crate) fn is_body(text: &str) -> bool {
    text.len() == LENGTH && text.bytes().all(|b| DIGITS.contains(&b))
}
