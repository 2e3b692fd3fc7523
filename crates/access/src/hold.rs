//! Legal hold: what is kept until somebody lifts it, whatever else says that its time is up or that it should be erased.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{HoldId, PrincipalId, SessionId};
use crate::names::ResourceName;

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HoldScope {
    /// Everything of a person or workload, and about them.
    Person(PrincipalId),
    /// Everything at a resource.
    Resource(ResourceName),
    /// One session.
    Session(SessionId),
}

impl HoldScope {
    /// Whether a session of this person at this resource is kept.
    #[must_use]
    pub fn covers(&self, session: SessionId, person: PrincipalId, resource: &ResourceName) -> bool {
        match self {
            Self::Person(id) => *id == person,
            Self::Resource(name) => name == resource,
            Self::Session(id) => *id == session,
        }
    }
}

impl fmt::Display for HoldScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(id) => write!(f, "person:{id}"),
            Self::Resource(name) => write!(f, "resource:{name}"),
            Self::Session(id) => write!(f, "session:{id}"),
        }
    }
}

/// Why a text is no scope of a hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names nothing that can be held; write `person:usr_…`, `resource:NAME` or `session:ses_…`")]
pub struct HoldScopeError(String);

impl FromStr for HoldScope {
    type Err = HoldScopeError;
    fn from_str(text: &str) -> Result<Self, HoldScopeError> {
        let bad = || HoldScopeError(text.chars().take(80).flat_map(char::escape_default).collect());
        match text.split_once(':') {
            Some(("person", id)) => id.parse().map(Self::Person).map_err(|_| bad()),
            Some(("resource", name)) => name.parse().map(Self::Resource).map_err(|_| bad()),
            Some(("session", id)) => id.parse().map(Self::Session).map_err(|_| bad()),
            _ => Err(bad()),
        }
    }
}

impl Serialize for HoldScope {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HoldScope {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

text_fields!(HoldScope);

codes! {
    /// Whether something is held.
    HoldState("hold state") {
        /// It is.
        Set = "set",
        /// Somebody lifted it.
        Lifted = "lifted",
    }
}

row! {
    /// A hold as it is kept.
    HoldRow in "holds" {
        /// `hld_…`.
        id: HoldId,
        /// What it keeps.
        scope: HoldScope,
        /// Why; `None` once erased.
        reason: Option<String>,
        /// Whether it holds.
        state: HoldState,
        /// Since when.
        set_at: Timestamp,
        /// When it was lifted.
        lifted_at: Option<Timestamp>,
        /// Counts changes.
        version: i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;

    #[test]
    fn a_scope_is_written_one_way() {
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let (person, session) = (PrincipalId::from(UserId::generate(at)), SessionId::generate(at));
        let name: ResourceName = "db-1".parse().unwrap();
        for scope in [HoldScope::Person(person), HoldScope::Resource(name.clone()), HoldScope::Session(session)] {
            assert_eq!(scope.to_string().parse::<HoldScope>().unwrap(), scope);
            assert!(scope.covers(session, person, &name));
        }
        for wrong in ["person:ana", "role:debug", "session:", "db-1", ""] {
            assert!(wrong.parse::<HoldScope>().is_err(), "{wrong}");
        }
    }
}
