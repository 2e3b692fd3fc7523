//! Ways to production that do not pass the gate, and what targets hold that it did not put there.

use access::ids::{FindingId, PathId};
use access::inventory::{Attribution, FindingKind, FindingState, Issuance, PathState, Reach, SourceKind};
use access::names::{GroupName, ResourceName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::schema;
use super::who::Who;

/// A way to a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KnownWay {
    /// Its id.
    #[schema(value_type = schema::PathId)]
    pub id: PathId,
    /// The list it came from.
    #[schema(value_type = schema::GroupName)]
    pub source: GroupName,
    /// What it speaks.
    #[schema(value_type = schema::Reach)]
    pub reach: Reach,
    /// What it leads to; null if it was erased.
    pub target: Option<String>,
    /// The account there, if that is known.
    pub account: Option<String>,
    /// Who can use it, in the words of the list.
    pub holder: Option<String>,
    /// Who that is here; null: nobody known here.
    pub person: Option<Who>,
    /// How its credentials come about.
    #[schema(value_type = schema::Issuance)]
    pub issuance: Issuance,
    /// Whether what is done over it is one person's.
    #[schema(value_type = schema::Attribution)]
    pub attribution: Attribution,
    /// What else is known, one thing each.
    pub detail: Vec<String>,
    /// What became of it.
    #[schema(value_type = schema::PathState)]
    pub state: PathState,
    /// The resource that is where it leads.
    #[schema(value_type = Option<schema::ResourceName>)]
    pub resource: Option<ResourceName>,
    /// Until when it is accepted.
    #[schema(value_type = Option<schema::Time>)]
    pub accepted_until: Option<Timestamp>,
    /// Who closed or accepted it.
    pub decided_by: Option<Who>,
    /// Why.
    pub reason: Option<String>,
    /// When it was found.
    #[schema(value_type = schema::Time)]
    pub found_at: Timestamp,
    /// Since when its state is what it is.
    #[schema(value_type = schema::Time)]
    pub since: Timestamp,
    /// Counts changes.
    pub version: i64,
}

/// A list of ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// What it is.
    #[schema(value_type = schema::SourceKind)]
    pub kind: SourceKind,
    /// Its text; at most 6 MiB. No secret in it is kept.
    pub content: String,
    /// What it is called here; left out: by its kind, and by whose it is or where it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::GroupName>)]
    pub source: Option<GroupName>,
    /// The target it was found on, as `host` or `host:port`: of lists of keys and accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255)]
    pub on: Option<String>,
    /// The account it was found in there: of lists of keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255)]
    pub account: Option<String>,
    /// Whose file it is: of configurations on laptops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255)]
    pub of: Option<String>,
    /// What the file was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255)]
    pub file: Option<String>,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Imported {
    /// What the list is called.
    #[schema(value_type = schema::GroupName)]
    pub source: GroupName,
    /// Whether it is to the byte what was read before; then nothing was done.
    pub same: bool,
    /// How many ways it names.
    pub paths: u64,
    /// How many of them are new.
    pub found: u64,
    /// How many are different from what they were.
    pub changed: u64,
    /// How many were closed or gone, and are there again.
    pub back: u64,
    /// How many it does not name any more.
    pub gone: u64,
    /// How many are inside now: a resource of the policy covers them, or they pass the gate.
    pub taken_in: u64,
    /// How many of its entries name no way.
    pub skipped: u64,
    /// What whoever imports it should know.
    pub notes: Vec<String>,
}

/// A way that no list names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWay {
    /// What it speaks.
    #[schema(value_type = schema::Reach)]
    pub reach: Reach,
    /// What it leads to: `host:port`, or a name.
    pub target: String,
    /// The account there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Who can use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// How its credentials come about; `unknown` if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Issuance>)]
    pub issuance: Option<Issuance>,
    /// Whether what is done over it is one person's; `unknown` if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Attribution>)]
    pub attribution: Option<Attribution>,
    /// What else is worth knowing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Why something stays, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// Why.
    #[schema(max_length = 1000)]
    pub reason: String,
    /// Until when, at most a year from now. A way needs it; a finding without it stays accepted until it is mended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub until: Option<Timestamp>,
}

/// Why a way is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    /// What was done, or why it needs nothing.
    #[schema(max_length = 1000)]
    pub reason: String,
}

