//! A connection to a mail server that hands over no more than one line at a time.
//!
//! Whoever reads answers through a buffer takes more than the answer to `STARTTLS` if more is there, and reads it as the server's once TLS
//! stands (the injection that RFC 3207 §6 and CVE-2011-0411 are about). Over this, what follows that answer is left for TLS, to which it is
//! no handshake: the connection ends.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncBufRead as _, AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;

/// Of what came, each read takes as much as its first line, its end included.
#[derive(Debug)]
pub(super) struct LineByLine(pub(super) BufReader<TcpStream>);

impl AsyncRead for LineByLine {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(&mut self.get_mut().0);
        let came = ready!(stream.as_mut().poll_fill_buf(cx))?;
        let line = came.iter().position(|byte| *byte == b'\n').map_or(came.len(), |end| end + 1).min(buf.remaining());
        buf.put_slice(came.get(..line).unwrap_or_default());
        stream.consume(line);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LineByLine {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for LineByLine {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().peer_addr()
    }
}
