//! Checkpoints: how many entries the log has and the root over them, signed with Ed25519 as a C2SP note
//! (<https://c2sp.org/tlog-checkpoint>, <https://c2sp.org/signed-note>).
//!
//! ```text
//! gate.example.com/audit
//! 923748
//! nND/nri/U0xuHUrYSy0HtMeal2vzD9V4k/BO79C+QeI=
//! time 2026-03-01T12:00:00Z
//!
//! — gate.example.com/audit x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZIn…
//! ```

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use signed_note::{Note, StandardSigner, StandardVerifier, Verifier, VerifierList};
use zeroize::Zeroizing;

use super::tree::{Hash, LARGEST_TREE};
use crate::printable;

/// The longest signed note that is read.
pub const LONGEST_CHECKPOINT: u64 = 64 * 1024;

const ED25519_NOTE: u8 = 1;

/// Why a key or a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The name of a key must fit in a note.
    #[error("`{0}` cannot name a log: use a host and path such as `gate.example.com/audit`, without spaces or `+`")]
    Origin(String),
    /// The text is no signing or verifying key.
    #[error("cannot read the {0} key: it looks like `{1}`; copy the whole line")]
    Key(&'static str, &'static str),
    /// The system gave no randomness, or the key did not sign.
    #[error("cannot {0}: the cryptographic library refused")]
    Crypto(&'static str),
    /// The bytes are no signed checkpoint.
    #[error("it is no signed checkpoint: {0}")]
    Malformed(&'static str),
    /// It speaks of another log.
    #[error("it is signed for the log `{found}`, not for `{wanted}`")]
    OtherOrigin {
        /// The log it speaks of.
        found: String,
        /// The log that was meant.
        wanted: String,
    },
    /// The key that signed it did not sign for a log of that size.
    #[error(
        "it commits to {size} entries and is signed by the key that signed from {from}{} on: whoever holds a key that was \
         replaced signed it, or the succession of keys was altered",
        until.map(|until| format!(" to {until}")).unwrap_or_default()
    )]
    OutOfSpan {
        /// How many entries it commits to.
        size: u64,
        /// The smallest log that the key signs.
        from: u64,
        /// The largest; `None`: it still signs.
        until: Option<u64>,
    },
    /// The signature is not of this key over this text.
    #[error("its signature does not verify under the key of `{0}`: it was altered, or another key signed it")]
    Signature(String),
}

/// The private key that signs checkpoints and exports.
pub struct CheckpointKey {
    signer: StandardSigner,
    verifier: CheckpointVerifier,
}

impl std::fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CheckpointKey({})", self.verifier.encoded)
    }
}

impl CheckpointKey {
    /// A new key for the log named `origin`, as the text `PRIVATE+KEY+<origin>+<id>+<key>` that [`Self::parse`] reads.
    ///
    /// # Errors
    /// When the name does not fit in a note, or the system gives no randomness.
    pub fn generate(origin: &str) -> Result<Zeroizing<String>, CheckpointError> {
        if !signed_note::is_key_name_valid(origin) || origin.chars().any(char::is_control) {
            return Err(CheckpointError::Origin(printable::name(origin)));
        }
        let refused = |_| CheckpointError::Crypto("make a signing key");
        let mut seed = Zeroizing::new([0u8; 32]);
        aws_lc_rs::rand::SecureRandom::fill(&SystemRandom::new(), seed.as_mut_slice()).map_err(refused)?;
        Self::encode(origin, &seed)
    }

    /// The key for the log named `origin` out of an Ed25519 seed (RFC 8032) that is kept elsewhere.
    ///
    /// # Errors
    /// When the name does not fit in a note.
    pub fn from_seed(origin: &str, seed: &[u8; 32]) -> Result<Self, CheckpointError> {
        if !signed_note::is_key_name_valid(origin) || origin.chars().any(char::is_control) {
            return Err(CheckpointError::Origin(printable::name(origin)));
        }
        Self::parse(&Self::encode(origin, seed)?)
    }

