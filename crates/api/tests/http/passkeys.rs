//! Passkeys over HTTP: added, used to sign in, to prove freshly that it is oneself, and to sign an approval over the exact request.

use std::time::Duration;

use access::identity::Scope;
use access::session::Protocol;
use evidence::bundle::verify;
use evidence::log::CheckpointVerifier;
use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use testkit::passkey::{Authenticator, RelyingParty, Wish, challenge, decode, encode};

use crate::{Served, read, wish};

/// Somebody at a browser that is signed in.
struct Browser<'s> {
    served: &'s Served,
    cookie: String,
}

impl<'s> Browser<'s> {
    async fn of(served: &'s Served, name: &str) -> Self {
        let token = served.token(name, Scope::OF_PEOPLE).await;
        let call = served.call(Method::POST, "/api/v1/web-sessions").header("origin", &served.url);
        Self::by(served, call.json(&json!({ "token": token }))).await.unwrap()
    }

    /// Whoever the answer gives a cookie.
    async fn by(served: &'s Served, call: RequestBuilder) -> Result<Self, (StatusCode, Value)> {
        let answer = call.send().await.unwrap();
        match answer.headers().get(SET_COOKIE) {
            Some(cookie) => Ok(Self { served, cookie: cookie.to_str().unwrap().split(';').next().unwrap().to_owned() }),
            None => Err(read(answer).await),
        }
    }

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        let call = self.served.call(method, &format!("/api/v1{path}"));
        call.header(COOKIE, &self.cookie).header("origin", &self.served.url)
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        read(self.call(Method::GET, path).send().await.unwrap()).await
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        read(self.call(Method::POST, path).json(&body).send().await.unwrap()).await
    }

    /// Adds a passkey.
    async fn add(&self, key: &mut Key) -> (StatusCode, Value) {
        let (status, asked) = self.post("/passkeys/challenge", json!({})).await;
        if status != StatusCode::CREATED {
            return (status, asked);
        }
        let (client_data, object) = key.authenticator.register(&bytes(&asked["challenge"]), &key.party, &Wish::default());
        key.user_handle = asked["user_handle"].as_str().unwrap().to_owned();
        self.post("/passkeys", json!({ "client_data": encode(&client_data), "attestation_object": encode(&object), "label": "phone" }))
            .await
    }

    /// Proves freshly that it is them, for this browser or a terminal.
    async fn prove(&self, key: &mut Key, code: Option<&str>) -> (StatusCode, Value) {
        let (status, asked) = self.post("/step-up/challenge", json!({ "code": code })).await;
        if status != StatusCode::CREATED {
            return (status, asked);
        }
        let answer = key.answer(&asked["challenge"]);
        self.post("/step-up", json!({ "code": code, "answer": answer })).await
    }
}

/// Somebody's passkey.
struct Key {
    authenticator: Authenticator,
    party: RelyingParty,
    user_handle: String,
}

impl Key {
    fn new(served: &Served) -> Self {
        Self { authenticator: Authenticator::es256(), party: RelyingParty::of_page(&served.url).unwrap(), user_handle: String::new() }
    }

    /// Adds it for somebody, in a browser of theirs that is gone afterwards.
    async fn of(served: &Served, name: &str) -> Self {
        let mut key = Self::new(served);
        let (status, body) = Browser::of(served, name).await.add(&mut key).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        key
    }

    fn answer(&mut self, challenge: &Value) -> Value {
        self.answer_bytes(&bytes(challenge))
    }

    fn answer_bytes(&mut self, challenge: &[u8]) -> Value {
        serde_json::to_value(self.authenticator.assert(challenge, &self.party, &Wish::default())).unwrap()
    }

    /// What signs in.
    fn signing_in(&mut self, challenge: &Value) -> Value {
        let mut answer = self.answer(challenge);
        answer["user_handle"] = self.user_handle.clone().into();
        answer
    }

