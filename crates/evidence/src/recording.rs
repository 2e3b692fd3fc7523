//! Recordings: the file that a session leaves behind, the workers that write it, and the readers that check and show it.
//!
//! ```text
//! "tidegate recording 1\n"
//! length of the header, 32 bits big-endian; the header, JSON             → chain₀ = SHA-256 of everything so far
//! the key block, JSON: the two data keys, wrapped with age               (bound by a digest in the header)
//! chunk: header (65 bytes, ends with chainₙ), sealed bytes, chainₙ₊₁ = SHA-256(chunk header ‖ sealed bytes)
//! …
//! closing chunk: how many chunks, why it ended
//! ```
//!
//! A chunk is at most 64 KiB of frames or one second of them, compressed with zstd, sealed with AES-256-GCM. What the
//! person typed is sealed under a second data key, since a gate cannot see whether echo is on. The chain runs over
//! ciphertext, so it is verified without any key. A file without its closing chunk is valid to its last whole chunk.
//!
//! Deleting a recording is destroying its key block ([`keys::destroy`]): the chain still verifies, and nothing can be
//! read any more.

pub mod asciicast;
pub mod chain;
pub mod chunk;
pub mod frame;
pub mod handle;
pub mod header;
pub mod keys;
pub mod live;
pub mod pool;
pub mod reader;
mod shared;
mod sink;
mod worker;

pub use chain::{Anchor, Inspection, inspect};
pub use frame::{Direction, Frame, FrameKind};
pub use handle::{ClosedRecording, RecorderFailure, RecordingHandle};
pub use header::About;
pub use keys::{DataKey, KeyIdentity, KeyRecipients, ReleasedKeys};
pub use live::{LiveEvent, LiveView, Watched};
pub use pool::{Durability, PoolOptions, Progress, RecorderPool};
pub use reader::{ReadError, RecordingReader};
