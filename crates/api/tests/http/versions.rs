//! `If-Match`: nobody changes what they have not seen, on any route.

use access::event::{Actor, EntryDraft, Event};
use access::ids::{FindingId, KeyId, SessionId};
use access::inventory::FindingKind;
use access::names::ResourceName;
use access::request::Door;
use access::session::Protocol;
use jiff::SignedDuration;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use testkit::gate::ask;

use crate::{Person, Served, read, wish};

async fn change(who: &Person<'_>, method: Method, path: &str, seen: &str, body: &Value) -> Response {
    who.call(method, path).header("if-match", seen).json(body).send().await.unwrap()
}

/// Refused with a version that nobody saw, then done with the one that was.
async fn guarded(who: &Person<'_>, method: Method, path: &str, seen: &str, body: Value) -> Value {
    for other in ["\"99\"", "W/\"1\"", "1"] {
        let (status, problem) = read(change(who, method.clone(), path, other, &body).await).await;
        assert_eq!((status, &problem["code"]), (StatusCode::PRECONDITION_FAILED, &json!("stale")), "{method} {path} {other}: {problem}");
        assert_eq!(problem["title"], "It has changed since you looked.", "{path}");
    }
    let (status, done) = read(change(who, method.clone(), path, seen, &body).await).await;
    assert!(status.is_success(), "{method} {path} {seen}: {status} {done}");
    done
}

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

fn version(value: &Value) -> String {
    format!("\"{}\"", value["version"])
}

async fn tag(who: &Person<'_>, path: &str) -> String {
    let shown = who.call(Method::GET, path).send().await.unwrap();
    shown.headers()["etag"].to_str().unwrap().to_owned()
}

