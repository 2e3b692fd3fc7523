//! What the doors of databases share: statements as they are recorded, bytes as they are relayed, and a session's life.

pub(crate) mod live;
pub(crate) mod lobby;
pub(crate) mod place;
pub(crate) mod relay;
pub(crate) mod statement;
pub(crate) mod thinking;
pub(crate) mod tls;

use std::io;

use access::reason::{Reason, Refusal};
use wire::Malformed;

/// Something that bytes go in and out of.
pub(crate) trait Duplex: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection, encrypted or not.
pub(crate) type Stream = Box<dyn Duplex>;

/// The largest catalog that is read for a judge, in bytes.
pub(crate) const LARGEST_CATALOG: usize = 64 * 1024 * 1024;
/// How many values it may have: each takes its place in memory, though a server says that it is nothing in a byte.
const CATALOG_VALUES: usize = 4 * 1024 * 1024;

/// How much of a catalog has been read.
#[derive(Debug, Default)]
pub(crate) struct CatalogRead {
    bytes: usize,
    values: usize,
}

impl CatalogRead {
    /// A message of so many bytes came, with so many values.
    pub(crate) fn message(&mut self, bytes: usize, values: usize) -> Result<(), Refusal> {
        self.bytes += bytes;
        self.values += values.max(1);
        if self.bytes > LARGEST_CATALOG || self.values > CATALOG_VALUES {
            return Err(place::unreachable("its catalog is larger than the gate reads; name fewer databases and schemas in the role"));
        }
        Ok(())
    }
}

/// What is no message, as an error of input.
pub(crate) fn wrong(error: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// What somebody is told who sent something that is no message; `None` if they left, or nothing can be said to them.
pub(crate) fn misread(error: &io::Error) -> Option<Refusal> {
    let malformed = error.get_ref()?.downcast_ref::<Malformed>()?;
    Some(Refusal::because(Reason::Invalid, malformed.to_string()))
}

/// A refusal without its hint.
pub(crate) fn sentence(refusal: &Refusal) -> String {
    let mut text = refusal.reason.sentence().trim_end_matches('.').to_owned();
    if let Some(detail) = &refusal.detail {
        text.push_str(": ");
        text.push_str(&crate::ssh::text::inert(detail, 2048));
    }
    if let Some(request) = &refusal.request {
        text.push_str(&format!(" ({request})"));
    }
    text
}
