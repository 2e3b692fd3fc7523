//! The sealing key, which wraps every other key, and the one way things are sealed: AES-256-GCM (NIST SP 800-38D) under a random nonce.
//!
//! Where it is kept decides what a stolen disk is worth: in a file (only its owner may read it), or handed over by
//! whatever starts the gate through an inherited descriptor.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use access::secret::Secret;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use zeroize::{Zeroize as _, Zeroizing};

use crate::files;
use crate::keyring::KeyringError;

/// Bytes in every symmetric key here.
pub(crate) const KEY_LENGTH: usize = 32;

/// Where the sealing key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealingSource {
    /// A file that only its owner may read; made on the first start.
    File(PathBuf),
    /// A descriptor inherited from whatever started the gate, from 3 on. It is read once, to its end.
    Descriptor(u32),
}

impl fmt::Display for SealingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Descriptor(number) => write!(f, "descriptor {number}"),
        }
    }
}

impl SealingSource {
    /// Its file, if it comes from one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Descriptor(_) => None,
        }
    }

    /// Reads the sealing key; `None` when its file is not there.
    ///
    /// # Errors
    /// When others may read the file, or it holds something else.
    pub fn load(&self) -> Result<Option<SealingKey>, KeyringError> {
        match self {
            Self::File(path) => match files::read_private(path)? {
                Some(text) => SealingKey::parse(&text).map(Some).ok_or_else(|| KeyringError::SealingKey(self.to_string())),
                None => Ok(None),
            },
            Self::Descriptor(number) => {
                if *number < 3 {
                    return Err(KeyringError::SealingKey(self.to_string()));
                }
                let path = PathBuf::from(format!("/dev/fd/{number}"));
                let file = File::open(&path).map_err(files::io_error("open", &path))?;
                let text = files::read_bounded(file, &path)?;
                SealingKey::parse(&text).map(Some).ok_or_else(|| KeyringError::SealingKey(self.to_string()))
            }
        }
    }
}

/// The key that wraps all others.
#[derive(Clone)]
pub struct SealingKey {
    key: Secret<[u8; KEY_LENGTH]>,
    id: String,
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id)
    }
}

impl SealingKey {
    /// A new one.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, KeyringError> {
        Ok(Self::from_bytes(random()?))
    }

    fn from_bytes(key: Secret<[u8; KEY_LENGTH]>) -> Self {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), b"tidegate sealing key id");
        let id = hex::encode(tag.as_ref().get(..8).unwrap_or_default());
        Self { key, id }
    }

    /// Reads 64 hex digits, with or without a line's end.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut bytes = [0u8; KEY_LENGTH];
        let read = hex::decode_to_slice(text.trim_ascii(), &mut bytes);
        let key = Secret::new(bytes);
        bytes.zeroize();
        read.ok().map(|()| Self::from_bytes(key))
    }

    /// Says which sealing key it is and reveals nothing of it: 16 hex digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Writes it to a file that must not be there yet, readable by its owner alone.
    ///
    /// # Errors
    /// When it is there, or can't be written.
    pub fn create_file(&self, path: &Path) -> Result<(), KeyringError> {
        files::write_new(path, &self.text())?;
        files::sync_parent(path)
    }

    fn text(&self) -> Zeroizing<Vec<u8>> {
        let mut text = Zeroizing::new(vec![0u8; 2 * KEY_LENGTH + 1]);
        if let Some((digits, end)) = text.split_at_mut_checked(2 * KEY_LENGTH)
            && hex::encode_to_slice(self.key.expose(), digits).is_ok()
        {
            end.fill(b'\n');
        }
        text
    }

    pub(crate) fn seal(&self, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeyringError> {
        seal(self.key.expose(), aad, plain)
    }

    pub(crate) fn open(&self, aad: &[u8], sealed: &[u8]) -> Option<Secret<Vec<u8>>> {
        open(self.key.expose(), aad, sealed)
    }
}

/// So many random bytes.
pub(crate) fn random() -> Result<Secret<[u8; KEY_LENGTH]>, KeyringError> {
    let mut bytes = [0u8; KEY_LENGTH];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| KeyringError::Crypto("get random bytes"))?;
    let secret = Secret::new(bytes);
    bytes.zeroize();
    Ok(secret)
}

/// Nonce, ciphertext, tag.
pub(crate) fn seal(key: &[u8], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeyringError> {
    let failed = |_| KeyringError::Crypto("seal a key");
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(failed)?;
    // Sealed in place within a buffer that never grows, so that no copy of the plain text is left behind.
    let mut text = Zeroizing::new(plain.to_vec());
    let (nonce, tag) = key.seal_in_place_separate_tag(Aad::from(aad), &mut text).map_err(failed)?;
    Ok([nonce.as_ref(), text.as_slice(), tag.as_ref()].concat())
}

/// The plain text, unless anything was altered, or sealed for something else.
pub(crate) fn open(key: &[u8], aad: &[u8], sealed: &[u8]) -> Option<Secret<Vec<u8>>> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
    let mut text = Zeroizing::new(sealed.to_vec());
    let plain = key.open_in_place(nonce, Aad::from(aad), &mut text).ok()?;
    Some(Secret::new(plain.to_vec()))
}
