//! Registered SSH keys: which are accepted, and who one of them signs in.
//!
//! Formats: RFC 4253 §6.6 and OpenSSH's `PROTOCOL.u2f` for security keys. Two spellings of a key are the same key only
//! if their decoded forms are equal; nothing is ever compared by comment or by how its base64 was written.

use std::net::IpAddr;

use access::identity::{KeyKind, KeyRow, KeyState, Mfa, VerifiedIdentity, Via};
use access::reason::{Reason, Refusal};
use jiff::Timestamp;
use ssh_key::public::KeyData;
use ssh_key::{HashAlg, PublicKey};

use crate::account::{Account, Proven};

/// The longest text that is looked at as a public key, in bytes.
pub const LONGEST_LINE: usize = 16 * 1024;
/// The shortest RSA modulus accepted, in bits.
pub const SHORTEST_RSA: usize = 3072;
/// The longest RSA modulus accepted, in bits; checking signatures of longer ones costs more than it proves.
pub const LONGEST_RSA: usize = 16_384;

/// A public key that may be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedKey {
    /// `SHA256:…` as OpenSSH prints it.
    pub fingerprint: String,
    /// `ssh-ed25519`, `ecdsa-sha2-nistp256`, `sk-ssh-ed25519@openssh.com` ….
    pub algorithm: String,
    /// In OpenSSH's format, canonical and without comment.
    pub openssh: String,
    /// Whether it lives in a security key, so that a signature shows a touch.
    pub security_key: bool,
}

/// Why a text or key cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// Longer than any key.
    #[error("this is {0} bytes long, no public key is longer than {LONGEST_LINE}; give the one line of the `.pub` file")]
    TooLarge(usize),
    /// A private key was pasted.
    #[error(
        "this is a private key: it has now been shown to somebody else, so stop using it and make a new one; give the one line of the `.pub` file"
    )]
    Private,
    /// A certificate was given.
    #[error("this is a certificate; give the public key that it certifies, the `.pub` file without `-cert`")]
    Certificate,
    /// Not one line of algorithm and base64.
    #[error("this is no public key in OpenSSH's format; it looks like `ssh-ed25519 AAAA…` and is the one line of the `.pub` file")]
    Malformed,
    /// An algorithm that is too weak or unknown here.
    #[error("keys of the kind `{0}` are not accepted; make one with `ssh-keygen -t ed25519`, or `-t ed25519-sk` for a security key")]
    Algorithm(String),
    /// RSA with a modulus of the wrong size.
    #[error("this RSA key has {0} bits, it must have {SHORTEST_RSA} to {LONGEST_RSA}; better make one with `ssh-keygen -t ed25519`")]
    RsaSize(usize),
    /// RSA with an exponent that makes signatures forgeable.
    #[error("this RSA key has an exponent that makes its signatures worthless; make another one with `ssh-keygen -t ed25519`")]
    RsaExponent,
}

/// Reads a public key as somebody registers it: ed25519, ECDSA on the NIST curves, RSA from 3072 bits, and both kinds of security key.
///
/// # Errors
/// Says what else it is, and never repeats the text.
pub fn register(line: &str) -> Result<ParsedKey, KeyProblem> {
    if line.len() > LONGEST_LINE {
        return Err(KeyProblem::TooLarge(line.len()));
    }
    if line.contains("PRIVATE KEY") || line.contains("PuTTY-User-Key-File") {
        return Err(KeyProblem::Private);
    }
    let line = line.trim();
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err(KeyProblem::Malformed);
    }
    let mut words = line.split_ascii_whitespace();
    let (Some(algorithm), Some(data)) = (words.next(), words.next()) else {
        return Err(KeyProblem::Malformed);
    };
    if algorithm.contains("-cert-v0") {
        return Err(KeyProblem::Certificate);
    }
    match PublicKey::from_openssh(&format!("{algorithm} {data}")) {
        Ok(key) => accept(key.key_data()),
        // What it calls itself is worth repeating only where it is a name.
        Err(_) if algorithm == "ssh-dss" => Err(KeyProblem::Algorithm(algorithm.to_owned())),
        Err(_) => Err(KeyProblem::Malformed),
    }
}

