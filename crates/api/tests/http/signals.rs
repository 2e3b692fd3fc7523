//! Signals of an identity provider: what its transmitter signed locks whom it speaks of, once; what is not its own does nothing.

use access::lock::{LockRow, LockState};
use access::names::Username;
use identity::oidc::ProviderClient;
use identity::oidc::security_event::Transmitter as Settings;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::signals::{ACCOUNT_DISABLED, ACCOUNT_ENABLED, DEVICE_COMPLIANCE, SESSION_REVOKED, Signed, Transmitter, VERIFICATION};
use workflow::outbox::KeptSecret;
use workflow::read::{EntryFilter, EntryPage, Page};
use workflow::signals::HeardTransmitter;

use crate::providers::{link, serve};
use crate::{Served, read, wish};

const LOGIN: &str = "https://login.example.com";
const AUDIENCE: &str = "https://gate.example.com";

/// A gate that hears a transmitter, which speaks of people who sign in at [`LOGIN`]: Ana is `ana-1` there.
struct Heard {
    served: Served,
    transmitter: Transmitter,
}

impl Heard {
    async fn start() -> Self {
        Self::start_with(|_| None).await
    }

    /// The same, where calls have to carry something.
    async fn start_with(authorization: impl FnOnce(&Served) -> Option<KeptSecret>) -> Self {
        let served = Served::start().await;
        serve(&served, LOGIN, false);
        assert_eq!(link(&served, "ana", "ana-1").await, StatusCode::CREATED);
        let transmitter = Transmitter::start(LOGIN, AUDIENCE).unwrap();
        served.test.gate.serve_signals(vec![HeardTransmitter {
            transmitter: Settings {
                name: name(),
                issuer: transmitter.issuer.clone(),
                audience: AUDIENCE.into(),
                jwks_uri: None,
                subjects: LOGIN.into(),
            },
            client: ProviderClient::new(None).unwrap(),
            authorization: authorization(&served),
        }]);
        Self { served, transmitter }
    }

    fn says(&self, event: &str, of: &str) -> Value {
        self.transmitter.says(event, of, self.served.test.gate.now().as_second())
    }

    async fn send(&self, signal: &str) -> (StatusCode, Value) {
        self.send_as(signal, "application/secevent+jwt", None).await
    }

    async fn send_as(&self, signal: &str, kind: &str, authorization: Option<&str>) -> (StatusCode, Value) {
        self.send_to("corp", signal, kind, authorization).await
    }

    async fn send_to(&self, name: &str, signal: &str, kind: &str, authorization: Option<&str>) -> (StatusCode, Value) {
        let path = format!("/api/v1/signals/{name}");
        let mut call = self.served.call(Method::POST, &path).header("content-type", kind).body(signal.to_owned());
        if let Some(authorization) = authorization {
            call = call.header("authorization", authorization);
        }
        read(call.send().await.unwrap()).await
    }

    async fn locks(&self) -> Vec<LockRow> {
        self.served.test.gate.store().locks(Some(LockState::Set), &Page::first(50)).await.unwrap()
    }

    /// Lifts all there are, so that the next signal has something to do.
    async fn lift(&self) {
        for lock in self.locks().await {
            self.served.test.gate.lift(self.served.test.person("dan"), lock.id).await.unwrap();
        }
    }

    async fn entries(&self, name: &str) -> usize {
        self.served.test.entries().await.unwrap().iter().filter(|entry| *entry == name).count()
    }
}

fn name() -> Username {
    "corp".parse().unwrap()
}

fn err(answer: &(StatusCode, Value)) -> (u16, &str) {
    (answer.0.as_u16(), answer.1["err"].as_str().unwrap_or_default())
}

