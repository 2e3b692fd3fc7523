//! Consoles as calls: whose they are, how they end, and what is no console. What runs them is the test's own here: it says back what it hears.

use std::sync::Arc;
use std::time::Duration;

use access::identity::Scope;
use access::reason::{Reason, Refusal};
use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tidegate_api::console::{Beforehand, Consoles, Guest, SqlAsked, SqlDoor, SqlIo, SqlSaid, TerminalIo};
use tidegate_api::types::consoles::{SqlAnswer, SqlError};
use tokio::sync::mpsc;

use crate::{Served, read};

/// Says back what it hears, and that it was left.
#[derive(Debug)]
struct Parrot(mpsc::Sender<String>);

#[async_trait]
impl Consoles for Parrot {
    async fn terminal(&self, guest: Guest, mut io: TerminalIo) -> Result<Option<u32>, Refusal> {
        if guest.to.resource.as_str() == "db-9" {
            return Err(Refusal::of(Reason::UnknownResource));
        }
        let (cols, rows) = *io.size.borrow_and_update();
        let _ = io.shown.send(format!("{} on {} at {cols}x{rows};", guest.who.username(), guest.to).into()).await;
        loop {
            tokio::select! {
                typed = io.typed.recv() => match typed {
                    Some(bytes) if &bytes[..] == b"exit" => return Ok(Some(3)),
                    Some(bytes) => drop(io.shown.send(bytes).await),
                    None => break,
                },
                Ok(()) = io.size.changed() => drop(io.shown.send(format!("{:?};", *io.size.borrow()).into()).await),
                () = io.shown.closed() => break,
            }
        }
        self.0.send(guest.to.to_string()).await.unwrap();
        Ok(None)
    }

    async fn sql(&self, door: SqlDoor, _: Guest, before: Beforehand, mut io: SqlIo) -> Result<(), SqlError> {
        let _ = io.said.send(SqlSaid::Notice(format!("because {} ({door:?})", before.reason.unwrap_or_default()))).await;
        let _ = io.said.send(SqlSaid::Open).await;
        while let Some(SqlAsked { text, rows, stop }) = io.asked.recv().await {
            if text == "wait" {
                stop.cancelled().await;
            }
            let text = if stop.is_cancelled() { format!("{text}, stopped") } else { text };
            let answer = SqlAnswer { columns: vec![text], rows: vec![vec![Some(rows.to_string())]], ..SqlAnswer::default() };
            let _ = io.said.send(SqlSaid::Answer(Box::new(answer))).await;
        }
        Err(SqlError { sqlstate: "57P01".into(), message: "over".into(), ..SqlError::default() })
    }
}

/// A gate with such consoles, and who was left.
async fn start() -> (Served, mpsc::Receiver<String>) {
    let (left, leaves) = mpsc::channel(16);
    (Served::start_with(|state| state.with_consoles(Arc::new(Parrot(left)))).await, leaves)
}

/// The events of a console.
struct Events {
    response: Response,
    rest: String,
}

impl Events {
    async fn of(call: RequestBuilder, wanted: Value) -> Self {
        let response = call.json(&wanted).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{}", response.text().await.unwrap());
        Self { response, rest: String::new() }
    }

    /// The next one; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((block, rest)) = self.rest.split_once("\n\n") {
                let event = block.lines().find_map(|line| line.strip_prefix("data: ")).map(|data| serde_json::from_str(data).unwrap());
                self.rest = rest.to_owned();
                match event {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            let piece = tokio::time::timeout(Duration::from_secs(60), self.response.chunk()).await.unwrap().unwrap_or(None)?;
            self.rest.push_str(&String::from_utf8_lossy(&piece));
        }
    }

    async fn shown(&mut self) -> String {
        let event = self.next().await.unwrap();
        assert_eq!(event["event"], "output", "{event}");
        String::from_utf8(BASE64_STANDARD.decode(event["data"].as_str().unwrap()).unwrap()).unwrap()
    }
}

fn typed(text: &str) -> Value {
    json!({ "data": BASE64_STANDARD.encode(text) })
}

