//! Sessions: what is and was connected.

use access::ids::{GrantId, PrincipalId, RecordingId, SessionId};
use access::names::{ResourceName, RoleName};
use access::session::{EndReason, Protocol, SessionState};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use evidence::recording;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::risk::Alert;
use super::schema;
use super::who::Who;

/// One connection through the gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Its id.
    #[schema(value_type = schema::SessionId)]
    pub id: SessionId,
    /// The grant it stands on.
    #[schema(value_type = schema::GrantId)]
    pub grant: GrantId,
    /// Whose.
    pub person: Who,
    /// Where to.
    #[schema(value_type = schema::ResourceName)]
    pub resource: ResourceName,
    /// As what.
    #[schema(value_type = schema::RoleName)]
    pub role: RoleName,
    /// In which protocol.
    #[schema(value_type = schema::Protocol)]
    pub protocol: Protocol,
    /// Its recording.
    #[schema(value_type = schema::RecordingId)]
    pub recording: RecordingId,
    /// The node it runs on.
    pub node: String,
    /// Whether it lives.
    #[schema(value_type = schema::SessionState)]
    pub state: SessionState,
    /// When it began.
    #[schema(value_type = schema::Time)]
    pub opened_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<schema::Time>)]
    pub ended_at: Option<Timestamp>,
    /// What ended it.
    #[schema(value_type = Option<schema::EndReason>)]
    pub end: Option<EndReason>,
    /// Whether the target's end was seen to close.
    pub confirmed: Option<bool>,
    /// Bytes from the client.
    pub bytes_up: i64,
    /// Bytes from the target.
    pub bytes_down: i64,
    /// Whole chunks in its recording.
    pub recording_chunks: Option<i64>,
    /// The digest that closes its recording's chain, hex.
    pub recording_digest: Option<String>,
    /// How many steps were made onward from its target: through forwards, with an agent, by sessions from there.
    #[serde(default)]
    pub steps: i64,
    /// The thresholds of its tier that it went over.
    #[serde(default)]
    pub alerts: Vec<Alert>,
    /// Counts changes.
    pub version: i64,
}

/// Which sessions to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SessionsQuery {
    /// Everybody's that the caller may see, and not just their own.
    #[serde(default)]
    pub all: bool,
    /// With `all`: only this person's or machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::PrincipalId>)]
    pub person: Option<PrincipalId>,
    /// Only those that live, or only those that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::SessionState>)]
    pub state: Option<SessionState>,
    /// Only to this resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::ResourceName>)]
    pub resource: Option<ResourceName>,
    /// How many at most: 1 to 500; 50 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next_cursor` of the part before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Which sessions to look for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SearchQuery {
    /// Of this person or machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::PrincipalId>)]
    pub person: Option<PrincipalId>,
    /// To this resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::ResourceName>)]
    pub resource: Option<ResourceName>,
    /// As this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::RoleName>)]
    pub role: Option<RoleName>,
    /// Through this door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::Protocol>)]
    pub protocol: Option<Protocol>,
    /// That live, or that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::SessionState>)]
    pub state: Option<SessionState>,
    /// That ended so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::EndReason>)]
    pub end: Option<EndReason>,
    /// That began at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::Time>)]
    pub since: Option<Timestamp>,
    /// That began before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::Time>)]
    pub until: Option<Timestamp>,
    /// On a grant that was asked for with this ticket, to the letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(min_length = 1, max_length = 4000)]
    pub ticket: Option<String>,
    /// In which something was done that names this: a command as the gate was given it, the path of a file, the place of a forward.
    /// What was typed into a shell, and what a terminal showed, is not searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(min_length = 1, max_length = 200)]
    pub text: Option<String>,
    /// How many at most: 1 to 500; 50 if nothing is said. There may be fewer, and yet more behind them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next_cursor` of the part before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A session that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FoundSession {
    /// Which.
    pub session: Session,
    /// What was done that names the text; the first twenty.
    pub passages: Vec<Passage>,
    /// Whether its recording could be looked through to its end. If not, what was looked for may stand further on.
    pub whole: bool,
}

/// One thing that was done in a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Passage {
    /// Microseconds since the session's recording began.
    pub at_us: u64,
    /// The channel within the session.
    pub channel: u32,
    /// What was done: a command, a file, a forward.
    #[schema(value_type = Object)]
    pub activity: serde_json::Value,
}

/// Which way something went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the target to the person.
    Output,
    /// From the person to the target.
    Input,
    /// From the gate itself.
    Gate,
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FrameKind {
    /// Bytes as they passed, in `data`.
    Bytes,
    /// Bytes of the error stream, in `data`.
    Stderr,
    /// The terminal's size, in `size`.
    Resize,
    /// One thing that was done, in `activity`.
    Activity,
}

/// One thing that passed in a session. A recording is one of these per line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Frame {
    /// Microseconds since the session's recording began.
    pub at_us: u64,
    /// The channel within the session.
    pub channel: u32,
    /// Which way it went.
    pub direction: Direction,
    /// What it carries.
    pub kind: FrameKind,
    /// Bytes, base64 (RFC 4648 §4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Columns and rows of the terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<(u32, u32)>,
    /// What was done: a command, a file, a forward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub activity: Option<serde_json::Value>,
}

impl From<&recording::Frame> for Frame {
    fn from(frame: &recording::Frame) -> Self {
        let direction = match frame.direction {
            recording::Direction::Output => Direction::Output,
            recording::Direction::Input => Direction::Input,
            recording::Direction::Gate => Direction::Gate,
        };
        let kind = match frame.kind {
            recording::FrameKind::Bytes => FrameKind::Bytes,
            recording::FrameKind::Stderr => FrameKind::Stderr,
            recording::FrameKind::Resize => FrameKind::Resize,
            recording::FrameKind::Activity => FrameKind::Activity,
        };
        let activity = (kind == FrameKind::Activity).then(|| serde_json::from_slice(&frame.bytes).ok()).flatten();
        let data = (frame.size().is_none() && activity.is_none()).then(|| BASE64_STANDARD.encode(&frame.bytes));
        Self { at_us: frame.at_us, channel: frame.channel, direction, kind, data, size: frame.size(), activity }
    }
}

/// In which form a recording is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordingFormat {
    /// One frame per line.
    #[default]
    Frames,
    /// asciicast v2, for terminals.
    Asciicast,
}

/// How to read a recording.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RecordingQuery {
    /// In which form.
    #[serde(default)]
    #[param(inline)]
    pub format: RecordingFormat,
    /// Whether what was typed is wanted too; that takes a right of its own.
    #[serde(default)]
    pub input: bool,
    /// For asciicast: which channel of the session; the first if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u32>,
}

/// One line of a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum RecordingLine {
    /// What passed.
    Frame(Frame),
    /// A part that cannot be read; what follows it can.
    Damage {
        /// What is wrong, as a sentence.
        damage: String,
    },
}

impl From<Result<recording::Frame, recording::ReadError>> for RecordingLine {
    fn from(frame: Result<recording::Frame, recording::ReadError>) -> Self {
        match frame {
            Ok(frame) => Self::Frame(Frame::from(&frame)),
            Err(error) => Self::Damage { damage: error.to_string() },
        }
    }
}
