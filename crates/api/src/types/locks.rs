//! Locks: what keeps a person, role or resource shut.

use access::ids::LockId;
use access::lock::{LockScope, LockState};
use access::names::Username;
use access::time::Span;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::grants::Cut;
use super::schema;
use super::who::Who;

/// A lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lock {
    /// Its id.
    #[schema(value_type = schema::LockId)]
    pub id: LockId,
    /// What it keeps shut.
    #[schema(value_type = schema::LockScope)]
    pub scope: LockScope,
    /// Who that is, if it is somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Who>,
    /// Why.
    pub reason: Option<String>,
    /// Whether it holds.
    #[schema(value_type = schema::LockState)]
    pub state: LockState,
    /// Since when.
    #[schema(value_type = schema::Time)]
    pub set_at: Timestamp,
    /// Until when by itself; null: until lifted.
    #[schema(value_type = Option<schema::Time>)]
    pub until: Option<Timestamp>,
    /// When it was lifted.
    #[schema(value_type = Option<schema::Time>)]
    pub lifted_at: Option<Timestamp>,
    /// Whether it contains somebody or something: then it is lifted as a containment alone.
    #[serde(default)]
    pub contains: bool,
    /// The transmitter whose signal set it, if somebody here did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub transmitter: Option<Username>,
    /// Counts changes.
    pub version: i64,
}

/// Something to lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLock {
    /// What.
    #[schema(value_type = schema::LockScope)]
    pub scope: LockScope,
    /// For how long; absent: until lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Span>)]
    pub duration: Option<Span>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4000)]
    pub reason: Option<String>,
}

/// A lock just set, and what it cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Locked {
    /// The lock.
    pub lock: Lock,
    /// What became of sessions in its scope.
    pub cut: Cut,
}

/// Which locks to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LocksQuery {
    /// Lifted ones too.
    #[serde(default)]
    pub all: bool,
    /// How many at most: 1 to 500; 50 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next_cursor` of the part before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
