//! The first bytes of a connection: encryption, and what the client wants.
//!
//! Nothing is read beyond a first packet before TLS has begun, so no byte sent in clear can count as one that was encrypted.

use std::io;
use std::time::Duration;

use access::reason::{Reason, Refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use wire::Malformed;
use wire::postgres::startup::{CancelKey, First, Startup, first};

use super::Stream;
use super::client::Client;
use super::door::boxed;
use crate::client_certificate::shown;
use crate::database::misread;
use crate::threads;

/// The protocol's name in TLS (PostgreSQL documentation, "SSL Session Encryption").
pub(crate) const ALPN: &[u8] = b"postgresql";

/// The SQLSTATE of what is no message (PostgreSQL documentation, "PostgreSQL Error Codes").
pub(crate) const PROTOCOL_VIOLATION: &str = "08P01";
/// First packets before a start-up; a client asks for GSSAPI, then for TLS.
const ROUNDS: usize = 3;
/// The first byte of a TLS handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 0x16;
/// How long somebody who is turned away may take to read why.
pub(crate) const FAREWELL: Duration = Duration::from_secs(2);

/// What a client wants.
pub(crate) enum Greeted {
    /// A session, over this stream.
    Starts(Begun),
    /// That what a session does is cancelled. The client waits until the stream is closed, which tells it that this was done.
    Cancels(CancelKey, Stream),
}

/// A client that wants a session.
pub(crate) struct Begun {
    pub(crate) stream: Stream,
    pub(crate) startup: Startup,
    /// The certificate (DER) it showed while TLS began, whose key it holds.
    pub(crate) certificate: Option<Vec<u8>>,
}

/// Meets a client: TLS first, then what it wants.
pub(crate) async fn greet(mut stream: TcpStream, tls: &TlsAcceptor) -> io::Result<Greeted> {
    let mut byte = [0];
    if stream.peek(&mut byte).await? == 1 && byte == [HANDSHAKE] {
        let accepted = threads::accept(tls, stream).await?;
        if accepted.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(wrong("a direct TLS connection has to negotiate `postgresql`"));
        }
        return inside(accepted).await;
    }
    for _ in 0..ROUNDS {
        match packet(&mut stream).await? {
            First::Ssl => {
                if rustix::io::ioctl_fionread(&stream)? > 0 {
                    return Err(wrong("bytes were sent in clear after TLS was asked for"));
                }
                stream.write_all(b"S").await?;
                return inside(threads::accept(tls, stream).await?).await;
            }
            First::Gss => stream.write_all(b"N").await?,
            // Stock clients before version 17 send it in clear, whatever their session speaks. It holds nothing but the key.
            First::Cancel(key) => return Ok(Greeted::Cancels(key, boxed(stream))),
            First::Startup(_) | First::OtherVersion(_) => {
                let refusal = Refusal::because(
                    Reason::NotSignedIn,
                    "this gate speaks PostgreSQL over TLS only; connect with `sslmode=require`, or better `verify-full`",
                );
                let _ = tokio::time::timeout(FAREWELL, Client::new(boxed(stream)).refuse(&refusal)).await;
                return Err(wrong("no TLS was asked for"));
            }
        }
    }
    Err(wrong("the client asks for encryption over and over"))
}

/// What somebody in this process wants: no byte of it leaves the process, so nothing is encrypted.
pub(crate) async fn greet_in_process(stream: impl super::Duplex + 'static) -> io::Result<(Stream, Startup)> {
    let mut stream = boxed(stream);
    match packet(&mut stream).await? {
        First::Startup(startup) => Ok((stream, startup)),
        _ => Err(wrong("a console wants a session and nothing else")),
    }
}

/// What is wanted inside TLS.
async fn inside(accepted: TlsStream<TcpStream>) -> io::Result<Greeted> {
    let certificate = shown(accepted.get_ref().1);
    let mut stream = boxed(accepted);
    let first = match packet(&mut stream).await {
        Ok(first) => first,
        Err(error) => {
            if let Some(refusal) = misread(&error) {
                Client::new(stream).refuse_as(&refusal, PROTOCOL_VIOLATION).await;
            }
            return Err(error);
        }
    };
    match first {
        First::Startup(startup) => Ok(Greeted::Starts(Begun { stream, startup, certificate })),
        First::Cancel(key) => Ok(Greeted::Cancels(key, stream)),
        First::OtherVersion(version) => {
            let why = format!("version {}.{} of the protocol is not spoken here; 3.0 and 3.2 are", version >> 16, version & 0xffff);
            let _ = tokio::time::timeout(FAREWELL, Client::new(stream).refuse_as(&Refusal::because(Reason::Invalid, why), "0A000")).await;
            Err(wrong("another version of the protocol"))
        }
        First::Ssl | First::Gss => {
            let error = wrong("encryption within encryption was asked for");
            if let Some(refusal) = misread(&error) {
                Client::new(stream).refuse_as(&refusal, PROTOCOL_VIOLATION).await;
            }
            Err(error)
        }
    }
}

/// Reads one first packet, and not a byte more.
async fn packet<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> io::Result<First> {
    let mut bytes = vec![0; 4];
    stream.read_exact(&mut bytes).await?;
    // A length that is none is refused here, before anything is taken for it.
    first(&bytes).map_err(|e| wrong(e.0))?;
    let length = bytes.first_chunk::<4>().map_or(0, |b| u32::from_be_bytes(*b)) as usize;
    bytes.resize(length, 0);
    stream.read_exact(bytes.get_mut(4..).unwrap_or_default()).await?;
    match first(&bytes).map_err(|e| wrong(e.0))? {
        Some((first, _)) => Ok(first),
        None => Err(wrong("a first packet is not whole")),
    }
}

fn wrong(why: &'static str) -> io::Error {
    crate::database::wrong(Malformed(why))
}
