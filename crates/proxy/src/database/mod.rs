//! What the doors of databases share: statements as they are recorded, bytes as they are relayed, and a session's life.

pub(crate) mod live;
pub(crate) mod relay;
pub(crate) mod statement;
pub(crate) mod tls;

/// Something that bytes go in and out of.
pub(crate) trait Duplex: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection, encrypted or not.
pub(crate) type Stream = Box<dyn Duplex>;
