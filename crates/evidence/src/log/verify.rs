//! Verifying a log from a copy of its directory and the public key alone.
//!
//! First the straight way: every leaf is hashed, every tile and the root recomputed. Only if that does not lead to the
//! signed root, the second way: the stored tiles are authenticated from the root downwards, and the leaves compared with
//! what the authentic tiles say should be there, so that the entry that was touched is named.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde::Serialize;

use super::alignment::{Alignment, Expected, Present};
use super::checkpoint::{CheckpointVerifier, LONGEST_CHECKPOINT, SignedCheckpoint};
use super::leaves;
use super::publication;
use super::succession::{FILE as SUCCESSION, Succession};
use super::texts::Side;
use super::tiles::{LogDirectory, TileKind, read_at_most, tile_path};
use super::tree::{self, Edge, Hash, TILE_WIDTH, TileSource, leaf_hash, subtree_hash};
use crate::finding::Finding;
use crate::printable;

/// Something from elsewhere that may hold checkpoints of this log.
#[derive(Debug, Clone)]
pub struct OtherCheckpoint {
    /// Where it came from, in words that an auditor knows it by.
    pub source: String,
    /// Its bytes (one signed note or a publication file), or why they could not be had.
    pub notes: Result<Vec<u8>, String>,
}

/// A checkpoint from elsewhere that the log was compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Consulted {
    /// Where it came from.
    pub source: String,
    /// How many entries it commits to.
    pub size: u64,
    /// When it was signed.
    pub at: Option<Timestamp>,
}

/// A checkpoint from elsewhere that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotConsulted {
    /// Where it should have come from.
    pub source: String,
    /// Why it could not be used.
    pub reason: String,
}

/// What verifying a log found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogReport {
    /// The log's name, from the key.
    pub origin: String,
    /// How many entries the checkpoint commits to.
    pub size: u64,
    /// When the checkpoint was signed.
    pub signed: Option<Timestamp>,
    /// The keys that signed one after another, the given one first.
    pub keys: Vec<String>,
    /// Side texts that match what was logged; `None` if this copy carries none.
    pub texts_matching: Option<u64>,
    /// Side texts that were logged and are no longer there; `None` if this copy carries none.
    pub texts_erased: Option<u64>,
    /// The checkpoints that the log was compared with.
    pub consulted: Vec<Consulted>,
    /// Those that could not be used, and why.
    pub not_consulted: Vec<NotConsulted>,
    /// Everything that is wrong; empty if the log is as it was signed.
    pub findings: Vec<Finding>,
}

impl LogReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Verifies the log in a directory: `checkpoint`, the tiles, and `texts.jsonl` if it is there.
#[must_use]
pub fn verify(dir: &LogDirectory, key: &CheckpointVerifier, others: &[OtherCheckpoint]) -> LogReport {
    let mut report = LogReport {
        origin: key.origin().into(),
        size: 0,
        signed: None,
        keys: Vec::new(),
        texts_matching: None,
        texts_erased: None,
        consulted: Vec::new(),
        not_consulted: Vec::new(),
        findings: Vec::new(),
    };
    let (keys, broken) = dir.succession(key);
    report.findings.extend(broken);
    report.keys = keys.keys().map(ToString::to_string).collect();
    let mut history = consult(others, &keys, &mut report);
    let Some(reference) = reference(dir, &keys, &history, &mut report) else { return report };
    report.size = reference.size();
    report.signed = reference.at();

    let mut texts = read_texts(dir, &mut report);
    let first = recompute(dir, &reference, &history, &mut texts);
    if first.root == reference.root() {
        report.findings.extend(first.findings);
        history.roots = first.roots;
    } else {
        name_what_is_wrong(dir, &reference, &mut history, &mut report);
    }
    history.judge(reference.size(), &mut report);
    if let Some(texts) = texts {
        report.texts_matching = Some(texts.matching);
        let (erased, findings) = texts.finish();
        report.texts_erased = Some(erased);
        report.findings.extend(findings);
    }
    report
}

/// The checkpoints from elsewhere that hold, smallest first, and the roots of this log at their sizes.
struct History {
    checkpoints: Vec<(String, SignedCheckpoint)>,
    sizes: HashSet<u64>,
    roots: HashMap<u64, Hash>,
}

