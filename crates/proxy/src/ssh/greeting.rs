//! The first words of a connection: what a client can speak is heard before the gate says what it prefers.
//!
//! In SSH the client's first common choice counts (RFC 4253 section 7.1), and OpenSSH's first choice is ChaCha20 although AES-GCM is half
//! as fast again where the CPU has AES. So the gate reads the client's `SSH_MSG_KEXINIT` before it sends its own, and offers AES-GCM alone to
//! who can speak it. Whoever does not say anything for a moment is offered everything.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How the gate calls itself.
pub(crate) const VERSION: &str = "SSH-2.0-Tidegate";
/// How long a client may wait for the gate to speak first.
const PATIENCE: Duration = Duration::from_millis(200);
/// A greeting and a `SSH_MSG_KEXINIT` are never longer.
const LONGEST: usize = 36 * 1024;
const KEXINIT: u8 = 20;
const AES_GCM: &[u8] = b"aes256-gcm@openssh.com";

/// What was heard.
pub(crate) struct Heard {
    /// Everything that was read; it is not consumed.
    pub(crate) bytes: Bytes,
    /// Whether the client can speak AES-256-GCM both ways.
    pub(crate) speaks_aes_gcm: bool,
}

impl Heard {
    /// What the client software calls itself; empty if it has not said yet.
    pub(crate) fn software(&self) -> &[u8] {
        let end = self.bytes.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(0);
        self.bytes.get(..end).unwrap_or_default()
    }
}

/// Greets, and listens for what the client can speak. Bounded in time and size; never fails, since what is odd here fails later.
pub(crate) async fn listen(stream: &mut TcpStream) -> Heard {
    let mut bytes = BytesMut::new();
    let mut speaks = None;
    let listening = async {
        stream.write_all(format!("{VERSION}\r\n").as_bytes()).await?;
        while speaks.is_none() && bytes.len() < LONGEST && stream.read_buf(&mut bytes).await? > 0 {
            speaks = speaks_aes_gcm(&bytes);
        }
        Ok::<(), std::io::Error>(())
    };
    let _ = tokio::time::timeout(PATIENCE, listening).await;
    Heard { bytes: bytes.freeze(), speaks_aes_gcm: speaks == Some(true) }
}

/// Whether the client's lists of ciphers hold AES-256-GCM; `None` while they are not complete, `Some(false)` for what is not SSH.
fn speaks_aes_gcm(bytes: &[u8]) -> Option<bool> {
    let line = bytes.iter().position(|b| *b == b'\n')?;
    let (length, packet) = bytes.get(line + 1..)?.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    if !bytes.starts_with(b"SSH-") || length > LONGEST {
        return Some(false);
    }
    // Padding length, message number, 16 bytes of cookie; then name lists: key exchange, host keys, ciphers up, ciphers down.
    let packet = packet.get(..length)?;
    if packet.get(1) != Some(&KEXINIT) {
        return Some(false);
    }
    let mut rest = packet.get(18..).unwrap_or_default();
    let mut lists = [&b""[..]; 4];
    for list in &mut lists {
        let Some((length, after)) = rest.split_first_chunk::<4>() else { return Some(false) };
        let Some((names, after)) = after.split_at_checked(u32::from_be_bytes(*length) as usize) else { return Some(false) };
        (*list, rest) = (names, after);
    }
    let [_, _, up, down] = lists;
    Some([up, down].iter().all(|list| list.split(|b| *b == b',').any(|name| name == AES_GCM)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kexinit(up: &str, down: &str) -> Vec<u8> {
        let mut payload = vec![4, KEXINIT];
        payload.extend([7; 16]);
        for list in ["curve25519-sha256", "ssh-ed25519", up, down, "", "", "none", "none", "", ""] {
            payload.extend(u32::try_from(list.len()).unwrap().to_be_bytes());
            payload.extend(list.as_bytes());
        }
        payload.extend([0; 9]);
        [b"SSH-2.0-Test\r\n", &u32::try_from(payload.len()).unwrap().to_be_bytes()[..], &payload].concat()
    }

    #[test]
    fn a_client_is_heard() {
        let both = "chacha20-poly1305@openssh.com,aes256-gcm@openssh.com";
        assert_eq!(speaks_aes_gcm(&kexinit(both, both)), Some(true));
        assert_eq!(speaks_aes_gcm(&kexinit(both, "aes256-ctr")), Some(false));
        assert_eq!(speaks_aes_gcm(&kexinit("xaes256-gcm@openssh.com", both)), Some(false));
        let whole = kexinit(both, both);
        assert_eq!(speaks_aes_gcm(&whole[..whole.len() - 1]), None);
        assert_eq!(speaks_aes_gcm(b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n"), Some(false));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), start in any::<bool>()) {
            let bytes = if start { [b"SSH-2.0-x\r\n", &bytes[..]].concat() } else { bytes };
            let _ = speaks_aes_gcm(&bytes);
        }
    }
}
