//! Who calls, and what their sign-in may be used for.

use access::identity::{Scope, Via};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{Person, Served, read, wish};

// covers: A9 (api)
#[tokio::test]
async fn guessing_is_slow() {
    let served = Served::start().await;
    let guess = |token: &str| served.call(Method::GET, "/api/v1/me").bearer_auth(token.to_owned()).send();
    let good = served.token("ana", Scope::ALL).await;
    assert_eq!(guess(&good).await.unwrap().status(), StatusCode::OK);
    let mut seen = Vec::new();
    for n in 0..12 {
        seen.push(guess(&format!("tg_pat_{n:032}")).await.unwrap().status());
    }
    assert!(seen[..10].iter().all(|status| *status == StatusCode::UNAUTHORIZED), "{seen:?}");
    assert!(seen[10..].iter().all(|status| *status == StatusCode::TOO_MANY_REQUESTS), "{seen:?}");
    let waiting = guess(&good).await.unwrap();
    assert!(waiting.headers().contains_key("retry-after"));
    served.test.pass(std::time::Duration::from_secs(60)).await;
    assert_eq!(guess(&good).await.unwrap().status(), StatusCode::OK);
}

// covers: G2, B4 (api)
#[tokio::test]
async fn a_token_is_used_for_what_it_was_made_for() {
    let served = Served::start().await;
    let with = async |scopes: &[Scope]| Person { served: &served, token: served.token("ana", scopes).await };
    let (all, reads, asks) = (with(Scope::ALL).await, with(&[Scope::Read]).await, with(&[Scope::Ask]).await);
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    assert_eq!(reads.get("/requests").await.0, StatusCode::OK);
    assert_eq!(asks.post("/requests", wish()).await.0, StatusCode::ACCEPTED);
    let missing = |answer: (StatusCode, Value)| (answer.0 == StatusCode::FORBIDDEN && answer.1["code"] == "scope_missing", answer.1);
    for refused in [
        missing(asks.get("/requests").await),
        missing(reads.post("/requests", wish()).await),
        missing(reads.post("/certificates", json!({ "public_key": key })).await),
        // A key or token would outlive and outgrow the one it was made with.
        missing(asks.post("/me/keys", json!({ "public_key": key })).await),
        missing(asks.post("/tokens", json!({ "scopes": ["ask"], "duration": "1d" })).await),
    ] {
        assert!(refused.0, "{}", refused.1);
    }
    let (status, added) = all.post("/me/keys", json!({ "public_key": key, "label": "laptop" })).await;
    assert_eq!(status, StatusCode::CREATED, "{added}");
    assert_eq!(all.get("/me/keys").await.1["items"][0]["fingerprint"], added["fingerprint"]);
}

// covers: A9, D8 (api)
#[tokio::test]
async fn an_invitation_is_spent_once() {
    let served = Served::start().await;
    let dan = served.person("dan").await;
    let (status, invited) = dan.post("/users", json!({ "username": "gina", "display_name": "Gina" })).await;
    assert_eq!(status, StatusCode::CREATED, "{invited}");
    let accept = || served.call(Method::POST, "/api/v1/invitations/accept").json(&json!({ "code": invited["code"] })).send();
    let (first, second) = tokio::join!(accept(), accept());
    let (first, second) = (read(first.unwrap()).await, read(second.unwrap()).await);
    let (good, bad) = if first.0.is_success() { (first, second) } else { (second, first) };
    assert_eq!(good.0, StatusCode::CREATED, "{}", good.1);
    assert_eq!((bad.0, &bad.1["code"]), (StatusCode::UNAUTHORIZED, &json!("code_invalid")));
    let gina = Person { served: &served, token: good.1["token"]["secret"].as_str().unwrap().to_owned() };
    let (_, me) = gina.get("/me").await;
    assert_eq!((&me["user"]["username"], &me["user"]["display_name"]), (&json!("gina"), &json!("Gina")));
}

// covers: WHO-8, A9 (api)
#[tokio::test]
async fn a_token_ends_when_it_is_revoked_and_when_its_owner_is_disabled() {
    let served = Served::start().await;
    let (ana, ben, dan) = (served.person("ana").await, served.person("ben").await, served.person("dan").await);
    let who = served.test.gate.identify_token(&ana.token, testkit::gate::HERE).await.unwrap();
    let Via::Token(id) = who.via() else { panic!("signed in with a token") };
    let (status, revoked) = read(ana.call(Method::DELETE, &format!("/tokens/{id}")).send().await.unwrap()).await;
    assert_eq!((status, revoked["revoked_at"].is_string()), (StatusCode::OK, true), "{revoked}");
    assert_eq!(ana.get("/me").await.0, StatusCode::UNAUTHORIZED);

    let (_, me) = ben.get("/me").await;
    let path = format!("/users/{}/disable", me["user"]["id"].as_str().unwrap());
    let (status, disabled) = dan.post(&path, json!({ "reason": "left" })).await;
    assert_eq!((status, &disabled["user"]["state"]), (StatusCode::OK, &json!("disabled")), "{disabled}");
    assert_eq!(ben.get("/me").await.1["code"], "disabled");
}

// covers: G2, F4 (api)
#[tokio::test]
async fn the_log_is_for_auditors() {
    let served = Served::start().await;
    let (ana, eve) = (served.person("ana").await, served.person("eve").await);
    ana.post("/requests", wish()).await;
    let (status, list) = eve.get("/audit/entries?event=request.&limit=1").await;
    assert_eq!(status, StatusCode::OK, "{list}");
    let entry = &list["items"][0];
    assert_eq!((&entry["data"]["event"], &entry["texts"]["reason"]), (&json!("request.submitted"), &json!("checking a slow query")));
    for path in ["/audit/entries", "/audit/who-could?resource=db-1", "/audit/who-did?resource=db-1"] {
        assert_eq!(eve.get(path).await.0, StatusCode::OK, "{path}");
        let (status, refused) = ana.get(path).await;
        assert_eq!((status, &refused["code"]), (StatusCode::FORBIDDEN, &json!("not_allowed")), "{path}");
    }
    let (status, replayed) = eve.post("/audit/replay", json!({})).await;
    assert_eq!((status, &replayed["differences"]), (StatusCode::OK, &json!([])), "{replayed}");
}
