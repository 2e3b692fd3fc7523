//! `Idempotency-Key`.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{Person, Served, read, wish};

async fn keyed(person: &Person<'_>, path: &str, key: &str, body: Value) -> (StatusCode, bool, Value) {
    let response = person.call(Method::POST, path).header("idempotency-key", key).json(&body).send().await.unwrap();
    let replayed = response.headers().contains_key("idempotency-replayed");
    let (status, body) = read(response).await;
    (status, replayed, body)
}

#[tokio::test]
async fn the_same_key_is_done_once_and_answered_alike() {
    let served = Served::start().await;
    let (ana, ben) = (served.person("ana").await, served.person("ben").await);
    let wish_for = |resource: &str| json!({ "resource": resource, "role": "shell", "reason": "x" });

    let first = keyed(&ana, "/requests", "k-1", wish_for("build-1")).await;
    assert_eq!((first.0, first.1), (StatusCode::CREATED, false), "{}", first.2);
    let second = keyed(&ana, "/requests", "k-1", wish_for("build-1")).await;
    assert_eq!((second.0, second.1, &second.2), (StatusCode::CREATED, true, &first.2));
    let (_, list) = ana.get("/requests").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "one request, not two");

    let (status, _, other) = keyed(&ana, "/requests", "k-1", wish()).await;
    assert_eq!((status, &other["code"]), (StatusCode::CONFLICT, &json!("key_reused")));
    let (status, replayed, _) = keyed(&ben, "/requests", "k-1", wish()).await;
    assert_eq!((status, replayed), (StatusCode::ACCEPTED, false), "keys of two people never meet");
}

#[tokio::test]
async fn a_refused_call_gives_its_key_back() {
    let served = Served::start().await;
    let ana = served.person("ana").await;
    let (status, _, _) = keyed(&ana, "/requests", "k-1", json!({ "resource": "nowhere", "role": "shell" })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _, body) = keyed(&ana, "/requests", "k-1", wish()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
}

// covers: A9 (api)
#[tokio::test]
async fn a_secret_is_not_shown_twice() {
    let served = Served::start().await;
    let ana = served.person("ana").await;
    let new = json!({ "scopes": ["read"], "duration": "1h" });
    let (status, _, made) = keyed(&ana, "/tokens", "k-1", new.clone()).await;
    assert_eq!(status, StatusCode::CREATED);
    assert!(made["secret"].as_str().unwrap().starts_with("tg_pat_"));
    let (status, _, again) = keyed(&ana, "/tokens", "k-1", new).await;
    assert_eq!((status, &again["code"]), (StatusCode::CONFLICT, &json!("key_reused")), "{again}");
    let (_, listed) = ana.get("/tokens").await;
    assert!(!listed.to_string().contains(made["secret"].as_str().unwrap()));
}
