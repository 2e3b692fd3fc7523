//! Controls of SOC 2 and ISO/IEC 27001, each with what shows it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// Every control, and what shows it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Compliance {
    /// When.
    #[schema(value_type = schema::Time)]
    pub at: Timestamp,
    /// From when on things that happened are counted.
    #[schema(value_type = schema::Time)]
    pub since: Timestamp,
    /// The controls.
    pub controls: Vec<Control>,
}

/// A control.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Control {
    /// Whose: `SOC 2`, `ISO/IEC 27001:2022`.
    pub framework: String,
    /// Its number: `CC6.1`, `A.8.15`.
    pub id: String,
    /// What it is about.
    pub title: String,
    /// What the gate does for it.
    pub says: String,
    /// What shows that.
    pub evidence: Vec<ControlEvidence>,
}

/// A query, and what it answers now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ControlEvidence {
    /// What it is called.
    pub query: String,
    /// Where the API answers it.
    pub path: String,
    /// The command that asks it.
    pub command: String,
    /// How many it finds.
    pub count: u64,
    /// What that means.
    pub says: String,
    /// Whether somebody should look at it.
    pub attention: bool,
}
