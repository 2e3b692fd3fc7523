//! Writing a bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::manifest::{
    EntryLine, Manifest, PartLine, ProofLine, RecordingLine, VERSION, parts, policy_digest, recording_part, signed_text,
};
use super::tar;
use crate::log::checkpoint::{CheckpointError, CheckpointKey, LONGEST_CHECKPOINT, SignedCheckpoint};
use crate::log::leaves;
use crate::log::succession::Handover;
use crate::log::texts::SideRecord;
use crate::log::tiles::{LogDirectory, read_at_most};
use crate::log::tree::{self, ProofError};
use crate::printable;
use crate::recording::keys::{KeyError, KeyRecipients, ReleasedKeys};
use crate::recording::{Anchor, inspect};

/// What is to be exported.
#[derive(Debug, Default)]
pub struct Export {
    /// What was asked for, in words: `session ses_…`.
    pub selection: String,
    /// The entries, by their place in the log.
    pub entries: BTreeSet<u64>,
    /// Texts of these entries that were not erased.
    pub texts: Vec<SideRecord>,
    /// The policy bundles that decided.
    pub policies: Vec<PolicyText>,
    /// The recordings.
    pub recordings: Vec<RecordingPart>,
}

/// The files of one policy bundle.
#[derive(Debug)]
pub struct PolicyText {
    /// The bundle's digest, in hexadecimal, as entries name it.
    pub digest: String,
    /// Its files by path.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// One recording.
#[derive(Debug)]
pub struct RecordingPart {
    /// `rec_…`
    pub recording: String,
    /// Where its file is.
    pub path: PathBuf,
    /// What is given along so that it can be read.
    pub release: Release,
}

/// What is given along with a recording.
#[derive(Debug)]
pub enum Release {
    /// Nothing: that it is whole can be verified, its content stays closed.
    Withheld,
    /// The data keys themselves, as far as they are named.
    Keys(ReleasedKeys),
    /// The data keys wrapped to an auditor's age recipient.
    WrappedTo(KeyRecipients, ReleasedKeys),
}

/// Why a bundle could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// An entry is not under the checkpoint yet.
    #[error("entry {index} is newer than the newest checkpoint, of {size} entries; wait a minute and export again")]
    TooNew {
        /// Its place.
        index: u64,
        /// The size that the checkpoint signs.
        size: u64,
    },
    /// The log has something else at this place than its tiles say.
    #[error("entry {0} cannot be exported: {1}; run `tidegate audit verify`")]
    Entry(u64, String),
    /// The checkpoint cannot be used.
    #[error("the checkpoint of the log cannot be used")]
    Checkpoint(#[from] CheckpointError),
    /// A proof cannot be made.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The policy's files are not those that were in force.
    #[error("the files given for policy bundle `{0}` are not its files")]
    Policy(String),
    /// A recording cannot be used.
    #[error("recording `{recording}` cannot be exported: {reason}")]
    Recording {
        /// Which.
        recording: String,
        /// Why.
        reason: String,
    },
    /// A data key could not be wrapped.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Reading or writing failed.
    #[error("cannot write the bundle")]
    Io(#[from] io::Error),
    /// The manifest does not serialise.
    #[error("cannot write the manifest")]
    Json(#[from] serde_json::Error),
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// How long the file is.
    pub bytes: u64,
    /// Its digest, for the entry that notes the export.
    pub sha256: [u8; 32],
}

/// The keys given along with one recording: a value of `keys.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyLine {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) input: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) output_wrapped: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) input_wrapped: Option<String>,
}

/// One part on its way into the file.
enum Content {
    Bytes(Vec<u8>),
    File(File),
}

struct Packed {
    line: PartLine,
    content: Content,
}

impl Export {
    /// Writes the bundle to a new file: entries and proofs from the log in `log`, signed with the log's key.
    ///
    /// # Errors
    /// When an entry is not under a checkpoint yet, something does not fit together, or a file cannot be read or
    /// written. Nothing half-written is left at `to`.
    pub fn write(mut self, log: &LogDirectory, key: &CheckpointKey, now: Timestamp, to: &Path) -> Result<Written, ExportError> {
        let note = read_at_most(&log.path().join("checkpoint"), LONGEST_CHECKPOINT)?;
        let checkpoint = SignedCheckpoint::verify(&note, key.verifier())?;

        let mut packed = vec![pack(parts::CHECKPOINT, note)];
        pack_succession(log, &checkpoint, &mut packed)?;
        let entries = self.pack_entries(log, &checkpoint, &mut packed)?;
        self.pack_texts(&mut packed)?;
        self.pack_policies(&mut packed)?;
        let recordings = self.pack_recordings(&mut packed)?;
        let manifest = Manifest {
            version: VERSION,
            origin: key.origin().into(),
            selection: self.selection,
            exported: now,
            entries,
            recordings,
            parts: packed.iter().map(|part| part.line.clone()).collect(),
        };
        let manifest = serde_json::to_vec(&manifest)?;
        let signature = key.sign_text(signed_text(&manifest).as_bytes())?;
        packed.splice(0..0, [pack(parts::MANIFEST, manifest), pack(parts::SIGNATURE, signature)]);
        write_file(packed, to).map_err(Into::into)
    }

    fn pack_entries(
        &self,
        log: &LogDirectory,
        checkpoint: &SignedCheckpoint,
        packed: &mut Vec<Packed>,
    ) -> Result<Vec<EntryLine>, ExportError> {
        let size = checkpoint.size();
        let (mut lines, mut all, mut proofs) = (Vec::new(), Vec::new(), Vec::new());
        let mut group: Option<(u64, Vec<Vec<u8>>)> = None;
        for index in self.entries.iter().copied() {
            if index >= size {
                return Err(ExportError::TooNew { index, size });
            }
            let wrong = |why: String| ExportError::Entry(index, why);
            if group.as_ref().is_none_or(|(number, _)| *number != index >> 8) {
                let leaves = log.group(index >> 8, size).map_err(|e| wrong(e.to_string()))?;
                group = Some((index >> 8, leaves));
            }
            let leaf = group.as_ref().and_then(|(_, leaves)| leaves.get((index & 255) as usize));
            let leaf = leaf.ok_or_else(|| wrong("it is not in its bundle".into()))?;
            if leaf.contains(&b'\n') {
                return Err(wrong("it is not canonical JSON".into()));
            }
            let hash = tree::leaf_hash(leaf);
            let path = tree::inclusion_proof(log, index, size)?;
            if !tree::proves_inclusion(&path, index, hash, size, checkpoint.root()) {
                return Err(wrong("it does not add up to the checkpoint".into()));
            }
            lines.push(EntryLine { index, id: leaves::entry_id(leaf).unwrap_or_default(), leaf: hash });
            all.extend_from_slice(leaf);
            all.push(b'\n');
            serde_json::to_writer(&mut proofs, &ProofLine { index, path })?;
            proofs.push(b'\n');
        }
        packed.push(pack(parts::ENTRIES, all));
        packed.push(pack(parts::PROOFS, proofs));
        Ok(lines)
    }

    fn pack_texts(&mut self, packed: &mut Vec<Packed>) -> Result<(), ExportError> {
        if self.texts.is_empty() {
            return Ok(());
        }
        self.texts.sort_by(|a, b| a.entry.cmp(&b.entry));
        let mut lines = Vec::new();
        for record in &self.texts {
            serde_json::to_writer(&mut lines, record)?;
            lines.push(b'\n');
        }
        packed.push(pack(parts::TEXTS, lines));
        Ok(())
    }

    fn pack_policies(&mut self, packed: &mut Vec<Packed>) -> Result<(), ExportError> {
        self.policies.sort_by(|a, b| a.digest.cmp(&b.digest));
        for policy in std::mem::take(&mut self.policies) {
            if policy_digest(&policy.files) != policy.digest {
                return Err(ExportError::Policy(printable::name(&policy.digest)));
            }
            for (path, content) in policy.files {
                packed.push(pack(&format!("policy/{}/{path}", policy.digest), content));
            }
        }
        Ok(())
    }

    fn pack_recordings(&mut self, packed: &mut Vec<Packed>) -> Result<Vec<RecordingLine>, ExportError> {
        self.recordings.sort_by(|a, b| a.recording.cmp(&b.recording));
        let mut lines = Vec::new();
        let mut keys: BTreeMap<String, KeyLine> = BTreeMap::new();
        for part in std::mem::take(&mut self.recordings) {
            let (line, content) = pack_recording(&part)?;
            lines.push(line);
            packed.push(content);
            match part.release {
                Release::Withheld => {}
                Release::Keys(released) => {
                    let expose = |key: &crate::recording::DataKey| hex::encode(key.expose());
                    let line = KeyLine {
                        output: released.output.as_ref().map(expose),
                        input: released.input.as_ref().map(expose),
                        ..KeyLine::default()
                    };
                    keys.insert(part.recording, line);
                }
                Release::WrappedTo(recipients, released) => {
                    let wrap = |key: &crate::recording::DataKey| recipients.wrap(key).map(|w| BASE64_STANDARD.encode(w));
                    let line = KeyLine {
                        output_wrapped: released.output.as_ref().map(wrap).transpose()?,
                        input_wrapped: released.input.as_ref().map(wrap).transpose()?,
                        ..KeyLine::default()
                    };
                    keys.insert(part.recording, line);
                }
            }
        }
        if !keys.is_empty() {
            packed.push(pack(parts::KEYS, serde_json::to_vec(&keys)?));
        }
        Ok(lines)
    }
}

/// Each key handing over to the next, with the proof that the checkpoint continues what the old one signed last.
fn pack_succession(log: &LogDirectory, checkpoint: &SignedCheckpoint, packed: &mut Vec<Packed>) -> Result<(), ExportError> {
    let mut lines = Vec::new();
    for line in log.succession_lines()?.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let mut handover: Handover = serde_json::from_slice(line)?;
        let last = SignedCheckpoint::claimed(handover.checkpoint.as_bytes())?;
        handover.consistency = Some(tree::consistency_proof(log, last.size(), checkpoint.size())?);
        serde_json::to_writer(&mut lines, &handover)?;
        lines.push(b'\n');
    }
    if !lines.is_empty() {
        packed.push(pack(parts::SUCCESSION, lines));
    }
    Ok(())
}

fn pack(name: &str, bytes: Vec<u8>) -> Packed {
    let line = PartLine { name: name.into(), bytes: bytes.len() as u64, sha256: Sha256::digest(&bytes).into() };
    Packed { line, content: Content::Bytes(bytes) }
}

/// A recording as it stands now: one that is still being written is taken up to its last whole chunk.
fn pack_recording(part: &RecordingPart) -> Result<(RecordingLine, Packed), ExportError> {
    let refused = |reason: String| ExportError::Recording { recording: part.recording.clone(), reason };
    let mut file = File::open(&part.path).map_err(|e| refused(e.to_string()))?;
    let bytes = file.metadata()?.len();
    let anchors: [Anchor; 0] = [];
    let inspection = inspect(BufReader::new(&file).take(bytes), &anchors).map_err(|e| refused(e.to_string()))?;
    let bytes = bytes - inspection.torn;
    if inspection.about.recording != part.recording {
        return Err(refused(format!("the file holds `{}`", printable::name(&inspection.about.recording))));
    }
    file.rewind()?;
    let mut digest = Sha256::new();
    io::copy(&mut (&file).take(bytes), &mut digest)?;
    file.rewind()?;
    let line = RecordingLine {
        recording: part.recording.clone(),
        chunks: inspection.chunks,
        digest: inspection.digest,
        closed: inspection.closing.is_some(),
    };
    let name = recording_part(&part.recording);
    let packed = Packed { line: PartLine { name, bytes, sha256: digest.finalize().into() }, content: Content::File(file) };
    Ok((line, packed))
}

/// A file that its owner alone may read, since what is written may hold keys; new, so that it is not one that others have open.
fn private_file(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn write_file(packed: Vec<Packed>, to: &Path) -> io::Result<Written> {
    let mut beside = to.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = (|| {
        let mut writer = tar::Writer::new(BufWriter::new(private_file(&beside)?));
        for Packed { line, content } in packed {
            match content {
                Content::Bytes(bytes) => writer.part(&line.name, line.bytes, &bytes[..])?,
                Content::File(file) => writer.part(&line.name, line.bytes, BufReader::new(file))?,
            }
        }
        let mut out = writer.finish()?;
        out.flush()?;
        out.get_ref().sync_all()?;
        let mut digest = Sha256::new();
        let bytes = io::copy(&mut File::open(&beside)?, &mut digest)?;
        std::fs::rename(&beside, to)?;
        Ok(Written { bytes, sha256: digest.finalize().into() })
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}
