//! Whether access is getting better, in numbers. `docs/measures.md` says what each counts.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::schema;

/// How long a period is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A day, UTC.
    Day,
    /// Monday to Sunday.
    #[default]
    Week,
    /// A month of the calendar.
    Month,
}

/// The numbers of some time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Measures {
    /// They follow from so many entries of the log, from its first on.
    pub entries: u64,
    /// So many entries are not counted yet: more than a few only while the whole log is told again.
    pub waiting: u64,
    /// How long each period is.
    pub by: By,
    /// All of the time.
    pub total: Period,
    /// Its parts, oldest first.
    pub periods: Vec<Period>,
}

/// What was counted in some days.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Period {
    /// The first of them.
    #[schema(value_type = schema::Day)]
    pub from: Date,
    /// The first that is not one of them.
    #[schema(value_type = schema::Day)]
    pub until: Date,
    /// From a request that people agreed to, to the first session on what came of it.
    pub request_to_session: Waits,
    /// First sessions on what nobody had to agree to, emergencies among them.
    pub at_once: u64,
    /// Emergencies that were declared.
    pub emergencies: u64,
    /// Of the sessions opened on production: those that stood on a right with an end.
    pub time_bound: Share,
    /// Rights on production without an end that were active when the period was over.
    pub standing_privileged_roles: u64,
    /// Of the sessions that ended: those of which everything stands in the log.
    pub complete_audit: Share,
    /// From an order to contain to the last confirmed close in its scope.
    pub containment: Done,
    /// Sessions opened from the machine of another session.
    pub lateral_steps: u64,
    /// From a revocation to the confirmed close of a session it ended.
    pub revocation_to_last_byte: Done,
}

/// How long something took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waits {
    /// How often it happened.
    pub count: u64,
    /// Half of them took at most so many milliseconds; null if there were none.
    pub median_ms: Option<u64>,
    /// Nine of ten took at most so many.
    pub p90_ms: Option<u64>,
}

/// A part of a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Share {
    /// So many …
    pub part: u64,
    /// … of so many.
    pub of: u64,
    /// The one divided by the other; null if there were none.
    pub share: Option<f64>,
}

/// What was ordered and is seen to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Done {
    /// How often it was ordered.
    pub ordered: u64,
    /// How often it is seen to be done.
    pub done: u64,
    /// Half of what was done took at most so many milliseconds; null if nothing was.
    pub median_ms: Option<u64>,
    /// Ninety-nine of a hundred took at most so many.
    pub p99_ms: Option<u64>,
    /// The longest took so many.
    pub longest_ms: Option<u64>,
}

/// Which numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MeasuresQuery {
    /// The first day, UTC; as many periods back as make a picture if nothing is said: 31 days, 26 weeks, 12 months.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::Day>)]
    pub since: Option<Date>,
    /// The first day that is not counted any more; tomorrow if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::Day>)]
    pub until: Option<Date>,
    /// How long each period is; a week if nothing is said. There are at most 400 of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub by: Option<By>,
}
