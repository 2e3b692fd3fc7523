//! A TCP connection that can be severed from outside, whatever the protocol above it is waiting for.
//!
//! A cut must not wait for a peer that reads nothing. The SSH library owns the stream and may be blocked writing to it, so the session
//! keeps a [`Shears`]: it shuts the socket down under the library, which then sees the end of the stream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

#[derive(Debug)]
struct Shared {
    stream: TcpStream,
    ended: AtomicBool,
    received: AtomicU64,
    sent: AtomicU64,
}

/// The stream that is given to the SSH library.
#[derive(Debug)]
pub(crate) struct Wire(Arc<Shared>);

/// What ends a [`Wire`] at once, and knows what passed over it.
#[derive(Debug, Clone)]
pub(crate) struct Shears(Arc<Shared>);

/// Makes a stream severable.
pub(crate) fn severable(stream: TcpStream) -> (Wire, Shears) {
    let shared = Arc::new(Shared { stream, ended: AtomicBool::new(false), received: AtomicU64::new(0), sent: AtomicU64::new(0) });
    (Wire(shared.clone()), Shears(shared))
}

impl Shears {
    /// Ends the connection in both directions, now. Harmless when it has ended already.
    pub(crate) fn sever(&self) {
        let _ = rustix::net::shutdown(&self.0.stream, rustix::net::Shutdown::Both);
    }

    /// Whether the peer closed its side, or the connection failed.
    pub(crate) fn peer_has_ended(&self) -> bool {
        self.0.ended.load(Ordering::Acquire)
    }

    /// Bytes received and sent on the network, encryption included.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        (self.0.received.load(Ordering::Relaxed), self.0.sent.load(Ordering::Relaxed))
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.stream.poll_read_ready(cx))?;
            if !buf.has_remaining_mut() {
                return Poll::Ready(Ok(()));
            }
            match self.0.stream.try_read_buf(buf) {
                Ok(0) => {
                    self.0.ended.store(true, Ordering::Release);
                    return Poll::Ready(Ok(()));
                }
                Ok(n) => {
                    self.0.received.fetch_add(n as u64, Ordering::Relaxed);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => {
                    self.0.ended.store(true, Ordering::Release);
                    return Poll::Ready(Err(e));
                }
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.stream.poll_write_ready(cx))?;
            match self.0.stream.try_write(bytes) {
                Ok(n) => {
                    self.0.sent.fetch_add(n as u64, Ordering::Relaxed);
                    return Poll::Ready(Ok(n));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = rustix::net::shutdown(&self.0.stream, rustix::net::Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}
