//! Codecs of the protocols that databases speak: bytes in, messages out. No input or output, no clock, no tokio.
//!
//! Everything here reads what strangers sent. A length is checked before anything is taken for it, and "more bytes are needed"
//! ([`Option::None`]) is never mixed up with "this is wrong" ([`Malformed`]).

pub mod mysql;
pub mod postgres;
mod reader;

pub use reader::{Malformed, Reader};
