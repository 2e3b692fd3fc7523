//! The Merkle tree itself (RFC 6962 §2.1): hashes of leaves and nodes, the right edge of a growing tree, and proofs.

use tlog_tiles::{HashReader, RecordProof};

/// A SHA-256 digest: of a leaf, of a node, or of the whole tree.
pub type Hash = [u8; 32];

/// How many hashes a full tile holds.
pub const TILE_WIDTH: usize = 256;

/// The largest tree we read: 2^40 entries. Sizes beyond are refused before any arithmetic on them.
pub const LARGEST_TREE: u64 = 1 << 40;

/// The root of the tree with no leaves: SHA-256 of nothing.
pub const EMPTY_ROOT: Hash = tlog_tiles::EMPTY_HASH.0;

/// `SHA-256(0x00 ‖ leaf)`.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    tlog_tiles::record_hash(leaf).0
}

/// `SHA-256(0x01 ‖ left ‖ right)`.
#[must_use]
pub fn node_hash(left: Hash, right: Hash) -> Hash {
    tlog_tiles::node_hash(tlog_tiles::Hash(left), tlog_tiles::Hash(right)).0
}

/// The root over hashes whose number is a power of two.
#[must_use]
pub fn subtree_hash(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => EMPTY_ROOT,
        [only] => *only,
        many => {
            let (left, right) = many.split_at(many.len() / 2);
            node_hash(subtree_hash(left), subtree_hash(right))
        }
    }
}

/// A tile that has just become full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullTile {
    /// Level in tiles: 0 holds leaf hashes, 1 the roots of full level-0 tiles, and so on.
    pub level: u8,
    /// Number within the level.
    pub number: u64,
    /// Its 256 hashes.
    pub hashes: Vec<Hash>,
}

/// The right edge of a growing tree: for each tile level the hashes of the tile that is not full yet. It is all that
/// is needed to append and to know the root; at most 256 hashes for each factor of 256 in size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

impl Edge {
    /// The edge of a tree of `size` leaves, from the partial tile of each level, lowest first.
    #[must_use]
    pub fn from_tiles(size: u64, levels: Vec<Vec<Hash>>) -> Self {
        Self { size, levels }
    }

    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of the tile at the edge of `level`.
    #[must_use]
    pub fn tile(&self, level: u8) -> &[Hash] {
        self.levels.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    /// How many tile levels the tree has.
    #[must_use]
    pub fn height(&self) -> u8 {
        u8::try_from(self.levels.len()).unwrap_or(u8::MAX)
    }

    /// Appends one leaf; tiles that this fills are pushed to `full`, lowest level first.
    pub fn push(&mut self, leaf: Hash, full: &mut Vec<FullTile>) {
        self.size += 1;
        let mut carried = leaf;
        let mut level = 0u8;
        loop {
            if self.levels.len() == usize::from(level) {
                self.levels.push(Vec::new());
            }
            let tile = &mut self.levels[usize::from(level)];
            tile.push(carried);
            if tile.len() < TILE_WIDTH {
                return;
            }
            let hashes = std::mem::take(tile);
            carried = subtree_hash(&hashes);
            let number = (self.size >> (8 * u32::from(level) + 8)) - 1;
            full.push(FullTile { level, number, hashes });
            level += 1;
        }
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut root = None;
        for tile in &self.levels {
            let mut end = tile.len();
            while end > 0 {
                let width = end & end.wrapping_neg();
                let subtree = subtree_hash(&tile[end - width..end]);
                root = Some(root.map_or(subtree, |right| node_hash(subtree, right)));
                end -= width;
            }
        }
        root.unwrap_or(EMPTY_ROOT)
    }
}

/// Number and width of the tile at the edge of `level` in a tree of `size` leaves; width 0 if there is none.
#[must_use]
pub fn edge_tile(size: u64, level: u8) -> (u64, u16) {
    let hashes = size >> (8 * u32::from(level));
    (hashes >> 8, (hashes & 255) as u16)
}

/// Why a proof could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The entry or the smaller tree is not within the tree.
    #[error("no proof that {what} is part of a tree of {size} entries: it lies outside; ask for a larger tree")]
    Outside {
        /// What was to be proved.
        what: String,
        /// The tree it was to be proved in.
        size: u64,
    },
    /// A tile that the proof needs could not be read.
    #[error("cannot prove it: {0}; run `tidegate audit verify` on the log directory")]
    Tile(String),
}

