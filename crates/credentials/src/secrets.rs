//! Passwords and keys of targets, sealed under the keyring's secrets key; and the keyed digests that bind rows to the audit log.

use std::fmt;

use access::ids::KeyId;
use access::names::SecretName;
use access::secret::Secret;
use access::session::SshCredential;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::keyring::{KeyKind, Keyring, KeyringError};
use crate::sealing;

/// The longest secret, in bytes.
pub const LONGEST: usize = 64 * 1024;

/// A secret as it is kept: `key_….` and base64. Only [`Keyring::open_secret`] reads it, under the name it was sealed for.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret {
    key: KeyId,
    sealed: Vec<u8>,
}

/// Why a secret can't be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Nothing in it.
    #[error("the secret is empty")]
    Empty,
    /// More than is kept.
    #[error("the secret is {0} bytes long, at most {LONGEST} are kept")]
    TooLong(usize),
    /// Not what a sealed secret looks like.
    #[error("this is no sealed secret; set it again with `tidegate secret set`")]
    Malformed,
    /// Its key is gone.
    #[error("secret `{name}` is sealed under {key}, which is not among the gate's keys; restore the keys or set the secret again")]
    NoKey {
        /// Which secret.
        name: SecretName,
        /// The key it needs.
        key: KeyId,
    },
    /// It was altered, or sealed under another name.
    #[error("secret `{0}` was altered or belongs under another name; set it again with `tidegate secret set`")]
    Altered(SecretName),
    /// Sealing failed.
    #[error("cannot seal the secret: the system's cryptography failed")]
    Crypto,
}

impl SealedSecret {
    /// Which key it is sealed under.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }
}

impl fmt::Display for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.key, BASE64_STANDARD.encode(&self.sealed))
    }
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedSecret({}, {} bytes)", self.key, self.sealed.len())
    }
}

impl std::str::FromStr for SealedSecret {
    type Err = SecretError;
    fn from_str(text: &str) -> Result<Self, SecretError> {
        let (key, data) = text.split_once('.').ok_or(SecretError::Malformed)?;
        Ok(Self {
            key: key.parse().map_err(|_| SecretError::Malformed)?,
            sealed: BASE64_STANDARD.decode(data).map_err(|_| SecretError::Malformed)?,
        })
    }
}

impl Keyring {
    /// Seals a secret for the name it is kept under.
    ///
    /// # Errors
    /// When it is empty or too long.
    pub fn seal_secret(&self, name: &SecretName, value: &Secret<String>) -> Result<SealedSecret, SecretError> {
        match value.expose().len() {
            0 => return Err(SecretError::Empty),
            length if length > LONGEST => return Err(SecretError::TooLong(length)),
            _ => {}
        }
        let key = self.current(KeyKind::Secrets).map_err(|_| SecretError::Crypto)?;
        let sealed = sealing::seal(key.material.expose(), &label(key.id, name), value.expose().as_bytes());
        Ok(SealedSecret { key: key.id, sealed: sealed.map_err(|_: KeyringError| SecretError::Crypto)? })
    }

    /// Opens a secret that was sealed for this name, under the present key or one before it.
    ///
    /// # Errors
    /// When its key is gone, or it was altered or belongs under another name.
    pub fn open_secret(&self, name: &SecretName, sealed: &SealedSecret) -> Result<Secret<String>, SecretError> {
        let key = self.all(KeyKind::Secrets).find(|key| key.id == sealed.key);
        let key = key.ok_or_else(|| SecretError::NoKey { name: name.clone(), key: sealed.key })?;
        let altered = || SecretError::Altered(name.clone());
        let plain = sealing::open(key.material.expose(), &label(sealed.key, name), &sealed.sealed).ok_or_else(altered)?;
        let text = std::str::from_utf8(plain.expose()).map_err(|_| altered())?;
        Ok(Secret::new(text.to_owned()))
    }

    /// The keyed digest of a row that is not in the log itself, by which the log notices when it changes: `key_….` and the
    /// HMAC-SHA-256 in hex.
    ///
    /// Keyed, so that whoever reads the log can't try out what the row may hold.
    ///
    /// # Errors
    /// When the keyring has lost its key for this.
    pub fn row_digest(&self, row: &[u8]) -> Result<String, KeyringError> {
        let key = self.current(KeyKind::RowDigest)?;
        Ok(format!("{}.{}", key.id, digest(key.material.expose(), row)))
    }

    /// Whether a digest in the log is of this row, under the key that it names: the present one or one before it.
    #[must_use]
    pub fn is_row_digest(&self, row: &[u8], logged: &str) -> bool {
        let Some((id, tag)) = logged.split_once('.') else { return false };
        let (Ok(id), Ok(tag)) = (id.parse::<KeyId>(), hex::decode(tag)) else { return false };
        self.all(KeyKind::RowDigest)
            .filter(|key| key.id == id)
            .any(|key| hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key.material.expose()), row, &tag).is_ok())
    }
}

fn digest(key: &[u8], row: &[u8]) -> String {
    hex::encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), row))
}

fn label(key: KeyId, name: &SecretName) -> Vec<u8> {
    format!("tidegate secret\0{key}\0{name}").into_bytes()
}

/// What a secret is to an SSH target: a private key if it is one in PEM form, else a password.
#[must_use]
pub fn ssh_credential(secret: Secret<String>) -> SshCredential {
    if secret.expose().trim_start().starts_with("-----BEGIN ") { SshCredential::Key(secret) } else { SshCredential::Password(secret) }
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
