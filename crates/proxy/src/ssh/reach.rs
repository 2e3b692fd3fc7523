//! Where a forwarded connection may lead.
//!
//! A host that the rights name goes to the target as it is: whoever wrote the name answers for where it leads there. What only a wildcard
//! covers is resolved here, and the target is told an address: a name could mean the target itself, or a metadata service, to the target,
//! and something else each time it is asked for.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use access::rights::{Endpoint, is_guarded_address};
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::target::Target;

/// How long resolving a name may take.
const RESOLVE: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried, at most.
const TRIED: usize = 4;

/// Where a destination leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// As the target understands the name.
    ByName,
    /// To one of these, in this order.
    To(Vec<IpAddr>),
    /// The rights do not cover it.
    Closed,
    /// A wildcard covers the name, but not the address it leads to.
    Guarded(IpAddr),
    /// It cannot be resolved here, and why.
    Unknown(String),
}

/// Where `host:port` leads under these rights.
pub(super) async fn route(rights: &[Endpoint], host: &str, port: u16, target: &Target) -> Route {
    let covering: Vec<&Endpoint> = rights.iter().filter(|endpoint| endpoint.covers(host, port)).collect();
    if covering.is_empty() {
        return Route::Closed;
    }
    if covering.iter().any(|endpoint| endpoint.names(host)) {
        return Route::ByName;
    }
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    match timeout(RESOLVE, lookup_host((bare, port))).await {
        Ok(Ok(found)) => among(found.map(|at| at.ip()), |address| target.is_at(address) || is_own(address)),
        Ok(Err(error)) => Route::Unknown(error.to_string()),
        Err(_) => Route::Unknown(format!("no answer within {} seconds", RESOLVE.as_secs())),
    }
}

/// All addresses of a name are judged, not just those that would be tried: a name that also leads elsewhere is not to be trusted at all.
fn among(found: impl Iterator<Item = IpAddr>, is_near: impl Fn(IpAddr) -> bool) -> Route {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found.map(|address| address.to_canonical()) {
        if is_guarded_address(address) || is_near(address) {
            return Route::Guarded(address);
        }
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Route::Unknown("it has no address".to_owned());
    }
    addresses.truncate(TRIED);
    Route::To(addresses)
}

/// Whether an address is one of this machine's: the gate is no destination.
fn is_own(address: IpAddr) -> bool {
    let binds = |address: IpAddr| UdpSocket::bind((address, 0)).is_ok();
    // Where addresses may be bound that are not there (`ip_nonlocal_bind`), binding says nothing. RFC 5737 reserves this one.
    binds(address) && !binds(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 113)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route_of(found: &[&str]) -> Route {
        among(found.iter().map(|a| a.parse().unwrap()), |address| address == IpAddr::from([10, 0, 0, 7]))
    }

    // covers: B6 (ssh)
    #[test]
    fn a_name_under_a_wildcard_leads_nowhere_if_any_of_its_addresses_is_guarded() {
        let to = |addresses: &[&str]| Route::To(addresses.iter().map(|a| a.parse().unwrap()).collect());
        assert_eq!(route_of(&["10.1.2.3", "10.1.2.3", "2001:db8::1"]), to(&["10.1.2.3", "2001:db8::1"]));
        assert_eq!(route_of(&["::ffff:10.1.2.3"]), to(&["10.1.2.3"]));
        for guarded in ["127.0.0.1", "169.254.169.254", "fd00:ec2::254", "::1", "0.0.0.0", "::ffff:127.0.0.1", "10.0.0.7"] {
            assert!(matches!(route_of(&["10.1.2.3", guarded]), Route::Guarded(_)), "{guarded}");
        }
        assert!(matches!(route_of(&[]), Route::Unknown(_)));
        assert!(is_own([127, 0, 0, 1].into()) && !is_own([198, 51, 100, 77].into()));
    }
}
