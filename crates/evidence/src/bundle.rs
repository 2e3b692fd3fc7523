//! Evidence bundles: one self-contained file that an auditor verifies offline, with the public key alone.
//!
//! The file is a tar archive (POSIX ustar) written in one way only: every header, every padding byte and the end are as
//! the writer writes them, so that each byte of the file is covered. Its parts, in this order:
//!
//! ```text
//! manifest.json       what was exported: entries, parts and their SHA-256
//! manifest.note       the gate's signature over the manifest, as a C2SP note
//! checkpoint          the signed checkpoint that the proofs lead to
//! succession.jsonl    which key signs after which, if one was ever replaced
//! entries.jsonl       the leaves, byte by byte, one to a line
//! proofs.jsonl        for each, its audit path
//! texts.jsonl         side texts that were not erased
//! policy/<digest>/…   the files of the policy bundles that decided
//! recordings/….tgr    recordings, as they were written
//! keys.json           the data keys released with them, or wrapped to a recipient
//! ```

pub mod export;
mod file;
pub mod manifest;
pub mod replay;
pub mod tar;
pub mod verify;

pub use export::{Export, ExportError, PolicyText, RecordingPart, Release, Written};
pub use manifest::Manifest;
pub use replay::{ReplayError, replay};
pub use verify::{BundleReport, RecordingSummary, verify};