    fn encode(origin: &str, seed: &[u8; 32]) -> Result<Zeroizing<String>, CheckpointError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).map_err(|_| CheckpointError::Crypto("make a signing key"))?;
        let id = signed_note::key_id(origin, &tagged(pair.public_key().as_ref()));
        let secret = Zeroizing::new(BASE64_STANDARD.encode(Zeroizing::new(tagged(seed.as_slice())).as_slice()));
        Ok(Zeroizing::new(format!("PRIVATE+KEY+{origin}+{id:08x}+{}", secret.as_str())))
    }

    /// Reads what [`Self::generate`] wrote.
    ///
    /// # Errors
    /// When the text is no such key.
    pub fn parse(encoded: &str) -> Result<Self, CheckpointError> {
        let malformed = || CheckpointError::Key("signing", "PRIVATE+KEY+<origin>+<id>+<key>");
        let encoded = encoded.trim();
        let signer = StandardSigner::new(encoded).map_err(|_| malformed())?;
        let secret = encoded.splitn(5, '+').nth(4);
        let secret = secret.and_then(|key| BASE64_STANDARD.decode(key).ok()).map(Zeroizing::new);
        let secret = secret.ok_or_else(malformed)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(secret.get(1..).unwrap_or_default()).map_err(|_| malformed())?;
        let name = signed_note::Signer::name(&signer);
        let public = tagged(pair.public_key().as_ref());
        let id = signed_note::key_id(name, &public);
        let verifier = format!("{name}+{id:08x}+{}", BASE64_STANDARD.encode(public));
        Ok(Self { verifier: CheckpointVerifier::parse(&verifier)?, signer })
    }

    /// The public half, to be given to everybody.
    #[must_use]
    pub fn verifier(&self) -> &CheckpointVerifier {
        &self.verifier
    }

    /// The log this key signs for.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.verifier.origin()
    }

    /// Signs how large the log is and what its root is.
    ///
    /// # Errors
    /// When signing fails.
    pub fn sign(&self, size: u64, root: Hash, at: Timestamp) -> Result<SignedCheckpoint, CheckpointError> {
        let origin = self.origin();
        let body = tlog_tiles::Checkpoint::new(origin, size, tlog_tiles::Hash(root), &format!("time {at}\n"))
            .map_err(|_| CheckpointError::Origin(printable::name(origin)))?;
        let note = self.sign_text(&body.to_bytes())?;
        Ok(SignedCheckpoint { origin: origin.to_owned(), size, root, at: Some(at), note })
    }

    /// Signs any text that ends in a newline as a note.
    pub(crate) fn sign_text(&self, text: &[u8]) -> Result<Vec<u8>, CheckpointError> {
        let mut note = Note::new(text, &[]).map_err(|_| CheckpointError::Malformed("its text does not fit in a note"))?;
        note.add_sigs(&[&self.signer]).map_err(|_| CheckpointError::Crypto("sign"))?;
        Ok(note.to_bytes())
    }
}

/// The ids of the keys that signed a note, whoever they are.
pub(crate) fn signers(note: &[u8]) -> Result<Vec<u32>, CheckpointError> {
    Note::from_bytes(note).map_err(|_| CheckpointError::Malformed("it is not a signed note"))?;
    let signatures = note.split(|b| *b == b'\n').rev().skip(1).take_while(|line| !line.is_empty());
    Ok(signatures.filter_map(|line| signed_note::Signature::from_bytes(line).ok()).map(|s| s.id()).collect())
}

fn tagged(key: &[u8]) -> Vec<u8> {
    [&[ED25519_NOTE], key].concat()
}

/// The public key that checkpoints and exports are verified with: `<origin>+<id>+<key>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointVerifier {
    encoded: String,
    origin: String,
    id: u32,
    public: [u8; 32],
}

impl std::fmt::Display for CheckpointVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.encoded)
    }
}

impl CheckpointVerifier {
    /// Reads a public key; surrounding blanks are ignored.
    ///
    /// # Errors
    /// When the text is no such key.
    pub fn parse(encoded: &str) -> Result<Self, CheckpointError> {
        let malformed = || CheckpointError::Key("public", "<origin>+<id>+<key>");
        let encoded = encoded.trim();
        let checked = StandardVerifier::new(encoded).map_err(|_| malformed())?;
        let key = encoded.splitn(3, '+').nth(2).and_then(|key| BASE64_STANDARD.decode(key).ok());
        let public = key.and_then(|key| key.get(1..)?.try_into().ok()).ok_or_else(malformed)?;
        Ok(Self { encoded: encoded.into(), origin: checked.name().into(), id: checked.key_id(), public })
    }

    /// The key for the log named `origin` out of an Ed25519 public key (RFC 8032).
    ///
    /// # Errors
    /// When the name does not fit in a note, or the bytes are no such key.
    pub fn from_public(origin: &str, public: &[u8; 32]) -> Result<Self, CheckpointError> {
        if !signed_note::is_key_name_valid(origin) || origin.chars().any(char::is_control) {
            return Err(CheckpointError::Origin(printable::name(origin)));
        }
        let public = tagged(public);
        Self::parse(&format!("{origin}+{:08x}+{}", signed_note::key_id(origin, &public), BASE64_STANDARD.encode(public)))
    }

    /// The log this key is for.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The key's id, as notes name it.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The text of a note that this key signed.
    pub(crate) fn text_of(&self, note: &[u8]) -> Result<Vec<u8>, CheckpointError> {
        let parsed = Note::from_bytes(note).map_err(|_| CheckpointError::Malformed("it is not a signed note"))?;
        if parsed.to_bytes() != note {
            return Err(CheckpointError::Malformed("it is not written the one way a note is written"));
        }
        parsed
            .verify(&VerifierList::new(vec![Box::new(NoteVerifier(self.clone()))]))
            .map_err(|_| CheckpointError::Signature(self.origin.clone()))?;
        Ok(parsed.text().to_vec())
    }
}

/// Verifies with the same cryptographic library as the rest of the gate.
struct NoteVerifier(CheckpointVerifier);

