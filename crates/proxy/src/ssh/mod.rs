//! SSH (RFC 4251 to 4254, and OpenSSH's `PROTOCOL` for its extensions).

mod algorithms;
mod text;
mod wire;
