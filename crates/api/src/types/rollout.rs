//! How far the gate has been taken up.

use access::names::TierName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// A number of a phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// What is counted, in a word.
    pub name: String,
    /// The same as a sentence, numbers and all.
    pub says: String,
    /// How much is done.
    pub done: u64,
    /// Of how much; 0: there is nothing to do.
    pub of: u64,
}

/// How far a phase has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Nothing is done, and there is something to do.
    NotBegun,
    /// Some of it is done.
    UnderWay,
    /// All of it is.
    Done,
}

/// A phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Phase {
    /// `inventory`, `identity`, `policy`, `pipelines`.
    pub name: String,
    /// How far it has come.
    pub progress: Progress,
    /// What is counted.
    pub steps: Vec<Step>,
}

/// A tier that is only observed: what no path allows there is let through, recorded, and counted as standing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ObservedTier {
    /// Which.
    #[schema(value_type = schema::TierName)]
    pub tier: TierName,
    /// From when on.
    #[schema(value_type = schema::Time)]
    pub from: Timestamp,
    /// Until when; then it blocks.
    #[schema(value_type = schema::Time)]
    pub until: Timestamp,
    /// Whether it is now.
    pub now: bool,
}

/// How far the gate has been taken up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rollout {
    /// When this was counted.
    #[schema(value_type = schema::Time)]
    pub at: Timestamp,
    /// From when on sessions are counted.
    #[schema(value_type = schema::Time)]
    pub since: Timestamp,
    /// The phases, in order.
    pub phases: Vec<Phase>,
    /// Tiers that are, were or will be only observed.
    pub observed: Vec<ObservedTier>,
    /// Sessions that such a tier let through, since.
    pub observed_sessions: u64,
    /// Open grants without an end.
    pub standing: u64,
}
