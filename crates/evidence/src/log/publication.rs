//! Checkpoints kept outside the data directory, so that truncating, rolling back or forking the log is found.
//!
//! The file holds signed notes one after another, each ended by a line of three dashes:
//!
//! ```text
//! gate.example.com/audit
//! 12
//! 5Vq…=
//! time 2026-03-01T12:00:00Z
//!
//! — gate.example.com/audit x08go…
//! ---
//! ```
//!
//! No line of a note is `---`: a note is one origin, a number, base64 and a time, then signature lines that start with
//! an em dash. A note is written with one `write` to a file opened for appending and synced, so a crash leaves at most
//! one note cut short at the end; the next one starts after a separator of its own.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use super::checkpoint::SignedCheckpoint;
use super::succession::Succession;
use super::tiles::read_at_most;

const SEPARATOR: &str = "---\n";
const LONGEST_FILE: u64 = 1 << 30;

/// Appends a checkpoint to the file at `path`, which is made if need be.
///
/// # Errors
/// When the file cannot be written or synced.
pub fn publish(path: &Path, checkpoint: &SignedCheckpoint) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
    let mut bytes = Vec::with_capacity(checkpoint.note().len() + 8);
    if !ends_whole(&mut file)? {
        bytes.extend_from_slice(b"\n");
        bytes.extend_from_slice(SEPARATOR.as_bytes());
    }
    bytes.extend_from_slice(checkpoint.note());
    bytes.extend_from_slice(SEPARATOR.as_bytes());
    file.write_all(&bytes)?;
    file.sync_data()
}

/// Whether the file is empty or ends with a separator.
fn ends_whole(file: &mut std::fs::File) -> io::Result<bool> {
    use std::io::{Read, Seek, SeekFrom};
    let length = file.seek(SeekFrom::End(0))?;
    if length == 0 {
        return Ok(true);
    }
    let tail = length.min(SEPARATOR.len() as u64 + 1);
    file.seek(SeekFrom::End(-i64::try_from(tail).unwrap_or(0)))?;
    let mut end = Vec::new();
    file.take(tail).read_to_end(&mut end)?;
    Ok(end.ends_with(b"\n---\n"))
}

/// Every note in the file, oldest first, whole or not: verifying tells them apart.
///
/// # Errors
/// When the file cannot be read.
pub fn published(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    Ok(split(&read_at_most(path, LONGEST_FILE)?))
}

/// The newest checkpoint in the file that one of these keys signed; `None` if the file is not there or empty.
///
/// # Errors
/// When the file cannot be read, or holds notes and none that holds.
pub fn newest(path: &Path, keys: &Succession) -> io::Result<Option<SignedCheckpoint>> {
    let notes = match published(path) {
        Ok(notes) => notes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // They only grow, so the last whole one is the newest; a crash may have cut the very last short.
    let mut refused = None;
    for note in notes.iter().rev() {
        match keys.verify(note) {
            Ok(checkpoint) => return Ok(Some(checkpoint)),
            Err(reason) => refused = refused.or(Some(reason)),
        }
    }
    match refused {
        None => Ok(None),
        Some(reason) => Err(io::Error::other(format!("none of its checkpoints holds: {reason}"))),
    }
}

/// The notes in the bytes of such a file, or the one note that the bytes are.
#[must_use]
pub fn split(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut notes = Vec::new();
    let mut note = Vec::new();
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        if line == SEPARATOR.as_bytes() {
            notes.push(std::mem::take(&mut note));
        } else {
            note.extend_from_slice(line);
        }
    }
    notes.push(note);
    notes.retain(|note| note.iter().any(|b| *b != b'\n'));
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::checkpoint::CheckpointKey;
    use jiff::Timestamp;

    #[test]
    fn every_checkpoint_is_kept_and_a_torn_one_spoils_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoints");
        let key = CheckpointKey::parse(&CheckpointKey::generate("gate.example.com/audit").unwrap()).unwrap();
        let sign = |size| key.sign(size, [size as u8; 32], Timestamp::UNIX_EPOCH).unwrap();
        publish(&path, &sign(1)).unwrap();
        publish(&path, &sign(2)).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let torn = bytes.clone();
        bytes.extend_from_slice(&torn[..40]);
        std::fs::write(&path, bytes).unwrap();
        publish(&path, &sign(3)).unwrap();

        let notes = published(&path).unwrap();
        let sizes: Vec<Option<u64>> = notes.iter().map(|n| SignedCheckpoint::verify(n, key.verifier()).ok().map(|c| c.size())).collect();
        assert_eq!(sizes, [Some(1), Some(2), None, Some(3)]);
        assert_eq!(split(sign(4).note()), [sign(4).note()]);
    }
}
