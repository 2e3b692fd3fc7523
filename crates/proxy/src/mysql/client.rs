//! The client's side while the gate itself talks to it: signing in, asking, and being told no.

use std::io;
use std::time::Duration;

use access::reason::Refusal;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use wire::mysql::answer::{AUTOCOMMIT, write_error, write_ok, write_rows};
use wire::mysql::capability::Capabilities;
use wire::mysql::handshake::LARGEST_LOGIN;
use wire::mysql::packet;

use crate::database::{Stream, misread, sentence, wrong};

/// The largest message that is read before there is a session.
const LARGEST: usize = LARGEST_LOGIN;
/// `ER_HANDSHAKE_ERROR`.
pub(crate) const BAD_HANDSHAKE: (u16, &str) = (1043, "08S01");
/// How long a client may take to read why it is turned away.
const FAREWELL: Duration = Duration::from_secs(2);

/// A client.
pub(crate) struct Client {
    pub(crate) stream: Stream,
    /// What it sent and nobody has read yet.
    pub(crate) unread: BytesMut,
    /// What both sides said they can do.
    pub(crate) capabilities: Capabilities,
    /// The number of the next packet to it.
    sequence: u8,
}

impl Client {
    pub(crate) fn new(stream: Stream, sequence: u8) -> Self {
        Self { stream, unread: BytesMut::new(), capabilities: Capabilities::default(), sequence }
    }

    /// Its next message, which stays unread; `None` while it is not whole yet.
    fn peek(&mut self) -> io::Result<Option<(Vec<u8>, usize)>> {
        let Some((message, last, took)) = packet::message(&self.unread, LARGEST).map_err(wrong)? else { return Ok(None) };
        self.sequence = last.wrapping_add(1);
        Ok(Some((message.into_owned(), took)))
    }

    /// Its next message. Cancelling this loses nothing.
    pub(crate) async fn message(&mut self) -> io::Result<Vec<u8>> {
        let message = self.waiting().await?;
        self.taken()?;
        Ok(message)
    }

    /// Its next message, which stays where it is.
    pub(crate) async fn waiting(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some((message, _)) = self.peek()? {
                return Ok(message);
            }
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Takes the message that is waiting.
    pub(crate) fn taken(&mut self) -> io::Result<()> {
        if let Some((_, took)) = self.peek()? {
            let mut gone = self.unread.split_to(took);
            // It may have held a secret.
            gone.fill(0);
            std::hint::black_box(&gone);
        }
        Ok(())
    }

    /// Sends messages in answer to what was read last.
    pub(crate) async fn send<'m>(&mut self, messages: impl IntoIterator<Item = &'m [u8]>) -> io::Result<()> {
        let mut out = Vec::new();
        for message in messages {
            self.sequence = packet::write(&mut out, self.sequence, message);
        }
        self.stream.write_all(&out).await?;
        self.stream.flush().await
    }

    /// Says that it went well.
    pub(crate) async fn ok(&mut self) -> io::Result<()> {
        let ok = write_ok(self.capabilities, AUTOCOMMIT, "");
        self.send([&ok[..]]).await
    }

    /// Shows a table of one row and one column.
    pub(crate) async fn say(&mut self, column: &str, text: &str) -> io::Result<()> {
        let rows = write_rows(self.capabilities, &[column], &[vec![text]], AUTOCOMMIT);
        self.send(rows.iter().map(Vec::as_slice)).await
    }

    /// Answers with an error of the gate's.
    pub(crate) async fn error(&mut self, refusal: &Refusal) -> io::Result<()> {
        let error = error(refusal);
        self.send([&error[..]]).await
    }

    /// Resolves when it leaves. What it sends meanwhile is kept, up to a limit.
    pub(crate) async fn leaves(&mut self) {
        while self.unread.len() < LARGEST {
            match self.stream.read_buf(&mut self.unread).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// Tells it no and closes.
    pub(crate) async fn refuse(&mut self, refusal: &Refusal) {
        let error = error(refusal);
        self.leave(&error).await;
    }

    /// Closes, and before that tells it that what it sent is no message, if it was that.
    pub(crate) async fn refuse_misread(&mut self, error: &io::Error) {
        if let Some(refusal) = misread(error) {
            let error = write_error(BAD_HANDSHAKE.0, BAD_HANDSHAKE.1, &sentence(&refusal));
            self.leave(&error).await;
        }
    }

    async fn leave(&mut self, last: &[u8]) {
        let said = async {
            self.send([last]).await?;
            self.stream.shutdown().await
        };
        let _ = timeout(FAREWELL, said).await;
    }
}

/// A refusal as an error's packet: number, SQLSTATE, and what to do about it in the same sentence, for there is no field for that.
pub(crate) fn error(refusal: &Refusal) -> Vec<u8> {
    let (number, state) = refusal.reason.mysql_error();
    write_error(number, state, &format!("{}. {}", sentence(refusal), refusal.reason.hint()))
}