/// Which ways to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WaysQuery {
    /// Only in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::PathState>)]
    pub state: Option<PathState>,
    /// Only from this list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::GroupName>)]
    pub source: Option<GroupName>,
    /// Only those that speak this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::Reach>)]
    pub reach: Option<Reach>,
    /// How many at most: 1 to 500; 50 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next_cursor` of the part before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// How many ways are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WayCounts {
    /// Outside the gate, without an answer: the backlog.
    pub open: u64,
    /// Inside: a resource of the policy covers them, or they pass the gate.
    pub taken_in: u64,
    /// Accepted until a date.
    pub accepted: u64,
    /// Closed.
    pub closed: u64,
    /// Not named by their lists any more.
    pub gone: u64,
}

/// How many ways were in which state at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BacklogWeek {
    /// When.
    #[schema(value_type = schema::Time)]
    pub at: Timestamp,
    /// How many.
    pub ways: WayCounts,
}

/// A list that ways came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaySource {
    /// What it is called.
    #[schema(value_type = schema::GroupName)]
    pub name: GroupName,
    /// What it is.
    #[schema(value_type = schema::SourceKind)]
    pub kind: SourceKind,
    /// How many ways it named.
    pub paths: u64,
    /// When it was last read.
    #[schema(value_type = schema::Time)]
    pub imported_at: Timestamp,
}

/// The backlog of ways outside the gate, now and over time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Backlog {
    /// Now.
    pub now: WayCounts,
    /// At the end of each week, the oldest first; the last one is now.
    pub weeks: Vec<BacklogWeek>,
    /// The lists that ways came from.
    pub sources: Vec<WaySource>,
}

/// How many weeks to tell of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BacklogQuery {
    /// 1 to 104; 12 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 104)]
    pub weeks: Option<u32>,
}

/// Something on a target that the gate did not put there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DriftFinding {
    /// Its id.
    #[schema(value_type = schema::FindingId)]
    pub id: FindingId,
    /// Where.
    #[schema(value_type = schema::ResourceName)]
    pub resource: ResourceName,
    /// What.
    #[schema(value_type = schema::FindingKind)]
    pub kind: FindingKind,
    /// Which one: the account, the setting; null if it was erased.
    pub subject: Option<String>,
    /// What it is, in words.
    pub detail: Option<String>,
    /// What became of it.
    #[schema(value_type = schema::FindingState)]
    pub state: FindingState,
    /// Until when it is accepted; null: until it is mended.
    #[schema(value_type = Option<schema::Time>)]
    pub accepted_until: Option<Timestamp>,
    /// Who accepted it.
    pub decided_by: Option<Who>,
    /// Why.
    pub reason: Option<String>,
    /// When it was found.
    #[schema(value_type = schema::Time)]
    pub found_at: Timestamp,
    /// Since when its state is what it is.
    #[schema(value_type = schema::Time)]
    pub since: Timestamp,
    /// Counts changes.
    pub version: i64,
}

/// Which findings to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FindingsQuery {
    /// Only in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::FindingState>)]
    pub state: Option<FindingState>,
    /// Only on this resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::ResourceName>)]
    pub resource: Option<ResourceName>,
    /// Only of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::FindingKind>)]
    pub kind: Option<FindingKind>,
    /// How many at most: 1 to 500; 50 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next_cursor` of the part before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Which target to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLook {
    /// The resource.
    #[schema(value_type = schema::ResourceName)]
    pub resource: ResourceName,
}

/// When a target was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Look {
    /// Which resource.
    #[schema(value_type = schema::ResourceName)]
    pub resource: ResourceName,
    /// When somebody last tried.
    #[schema(value_type = schema::Time)]
    pub tried_at: Timestamp,
    /// When it was last seen.
    #[schema(value_type = Option<schema::Time>)]
    pub seen_at: Option<Timestamp>,
    /// Whether the last try came to nothing.
    pub failed: bool,
    /// Why, or what could not be seen.
    pub detail: Option<String>,
    /// How many findings there were then.
    pub findings: u64,
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Looked {
    /// The look.
    pub look: Look,
    /// How many findings are new, or back.
    pub new: u64,
    /// How many are not there any more.
    pub mended: u64,
    /// Every finding that is there.
    pub findings: Vec<DriftFinding>,
}

/// When targets were looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Looks {
    /// How often every target is looked at by itself; null: only when somebody asks.
    #[schema(value_type = Option<schema::Span>)]
    pub every: Option<access::time::Span>,
    /// The last look at each.
    pub items: Vec<Look>,
}
