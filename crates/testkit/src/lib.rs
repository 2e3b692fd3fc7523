//! testkit

pub mod postgres;
pub mod sshd;
