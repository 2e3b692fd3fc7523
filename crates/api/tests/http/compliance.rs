//! What auditors ask for: controls with live queries, streams of the log, legal holds.

use access::session::{ClosedSession, EndReason};
use reqwest::StatusCode;
use serde_json::json;

use crate::Served;

/// Ben agrees to a request, Carla takes the right away; she reads what Ana did on another machine, and destroys it.
async fn one_of_each(served: &Served, request: &str) {
    let (ben, carla) = (served.person("ben").await, served.person("carla").await);
    let (status, voted) = ben.post(&format!("/requests/{request}/approve"), json!({})).await;
    assert_eq!(status, StatusCode::OK, "{voted}");
    let grant = voted["grant"]["id"].as_str().unwrap();
    let (status, revoked) = carla.post(&format!("/grants/{grant}/revoke"), json!({ "reason": "a drill" })).await;
    assert_eq!(status, StatusCode::OK, "{revoked}");
    let opened = crate::sessions::open(served).await;
    let session = opened.permit.facts().session;
    let closed = opened.recording.close("client", 1).await.unwrap();
    let digest = closed.digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let recording = Some((closed.chunks, digest));
    let end = EndReason::Client;
    served.test.gate.close(ClosedSession { session, end, confirmed: true, bytes_up: 0, bytes_down: 0, recording }).await;
    let recording = format!("/sessions/{session}/recording");
    assert_eq!(carla.get(&recording).await.0, StatusCode::OK);
    let (status, destroyed) = carla.post(&format!("{recording}/destroy"), json!({ "reason": "nobody may keep it" })).await;
    assert_eq!(status, StatusCode::OK, "{destroyed}");
}

// covers: EV-8 (api)
#[tokio::test]
async fn every_control_shows_queries_that_are_answered() {
    let served = Served::start().await;
    let (ana, eve, carla) = (served.person("ana").await, served.person("eve").await, served.person("carla").await);
    let (_, asked) = ana.post("/requests", crate::wish()).await;
    assert_eq!(asked["request"]["state"], "pending");
    assert_eq!(ana.get("/audit/entries").await.0, StatusCode::FORBIDDEN);
    one_of_each(&served, asked["request"]["id"].as_str().unwrap()).await;
    served.test.gate.checkpoint().await.unwrap();
    let (status, found) = eve.get("/compliance").await;
    assert_eq!(status, StatusCode::OK, "{found}");
    let controls = found["controls"].as_array().unwrap();
    let ids: Vec<&str> = controls.iter().map(|control| control["id"].as_str().unwrap()).collect();
    for wanted in ["CC6.1", "CC6.2", "CC6.3", "CC6.6", "CC6.7", "CC7.2", "CC7.3", "CC8.1", "A.5.15", "A.5.18", "A.8.2", "A.8.15", "A.8.32"]
    {
        assert!(ids.contains(&wanted), "{wanted}");
    }
    let mut asked_for = std::collections::BTreeMap::new();
    for evidence in controls.iter().flat_map(|control| control["evidence"].as_array().unwrap()) {
        asked_for.insert(evidence["path"].as_str().unwrap().to_owned(), evidence.clone());
    }
    // Where events are counted, the query gives just those: what was refused, too.
    let counted: Vec<_> = asked_for.iter().filter(|(path, of)| path.contains("&since=") && of["query"] != "retention").collect();
    assert!(counted.len() > 7, "{counted:?}");
    for (path, evidence) in counted {
        let (_, rows) = eve.get(&format!("{}&limit=500", path.strip_prefix("/api/v1").unwrap())).await;
        assert_eq!(json!(rows["items"].as_array().unwrap().len()), evidence["count"], "{evidence}: {rows}");
        assert!(evidence["query"] != "denied" || evidence["count"] != 0, "hers was refused: {evidence}");
    }
    let behind = &asked_for["/api/v1/resources?all=true"];
    let (_, resources) = eve.get("/resources?all=true&limit=500").await;
    assert_eq!(json!(resources["items"].as_array().unwrap().len()), behind["count"], "{behind}");
    let seventeen = vec!["session."; 17].join(",");
    assert_eq!(eve.get(&format!("/audit/entries?event={seventeen}")).await.0, StatusCode::BAD_REQUEST);
    // Each of them is there, for somebody who may ask it.
    for (path, evidence) in &asked_for {
        let path = path.strip_prefix("/api/v1").unwrap();
        let mut statuses = Vec::new();
        for who in [&eve, &carla, &served.person("dan").await, &served.person("admin").await] {
            statuses.push(who.get(path).await.0);
        }
        assert!(statuses.contains(&StatusCode::OK), "{path}: {statuses:?} {evidence}");
    }
    let of = |query: &str| asked_for.values().find(|evidence| evidence["query"] == query).unwrap();
    assert_eq!((&of("requests")["count"], &of("locks")["count"]), (&json!(2), &json!(0)));
    for once in ["votes", "revoked", "exports", "erased", "sessions"] {
        assert_eq!(of(once)["count"], 1, "{}", of(once));
    }
    assert_eq!(of("streams")["attention"], true, "{}", of("streams"));
    // It is live: what happens shows.
    carla.post("/locks", json!({ "scope": "resource:build-1", "reason": "a drill" })).await;
    let (_, now) = eve.get("/compliance").await;
    assert!(now.to_string().contains("1 lock holds"));
    assert_eq!(ana.get("/compliance").await.0, StatusCode::FORBIDDEN);
}

// covers: EV-7 (hold, api), G2 (holds)
#[tokio::test]
async fn a_hold_is_set_seen_and_lifted_by_who_may() {
    let served = Served::start().await;
    let (ana, eve, carla) = (served.person("ana").await, served.person("eve").await, served.person("carla").await);
    let wish = json!({ "scope": "resource:db-1", "reason": "litigation" });
    assert_eq!(ana.post("/holds", wish.clone()).await.0, StatusCode::FORBIDDEN);
    let (status, hold) = carla.post("/holds", wish).await;
    assert_eq!((status, &hold["state"], &hold["reason"]), (StatusCode::CREATED, &json!("set"), &json!("litigation")));
    let (_, list) = eve.get("/holds").await;
    assert_eq!(list["items"][0]["id"], hold["id"]);
    assert_eq!(ana.get("/holds").await.0, StatusCode::FORBIDDEN);
    let lift = format!("/holds/{}/lift", hold["id"].as_str().unwrap());
    assert_eq!(eve.post(&lift, json!({ "reason": "settled" })).await.0, StatusCode::FORBIDDEN);
    let (status, lifted) = carla.post(&lift, json!({ "reason": "settled" })).await;
    assert_eq!((status, &lifted["state"]), (StatusCode::OK, &json!("lifted")));
    assert_eq!(eve.get("/holds").await.1["items"], json!([]));
    assert_eq!(eve.get("/holds?all=true").await.1["items"][0]["id"], hold["id"]);
    let (status, nobody) = carla.post("/holds", json!({ "scope": "resource:nowhere", "reason": "x" })).await;
    assert_eq!((status, &nobody["code"]), (StatusCode::NOT_FOUND, &json!("not_found")));
}

// covers: EV-6 (api)
#[tokio::test]
async fn streams_are_seen_by_who_keeps_the_gate() {
    let served = Served::start().await;
    assert_eq!(served.person("admin").await.get("/streams").await, (StatusCode::OK, json!({ "items": [] })));
    assert_eq!(served.person("ana").await.get("/streams").await.0, StatusCode::FORBIDDEN);
}
