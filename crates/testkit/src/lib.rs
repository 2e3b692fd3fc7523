//! testkit

pub mod sshd;