fn consult(others: &[OtherCheckpoint], keys: &Succession, report: &mut LogReport) -> History {
    let mut checkpoints = Vec::new();
    for other in others {
        let source = printable::start_of(&other.source);
        let mut not = |reason: String| report.not_consulted.push(NotConsulted { source: source.clone(), reason });
        let bytes = match &other.notes {
            Ok(bytes) => bytes,
            Err(reason) => {
                not(format!("it could not be read: {reason}"));
                continue;
            }
        };
        let notes = publication::split(bytes);
        if notes.is_empty() {
            not("it holds no checkpoint".into());
        }
        for note in &notes {
            match keys.verify(note) {
                Ok(checkpoint) => checkpoints.push((source.clone(), checkpoint)),
                Err(reason) => not(reason.to_string()),
            }
        }
    }
    checkpoints.sort_by_key(|(_, checkpoint)| checkpoint.size());
    report.consulted = checkpoints.iter().map(|(source, c)| Consulted { source: source.clone(), size: c.size(), at: c.at() }).collect();
    // What the keys before said last is part of the copy itself: the log has to contain that too.
    checkpoints.extend(keys.last_checkpoints().map(|checkpoint| (format!("`{SUCCESSION}`"), checkpoint.clone())));
    let sizes = checkpoints.iter().map(|(_, checkpoint)| checkpoint.size()).collect();
    History { checkpoints, sizes, roots: HashMap::new() }
}

impl History {
    fn wants(&self, size: u64) -> bool {
        self.sizes.contains(&size)
    }

    fn judge(&self, here: u64, report: &mut LogReport) {
        for (source, checkpoint) in &self.checkpoints {
            let (source, size) = (source.clone(), checkpoint.size());
            if size > here {
                report.findings.push(Finding::Truncated { source, committed: size, here });
            } else if self.roots.get(&size) != Some(&checkpoint.root()) {
                report.findings.push(Finding::Forked { source, size });
            }
        }
    }
}

/// The checkpoint to verify against: the log's own, or if that cannot be used the newest from elsewhere.
fn reference(dir: &LogDirectory, keys: &Succession, history: &History, report: &mut LogReport) -> Option<SignedCheckpoint> {
    let reason = match read_at_most(&dir.path().join("checkpoint"), LONGEST_CHECKPOINT) {
        Ok(note) => match keys.verify(&note) {
            Ok(checkpoint) => return Some(checkpoint),
            Err(reason) => reason.to_string(),
        },
        Err(e) => format!("it cannot be read: {e}"),
    };
    report.findings.push(Finding::CheckpointUnusable { reason });
    history.checkpoints.iter().max_by_key(|(_, checkpoint)| checkpoint.size()).map(|(_, checkpoint)| checkpoint.clone())
}

/// The leaves of one group of up to 256, as the copy has them.
struct Group {
    leaves: Vec<Vec<u8>>,
    /// Why the file is not just the leaves it should be.
    wrong: Option<String>,
}

fn read_group(dir: &LogDirectory, number: u64, width: u16) -> Group {
    let path = tile_path(TileKind::Entries, number, width);
    match dir.read(TileKind::Entries, number, width) {
        Ok(bytes) => {
            let (mut leaves, rest) = leaves::split(&bytes);
            let exact = dir.path().join(&path).exists();
            let wrong = if rest > 0 {
                Some(format!("`{}` ends with {rest} bytes that are no whole entry", path.display()))
            } else if exact && leaves.len() != usize::from(width) {
                Some(format!("`{}` holds {} entries instead of {width}", path.display(), leaves.len()))
            } else {
                None
            };
            if !exact {
                leaves.truncate(usize::from(width));
            }
            Group { leaves: leaves.into_iter().map(<[u8]>::to_vec).collect(), wrong }
        }
        Err(e) => Group { leaves: Vec::new(), wrong: Some(format!("`{}`: {e}", path.display())) },
    }
}

/// Numbers and widths of the groups of a log.
fn groups(size: u64) -> impl Iterator<Item = (u64, u16)> {
    let (edge, width) = tree::edge_tile(size, 0);
    (0..edge).map(|n| (n, TILE_WIDTH as u16)).chain((width > 0).then_some((edge, width)))
}

/// What the leaves add up to.
struct Recomputed {
    root: Hash,
    roots: HashMap<u64, Hash>,
    findings: Vec<Finding>,
}

