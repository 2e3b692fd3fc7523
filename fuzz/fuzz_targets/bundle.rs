//! An export as somebody hands it to an auditor: the container, then everything in it.
#![no_main]

use std::io::Cursor;
use std::sync::LazyLock;

use evidence::bundle::{tar, verify};
use evidence::log::{CheckpointKey, CheckpointVerifier};
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<CheckpointVerifier> =
    LazyLock::new(|| CheckpointKey::from_seed("gate.example.com/audit", &[1; 32]).expect("a name that fits").verifier().clone());

fuzz_target!(|bytes: &[u8]| {
    let (parts, flaws) = tar::scan(&mut Cursor::new(bytes)).expect("memory can be read");
    for part in &parts {
        assert!(part.offset + part.bytes <= bytes.len() as u64 || !flaws.is_empty());
    }
    let report = verify(Cursor::new(bytes), &KEY).expect("memory can be read");
    assert!(!report.is_sound() || flaws.is_empty());
});