/// Where proofs get their hashes from.
pub trait TileSource {
    /// The first `width` hashes of a tile.
    ///
    /// # Errors
    /// A sentence that says which tile could not be read and why.
    fn tile(&self, level: u8, number: u64, width: u16) -> Result<Vec<Hash>, String>;
}

struct Hashes<'a, S: TileSource>(&'a S);

impl<S: TileSource> HashReader for Hashes<'_, S> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        indexes
            .iter()
            .map(|index| {
                let (level, number) = tlog_tiles::split_stored_hash_index(*index);
                node_at(self.0, level, number).map(tlog_tiles::Hash).map_err(tlog_tiles::Error::InvalidInput)
            })
            .collect()
    }
}

/// The node at a binary level, from the tile that holds its leaves.
fn node_at(source: &impl TileSource, level: u8, number: u64) -> Result<Hash, String> {
    let tile_level = level / 8;
    let within = u32::from(level % 8);
    let first = number << within;
    let width = 1u64 << within;
    let start = (first & 255) as usize;
    let hashes = source.tile(tile_level, first >> 8, (start as u64 + width) as u16)?;
    hashes.get(start..start + width as usize).map(subtree_hash).ok_or_else(|| format!("tile {tile_level}/{} is too short", first >> 8))
}

/// The audit path of entry `index` in the tree of `size` entries (RFC 6962 §2.1.1), lowest sibling first.
///
/// # Errors
/// When the entry lies outside that tree, or a tile cannot be read.
pub fn inclusion_proof(source: &impl TileSource, index: u64, size: u64) -> Result<Vec<Hash>, ProofError> {
    if index >= size || size > LARGEST_TREE {
        return Err(ProofError::Outside { what: format!("entry {index}"), size });
    }
    let proof = tlog_tiles::prove_record(size, index, &Hashes(source)).map_err(|e| ProofError::Tile(e.to_string()))?;
    Ok(proof.into_iter().map(|h| h.0).collect())
}

/// The proof that the tree of `old` entries is a prefix of the tree of `new` entries (RFC 6962 §2.1.2).
///
/// # Errors
/// When `old` is not within `new`, or a tile cannot be read.
pub fn consistency_proof(source: &impl TileSource, old: u64, new: u64) -> Result<Vec<Hash>, ProofError> {
    if old > new || new > LARGEST_TREE {
        return Err(ProofError::Outside { what: format!("the tree of {old} entries"), size: new });
    }
    if old == 0 {
        return Ok(Vec::new());
    }
    let proof = tlog_tiles::prove_tree(new, old, &Hashes(source)).map_err(|e| ProofError::Tile(e.to_string()))?;
    Ok(proof.into_iter().map(|h| h.0).collect())
}

/// Whether `proof` shows that the leaf with hash `leaf` is entry `index` of the tree of `size` entries with `root`.
#[must_use]
pub fn proves_inclusion(proof: &[Hash], index: u64, leaf: Hash, size: u64, root: Hash) -> bool {
    // A path longer than the tree is high is refused before it is walked.
    if index >= size || size > LARGEST_TREE || proof.len() > 64 {
        return false;
    }
    let path: RecordProof = proof.iter().copied().map(tlog_tiles::Hash).collect();
    tlog_tiles::check_record(&path, size, tlog_tiles::Hash(root), index, tlog_tiles::Hash(leaf)).is_ok()
}

