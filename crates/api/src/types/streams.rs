//! Where the log goes as it grows, and how far it came.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// A stream of the log to a collector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stream {
    /// Its name, as `[[stream]]` says.
    pub name: String,
    /// What it speaks: `syslog`, `http`, `s3`, `otlp`.
    pub kind: String,
    /// In which form lines are: `ocsf`, `jsonl`.
    pub format: String,
    /// Whether what was done in sessions goes with it.
    pub activity: bool,
    /// Entries of the log that its collector took.
    pub taken: u64,
    /// Entries that wait for it.
    pub waiting: u64,
    /// When the oldest of them happened; null: none waits.
    #[schema(value_type = Option<schema::Time>)]
    pub oldest_waiting_at: Option<Timestamp>,
    /// When something was taken the last time.
    #[schema(value_type = Option<schema::Time>)]
    pub taken_at: Option<Timestamp>,
    /// Since when nothing is taken; null: all is well.
    #[schema(value_type = Option<schema::Time>)]
    pub failing_since: Option<Timestamp>,
    /// When it is tried again.
    #[schema(value_type = Option<schema::Time>)]
    pub due_at: Option<Timestamp>,
    /// Why it was not taken the last time.
    pub error: Option<String>,
}
