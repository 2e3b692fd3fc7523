//! The one writer of a log directory.
//!
//! Full tiles are written as they fill; what stands at the right edge is kept in memory and written with the next
//! checkpoint. A crash loses what is beyond the last checkpoint, and nothing of it is trusted afterwards: opening takes
//! up at the checkpoint, throws away whatever lies beyond, and the sequencer hands the leaves from there on again.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock, fsync, syncfs};

use super::checkpoint::{CheckpointError, CheckpointKey, CheckpointVerifier, LONGEST_CHECKPOINT, SignedCheckpoint};
use super::leaves;
use super::succession::Succession;
use super::tiles::{LogDirectory, TileKind, read_at_most, tile_path, write_whole};
use super::tree::{self, Edge, FullTile, Hash, ProofError, TILE_WIDTH, TileSource};

/// Why the log could not be opened, grown or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system said no.
    #[error("cannot {act} `{}`", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another process has the log open.
    #[error("the log in `{}` is being written by another process; stop it, or give this one a directory of its own", .0.display())]
    Locked(PathBuf),
    /// What is on disk is not what the last checkpoint says.
    #[error("the log in `{}` is damaged: {what}; run `tidegate audit verify` and restore the directory", dir.display())]
    Damaged {
        /// The log.
        dir: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Leaves were handed out of order.
    #[error("entry {given} cannot be appended: the log has {size}; hand over the entries from {size} on")]
    Gap {
        /// The first entry that was handed over.
        given: u64,
        /// How many the log has.
        size: u64,
    },
    /// The store says something else about an entry than the log does.
    #[error(
        "entry {index}{} differs from what the log has there: one of the two was changed; \
         run `tidegate audit verify` and `tidegate audit replay`",
        named(id)
    )]
    LeafDiffers {
        /// Which entry.
        index: u64,
        /// Its id as the leaf handed over says it.
        id: Option<String>,
    },
    /// The store has lost entries that the log has.
    #[error("the store has {store} entries and the log {log}: the store was rolled back; restore a newer copy of it")]
    StoreBehind {
        /// How many the store has.
        store: u64,
        /// How many the log has.
        log: u64,
    },
    /// A leaf does not fit.
    #[error(transparent)]
    TooLong(#[from] leaves::LeafTooLong),
    /// An earlier append failed half-way.
    #[error("the log was left half-way by an earlier failure; take it up again where its checkpoint stands")]
    Interrupted,
    /// The keys that signed the log do not lead to the one that is to sign now.
    #[error(
        "the log in `{}` was signed by other keys than the gate has: {what}; restore `keys/` and `audit/` from the same moment",
        dir.display()
    )]
    OtherKeys {
        /// The log.
        dir: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// The entry does not name the key that is to sign from now on.
    #[error("entry {0} of the log does not name the new key, so nobody could follow from the old one to it")]
    NotNamed(u64),
    /// The checkpoint could not be signed or read.
    #[error("cannot use the checkpoint")]
    Checkpoint(#[from] CheckpointError),
    /// A proof could not be made.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

fn named(id: &Option<String>) -> String {
    id.as_ref().map(|id| format!(" ({id})")).unwrap_or_default()
}

fn io_error<'a>(act: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> LogError + 'a {
    move |source| LogError::Io { act, path: path.to_owned(), source }
}

/// When the log is forced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// With each checkpoint. The store is the truth for everything since, so nothing can be lost.
    AtCheckpoint,
    /// Never: for tests and throw-away logs.
    Never,
}

/// A log directory open for appending. Only one process can hold one.
#[derive(Debug)]
pub struct LogWriter {
    dir: LogDirectory,
    key: CheckpointKey,
    keys: Succession,
    sync: Fsync,
    edge: Edge,
    /// The leaves of the bundle at the edge, framed.
    bundle: Vec<u8>,
    /// The size of the newest checkpoint on disk, if there is one.
    checkpointed: Option<u64>,
    /// Held for its lock.
    folder: File,
    broken: bool,
}

impl LogWriter {
    /// Opens the log in `dir`, making it if need be, at the size of its newest checkpoint. [`Self::size`] then says from
    /// which entry on the sequencer must hand over leaves.
    ///
    /// # Errors
    /// When the directory cannot be used, another process writes it, or what is on disk is not what its checkpoint says.
    pub fn open(dir: impl Into<PathBuf>, key: CheckpointKey, sync: Fsync) -> Result<Self, LogError> {
        let first = key.verifier().clone();
        Self::open_since(dir, &first, key, sync)
    }

    /// As [`Self::open`], for a log whose key may have been replaced: `first` signed it at its beginning, `key` signs now, and
    /// `succession.jsonl` leads from the one to the other.
    ///
    /// # Errors
    /// As [`Self::open`], and when it does not.
    pub fn open_since(dir: impl Into<PathBuf>, first: &CheckpointVerifier, key: CheckpointKey, sync: Fsync) -> Result<Self, LogError> {
        let path: PathBuf = dir.into();
        fs::create_dir_all(&path).map_err(io_error("make", &path))?;
        let folder = File::open(&path).map_err(io_error("open", &path))?;
        flock(&folder, FlockOperation::NonBlockingLockExclusive).map_err(|_| LogError::Locked(path.clone()))?;

        let dir = LogDirectory::new(&path);
        let (keys, broken) = dir.succession(first);
        if let Some(broken) = broken.first() {
            return Err(LogError::OtherKeys { dir: path, what: broken.to_string() });
        }
        // A key that is named already and not yet in use is one whose hand-over was interrupted: `hand_over` brings it to its end.
        if !keys.keys().any(|known| known == key.verifier()) {
            return Err(LogError::OtherKeys { dir: path, what: "nothing in it leads to the key that is to sign now".into() });
        }
        let newest = dir.newest_checkpoint(&keys)?;
        let (edge, bundle) = match &newest {
            Some(checkpoint) => restore_edge(&dir, checkpoint)?,
            // Only a log that was never signed may begin anew; tiles without a checkpoint are one whose checkpoint was taken away.
            None if path.join("tile").exists() => {
                return Err(LogError::Damaged {
                    dir: path,
                    what: "there are tiles, but the checkpoint over them is gone; restore it from a copy".into(),
                });
            }
            None => (Edge::default(), Vec::new()),
        };
        discard_beyond(&dir, edge.size()).map_err(io_error("clean up", &path))?;
        let checkpointed = newest.map(|c| c.size());
        Ok(Self { dir, key, keys, sync, edge, bundle, checkpointed, folder, broken: false })
    }

    /// How many entries the log has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Whether its directory holds a signed checkpoint, were it one over no entry at all.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.checkpointed.is_some()
    }

    /// The root over all of them.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.edge.root()
    }

    /// The key that checkpoints are signed with.
    #[must_use]
    pub fn key(&self) -> &CheckpointKey {
        &self.key
    }

    /// The keys that signed the log, one after another.
    #[must_use]
    pub fn keys(&self) -> &Succession {
        &self.keys
    }

    /// Which entries the store must hand over, given how many it has.
    ///
    /// # Errors
    /// When the store has fewer than the log: it was rolled back.
    pub fn missing(&self, store: u64) -> Result<Range<u64>, LogError> {
        let log = self.size();
        if store < log {
            return Err(LogError::StoreBehind { store, log });
        }
        Ok(log..store)
    }

    /// Appends leaves at the end; they get the indexes returned.
    ///
    /// # Errors
    /// As [`Self::append_at`].
    pub fn append(&mut self, leaves: &[Vec<u8>]) -> Result<Range<u64>, LogError> {
        self.append_at(self.size(), leaves)
    }

    /// Says that the entries from `first` on are these. Those that the log already has are compared, the rest appended;
    /// the indexes that are new are returned.
    ///
    /// # Errors
    /// When there is a gap, an entry differs from what the log has, a leaf is too long, or the disk fails. After a
    /// failure of the disk the log has to [`Self::recover`].
    pub fn append_at(&mut self, first: u64, leaves: &[Vec<u8>]) -> Result<Range<u64>, LogError> {
        if self.broken {
            return Err(LogError::Interrupted);
        }
        let size = self.size();
        if first > size {
            return Err(LogError::Gap { given: first, size });
        }
        for (index, leaf) in (first..).zip(leaves) {
            if leaf.len() > leaves::LONGEST_LEAF {
                return Err(leaves::LeafTooLong { index, length: leaf.len() }.into());
            }
        }
        let known = usize::try_from(size - first).unwrap_or(usize::MAX).min(leaves.len());
        self.compare(first, &leaves[..known])?;
        self.broken = true;
        self.grow(&leaves[known..])?;
        self.broken = false;
        Ok(size..self.size())
    }

    fn compare(&self, first: u64, leaves: &[Vec<u8>]) -> Result<(), LogError> {
        let mut tile: Option<(u64, Vec<Hash>)> = None;
        for (index, leaf) in (first..).zip(leaves) {
            let number = index >> 8;
            if tile.as_ref().is_none_or(|(n, _)| *n != number) {
                let (edge, width) = tree::edge_tile(self.size(), 0);
                let width = if number == edge { width } else { TILE_WIDTH as u16 };
                tile = Some((number, self.tile(0, number, width).map_err(ProofError::Tile)?));
            }
            let known = tile.as_ref().and_then(|(_, hashes)| hashes.get((index & 255) as usize));
            if known != Some(&tree::leaf_hash(leaf)) {
                return Err(LogError::LeafDiffers { index, id: leaves::entry_id(leaf) });
            }
        }
        Ok(())
    }

    fn grow(&mut self, leaves: &[Vec<u8>]) -> Result<(), LogError> {
        let mut full = Vec::new();
        for leaf in leaves {
            leaves::push(&mut self.bundle, self.edge.size(), leaf)?;
            self.edge.push(tree::leaf_hash(leaf), &mut full);
            if !full.is_empty() {
                let number = (self.edge.size() >> 8) - 1;
                let bundle = std::mem::take(&mut self.bundle);
                self.write(TileKind::Entries, number, 0, &bundle)?;
                for FullTile { level, number, hashes } in full.drain(..) {
                    self.write(TileKind::Hashes(level), number, 0, hashes.as_flattened())?;
                }
            }
        }
        Ok(())
    }

    fn write(&self, kind: TileKind, number: u64, width: u16, bytes: &[u8]) -> Result<(), LogError> {
        let path = self.dir.path().join(tile_path(kind, number, width));
        write_whole(&path, bytes).map(drop).map_err(io_error("write", &path))
    }

    /// Writes the right edge, forces everything to the disk, then signs and writes the checkpoint of what the log has.
    ///
    /// # Errors
    /// When the disk or the signing fails; the previous checkpoint then stays.
    pub fn checkpoint(&mut self, now: Timestamp) -> Result<SignedCheckpoint, LogError> {
        if self.broken {
            return Err(LogError::Interrupted);
        }
        if self.keys.newest() != self.key.verifier() {
            let what = "its key was replaced, and the new one has not been put in use yet".into();
            return Err(LogError::OtherKeys { dir: self.dir.path().into(), what });
        }
        let size = self.size();
        if self.checkpointed != Some(size) {
            for (kind, number, width) in edge_tiles(size) {
                match kind {
                    TileKind::Entries => self.write(kind, number, width, &self.bundle)?,
                    TileKind::Hashes(level) => {
                        self.write(kind, number, width, self.edge.tile(level).as_flattened())?;
                    }
                }
            }
            self.force()?;
        }
        let signed = self.key.sign(size, self.root(), now)?;
        let path = self.dir.path().join("checkpoint");
        let file = write_whole(&path, signed.note()).map_err(io_error("write", &path))?;
        if self.sync == Fsync::AtCheckpoint {
            let synced = fsync(&file).and_then(|()| fsync(&self.folder));
            synced.map_err(|e| io_error("sync", &path)(e.into()))?;
        }
        let before = self.checkpointed.replace(size);
        self.drop_partial_tiles(before, size);
        Ok(signed)
    }

    fn force(&self) -> Result<(), LogError> {
        match self.sync {
            Fsync::AtCheckpoint => syncfs(&self.folder).map_err(|e| io_error("sync", self.dir.path())(e.into())),
            Fsync::Never => Ok(()),
        }
    }

    /// Removes the partial tiles of the checkpoint before; a newer or full one stands in for them.
    fn drop_partial_tiles(&self, before: Option<u64>, now: u64) {
        let current: Vec<_> = edge_tiles(now).collect();
        for (kind, number, width) in edge_tiles(before.unwrap_or(0)).filter(|old| !current.contains(old)) {
            let path = self.dir.path().join(tile_path(kind, number, width));
            // One that stays behind does no harm: nothing reads it, and opening the log removes it.
            let _ = fs::remove_file(&path);
            if let Some(folder) = path.parent() {
                let _ = fs::remove_dir(folder);
            }
        }
    }

    /// The root that the log had when it had `size` entries.
    ///
    /// # Errors
    /// When the log has never been that large, or a tile cannot be read.
    pub fn root_at(&self, size: u64) -> Result<Hash, LogError> {
        if size > self.size() {
            return Err(ProofError::Outside { what: format!("the tree of {size} entries"), size: self.size() }.into());
        }
        let levels = edge_levels(self, size).map_err(ProofError::Tile)?;
        Ok(Edge::from_tiles(size, levels).root())
    }

    /// The audit path of entry `index` in the tree of `size` entries.
    ///
    /// # Errors
    /// When the entry lies outside that tree, the tree outside the log, or a tile cannot be read.
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, LogError> {
        if size > self.size() {
            return Err(ProofError::Outside { what: format!("the tree of {size} entries"), size: self.size() }.into());
        }
        Ok(tree::inclusion_proof(self, index, size)?)
    }

    /// The proof that the tree of `old` entries is a prefix of the tree of `new` entries.
    ///
    /// # Errors
    /// When `new` is more than the log has, `old` more than `new`, or a tile cannot be read.
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, LogError> {
        if new > self.size() {
            return Err(ProofError::Outside { what: format!("the tree of {new} entries"), size: self.size() }.into());
        }
        Ok(tree::consistency_proof(self, old, new)?)
    }
}

