//! What keeps a person, role, resource or network shut until somebody lifts it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{LockId, PrincipalId};
use crate::names::{ResourceName, RoleName, Username};

/// What is locked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LockScope {
    /// A person or workload, everywhere.
    Person(PrincipalId),
    /// A role, on every resource.
    Role(RoleName),
    /// A resource, for everybody.
    Resource(ResourceName),
    /// Whoever comes from there, whoever they are.
    Network(Network),
}

/// Addresses that begin alike: `192.0.2.0/24`, `2001:db8::/32`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

impl Network {
    /// The addresses whose first bits are those of this one.
    ///
    /// # Errors
    /// If it has fewer bits, or those behind are not zero.
    pub fn new(first: IpAddr, bits: u8) -> Result<Self, LockScopeError> {
        let network = Self { first, bits };
        if u32::from(bits) <= length(first) && masked(first, bits) == first {
            return Ok(network);
        }
        Err(LockScopeError(format!("network:{network}")))
    }

    /// Whether an address is one of them. An IPv4 address inside IPv6 is the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.bits) == self.first
    }
}

fn length(address: IpAddr) -> u32 {
    if address.is_ipv4() { Ipv4Addr::BITS } else { Ipv6Addr::BITS }
}

/// An address of which only the first bits are left.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    let bits = u32::from(bits);
    match address {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & u32::MAX.checked_shl(Ipv4Addr::BITS.saturating_sub(bits)).unwrap_or(0)).into(),
        IpAddr::V6(ip) => {
            Ipv6Addr::from_bits(ip.to_bits() & u128::MAX.checked_shl(Ipv6Addr::BITS.saturating_sub(bits)).unwrap_or(0)).into()
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if u32::from(self.bits) == length(self.first) { self.first.fmt(f) } else { write!(f, "{}/{}", self.first, self.bits) }
    }
}

impl FromStr for Network {
    type Err = LockScopeError;
    fn from_str(text: &str) -> Result<Self, LockScopeError> {
        let bad = || LockScopeError(text.chars().take(80).flat_map(char::escape_default).collect());
        let (first, bits) = match text.split_once('/') {
            Some((first, bits)) if bits.bytes().all(|b| b.is_ascii_digit()) => (first, Some(bits.parse().map_err(|_| bad())?)),
            Some(_) => return Err(bad()),
            None => (text, None),
        };
        let first: IpAddr = first.parse().map_err(|_| bad())?;
        // Nobody's address is one of IPv4 inside IPv6: what is written so is the address of IPv4, alone.
        if first != first.to_canonical() {
            return Err(bad());
        }
        let whole = u8::try_from(length(first)).unwrap_or(u8::MAX);
        Self::new(first, bits.unwrap_or(whole)).map_err(|_| bad())
    }
}

impl LockScope {
    /// Whether this person as this role on this resource is kept out.
    #[must_use]
    pub fn covers(&self, person: PrincipalId, role: &RoleName, resource: &ResourceName) -> bool {
        match self {
            Self::Person(id) => *id == person,
            Self::Role(name) => name == role,
            Self::Resource(name) => name == resource,
            // That depends on where they come from: `covers_address`.
            Self::Network(_) => false,
        }
    }

    /// Whether whoever comes from this address is kept out.
    #[must_use]
    pub fn covers_address(&self, from: IpAddr) -> bool {
        matches!(self, Self::Network(network) if network.contains(from))
    }
}

impl fmt::Display for LockScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(id) => write!(f, "person:{id}"),
            Self::Role(name) => write!(f, "role:{name}"),
            Self::Resource(name) => write!(f, "resource:{name}"),
            Self::Network(network) => write!(f, "network:{network}"),
        }
    }
}

/// Why a text is no lock scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names nothing that can be locked; write `person:usr_…`, `role:NAME`, `resource:NAME` or `network:192.0.2.0/24`")]
pub struct LockScopeError(String);

impl FromStr for LockScope {
    type Err = LockScopeError;
    fn from_str(text: &str) -> Result<Self, LockScopeError> {
        let bad = || LockScopeError(text.chars().take(80).flat_map(char::escape_default).collect());
        match text.split_once(':') {
            Some(("person", id)) => id.parse().map(Self::Person).map_err(|_| bad()),
            Some(("role", name)) => name.parse().map(Self::Role).map_err(|_| bad()),
            Some(("resource", name)) => name.parse().map(Self::Resource).map_err(|_| bad()),
            Some(("network", network)) => network.parse().map(Self::Network).map_err(|_| bad()),
            _ => Err(bad()),
        }
    }
}

impl Serialize for LockScope {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LockScope {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

text_fields!(LockScope);

codes! {
    /// Whether a lock holds.
    LockState("lock state") {
        /// It does.
        Set = "set",
        /// Somebody lifted it, or its time ran out.
        Lifted = "lifted",
    }
}

row! {
    /// A lock as it is kept.
    LockRow in "locks" {
        /// `lck_…`.
        id: LockId,
        /// What it keeps shut.
        scope: LockScope,
        /// Why; `None` once erased.
        reason: Option<String>,
        /// Whether it holds.
        state: LockState,
        /// Since when.
        set_at: Timestamp,
        /// Until when by itself; `None`: until lifted.
        until: Option<Timestamp>,
        /// When it was lifted.
        lifted_at: Option<Timestamp>,
        /// Whether it contains somebody or something; see `tidegate contain`.
        contains: bool,
        /// The transmitter whose signal set it; `None`: somebody here did.
        transmitter: Option<Username>,
        /// Counts changes.
        version: i64,
    }
}

impl LockRow {
    /// Whether it holds at `now`.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.state == LockState::Set && self.until.is_none_or(|end| end > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_written_one_way_and_holds_what_begins_alike() {
        for (text, inside, outside) in [
            ("network:192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("network:192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("network:0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("network:2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("network:10.0.0.0/8", "::ffff:10.1.2.3", "11.0.0.0"),
        ] {
            let scope: LockScope = text.parse().unwrap();
            assert_eq!(scope.to_string(), text);
            assert!(scope.covers_address(inside.parse().unwrap()), "{text}");
            assert!(!scope.covers_address(outside.parse().unwrap()), "{text}");
        }
        for wrong in [
            "network:",
            "network:192.0.2.1/24",
            "network:192.0.2.0/33",
            "network:192.0.2.0/+8",
            "network:::ffff:10.0.0.0/104",
            "network:all",
            "net:10.0.0.0/8",
        ] {
            assert!(wrong.parse::<LockScope>().is_err(), "{wrong}");
        }
    }
}
