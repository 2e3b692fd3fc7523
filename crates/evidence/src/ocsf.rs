//! Entries and activities as events of the Open Cybersecurity Schema Framework, version 1.4.0 (<https://schema.ocsf.io/1.4.0/>).
//!
//! One entry is one event, one activity of a recording is one event; nothing is left out: what no attribute of the class says stands in
//! `unmapped`, with the entry's fields and texts as they are. `metadata.uid` is the entry's id, or the session's with the number of the
//! activity, and stays the same however often it is sent; `metadata.sequence` is the entry's place in the log.

mod class;

use std::collections::HashMap;
use std::net::IpAddr;

use access::event::{Actor, Entry};
use access::ids::{GrantId, PrincipalId, SessionId};
use access::names::{ResourceName, RoleName, Username};
use access::session::Protocol;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::printable;
use class::{Class, Kind};

/// The version of the schema.
pub const VERSION: &str = "1.4.0";
/// What the gate is called as a product and as a service.
const PRODUCT: &str = "Tidegate";

/// What a grant or a session is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    /// Whose.
    pub person: PrincipalId,
    /// Where.
    pub resource: ResourceName,
    /// As what.
    pub role: RoleName,
    /// In which protocol, if it is a session.
    pub protocol: Option<Protocol>,
}

/// What the ids in entries stand for, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// What people and machines are called.
    pub people: HashMap<PrincipalId, Username>,
    /// What sessions are about.
    pub sessions: HashMap<SessionId, Right>,
    /// What grants are about.
    pub grants: HashMap<GrantId, Right>,
}

/// How grave an event is, as `severity_id` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// 1: nobody has to do anything.
    Informational,
    /// 2: something was refused.
    Low,
    /// 3: something was taken away, or does not work.
    Medium,
    /// 4: an emergency.
    High,
}

impl Severity {
    fn id(self) -> u8 {
        match self {
            Self::Informational => 1,
            Self::Low => 2,
            Self::Medium => 3,
            Self::High => 4,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Informational => "Informational",
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
        }
    }
}

/// How grave an entry is.
#[must_use]
pub fn severity(entry: &Entry) -> Severity {
    class::severity(entry.event.name(), &fields(entry))
}

/// What one activity of a session's recording is, besides what was done.
#[derive(Debug, Clone, Copy)]
pub struct Did<'a> {
    /// `activity`; else what is said in the place of activities that cannot be read.
    pub kind: &'a str,
    /// When.
    pub at: Timestamp,
    /// The session's id.
    pub session: &'a str,
    /// The person's id.
    pub person: &'a str,
    /// What was done: `sql.statement`, `sftp`.
    pub event: &'a str,
    /// Which of its recording it is, from 0.
    pub number: u64,
    /// All of it.
    pub data: &'a Value,
}

/// An entry as an event.
#[must_use]
pub fn entry(entry: &Entry, sequence: Option<u64>, known: &Known) -> Value {
    let fields = fields(entry);
    let right = right_of(&fields, known);
    let protocol = right.as_ref().and_then(|right| right.protocol).or_else(|| parsed(&fields, "protocol"));
    let name = entry.event.name();
    let kind = Kind::of(name, &fields, protocol);
    let texts: Map<String, Value> = entry.texts.iter().map(|(name, text)| (name.clone(), text.text.clone().into())).collect();
    let actor = match entry.actor {
        Actor::Principal(id) => json!({ "user": user(id, known) }),
        Actor::Gate | Actor::Unknown => json!({ "app_name": PRODUCT }),
    };
    let from = texts.get("from").and_then(Value::as_str).and_then(|from| from.parse::<IpAddr>().ok());
    let source = from.map_or_else(|| json!({ "name": entry.door.code() }), |ip| json!({ "ip": ip.to_string() }));

    let mut event = common(&kind, name, entry.at, &entry.id.to_string());
    if let Some(Value::Object(metadata)) = event.get_mut("metadata") {
        metadata.insert("log_name".into(), "audit".into());
        if let Some(sequence) = sequence {
            metadata.insert("sequence".into(), sequence.into());
        }
    }
    event.insert("severity_id".into(), severity(entry).id().into());
    event.insert("severity".into(), severity(entry).word().into());
    let status = if kind.failed { (2, "Failure") } else { (1, "Success") };
    event.insert("status_id".into(), status.0.into());
    event.insert("status".into(), status.1.into());
    if let Some(reason) = fields.get("reason").and_then(Value::as_str) {
        event.insert("status_code".into(), reason.into());
    }
    if let Some(comment) = texts.get("reason").filter(|_| kind.class == Class::EntityManagement) {
        event.insert("comment".into(), comment.clone());
    }
    let subject = subject(entry, &fields, right.as_ref(), &texts, known);
    describe(&mut event, &kind, name, actor, source, &subject, right.as_ref());
    if kind.class == Class::EntityManagement {
        event.insert("entity".into(), thing(entry, &fields));
    }
    if kind.class == Class::AuthorizeSession {
        event.insert("session".into(), json!({ "uid": fields.get("session").cloned().unwrap_or_default() }));
    }
    let mut unmapped = json!({ "door": entry.door.code(), "event": fields });
    if !texts.is_empty() {
        unmapped["texts"] = texts.into();
    }
    event.insert("unmapped".into(), unmapped);
    Value::Object(event)
}

