//! Which keys sign the checkpoints of a log, one after another, each for its own span of sizes.
//!
//! When the audit key is replaced, the log itself says so: an entry `keys.rotated` names the new public key, and the last
//! checkpoint that the old key signs covers that entry. Both, with the audit path between them, are one line of
//! `succession.jsonl`. Whoever holds the first public key verifies line after line and ends with the key of today; the old
//! key counts for nothing beyond its last checkpoint, the new one for nothing before it.

use std::io;

use serde::{Deserialize, Serialize};

use access::event::{Entry, Event};

use super::checkpoint::{CheckpointError, CheckpointVerifier, SignedCheckpoint};
use super::tiles::{LogDirectory, read_at_most};
use super::tree::{self, Hash};
use crate::finding::Finding;
use crate::printable;

/// Where the lines stand in a log's directory and in a bundle.
pub const FILE: &str = "succession.jsonl";
const LONGEST_FILE: u64 = 64 << 20;

/// One key handing over to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handover {
    /// The place of the entry that names the new key.
    pub index: u64,
    /// That entry's leaf, to the byte.
    pub leaf: String,
    /// Its audit path to `checkpoint`.
    #[serde(with = "crate::hexadecimal::list")]
    pub path: Vec<Hash>,
    /// The old key's last checkpoint: a signed note.
    pub checkpoint: String,
    /// In a bundle: the proof that the bundle's checkpoint continues this one.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::hexadecimal::maybe_list")]
    pub consistency: Option<Vec<Hash>>,
}

/// A key and the sizes of the log that it signs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reign {
    key: CheckpointVerifier,
    from: u64,
    /// The old key's last checkpoint; `None`: it still signs.
    last: Option<SignedCheckpoint>,
}

/// The keys of a log from one that somebody trusts onwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Succession {
    reigns: Vec<Reign>,
}

/// The public key that an entry names as the next to sign checkpoints.
#[must_use]
pub fn named_by(leaf: &[u8]) -> Option<CheckpointVerifier> {
    let entry = Entry::from_leaf(leaf, std::collections::BTreeMap::new()).ok()?;
    match entry.event {
        Event::KeysRotated { key, public: Some(public), .. } if key == "audit" => CheckpointVerifier::parse(&public).ok(),
        _ => None,
    }
}

impl Succession {
    /// One key that signs everything.
    #[must_use]
    pub fn of(key: CheckpointVerifier) -> Self {
        Self { reigns: vec![Reign { key, from: 0, last: None }] }
    }

    /// Goes from the key that is trusted through the lines to the key of today. Lines of keys before the trusted one are passed
    /// over: they prove nothing to who does not hold an earlier key.
    #[must_use]
    pub fn follow(trusted: &CheckpointVerifier, lines: &[u8]) -> (Self, Vec<Finding>) {
        let mut succession = Self::of(trusted.clone());
        let mut findings = Vec::new();
        for (number, line) in lines.split(|b| *b == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
            if let Err(reason) = succession.take(line) {
                findings.push(Finding::SuccessionBroken { line: number as u64 + 1, reason });
            }
        }
        (succession, findings)
    }

    fn take(&mut self, line: &[u8]) -> Result<(), String> {
        let handover: Handover = serde_json::from_slice(line).map_err(|e| printable::start_of(&format!("it cannot be read: {e}")))?;
        if serde_json::to_vec(&handover).is_ok_and(|again| again != line) {
            return Err("it is not written the one way a line is written".into());
        }
        let last = match SignedCheckpoint::verify(handover.checkpoint.as_bytes(), self.newest()) {
            Ok(checkpoint) => checkpoint,
            Err(CheckpointError::Signature(_)) if self.reigns.len() == 1 && self.is_of_another_key(&handover) => return Ok(()),
            Err(reason) => return Err(format!("its checkpoint does not hold: {reason}")),
        };
        let (size, root, leaf) = (last.size(), last.root(), handover.leaf.as_bytes());
        if !tree::proves_inclusion(&handover.path, handover.index, tree::leaf_hash(leaf), size, root) {
            return Err("its entry is not under its checkpoint".into());
        }
        let next = named_by(leaf).ok_or("its entry names no key that signs checkpoints")?;
        if next.origin() != last.origin() {
            return Err(format!("its entry names a key of another log, `{}`", printable::name(next.origin())));
        }
        if self.reigns.last().is_some_and(|reign| size < reign.from) {
            return Err("its checkpoint is older than the one before it".into());
        }
        if let Some(reign) = self.reigns.last_mut() {
            reign.last = Some(last);
        }
        self.reigns.push(Reign { key: next, from: size, last: None });
        Ok(())
    }

    fn is_of_another_key(&self, handover: &Handover) -> bool {
        super::checkpoint::signers(handover.checkpoint.as_bytes()).is_ok_and(|ids| !ids.contains(&self.newest().id()))
    }

    /// The key that signs now.
    #[must_use]
    pub fn newest(&self) -> &CheckpointVerifier {
        // INVARIANT: there is always one.
        &self.reigns[self.reigns.len() - 1].key
    }

    /// The last checkpoints of the keys that were replaced, oldest first.
    pub fn last_checkpoints(&self) -> impl Iterator<Item = &SignedCheckpoint> {
        self.reigns.iter().filter_map(|reign| reign.last.as_ref())
    }

    /// Every key, the one that was trusted first.
    pub fn keys(&self) -> impl Iterator<Item = &CheckpointVerifier> {
        self.reigns.iter().map(|reign| &reign.key)
    }

    /// Reads a signed note and verifies it under the key whose span it lies in.
    ///
    /// # Errors
    /// When it is no checkpoint of this log, its signature holds under none of the keys, or the key that signed it did not sign
    /// for a log of that size.
    pub fn verify(&self, note: &[u8]) -> Result<SignedCheckpoint, CheckpointError> {
        let mut refused = None;
        for reign in self.reigns.iter().rev() {
            match SignedCheckpoint::verify(note, &reign.key) {
                Ok(checkpoint) => {
                    let until = reign.last.as_ref().map(SignedCheckpoint::size);
                    let size = checkpoint.size();
                    if size < reign.from || until.is_some_and(|until| size > until) {
                        return Err(CheckpointError::OutOfSpan { size, from: reign.from, until });
                    }
                    return Ok(checkpoint);
                }
                Err(reason) => refused = Some(refused.unwrap_or(reason)),
            }
        }
        Err(refused.unwrap_or(CheckpointError::Malformed("no key was given")))
    }
}

impl LogDirectory {
    /// The lines of `succession.jsonl`; none if no key was ever replaced.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn succession_lines(&self) -> io::Result<Vec<u8>> {
        match read_at_most(&self.path().join(FILE), LONGEST_FILE) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }

    /// The keys that signed this log, from one that is trusted onwards.
    #[must_use]
    pub fn succession(&self, trusted: &CheckpointVerifier) -> (Succession, Vec<Finding>) {
        match self.succession_lines() {
            Ok(lines) => Succession::follow(trusted, &lines),
            Err(e) => {
                let finding = Finding::MemberAltered { member: FILE.into(), reason: format!("it cannot be read: {e}") };
                (Succession::of(trusted.clone()), vec![finding])
            }
        }
    }
}

#[cfg(test)]
mod tests;