// covers: C2 (api), C3 (api), B8 (api)
#[tokio::test]
async fn every_change_can_say_what_it_was_decided_on() {
    let served = Served::start().await;
    let (ana, ben, carla, dan) =
        (served.person("ana").await, served.person("ben").await, served.person("carla").await, served.person("dan").await);
    let mut seen = Vec::new();

    // Requests.
    let submit = async || ana.post("/requests", wish()).await.1["request"].clone();
    let request = submit().await;
    let path = format!("/requests/{}", id(&request));
    assert_eq!(tag(&ana, &path).await, version(&request));
    let request = guarded(&ana, Method::PATCH, &path, &version(&request), json!({ "reason": "for the invoices" })).await;
    guarded(&ana, Method::POST, &format!("{path}/cancel"), &version(&request), json!({})).await;
    let request = submit().await;
    guarded(&ben, Method::POST, &format!("/requests/{}/deny", id(&request)), &version(&request), json!({})).await;
    let request = submit().await;
    let voted = guarded(&ben, Method::POST, &format!("/requests/{}/approve", id(&request)), &version(&request), json!({})).await;
    seen.extend(["/requests/{id}", "/requests/{id}/cancel", "/requests/{id}/deny", "/requests/{id}/approve"]);

    // Grants.
    let grant = voted["grant"].clone();
    let path = format!("/grants/{}", id(&grant));
    assert_eq!(tag(&ana, &path).await, version(&grant));
    let grant = guarded(&ana, Method::POST, &format!("{path}/activate"), &version(&grant), json!({})).await;
    guarded(&ana, Method::POST, &format!("{path}/extend"), &version(&grant), json!({ "duration": "2h", "reason": "not done yet" })).await;
    guarded(&carla, Method::POST, &format!("{path}/revoke"), &tag(&ana, &path).await, json!({})).await;
    let (_, again) = ana.post("/requests", json!({ "resource": "build-1", "role": "shell", "reason": "x" })).await;
    let path = format!("/grants/{}", id(&again["grant"]));
    guarded(&ana, Method::POST, &format!("{path}/return"), &tag(&ana, &path).await, json!({})).await;
    seen.extend(["/grants/{id}/activate", "/grants/{id}/extend", "/grants/{id}/revoke", "/grants/{id}/return"]);

    // Sessions.
    let (caller, gate) = (served.test.person("ana"), &served.test.gate);
    gate.submit(caller, ask("build-1", "shell")).await.unwrap();
    let opened = gate.open(caller, &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap();
    let session: SessionId = opened.permit.facts().session;
    let path = format!("/sessions/{session}");
    guarded(&carla, Method::POST, &format!("{path}/kill"), &tag(&carla, &path).await, json!({})).await;
    seen.push("/sessions/{id}/kill");

    // Locks, reviews, people and their keys.
    let (_, locked) = carla.post("/locks", json!({ "scope": "resource:db-1", "reason": "drill" })).await;
    let path = format!("/locks/{}/lift", id(&locked["lock"]));
    guarded(&carla, Method::POST, &path, &version(&locked["lock"]), json!({})).await;
    let (status, broken) =
        ben.post("/requests", json!({ "resource": "db-1", "role": "shell", "reason": "it burns", "break_glass": true })).await;
    assert_eq!(status, StatusCode::CREATED, "{broken}");
    let (_, reviews) = carla.get("/reviews").await;
    let review = reviews["items"][0].clone();
    let path = format!("/reviews/{}/complete", id(&review));
    guarded(&carla, Method::POST, &path, &version(&review), json!({ "outcome": "justified" })).await;
    let frank = served.test.person("frank").who.id();
    let path = format!("/users/{frank}");
    guarded(&dan, Method::POST, &format!("{path}/disable"), &tag(&dan, &path).await, json!({})).await;
    guarded(&dan, Method::POST, &format!("{path}/enable"), &tag(&dan, &path).await, json!({})).await;
    let public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    let (_, key) = ana.post("/me/keys", json!({ "public_key": public_key })).await;
    let known: KeyId = id(&key).parse().unwrap();
    guarded(&ana, Method::DELETE, &format!("/keys/{known}"), &version(&key), json!({})).await;
    seen.extend(["/locks/{id}/lift", "/reviews/{id}/complete", "/users/{id}/disable", "/users/{id}/enable", "/keys/{id}"]);

    // What is contained, and ways beside the gate with what is found on targets.
    let (_, contained) = carla.post("/containments", json!({ "scope": "resource:db-1", "reason": "drill" })).await;
    let path = format!("/containments/{}/lift", id(&contained["lock"]));
    guarded(&carla, Method::POST, &path, &version(&contained["lock"]), json!({ "reason": "over" })).await;
    let (status, way) = dan.post("/inventory/paths", json!({ "reach": "ssh", "target": "old-1:22" })).await;
    assert_eq!(status, StatusCode::CREATED, "{way}");
    let path = format!("/inventory/paths/{}", id(&way));
    let until = (served.test.gate.now() + SignedDuration::from_hours(24)).to_string();
    let way =
        guarded(&dan, Method::POST, &format!("{path}/accept"), &version(&way), json!({ "reason": "a vendor's", "until": until })).await;
    let way = guarded(&dan, Method::POST, &format!("{path}/close"), &version(&way), json!({ "reason": "taken down" })).await;
    guarded(&dan, Method::POST, &format!("{path}/reopen"), &version(&way), json!({})).await;
    let (now, finding) = (served.test.gate.now(), FindingId::generate(served.test.gate.now()));
    let resource: ResourceName = "db-1".parse().unwrap();
    let looked = Event::DriftLooked { resource: resource.clone(), findings: 1 };
    let found = Event::FindingOpened { finding, resource, kind: FindingKind::AuthorizedKey, key: "0".repeat(64) };
    let by = |event| EntryDraft::new(now, Actor::Gate, Door::Gate, event);
    served.test.gate.store().commit(store::Change::new(by(looked)).and(by(found).text("subject", Some("mallory")))).await.unwrap();
    let (_, findings) = dan.get("/inventory/findings").await;
    let path = format!("/inventory/findings/{finding}/accept");
    guarded(&dan, Method::POST, &path, &version(&findings["items"][0]), json!({ "reason": "known" })).await;
    seen.extend(["/containments/{id}/lift", "/inventory/findings/{id}/accept", "/inventory/paths/{id}/accept"]);
    seen.extend(["/inventory/paths/{id}/close", "/inventory/paths/{id}/reopen"]);

    // The policy, by its digest.
    let files: serde_json::Map<String, Value> = served
        .test
        .gate
        .bundle()
        .files()
        .iter()
        .map(|(path, bytes)| (path.clone(), json!(base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes))))
        .collect();
    guarded(&dan, Method::POST, "/policy/push", &tag(&dan, "/policy").await, json!({ "files": files })).await;
    seen.push("/policy/push");

    // These are all that the document names, and every other change to what is there already refuses to be told a version.
    let document = serde_json::to_value(tidegate_api::openapi()).unwrap();
    let mut told: Vec<&str> = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            let takes = operation["parameters"].as_array().is_some_and(|all| all.iter().any(|p| p["name"] == "If-Match"));
            told.extend(takes.then(|| path.strip_prefix("/api/v1").unwrap()));
        }
    }
    told.sort_unstable();
    seen.sort_unstable();
    assert_eq!(told, seen);
    let (status, _) = read(change(&dan, Method::PUT, "/secrets/db-2-key", "\"1\"", &json!({ "value": "x" })).await).await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED);
}

// covers: C5 (api)
#[tokio::test]
async fn of_two_who_change_what_both_have_seen_one_does() {
    let served = Served::start().await;
    let ana = served.person("ana").await;
    let (_, asked) = ana.post("/requests", wish()).await;
    let path = format!("/requests/{}", id(&asked["request"]));
    for _ in 0..25 {
        let seen = tag(&ana, &path).await;
        let edit = |why: &'static str| {
            let call = ana.call(Method::PATCH, &path).header("if-match", &seen).json(&json!({ "reason": why }));
            tokio::spawn(async move { call.send().await.unwrap().status().as_u16() })
        };
        let (one, two) = (edit("one"), edit("two"));
        let mut answers = [one.await.unwrap(), two.await.unwrap()];
        answers.sort_unstable();
        assert_eq!(answers, [200, 412]);
    }
}
