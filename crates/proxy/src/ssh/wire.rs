//! A TCP connection that can be severed from outside, whatever the protocol above it is waiting for.
//!
//! A cut must not wait for a peer that reads nothing. The SSH library owns the stream and may be blocked writing to it, so the session
//! keeps a [`Shears`]: it shuts the socket down under the library, which then sees the end of the stream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

#[derive(Debug)]
struct Shared {
    stream: TcpStream,
    ended: AtomicBool,
}

/// The stream that is given to the SSH library.
#[derive(Debug)]
pub(crate) struct Wire {
    shared: Arc<Shared>,
    /// Read already, and still to be given to the library.
    heard: Bytes,
    /// Bytes that the library writes first and that were sent already.
    said: usize,
}

/// What ends a [`Wire`] at once, and sees whether its peer closed.
#[derive(Debug, Clone)]
pub(crate) struct Shears(Arc<Shared>);

/// Makes a stream severable.
pub(crate) fn severable(stream: TcpStream) -> (Wire, Shears) {
    let shared = Arc::new(Shared { stream, ended: AtomicBool::new(false) });
    (Wire { shared: shared.clone(), heard: Bytes::new(), said: 0 }, Shears(shared))
}

impl Wire {
    /// The same after a greeting: what was heard is read again, and as much as was said is not written again.
    pub(crate) fn after_greeting(mut self, heard: Bytes, said: usize) -> Self {
        (self.heard, self.said) = (heard, said);
        self
    }
}

impl Shears {
    /// Ends the connection in both directions, now. Harmless when it has ended already.
    pub(crate) fn sever(&self) {
        let _ = rustix::net::shutdown(&self.0.stream, rustix::net::Shutdown::Both);
    }

    /// Resolves when the peer has closed its side, reading away what still comes. Only for when nobody else reads any more.
    pub(crate) async fn peer_closes(&self) {
        let mut away = [0; 4096];
        while !self.0.ended.load(Ordering::Acquire) {
            if self.0.stream.readable().await.is_err() {
                return;
            }
            match self.0.stream.try_read(&mut away) {
                Ok(0) => return,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.heard.is_empty() {
            let n = self.heard.len().min(buf.remaining());
            buf.put_slice(&self.heard.split_to(n));
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.shared.stream.poll_read_ready(cx))?;
            if !buf.has_remaining_mut() {
                return Poll::Ready(Ok(()));
            }
            match self.shared.stream.try_read_buf(buf) {
                Ok(0) => {
                    self.shared.ended.store(true, Ordering::Release);
                    return Poll::Ready(Ok(()));
                }
                Ok(_) => return Poll::Ready(Ok(())),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => {
                    self.shared.ended.store(true, Ordering::Release);
                    return Poll::Ready(Err(e));
                }
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.said > 0 {
            let n = self.said.min(bytes.len());
            self.said -= n;
            return Poll::Ready(Ok(n));
        }
        loop {
            ready!(self.shared.stream.poll_write_ready(cx))?;
            match self.shared.stream.try_write(bytes) {
                Ok(n) => return Poll::Ready(Ok(n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = rustix::net::shutdown(&self.shared.stream, rustix::net::Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}
