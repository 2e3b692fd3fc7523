//! What is unusual about who asks, and about a session.

use access::risk::{Finding, Level, Signal};
use access::threshold::{Consequence, Watched};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// What is unusual about who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Risk {
    /// How unusual all of it is together.
    #[schema(value_type = schema::RiskLevel)]
    pub level: Level,
    /// Each signal once.
    pub signals: Vec<Sign>,
    /// A sentence for each that is set or cannot be told, with the numbers behind it; none once erased.
    pub says: Vec<String>,
}

/// One signal, and the numbers behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sign {
    /// Which.
    #[schema(value_type = schema::RiskSignal)]
    pub signal: Signal,
    /// Whether it is set.
    #[schema(value_type = schema::RiskFinding)]
    pub found: Finding,
    /// What was counted.
    pub value: u64,
    /// What it was held against.
    pub bound: u64,
}

impl Risk {
    /// Signals with their sentences.
    #[must_use]
    pub fn of(risk: access::risk::Risk, says: Vec<String>) -> Self {
        let sign = |sign: access::risk::Sign| Sign { signal: sign.signal, found: sign.found, value: sign.value, bound: sign.bound };
        Self { level: risk.level, signals: risk.signs.into_iter().map(sign).collect(), says }
    }
}

/// A threshold that a session went over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alert {
    /// When.
    #[schema(value_type = schema::Time)]
    pub at: Timestamp,
    /// What is watched.
    #[schema(value_type = schema::Watched)]
    pub what: Watched,
    /// How many there were.
    pub value: u64,
    /// More than this was too much.
    pub bound: u64,
    /// What followed.
    #[schema(value_type = schema::Consequence)]
    pub then: Consequence,
    /// The same in a sentence.
    pub says: String,
}

impl From<access::threshold::Alert> for Alert {
    fn from(alert: access::threshold::Alert) -> Self {
        let says = alert.sentence();
        Self { at: alert.at, what: alert.what, value: alert.value, bound: alert.bound, then: alert.then, says }
    }
}
