//! What keeps a person, role, resource or combination of them shut until somebody lifts it.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{LockId, PrincipalId};
use crate::names::{ResourceName, RoleName};

/// What is locked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LockScope {
    /// A person or workload, everywhere.
    Person(PrincipalId),
    /// A role, on every resource.
    Role(RoleName),
    /// A resource, for everybody.
    Resource(ResourceName),
}

impl LockScope {
    /// Whether this person as this role on this resource is kept out.
    #[must_use]
    pub fn covers(&self, person: PrincipalId, role: &RoleName, resource: &ResourceName) -> bool {
        match self {
            Self::Person(id) => *id == person,
            Self::Role(name) => name == role,
            Self::Resource(name) => name == resource,
        }
    }
}

impl fmt::Display for LockScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(id) => write!(f, "person:{id}"),
            Self::Role(name) => write!(f, "role:{name}"),
            Self::Resource(name) => write!(f, "resource:{name}"),
        }
    }
}

/// Why a text is no lock scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names nothing that can be locked; write `person:usr_…`, `role:NAME` or `resource:NAME`")]
pub struct LockScopeError(String);

impl FromStr for LockScope {
    type Err = LockScopeError;
    fn from_str(text: &str) -> Result<Self, LockScopeError> {
        let bad = || LockScopeError(text.chars().take(80).flat_map(char::escape_default).collect());
        match text.split_once(':') {
            Some(("person", id)) => id.parse().map(Self::Person).map_err(|_| bad()),
            Some(("role", name)) => name.parse().map(Self::Role).map_err(|_| bad()),
            Some(("resource", name)) => name.parse().map(Self::Resource).map_err(|_| bad()),
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
