//! Showing a session out of a bundle: its recording, with the keys that were exported, given openly or wrapped.
//!
//! Nothing is verified here but what reading needs: each chunk opens and stands in its place, and the recording ends
//! where the manifest says. Whether the file is the gate's, [`super::verify()`] tells.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Seek, Take};

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::export::KeyLine;
use super::file::Bundle;
use super::manifest::{Manifest, RecordingLine, parts, recording_part};
use crate::hexadecimal;
use crate::printable;
use crate::recording::header;
use crate::recording::{Anchor, DataKey, KeyIdentity, ReadError, RecordingReader, ReleasedKeys};

/// Why a session cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file is something else.
    #[error("this is no export of evidence: {0}")]
    NotOne(String),
    /// Another session was exported.
    #[error("no recording of session `{0}` is in this export; {1}")]
    NotHere(String, String),
    /// The recording came without keys.
    #[error("the recording is here and its keys are not: they had been destroyed, or nobody gave them along")]
    NoKeys,
    /// The keys are wrapped, and nobody says to whom.
    #[error("the recording's keys are wrapped to a recipient; give the identity that belongs to it: `--identity FILE`")]
    Wrapped,
    /// The keys are wrapped to somebody else.
    #[error("the recording's keys are not wrapped to this identity; use the one whose recipient was named in `--recipient` of the export")]
    WrongIdentity,
    /// What was typed is not to be had.
    #[error("what was typed was not given along; export it with `--input`, or leave that out here")]
    NoInput,
    /// A key is not written as keys are.
    #[error("the keys in the export cannot be used: {0}; run `tidegate evidence verify`")]
    Keys(String),
    /// The recording cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file cannot be read.
    #[error("the export cannot be read")]
    Io(#[from] io::Error),
}

/// A recording inside a bundle.
pub type Exported<F> = RecordingReader<BufReader<Take<F>>>;

/// The recording of one session, with what was typed if that is wanted. Keys that were wrapped are opened with the
/// first of `identities` that fits.
///
/// # Errors
/// When the file is no bundle, the session or its keys are not in it, or no identity opens them.
pub fn replay<F: Read + Seek>(file: F, session: &str, identities: &[KeyIdentity], input: bool) -> Result<Exported<F>, ReplayError> {
    let mut bundle = Bundle::read(file)?;
    let manifest = bundle.named(parts::MANIFEST)?.ok_or_else(|| ReplayError::NotOne("it has no manifest".into()))?;
    let manifest: Manifest =
        serde_json::from_slice(&manifest).map_err(|error| ReplayError::NotOne(printable::start_of(&error.to_string())))?;
    let line = recording_of(&mut bundle, &manifest, session)?;
    let keys = match bundle.named(parts::KEYS)? {
        None => BTreeMap::new(),
        Some(content) => serde_json::from_slice::<BTreeMap<String, KeyLine>>(&content)
            .map_err(|error| ReplayError::Keys(printable::start_of(&error.to_string())))?,
    };
    let keys = keys.get(&line.recording).ok_or(ReplayError::NoKeys)?;
    let released = released(keys, identities, input)?;
    let content = bundle.into_stream(&recording_part(&line.recording))?.ok_or(ReplayError::NoKeys)?;
    let end = Anchor { chunks: line.chunks, digest: line.digest };
    Ok(RecordingReader::with_keys(content, released)?.ending_at(Some(end)))
}

/// Which of the recordings is the session's: each says in its header whose it is.
fn recording_of<F: Read + Seek>(bundle: &mut Bundle<F>, manifest: &Manifest, session: &str) -> Result<RecordingLine, ReplayError> {
    let mut others = Vec::new();
    for line in &manifest.recordings {
        let part = recording_part(&line.recording);
        let Some(mut content) = bundle.stream(&part)? else { continue };
        // Of one that is damaged nobody knows whose it is; another may be the one.
        let Ok(opening) = header::read(&mut content) else { continue };
        if opening.about().session == session {
            return Ok(line.clone());
        }
        others.push(printable::name(&opening.about().session));
    }
    let others = match others.len() {
        0 => "it has no recording that can be read".to_owned(),
        1..=5 => format!("it has those of {}", others.join(", ")),
        n => format!("it has those of {n} others; `tar -xOf FILE entries.jsonl` tells of each"),
    };
    Err(ReplayError::NotHere(printable::name(session), others))
}

/// The keys as they were given along: openly, or wrapped.
fn released(keys: &KeyLine, identities: &[KeyIdentity], input: bool) -> Result<ReleasedKeys, ReplayError> {
    let output = key(keys.output.as_deref(), keys.output_wrapped.as_deref(), identities)?.ok_or(ReplayError::NoKeys)?;
    let typed = match input.then(|| key(keys.input.as_deref(), keys.input_wrapped.as_deref(), identities)).transpose()? {
        Some(None) => return Err(ReplayError::NoInput),
        wanted => wanted.flatten(),
    };
    Ok(ReleasedKeys { output: Some(output), input: typed })
}

fn key(open: Option<&str>, wrapped: Option<&str>, identities: &[KeyIdentity]) -> Result<Option<DataKey>, ReplayError> {
    if let Some(text) = open {
        let bytes = hexadecimal::decode(text).ok_or_else(|| ReplayError::Keys("one is not 32 bytes in lower-case hexadecimal".into()))?;
        return Ok(Some(DataKey::from_bytes(bytes)));
    }
    let Some(text) = wrapped else { return Ok(None) };
    let bytes = BASE64_STANDARD.decode(text).map_err(|_| ReplayError::Keys("one is not base64".into()))?;
    if identities.is_empty() {
        return Err(ReplayError::Wrapped);
    }
    identities.iter().find_map(|identity| identity.unwrap_key(&bytes).ok()).map(Some).ok_or(ReplayError::WrongIdentity)
}