// covers: SES-2 (api), B2 (api)
#[tokio::test]
async fn a_console_is_of_the_sign_in_that_opened_it() {
    let (served, _leaves) = start().await;
    let ana = served.person("ana").await;
    let mut console = Events::of(ana.call(Method::POST, "/consoles"), json!({ "kind": "terminal", "to": "db-1+debug", "cols": 90 })).await;
    let opened = console.next().await.unwrap();
    let path = format!("/consoles/{}", opened["id"].as_str().unwrap());
    assert_eq!(console.shown().await, "ana on db-1+debug at 90x24;");
    assert_eq!(ana.post(&format!("{path}/input"), typed("hello")).await.0, StatusCode::NO_CONTENT);
    assert_eq!(console.shown().await, "hello");
    // For anybody else, and any other sign-in of hers, it is as one that does not exist.
    let (ben, other) = (served.person("ben").await, served.person("ana").await);
    for somebody in [&ben, &other] {
        assert_eq!(somebody.post(&format!("{path}/input"), typed("rm -rf /")).await.0, StatusCode::NOT_FOUND);
    }
    assert_eq!(ana.post("/consoles/0123/input", typed("x")).await.0, StatusCode::NOT_FOUND);
    // What is no size, no bytes, no statement.
    for wrong in [json!({ "cols": 1 }), json!({ "rows": 100_000 }), json!({ "data": "?" }), json!({ "more": 1 })] {
        assert_eq!(ana.post(&format!("{path}/input"), wrong.clone()).await.0, StatusCode::BAD_REQUEST, "{wrong}");
    }
    assert_eq!(ana.post(&format!("{path}/statements"), json!({ "text": "SELECT 1" })).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(ana.post(&format!("{path}/input"), json!({ "cols": 100, "rows": 40 })).await.0, StatusCode::NO_CONTENT);
    assert_eq!(console.shown().await, "(100, 40);");
    // It ends, says how, and is gone.
    assert_eq!(ana.post(&format!("{path}/input"), typed("exit")).await.0, StatusCode::NO_CONTENT);
    assert_eq!(console.next().await.unwrap(), json!({ "event": "ended", "exit_status": 3, "error": null }));
    assert_eq!(console.next().await, None);
    assert_eq!(ana.post(&format!("{path}/input"), typed("x")).await.0, StatusCode::NOT_FOUND);
    // A door that takes nobody says so in the same place.
    let mut none = Events::of(ana.call(Method::POST, "/consoles"), json!({ "kind": "terminal", "to": "db-9" })).await;
    none.next().await.unwrap();
    let ended = none.next().await.unwrap();
    assert!(ended["error"]["message"].is_string() && ended["error"]["hint"].is_string(), "{ended}");
}

// covers: SES-2 (api), WHO-8 (api), G4 (api)
#[tokio::test]
async fn a_console_ends_when_nobody_reads_it_and_with_its_sign_in() {
    let (served, mut leaves) = start().await;
    let wanted = json!({ "kind": "terminal", "to": "db-1+debug" });
    // The tab is closed.
    let ana = served.person("ana").await;
    let mut console = Events::of(ana.call(Method::POST, "/consoles"), wanted.clone()).await;
    console.next().await.unwrap();
    drop(console);
    assert_eq!(leaves.recv().await.unwrap(), "db-1+debug");
    // A browser: only the gate's own page opens one, and it ends when that is signed out.
    let call = served.call(Method::POST, "/api/v1/web-sessions").header("origin", &served.url);
    let answer = call.json(&json!({ "token": served.token("ana", Scope::OF_PEOPLE).await })).send().await.unwrap();
    let cookie = answer.headers().get(SET_COOKIE).unwrap().to_str().unwrap().split(';').next().unwrap().to_owned();
    let call =
        |path: &str, origin: &str| served.call(Method::POST, &format!("/api/v1{path}")).header(COOKIE, &cookie).header("origin", origin);
    let (status, body) = read(call("/consoles", "https://evil.example").json(&wanted).send().await.unwrap()).await;
    assert_eq!((status, &body["code"]), (StatusCode::FORBIDDEN, &json!("cross_site")), "{body}");
    let mut console = Events::of(call("/consoles", &served.url), wanted.clone()).await;
    console.next().await.unwrap();
    assert_eq!(console.shown().await, "ana on db-1+debug at 80x24;");
    assert_eq!(call("/sign-out", &served.url).json(&json!({})).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(console.next().await, None);
    assert_eq!(leaves.recv().await.unwrap(), "db-1+debug");
    // Who is locked.
    let carla = served.person("carla").await;
    let mut console = Events::of(ana.call(Method::POST, "/consoles"), wanted.clone()).await;
    console.next().await.unwrap();
    assert!(console.shown().await.starts_with("ana on"));
    let id = served.test.person("ana").who.id();
    assert_eq!(carla.post("/locks", json!({ "scope": format!("person:{id}") })).await.0, StatusCode::CREATED);
    assert_eq!(console.next().await, None);
    assert_eq!(leaves.recv().await.unwrap(), "db-1+debug");
    // A token that may only look opens none; and a gate without consoles has none.
    let reads = served.token("ben", &[Scope::Read]).await;
    let (status, _) = read(served.call(Method::POST, "/api/v1/consoles").bearer_auth(reads).json(&wanted).send().await.unwrap()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let bare = Served::start().await;
    assert_eq!(bare.person("ana").await.post("/consoles", wanted).await.0, StatusCode::NOT_FOUND);
}

// covers: SES-2 (api)
#[tokio::test]
async fn a_prompt_answers_statements_in_their_order() {
    let (served, _leaves) = start().await;
    let ana = served.person("ana").await;
    let mut prompt = Events::of(ana.call(Method::POST, "/consoles"), json!({ "kind": "sql", "to": "orders-db", "reason": "a call" })).await;
    let path = format!("/consoles/{}", prompt.next().await.unwrap()["id"].as_str().unwrap());
    assert_eq!(prompt.next().await.unwrap(), json!({ "event": "notice", "text": "because a call (Postgres)" }));
    let wanted = json!({ "kind": "mysql", "to": "warehouse-db", "reason": "a call" });
    let mut other = Events::of(ana.call(Method::POST, "/consoles"), wanted).await;
    other.next().await.unwrap();
    assert_eq!(other.next().await.unwrap(), json!({ "event": "notice", "text": "because a call (Mysql)" }));
    drop(other);
    assert_eq!(prompt.next().await.unwrap(), json!({ "event": "ready" }));
    let ask = async |body: Value| ana.post(&format!("{path}/statements"), body).await.0;
    assert_eq!(ask(json!({ "text": "wait", "rows": 7 })).await, StatusCode::NO_CONTENT);
    // What waits behind it is stopped with it, and what comes after that is not.
    while ask(json!({ "text": "behind it" })).await == StatusCode::TOO_MANY_REQUESTS {}
    assert_eq!(ana.post(&format!("{path}/stop"), json!({})).await.0, StatusCode::NO_CONTENT);
    let answer = prompt.next().await.unwrap();
    assert_eq!((&answer["answer"]["columns"], &answer["answer"]["rows"]), (&json!(["wait, stopped"]), &json!([["7"]])), "{answer}");
    assert_eq!(prompt.next().await.unwrap()["answer"]["columns"], json!(["behind it, stopped"]));
    assert_eq!(ask(json!({ "text": "one" })).await, StatusCode::NO_CONTENT);
    assert_eq!(prompt.next().await.unwrap()["answer"]["rows"], json!([["500"]]));
    for wrong in [json!({ "text": "x", "rows": 0 }), json!({ "text": "x", "rows": 5_001 }), json!({ "rows": 1 })] {
        assert_eq!(ask(wrong.clone()).await, StatusCode::BAD_REQUEST, "{wrong}");
    }
    assert_eq!(ana.post(&format!("{path}/input"), typed("x")).await.0, StatusCode::BAD_REQUEST);
}
