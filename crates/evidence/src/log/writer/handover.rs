//! The log goes on after something stopped it: a disk that failed, or a key that is replaced.

use jiff::Timestamp;
use rustix::fs::fsync;

use super::{Fsync, LogError, LogWriter, discard_beyond, io_error, restore_edge};
use crate::log::checkpoint::{CheckpointKey, SignedCheckpoint};
use crate::log::succession::{self, Handover, Succession};
use crate::log::tiles::write_whole;
use crate::log::tree::{Edge, ProofError};

impl LogWriter {
    /// Takes the log up again where its newest checkpoint stands, if an earlier append failed half-way; [`Self::size`] then says
    /// from which entry on leaves must be handed over again. Does nothing otherwise.
    ///
    /// # Errors
    /// When the disk still fails, or what is on it is not what the checkpoint says.
    pub fn recover(&mut self) -> Result<(), LogError> {
        if !self.broken {
            return Ok(());
        }
        let newest = self.dir.newest_checkpoint(&self.keys)?;
        let (edge, bundle) = match &newest {
            Some(checkpoint) => restore_edge(&self.dir, checkpoint)?,
            None => (Edge::default(), Vec::new()),
        };
        discard_beyond(&self.dir, edge.size()).map_err(io_error("clean up", self.dir.path()))?;
        (self.edge, self.bundle, self.checkpointed) = (edge, bundle, newest.map(|c| c.size()));
        self.broken = false;
        Ok(())
    }

    /// Lets another key sign from here on: the present one signs once more, over the entry at `index` that names the new one,
    /// and both stand in `succession.jsonl` before the new key signs. What was interrupted is brought to its end.
    ///
    /// Hands back the old key's last checkpoint and the new key's first; both are over the same entries.
    ///
    /// # Errors
    /// When the entry does not name the key, or the disk fails; then the present key goes on signing, unless the line was written.
    pub fn hand_over(
        &mut self,
        to: CheckpointKey,
        index: u64,
        now: Timestamp,
    ) -> Result<(Option<SignedCheckpoint>, SignedCheckpoint), LogError> {
        if self.keys.newest() == to.verifier() {
            self.key = to;
            return Ok((None, self.checkpoint(now)?));
        }
        let last = self.checkpoint(now)?;
        let size = last.size();
        let leaf = self.leaf(index)?;
        if succession::named_by(&leaf).as_ref() != Some(to.verifier()) {
            return Err(LogError::NotNamed(index));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let handover = Handover {
            index,
            leaf: text(&leaf),
            path: self.inclusion_proof(index, size)?,
            checkpoint: text(last.note()),
            consistency: None,
        };
        let mut lines = self.dir.succession_lines().map_err(io_error("read", self.dir.path()))?;
        lines.extend(serde_json::to_vec(&handover).map_err(|e| io_error("describe the hand-over in", self.dir.path())(e.into()))?);
        lines.push(b'\n');
        let (keys, broken) = Succession::follow(self.keys.keys().next().unwrap_or(to.verifier()), &lines);
        if let Some(broken) = broken.first() {
            return Err(LogError::OtherKeys { dir: self.dir.path().into(), what: broken.to_string() });
        }
        let path = self.dir.path().join(succession::FILE);
        let file = write_whole(&path, &lines).map_err(io_error("write", &path))?;
        if self.sync == Fsync::AtCheckpoint {
            let synced = fsync(&file).and_then(|()| fsync(&self.folder));
            synced.map_err(|e| io_error("sync", &path)(e.into()))?;
        }
        // INVARIANT: from the moment the line stands, the old key signs nothing more.
        (self.key, self.keys) = (to, keys);
        Ok((Some(last), self.checkpoint(now)?))
    }

    /// The leaf at a place that a checkpoint covers.
    fn leaf(&self, index: u64) -> Result<Vec<u8>, LogError> {
        let size = self.size();
        let outside = || ProofError::Outside { what: format!("entry {index}"), size };
        if index >= size {
            return Err(outside().into());
        }
        let group = self.dir.group(index >> 8, size).map_err(io_error("read the entries of", self.dir.path()))?;
        group.get((index & 255) as usize).cloned().ok_or_else(|| outside().into())
    }
}
