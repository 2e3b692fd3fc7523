//! PostgreSQL (documentation, chapter "Frontend/Backend Protocol"): the door, the way in, and the relay.

mod ask;
pub mod by_rights;
mod cancel;
mod client;
pub mod door;
mod down;
mod greeting;
pub mod judge;
mod ledger;
mod parameters;
mod relay;
mod session;
mod statement;
mod target;
mod target_tls;
mod up;
pub mod veil;

pub use door::{DoorLimits, PostgresDoor};

/// Something that bytes go in and out of.
pub(crate) trait Duplex: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection, encrypted or not.
pub(crate) type Stream = Box<dyn Duplex>;
