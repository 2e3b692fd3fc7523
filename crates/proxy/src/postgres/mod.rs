//! PostgreSQL (documentation, chapter "Frontend/Backend Protocol"): the door, the way in, and the relay.

mod ask;
pub mod by_rights;
mod cancel;
mod client;
mod copied;
pub mod door;
mod down;
mod greeting;
pub mod judge;
mod keys;
mod ledger;
pub(crate) mod messages;
mod names;
mod parameters;
mod running;
mod session;
mod target;
mod thinking;
mod up;
pub mod veil;

pub use door::{DoorLimits, PostgresDoor};

use crate::database::{Duplex, Stream, relay, statement};