/// What [`register`] makes of a key that is decoded already.
///
/// # Errors
/// When its kind or size is not accepted.
pub fn accept(key: &KeyData) -> Result<ParsedKey, KeyProblem> {
    match key {
        KeyData::Ed25519(_) | KeyData::Ecdsa(_) | KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_) => {}
        KeyData::Rsa(rsa) => {
            let bits = rsa.n().as_positive_bytes().map_or(0, bit_length);
            if !(SHORTEST_RSA..=LONGEST_RSA).contains(&bits) {
                return Err(KeyProblem::RsaSize(bits));
            }
            let exponent = rsa.e().as_positive_bytes().unwrap_or_default();
            if bit_length(exponent) < 2 || exponent.last().is_none_or(|low| low & 1 == 0) {
                return Err(KeyProblem::RsaExponent);
            }
        }
        KeyData::Certificate(_) => return Err(KeyProblem::Certificate),
        KeyData::Dsa(_) => return Err(KeyProblem::Algorithm("ssh-dss".to_owned())),
        other => return Err(KeyProblem::Algorithm(printable(other.algorithm().as_str()))),
    }
    let openssh = PublicKey::new(key.clone(), "").to_openssh().map_err(|_| KeyProblem::Malformed)?;
    Ok(ParsedKey {
        fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
        algorithm: key.algorithm().as_str().to_owned(),
        openssh,
        security_key: is_security_key(key),
    })
}

fn bit_length(bytes: &[u8]) -> usize {
    match bytes.iter().position(|b| *b != 0) {
        Some(first) => (bytes.len() - first) * 8 - bytes[first].leading_zeros() as usize,
        None => 0,
    }
}

fn printable(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_default).collect()
}

fn is_security_key(key: &KeyData) -> bool {
    matches!(key, KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_))
}

/// What a signature says about a person being there (`PROTOCOL.u2f`: the flags byte of a security key's signature).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// An ordinary key: it says nothing.
    Unknown,
    /// A security key.
    SecurityKey {
        /// Somebody touched it.
        touched: bool,
        /// It verified who did, by PIN or fingerprint.
        verified: bool,
    },
}

impl Presence {
    /// What the signature of a key is worth.
    ///
    /// # Errors
    /// [`Reason::NotSignedIn`] for a security key that was not touched: whoever reached the computer it is plugged into
    /// could have used it. No policy can allow it.
    pub(crate) fn worth(self, key: &KeyData) -> Result<Mfa, Refusal> {
        if !is_security_key(key) {
            // Whatever the flags of an ordinary key say, nobody vouches for them.
            return Ok(Mfa::None);
        }
        match self {
            Self::SecurityKey { touched: true, verified: true } => Ok(Mfa::Verified),
            Self::SecurityKey { touched: true, verified: false } => Ok(Mfa::KeyWithTouch),
            Self::SecurityKey { touched: false, .. } | Self::Unknown => {
                Err(Refusal::because(Reason::NotSignedIn, "the security key signed without being touched"))
            }
        }
    }
}

/// A key whose holder has proven by signature, over this very connection, to hold it.
#[derive(Debug, Clone)]
pub struct KeyProof {
    key: PublicKey,
    presence: Presence,
}

impl KeyProof {
    /// To be said only where the signature over the session's exchange hash (RFC 4252 §7) *was verified* with exactly this key.
    #[must_use]
    pub fn signature_verified(key: PublicKey, presence: Presence) -> Self {
        Self { key, presence }
    }

    /// The fingerprint to look the key up by.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }
}

/// Whether a key is the one that a row keeps, by its decoded form and not only by its hash.
pub(crate) fn is_kept(key: &KeyData, row: &KeyRow) -> bool {
    key.fingerprint(HashAlg::Sha256).to_string() == row.fingerprint
        && PublicKey::from_openssh(&row.public_key).is_ok_and(|kept| kept.key_data() == key)
}

/// Says who holds a registered key.
///
/// # Errors
/// [`Reason::NotSignedIn`] when the row is of another key or person, removed, run out, or only good with its
/// certificate, and when a security key was not touched; [`Reason::Disabled`] when the account may not sign in.
pub fn verify_key(proof: &KeyProof, key: &KeyRow, account: Account<'_>, from: IpAddr, now: Timestamp) -> Result<VerifiedIdentity, Refusal> {
    let no = |detail: &str| Err(Refusal::because(Reason::NotSignedIn, detail));
    if !is_kept(proof.key.key_data(), key) || key.person != account.person.id {
        return no("this key is not registered");
    }
    if accept(proof.key.key_data()).is_err() {
        return no("keys of this kind are not accepted any more");
    }
    if key.state != KeyState::Active {
        return no("this key was removed");
    }
    if key.kind != KeyKind::Registered {
        return no("this key signs in only together with its certificate");
    }
    if key.expires_at.is_some_and(|end| end <= now) {
        return no("this key has run out");
    }
    let mfa = proof.presence.worth(proof.key.key_data())?;
    account.proven(Proven::in_person(mfa, Via::SshKey(key.id)), Some(from), now)
}

#[cfg(test)]
#[path = "ssh_key_tests.rs"]
pub(crate) mod tests;
