//! Listeners and relays, a folder per protocol.
//!
//! A proxy speaks a protocol to a client on one side and to a target on the other. It knocks at the [`gatekeeper`] port, dials with the
//! permit it is given and with nothing else, hands every byte to the [`tape`] before it forwards it, and holds the permit's watch all the time.
//!
//! Who should not import this: everything but the binary, which wires it. It knows nothing of policy, store or workflow.

pub mod client_certificate;
pub mod console;
mod database;
pub mod fuzzing;
pub mod gatekeeper;
mod guests;
pub mod mysql;
pub mod postgres;
pub mod ssh;
mod strangers;
pub mod tape;
pub mod threads;
mod watched;

/// Bytes in lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
