//! Where a server is: the database that is meant, the certificate that is believed, and the first address that answers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use access::reason::{Reason, Refusal};
use access::session::{DatabaseDial, TargetTls};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use super::tls;
use crate::ssh::text::inert;

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
    let (mut last, mut forbidden) = (None, false);
    for address in found {
        if !dial.allows_address(address.ip()) {
            forbidden = true;
            continue;
        }
        let place = Place { address, tls: tls.clone() };
        match connect(&place).await {
            Ok(connection) => return Ok((place, connection)),
            Err(error) => last = Some(error),
        }
    }
    Err(match last {
        Some(error) => unreachable(inert(&error.to_string(), 512)),
        None if forbidden => Refusal::of(Reason::TargetForbidden),
        None => unreachable("its name has no address"),
    })
}

/// A server that cannot be talked to.
pub(crate) fn unreachable(why: impl Into<String>) -> Refusal {
    Refusal::because(Reason::TargetUnreachable, why)
}

/// A server that does not want to be talked to.
pub(crate) fn refused(why: impl Into<String>) -> Refusal {
    Refusal::because(Reason::TargetRefused, why)
}
