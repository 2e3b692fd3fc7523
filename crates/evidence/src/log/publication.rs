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

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::checkpoint::{LONGEST_CHECKPOINT, SignedCheckpoint};
use super::succession::Succession;

const SEPARATOR: &str = "---\n";
/// What ends a note within a file.
const END: &[u8] = b"\n---\n";
/// How much is read at a time from the end of the file, which grows for years.
const BLOCK: u64 = 64 * 1024;

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
fn ends_whole(file: &mut File) -> io::Result<bool> {
    let length = file.seek(SeekFrom::End(0))?;
    if length == 0 {
        return Ok(true);
    }
    let tail = length.min(SEPARATOR.len() as u64 + 1);
    file.seek(SeekFrom::End(-i64::try_from(tail).unwrap_or(0)))?;
    let mut end = Vec::new();
    file.take(tail).read_to_end(&mut end)?;
    Ok(end.ends_with(END))
}

/// The newest checkpoint in the file that one of these keys signed; `None` if the file is not there or empty.
///
/// They only grow, so the last whole one is the newest; a crash may have cut the very last short. The file is read from its end, and
/// no more of it than that takes.
///
/// # Errors
/// When the file cannot be read, or holds notes and none that holds.
pub fn newest(path: &Path, keys: &Succession) -> io::Result<Option<SignedCheckpoint>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut start = file.seek(SeekFrom::End(0))?;
    let mut refused = None;
    // The end of a note that begins further up.
    let mut end_of_one = Vec::new();
    while start > 0 {
        let length = start.min(BLOCK);
        start -= length;
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::with_capacity(2 * BLOCK as usize);
        (&file).take(length).read_to_end(&mut bytes)?;
        bytes.append(&mut end_of_one);
        let first = if start == 0 { Some(0) } else { bytes.windows(END.len()).position(|b| b == END).map(|at| at + END.len()) };
        let whole = first.map_or_else(Vec::new, |first| split(&bytes[first..]));
        for note in whole.iter().rev() {
            match keys.verify(note) {
                Ok(checkpoint) => return Ok(Some(checkpoint)),
                Err(reason) => refused = refused.or(Some(reason)),
            }
        }
        bytes.truncate(first.unwrap_or(bytes.len()));
        if bytes.len() as u64 > LONGEST_CHECKPOINT {
            // No note is so long; of what is none just its beginning counts, where the end of the one before may stand.
            bytes.truncate(END.len());
        }
        end_of_one = bytes;
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

        let notes = split(&std::fs::read(&path).unwrap());
        let sizes: Vec<Option<u64>> = notes.iter().map(|n| SignedCheckpoint::verify(n, key.verifier()).ok().map(|c| c.size())).collect();
        assert_eq!(sizes, [Some(1), Some(2), None, Some(3)]);
        assert_eq!(split(sign(4).note()), [sign(4).note()]);
    }

    #[test]
    fn the_newest_is_found_from_the_end_however_long_the_file_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoints");
        let key = CheckpointKey::parse(&CheckpointKey::generate("gate.example.com/audit").unwrap()).unwrap();
        let other = CheckpointKey::parse(&CheckpointKey::generate("gate.example.com/audit").unwrap()).unwrap();
        let (keys, _) = Succession::follow(key.verifier(), b"");
        let newest = || newest(&path, &keys).map(|found| found.map(|checkpoint| checkpoint.size()));
        let publish = |key: &CheckpointKey, size| publish(&path, &key.sign(size, [7; 32], Timestamp::UNIX_EPOCH).unwrap()).unwrap();
        assert_eq!(newest().unwrap(), None);
        publish(&key, 1);
        assert_eq!(newest().unwrap(), Some(1));
        // Years of them: more than anybody reads into memory.
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len((1 << 30) + 10).unwrap();
        publish(&key, 2);
        assert_eq!(newest().unwrap(), Some(2));
        // One that was cut short, and many of somebody else's, over more than one block.
        std::fs::remove_file(&path).unwrap();
        for size in 3..9 {
            publish(&key, size);
        }
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"gate.example.com/audit\n99\n").unwrap();
        for size in 1..400 {
            publish(&other, size);
        }
        let length = std::fs::metadata(&path).unwrap().len();
        assert!(length > BLOCK, "{length}");
        assert_eq!(newest().unwrap(), Some(8));
        // Wherever the blocks' borders fall.
        for size in 0..220 {
            std::fs::write(&path, vec![b'x'; size]).unwrap();
            publish(&key, 5);
            publish(&key, 6);
            std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(&vec![b'y'; BLOCK as usize - 110]).unwrap();
            assert_eq!(newest().unwrap(), Some(6), "{size}");
        }
        std::fs::write(&path, "").unwrap();
        publish(&other, 1);
        assert!(newest().unwrap_err().to_string().contains("none of its checkpoints holds"));
    }
}
