//! What opens a target, and the keys everything else rests on.
//!
//! One sealing key, held outside the data directory if its owner wishes, wraps all others ([`keyring`]). Targets are
//! opened by a key pair and certificate made for one session ([`target_ca`]), by a sealed secret ([`secrets`]) or one that a vault keeps
//! ([`vault`]), or by a database account made for one grant ([`database`]);
//! nobody but the gate sees either. Nothing here reads a clock, but Amazon's library where it signs.

pub mod database;
mod error;
mod files;
mod key_file;
pub mod keyring;
pub mod login;
pub mod rotation;
pub mod sealing;
pub mod secrets;
pub mod target_ca;
pub mod vault;