// covers: WHO-8 (api), A9 (api)
#[tokio::test]
async fn who_is_revoked_at_the_provider_is_locked_here_until_somebody_lifts_it() {
    let heard = Heard::start().await;
    let ana = heard.served.person("ana").await;
    assert_eq!(ana.post("/requests", wish()).await.0, StatusCode::ACCEPTED);
    let signal = heard.transmitter.sign(&heard.says(SESSION_REVOKED, "ana-1"));
    assert_eq!(heard.send(&signal).await, (StatusCode::ACCEPTED, Value::String(String::new())), "without a body");
    // It is a lock like any other, and says whose word it is.
    let [lock] = <[LockRow; 1]>::try_from(heard.locks().await).unwrap();
    assert_eq!((lock.transmitter, lock.until, lock.contains), (Some(name()), None, false));
    assert_eq!(lock.scope, access::lock::LockScope::Person(heard.served.test.person("ana").who.id()));
    assert_eq!(lock.reason.as_deref(), Some("`corp` says: session revoked (seen from two places)"));
    let (_, listed) = heard.served.person("dan").await.get("/locks").await;
    assert_eq!(listed["items"][0]["transmitter"], "corp");
    let (_, refused) = ana.post("/requests", json!({ "resource": "web-1", "role": "logs", "reason": "a slow page" })).await;
    assert_eq!(refused["code"], "locked", "{refused}");
    // Another signal of hers is entered and sets no second one; the same one again is nothing at all.
    for (signal, entered) in [(heard.transmitter.sign(&heard.says(ACCOUNT_DISABLED, "ana-1")), 2), (signal.clone(), 2)] {
        assert_eq!(heard.send(&signal).await.0, StatusCode::ACCEPTED);
        assert_eq!((heard.locks().await.len(), heard.entries("signal.heard").await), (1, entered));
    }
    // Nothing that a transmitter says lifts it; an administrator does, and the old signal locks nobody again.
    assert_eq!(heard.send(&heard.transmitter.sign(&heard.says(ACCOUNT_ENABLED, "ana-1"))).await.0, StatusCode::ACCEPTED);
    assert_eq!(heard.locks().await.len(), 1);
    heard.lift().await;
    assert_eq!(heard.send(&signal).await.0, StatusCode::ACCEPTED);
    assert!(heard.locks().await.is_empty());
    let (status, asked) = ana.post("/requests", json!({ "resource": "web-1", "role": "logs", "reason": "a slow page" })).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{asked}");
    let replayed = heard.served.person("eve").await.post("/audit/replay", json!({})).await;
    assert_eq!(replayed.1["differences"], json!([]), "{replayed:?}");
}

// covers: WHO-8 (api)
#[tokio::test]
async fn a_lock_of_somebody_else_s_does_not_stand_for_the_provider_s() {
    let heard = Heard::start().await;
    let (dan, ana) = (heard.served.test.person("dan"), heard.served.test.person("ana").who.id());
    let (own, _) = heard.served.test.gate.lock(dan, access::lock::LockScope::Person(ana), None, None).await.unwrap();
    assert_eq!(heard.send(&heard.transmitter.sign(&heard.says(SESSION_REVOKED, "ana-1"))).await.0, StatusCode::ACCEPTED);
    heard.served.test.gate.lift(dan, own.id).await.unwrap();
    assert_eq!(heard.locks().await.len(), 1, "Dan was done with her, and the provider is not");
}

