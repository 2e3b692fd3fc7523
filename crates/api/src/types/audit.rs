//! The audit log, and the questions it answers.

use std::collections::BTreeMap;

use access::event::{Actor, Entry, Event};
use access::ids::{EntryId, GrantId, SessionId};
use access::names::{ResourceName, RoleName};
use access::request::Door;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::schema;
use super::who::Who;

/// One line of the audit log, with the texts that belong to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its id.
    #[schema(value_type = schema::EntryId)]
    pub id: EntryId,
    /// When.
    #[schema(value_type = schema::Time)]
    pub at: Timestamp,
    /// By whom.
    #[schema(value_type = schema::Actor)]
    pub actor: Actor,
    /// Through which door.
    #[schema(value_type = schema::Door)]
    pub door: Door,
    /// What: `event` names it (`noun.past`), the other fields are its ids, codes, times and digests.
    #[schema(value_type = Object)]
    pub data: Event,
    /// Free and personal texts, as far as they are not erased.
    pub texts: BTreeMap<String, String>,
}

impl From<&Entry> for AuditEntry {
    fn from(entry: &Entry) -> Self {
        Self {
            id: entry.id,
            at: entry.at,
            actor: entry.actor,
            door: entry.door,
            data: entry.event.clone(),
            texts: entry.texts.iter().map(|(name, text)| (name.clone(), text.text.clone())).collect(),
        }
    }
}

/// Which entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only by this person or machine, or `gate`, or `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::Actor>)]
    pub actor: Option<Actor>,
    /// Only events whose name is this or begins with it: `session` or `session.opened`; several with commas between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Only entries that mention this id or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Only from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::Time>)]
    pub since: Option<Timestamp>,
    /// Only before then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::Time>)]
    pub until: Option<Timestamp>,
    /// How many at most: 1 to 500; 50 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next_cursor` of the part before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Which entries, and in which form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditExportQuery {
    /// In which form.
    #[param(inline)]
    pub format: LinesFormat,
    /// Only by this person or machine, or `gate`, or `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::Actor>)]
    pub actor: Option<Actor>,
    /// Only events whose name is this or begins with it: `session` or `session.opened`; several with commas between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Only entries that mention this id or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Only from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::Time>)]
    pub since: Option<Timestamp>,
    /// Only before then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::Time>)]
    pub until: Option<Timestamp>,
}

/// In which form lines are taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinesFormat {
    /// One JSON object to a line.
    Jsonl,
    /// A table (RFC 4180).
    Csv,
}

/// How long the log was and what its root was, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checkpoint {
    /// The signed note (C2SP tlog-checkpoint).
    pub note: String,
    /// The key that verifies it, as C2SP signed notes write one.
    pub verifier: String,
}

/// What came of replaying the log against the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replayed {
    /// Entries that were replayed.
    pub entries: u64,
    /// Rows that are not as the log says. Empty: all are.
    pub differences: Vec<Difference>,
}

/// A row that is not as the log says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// The table.
    pub table: String,
    /// The key of the row.
    pub key: String,
    /// What is wrong, as a sentence.
    pub says: String,
}

/// Where and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WhoCouldQuery {
    /// Where to.
    #[param(value_type = schema::ResourceName)]
    pub resource: ResourceName,
    /// When; absent: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::Time>)]
    pub at: Option<Timestamp>,
    /// How many at most: 1 to 500; 50 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next_cursor` of the part before; it speaks of the same moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Somebody who could reach a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Could {
    /// Who.
    pub person: Who,
    /// As what.
    #[schema(value_type = schema::RoleName)]
    pub role: RoleName,
    /// By what.
    pub by: ReachBy,
}

/// How somebody could get in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum ReachBy {
    /// They held a grant.
    Grant {
        /// Which.
        #[schema(value_type = schema::GrantId)]
        grant: GrantId,
    },
    /// They held a grant and could have activated it.
    Ready {
        /// Which.
        #[schema(value_type = schema::GrantId)]
        grant: GrantId,
    },
    /// Policy would have let them in at once.
    AtOnce,
    /// Policy would have let them in when so many people agreed.
    Approval {
        /// How many.
        people: u32,
    },
    /// Policy would have let them in if they had declared an emergency.
    Emergency,
}

/// Where and in which time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WhoDidQuery {
    /// Where to.
    #[param(value_type = schema::ResourceName)]
    pub resource: ResourceName,
    /// From when; absent: ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::Time>)]
    pub since: Option<Timestamp>,
    /// Until when; absent: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::Time>)]
    pub until: Option<Timestamp>,
    /// How many at most: 1 to 500; 50 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next_cursor` of the part before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Somebody who did reach a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Did {
    /// Who.
    pub person: Who,
    /// As what.
    #[schema(value_type = schema::RoleName)]
    pub role: RoleName,
    /// The session.
    #[schema(value_type = schema::SessionId)]
    pub session: SessionId,
    /// From when.
    #[schema(value_type = schema::Time)]
    pub from: Timestamp,
    /// Until when; null: it lives.
    #[schema(value_type = Option<schema::Time>)]
    pub until: Option<Timestamp>,
}
