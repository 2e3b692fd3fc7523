//! What acts are done to: made by those who make it in earnest, fresh for each act that can be done to it once.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::{Stage, field};
use crate::demo::{PATIENCE, Talk, eventually};
use crate::doors::long_runner;

/// What an act is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thing {
    /// The gate itself.
    Nothing,
    /// What has this id or name, if there is any: whoever may is told if there is none.
    Called(&'static str),
    /// Ana's, and waits for somebody on call or a lead.
    Request,
    /// Ana's; its clock has not begun.
    Grant,
    /// Ana's; its clock runs.
    Active,
    /// Ana's, to a database; its clock runs.
    Database,
    /// Ana's; something of hers runs at the target.
    Live,
    /// Ana's; it is over, and recorded.
    Ended,
    /// Ben's emergency; security owes it.
    Review,
    /// Of a network where nobody is.
    Lock,
    /// Of somebody who has yet to join.
    Containment,
    /// On what was done at a machine.
    Hold,
    /// Somebody who has yet to join.
    Person,
    /// Somebody who may not.
    Disabled,
    /// Ana's.
    Key,
    /// Ana's.
    Token,
    /// Ana's.
    Search,
    /// One that opens nothing.
    Secret,
    /// A way beside the gate.
    Way,
    /// One that was closed.
    ClosedWay,
    /// An entry with a text in it.
    Entry,
    /// The first policy that was put in force.
    Activation,
}

impl Thing {
    /// Whose it is.
    pub(super) fn owner(self) -> &'static str {
        if self == Self::Review { "ben" } else { "ana" }
    }

    /// To where it is, and as what; `None`: it is not about access.
    pub(super) fn place(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Request => Some(("db-1", "debug")),
            Self::Grant | Self::Active => Some(("web-1", "logs")),
            Self::Database => Some(("orders-db", "readonly")),
            Self::Live | Self::Ended | Self::Review => Some(("db-1", "shell")),
            _ => None,
        }
    }
}

/// What was made and has to live while it is looked at.
#[derive(Default)]
pub(super) struct Things {
    running: RefCell<Option<Talk>>,
}