// covers: WHO-8 (api)
#[tokio::test]
async fn what_a_device_is_locks_and_what_means_nothing_is_entered() {
    let heard = Heard::start().await;
    let device = |status: &str| {
        let mut said = heard.says(DEVICE_COMPLIANCE, "ana-1");
        said["events"][DEVICE_COMPLIANCE]["current_status"] = json!(status);
        said["sub_id"] = json!({ "format": "complex", "user": said["sub_id"], "device": { "format": "opaque", "id": "laptop" } });
        heard.transmitter.sign(&said)
    };
    assert_eq!(heard.send(&device("not-compliant")).await.0, StatusCode::ACCEPTED);
    assert_eq!(heard.locks().await.len(), 1);
    heard.lift().await;
    let of_nobody = json!({ "format": "opaque", "id": "stream-1" });
    let mut verification = heard.says(VERIFICATION, "ana-1");
    verification["sub_id"] = of_nobody;
    for signal in [
        device("compliant"),
        heard.transmitter.sign(&verification),
        heard.transmitter.sign(&heard.says("https://schemas.openid.net/secevent/caep/event-type/credential-change", "ana-1")),
        heard.transmitter.sign(&heard.says("https://example.com/unheard-of", "ana-1")),
        heard.transmitter.sign(&heard.says(SESSION_REVOKED, "nobody-1")),
    ] {
        let before = heard.entries("signal.heard").await;
        assert_eq!(heard.send(&signal).await.0, StatusCode::ACCEPTED);
        assert_eq!(heard.entries("signal.heard").await, before + 1);
        assert!(heard.locks().await.is_empty());
    }
}

