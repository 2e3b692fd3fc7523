//! The keys of a recording: two random data keys, one for output and activity, one for what was typed, each wrapped
//! with age (<https://age-encryption.org/v1>) to its recipients.
//!
//! The wrapped keys are the key block of the file. Its place and length are found with [`super::header::read`];
//! overwriting it with zeros ([`destroy`]) is how a recording is deleted. The header holds a commitment to each data
//! key, so that a released key can be told from a wrong one.

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::header;

const LONGEST_WRAPPED: u64 = 64 * 1024;

/// Why keys could not be made, wrapped or unwrapped.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The system gave no randomness.
    #[error("cannot make a data key: the system gives no randomness")]
    Random,
    /// A recipient is no age recipient.
    #[error("`{0}` is no recording recipient; one looks like `age1…`")]
    Recipient(String),
    /// An identity is no age identity.
    #[error("the recording identity cannot be read; one looks like `AGE-SECRET-KEY-1…`")]
    Identity,
    /// Nobody could ever read the recording.
    #[error("no recipient is configured for the {0} of recordings; name at least one")]
    NoRecipient(&'static str),
    /// Wrapping failed.
    #[error("cannot wrap a data key")]
    Wrap(#[from] age::EncryptError),
    /// Writing the wrapped key failed.
    #[error("cannot wrap a data key")]
    Write(#[from] io::Error),
    /// Unwrapping failed.
    #[error("cannot unwrap the data key: {0}; use an identity that the recording was made for")]
    Unwrap(String),
    /// The key block is gone.
    #[error("the recording's key was destroyed: it cannot be read any more")]
    Destroyed,
}

/// A recording's own random key for AES-256-GCM. Prints nothing of itself and is wiped when dropped.
#[derive(Clone)]
pub struct DataKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey")
    }
}

impl DataKey {
    /// A new one.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let mut key = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(key.as_mut_slice()).map_err(|_| KeyError::Random)?;
        Ok(Self(key))
    }

    /// One that was released.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key itself; every use of it is a place to review.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// What the header holds so that this key can be told from any other.
    #[must_use]
    pub fn commitment(&self) -> [u8; 32] {
        Sha256::new().chain_update(b"tidegate recording key\n").chain_update(self.0.as_slice()).finalize().into()
    }
}

/// Who can unwrap: age X25519 recipients (`age1…`).
#[derive(Clone)]
pub struct KeyRecipients(Vec<age::x25519::Recipient>);

impl std::fmt::Debug for KeyRecipients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(ToString::to_string)).finish()
    }
}

impl KeyRecipients {
    /// Reads recipients.
    ///
    /// # Errors
    /// Names the first that is none.
    pub fn parse<T: AsRef<str>>(recipients: &[T]) -> Result<Self, KeyError> {
        let parse = |text: &T| {
            let text = text.as_ref().trim();
            text.parse().map_err(|_| KeyError::Recipient(crate::printable::name(text)))
        };
        recipients.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// As their text, `age1…`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Wraps a data key to all of them, as a binary age file.
    ///
    /// # Errors
    /// When there is no recipient, or age fails.
    pub fn wrap(&self, key: &DataKey) -> Result<Vec<u8>, KeyError> {
        let recipients = self.0.iter().map(|r| r as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(recipients)?;
        let mut wrapped = Vec::new();
        let mut writer = encryptor.wrap_output(&mut wrapped)?;
        writer.write_all(key.expose())?;
        writer.finish()?;
        Ok(wrapped)
    }
}

/// Who unwraps: an age X25519 identity (`AGE-SECRET-KEY-1…`).
#[derive(Clone)]
pub struct KeyIdentity(age::x25519::Identity);

impl std::fmt::Debug for KeyIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyIdentity({})", self.0.to_public())
    }
}

