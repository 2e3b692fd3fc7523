//! Which class of the schema an entry or an activity belongs to, and what it did there.
//!
//! What is not named here has a class all the same: by its verb it made, changed or removed a thing.

use access::session::Protocol;
use serde_json::{Map, Value};

use super::Severity;

/// The classes that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    AccountChange,
    Authentication,
    AuthorizeSession,
    EntityManagement,
    UserAccess,
    NetworkActivity,
    SshActivity,
    ApiActivity,
    DatastoreActivity,
}

impl Class {
    pub(super) fn uid(self) -> u32 {
        match self {
            Self::AccountChange => 3001,
            Self::Authentication => 3002,
            Self::AuthorizeSession => 3003,
            Self::EntityManagement => 3004,
            Self::UserAccess => 3005,
            Self::NetworkActivity => 4001,
            Self::SshActivity => 4007,
            Self::ApiActivity => 6003,
            Self::DatastoreActivity => 6005,
        }
    }

    pub(super) fn caption(self) -> &'static str {
        match self {
            Self::AccountChange => "Account Change",
            Self::Authentication => "Authentication",
            Self::AuthorizeSession => "Authorize Session",
            Self::EntityManagement => "Entity Management",
            Self::UserAccess => "User Access Management",
            Self::NetworkActivity => "Network Activity",
            Self::SshActivity => "SSH Activity",
            Self::ApiActivity => "API Activity",
            Self::DatastoreActivity => "Datastore Activity",
        }
    }

    pub(super) fn category(self) -> (u32, &'static str) {
        match self.uid() / 1000 {
            3 => (3, "Identity & Access Management"),
            4 => (4, "Network Activity"),
            _ => (6, "Application Activity"),
        }
    }

    /// What its activities are called.
    fn activities(self) -> &'static [(u8, &'static str)] {
        match self {
            Self::AccountChange => {
                &[(1, "Create"), (2, "Enable"), (5, "Disable"), (6, "Delete"), (10, "MFA Factor Enable"), (11, "MFA Factor Disable")]
            }
            Self::Authentication => &[(1, "Logon"), (2, "Logoff")],
            Self::AuthorizeSession => &[(1, "Assign Privileges")],
            Self::EntityManagement | Self::ApiActivity => &[(1, "Create"), (2, "Read"), (3, "Update"), (4, "Delete")],
            Self::UserAccess => &[(1, "Assign Privileges"), (2, "Revoke Privileges")],
            Self::NetworkActivity | Self::SshActivity => &[(1, "Open"), (2, "Close"), (5, "Refuse"), (6, "Traffic")],
            Self::DatastoreActivity => &[(3, "Connect"), (4, "Query")],
        }
    }
}

/// None of the activities of a class; the event's own name says which.
const OTHER: u8 = 99;

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) class: Class,
    pub(super) activity: u8,
    /// Whether what was tried did not come about.
    pub(super) failed: bool,
}

impl Kind {
    /// What an entry is.
    pub(super) fn of(name: &str, fields: &Map<String, Value>, protocol: Option<Protocol>) -> Self {
        let (noun, verb) = name.split_once('.').unwrap_or((name, ""));
        let refused = matches!(verb, "refused" | "rejected" | "abandoned" | "behind") || name == "session.denied";
        let failed = refused || fields.get("agreed").and_then(Value::as_bool) == Some(false);
        let (class, activity) = match name {
            "signin.refused" | "workload.signed_in" | "identity.proved" | "invitation.used" | "device.answered" | "passkey.used" => {
                (Class::Authentication, 1)
            }
            "identity.signed_out" => (Class::Authentication, 2),
            "person.created" | "directory.user_added" => (Class::AccountChange, 1),
            "person.enabled" => (Class::AccountChange, 2),
            "person.disabled" | "directory.user_held" => (Class::AccountChange, 5),
            "directory.user_removed" => (Class::AccountChange, 6),
            "passkey.added" => (Class::AccountChange, 10),
            "passkey.removed" => (Class::AccountChange, 11),
            "person.renamed"
            | "directory.user_changed"
            | "workload.handed_over"
            | "identity.linked"
            | "identity.unlinked"
            | "administrator.recovered" => (Class::AccountChange, OTHER),
            "grant.created" | "grant.activated" | "grant.extended" => (Class::UserAccess, 1),
            "session.rehomed" => (Class::AuthorizeSession, 1),
            "session.watched" | "recording.read" | "recordings.searched" | "evidence.exported" => (Class::ApiActivity, 2),
            "session.killed" => (Class::ApiActivity, 4),
            "action.refused" | "vote.refused" | "recording.progress" | "bundle.rejected" | "session.joined" => (Class::ApiActivity, OTHER),
            _ => match noun {
                "grant" => (Class::UserAccess, 2),
                "session" => connection(verb, protocol.or_else(|| door(fields))),
                "node" | "log" | "clock" | "oncall" | "delivery" | "signal" => (Class::ApiActivity, OTHER),
                _ => (Class::EntityManagement, by_verb(verb)),
            },
        };
        Self { class, activity, failed }
    }

