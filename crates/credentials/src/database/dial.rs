//! Dialling a server at an address that was looked at.
//!
//! `sqlx` looks a name up by itself and dials whatever the name means by then, which need not be what it meant when it was judged. So
//! the gate looks it up once, judges what it found and connects to just that; `sqlx` is handed the connection through a socket in a
//! directory that only the gate may enter. What the server's certificate has to show is still the name.

use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpStream, UnixListener};
use tokio::time::timeout;

use super::{AccountError, Act, PATIENCE, Server};

/// How long an address may take that is not the last of its name: one that swallows everything leaves time for the next.
const AN_ADDRESS: Duration = Duration::from_secs(5);

/// A connection to a server that waits for its one user.
#[derive(Debug)]
pub(super) struct Way {
    dir: PathBuf,
    socket: PathBuf,
}

impl Way {
    /// Connects to the first of these addresses that answers; the port is the one that `sqlx` is told.
    pub(super) async fn to(addresses: &[SocketAddr], port: u16) -> io::Result<Self> {
        let mut there = first_that_answers(addresses, AN_ADDRESS, TcpStream::connect).await?;
        there.set_nodelay(true)?;
        let dir = tempfile::Builder::new().prefix("tidegate-").permissions(Permissions::from_mode(0o700)).tempdir()?;
        // What PostgreSQL's clients look for in a directory.
        let socket = dir.path().join(format!(".s.PGSQL.{port}"));
        let listener = UnixListener::bind(&socket)?;
        let way = Self { dir: dir.path().to_path_buf(), socket };
        tokio::spawn(async move {
            let here = timeout(PATIENCE, listener.accept()).await;
            drop((listener, dir));
            if let Ok(Ok((mut here, _))) = here {
                // Whoever uses it hears of a broken connection by its end.
                let _ended = tokio::io::copy_bidirectional(&mut here, &mut there).await;
            }
        });
        Ok(way)
    }

    /// The directory with the socket.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The socket.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }
}

/// Tries one after the other, each but the last for so long; else what the last one said.
async fn first_that_answers<C>(
    addresses: &[SocketAddr],
    patience: Duration,
    connect: impl AsyncFn(SocketAddr) -> io::Result<C>,
) -> io::Result<C> {
    let mut last = io::Error::other("its name has no address");
    for (at, address) in addresses.iter().enumerate() {
        let connected = if at + 1 == addresses.len() {
            connect(*address).await
        } else {
            timeout(patience, connect(*address)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        };
        match connected {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Server {
    /// Looks the server up, judges its addresses, and connects to one of just these.
    pub(super) async fn dial(&self, act: Act, account: &str) -> Result<Way, AccountError> {
        let failed = |error| self.unreachable(act, account, Some(sqlx::Error::Io(error)));
        let found: Vec<SocketAddr> = tokio::net::lookup_host((self.host.as_str(), self.port)).await.map_err(failed)?.collect();
        if !self.guarded_allowed && found.iter().any(|address| access::rights::is_guarded_address(address.ip())) {
            return Err(AccountError::Guarded(self.host.clone()));
        }
        Way::to(&found, self.port).await.map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_says_nothing_leaves_time_for_the_next() {
        let at = |last: u8| SocketAddr::from(([192, 0, 2, last], 5432));
        let connect = async |address: SocketAddr| if address == at(1) { std::future::pending().await } else { Ok(address) };
        assert_eq!(first_that_answers(&[at(1), at(2)], Duration::ZERO, &connect).await.unwrap(), at(2));
        assert!(timeout(Duration::from_millis(10), first_that_answers(&[at(1)], Duration::ZERO, &connect)).await.is_err());
        assert!(first_that_answers(&[], Duration::ZERO, &connect).await.unwrap_err().to_string().contains("no address"));
    }
}