/// What was done in a session as an event.
#[must_use]
pub fn activity(did: Did<'_>, known: &Known) -> Value {
    let right = did.session.parse().ok().and_then(|session: SessionId| known.sessions.get(&session));
    let kind = Kind::of_activity(did.kind, did.event, right.and_then(|right| right.protocol));
    let person = did.person.parse().map_or_else(|_| nobody(did.person), |id| user(id, known));
    // That there is nothing to read is no activity, and takes the place of none that was sent before.
    let uid = match did.kind {
        "absent" => format!("{}/absent", did.session),
        _ => format!("{}/{}", did.session, did.number),
    };
    let mut event = common(&kind, did.event, did.at, &uid);
    if let Some(Value::Object(metadata)) = event.get_mut("metadata") {
        metadata.insert("log_name".into(), did.kind.into());
        metadata.insert("correlation_uid".into(), did.session.into());
    }
    let severity = if kind.failed { Severity::Medium } else { Severity::Informational };
    event.insert("severity_id".into(), severity.id().into());
    event.insert("severity".into(), severity.word().into());
    let actor = json!({ "user": person.clone(), "session": { "uid": did.session } });
    describe(&mut event, &kind, did.event, actor, json!({ "name": PRODUCT }), &person, right);
    let statement = did.data.get("activity").and_then(|activity| activity.get("text"));
    if let Some(text) = statement.filter(|_| kind.class == Class::DatastoreActivity) {
        let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
        event.insert("query_info".into(), json!({ "query_string": text }));
    }
    event.insert("unmapped".into(), did.data.clone());
    Value::Object(event)
}

fn fields(entry: &Entry) -> Map<String, Value> {
    match serde_json::to_value(&entry.event) {
        Ok(Value::Object(mut fields)) => {
            fields.remove("event");
            fields
        }
        _ => Map::new(),
    }
}

fn parsed<T: std::str::FromStr>(fields: &Map<String, Value>, name: &str) -> Option<T> {
    fields.get(name)?.as_str()?.parse().ok()
}

/// What every event says.
fn common(kind: &Kind, name: &str, at: Timestamp, uid: &str) -> Map<String, Value> {
    let class = kind.class;
    let activity = kind.caption(name);
    let event = json!({
        "activity_id": kind.activity,
        "activity_name": activity,
        "category_uid": class.category().0,
        "category_name": class.category().1,
        "class_uid": class.uid(),
        "class_name": class.caption(),
        "type_uid": class.uid() * 100 + u32::from(kind.activity),
        "type_name": format!("{}: {activity}", class.caption()),
        "time": at.as_millisecond(),
        "message": name,
        "metadata": {
            "version": VERSION,
            "uid": uid,
            "event_code": name,
            "original_time": at.to_string(),
            "product": { "name": PRODUCT, "vendor_name": PRODUCT, "version": env!("CARGO_PKG_VERSION") },
        },
    });
    match event {
        Value::Object(event) => event,
        _ => Map::new(),
    }
}