impl Things {
    /// Makes one, and gives its id.
    pub(super) fn make(&self, thing: Thing, stage: &Stage) -> String {
        let gate = &stage.gate;
        let new = |person: &str, path: &str, body: &str, id: &str| {
            let body = serde_json::from_str(&stage.fill(body, "")).unwrap_or_else(|error| panic!("{error}: {body}"));
            field(&gate.post(person, &format!("/api/v1{path}"), body), id)
        };
        match thing {
            Thing::Nothing => String::new(),
            Thing::Called(id) => stage.fill(id, ""),
            Thing::Request => {
                give_back(stage, thing);
                new("ana", "/requests", r#"{"resource": "db-1", "role": "debug", "reason": "a slow query"}"#, "request.id")
            }
            Thing::Grant | Thing::Active | Thing::Database => {
                give_back(stage, thing);
                let (resource, role) = thing.place().unwrap();
                let grant = gate.grant("ana", resource, role, "1h");
                if thing != Thing::Grant {
                    gate.post("ana", &format!("/api/v1/grants/{grant}/activate"), json!({}));
                }
                grant
            }
            Thing::Live => {
                self.end();
                give_back(stage, thing);
                gate.grant("ana", "db-1", "shell", "1h");
                let (talk, _) = long_runner(gate, "ana", "db-1+shell");
                self.running.replace(Some(talk));
                field(&eventually("her session", || gate.live_session("ana")), "id")
            }
            Thing::Ended => {
                self.end();
                give_back(stage, thing);
                gate.grant("ana", "db-1", "shell", "1h");
                let output = gate.ssh("ana", "db-1+shell", &[], &["echo done"]).output().unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                field(gate.ended_sessions("ana").last().unwrap(), "id")
            }
            Thing::Review => {
                give_back(stage, thing);
                let body = r#"{"resource": "db-1", "role": "shell", "reason": "an outage", "break_glass": true}"#;
                let grant = new("ben", "/requests", body, "grant.id");
                let owed = gate.get("carla", "/api/v1/reviews?state=open");
                let of_it = owed["items"].as_array().unwrap().iter().find(|review| review["grant"] == json!(grant));
                field(of_it.unwrap_or_else(|| panic!("{owed}")), "id")
            }
            Thing::Lock => new("carla", "/locks", r#"{"scope": "network:203.0.113.0/24", "reason": "drill"}"#, "lock.id"),
            Thing::Containment => {
                let person = self.make(Thing::Person, stage);
                let body = format!(r#"{{"scope": "person:{person}", "reason": "drill"}}"#);
                new("carla", "/containments", &body, "lock.id")
            }
            Thing::Hold => new("carla", "/holds", r#"{"scope": "resource:build-1", "reason": "drill"}"#, "id"),
            Thing::Person => new("dan", "/users", r#"{"username": "{new}"}"#, "user.id"),
            Thing::Disabled => {
                let person = self.make(Thing::Person, stage);
                gate.post("dan", &format!("/api/v1/users/{person}/disable"), json!({"reason": "drill"}));
                person
            }
            Thing::Key => new("ana", "/me/keys", r#"{"public_key": "{key}"}"#, "id"),
            Thing::Token => new("ana", "/tokens", r#"{"scopes": ["read"], "duration": "1h"}"#, "token.id"),
            Thing::Search => new("ana", "/me/searches", r#"{"name": "{new}", "filters": {}}"#, "id"),
            Thing::Secret => {
                let name = stage.fill("{new}", "");
                let (status, answer) = gate.api("dan", "PUT", &format!("/api/v1/secrets/{name}"), Some(json!({"value": "opens nothing"})));
                assert!(status < 300, "{status} {answer}");
                name
            }
            Thing::Way => new("dan", "/inventory/paths", r#"{"reach": "ssh", "target": "{new}.example.com:22"}"#, "id"),
            Thing::ClosedWay => {
                let way = self.make(Thing::Way, stage);
                gate.post("dan", &format!("/api/v1/inventory/paths/{way}/close"), json!({"reason": "drill"}));
                way
            }
            Thing::Entry => {
                let request = self.make(Thing::Request, stage);
                gate.post("ana", &format!("/api/v1/requests/{request}/cancel"), json!({}));
                field(&gate.get("eve", "/api/v1/audit/entries?event=request.submitted&limit=1"), "items.0.id")
            }
            Thing::Activation => field(&gate.get("dan", "/api/v1/policy/history"), "items.0.id"),
        }
    }

    /// Whatever runs ends.
    pub(super) fn end(&self) {
        drop(self.running.take());
    }
}

/// What is left of an earlier thing of this kind: a grant covers the next one, and would open it.
fn give_back(stage: &Stage, thing: Thing) {
    let (owner, (resource, role)) = (thing.owner(), thing.place().unwrap());
    let of = |path: &str, state: &str| {
        let all = stage.gate.get(owner, &format!("/api/v1/{path}?state={state}&resource={resource}"))["items"].as_array().unwrap().clone();
        all.into_iter().filter(|row| row["role"] == role).map(|row| field(&row, "id")).collect::<Vec<_>>()
    };
    for request in of("requests", "pending") {
        stage.gate.post(owner, &format!("/api/v1/requests/{request}/cancel"), json!({}));
    }
    for state in ["ready", "active"] {
        for grant in of("grants", state) {
            stage.gate.post(owner, &format!("/api/v1/grants/{grant}/return"), json!({}));
        }
    }
}

/// How a call begins whose answer does not end: its status, and what it says if it is a no.
pub(super) fn began(base: &str, token: Option<&str>, method: &str, path: &str) -> (u16, Value) {
    let address = base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let auth = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{auth}\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status: u16 = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{line}"));
    if status < 300 {
        return (status, Value::Null);
    }
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    let (_, body) = rest.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{rest}"));
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {rest}")))
}

/// How a command begins that goes on: with 0 if it shows something, else as it ends.
pub(super) fn watched(mut talk: Talk) -> (i32, String) {
    eventually("it watches, or says why not", || {
        let over = talk.child.try_wait().unwrap().is_some();
        (over || talk.heard().contains("Watching")).then_some(())
    });
    if talk.heard().contains("Watching") { (0, String::new()) } else { (talk.end(), talk.heard()) }
}
