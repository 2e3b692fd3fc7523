//! Record first, forward second: what a relay hands over before it forwards anything.

use async_trait::async_trait;
use bytes::Bytes;

use access::session::EndReason;

/// Where the frames of one session go. Implemented by the recorder of `evidence`.
#[async_trait]
pub trait Tape: std::fmt::Debug + Send + Sync {
    /// Takes one frame. Returns when the frame is in the recorder's bounded queue (or, where the tier says so, on disk); a slow
    /// recorder makes the relay wait.
    ///
    /// # Errors
    /// The recorder has failed. The session must end with [`EndReason::Recorder`].
    async fn record(&self, frame: Frame) -> Result<(), TapeFailed>;

    /// Resolves when the recorder has failed, and never otherwise.
    async fn failed(&self);

    /// Closes the recording: the number of its whole chunks and the digest that closes their chain, hex; `None` if it could not be closed.
    async fn close(&self, end: EndReason) -> Option<(u64, String)>;
}

/// The recorder can take nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the recorder has failed; look for a full or unwritable recordings directory")]
pub struct TapeFailed;

/// One thing that happened in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The channel within the session, counted from 0; the session as a whole is [`Frame::SESSION`].
    pub channel: u32,
    /// From the client to the target, or back.
    pub direction: Direction,
    /// What the bytes are.
    pub kind: Kind,
    /// Microseconds since the session was opened.
    pub at_us: u64,
    /// The bytes as they pass, or one JSON object for [`Kind::Activity`].
    pub bytes: Bytes,
}

impl Frame {
    /// The channel number of what concerns the whole session.
    pub const SESSION: u32 = u32::MAX;
}

/// Which way something passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the target.
    Up,
    /// From the target to the client.
    Down,
}

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// What a terminal shows, or a command writes to standard output.
    Output,
    /// What a command writes to standard error.
    ErrorOutput,
    /// What is typed into a terminal. Sealed apart: a gate can't see whether echo is on.
    TerminalInput,
    /// What a command reads.
    Input,
    /// One thing done, as a JSON object with a `do` field.
    Activity,
}
