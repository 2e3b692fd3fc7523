//! SSH (RFC 4251 to 4254, and OpenSSH's `PROTOCOL` for its extensions).

mod algorithms;
pub(crate) mod text;
mod wire;

mod ask;
mod backlog;
mod browser;
mod channel;
pub mod door;
mod extend;
mod flood;
mod forward;
mod globals;
mod greeting;
mod handler;
mod host_keys;
mod join;
mod lane;
mod leftovers;
mod line;
mod live;
mod looks;
mod reach;
mod relay;
mod rights;
mod session;
pub(crate) mod sftp;
mod sftp_files;
mod sftp_packets;
mod sftp_pending;
mod sockets;
mod stage;
mod survey;
mod target;
mod turns;

pub use door::{DoorLimits, SshDoor};
pub use host_keys::HostKeys;
pub use leftovers::Cleared;