/// Reads the edge from memory and the rest from disk.
impl TileSource for LogWriter {
    fn tile(&self, level: u8, number: u64, width: u16) -> Result<Vec<Hash>, String> {
        let (edge, _) = tree::edge_tile(self.size(), level);
        let here = self.edge.tile(level);
        match here.get(..usize::from(width)) {
            Some(hashes) if number == edge => Ok(hashes.to_vec()),
            // A tile before the edge is full on disk.
            _ => self.dir.tile(level, number, TILE_WIDTH as u16).map(|mut hashes| {
                hashes.truncate(usize::from(width));
                hashes
            }),
        }
    }
}

/// The tiles at the right edge of a tree that are not full.
fn edge_tiles(size: u64) -> impl Iterator<Item = (TileKind, u64, u16)> {
    let hashes = (0..8u8).map(move |level| {
        let (number, width) = tree::edge_tile(size, level);
        (TileKind::Hashes(level), number, width)
    });
    let (number, width) = tree::edge_tile(size, 0);
    hashes.chain([(TileKind::Entries, number, width)]).filter(|(_, _, width)| *width > 0)
}

fn edge_levels(source: &impl TileSource, size: u64) -> Result<Vec<Vec<Hash>>, String> {
    let mut levels = Vec::new();
    for level in 0..8u8 {
        if size >> (8 * u32::from(level)) == 0 {
            break;
        }
        let (number, width) = tree::edge_tile(size, level);
        levels.push(if width == 0 { Vec::new() } else { source.tile(level, number, width)? });
    }
    Ok(levels)
}

