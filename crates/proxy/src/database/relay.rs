//! The relay: two directions that never wait for each other, each reading much at once, recording first and forwarding second. Here is
//! what both have in common.

use std::collections::VecDeque;
use std::io;

use access::reason::{Reason, Refusal};
use access::session::EndReason;
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use wire::Malformed;

use super::Stream;
use crate::gatekeeper::Told;
use crate::ssh::text::inert;
use crate::watched::ended_reason;

/// What is read at once, at first, and when that was filled.
const READ: usize = 8 * 1024;
const READ_MUCH: usize = 64 * 1024;

/// Why a direction stopped.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) end: EndReason,
    /// What the client is told, if it is not simply the end.
    pub(crate) say: Option<Refusal>,
}

impl Stopped {
    pub(crate) fn by(end: EndReason) -> Self {
        Self { end, say: None }
    }

    /// By the gate, with why if that was said.
    pub(crate) fn cut(end: EndReason, told: &Told) -> Self {
        let say = told.why(end).map(|why| Refusal::because(ended_reason(end), inert(why.trim_end_matches('.'), 512)));
        Self { end, say }
    }

    pub(crate) fn nonsense(error: Malformed) -> Self {
        Self { end: EndReason::Client, say: Some(Refusal::because(Reason::Invalid, error.to_string())) }
    }

    pub(crate) fn liar(why: &str) -> Self {
        Self {
            end: EndReason::Target,
            say: Some(Refusal::because(Reason::TargetUnreachable, format!("the server broke the protocol: {why}"))),
        }
    }
}

impl From<crate::tape::TapeFailed> for Stopped {
    fn from(_: crate::tape::TapeFailed) -> Self {
        Self::by(EndReason::Recorder)
    }
}

/// Bytes on their way out. Dropping a half-done write loses nothing: what is still to go stays here.
pub(crate) struct Outgoing {
    pub(crate) writer: WriteHalf<Stream>,
    queue: VecDeque<Bytes>,
    /// What may go once it is recorded.
    pub(crate) staged: Vec<Bytes>,
    /// Whether what was released ends in the middle of a message.
    midway: bool,
    /// Bytes still to come of a message whose beginning is out already.
    pub(crate) left: usize,
}

impl Outgoing {
    pub(crate) fn new(writer: WriteHalf<Stream>) -> Self {
        Self { writer, queue: VecDeque::new(), staged: Vec::new(), midway: false, left: 0 }
    }

    pub(crate) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.queue.push_back(bytes);
        }
    }

    /// What goes only once it is recorded.
    pub(crate) fn stage(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.staged.push(bytes);
        }
    }

    /// It is recorded.
    pub(crate) fn release(&mut self) {
        self.queue.extend(self.staged.drain(..));
        self.midway = self.left > 0;
    }

    /// Nothing more goes out of what waited; says whether what is out ends with a whole message.
    pub(crate) fn abandon(&mut self) -> bool {
        let nothing_waited = self.queue.is_empty() && self.staged.is_empty();
        self.queue.clear();
        self.staged.clear();
        nothing_waited && self.left == 0
    }

    /// Drops what was not recorded; says whether that leaves a message without its end.
    pub(crate) fn forget_unrecorded(&mut self) -> bool {
        let forgotten = !self.staged.is_empty();
        self.staged.clear();
        let cut_off = forgotten && self.midway;
        if forgotten && !cut_off {
            self.left = 0;
        }
        cut_off
    }

    /// Writes everything and flushes once.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if self.queue.is_empty() {
            return Ok(());
        }
        while let Some(first) = self.queue.front_mut() {
            let written = self.writer.write(first).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            first.advance(written);
            if first.is_empty() {
                self.queue.pop_front();
            }
        }
        self.writer.flush().await
    }
}

/// What is read from one side.
pub(crate) struct Incoming {
    reader: ReadHalf<Stream>,
    pub(crate) unread: BytesMut,
    much: bool,
}

impl Incoming {
    pub(crate) fn new(reader: ReadHalf<Stream>, unread: BytesMut) -> Self {
        Self { reader, unread, much: false }
    }

    /// Reads more. Dropping this loses nothing.
    pub(crate) async fn more(&mut self) -> io::Result<usize> {
        self.unread.reserve(if self.much { READ_MUCH } else { READ });
        let read = self.reader.read_buf(&mut self.unread).await?;
        self.much = read >= READ;
        Ok(read)
    }
}