fn recompute(dir: &LogDirectory, reference: &SignedCheckpoint, history: &History, texts: &mut Option<Side>) -> Recomputed {
    let mut edge = Edge::default();
    let mut roots = HashMap::new();
    let mut findings = Vec::new();
    let mut full = Vec::new();
    let mut note = |edge: &Edge| {
        if history.wants(edge.size()) {
            roots.insert(edge.size(), edge.root());
        }
    };
    note(&edge);
    for (number, width) in groups(reference.size()) {
        let group = read_group(dir, number, width);
        for leaf in &group.leaves {
            if let Some(texts) = texts {
                texts.compare(&leaves::entry_id(leaf).unwrap_or_default(), leaf);
            }
            edge.push(leaf_hash(leaf), &mut full);
            note(&edge);
        }
        if let Some(reason) = group.wrong {
            let first = number << 8;
            let last = first + u64::from(width) - 1;
            findings.push(Finding::EntriesUnreadable { first, last, id: None, reason });
        }
        for tile in full.drain(..) {
            compare_tile(dir, tile.level, tile.number, &tile.hashes, &mut findings);
        }
    }
    for level in 0..edge.height() {
        if !edge.tile(level).is_empty() {
            compare_tile(dir, level, tree::edge_tile(edge.size(), level).0, edge.tile(level), &mut findings);
        }
    }
    let root = if edge.size() == reference.size() { edge.root() } else { [0; 32] };
    Recomputed { root, roots, findings }
}

/// Compares a stored tile with what its entries add up to.
fn compare_tile(dir: &LogDirectory, level: u8, number: u64, right: &[Hash], findings: &mut Vec<Finding>) {
    let width = right.len() as u16;
    let file = tile_path(TileKind::Hashes(level), number, width).display().to_string();
    match dir.hashes(level, number, width) {
        Ok(stored) => {
            for (position, _) in stored.iter().zip(right).enumerate().filter(|(_, (stored, right))| stored != right) {
                let position = Some(position as u64);
                let reason = "it is not what the entries below it add up to".into();
                findings.push(Finding::TileAltered { file: file.clone(), position, reason });
            }
        }
        Err(e) => findings.push(Finding::TileAltered { file, position: None, reason: e.to_string() }),
    }
}

/// The stored tiles above level 0, and whether each was authenticated from the root downwards.
struct StoredTiles<'a> {
    dir: &'a LogDirectory,
    size: u64,
    /// Whether the tiles at the right edge add up to the signed root.
    edge_authentic: bool,
    cache: HashMap<(u8, u64), Option<Vec<Hash>>>,
}

impl<'a> StoredTiles<'a> {
    fn new(dir: &'a LogDirectory, reference: &SignedCheckpoint) -> Self {
        let size = reference.size();
        let levels: Result<Vec<_>, String> = (0..8u8)
            .take_while(|level| size >> (8 * u32::from(*level)) > 0)
            .map(|level| match tree::edge_tile(size, level) {
                (_, 0) => Ok(Vec::new()),
                (number, width) => dir.tile(level, number, width),
            })
            .collect();
        let edge_authentic = levels.is_ok_and(|levels| Edge::from_tiles(size, levels).root() == reference.root());
        Self { dir, size, edge_authentic, cache: HashMap::new() }
    }

    /// The hashes of a tile if it is authentic.
    fn authentic(&mut self, level: u8, number: u64) -> Option<Vec<Hash>> {
        let (edge, width) = tree::edge_tile(self.size, level);
        if number == edge && width > 0 {
            return if self.edge_authentic { self.dir.tile(level, number, width).ok() } else { None };
        }
        if level > 0
            && let Some(known) = self.cache.get(&(level, number))
        {
            return known.clone();
        }
        let wanted = self.parent(level, number);
        let hashes = self.dir.tile(level, number, TILE_WIDTH as u16).ok();
        let authentic = hashes.filter(|hashes| wanted.is_some_and(|wanted| subtree_hash(hashes) == wanted));
        if level > 0 {
            self.cache.insert((level, number), authentic.clone());
        }
        authentic
    }

    /// What a full tile must add up to, if that is known for certain.
    fn parent(&mut self, level: u8, number: u64) -> Option<Hash> {
        let above = self.authentic(level + 1, number >> 8)?;
        above.get((number & 255) as usize).copied()
    }
}

