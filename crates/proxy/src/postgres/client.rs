//! The client's side while the gate itself talks to it: signing in, asking, and being told no.

use std::io;
use std::time::Duration;

use access::reason::{Reason, Refusal};
use access::secret::Secret;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use wire::Malformed;
use wire::postgres::back::{Severity, Writer};
use wire::postgres::startup::VERSION_3_0;
use wire::postgres::{Side, front};

use super::Stream;
use super::messages::{self, Most, wrong};
pub(crate) use crate::database::sentence;

/// The largest message that is read before there is a session.
const LARGEST: Most = Most(64 * 1024, "it is too large before there is a session");
/// How long a client may take to read why it is turned away.
const FAREWELL: Duration = Duration::from_secs(2);

/// A client.
pub(crate) struct Client {
    pub(crate) stream: Stream,
    /// What it sent and nobody has read yet.
    pub(crate) unread: BytesMut,
    version: u32,
}

impl Client {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, unread: BytesMut::new(), version: VERSION_3_0 }
    }

    /// Which version of the protocol it speaks.
    pub(crate) fn speaks(&mut self, version: u32) {
        self.version = version;
    }

    /// Bytes in the secret of its cancel key.
    pub(crate) fn secret_length(&self) -> usize {
        if self.version > VERSION_3_0 { 32 } else { 4 }
    }

    /// Sends what is written.
    pub(crate) async fn write(&mut self, fill: impl FnOnce(&mut Writer) -> &mut Writer) -> io::Result<()> {
        let mut writer = Writer::default();
        fill(&mut writer);
        self.stream.write_all(&writer.into_bytes()).await?;
        self.stream.flush().await
    }

    /// Its next message: letter and body. Cancelling this loses nothing.
    pub(crate) async fn message(&mut self) -> io::Result<(u8, BytesMut)> {
        messages::next(&mut self.stream, &mut self.unread, Side::Front, LARGEST).await
    }

    /// The password that was asked for.
    pub(crate) async fn password(&mut self) -> io::Result<Secret<String>> {
        let (kind, body) = self.message().await?;
        if kind != b'p' {
            return Err(wrong(Malformed("a password was asked for, and this is none")));
        }
        let password = Secret::new(front::password(&body).map_err(wrong)?.to_owned());
        zeroized(body);
        Ok(password)
    }

    /// Resolves when it leaves. What it sends meanwhile is kept, up to a limit.
    pub(crate) async fn leaves(&mut self) {
        while self.unread.len() < LARGEST.0 {
            match self.stream.read_buf(&mut self.unread).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// Tells it no and closes.
    pub(crate) async fn refuse(&mut self, refusal: &Refusal) {
        self.refuse_as(refusal, refusal.reason.sqlstate()).await;
    }

    /// The same with another SQLSTATE.
    pub(crate) async fn refuse_as(&mut self, refusal: &Refusal, sqlstate: &str) {
        let said = async {
            let text = sentence(refusal);
            self.write(|w| w.say(Severity::Fatal, sqlstate, &text, Some(hint(refusal)))).await?;
            self.stream.shutdown().await
        };
        let _ = timeout(FAREWELL, said).await;
    }

    /// Shows it something.
    pub(crate) async fn notice(&mut self, text: &str) -> io::Result<()> {
        self.write(|w| w.say(Severity::Notice, "00000", text, None)).await
    }
}

/// What to do about a refusal, where a database is what refused.
fn hint(refusal: &Refusal) -> &'static str {
    match refusal.reason {
        Reason::TargetRefused => {
            "Check the login in the role, its password (`tidegate secret set`, or its vault) or the account that makes accounts, and `pg_hba.conf` at the server."
        }
        Reason::TargetUnreachable => "Check that it is up, and `address`, `tls` and `tls_ca` of the resource in the policy.",
        reason => reason.hint(),
    }
}

/// Overwrites what held a secret.
fn zeroized(mut bytes: BytesMut) {
    bytes.fill(0);
    std::hint::black_box(&bytes);
}