    async fn sign_in<'s>(&mut self, served: &'s Served) -> Result<Browser<'s>, (StatusCode, Value)> {
        let answer = self.signing_in(&asked(served).await);
        Browser::by(served, with(served, &answer)).await
    }
}

fn bytes(text: &Value) -> Vec<u8> {
    decode(text.as_str().unwrap(), "it").unwrap()
}

async fn asked(served: &Served) -> Value {
    let (status, asked) = read(served.call(Method::POST, "/api/v1/sign-in/passkey/challenge").send().await.unwrap()).await;
    assert_eq!(status, StatusCode::CREATED, "{asked}");
    asked["challenge"].clone()
}

fn with(served: &Served, answer: &Value) -> RequestBuilder {
    served.call(Method::POST, "/api/v1/sign-in/passkey").header("origin", &served.url).json(answer)
}

fn code(answer: &(StatusCode, Value)) -> (u16, String) {
    (answer.0.as_u16(), answer.1["code"].as_str().unwrap_or_default().to_owned())
}

async fn replayed(served: &Served) -> Vec<String> {
    served.test.gate.replay().await.unwrap().differences.iter().map(ToString::to_string).collect()
}

/// The example policy with a file changed.
async fn with_policy(served: &Served, file: &str, change: impl FnOnce(String) -> String) {
    let mut files = served.test.gate.bundle().files().clone();
    let text = change(String::from_utf8(files[file].clone()).unwrap());
    files.insert(file.into(), text.into_bytes());
    served.test.gate.push_bundle(served.test.person("dan"), files).await.unwrap();
}

