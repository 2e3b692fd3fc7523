//! The API from outside: a gate of the example company, served on loopback, and named people with a plain HTTP client.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod another_provider;
mod asking;
mod browsers;
mod compliance;
mod consoles;
mod devices;
mod directory;
mod directory_calls;
mod directory_words;
mod downloads;
mod erasing;
mod made_up_provider;
mod measures;
mod passkeys;
mod pipelines;
mod providers;
mod refusals;
mod repeating;
mod scale;
mod serving;
mod sessions;
mod signals;
mod signing_in;
mod streams;
mod versions;

mod document;

use access::identity::Scope;
use access::time::Span;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use testkit::gate::TestGate;
use tidegate_api::ApiState;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A gate that is being served.
pub(crate) struct Served {
    pub(crate) test: TestGate,
    pub(crate) url: String,
    http: reqwest::Client,
    stop: CancellationToken,
}

impl Served {
    pub(crate) async fn start() -> Self {
        Self::start_with(|state| state).await
    }

    /// The same, where something of the API's state is the test's own.
    pub(crate) async fn start_with(change: impl FnOnce(ApiState) -> ApiState) -> Self {
        let test = TestGate::start().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let facts = tidegate_api::types::GateFacts { version: "test".into(), api: url.clone(), ..Default::default() };
        let router = tidegate_api::router(change(ApiState::new(test.gate.clone(), facts)));
        let stop = CancellationToken::new();
        // Another test of this process may have done so already.
        let _once = rustls::crypto::aws_lc_rs::default_provider().install_default();
        tokio::spawn(tidegate_api::serve(listener, None, router, stop.clone()));
        Self { test, url, http: reqwest::Client::new(), stop }
    }

    /// A fresh token of somebody's.
    pub(crate) async fn token(&self, name: &str, scopes: &[Scope]) -> String {
        let caller = self.test.person(name);
        let issued = self.test.gate.issue_token(caller, caller.who.id(), scopes.to_vec(), Span::hours(1), None).await.unwrap();
        issued.token.expose().clone()
    }

    /// Somebody with a token that may do all they may.
    pub(crate) async fn person(&self, name: &str) -> Person<'_> {
        Person { served: self, token: self.token(name, Scope::OF_PEOPLE).await }
    }

    /// Does something to the store behind the gate's back.
    pub(crate) fn behind(&self, sql: &str) {
        let store = self.test.dir().join("store.db");
        let script = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1], timeout=30); c.execute(sys.argv[2]); c.commit()";
        let done = std::process::Command::new("python3").args(["-c", script]).arg(store).arg(sql).status().unwrap();
        assert!(done.success());
    }

    /// A call without any sign-in.
    pub(crate) fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) struct Person<'s> {
    pub(crate) served: &'s Served,
    pub(crate) token: String,
}

impl Person<'_> {
    pub(crate) fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.served.call(method, &format!("/api/v1{path}")).bearer_auth(&self.token)
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        read(self.call(Method::GET, path).send().await.unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        read(self.call(Method::POST, path).json(&body).send().await.unwrap()).await
    }
}

pub(crate) async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// What Ana asks in most tests.
pub(crate) fn wish() -> Value {
    serde_json::json!({ "resource": "db-1", "role": "debug", "reason": "checking a slow query" })
}
