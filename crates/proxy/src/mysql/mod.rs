//! MySQL and MariaDB (MySQL's "Client/Server Protocol", MariaDB's "Clientserver Protocol"): the door, the way in, and the relay.
//!
//! Unlike PostgreSQL's this protocol answers one command at a time, so the relay does too: a command is read whole, judged, recorded
//! and sent; then its answer is followed packet by packet until it ends, and only then is the next command looked at.

mod answers;
mod ask;
mod by_rights;
mod client;
mod commands;
mod door;
mod greeting;
mod kill;
mod prepared;
mod relay;
mod scan;
mod session;
mod target;
mod upstream;
mod veil;
mod wanted;

pub(crate) use door::Stops;
pub use door::{DoorLimits, MysqlDoor};
