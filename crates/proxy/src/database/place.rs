//! Where a server is: the database that is meant, the certificate that is believed, and the first address that answers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use access::reason::{Reason, Refusal};
use access::session::{DatabaseDial, TargetTls};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::tls;
use crate::ssh::text::inert;

/// How long an address may take that is not the last of its name: one that swallows everything leaves time for the next.
const AN_ADDRESS: Duration = Duration::from_secs(5);

/// Where a server is, and how it proves to be the right one.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("address", &self.address).field("tls", &self.tls.is_some()).finish()
    }
}

impl Place {
    /// A connection without TLS yet.
    pub(crate) async fn tcp(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// The database that a session is in: the resource's own, or the one that the client names, if either names one.
pub(crate) fn database(dial: &DatabaseDial, named: Option<&str>) -> Result<Option<String>, Refusal> {
    match (dial.database.as_deref(), named) {
        (Some(only), Some(other)) if only != other => {
            let why = format!("it is the database `{}`, not `{}`", inert(only, 64), inert(other, 64));
            Err(Refusal::because(Reason::UnknownResource, why))
        }
        (only, named) => Ok(only.or(named).map(str::to_owned)),
    }
}

/// Connects to the first address that may be dialled and answers. `alpn` names the protocol, where one has a name in TLS.
pub(crate) async fn reach<C>(
    dial: &DatabaseDial,
    alpn: Vec<Vec<u8>>,
    connect: impl AsyncFn(&Place) -> io::Result<C>,
) -> Result<(Place, C), Refusal> {
    let tls = match &dial.tls {
        TargetTls::Plain => None,
        trusted => {
            let name =
                ServerName::try_from(dial.host.clone()).map_err(|_| unreachable("its address is no name that a certificate can have"))?;
            Some((tls::config(trusted, alpn)?, name))
        }
    };
    let host = dial.host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((host, dial.port)).await.map_err(|e| unreachable(format!("its name does not resolve: {e}")))?;
    let (places, forbidden): (Vec<SocketAddr>, Vec<SocketAddr>) = found.partition(|address| dial.allows_address(address.ip()));
    let places = places.into_iter().map(|address| Place { address, tls: tls.clone() }).collect();
    match first_that_answers(places, AN_ADDRESS, connect).await {
        Ok(reached) => Ok(reached),
        Err(Some(error)) => Err(unreachable(inert(&error.to_string(), 512))),
        Err(None) if forbidden.is_empty() => Err(unreachable("its name has no address")),
        Err(None) => Err(Refusal::of(Reason::TargetForbidden)),
    }
}

/// Tries one after the other, each but the last for so long; else what the last one said, if there is any.
async fn first_that_answers<C>(
    places: Vec<Place>,
    patience: Duration,
    connect: impl AsyncFn(&Place) -> io::Result<C>,
) -> Result<(Place, C), Option<io::Error>> {
    let (mut last, mut left) = (None, places.len());
    for place in places {
        left -= 1;
        let connected = match left {
            0 => connect(&place).await,
            _ => timeout(patience, connect(&place)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        };
        match connected {
            Ok(connection) => return Ok((place, connection)),
            Err(error) => last = Some(error),
        }
    }
    Err(last)
}

/// A server that cannot be talked to.
pub(crate) fn unreachable(why: impl Into<String>) -> Refusal {
    Refusal::because(Reason::TargetUnreachable, why)
}

/// A server that does not want to be talked to.
pub(crate) fn refused(why: impl Into<String>) -> Refusal {
    Refusal::because(Reason::TargetRefused, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> Place {
        Place { address: ([192, 0, 2, last], 5432).into(), tls: None }
    }

    #[tokio::test]
    async fn an_address_that_says_nothing_leaves_time_for_the_next() {
        let connect = async |place: &Place| match place.address {
            address if address == at(1).address => std::future::pending().await,
            address if address == at(2).address => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
            address => Ok(address),
        };
        let (place, answered) = first_that_answers(vec![at(1), at(2), at(3)], Duration::ZERO, &connect).await.unwrap();
        assert_eq!((place.address, answered), (at(3).address, at(3).address));
        let refused = first_that_answers(vec![at(1), at(2)], Duration::ZERO, &connect).await.unwrap_err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        // The last may take as long as the whole dial.
        let last = first_that_answers(vec![at(2), at(1)], Duration::ZERO, &connect);
        assert!(timeout(Duration::from_millis(10), last).await.is_err());
        assert!(first_that_answers(Vec::new(), Duration::ZERO, &connect).await.unwrap_err().is_none());
    }
}