impl LogDirectory {
    /// The newest checkpoint in the directory; `None` if the log has none yet.
    ///
    /// # Errors
    /// When it cannot be read, or is not signed by one of these keys for this log.
    pub fn newest_checkpoint(&self, keys: &Succession) -> Result<Option<SignedCheckpoint>, LogError> {
        let path = self.path().join("checkpoint");
        let note = match read_at_most(&path, LONGEST_CHECKPOINT) {
            Ok(note) => note,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LogError::Io { act: "read", path, source }),
        };
        let checkpoint =
            keys.verify(&note).map_err(|e| LogError::Damaged { dir: self.path().into(), what: format!("about its checkpoint: {e}") })?;
        Ok(Some(checkpoint))
    }
}

/// The edge of the tree that a checkpoint signs, and the leaves of its last bundle.
fn restore_edge(dir: &LogDirectory, checkpoint: &SignedCheckpoint) -> Result<(Edge, Vec<u8>), LogError> {
    let damaged = |what: String| LogError::Damaged { dir: dir.path().into(), what };
    let size = checkpoint.size();
    let edge = Edge::from_tiles(size, edge_levels(dir, size).map_err(damaged)?);
    if edge.root() != checkpoint.root() {
        return Err(damaged(format!("its tiles do not add up to the root of its checkpoint of {size} entries")));
    }
    let (number, width) = tree::edge_tile(size, 0);
    if width == 0 {
        return Ok((edge, Vec::new()));
    }
    let path = tile_path(TileKind::Entries, number, width);
    let bytes = dir.read(TileKind::Entries, number, width).map_err(|e| damaged(format!("cannot read `{}`: {e}", path.display())))?;
    let mut bundle = Vec::new();
    let leaves = leaves::split(&bytes).0;
    for (i, hash) in edge.tile(0).iter().enumerate() {
        let index = (number << 8) + i as u64;
        let Some(leaf) = leaves.get(i).filter(|leaf| tree::leaf_hash(leaf) == *hash) else {
            return Err(damaged(format!("entry {index} in `{}` is not the one its tile has", path.display())));
        };
        leaves::push(&mut bundle, index, leaf)?;
    }
    Ok((edge, bundle))
}

/// Removes every tile that a tree of `size` entries does not have.
fn discard_beyond(dir: &LogDirectory, size: u64) -> io::Result<()> {
    let keep: Vec<PathBuf> = edge_tiles(size).map(|(k, n, w)| dir.path().join(tile_path(k, n, w))).collect();
    let kinds = (0..8u8).map(|level| (TileKind::Hashes(level), level)).chain([(TileKind::Entries, 0)]);
    for (kind, level) in kinds {
        let mut number = tree::edge_tile(size, level).0;
        loop {
            let full = dir.path().join(tile_path(kind, number, 0));
            let mut partial = full.clone().into_os_string();
            partial.push(".p");
            let mut found = remove_if_there(&full)?;
            if let Ok(entries) = fs::read_dir(&partial) {
                found = true;
                for entry in entries {
                    let path = entry?.path();
                    if !keep.contains(&path) {
                        fs::remove_file(path)?;
                    }
                }
                let _ = fs::remove_dir(&partial);
            }
            if !found {
                break;
            }
            number += 1;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

mod handover;

#[cfg(test)]
mod tests;
