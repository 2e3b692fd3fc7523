//! What an auditor is handed of a log: checkpoints, published files, the succession of keys, tiles of leaves, side records.
#![no_main]

use std::sync::LazyLock;

use evidence::log::{CheckpointKey, CheckpointVerifier, SignedCheckpoint, Succession, leaves, publication, texts};
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<CheckpointVerifier> =
    LazyLock::new(|| CheckpointKey::from_seed("gate.example.com/audit", &[1; 32]).expect("a name that fits").verifier().clone());

fuzz_target!(|bytes: &[u8]| {
    if let Ok(checkpoint) = SignedCheckpoint::verify(bytes, &KEY) {
        assert_eq!(checkpoint.note(), bytes, "what verifies is what was signed, to the byte");
    }
    let notes = publication::split(bytes);
    assert!(notes.iter().map(Vec::len).sum::<usize>() <= bytes.len());
    let (keys, _) = Succession::follow(&KEY, bytes);
    assert!(keys.keys().count() >= 1);
    let (found, rest) = leaves::split(bytes);
    assert_eq!(found.iter().map(|leaf| leaf.len() + 2).sum::<usize>() + rest, bytes.len());
    for leaf in found {
        drop((leaves::entry_id(leaf), texts::bound_texts(leaf)));
    }
    drop(texts::read_lines(bytes));
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(CheckpointVerifier::parse(text));
    }
});
