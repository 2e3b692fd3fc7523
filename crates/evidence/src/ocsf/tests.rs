use access::entry::EntryDraft;
use access::event::Event;
use access::ids::{LockId, RecordingId, UserId};
use access::lock::LockScope;
use access::reason::Reason;
use access::request::Door;
use access::session::EndReason;
use access::verdict::RecordLevel;

use super::*;

fn at() -> Timestamp {
    "2026-03-02T12:00:00.123456Z".parse().unwrap()
}

fn known(person: PrincipalId) -> Known {
    Known { people: HashMap::from([(person, "ana".parse().unwrap())]), ..Known::default() }
}

fn opened(person: PrincipalId, protocol: Protocol) -> Entry {
    let event = Event::SessionOpened {
        session: SessionId::generate(at()),
        grant: GrantId::generate(at()),
        person,
        resource: "orders-db".parse().unwrap(),
        role: "readonly".parse().unwrap(),
        protocol,
        recording: RecordingId::generate(at()),
        recording_header: None,
        level: RecordLevel::Events,
        node: "gate-1".into(),
        bundle: "ab".repeat(32),
        ends_at: None,
    };
    EntryDraft::new(at(), Actor::Principal(person), Door::Postgres, event).text("from", Some("203.0.113.7")).seal()
}

#[test]
fn a_session_at_a_database_is_datastore_activity_and_one_over_ssh_is_ssh_activity() {
    let person = PrincipalId::from(UserId::generate(at()));
    let event = entry(&opened(person, Protocol::Postgres), Some(7), &known(person));
    assert_eq!((&event["class_uid"], &event["activity_id"], &event["type_uid"]), (&json!(6005), &json!(3), &json!(600_503)));
    assert_eq!(event["database"]["name"], "orders-db");
    assert_eq!(event["actor"]["user"], json!({ "uid": person.to_string(), "type_id": 1, "type": "User", "name": "ana" }));
    assert_eq!(event["src_endpoint"], json!({ "ip": "203.0.113.7" }));
    assert_eq!((&event["metadata"]["sequence"], &event["metadata"]["version"]), (&json!(7), &json!(VERSION)));
    assert_eq!(event["time"], at().as_millisecond());
    assert_eq!(event["unmapped"]["event"]["role"], "readonly");

    let event = entry(&opened(person, Protocol::Ssh), None, &known(person));
    assert_eq!((&event["class_uid"], &event["activity_name"]), (&json!(4007), &json!("Open")));
    assert_eq!(event["dst_endpoint"], json!({ "name": "orders-db" }));
}

#[test]
fn what_ends_or_is_refused_says_so() {
    let person = PrincipalId::from(UserId::generate(at()));
    let session = SessionId::generate(at());
    let right = Right { person, resource: "db-1".parse().unwrap(), role: "debug".parse().unwrap(), protocol: Some(Protocol::Ssh) };
    let known = Known { sessions: HashMap::from([(session, right)]), ..known(person) };
    let cut = Event::SessionEnded {
        session,
        reason: EndReason::Revoked,
        confirmed: true,
        bytes_up: 1,
        bytes_down: 2,
        recording_chunks: None,
        recording_digest: None,
    };
    let event = entry(&EntryDraft::new(at(), Actor::Gate, Door::Gate, cut).seal(), None, &known);
    assert_eq!((&event["class_uid"], &event["activity_id"], &event["severity"]), (&json!(4007), &json!(2), &json!("Medium")));
    assert_eq!((&event["status_code"], &event["actor"]), (&json!("revoked"), &json!({ "app_name": "Tidegate" })));

    let refused = Event::SigninRefused { door: Door::Ssh, reason: Reason::NotSignedIn };
    let draft = EntryDraft::new(at(), Actor::Unknown, Door::Ssh, refused).text("user", Some("root\u{202e}"));
    let event = entry(&draft.seal(), None, &known);
    assert_eq!((&event["class_uid"], &event["status"]), (&json!(3002), &json!("Failure")));
    assert_eq!(event["user"]["name"], "root\\u{202e}");
    assert_eq!(event["unmapped"]["texts"]["user"], "root\u{202e}", "and as it was");
}

#[test]
fn what_no_class_is_named_for_is_a_thing_that_was_made_changed_or_removed() {
    let lock = LockId::generate(at());
    let set = Event::LockSet {
        lock,
        scope: LockScope::Resource("db-1".parse().unwrap()),
        until: None,
        contains: false,
        transmitter: None,
        sessions: Vec::new(),
    };
    let event =
        entry(&EntryDraft::new(at(), Actor::Gate, Door::Gate, set).text("reason", Some("incident")).seal(), None, &Known::default());
    assert_eq!((&event["class_uid"], &event["activity_name"]), (&json!(3004), &json!("Create")));
    assert_eq!(event["entity"], json!({ "type": "lock", "uid": lock.to_string() }));
    assert_eq!(event["comment"], "incident");
}

#[test]
fn a_statement_is_a_query_with_all_of_its_text() {
    let person = PrincipalId::from(UserId::generate(at()));
    let session = SessionId::generate(at());
    let right =
        Right { person, resource: "orders-db".parse().unwrap(), role: "readonly".parse().unwrap(), protocol: Some(Protocol::Postgres) };
    let known = Known { sessions: HashMap::from([(session, right)]), ..known(person) };
    let data = json!({ "resource": "orders-db", "channel": 0, "activity": { "kind": "sql.statement", "text": "SELECT 1" } });
    let (session, person) = (session.to_string(), person.to_string());
    let did = Did { kind: "activity", at: at(), session: &session, person: &person, event: "sql.statement", number: 3, data: &data };
    let event = activity(did, &known);
    assert_eq!((&event["class_uid"], &event["activity_name"]), (&json!(6005), &json!("Query")));
    assert_eq!((&event["query_info"]["query_string"], &event["unmapped"]), (&json!("SELECT 1"), &data));
    assert_eq!(event["metadata"]["uid"], format!("{session}/3"));
}