// covers: A7 (api), A9 (api), WHO-8 (api)
#[tokio::test]
async fn what_is_not_the_transmitter_s_or_not_for_this_gate_locks_nobody() {
    let heard = Heard::start().await;
    let kind = json!("secevent+jwt");
    let now = heard.served.test.gate.now().as_second();
    let changed = |name: &str, value: Value| {
        let mut said = heard.says(SESSION_REVOKED, "ana-1");
        said[name] = value;
        heard.transmitter.sign(&said)
    };
    let signed = |how| heard.transmitter.sign_as(&heard.says(SESSION_REVOKED, "ana-1"), how, &kind);
    let of_kind = |kind: Value| heard.transmitter.sign_as(&heard.says(SESSION_REVOKED, "ana-1"), Signed::Own, &kind);
    for (signal, wanted) in [
        (signed(Signed::Stranger), "authentication_failed"),
        (signed(Signed::Nobody), "authentication_failed"),
        (signed(Signed::PublicKey), "authentication_failed"),
        (of_kind(json!("JWT")), "invalid_request"),
        (of_kind(Value::Null), "invalid_request"),
        (changed("iss", json!(LOGIN)), "invalid_issuer"),
        (changed("aud", json!("https://other.example.com")), "invalid_audience"),
        (changed("iat", json!(now + 3600)), "invalid_request"),
        (changed("jti", Value::Null), "invalid_request"),
        (changed("events", json!({})), "invalid_request"),
        ("hello".to_owned(), "invalid_request"),
    ] {
        // The same without what is wrong with it locks her: it is that which is refused.
        assert_eq!(heard.send(&signed(Signed::Own)).await.0, StatusCode::ACCEPTED);
        assert_eq!(heard.locks().await.len(), 1);
        heard.lift().await;
        let answer = heard.send(&signal).await;
        assert_eq!(err(&answer), (400, wanted), "{answer:?}");
        assert_eq!(answer.1.as_object().unwrap().keys().collect::<Vec<_>>(), ["err", "description"], "{answer:?}");
        assert!(heard.locks().await.is_empty(), "{answer:?}");
        // Whoever guesses waits.
        heard.served.test.time.advance(std::time::Duration::from_secs(60));
    }
    assert_eq!(heard.entries("signal.refused").await, 11);
    // Of what is no signal at all nothing is entered.
    let good = || signed(Signed::Own);
    let answer = heard.send_as(&good(), "application/jwt", None).await;
    assert_eq!(err(&answer), (400, "invalid_request"), "{answer:?}");
    let answer = heard.send(&format!("{}{}", good(), " ".repeat(70_000))).await;
    assert_eq!(answer.0, StatusCode::PAYLOAD_TOO_LARGE);
    let page = heard.served.call(Method::POST, "/api/v1/signals/corp").header("content-type", "application/secevent+jwt");
    assert_eq!(page.header("origin", "https://evil.example").body(good()).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(heard.entries("signal.refused").await, 11);
    assert!(heard.locks().await.is_empty());
}

// covers: A7 (api)
#[tokio::test]
async fn nobody_is_locked_by_an_address_or_by_another_provider_s_word() {
    let heard = Heard::start().await;
    let of = |subject: Value| {
        let mut said = heard.says(SESSION_REVOKED, "ana-1");
        said["sub_id"] = subject;
        heard.transmitter.sign(&said)
    };
    let hers = json!({ "format": "iss_sub", "iss": LOGIN, "sub": "ana-1" });
    for (wrong, wanted) in [
        (json!({ "format": "email", "email": "ana@example.com" }), "`email`"),
        (json!({ "format": "complex", "user": { "format": "email", "email": "ana@example.com" } }), "`email`"),
        (json!({ "format": "opaque", "id": "ana-1" }), "`opaque`"),
        (json!({ "format": "iss_sub", "iss": "https://other.example", "sub": "ana-1" }), "`https://other.example`"),
    ] {
        assert_eq!(heard.send(&of(hers.clone())).await.0, StatusCode::ACCEPTED);
        assert_eq!(heard.locks().await.len(), 1);
        heard.lift().await;
        // It is entered, and whoever set the transmitter up is told that it shuts nobody out, each time.
        let before = heard.entries("signal.heard").await;
        let signal = of(wrong);
        for _ in 0..2 {
            let answer = heard.send(&signal).await;
            assert_eq!(err(&answer), (400, "invalid_request"), "{answer:?}");
            assert!(answer.1["description"].as_str().unwrap().contains(wanted), "{answer:?}");
        }
        assert_eq!(heard.entries("signal.heard").await, before + 1);
        assert!(heard.locks().await.is_empty());
    }
}

// covers: WHO-8 (api)
#[tokio::test]
async fn who_guesses_waits_and_the_transmitter_does_not() {
    let heard = Heard::start().await;
    let forged = || heard.transmitter.sign_as(&heard.says(SESSION_REVOKED, "ana-1"), Signed::Stranger, &json!("secevent+jwt"));
    let mut guesses = 0;
    while heard.send(&forged()).await.0 != StatusCode::TOO_MANY_REQUESTS {
        guesses += 1;
        assert!(guesses < 200, "nobody has to wait");
    }
    assert_eq!(heard.entries("signal.refused").await, guesses, "a guess that had to wait is not entered");
    // From the same address.
    assert_eq!(heard.send(&heard.transmitter.sign(&heard.says(SESSION_REVOKED, "ana-1"))).await.0, StatusCode::ACCEPTED);
    assert_eq!(heard.locks().await.len(), 1);
}

// covers: A9 (api)
#[tokio::test]
async fn what_its_calls_have_to_carry_is_compared_whole() {
    let heard = Heard::start_with(|served| {
        let file = served.test.dir().join("corp.header");
        std::fs::write(&file, "Bearer 4711\n").unwrap();
        Some(KeptSecret::File(file))
    })
    .await;
    for (wrong, at) in
        [(None, "none"), (Some("Bearer 4712"), "another"), (Some("bearer 4711"), "in other letters"), (Some("4711"), "half of it")]
    {
        let signal = heard.transmitter.sign(&heard.says(SESSION_REVOKED, "ana-1"));
        let answer = heard.send_as(&signal, "application/secevent+jwt", wrong).await;
        assert_eq!(err(&answer), (400, "authentication_failed"), "{at}");
        assert!(heard.locks().await.is_empty(), "{at}");
        assert_eq!(heard.send_as(&signal, "application/secevent+jwt", Some("Bearer 4711")).await.0, StatusCode::ACCEPTED, "{at}");
        assert_eq!(heard.locks().await.len(), 1, "{at}");
        heard.lift().await;
        heard.served.test.time.advance(std::time::Duration::from_secs(60));
    }
}

// covers: A7 (api), B2 (api)
#[tokio::test]
async fn nobody_learns_from_the_answers_which_transmitters_there_are() {
    const KIND: &str = "application/secevent+jwt";
    let heard = Heard::start_with(|served| {
        let file = served.test.dir().join("corp.header");
        std::fs::write(&file, "Bearer 4711\n").unwrap();
        Some(KeptSecret::File(file))
    })
    .await;
    let said = heard.says(SESSION_REVOKED, "ana-1");
    let own = heard.transmitter.sign(&said);
    // In its own name, with what its calls have to carry, it is heard.
    assert_eq!(heard.send_to("corp", &own, KIND, Some("Bearer 4711")).await.0, StatusCode::ACCEPTED);
    heard.lift().await;
    let forged = heard.transmitter.sign_as(&said, Signed::Stranger, &json!("secevent+jwt"));
    let mut answers = Vec::new();
    for (name, signal, carries) in [
        ("other", &own, Some("Bearer 4711")),
        ("other", &forged, None),
        ("corp", &own, None),
        ("corp", &own, Some("Bearer 4712")),
        ("corp", &forged, Some("Bearer 4711")),
    ] {
        answers.push(heard.send_to(name, signal, KIND, carries).await);
        heard.served.test.time.advance(std::time::Duration::from_secs(60));
    }
    assert_eq!(err(&answers[0]), (400, "authentication_failed"), "{answers:?}");
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    // What is no signal at all is told so, whoever it is sent to; and each is entered, with what it was.
    let nonsense = [heard.send_to("other", "hello", KIND, None).await, heard.send_to("corp", "hello", KIND, None).await];
    assert_eq!((err(&nonsense[0]), &nonsense[0]), ((400, "invalid_request"), &nonsense[1]));
    assert_eq!(heard.entries("signal.refused").await, 7);
    let filter = EntryFilter { name: Some("signal.refused".into()), ..EntryFilter::default() };
    let page = EntryPage { limit: 10, after: None, newest_first: false };
    let entries = heard.served.test.gate.store().entries(&filter, page).await.unwrap();
    let details: Vec<&str> = entries.iter().filter_map(|logged| logged.entry.text("detail")).collect();
    assert!(
        details[0].contains("called this") && details[2].contains("`Authorization`") && details[4].contains("not signed"),
        "{details:?}"
    );
    // Who guesses names waits, too.
    let mut guesses = 0;
    while heard.send_to("other", &own, KIND, None).await.0 != StatusCode::TOO_MANY_REQUESTS {
        guesses += 1;
        assert!(guesses < 200, "nobody has to wait");
    }
}

// covers: WHO-8 (api)
#[tokio::test]
async fn a_transmitter_whose_keys_cannot_be_read_is_asked_to_come_again() {
    let heard = Heard::start().await;
    let signal = heard.transmitter.sign(&heard.says(SESSION_REVOKED, "ana-1"));
    heard.transmitter.go_away(true);
    let call = heard.served.call(Method::POST, "/api/v1/signals/corp").header("content-type", "application/secevent+jwt");
    let answer = call.body(signal.clone()).send().await.unwrap();
    assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
    let (status, refused) = read(answer).await;
    assert_eq!((status, &refused["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("issuer_unreachable")), "{refused}");
    assert!(!refused.to_string().contains(&heard.transmitter.issuer), "where its keys are is nobody's business: {refused}");
    assert!(heard.locks().await.is_empty());
    // It is entered, with what the matter is.
    let filter = EntryFilter { name: Some("signal.refused".into()), ..EntryFilter::default() };
    let page = EntryPage { limit: 10, after: None, newest_first: false };
    let entries = heard.served.test.gate.store().entries(&filter, page).await.unwrap();
    let details: Vec<&str> = entries.iter().filter_map(|logged| logged.entry.text("detail")).collect();
    assert!(matches!(details.as_slice(), [one] if one.contains("could not be asked for the keys")), "{details:?}");
    heard.transmitter.go_away(false);
    heard.served.test.time.advance(std::time::Duration::from_secs(11));
    assert_eq!(heard.send(&signal).await.0, StatusCode::ACCEPTED);
    assert_eq!(heard.locks().await.len(), 1);
}
