//! Somebody on the machine itself, at the gate's local socket.
//!
//! Who they are is what the kernel says of the other end of the socket (`SO_PEERCRED`, unix(7)): a user of the machine, not a person
//! that the gate knows.

use std::fmt;

use access::reason::{Reason, Refusal};

/// Proof that root, or the user that the gate runs as, is at the other end.
#[derive(Debug)]
pub struct LocalPeer {
    uid: u32,
}

/// `peer` is the user id that the kernel gives for the other end of the socket, `gate` the gate's own.
///
/// # Errors
/// [`Reason::NotSignedIn`] unless the peer is root or runs as the gate itself.
pub fn verify_local_peer(peer: u32, gate: u32) -> Result<LocalPeer, Refusal> {
    if peer != 0 && peer != gate {
        return Err(Refusal::because(Reason::NotSignedIn, "the local socket is for root and for the user that the gate runs as"));
    }
    Ok(LocalPeer { uid: peer })
}

impl fmt::Display for LocalPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uid {
            0 => f.write_str("root of the gate's machine"),
            uid => write!(f, "user {uid} of the gate's machine"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_socket_is_for_root_and_the_gate() {
        assert_eq!(verify_local_peer(990, 990).unwrap().to_string(), "user 990 of the gate's machine");
        assert_eq!(verify_local_peer(0, 990).unwrap().to_string(), "root of the gate's machine");
        assert_eq!(verify_local_peer(1000, 990).unwrap_err().reason, Reason::NotSignedIn);
    }
}
