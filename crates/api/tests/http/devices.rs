//! Devices that are signed in from a browser elsewhere.

use std::time::Duration;

use access::identity::Scope;
use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{Served, read};

async fn post(served: &Served, path: &str, body: Value) -> (StatusCode, Value) {
    read(served.call(Method::POST, &format!("/api/v1{path}")).json(&body).send().await.unwrap()).await
}

/// Somebody in a browser: their cookie.
async fn browser(served: &Served, name: &str) -> String {
    let token = served.token(name, Scope::OF_PEOPLE).await;
    let call = served.call(Method::POST, "/api/v1/web-sessions").header("origin", &served.url).json(&json!({ "token": token }));
    let answer = call.send().await.unwrap();
    answer.headers().get(SET_COOKIE).unwrap().to_str().unwrap().split(';').next().unwrap().to_owned()
}

async fn in_browser(served: &Served, cookie: &str, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    let call = served.call(method, &format!("/api/v1{path}")).header(COOKIE, cookie).header("origin", &served.url);
    read(call.json(&body).send().await.unwrap()).await
}

// covers: WHO-1 (api), A8, A9
#[tokio::test]
async fn a_device_gets_a_token_when_who_saw_what_asks_agreed() {
    let served = Served::start().await;
    let asks = json!({ "client": "tidegate on laptop-7", "purpose": "\u{1b}[31mthe command line" });
    let (status, begun) = post(&served, "/device", asks).await;
    assert_eq!(status, StatusCode::CREATED, "{begun}");
    let code = begun["user_code"].as_str().unwrap();
    assert_eq!(begun["verification_uri_complete"], json!(format!("{}/device?code={code}", served.url)));
    let device = json!({ "device_code": begun["device_code"] });
    let (status, body) = post(&served, "/device/token", device.clone()).await;
    assert_eq!((status, &body["code"]), (StatusCode::ACCEPTED, &json!("pending")));
    let (status, body) = post(&served, "/device/token", device.clone()).await;
    assert_eq!((status, &body["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!("too_many")), "too soon");

    // She sees who asks, from where, for what; nobody else does, and no token agrees.
    let cookie = browser(&served, "ana").await;
    let path = format!("/device/{code}");
    let (status, shown) = in_browser(&served, &cookie, Method::GET, &path, Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{shown}");
    assert_eq!((&shown["address"], &shown["client"]), (&json!("127.0.0.1"), &json!("tidegate on laptop-7")));
    assert_eq!(shown["your_address"], json!("127.0.0.1"));
    assert_eq!(shown["purpose"], json!("[31mthe command line"));
    assert_eq!(served.call(Method::GET, &format!("/api/v1{path}")).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let by_token = served.person("ana").await.post(&path, json!({ "agree": true })).await;
    assert_eq!(by_token.0, StatusCode::FORBIDDEN);

    // She agrees, and it works for her, once, and no more strongly than it could prove.
    let (status, body) = in_browser(&served, &cookie, Method::POST, &path, json!({ "agree": true })).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    served.test.time.advance(Duration::from_secs(5));
    let (status, body) = post(&served, "/device/token", device.clone()).await;
    assert_eq!((status, &body["user"]["username"]), (StatusCode::CREATED, &json!("ana")), "{body}");
    assert_eq!(body["token"]["token"]["label"], "signed in from the browser: tidegate on laptop-7 at 127.0.0.1");
    let me = served.call(Method::GET, "/api/v1/me").bearer_auth(body["token"]["secret"].as_str().unwrap()).send().await.unwrap();
    let (status, me) = read(me).await;
    assert_eq!((status, &me["mfa"]), (StatusCode::OK, &json!("none")));
    served.test.time.advance(Duration::from_secs(5));
    assert_eq!(post(&served, "/device/token", device).await.0, StatusCode::UNAUTHORIZED, "once");
}

// covers: A8, A9
#[tokio::test]
async fn a_no_a_lock_and_time_let_no_device_in() {
    let served = Served::start().await;
    let cookie = browser(&served, "ana").await;
    let begin = async || {
        let (_, begun) = post(&served, "/device", json!({ "client": "x", "purpose": "y" })).await;
        (json!({ "device_code": begun["device_code"] }), format!("/device/{}", begun["user_code"].as_str().unwrap()))
    };
    let agree = async |path: &str, agree: bool| in_browser(&served, &cookie, Method::POST, path, json!({ "agree": agree })).await.0;
    // Agreed to, it is let in …
    let (device, path) = begin().await;
    assert_eq!(agree(&path, true).await, StatusCode::OK);
    assert_eq!(post(&served, "/device/token", device).await.0, StatusCode::CREATED);
    // … but not with a no, …
    let (device, path) = begin().await;
    assert_eq!(agree(&path, false).await, StatusCode::OK);
    assert_eq!(agree(&path, true).await, StatusCode::UNAUTHORIZED, "answered once");
    let (status, body) = post(&served, "/device/token", device).await;
    assert_eq!((status, &body["code"]), (StatusCode::FORBIDDEN, &json!("denied")));
    // … nor too late, …
    let (device, path) = begin().await;
    served.test.time.advance(Duration::from_secs(601));
    assert_eq!(agree(&path, true).await, StatusCode::UNAUTHORIZED);
    assert_eq!(post(&served, "/device/token", device).await.0, StatusCode::UNAUTHORIZED);
    // … nor for who was locked after they agreed, nor by who is locked, …
    let id = served.test.person("ana").who.id();
    let carla = served.person("carla").await;
    let lock = async || carla.post("/locks", json!({ "scope": format!("person:{id}") })).await.1["lock"]["id"].as_str().unwrap().to_owned();
    let (device, path) = begin().await;
    let cookie = browser(&served, "ana").await;
    let agree = async |path: &str, agree: bool| in_browser(&served, &cookie, Method::POST, path, json!({ "agree": agree })).await.0;
    assert_eq!(agree(&path, true).await, StatusCode::OK);
    let locked = lock().await;
    let (status, body) = post(&served, "/device/token", device.clone()).await;
    assert_eq!((status, &body["code"]), (StatusCode::FORBIDDEN, &json!("locked")), "{body}");
    let (_, path) = begin().await;
    assert_eq!(agree(&path, true).await, StatusCode::UNAUTHORIZED, "the lock signed her browser out");
    carla.post(&format!("/locks/{locked}/lift"), json!({})).await;
    // … nor once the browser is signed out in which somebody agreed, …
    let cookie = browser(&served, "ana").await;
    let agree = async |path: &str, agree: bool| in_browser(&served, &cookie, Method::POST, path, json!({ "agree": agree })).await.0;
    let (device, path) = begin().await;
    assert_eq!(agree(&path, true).await, StatusCode::OK);
    assert_eq!(in_browser(&served, &cookie, Method::POST, "/sign-out", Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(post(&served, "/device/token", device).await.0, StatusCode::UNAUTHORIZED);
    // … nor when who agreed was disabled meanwhile.
    let cookie = browser(&served, "ana").await;
    let agree = async |path: &str, agree: bool| in_browser(&served, &cookie, Method::POST, path, json!({ "agree": agree })).await.0;
    let (device, path) = begin().await;
    assert_eq!(agree(&path, true).await, StatusCode::OK);
    let ana = served.test.person("ana").who.id();
    served.test.gate.disable(served.test.person("dan"), ana, None).await.unwrap();
    assert_eq!(post(&served, "/device/token", device).await.0, StatusCode::FORBIDDEN);
}

// covers: A9
#[tokio::test]
async fn a_store_that_is_away_spends_no_yes() {
    let served = Served::start().await;
    let cookie = browser(&served, "ana").await;
    let (_, begun) = post(&served, "/device", json!({ "client": "x", "purpose": "y" })).await;
    let device = json!({ "device_code": begun["device_code"] });
    let path = format!("/device/{}", begun["user_code"].as_str().unwrap());
    assert_eq!(in_browser(&served, &cookie, Method::POST, &path, json!({ "agree": true })).await.0, StatusCode::OK);
    let poll = async || {
        served.test.time.advance(Duration::from_secs(5));
        post(&served, "/device/token", device.clone()).await.0
    };
    served.behind("CREATE TRIGGER away BEFORE INSERT ON tokens BEGIN SELECT RAISE(ABORT, 'the disk is full'); END");
    assert_eq!((poll().await, poll().await), (StatusCode::SERVICE_UNAVAILABLE, StatusCode::SERVICE_UNAVAILABLE));
    served.behind("DROP TRIGGER away");
    assert_eq!((poll().await, poll().await), (StatusCode::CREATED, StatusCode::UNAUTHORIZED), "then it is spent");
}

// covers: A9 (api)
#[tokio::test]
async fn who_polls_on_after_the_end_blocks_nobody() {
    let served = Served::start().await;
    let (_, begun) = post(&served, "/device", json!({ "client": "x", "purpose": "y" })).await;
    let device = json!({ "device_code": begun["device_code"] });
    served.test.time.advance(Duration::from_secs(601));
    for _ in 0..20 {
        assert_eq!(post(&served, "/device/token", device.clone()).await.0, StatusCode::UNAUTHORIZED);
    }
    // What never was a code is a guess.
    for n in 0..12 {
        let (status, _) = post(&served, "/device/token", json!({ "device_code": format!("tg_dev_{n}") })).await;
        assert_eq!(status, if n < 10 { StatusCode::UNAUTHORIZED } else { StatusCode::TOO_MANY_REQUESTS }, "{n}");
    }
}
