//! Every no is a problem, and every answer wears the same headers.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{Served, read, wish};

#[tokio::test]
async fn whatever_is_wrong_the_answer_is_a_problem() {
    let served = Served::start().await;
    let ana = served.person("ana").await;
    assert_eq!(ana.post("/requests/preview", wish()).await.0, StatusCode::OK);

    let raw = |body: &str, kind: &str| ana.call(Method::POST, "/requests").header("content-type", kind.to_owned()).body(body.to_owned());
    let large = format!("{{\"reason\":\"{}\"}}", "x".repeat(1024 * 1024));
    let cases = [
        (ana.call(Method::GET, "/nowhere"), 404, "not_found"),
        (served.call(Method::GET, "/elsewhere"), 404, "not_found"),
        (ana.call(Method::DELETE, "/requests"), 405, "invalid"),
        (raw("{", "application/json"), 400, "invalid"),
        (raw("{\"resource\":\"db-1\",\"rol\":\"debug\"}", "application/json"), 400, "invalid"),
        (raw("{\"resource\":\"DB 1\"}", "application/json"), 400, "invalid"),
        (raw("resource=db-1", "application/x-www-form-urlencoded"), 415, "invalid"),
        (raw(&large, "application/json"), 413, "invalid"),
        (ana.call(Method::GET, "/requests/grt_01234567890123456789012345"), 400, "invalid"),
        (ana.call(Method::GET, "/requests?limit=0"), 400, "invalid"),
        (ana.call(Method::GET, "/requests?state=gone"), 400, "invalid"),
        (served.call(Method::GET, "/api/v1/me"), 401, "not_signed_in"),
        (served.call(Method::GET, "/api/v1/me").header("authorization", "Basic YTpi"), 401, "not_signed_in"),
    ];
    for (call, status, code) in cases {
        let response = call.send().await.unwrap();
        let headers = response.headers().clone();
        let url = response.url().to_string();
        let (got, problem) = read(response).await;
        assert_eq!((got.as_u16(), problem["code"].as_str()), (status, Some(code)), "{url}: {problem}");
        assert_eq!(headers["content-type"], "application/problem+json", "{url}");
        assert_eq!(problem["request_id"].as_str(), headers["x-request-id"].to_str().ok(), "{url}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{url}");
        assert_eq!(headers["cache-control"], "no-store", "{url}");
        assert_eq!(headers["content-security-policy"], "default-src 'none'; frame-ancestors 'none'", "{url}");
        assert_eq!(headers.contains_key("www-authenticate"), status == 401, "{url}");
    }
}

#[tokio::test]
async fn a_problem_says_what_why_and_what_to_do() {
    let served = Served::start().await;
    let ana = served.person("ana").await;
    let (_, mut problem) = ana.post("/requests", json!({ "resource": "db-1", "role": "debug", "reason": "x", "duration": "5h" })).await;
    problem["request_id"] = json!("…");
    insta::assert_json_snapshot!(problem);
}

// covers: E9 (api)
#[tokio::test]
async fn a_text_is_taken_that_is_as_long_as_the_document_says_and_none_that_is_longer() {
    let served = Served::start().await;
    served.test.gate.serve_directories(vec![crate::directory::named("corp")]);
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    let (ana, carla, dan) = (served.person("ana").await, served.person("carla").await, served.person("dan").await);
    let (_, me) = dan.get("/me").await;
    let (_, hers) = ana.get("/me").await;
    let disable = format!("/users/{}/disable", hers["user"]["id"].as_str().unwrap());
    let cases = [
        (&dan, "/users", "display_name", 200, json!({ "username": "gina" })),
        (&dan, "/workloads", "display_name", 200, json!({ "username": "gina-bot", "owner": me["user"]["id"] })),
        (&dan, "/tokens", "label", 200, json!({ "scopes": ["read"], "duration": "1h" })),
        (&dan, "/directories/corp/tokens", "label", 200, json!({ "duration": "1h" })),
        (&carla, "/me/keys", "label", 200, json!({ "public_key": key })),
        (&carla, "/locks", "reason", 4_000, json!({ "scope": "resource:web-1" })),
        (&carla, "/holds", "reason", 2_000, json!({ "scope": "resource:web-1" })),
        (&dan, disable.as_str(), "reason", 4_000, json!({})),
    ];
    for (who, path, field, most, body) in cases {
        let with = |length: usize| {
            let mut body = body.clone();
            // Letters that take more than a byte count once.
            body[field] = json!("ü".repeat(length));
            body
        };
        let (status, taken) = who.post(path, with(most)).await;
        assert!(status.is_success(), "{path}: {status} {taken}");
        let (status, problem) = who.post(path, with(most + 1)).await;
        assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("invalid")), "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(&format!("at most {most} characters")), "{path}: {problem}");
    }
}

