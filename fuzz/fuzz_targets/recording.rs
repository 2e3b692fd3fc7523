//! A recording's file: header, chunks, damage, and the frames that a key opens.
#![no_main]

use evidence::recording::{Anchor, DataKey, RecordingReader, ReleasedKeys, inspect};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let anchors = [Anchor { chunks: 0, digest: [0; 32] }, Anchor { chunks: 2, digest: [7; 32] }];
    if let Ok(inspection) = inspect(bytes, &anchors) {
        assert!(inspection.torn <= bytes.len() as u64);
        assert!(!inspection.findings.is_empty(), "both anchors cannot hold");
    }
    let keys = ReleasedKeys { output: Some(DataKey::from_bytes([1; 32])), input: None };
    if let Ok(reader) = RecordingReader::with_keys(bytes, keys) {
        for frame in reader {
            drop(frame);
        }
    }
});
