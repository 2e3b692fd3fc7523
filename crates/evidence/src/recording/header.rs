//! What stands before a recording's chunks: who, what, under which policy; and the wrapped keys.

use std::io::Read;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::keys::{KeyBlock, KeyError, KeyIdentity, KeyRecipients, ReleasedKeys};
use crate::printable;

/// The first bytes of every recording.
pub const MAGIC: &[u8; 21] = b"tidegate recording 1\n";
const LONGEST_HEADER: usize = 256 * 1024;

/// What a recording is about. Ids as their text; nothing here is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// `rec_…`
    pub recording: String,
    /// `ses_…`
    pub session: String,
    /// `grt_…`
    pub grant: String,
    /// `usr_…` or `wkl_…`
    pub person: String,
    /// The resource's name.
    pub resource: String,
    /// The digest of the policy bundle in force.
    pub bundle: String,
    /// When frame times count from.
    pub started: Timestamp,
    /// What is recorded: `output`, `exec`, `statements`, …
    pub levels: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Commitments {
    #[serde(with = "crate::hexadecimal")]
    input: [u8; 32],
    #[serde(with = "crate::hexadecimal")]
    output: [u8; 32],
}

/// To whom the data keys are wrapped: age recipients (`age1…`), which are public.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrappedTo {
    /// The key of what was typed.
    pub input: Vec<String>,
    /// The key of output and activity.
    pub output: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyBlockPlace {
    bytes: u32,
    #[serde(with = "crate::hexadecimal")]
    sha256: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    about: About,
    commitments: Commitments,
    recipients: WrappedTo,
    keys: KeyBlockPlace,
}

/// Why the start of a recording cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// It is something else.
    #[error("it is no recording, or one of a version this program does not know")]
    NotOne,
    /// A length is absurd.
    #[error("its header claims {0} bytes; at most {LONGEST_HEADER} are read")]
    TooLong(usize),
    /// The header is not what it should be.
    #[error("its header cannot be read: {0}")]
    Malformed(String),
    /// Reading failed.
    #[error("it cannot be read")]
    Io(#[from] std::io::Error),
}

/// Whether the wrapped keys are still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// As they were written.
    Present,
    /// Overwritten with zeros: the recording was deleted.
    Destroyed,
    /// Neither.
    Altered,
}

/// The start of a recording, read.
#[derive(Debug, Clone)]
pub struct Opening {
    header: Header,
    header_len: usize,
    chain: [u8; 32],
    key_block: Vec<u8>,
}

/// The bytes before the first chunk, and the digest that the first chunk commits to.
pub(crate) fn encode(
    about: &About,
    commitments: ([u8; 32], [u8; 32]),
    (output_to, input_to): (&KeyRecipients, &KeyRecipients),
    keys: &KeyBlock,
) -> Result<(Vec<u8>, [u8; 32]), HeaderError> {
    let malformed = |e: serde_json::Error| HeaderError::Malformed(e.to_string());
    let block = serde_json::to_vec(keys).map_err(malformed)?;
    let header = Header {
        version: 1,
        about: about.clone(),
        commitments: Commitments { output: commitments.0, input: commitments.1 },
        recipients: WrappedTo { input: input_to.names(), output: output_to.names() },
        keys: KeyBlockPlace {
            bytes: u32::try_from(block.len()).map_err(|_| HeaderError::TooLong(block.len()))?,
            sha256: Sha256::digest(&block).into(),
        },
    };
    let json = serde_json::to_vec(&header).map_err(malformed)?;
    if json.len() > LONGEST_HEADER || block.len() > LONGEST_HEADER {
        return Err(HeaderError::TooLong(json.len().max(block.len())));
    }
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&(json.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&json);
    let chain = Sha256::digest(&bytes).into();
    bytes.extend_from_slice(&block);
    Ok((bytes, chain))
}

/// Reads the start of a recording; the reader then stands at the first chunk.
///
/// # Errors
/// When it is no recording, is cut short, or claims absurd lengths.
pub fn read(from: &mut impl Read) -> Result<Opening, HeaderError> {
    let mut start = [0; MAGIC.len() + 4];
    from.read_exact(&mut start).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => HeaderError::NotOne,
        _ => HeaderError::Io(error),
    })?;
    let (magic, length) = start.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(HeaderError::NotOne);
    }
    let length = length.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
    if length > LONGEST_HEADER {
        return Err(HeaderError::TooLong(length));
    }
    let mut json = vec![0; length];
    from.read_exact(&mut json)?;
    let chain = Sha256::new().chain_update(start).chain_update(&json).finalize().into();
    let header: Header = serde_json::from_slice(&json).map_err(|e| HeaderError::Malformed(printable::start_of(&e.to_string())))?;
    if header.version != 1 {
        return Err(HeaderError::NotOne);
    }
    let block = header.keys.bytes as usize;
    if block > LONGEST_HEADER {
        return Err(HeaderError::TooLong(block));
    }
    let mut key_block = vec![0; block];
    from.read_exact(&mut key_block)?;
    Ok(Opening { header, header_len: length, chain, key_block })
}

impl Opening {
    /// What the recording is about.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.header.about
    }

    /// To whom its keys were wrapped.
    #[must_use]
    pub fn recipients(&self) -> &WrappedTo {
        &self.header.recipients
    }

    /// SHA-256 over everything before the key block: the digest that the first chunk commits to, and that the log has.
    #[must_use]
    pub fn chain(&self) -> [u8; 32] {
        self.chain
    }

    /// Where in the file the key block starts, and how long it is, in bytes.
    #[must_use]
    pub fn key_block(&self) -> (u64, usize) {
        ((MAGIC.len() + 4 + self.header_len) as u64, self.key_block.len())
    }

    /// Where in the file the first chunk starts.
    #[must_use]
    pub fn len(&self) -> u64 {
        let (start, length) = self.key_block();
        start + length as u64
    }

    /// Never: a header has bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Whether the wrapped keys are still there.
    #[must_use]
    pub fn key_state(&self) -> KeyState {
        let digest: [u8; 32] = Sha256::digest(&self.key_block).into();
        if digest == self.header.keys.sha256 {
            KeyState::Present
        } else if self.key_block.iter().all(|b| *b == 0) {
            KeyState::Destroyed
        } else {
            KeyState::Altered
        }
    }

    /// Unwraps the data keys that the identity can unwrap.
    ///
    /// # Errors
    /// When the keys were destroyed, or are wrapped to others.
    pub fn unwrap_keys(&self, identity: &KeyIdentity) -> Result<ReleasedKeys, KeyError> {
        if self.key_state() == KeyState::Destroyed {
            return Err(KeyError::Destroyed);
        }
        let block: KeyBlock =
            serde_json::from_slice(&self.key_block).map_err(|_| KeyError::Unwrap("the recording's key block was altered".into()))?;
        block.unwrap(identity)
    }

    /// Which of the keys are not this recording's: `output`, `input`.
    #[must_use]
    pub fn wrong_keys(&self, keys: &ReleasedKeys) -> Vec<&'static str> {
        let commitments = &self.header.commitments;
        let pairs = [("output", &keys.output, &commitments.output), ("input", &keys.input, &commitments.input)];
        let wrong = pairs.into_iter().filter(|(_, key, wanted)| key.as_ref().is_some_and(|k| k.commitment() != **wanted));
        wrong.map(|(name, _, _)| name).collect()
    }
}
