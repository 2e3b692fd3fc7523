//! What can be proved afterwards: the audit log, the recordings of sessions, and the bundles that carry both to an
//! auditor.
//!
//! Everything here works from files and a public key alone: nothing asks the store, the network or the clock. The
//! one place that runs by itself is the recorder's pool of threads ([`recording::pool`]).
//!
//! - [`log`]: the audit log as an RFC 6962 Merkle tree in C2SP tiles, with signed checkpoints.
//! - [`recording`]: the file a session leaves behind, and the workers that write it.
//! - [`bundle`]: one self-contained file that an auditor verifies offline.
//! - [`lines`]: entries and activities as JSON lines, CSV and OCSF events; [`ocsf`] says how, [`parts`] what becomes of long ones.
//! - [`measures`]: whether access is getting better, in numbers that follow from the log.

mod approvals;
pub mod bundle;
pub mod finding;
pub mod lines;
pub mod log;
pub mod measures;
pub mod ocsf;
pub mod parts;
pub mod recording;

mod hexadecimal;
mod printable;