// covers: WHO-2 (api), A9, G4
#[tokio::test]
async fn a_passkey_is_added_signs_in_and_is_taken_away() {
    let served = Served::start().await;
    let mut key = Key::of(&served, "ana").await;
    let (_, facts) = read(served.call(Method::GET, "/api/v1/gate").send().await.unwrap()).await;
    assert_eq!(facts["passkeys"], json!({ "party": "localhost", "origin": key.party.origin }));

    // 1. It signs her in, verified.
    let ana = key.sign_in(&served).await.unwrap();
    let (_, me) = ana.get("/me").await;
    assert_eq!((&me["user"]["username"], &me["mfa"]), (&json!("ana"), &json!("verified")));
    let (_, list) = ana.get("/passkeys").await;
    let id = list["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!((&list["items"][0]["label"], &list["items"][0]["current"]), (&json!("phone"), &json!(true)));
    assert!(list["items"][0]["used_at"].is_string(), "{list}");

    // 2. It is renamed, and nobody else sees it or may take it away.
    let (status, named) =
        read(ana.call(Method::PATCH, &format!("/passkeys/{id}")).json(&json!({ "label": "work phone" })).send().await.unwrap()).await;
    assert_eq!((status, &named["label"]), (StatusCode::OK, &json!("work phone")));
    let ben = Browser::of(&served, "ben").await;
    assert_eq!(ben.get("/passkeys").await.1["items"], json!([]));
    let refused = read(ben.call(Method::DELETE, &format!("/passkeys/{id}")).send().await.unwrap()).await;
    assert_eq!(code(&refused), (404, "not_found".into()));

    // 3. The only way in is not thrown away by accident; with another one it may go, and takes with it whom it signed in.
    let refused = read(ana.call(Method::DELETE, &format!("/passkeys/{id}")).send().await.unwrap()).await;
    assert_eq!(code(&refused), (409, "last_sign_in".into()), "{}", refused.1);
    let mut second = Key::new(&served);
    assert_eq!(ana.add(&mut second).await.0, StatusCode::CREATED);
    let elsewhere = second.sign_in(&served).await.unwrap();
    let (status, _) = read(elsewhere.call(Method::DELETE, &format!("/passkeys/{id}")).send().await.unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(ana.get("/me").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(elsewhere.get("/me").await.0, StatusCode::OK);
    assert_eq!(code(&key.sign_in(&served).await.err().unwrap()), (401, "not_signed_in".into()));

    // 4. The log knows of all of it, and of every row what it is.
    let names = served.test.entries().await.unwrap();
    for name in ["passkey.added", "passkey.used", "passkey.renamed", "passkey.removed", "signin.refused"] {
        assert!(names.iter().any(|entry| entry == name), "{name} is not entered");
    }
    assert_eq!(replayed(&served).await, Vec::<String>::new());
}

// covers: WHO-2 (api), A8, A9, D8
#[tokio::test]
async fn an_answer_signs_in_once_here_and_its_owner_alone() {
    let served = Served::start().await;
    let mut key = Key::of(&served, "ana").await;
    assert!(key.sign_in(&served).await.is_ok());

    // The same answer again, and at the same instant.
    let answer = key.signing_in(&asked(&served).await);
    let (one, other) = tokio::join!(Browser::by(&served, with(&served, &answer)), Browser::by(&served, with(&served, &answer)));
    let lost: Vec<_> = [one.err(), other.err()].into_iter().flatten().collect();
    assert_eq!(lost.len(), 1, "one of two");
    assert_eq!(code(&lost[0]), (401, "code_invalid".into()));
    assert_eq!(code(&Browser::by(&served, with(&served, &answer)).await.err().unwrap()), (401, "code_invalid".into()));

    // Another page sends it; another page had it made; another name; nobody checked; the counter of a copy; too late.
    let answer = key.signing_in(&asked(&served).await);
    let cross = served.call(Method::POST, "/api/v1/sign-in/passkey").header("origin", "https://evil.example").json(&answer);
    assert_eq!(code(&Browser::by(&served, cross).await.err().unwrap()), (403, "cross_site".into()));
    let good = key.party.clone();
    let evil = RelyingParty { origin: "https://evil.example".into(), ..good.clone() };
    let named = RelyingParty { id: "evil.example".into(), ..good.clone() };
    for (party, wish) in [
        (&evil, Wish::default()),
        (&named, Wish::default()),
        (&good, Wish { verified: false, ..Wish::default() }),
        (&good, Wish { counter: Some(1), ..Wish::default() }),
    ] {
        let challenge = bytes(&asked(&served).await);
        let mut answer = serde_json::to_value(key.authenticator.assert(&challenge, party, &wish)).unwrap();
        answer["user_handle"] = key.user_handle.clone().into();
        let refused = Browser::by(&served, with(&served, &answer)).await.err().unwrap();
        assert_eq!(code(&refused), (401, "not_signed_in".into()), "{party:?} {wish:?}");
        served.test.time.advance(Duration::from_secs(60));
    }
    let challenge = bytes(&asked(&served).await);
    let mut answer =
        serde_json::to_value(key.authenticator.assert(&challenge, &good, &Wish { counter: Some(50), ..Wish::default() })).unwrap();
    let unnamed = Browser::by(&served, with(&served, &answer)).await.err().unwrap();
    assert_eq!(code(&unnamed), (401, "not_signed_in".into()), "it does not say whose it is");
    let challenge = asked(&served).await;
    answer = key.signing_in(&challenge);
    served.test.time.advance(Duration::from_secs(301));
    assert_eq!(code(&Browser::by(&served, with(&served, &answer)).await.err().unwrap()), (401, "code_invalid".into()));
    // And after all that it still signs her in.
    assert!(key.sign_in(&served).await.is_ok());
}

// covers: WHO-2 (api), A9
#[tokio::test]
async fn what_somebody_finds_open_or_a_token_makes_no_lasting_way_in() {
    let served = Served::start().await;
    let mut key = Key::of(&served, "ana").await;
    // She has a passkey: with a token alone nobody adds another, or takes hers away.
    let by_token = Browser::of(&served, "ana").await;
    let mut thiefs = Key::new(&served);
    assert_eq!(code(&by_token.add(&mut thiefs).await), (403, "mfa_required".into()));
    let id = by_token.get("/passkeys").await.1["items"][0]["id"].as_str().unwrap().to_owned();
    let refused = read(by_token.call(Method::DELETE, &format!("/passkeys/{id}")).send().await.unwrap()).await;
    assert_eq!(code(&refused), (403, "mfa_required".into()));
    // Nor by a token without a browser at all.
    let ana = served.person("ana").await;
    assert_eq!(code(&ana.post("/passkeys/challenge", json!({})).await), (403, "not_allowed".into()));
    // Somebody else's passkey proves nothing of her.
    let mut bens = Key::of(&served, "ben").await;
    assert_eq!(code(&by_token.prove(&mut bens, None).await), (403, "not_allowed".into()));
    // Hers does, for ten minutes.
    assert_eq!(by_token.prove(&mut key, None).await.0, StatusCode::CREATED);
    let mut second = Key::new(&served);
    assert_eq!(by_token.add(&mut second).await.0, StatusCode::CREATED);
    served.test.time.advance(Duration::from_secs(601));
    assert_eq!(code(&by_token.add(&mut Key::new(&served)).await), (403, "mfa_required".into()));
    // A sign-in that is long ago adds not even a first one.
    let carla = Browser::of(&served, "carla").await;
    served.test.time.advance(Duration::from_secs(601));
    assert_eq!(code(&carla.add(&mut Key::new(&served)).await), (403, "mfa_required".into()));
}

fn fresh_on_prod(tiers: String) -> String {
    tiers.replacen("name = \"prod\"\n", "name = \"prod\"\nmfa = \"verified\"\nmfa_within = \"15m\"\n", 1)
}

// covers: WHO-2 (api)
#[tokio::test]
async fn a_tier_demands_a_fresh_proof_once_per_grant() {
    let served = Served::start().await;
    with_policy(&served, "tiers.toml", fresh_on_prod).await;
    let mut key = Key::of(&served, "ana").await;
    let ana = Browser::of(&served, "ana").await;
    let refused = ana.post("/requests", wish()).await;
    assert_eq!((code(&refused), &refused.1["answer"]), ((403, "mfa_required".into()), &json!("step_up")));

    assert_eq!(ana.prove(&mut key, None).await.0, StatusCode::CREATED);
    // Fresh is fresh for a quarter of an hour.
    served.test.time.advance(Duration::from_secs(16 * 60));
    assert_eq!(code(&ana.post("/requests", wish()).await), (403, "mfa_required".into()));
    assert_eq!(ana.prove(&mut key, None).await.0, StatusCode::CREATED);
    let (status, asked) = ana.post("/requests", wish()).await;
    assert_eq!((status, &asked["request"]["mfa"]), (StatusCode::ACCEPTED, &json!("verified")), "{asked}");
    let id = asked["request"]["id"].as_str().unwrap().to_owned();
    let ben = served.person("ben").await;
    let (status, voted) = ben.post(&format!("/requests/{id}/approve"), json!({})).await;
    assert_eq!(status, StatusCode::OK, "{voted}");

    // Under the grant she connects as often as she likes, with what proves nothing of her being there.
    served.test.time.advance(Duration::from_secs(20 * 60));
    for _ in 0..2 {
        let opened =
            served.test.gate.open(served.test.person("ana"), &"db-1".parse().unwrap(), &"debug".parse().unwrap(), Protocol::Ssh).await;
        assert!(opened.is_ok(), "{opened:?}");
    }
}

// covers: WHO-2 (api, cli), A8, A9
#[tokio::test]
async fn a_terminal_that_waits_goes_on_when_its_owner_proved_it_for_just_that() {
    let served = Served::start().await;
    with_policy(&served, "tiers.toml", fresh_on_prod).await;
    let mut key = Key::of(&served, "ana").await;
    let (terminal, browser, ben) = (served.person("ana").await, Browser::of(&served, "ana").await, Browser::of(&served, "ben").await);
    assert_eq!(code(&terminal.post("/requests", wish()).await), (403, "mfa_required".into()));
    let what = json!({ "resource": "db-1", "role": "debug", "client": "tidegate on laptop" });
    let (status, begun) = terminal.post("/step-ups", what.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{begun}");
    let user_code = begun["user_code"].as_str().unwrap();
    assert_eq!(begun["link"], json!(format!("{}/prove?code={user_code}", key.party.origin)));
    assert_eq!(terminal.post("/step-ups/progress", what.clone()).await.1, json!({ "state": "open" }));

    // The page shows who asks, from where and for what; to her alone.
    let (_, shown) = browser.get(&format!("/step-ups/{user_code}")).await;
    assert_eq!((&shown["client"], &shown["address"]), (&json!("tidegate on laptop"), &json!("127.0.0.1")));
    assert_eq!((&shown["resource"], &shown["role"], &shown["break_glass"]), (&json!("db-1"), &json!("debug"), &json!(false)));
    assert_eq!(code(&ben.get(&format!("/step-ups/{user_code}")).await), (401, "code_invalid".into()));
    let mut bens = Key::of(&served, "ben").await;
    assert_eq!(code(&ben.prove(&mut bens, Some(user_code)).await), (401, "code_invalid".into()));
    // A proof for the browser itself is none for the terminal.
    let (_, asked) = browser.post("/step-up/challenge", json!({})).await;
    let answer = key.answer(&asked["challenge"]);
    let refused = browser.post("/step-up", json!({ "code": user_code, "answer": answer })).await;
    assert_eq!(code(&refused), (401, "code_invalid".into()));
    assert_eq!(code(&terminal.post("/requests", wish()).await), (403, "mfa_required".into()));

    // She proves it: for this token, this role, and a few minutes.
    assert_eq!(browser.prove(&mut key, Some(user_code)).await.0, StatusCode::CREATED);
    assert_eq!(terminal.post("/step-ups/progress", what).await.1, json!({ "state": "proved" }));
    assert_eq!(code(&browser.prove(&mut key, Some(user_code)).await), (401, "code_invalid".into()));
    let other = served.person("ana").await;
    assert_eq!(code(&other.post("/requests", wish()).await), (403, "mfa_required".into()), "another token of hers");
    let mut shell = wish();
    shell["role"] = "shell".into();
    assert_eq!(code(&terminal.post("/requests", shell.clone()).await), (403, "mfa_required".into()), "another role");
    let (status, asked) = terminal.post("/requests", wish()).await;
    assert_eq!((status, &asked["request"]["mfa"]), (StatusCode::ACCEPTED, &json!("verified")), "{asked}");

    // It is not her who asks: the terminal is told.
    let what = json!({ "resource": "db-1", "role": "shell" });
    let user_code = terminal.post("/step-ups", what.clone()).await.1["user_code"].as_str().unwrap().to_owned();
    assert_eq!(browser.post(&format!("/step-ups/{user_code}/refuse"), json!({})).await.0, StatusCode::OK);
    assert_eq!(terminal.post("/step-ups/progress", what).await.1, json!({ "state": "refused" }));
    assert_eq!(code(&terminal.post("/requests", shell).await), (403, "mfa_required".into()));
    assert_eq!(replayed(&served).await, Vec::<String>::new());
}

// covers: WHO-2 (api), GRANT-5 (api)
#[tokio::test]
async fn more_time_is_proved_freshly_where_asking_was() {
    let served = Served::start().await;
    with_policy(&served, "tiers.toml", fresh_on_prod).await;
    let mut key = Key::of(&served, "ana").await;
    let (terminal, ben) = (served.person("ana").await, served.person("ben").await);
    let what = json!({ "resource": "db-1", "role": "debug", "client": "tidegate on laptop" });
    let mut proves = async || {
        let browser = Browser::of(&served, "ana").await;
        let user_code = terminal.post("/step-ups", what.clone()).await.1["user_code"].as_str().unwrap().to_owned();
        assert_eq!(browser.prove(&mut key, Some(user_code.as_str())).await.0, StatusCode::CREATED);
    };
    proves().await;
    let (_, asked) = terminal.post("/requests", wish()).await;
    let id = asked["request"]["id"].as_str().unwrap().to_owned();
    let grant = ben.post(&format!("/requests/{id}/approve"), json!({})).await.1["grant"]["id"].as_str().unwrap().to_owned();
    assert_eq!(terminal.post(&format!("/grants/{grant}/activate"), json!({})).await.0, StatusCode::OK);
    // By the time the warning comes, what she proved is long ago.
    served.test.time.advance(Duration::from_secs(20 * 60));
    let more = json!({ "duration": "30m", "reason": "not done yet" });
    let path = format!("/grants/{grant}/extend");
    assert_eq!(code(&terminal.post(&path, more.clone()).await), (403, "mfa_required".into()));
    let ana = served.test.person("ana");
    let at_the_door = served.test.gate.extend_at(ana, &"db-1+debug".parse().unwrap(), None, Some("not done yet".into())).await.unwrap_err();
    assert!(at_the_door.to_string().contains(&format!("`tidegate grant extend {grant} --for 1h`")), "{at_the_door}");
    proves().await;
    let (status, asked) = terminal.post(&path, more).await;
    assert_eq!((status, &asked["request"]["mfa"]), (StatusCode::ACCEPTED, &json!("verified")), "{asked}");
    let id = asked["request"]["id"].as_str().unwrap();
    let (status, voted) = ben.post(&format!("/requests/{id}/approve"), json!({})).await;
    assert_eq!((status, &voted["request"]["state"]), (StatusCode::OK, &json!("approved")), "{voted}");
}

fn signed_on_prod(tiers: String) -> String {
    tiers.replacen("name = \"prod\"\n", "name = \"prod\"\nsigned = true\n", 1)
}

/// Approves with a signature over what the gate says is to be signed.
// covers: WHO-2 (api), A9
#[tokio::test]
async fn a_passkey_that_was_removed_proves_nothing_any_more() {
    let served = Served::start().await;
    with_policy(&served, "tiers.toml", fresh_on_prod).await;
    let mut stolen = Key::of(&served, "ana").await;
    let mut hers = Key::new(&served);
    // So that it is the newer one in the list.
    served.test.time.advance(Duration::from_secs(1));
    assert_eq!(stolen.sign_in(&served).await.unwrap().add(&mut hers).await.0, StatusCode::CREATED);
    // Somebody has a token of hers, and her key: in a browser, and at a terminal.
    let (thief, other, terminal) = (Browser::of(&served, "ana").await, Browser::of(&served, "ana").await, served.person("ana").await);
    assert_eq!(thief.prove(&mut stolen, None).await.0, StatusCode::CREATED);
    assert_eq!(other.prove(&mut hers, None).await.0, StatusCode::CREATED);
    let what = json!({ "resource": "db-1", "role": "debug", "client": "tidegate on laptop" });
    let (_, begun) = terminal.post("/step-ups", what).await;
    assert_eq!(thief.prove(&mut stolen, begun["user_code"].as_str()).await.0, StatusCode::CREATED);
    // As long as it is there it proves.
    assert_eq!(thief.post("/passkeys/challenge", json!({})).await.0, StatusCode::CREATED);
    let (status, asked) = terminal.post("/requests", wish()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{asked}");
    let cancel = format!("/requests/{}/cancel", asked["request"]["id"].as_str().unwrap());
    assert_eq!(terminal.post(&cancel, json!({})).await.0, StatusCode::OK);

    let ana = hers.sign_in(&served).await.unwrap();
    let listed = ana.get("/passkeys").await.1;
    let id = listed["items"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap();
    let removed = read(ana.call(Method::DELETE, &format!("/passkeys/{id}")).send().await.unwrap()).await;
    assert_eq!(removed.0, StatusCode::OK, "{removed:?}");

    assert_eq!(code(&thief.post("/passkeys/challenge", json!({})).await), (403, "mfa_required".into()));
    assert_eq!(thief.get("/me").await.1["mfa"], json!("none"));
    assert_eq!(code(&terminal.post("/requests", wish()).await), (403, "mfa_required".into()));
    // What another of her passkeys proved stays proved.
    assert_eq!(other.post("/passkeys/challenge", json!({})).await.0, StatusCode::CREATED);
}

// covers: WHO-2 (api), B2
#[tokio::test]
async fn who_administers_keys_finds_what_signs_somebody_in_and_takes_it_away() {
    let served = Served::start().await;
    let _stolen = Key::of(&served, "ana").await;
    let (ana, dan, frank) = (served.person("ana").await, served.person("dan").await, served.person("frank").await);
    let id = served.test.person("ana").who.id();
    for kind in ["keys", "passkeys", "tokens", "identities"] {
        // Dan helps people, and reads no log.
        let (status, theirs) = dan.get(&format!("/users/{id}/{kind}")).await;
        assert_eq!((status, theirs["items"].is_array()), (StatusCode::OK, true), "{kind}: {theirs}");
        assert_eq!(ana.get(&format!("/users/{id}/{kind}")).await.0, StatusCode::OK, "{kind}: her own");
        assert_eq!(frank.get(&format!("/users/{id}/{kind}")).await.0, StatusCode::NOT_FOUND, "{kind}");
    }
    let items = async |kind: &str| dan.get(&format!("/users/{id}/{kind}")).await.1["items"].as_array().unwrap().clone();
    let passkey = items("passkeys").await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/passkeys/{passkey}");
    assert_eq!(read(frank.call(Method::DELETE, &path).send().await.unwrap()).await.0, StatusCode::NOT_FOUND);
    assert_eq!(read(dan.call(Method::DELETE, &path).send().await.unwrap()).await.0, StatusCode::OK);
    assert!(items("passkeys").await.is_empty());
    for token in items("tokens").await {
        let path = format!("/tokens/{}", token["id"].as_str().unwrap());
        assert_eq!(read(dan.call(Method::DELETE, &path).send().await.unwrap()).await.0, StatusCode::OK);
    }
    assert_eq!(ana.get("/me").await.0, StatusCode::UNAUTHORIZED);
    // A list has no end that is not said.
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let (_, part) = dan.get(&format!("/users/{id}/tokens?limit=1{cursor}")).await;
        seen.extend(part["items"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        let Some(next) = part["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let all: Vec<_> = items("tokens").await.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!((seen.len() > 1, seen), (true, all));
}

async fn sign(browser: &Browser<'_>, key: &mut Key, id: &str) -> (StatusCode, Value) {
    let (status, asked) = browser.post(&format!("/requests/{id}/signature"), json!({})).await;
    if status != StatusCode::CREATED {
        return (status, asked);
    }
    let answer = key.answer_bytes(&challenge(asked["statement"].as_str().unwrap()));
    browser.post(&format!("/requests/{id}/approve"), json!({ "note": "go ahead", "signature": answer })).await
}

// covers: OK-7 (api), OK-4 (api), D8
#[tokio::test]
async fn an_approval_is_signed_over_the_exact_request_and_verifies_without_the_gate() {
    let served = Served::start().await;
    let (ana, ben) = (served.person("ana").await, served.person("ben").await);
    // Where nothing demands it a plain yes will do, and a signed one is as good.
    let (_, asked) = ana.post("/requests", wish()).await;
    let id = asked["request"]["id"].as_str().unwrap().to_owned();
    assert_eq!(ben.post(&format!("/requests/{id}/approve"), json!({})).await.0, StatusCode::OK);

    with_policy(&served, "tiers.toml", signed_on_prod).await;
    let mut shell = wish();
    shell["role"] = "shell".into();
    let (_, asked) = ana.post("/requests", shell).await;
    let id = asked["request"]["id"].as_str().unwrap().to_owned();
    // 1. An unsigned yes is refused with the place to sign it; a no needs none.
    let refused = ben.post(&format!("/requests/{id}/approve"), json!({})).await;
    let mut key = Key::of(&served, "ben").await;
    assert_eq!(code(&refused), (403, "signature_required".into()));
    assert_eq!(refused.1["detail"], json!(format!("{}/requests/{id}", key.party.origin)));

    // 2. What is signed is the request as it stands.
    let browser = Browser::of(&served, "ben").await;
    let (status, asked) = browser.post(&format!("/requests/{id}/signature"), json!({})).await;
    assert_eq!(status, StatusCode::CREATED, "{asked}");
    let statement: Value = serde_json::from_str(asked["statement"].as_str().unwrap()).unwrap();
    assert_eq!((&statement["request"], &statement["resource"], &statement["role"]), (&json!(id), &json!("db-1"), &json!("shell")));
    assert_eq!((&statement["revision"], statement["reason"].as_str().map(str::len)), (&json!(1), Some(64)));

    // 3. Neither the asker, nor a passkey of somebody else's, nor an edit in between.
    assert_eq!(code(&ana.post(&format!("/requests/{id}/signature"), json!({})).await), (403, "self_approval".into()));
    let mut carlas = Key::of(&served, "carla").await;
    assert_eq!(code(&sign(&browser, &mut carlas, &id).await), (403, "not_allowed".into()));
    let answer = key.answer_bytes(&challenge(asked["statement"].as_str().unwrap()));
    let edit = ana.call(Method::PATCH, &format!("/requests/{id}")).json(&json!({ "reason": "something else entirely" }));
    assert_eq!(read(edit.send().await.unwrap()).await.0, StatusCode::OK);
    let voided = browser.post(&format!("/requests/{id}/approve"), json!({ "signature": answer })).await;
    assert_eq!(code(&voided), (412, "stale".into()), "{}", voided.1);
    let again = browser.post(&format!("/requests/{id}/approve"), json!({ "signature": answer })).await;
    assert_eq!(code(&again), (401, "code_invalid".into()));

    // 4. Signed over what it is now.
    let (status, voted) = sign(&browser, &mut key, &id).await;
    assert_eq!((status, &voted["request"]["state"]), (StatusCode::OK, &json!("approved")), "{voted}");
    let (_, detail) = ana.get(&format!("/requests/{id}")).await;
    assert_eq!((&detail["votes"][0]["signed"], &detail["votes"][0]["revision"]), (&json!(true), &json!(2)));
    assert_eq!(replayed(&served).await, Vec::<String>::new());

    // 5. It is in the evidence, and verifies from that and a public key alone.
    let gate = &served.test.gate;
    let ana_there = served.test.person("ana");
    let opened = gate.open(ana_there, &"db-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap();
    let session = opened.permit.facts().session;
    let file = served.test.dir().join("proof.tar");
    let along = workflow::export::Along { input: false, wrapped_to: None };
    gate.export(served.test.person("carla"), workflow::export::Selection::Session(session), along, file.clone()).await.unwrap();
    let verifier = CheckpointVerifier::parse(&gate.public_keys().checkpoint_verifier.unwrap()).unwrap();
    let report = verify(std::fs::File::open(&file).unwrap(), &verifier).unwrap();
    assert_eq!((report.findings, report.signed_approvals), (Vec::new(), 1));
}
