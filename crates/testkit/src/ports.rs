//! Ports of loopback for servers that have to be told where to listen.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below those that Linux gives away by itself.
const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

/// A port at which nobody listens, and that nobody else is given: not by this again, nor by the kernel, which gives who asks for any port
/// one of its own range. So a server that is started a moment later, or once more, finds it as free as it was.
///
/// # Errors
/// If none is left.
pub fn free() -> io::Result<SocketAddr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Another process of tests begins elsewhere.
    let begin = process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let nth = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + nth).map_err(io::Error::other)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(io::Error::other("no port of loopback is free"))
}
