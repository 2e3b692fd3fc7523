//! Legal holds: what is kept whatever else says that it should go.

use access::hold::{HoldScope, HoldState};
use access::ids::HoldId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::schema;
use super::who::Who;

/// A legal hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hold {
    /// Its id.
    #[schema(value_type = schema::HoldId)]
    pub id: HoldId,
    /// What it keeps.
    #[schema(value_type = schema::HoldScope)]
    pub scope: HoldScope,
    /// Who that is, if it is somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Who>,
    /// Why.
    pub reason: Option<String>,
    /// Whether it holds.
    #[schema(value_type = schema::HoldState)]
    pub state: HoldState,
    /// Since when.
    #[schema(value_type = schema::Time)]
    pub set_at: Timestamp,
    /// When it was lifted.
    #[schema(value_type = Option<schema::Time>)]
    pub lifted_at: Option<Timestamp>,
}

/// Something to keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHold {
    /// What.
    #[schema(value_type = schema::HoldScope)]
    pub scope: HoldScope,
    /// Why; it stands in the log.
    #[schema(min_length = 1, max_length = 2000)]
    pub reason: String,
}

/// Why something is no longer kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LiftHold {
    /// Why; it stands in the log.
    #[schema(min_length = 1, max_length = 2000)]
    pub reason: String,
}

/// Which holds to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HoldsQuery {
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