/// Whether `proof` shows that the tree of `old` entries is a prefix of the tree of `new` entries.
#[must_use]
pub fn proves_consistency(proof: &[Hash], old: (u64, Hash), new: (u64, Hash)) -> bool {
    if old.0 > new.0 || new.0 > LARGEST_TREE || proof.len() > 128 {
        return false;
    }
    if old.0 == 0 {
        return proof.is_empty() && old.1 == EMPTY_ROOT;
    }
    let path: Vec<tlog_tiles::Hash> = proof.iter().copied().map(tlog_tiles::Hash).collect();
    tlog_tiles::check_tree(&path, new.0, tlog_tiles::Hash(new.1), old.0, tlog_tiles::Hash(old.1)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The leaves and roots of the reference vectors of Certificate Transparency (RFC 6962's test suite).
    const LEAVES: [&str; 8] = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    /// A whole tree in memory, the plain recursive way of RFC 6962 §2.1.
    fn plain_root(leaves: &[Hash]) -> Hash {
        match leaves.len() {
            0 => EMPTY_ROOT,
            1 => leaves[0],
            n => {
                let k = n.next_power_of_two() / 2;
                node_hash(plain_root(&leaves[..k]), plain_root(&leaves[k..]))
            }
        }
    }

    #[derive(Default)]
    struct InMemory {
        edge: Edge,
        full: Vec<FullTile>,
    }

    impl TileSource for InMemory {
        fn tile(&self, level: u8, number: u64, width: u16) -> Result<Vec<Hash>, String> {
            let full = self.full.iter().find(|t| t.level == level && t.number == number);
            let hashes = full.map_or_else(|| self.edge.tile(level), |t| &t.hashes);
            Ok(hashes[..usize::from(width)].to_vec())
        }
    }

    fn tree(leaves: &[Hash]) -> InMemory {
        let mut tree = InMemory::default();
        for leaf in leaves {
            tree.edge.push(*leaf, &mut tree.full);
        }
        tree
    }

    fn numbered(n: u64) -> Vec<Hash> {
        (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn the_roots_are_those_of_rfc_6962() {
        let mut edge = Edge::default();
        assert_eq!(hex::encode(edge.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (leaf, root) in LEAVES.iter().zip(ROOTS) {
            edge.push(leaf_hash(&hex::decode(leaf).unwrap()), &mut Vec::new());
            assert_eq!(hex::encode(edge.root()), root);
        }
    }

    #[test]
    fn the_audit_paths_are_those_of_rfc_6962() {
        let leaves: Vec<Hash> = LEAVES.iter().map(|l| leaf_hash(&hex::decode(l).unwrap())).collect();
        let tree = tree(&leaves);
        let path = |index, size| inclusion_proof(&tree, index, size).unwrap().iter().map(hex::encode).collect::<Vec<_>>();
        assert!(path(0, 1).is_empty());
        assert_eq!(
            path(0, 8),
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ]
        );
        assert_eq!(
            path(5, 8),
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
        assert_eq!(path(2, 3), ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]);
    }

    #[test]
    fn the_edge_agrees_with_the_plain_tree_across_tile_borders() {
        let leaves = numbered(66_000);
        let mut edge = Edge::default();
        let mut full = Vec::new();
        for (i, leaf) in leaves.iter().enumerate() {
            edge.push(*leaf, &mut full);
            let n = i + 1;
            if [255, 256, 257, 511, 512, 1000, 65_535, 65_536, 65_537, 66_000].contains(&n) {
                assert_eq!(edge.root(), plain_root(&leaves[..n]), "at {n}");
            }
        }
        assert_eq!(full.iter().filter(|t| t.level == 0).count(), 66_000 / 256);
        assert_eq!(full.iter().filter(|t| t.level == 1).map(|t| t.number).collect::<Vec<_>>(), [0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_proof_shows_its_entry_and_no_other(size in 1u64..700, pick: u64, other: u64) {
            let index = pick % size;
            let leaves = numbered(size);
            let tree = tree(&leaves);
            let root = tree.edge.root();
            let proof = inclusion_proof(&tree, index, size).unwrap();
            prop_assert!(proves_inclusion(&proof, index, leaves[index as usize], size, root));
            let wrong = other % size;
            if wrong != index {
                prop_assert!(!proves_inclusion(&proof, wrong, leaves[index as usize], size, root));
                prop_assert!(!proves_inclusion(&proof, index, leaves[wrong as usize], size, root));
            }
        }

        #[test]
        fn a_consistency_proof_shows_a_prefix_and_nothing_else(new in 1u64..700, pick: u64) {
            let old = pick % (new + 1);
            let leaves = numbered(new);
            let tree = tree(&leaves);
            let (small, large) = (plain_root(&leaves[..old as usize]), tree.edge.root());
            let proof = consistency_proof(&tree, old, new).unwrap();
            prop_assert!(proves_consistency(&proof, (old, small), (new, large)));
            prop_assert!(!proves_consistency(&proof, (old, [7; 32]), (new, large)));
        }
    }
}