// covers: E9 (api)
#[tokio::test]
async fn what_people_write_never_becomes_a_header() {
    let served = Served::start().await;
    let ana = served.person("ana").await;
    let reason = "line\r\nset-cookie: a=b\u{1b}[2J<script>";
    let asked =
        ana.call(Method::POST, "/requests").json(&json!({ "resource": "db-1", "role": "debug", "reason": reason })).send().await.unwrap();
    assert!(asked.headers().get("set-cookie").is_none());
    let (status, asked) = read(asked).await;
    assert_eq!((status, asked["request"]["reason"].as_str()), (StatusCode::ACCEPTED, Some(reason)));
}

// covers: E7 (api)
#[tokio::test]
async fn a_client_that_never_finishes_its_head_keeps_nobody_waiting() {
    let served = Served::start().await;
    let address = served.url.strip_prefix("http://").unwrap().to_owned();
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n").await.unwrap();
        slow.push(stream);
    }
    let healthy = served.call(Method::GET, "/healthz").send().await.unwrap();
    assert_eq!(healthy.status(), StatusCode::OK);
    // Each is shown the door within the time a head may take.
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(std::time::Duration::from_secs(60), slow[0].read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "still open");
}

// covers: G4 (api)
#[tokio::test]
async fn plain_text_is_spoken_on_loopback_alone() {
    let served = Served::start().await;
    let facts = tidegate_api::types::GateFacts::default();
    let router = tidegate_api::router(tidegate_api::ApiState::new(served.test.gate.clone(), facts));
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused = tidegate_api::serve(listener, None, router, Default::default()).await.unwrap_err();
    assert!(refused.to_string().contains("plain text"), "{refused}");
}

#[tokio::test]
async fn what_everybody_may_know_needs_no_sign_in() {
    let served = Served::start().await;
    for path in ["/healthz", "/readyz", "/api/v1/gate", "/api/v1/openapi.json"] {
        assert_eq!(served.call(Method::GET, path).send().await.unwrap().status(), StatusCode::OK, "{path}");
    }
}

// covers: MAY-8 (api)
#[tokio::test]
async fn a_large_policy_is_taken_from_who_may_put_it_in_force_and_from_nobody_else() {
    let served = Served::start().await;
    let (ana, dan) = (served.person("ana").await, served.person("dan").await);
    let mut files: serde_json::Map<String, Value> = served
        .test
        .gate
        .bundle()
        .files()
        .iter()
        .map(|(path, bytes)| (path.clone(), json!(base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes))))
        .collect();
    let note = format!("# {}\n", "x".repeat(98)).repeat(11_000);
    let large = [served.test.gate.bundle().files()["resources.toml"].as_slice(), note.as_bytes()].concat();
    files.insert("resources.toml".into(), json!(base64::Engine::encode(&base64::prelude::BASE64_STANDARD, large)));
    for path in ["/policy/diff", "/policy/push"] {
        let (status, problem) = ana.post(path, json!({ "files": files })).await;
        assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("not_allowed")), "{path}: {problem}");
        let (status, done) = dan.post(path, json!({ "files": files })).await;
        assert_eq!(status, StatusCode::OK, "{path}: {done}");
    }
    // There is an end to it, and then it is said how it goes all the same.
    let mut stream = tokio::net::TcpStream::connect(served.url.strip_prefix("http://").unwrap()).await.unwrap();
    let head = format!(
        "POST /api/v1/policy/push HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        dan.token,
        33 << 20
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("into the policy directory at the gate itself, and send it SIGHUP"), "{answer}");
}
