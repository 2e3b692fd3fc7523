//! Evidence that can be taken away and verified offline.

use access::ids::{PrincipalId, RecordingId, SessionId};
use access::names::ResourceName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// What to export: one session, everything of a person or at a resource, or everything from `since` to `until`; exactly one of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportQuery {
    /// One session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::SessionId>)]
    pub session: Option<SessionId>,
    /// Of one person or machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::PrincipalId>)]
    pub person: Option<PrincipalId>,
    /// To one resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::ResourceName>)]
    pub resource: Option<ResourceName>,
    /// From then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub since: Option<Timestamp>,
    /// Before then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub until: Option<Timestamp>,
    /// Whether what was typed goes with it; that takes a right of its own.
    #[serde(default)]
    pub input: bool,
    /// In which form: a bundle that proves itself, or lines for a table or a log collector.
    #[serde(default)]
    pub format: ExportFormat,
    /// An age recipient: the keys to the recordings are wrapped to it instead of given openly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
}

/// In which form evidence is taken away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// One file that verifies without the gate.
    #[default]
    Bundle,
    /// Entries and activities, one JSON object to a line.
    Jsonl,
    /// Entries and activities as a table (RFC 4180).
    Csv,
    /// Entries and activities as events of OCSF 1.4.0, one JSON object to a line.
    Ocsf,
}

/// Why something is erased for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// Why; it stands in the log.
    #[schema(min_length = 1, max_length = 2000)]
    pub reason: String,
}

/// A text that is to be erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TextErasure {
    /// Which of the entry's texts: `reason`, `note`, `from`, …
    pub text: String,
    /// Why; it stands in the log.
    #[schema(min_length = 1, max_length = 2000)]
    pub reason: String,
}

/// What was erased of somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErasedPerson {
    /// How many texts of the log.
    pub texts: u64,
    /// How many recordings.
    pub recordings: u64,
    /// How many entries and recordings stay, as a legal hold keeps them.
    pub held: u64,
}

/// A recording that nobody reads any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DestroyedRecording {
    /// Which.
    #[schema(value_type = schema::RecordingId)]
    pub recording: RecordingId,
}
