//! The audit log: an RFC 6962 Merkle tree, laid out in a directory as C2SP tiles (<https://c2sp.org/tlog-tiles>), with
//! checkpoints signed as C2SP notes (<https://c2sp.org/tlog-checkpoint>).
//!
//! The store is the truth for what the entries are; this directory is the proof that none was changed since. A leaf is
//! the canonical JSON of one entry, at most 65,535 bytes, with its id in the field `id`. Personal and free texts are not
//! in the leaf: it holds `texts: {name: hex SHA-256(salt ‖ text)}`, and the texts stand in a side record
//! ([`texts`]) that can be erased while the tree still verifies.

pub mod alignment;
pub mod checkpoint;

pub mod leaves;
pub mod publication;
pub mod succession;
pub mod texts;
pub mod tiles;
pub mod tree;
pub mod verify;
pub mod writer;

pub use checkpoint::{CheckpointKey, CheckpointVerifier, SignedCheckpoint};
pub use succession::{Handover, Succession};

pub use tree::Hash;
pub use verify::{LogReport, OtherCheckpoint, verify};
pub use writer::{Fsync, LogError, LogWriter};
