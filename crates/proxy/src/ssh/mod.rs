//! SSH (RFC 4251 to 4254, and OpenSSH's `PROTOCOL` for its extensions).

mod algorithms;
mod text;
mod wire;

mod ask;
mod channel;
pub mod door;
mod forward;
mod greeting;
mod handler;
mod lane;
mod line;
mod relay;
mod rights;
mod session;
mod sftp;
mod sftp_files;
mod target;

pub use door::{DoorLimits, SshDoor};