    /// What an activity of a session is.
    pub(super) fn of_activity(kind: &str, name: &str, protocol: Option<Protocol>) -> Self {
        if kind != "activity" {
            return Self { class: Class::ApiActivity, activity: OTHER, failed: true };
        }
        let (class, activity) = match protocol {
            Some(Protocol::Ssh) => (Class::SshActivity, 6),
            _ if name == "sql.statement" => (Class::DatastoreActivity, 4),
            _ if name.starts_with("sql.") => (Class::DatastoreActivity, OTHER),
            _ => (Class::NetworkActivity, 6),
        };
        Self { class, activity, failed: false }
    }

    /// What its activity is called.
    pub(super) fn caption(&self, name: &str) -> String {
        let known = self.class.activities().iter().find(|(id, _)| *id == self.activity);
        known.map_or(name, |(_, caption)| caption).to_owned()
    }
}

/// What becomes of a connection.
fn connection(verb: &str, protocol: Option<Protocol>) -> (Class, u8) {
    let network = match verb {
        "opened" => 1,
        "ended" => 2,
        "refused" => 5,
        _ => OTHER,
    };
    match protocol {
        Some(Protocol::Ssh) => (Class::SshActivity, network),
        Some(Protocol::Postgres | Protocol::Mysql) => {
            (Class::DatastoreActivity, if matches!(verb, "opened" | "refused") { 3 } else { OTHER })
        }
        _ => (Class::NetworkActivity, network),
    }
}

/// The protocol of a door, if it speaks one.
fn door(fields: &Map<String, Value>) -> Option<Protocol> {
    fields.get("door")?.as_str()?.parse().ok()
}

/// Whether a thing was made, changed or removed.
fn by_verb(verb: &str) -> u8 {
    match verb {
        "created" | "submitted" | "set" | "added" | "group_added" | "issued" | "opened" | "activated" | "announced" | "learned"
        | "linked" => 1,
        "removed" | "group_removed" | "revoked" | "dropped" | "lifted" | "destroyed" | "erased" | "deleted" => 4,
        _ => 3,
    }
}

/// How grave an entry is.
pub(super) fn severity(name: &str, fields: &Map<String, Value>) -> Severity {
    let is = |field: &str| fields.get(field).and_then(Value::as_bool) == Some(true);
    let end = fields.get("reason").and_then(Value::as_str).and_then(|reason| reason.parse::<access::session::EndReason>().ok());
    match name {
        "request.submitted" if is("break_glass") => Severity::High,
        "administrator.recovered" => Severity::High,
        "session.ended" if end.is_some_and(|end| end.is_cut()) => Severity::Medium,
        "grant.revoked" | "grant.withdrawn" | "lock.set" | "session.killed" | "person.disabled" => Severity::Medium,
        "clock.behind" | "bundle.rejected" | "delivery.abandoned" | "review.escalated" => Severity::Medium,
        _ if name.ends_with(".refused") || name == "session.denied" || name == "request.denied" => Severity::Low,
        _ => Severity::Informational,
    }
}