fn name_what_is_wrong(dir: &LogDirectory, reference: &SignedCheckpoint, history: &mut History, report: &mut LogReport) {
    let mut tiles = StoredTiles::new(dir, reference);
    let mut alignment = Alignment::default();
    let mut edge = Edge::default();
    let mut full = Vec::new();
    let mut found = Vec::new();
    for (number, width) in groups(reference.size()) {
        let group = read_group(dir, number, width);
        let hashes: Vec<Hash> = group.leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
        let expected = expected_hashes(&mut tiles, number, width, &hashes, &mut found);

        let first = number << 8;
        for (i, hash) in expected.iter().enumerate() {
            alignment.expect(Expected { index: first + i as u64, hash: *hash, id: None });
            if history.wants(edge.size()) {
                history.roots.insert(edge.size(), edge.root());
            }
            if let Some(hash) = hash {
                edge.push(*hash, &mut full);
                full.clear();
            }
        }
        meet_group(&mut alignment, &group, &hashes, &expected, first, &mut found);
    }
    if history.wants(edge.size()) {
        history.roots.insert(edge.size(), edge.root());
    }
    found.extend(alignment.finish());
    if !tiles.edge_authentic || found.is_empty() {
        found.insert(0, Finding::RootDiffers { size: reference.size() });
    }
    report.findings.extend(found);
}

/// What should stand in one group: what its authentic tile says; else what its leaves say, if they add up to the
/// authentic tile above; else what its tile says, for want of better.
fn expected_hashes(tiles: &mut StoredTiles<'_>, number: u64, width: u16, leaves: &[Hash], found: &mut Vec<Finding>) -> Vec<Option<Hash>> {
    if let Some(authentic) = tiles.authentic(0, number) {
        return authentic.into_iter().map(Some).collect();
    }
    let stored = tiles.dir.hashes(0, number, width);
    let file = tile_path(TileKind::Hashes(0), number, width).display().to_string();
    let full = usize::from(width) == TILE_WIDTH;
    let wanted = if full { tiles.parent(0, number) } else { None };
    if wanted.is_some() && leaves.len() == TILE_WIDTH && wanted == Some(subtree_hash(leaves)) {
        compare_tile(tiles.dir, 0, number, leaves, found);
        return leaves.iter().copied().map(Some).collect();
    }
    match stored {
        Ok(stored) => {
            if wanted.is_some() {
                let reason = "it does not add up to the tile above it, and neither do the entries below it".into();
                found.push(Finding::TileAltered { file, position: None, reason });
            }
            stored.into_iter().map(Some).collect()
        }
        Err(e) => {
            found.push(Finding::TileAltered { file, position: None, reason: e.to_string() });
            vec![None; usize::from(width)]
        }
    }
}

/// Puts the leaves of a group beside what should be there. Where the file's framing is broken, the leaves after the
/// first wrong one are not what they seem and are not compared.
fn meet_group(alignment: &mut Alignment, group: &Group, hashes: &[Hash], expected: &[Option<Hash>], first: u64, found: &mut Vec<Finding>) {
    let broken = group.wrong.is_some() && (group.leaves.is_empty() || framing_is_broken(hashes, expected));
    let whole = if broken {
        let agree = hashes.iter().zip(expected).take_while(|(hash, expected)| Some(**hash) == **expected).count();
        agree.min(expected.len())
    } else {
        hashes.len()
    };
    for (leaf, hash) in group.leaves.iter().zip(hashes).take(whole) {
        alignment.meet(Present { hash: Some(*hash), id: leaves::entry_id(leaf) });
    }
    if let (true, Some(reason)) = (broken, &group.wrong) {
        for _ in whole..expected.len() {
            alignment.meet(Present { hash: None, id: None });
        }
        if whole < expected.len() {
            found.push(Finding::EntriesUnreadable {
                first: first + whole as u64,
                last: first + expected.len() as u64 - 1,
                id: group.leaves.get(whole).and_then(|leaf| leaves::entry_id(leaf)),
                reason: reason.clone(),
            });
        }
    }
}

/// Whether the leaves after the first wrong one are found nowhere in what should be there: then the lengths before
/// them are wrong, and not only one leaf gone or put in.
fn framing_is_broken(hashes: &[Hash], expected: &[Option<Hash>]) -> bool {
    let agree = hashes.iter().zip(expected).take_while(|(hash, expected)| Some(**hash) == **expected).count();
    let after = hashes.get(agree..).unwrap_or_default();
    agree < expected.len().saturating_sub(1) && !after.iter().any(|hash| expected.contains(&Some(*hash)))
}

const LONGEST_TEXTS: u64 = 1 << 32;

/// The side records; `None` if they are no part of the copy.
fn read_texts(dir: &LogDirectory, report: &mut LogReport) -> Option<Side> {
    match read_at_most(&dir.path().join("texts.jsonl"), LONGEST_TEXTS) {
        Ok(file) => Some(Side::read(&file)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => {
            report.findings.push(Finding::MemberAltered { member: "texts.jsonl".into(), reason: e.to_string() });
            None
        }
    }
}

#[cfg(test)]
mod tests;