impl Verifier for NoteVerifier {
    fn name(&self) -> &str {
        &self.0.origin
    }
    fn key_id(&self) -> u32 {
        self.0.id
    }
    fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0.public).verify(text, signature).is_ok()
    }
}

/// A checkpoint whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    origin: String,
    size: u64,
    root: Hash,
    at: Option<Timestamp>,
    note: Vec<u8>,
}

impl SignedCheckpoint {
    /// Reads a signed note and verifies it.
    ///
    /// # Errors
    /// When it is no checkpoint, is for another log, or its signature does not hold.
    pub fn verify(note: &[u8], key: &CheckpointVerifier) -> Result<Self, CheckpointError> {
        let claimed = Self::claimed(note)?;
        if claimed.origin != key.origin {
            return Err(CheckpointError::OtherOrigin { found: printable::name(&claimed.origin), wanted: key.origin.clone() });
        }
        key.text_of(note)?;
        Ok(claimed)
    }

    /// What a note says, signed or not: only to name what is wrong with it.
    pub(crate) fn claimed(note: &[u8]) -> Result<Self, CheckpointError> {
        let parsed = Note::from_bytes(note).map_err(|_| CheckpointError::Malformed("it is not a signed note"))?;
        let body = tlog_tiles::Checkpoint::from_reader(&mut std::io::Cursor::new(parsed.text()), false)
            .map_err(|_| CheckpointError::Malformed("its first lines are not origin, size and root"))?;
        if body.to_bytes() != parsed.text() {
            return Err(CheckpointError::Malformed("it is not written the one way a checkpoint is written"));
        }
        if body.size() > LARGEST_TREE {
            return Err(CheckpointError::Malformed("it claims more entries than any log can have"));
        }
        let at = body.extension().lines().find_map(|line| line.strip_prefix("time ")).and_then(|at| at.parse().ok());
        Ok(Self { origin: body.origin().into(), size: body.size(), root: body.hash().0, at, note: note.to_vec() })
    }

    /// The log it speaks of.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }
    /// How many entries it commits to.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }
    /// The root over them.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root
    }
    /// When it was signed, by the gate's clock.
    #[must_use]
    pub fn at(&self) -> Option<Timestamp> {
        self.at
    }
    /// The signed note, byte by byte.
    #[must_use]
    pub fn note(&self) -> &[u8] {
        &self.note
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_read_back_and_any_flip_is_refused() {
        let key = CheckpointKey::parse(&CheckpointKey::generate("gate.example.com/audit").unwrap()).unwrap();
        let at: Timestamp = "2026-03-01T12:00:00.000123Z".parse().unwrap();
        let signed = key.sign(5, [9; 32], at).unwrap();
        let read = SignedCheckpoint::verify(signed.note(), key.verifier()).unwrap();
        assert_eq!(read, signed);
        assert_eq!((read.size(), read.at()), (5, Some(at)));
        for i in 0..signed.note().len() {
            for bit in [1, 0x20, 0x80] {
                let mut note = signed.note().to_vec();
                note[i] ^= bit;
                assert!(SignedCheckpoint::verify(&note, key.verifier()).is_err(), "byte {i} flipped by {bit}");
            }
        }
    }

    #[test]
    fn another_log_and_another_key_are_told_apart() {
        let ours = CheckpointKey::parse(&CheckpointKey::generate("gate.example.com/audit").unwrap()).unwrap();
        let namesake = CheckpointKey::parse(&CheckpointKey::generate("gate.example.com/audit").unwrap()).unwrap();
        let other = CheckpointKey::parse(&CheckpointKey::generate("other.example.com/audit").unwrap()).unwrap();
        let verify = |key: &CheckpointKey| {
            let signed = key.sign(1, [0; 32], Timestamp::UNIX_EPOCH).unwrap();
            SignedCheckpoint::verify(signed.note(), ours.verifier()).map_err(|e| e.to_string())
        };
        assert!(verify(&ours).is_ok());
        insta::assert_snapshot!(verify(&other).unwrap_err(), @"it is signed for the log `other.example.com/audit`, not for `gate.example.com/audit`");
        insta::assert_snapshot!(verify(&namesake).unwrap_err(), @"its signature does not verify under the key of `gate.example.com/audit`: it was altered, or another key signed it");
    }

    #[test]
    fn the_library_of_the_specification_accepts_our_notes() {
        let secret = CheckpointKey::generate("gate.example.com/audit").unwrap();
        let key = CheckpointKey::parse(&secret).unwrap();
        let signed = key.sign(3, [1; 32], Timestamp::UNIX_EPOCH).unwrap();
        let verifier = StandardVerifier::new(&key.verifier().to_string()).unwrap();
        let note = Note::from_bytes(signed.note()).unwrap();
        assert!(note.verify(&VerifierList::new(vec![Box::new(verifier)])).is_ok());
        assert!(!format!("{key:?}").contains(secret.splitn(5, '+').nth(4).unwrap()));
    }
}
