//! Signing in a program or machine from a browser elsewhere.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// A device that asks, in its own words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDevice {
    /// The program and machine.
    #[schema(max_length = 200)]
    pub client: String,
    /// For what.
    #[schema(max_length = 200)]
    pub purpose: String,
}

/// What the device polls with, and what the person needs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BegunDevice {
    /// What it polls with; nobody else is to see it.
    pub device_code: String,
    /// What the person types at the link.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// Where, with the code.
    pub verification_uri_complete: String,
    /// Until when.
    #[schema(value_type = schema::Time)]
    pub expires_at: Timestamp,
    /// Seconds to leave between two polls.
    pub interval: u64,
}

impl std::fmt::Debug for BegunDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BegunDevice").field("verification_uri", &self.verification_uri).finish_non_exhaustive()
    }
}

/// A device asks whether somebody agreed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PollDevice {
    /// The code it was given.
    #[schema(max_length = 200, write_only)]
    pub device_code: String,
}

/// Whether the person lets the device work for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerDevice {
    /// Yes or no.
    pub agree: bool,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AskingDevice {
    /// From which address: what the gate sees itself.
    pub address: String,
    /// From which address you look at this. If they differ and should not, somebody sent you a link of theirs.
    pub your_address: String,
    /// With what program, in its own words.
    pub client: String,
    /// For what, in its own words.
    pub purpose: String,
    /// Where a connection that stands at a door of the gate wants to go, `resource[+role]`: a yes lets it in and gives nothing else. Absent:
    /// a yes gives a token.
    pub connection: Option<String>,
    /// Since when.
    #[schema(value_type = schema::Time)]
    pub asked_at: Timestamp,
}