/// What an event of its class says of who and where.
fn describe(event: &mut Map<String, Value>, kind: &Kind, name: &str, actor: Value, source: Value, who: &Value, right: Option<&Right>) {
    let target = right.map(|right| json!({ "name": right.resource.as_str() }));
    event.insert("src_endpoint".into(), source);
    match kind.class {
        Class::Authentication => {
            event.insert("user".into(), who.clone());
            event.insert("service".into(), json!({ "name": PRODUCT }));
        }
        Class::AccountChange => drop(event.insert("user".into(), who.clone())),
        Class::EntityManagement => {}
        Class::UserAccess | Class::AuthorizeSession => {
            event.insert("user".into(), who.clone());
            let role = right.map_or_else(|| "unknown".to_owned(), |right| format!("{}+{}", right.resource, right.role));
            event.insert("privileges".into(), json!([role]));
            if let Some(right) = right.filter(|_| kind.class == Class::UserAccess) {
                event.insert("resource".into(), json!({ "name": right.resource.as_str() }));
            }
        }
        Class::ApiActivity => drop(event.insert("api".into(), json!({ "operation": name, "service": { "name": PRODUCT } }))),
        Class::DatastoreActivity => {
            let name = right.map_or("unknown", |right| right.resource.as_str());
            event.insert("database".into(), json!({ "name": name, "type_id": 1, "type": "Relational" }));
            event.insert("type_id".into(), 1.into());
        }
        Class::SshActivity | Class::NetworkActivity => {
            event.insert("dst_endpoint".into(), target.clone().unwrap_or_else(|| json!({ "name": PRODUCT })));
            // Who it was is said by a profile: these classes speak of machines alone.
            if let Some(Value::Object(metadata)) = event.get_mut("metadata") {
                metadata.insert("profiles".into(), json!(["host"]));
            }
        }
    }
    if kind.class == Class::DatastoreActivity
        && let Some(target) = target
    {
        event.insert("dst_endpoint".into(), target);
    }
    event.insert("actor".into(), actor);
}

/// Whom an entry is about.
fn subject(entry: &Entry, fields: &Map<String, Value>, right: Option<&Right>, texts: &Map<String, Value>, known: &Known) -> Value {
    if let Some(person) = parsed(fields, "person").or(right.map(|right| right.person)) {
        return user(person, known);
    }
    match entry.actor {
        Actor::Principal(id) => user(id, known),
        Actor::Gate | Actor::Unknown => nobody(texts.get("user").and_then(Value::as_str).unwrap_or("unknown")),
    }
}

fn user(id: PrincipalId, known: &Known) -> Value {
    let (type_id, kind) = match id {
        PrincipalId::User(_) => (1, "User"),
        PrincipalId::Workload(_) => (3, "System"),
    };
    let mut user = json!({ "uid": id.to_string(), "type_id": type_id, "type": kind });
    if let Some(name) = known.people.get(&id) {
        user["name"] = name.as_str().into();
    }
    user
}

/// Somebody of whom nothing is known but what they called themselves.
fn nobody(name: &str) -> Value {
    json!({ "name": printable::name(if name.is_empty() { "unknown" } else { name }), "type_id": 0, "type": "Unknown" })
}

/// What an entry's grant or session is about; the entry may say it itself.
fn right_of(fields: &Map<String, Value>, known: &Known) -> Option<Right> {
    let own = || {
        Some(Right {
            person: parsed(fields, "person")?,
            resource: parsed(fields, "resource")?,
            role: parsed(fields, "role")?,
            protocol: parsed(fields, "protocol"),
        })
    };
    let session = || known.sessions.get(&parsed(fields, "session")?).cloned();
    let grant = || known.grants.get(&parsed(fields, "grant")?).cloned();
    session().or_else(own).or_else(grant)
}

/// The thing that was made, changed or removed.
fn thing(entry: &Entry, fields: &Map<String, Value>) -> Value {
    let noun = entry.event.name().split('.').next().unwrap_or("entry");
    let singular = noun.strip_suffix('s').unwrap_or(noun);
    let uid = [noun, singular, "group", "resource", "person", "entry"].iter().find_map(|name| fields.get(*name)?.as_str());
    json!({ "type": noun, "uid": uid.map_or_else(|| entry.id.to_string(), str::to_owned) })
}

#[cfg(test)]
mod tests;