impl KeyIdentity {
    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        Self(age::x25519::Identity::generate())
    }

    /// Reads one.
    ///
    /// # Errors
    /// When the text is none.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        text.trim().parse().map(Self).map_err(|_| KeyError::Identity)
    }

    /// Reads a file of them, as `age-keygen` writes it: one to a line, beside comments that begin with `#`.
    ///
    /// # Errors
    /// When there is none in it, or a line is something else.
    pub fn parse_file(text: &str) -> Result<Vec<Self>, KeyError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let found: Vec<Self> = lines.map(Self::parse).collect::<Result<_, _>>()?;
        if found.is_empty() { Err(KeyError::Identity) } else { Ok(found) }
    }

    /// As text that [`Self::parse`] reads; to be kept secret.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        use age::secrecy::ExposeSecret;
        Zeroizing::new(self.0.to_string().expose_secret().to_owned())
    }

    /// Its public half (`age1…`).
    #[must_use]
    pub fn recipient(&self) -> String {
        self.0.to_public().to_string()
    }

    /// Unwraps a data key.
    ///
    /// # Errors
    /// When it is wrapped to others, or is no wrapped key.
    pub fn unwrap_key(&self, wrapped: &[u8]) -> Result<DataKey, KeyError> {
        let refused = |e: age::DecryptError| KeyError::Unwrap(e.to_string());
        let decryptor = age::Decryptor::new_buffered(wrapped).map_err(refused)?;
        let reader = decryptor.decrypt(std::iter::once(&self.0 as &dyn age::Identity)).map_err(refused)?;
        let mut key = Zeroizing::new(Vec::with_capacity(33));
        reader.take(33).read_to_end(&mut key)?;
        let bytes = key.as_slice().try_into().map_err(|_| KeyError::Unwrap("it is not 32 bytes".into()))?;
        Ok(DataKey::from_bytes(bytes))
    }
}

/// The data keys of one recording, as far as somebody has them.
#[derive(Debug, Clone, Default)]
pub struct ReleasedKeys {
    /// For output and activity.
    pub output: Option<DataKey>,
    /// For what was typed.
    pub input: Option<DataKey>,
}

/// The wrapped keys as they stand in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyBlock {
    input: String,
    output: String,
}

impl KeyBlock {
    pub(crate) fn wrap(output: (&DataKey, &KeyRecipients), input: (&DataKey, &KeyRecipients)) -> Result<Self, KeyError> {
        if output.1.is_empty() {
            return Err(KeyError::NoRecipient("output"));
        }
        if input.1.is_empty() {
            return Err(KeyError::NoRecipient("input"));
        }
        let wrap = |(key, to): (&DataKey, &KeyRecipients)| to.wrap(key).map(|w| BASE64_STANDARD.encode(w));
        Ok(Self { input: wrap(input)?, output: wrap(output)? })
    }

    /// Unwraps what the identity can unwrap; the other stays closed.
    pub(crate) fn unwrap(&self, identity: &KeyIdentity) -> Result<ReleasedKeys, KeyError> {
        let unwrap = |wrapped: &str| {
            let bytes = BASE64_STANDARD.decode(wrapped).map_err(|_| KeyError::Unwrap("it is not base64".into()))?;
            if bytes.len() as u64 > LONGEST_WRAPPED {
                return Err(KeyError::Unwrap("it is too long".into()));
            }
            identity.unwrap_key(&bytes)
        };
        let keys = (unwrap(&self.output), unwrap(&self.input));
        match keys {
            (Err(e), Err(_)) => Err(e),
            (output, input) => Ok(ReleasedKeys { output: output.ok(), input: input.ok() }),
        }
    }
}

/// Destroys a recording's keys: overwrites the key block with zeros and syncs. What was recorded can then be read by
/// nobody; that it was recorded, and in which chunks, still verifies.
///
/// # Errors
/// When the file is no recording or cannot be written.
pub fn destroy(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let opening = header::read(&mut file).map_err(io::Error::other)?;
    let (start, length) = opening.key_block();
    file.seek(SeekFrom::Start(start))?;
    file.write_all(&vec![0; length])?;
    file.sync_all()
}
