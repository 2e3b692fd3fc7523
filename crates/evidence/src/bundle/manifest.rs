//! The manifest: what was exported, signed by the gate, so that nothing can be taken out or exchanged unseen.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Names of the parts.
pub(crate) mod parts {
    pub(crate) const MANIFEST: &str = "manifest.json";
    pub(crate) const SIGNATURE: &str = "manifest.note";
    pub(crate) const CHECKPOINT: &str = "checkpoint";
    pub(crate) const SUCCESSION: &str = crate::log::succession::FILE;
    pub(crate) const ENTRIES: &str = "entries.jsonl";
    pub(crate) const PROOFS: &str = "proofs.jsonl";
    pub(crate) const TEXTS: &str = "texts.jsonl";
    pub(crate) const KEYS: &str = "keys.json";
}

/// The first line of the signed note, which keeps it from being taken for anything else that the key signs.
const PURPOSE: &str = "tidegate evidence bundle 1";

/// The format that this release writes and verifies.
pub(crate) const VERSION: u32 = 1;

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format.
    pub version: u32,
    /// The log that the entries are from.
    pub origin: String,
    /// What was asked for, in words: `session ses_…`.
    pub selection: String,
    /// When it was exported.
    pub exported: Timestamp,
    /// The entries, in the order of the log.
    pub entries: Vec<EntryLine>,
    /// The recordings.
    pub recordings: Vec<RecordingLine>,
    /// Every part after the manifest and its signature, in the order of the file.
    pub parts: Vec<PartLine>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryLine {
    /// Its place in the log.
    pub index: u64,
    /// Its id.
    pub id: String,
    /// Its leaf's hash.
    #[serde(with = "crate::hexadecimal")]
    pub leaf: [u8; 32],
}

/// One recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordingLine {
    /// `rec_…`
    pub recording: String,
    /// How many whole chunks it had when it was exported.
    pub chunks: u64,
    /// The chain after them.
    #[serde(with = "crate::hexadecimal")]
    pub digest: [u8; 32],
    /// Whether it was closed.
    pub closed: bool,
}

/// One part of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartLine {
    /// Its name.
    pub name: String,
    /// How long it is.
    pub bytes: u64,
    /// Its digest.
    #[serde(with = "crate::hexadecimal")]
    pub sha256: [u8; 32],
}

/// The audit path of one entry: a line of `proofs.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProofLine {
    pub(crate) index: u64,
    #[serde(with = "crate::hexadecimal::list")]
    pub(crate) path: Vec<[u8; 32]>,
}

/// The text that is signed for a manifest.
pub(crate) fn signed_text(manifest: &[u8]) -> String {
    format!("{PURPOSE}\n{}\n", hex::encode(Sha256::digest(manifest)))
}

/// The name of a recording's part.
pub(crate) fn recording_part(recording: &str) -> String {
    format!("recordings/{recording}.tgr")
}

/// The digest of a policy bundle: SHA-256 over the sorted lines `path NUL sha256-of-content-in-hex LF`.
#[must_use]
pub fn policy_digest(files: &std::collections::BTreeMap<String, Vec<u8>>) -> String {
    let mut whole = Sha256::new();
    for (path, content) in files {
        whole.update(path.as_bytes());
        whole.update([0]);
        whole.update(hex::encode(Sha256::digest(content)));
        whole.update(b"\n");
    }
    hex::encode(whole.finalize())
}
