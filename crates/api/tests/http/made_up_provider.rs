//! Sign-in at a provider that says whatever it is told to: what is not true signs nobody in, and what is true counts no further than it goes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use access::request::Door;
use access::time::Span;
use axum::Json;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use identity::oidc::GroupsFrom;
use reqwest::header::COOKIE;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::oidc::{Browser, CLIENT, OidcProvider};
use workflow::Caller;

use crate::providers::{BEGIN, WEB, ask, in_time, link, linked_by, me, row, serve, serve_groups, serve_groups_from, signed_in};
use crate::{Served, read};

/// A provider that says whatever it is told to.
struct Liar {
    issuer: String,
    key: SigningKey,
    says: Arc<Mutex<String>>,
    /// What it says to who shows the access token.
    tells: Arc<Mutex<Value>>,
}

impl Liar {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let key = SigningKey::from_bytes(&[7; 32]);
        let metadata = json!({
            "issuer": issuer, "authorization_endpoint": format!("{issuer}/auth"), "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/keys"), "authorization_response_iss_parameter_supported": true,
            "userinfo_endpoint": format!("{issuer}/userinfo"),
        });
        let keys = json!({ "keys": [{
            "kty": "OKP", "crv": "Ed25519", "kid": "one", "use": "sig", "x": URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes()),
        }]});
        let says = Arc::new(Mutex::new(String::new()));
        let said = Arc::clone(&says);
        let tells = Arc::new(Mutex::new(Value::Null));
        let told = Arc::clone(&tells);
        let router = axum::Router::new()
            .route("/.well-known/openid-configuration", get(async move || Json(metadata)))
            .route("/keys", get(async move || Json(keys)))
            .route(
                "/userinfo",
                get(async move |headers: axum::http::HeaderMap| {
                    let shown = headers.get("authorization").is_some_and(|token| token == "Bearer a");
                    if shown { Ok(Json(told.lock().unwrap().clone())) } else { Err(axum::http::StatusCode::UNAUTHORIZED) }
                }),
            )
            .route(
                "/token",
                post(async move || Json(json!({ "access_token": "a", "token_type": "Bearer", "id_token": said.lock().unwrap().clone() }))),
            );
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { issuer, key, says, tells }
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()).to_bytes()))
    }
}

/// Signs in at a provider that is believed as `subject`, with these claims besides: the cookie, if that lets them in.
async fn signed_in_as(served: &Served, liar: &Liar, subject: &str, more: Value) -> Option<String> {
    let mut browser = Browser::new().unwrap();
    let sent = browser.go(&format!("{}{BEGIN}", served.url), Some("/auth?")).await.unwrap().url;
    let sent = reqwest::Url::parse(&sent).unwrap();
    let of = |name: &str| sent.query_pairs().find(|(n, _)| n == name).unwrap().1.into_owned();
    let now = served.test.gate.now().as_second();
    let mut claims = json!({ "iss": liar.issuer, "aud": CLIENT.0, "sub": subject, "nonce": of("nonce"), "iat": now, "exp": now + 300 });
    claims.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    *liar.says.lock().unwrap() = liar.sign(&json!({ "alg": "EdDSA", "kid": "one" }), &claims);
    let back = format!("{}?code=c&state={}&iss={}", of("redirect_uri"), of("state"), liar.issuer);
    browser.go(&back, Some("127.0.0.1")).await.unwrap();
    browser.cookie(&served.url, WEB).map(str::to_owned)
}

/// A call of the portal's.
pub(crate) async fn in_portal(served: &Served, cookie: &str, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    let call = served.call(method, &format!("/api/v1{path}")).header(COOKIE, format!("{WEB}={cookie}")).header("origin", &served.url);
    read(call.json(&body).send().await.unwrap()).await
}

// covers: WHO-1 (api), A7
#[tokio::test]
async fn groups_that_stand_at_the_providers_user_info_are_those_of_whoever_signed_in() {
    let served = Served::start().await;
    let liar = Liar::start().await;
    serve_groups_from(&served, &liar.issuer, true, &[("Platform Team", "engineers")], GroupsFrom::UserInfo);
    let tell = |said: Value| *liar.tells.lock().unwrap() = said;
    // What the token says of groups is nothing here.
    let signs_in = async || {
        let claims = json!({ "preferred_username": "gina", "groups": ["Platform Team"] });
        signed_in_as(&served, &liar, "gina-1", claims).await
    };
    let reaches = async |cookie: &str| {
        let (_, list) = in_portal(&served, cookie, Method::GET, "/resources", Value::Null).await;
        list["items"].as_array().unwrap().iter().any(|one| one["name"] == "build-1")
    };
    tell(json!({ "sub": "gina-1", "groups": ["Platform Team"] }));
    let gina = signs_in().await.unwrap();
    assert!(reaches(&gina).await);
    tell(json!({ "sub": "gina-1", "groups": [] }));
    let gina = signs_in().await.unwrap();
    assert!(!reaches(&gina).await);
    // Somebody else's are nobody's, and without an answer nobody comes in.
    for wrong in [
        json!({ "sub": "ana-1", "groups": ["Platform Team"] }),
        json!({ "groups": ["Platform Team"] }),
        json!("signed.token.here"),
        Value::Null,
    ] {
        tell(wrong.clone());
        assert_eq!(signs_in().await, None, "{wrong}");
    }
    tell(json!({ "sub": "gina-1", "groups": ["Platform Team"] }));
    assert!(signs_in().await.is_some());
}

// covers: WHO-8 (api)
#[tokio::test]
async fn nobody_signs_in_at_the_provider_from_a_locked_network() {
    let served = Served::start().await;
    let liar = Liar::start().await;
    serve(&served, &liar.issuer, true);
    let gate = &served.test.gate;
    let signs_in = async || signed_in_as(&served, &liar, "gina-1", json!({ "preferred_username": "gina" })).await.is_some();
    assert!(signs_in().await, "nothing is locked");
    // Carla is elsewhere: nobody locks themselves out.
    let invited = gate.invite_again(served.test.person("dan"), served.test.person("carla").who.id()).await.unwrap();
    let (who, _) = gate.accept_invitation(invited.code.expose(), "192.0.2.77".parse().unwrap()).await.unwrap();
    let carla = Caller { who, door: Door::Api };
    let (lock, _) = gate.lock(&carla, "network:127.0.0.0/8".parse().unwrap(), None, Some("scanned from there".into())).await.unwrap();
    let refused = async || served.test.entries().await.unwrap().iter().filter(|name| *name == "signin.refused").count();
    let before = refused().await;
    assert!(!signs_in().await);
    assert_eq!(refused().await, before + 1);
    gate.lift(&carla, lock.id).await.unwrap();
    assert!(signs_in().await, "and again once it is lifted");
}

// covers: B8, WHO-1 (api)
#[tokio::test]
async fn what_a_group_of_the_provider_s_gives_is_there_in_every_list() {
    let served = Served::start().await;
    let liar = Liar::start().await;
    serve_groups(&served, &liar.issuer, true, &[("Platform Team", "engineers"), ("Leads", "leads"), ("Auditors", "auditors")]);
    let signed_in = async |name: &str, groups: Value| {
        let claims = json!({ "preferred_username": name, "groups": groups });
        signed_in_as(&served, &liar, &format!("{name}-1"), claims).await.unwrap()
    };
    let get = async |cookie: &str, path: &str| in_portal(&served, cookie, Method::GET, path, Value::Null).await.1;
    let names =
        |list: &Value, of: &str| list["items"].as_array().unwrap().iter().map(|it| it[of].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let (_, asked) = served.person("ana").await.post("/requests", crate::wish()).await;
    let request = asked["request"]["id"].as_str().unwrap();

    // Without a group Gina sees nothing …
    let gina = signed_in("gina", json!([])).await;
    assert!(names(&get(&gina, "/resources").await, "name").is_empty());
    assert!(names(&get(&gina, "/requests?of=inbox").await, "id").is_empty());
    assert_eq!(get(&gina, "/me").await["administers"], json!([]));
    // … and with them what is for engineers, for leads, for auditors.
    let gina = signed_in("gina", json!(["Platform Team", "Leads", "Auditors"])).await;
    assert!(names(&get(&gina, "/resources").await, "name").contains(&"build-1".to_owned()));
    assert_eq!(names(&get(&gina, "/requests?of=inbox").await, "id"), [request]);
    assert_eq!(get(&gina, &format!("/requests/{request}")).await["can_decide"], true);
    assert!(get(&gina, "/me").await["administers"].as_array().unwrap().contains(&json!("audit")));
    let (status, voted) = in_portal(&served, &gina, Method::POST, &format!("/requests/{request}/approve"), json!({})).await;
    assert_eq!((status, &voted["request"]["state"]), (StatusCode::OK, &json!("approved")), "{voted}");
}

// covers: B8, OK-3 (api)
#[tokio::test]
async fn an_inbox_holds_only_what_one_s_vote_would_count_for() {
    let served = Served::start().await;
    let liar = Liar::start().await;
    serve(&served, &liar.issuer, false);
    let (ben, dan) = (served.person("ben").await, served.person("dan").await);
    let inbox = async || ben.get("/requests?of=inbox").await.1["items"].as_array().unwrap().len();
    let (_, asked) = dan.post("/requests", json!({ "resource": "web-1", "role": "logs", "reason": "a slow page" })).await;
    assert!(asked["request"]["id"].is_string(), "{asked}");
    assert_eq!(inbox().await, 1);
    // A token that may not approve sees nothing to decide.
    let reads = crate::Person { served: &served, token: served.token("ben", &[access::identity::Scope::Read]).await };
    assert!(reads.get("/requests?of=inbox").await.1["items"].as_array().unwrap().is_empty());
    // Since Dan makes Ben a way to sign in, Ben's vote no longer counts for him.
    assert_eq!(linked_by(&served, "dan", "ben", "dan-2").await, StatusCode::CREATED);
    assert_eq!(inbox().await, 0);
}

// covers: C1, OK-3 (api)
#[tokio::test]
async fn who_links_an_account_to_somebody_does_not_get_their_vote() {
    let served = Served::start().await;
    let liar = Liar::start().await;
    serve(&served, &liar.issuer, false);
    let dan = served.person("dan").await;
    let asks = async |resource: &str| {
        let (status, asked) = dan.post("/requests", json!({ "resource": resource, "role": "logs", "reason": "a slow page" })).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{asked}");
        asked["request"]["id"].as_str().unwrap().to_owned()
    };
    let approves = async |cookie: &str, request: &str| {
        in_portal(&served, cookie, Method::POST, &format!("/requests/{request}/approve"), json!({})).await
    };
    // Another administrator says which account is Ben's: his vote counts.
    assert_eq!(linked_by(&served, "admin", "ben", "ben-1").await, StatusCode::CREATED);
    let ben = signed_in_as(&served, &liar, "ben-1", json!({})).await.unwrap();
    let (status, voted) = approves(&ben, &asks("db-1").await).await;
    assert_eq!((status, &voted["request"]["state"]), (StatusCode::OK, &json!("approved")), "{voted}");

    // Dan, an administrator, links a second account of his own to Ben. He is Ben at the portal then, and has not his vote.
    assert_eq!(linked_by(&served, "dan", "ben", "dan-2").await, StatusCode::CREATED);
    let as_ben = signed_in_as(&served, &liar, "dan-2", json!({})).await.unwrap();
    assert_eq!(me(&served, &as_ben).await.1["user"]["username"], "ben");
    let own = asks("web-1").await;
    let (status, refused) = approves(&as_ben, &own).await;
    assert_eq!((status, &refused["code"]), (StatusCode::FORBIDDEN, &json!("self_approval")), "{refused}");
    let (_, still) = dan.get(&format!("/requests/{own}")).await;
    assert_eq!(still["state"], "pending");
}

// covers: A7, C1 (api)
#[tokio::test]
async fn nobody_takes_a_name_that_policy_knows_by_calling_themselves_so_at_the_provider() {
    let served = Served::start().await;
    let liar = Liar::start().await;
    serve(&served, &liar.issuer, true);
    // Hanna and Ivo join next week: policy has a seat for her, and a path for him.
    let mut files = served.test.gate.bundle().files().clone();
    let people = String::from_utf8(files["people.toml"].clone()).unwrap();
    files.insert("people.toml".into(), people.replace("members = [\"carla\"]", "members = [\"carla\", \"hanna\"]").into_bytes());
    let mut access = files["access.cedar"].clone();
    access.extend(
        b"\n@id(\"ivo-on-build\") permit(principal == Tide::User::\"\\u{69}vo\", action == Tide::Action::\"request\", resource in Tide::Tier::\"non-prod\");\n",
    );
    files.insert("access.cedar".into(), access);
    served.test.gate.push_bundle(served.test.person("dan"), files).await.unwrap();

    let called = |name: &str| json!({ "preferred_username": name });
    assert!(signed_in_as(&served, &liar, "mallory-1", called("gina")).await.is_some(), "a name that means nothing");
    for name in ["hanna", "ivo", "deploy-bot"] {
        assert_eq!(signed_in_as(&served, &liar, &format!("mallory-as-{name}"), called(name)).await, None, "{name}");
    }
    // Once somebody says whose the account is, it is hers, whatever it is called there.
    let dan = served.person("dan").await;
    let (status, invited) = dan.post("/users", json!({ "username": "hanna" })).await;
    assert_eq!(status, StatusCode::CREATED, "{invited}");
    let path = format!("/users/{}/identities", invited["user"]["id"].as_str().unwrap());
    assert_eq!(dan.post(&path, json!({ "provider": "corp", "subject": "hanna-1" })).await.0, StatusCode::CREATED);
    let hanna = signed_in_as(&served, &liar, "hanna-1", called("somebody")).await.unwrap();
    assert_eq!(me(&served, &hanna).await.1["user"]["username"], "hanna");
}

// covers: C1 (api)
#[tokio::test]
async fn nobody_gives_away_the_account_that_signs_them_in() {
    let served = Served::start().await;
    let liar = Liar::start().await;
    serve(&served, &liar.issuer, false);
    assert_eq!(linked_by(&served, "admin", "dan", "dan-1").await, StatusCode::CREATED);
    assert_eq!(linked_by(&served, "dan", "ben", "dan-1").await, StatusCode::FORBIDDEN);
    let dan = signed_in_as(&served, &liar, "dan-1", json!({})).await.unwrap();
    assert_eq!(me(&served, &dan).await.1["user"]["username"], "dan");
    assert!(served.test.entries().await.unwrap().iter().any(|entry| entry == "action.refused"));
    assert_eq!(linked_by(&served, "admin", "ben", "dan-1").await, StatusCode::CREATED, "another administrator may");
    assert_eq!(me(&served, &dan).await.0, StatusCode::UNAUTHORIZED, "what it opened for Dan is over");
}

// covers: WHO-1 (api), B2
#[tokio::test]
async fn an_account_that_is_taken_from_somebody_signs_them_in_no_more() {
    let served = Served::start().await;
    let liar = Liar::start().await;
    serve(&served, &liar.issuer, false);
    for subject in ["ana-1", "ana-2", "ana-3"] {
        assert_eq!(link(&served, "ana", subject).await, StatusCode::CREATED);
    }
    let (ana, dan, frank) = (served.person("ana").await, served.person("dan").await, served.person("frank").await);
    let accounts = format!("/users/{}/identities", served.test.person("ana").who.id());
    let of = async |subject: &str| {
        let (_, list) = dan.get(&accounts).await;
        let found = list["items"].as_array().unwrap().iter().find(|one| one["subject"] == subject).cloned();
        found.map(|one| format!("/identities/{}", one["id"].as_str().unwrap()))
    };
    let take = async |who: &crate::Person<'_>, path: &str| read(who.call(Method::DELETE, path).send().await.unwrap()).await;

    // 1. Who administers people takes it away, and nobody else; what it had opened is over, and the group it gave is gone.
    let group = json!({ "groups": ["Platform Team"] });
    let browser = signed_in_as(&served, &liar, "ana-1", group).await.unwrap();
    assert_eq!(me(&served, &browser).await.1["user"]["username"], "ana");
    let first = of("ana-1").await.unwrap();
    assert_eq!(take(&frank, &first).await.0, StatusCode::NOT_FOUND);
    assert_eq!(take(&ana, &first).await.0, StatusCode::FORBIDDEN, "a token alone is no proof that it is she");
    assert_eq!(take(&dan, "/identities/nobody").await.0, StatusCode::NOT_FOUND);
    let (status, taken) = take(&dan, &first).await;
    assert_eq!((status, &taken["subject"]), (StatusCode::OK, &json!("ana-1")), "{taken}");
    assert_eq!(me(&served, &browser).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(signed_in_as(&served, &liar, "ana-1", json!({})).await, None);
    assert_eq!((of("ana-1").await, take(&dan, &first).await.0), (None, StatusCode::NOT_FOUND));

    // 2. She does so herself in a browser where she just signed in; her only way in stays, whatever she says.
    let browser = signed_in_as(&served, &liar, "ana-3", json!({})).await.unwrap();
    let (second, third) = (of("ana-2").await.unwrap(), of("ana-3").await.unwrap());
    assert_eq!(in_portal(&served, &browser, Method::DELETE, &second, json!({})).await.0, StatusCode::OK);
    for path in [third.clone(), format!("{third}?last=true")] {
        let (status, refused) = in_portal(&served, &browser, Method::DELETE, &path, json!({})).await;
        assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("last_sign_in")), "{refused}");
    }

    // 3. Nor does an administrator take it away without a word.
    let (status, refused) = take(&dan, &third).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("last_sign_in")), "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("nothing else signs them in"), "{refused}");
    assert_eq!(take(&dan, &format!("{third}?last=true")).await.0, StatusCode::OK);
    assert_eq!(dan.get(&accounts).await.1["items"], json!([]));

    // 4. Whose it is, is said anew; and the log tells all of it.
    assert_eq!(link(&served, "ben", "ana-1").await, StatusCode::CREATED);
    let browser = signed_in_as(&served, &liar, "ana-1", json!({})).await.unwrap();
    assert_eq!(me(&served, &browser).await.1["user"]["username"], "ben");
    let entries = served.test.entries().await.unwrap();
    assert_eq!(entries.iter().filter(|entry| *entry == "identity.unlinked").count(), 3);
    let differences = served.test.gate.replay().await.unwrap().differences;
    assert!(differences.is_empty(), "{}", differences.iter().map(ToString::to_string).collect::<String>());
}

/// HMAC-SHA-256 (RFC 2104).
fn hmac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    use sha2::{Digest as _, Sha256};
    let mut block = [0u8; 64];
    block[..secret.len()].copy_from_slice(secret);
    let inner = Sha256::digest([&block.map(|b| b ^ 0x36), message].concat());
    Sha256::digest([block.map(|b| b ^ 0x5c).as_slice(), inner.as_slice()].concat()).to_vec()
}

// covers: A7
#[tokio::test]
async fn a_provider_that_lies_signs_nobody_in() {
    let served = Served::start().await;
    let liar = Liar::start().await;
    serve(&served, &liar.issuer, false);
    assert_eq!(link(&served, "ana", "ana-1").await, StatusCode::CREATED);
    let honest = json!({ "alg": "EdDSA", "kid": "one" });
    // Signs in with what `forge` makes of header, claims and the issuer that comes back with the browser.
    let tried = async |forge: &dyn Fn(&Liar, Value, Value) -> (String, Option<String>)| {
        // So that none of these is refused for those before it.
        served.test.time.advance(Duration::from_secs(10));
        let mut browser = Browser::new().unwrap();
        let sent = browser.go(&format!("{}{BEGIN}", served.url), Some("/auth?")).await.unwrap().url;
        let sent = reqwest::Url::parse(&sent).unwrap();
        let of = |name: &str| sent.query_pairs().find(|(n, _)| n == name).unwrap().1.into_owned();
        let now = served.test.gate.now().as_second();
        let claims = json!({ "iss": liar.issuer, "aud": CLIENT.0, "sub": "ana-1", "nonce": of("nonce"), "iat": now, "exp": now + 300 });
        let (token, iss) = forge(&liar, honest.clone(), claims);
        *liar.says.lock().unwrap() = token;
        let iss = iss.map(|iss| format!("&iss={iss}")).unwrap_or_default();
        let back = format!("{}?code=c&state={}{iss}", of("redirect_uri"), of("state"));
        browser.go(&back, Some("127.0.0.1")).await.unwrap();
        browser.cookie(&served.url, WEB).is_some()
    };
    let with = |mut claims: Value, name: &str, value: Value| {
        claims[name] = value;
        claims
    };
    let here = Some(liar.issuer.clone());
    assert!(tried(&|liar, header, claims| (liar.sign(&header, &claims), here.clone())).await, "an honest token signs in");
    for (name, value) in [
        ("aud", json!("other")),
        ("aud", json!([CLIENT.0, "other"])),
        ("iss", json!("https://login.example")),
        ("nonce", json!("tg_non_00000000000000000000000000000000")),
        ("nonce", Value::Null),
        ("exp", json!(1)),
        ("sub", json!("ben-1")),
    ] {
        let let_in = tried(&|liar, header, claims| (liar.sign(&header, &with(claims, name, value.clone())), here.clone())).await;
        assert!(!let_in, "{name} {value}");
    }
    let missing = |liar: &Liar, header: Value, mut claims: Value| {
        claims.as_object_mut().unwrap().remove("nonce");
        (liar.sign(&header, &claims), here.clone())
    };
    assert!(!tried(&missing).await, "no nonce");
    // Unsigned, and signed with what everybody knows.
    for alg in ["none", "HS256"] {
        let forged = |liar: &Liar, _: Value, claims: Value| {
            let header = json!({ "alg": alg, "kid": "one" });
            let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
            let signature = if alg == "none" { Vec::new() } else { hmac(liar.key.verifying_key().as_bytes(), message.as_bytes()) };
            (format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)), here.clone())
        };
        assert!(!tried(&forged).await, "{alg}");
    }
    // Mixed up: another issuer answers the browser, or none though it always names itself (RFC 9207).
    for iss in [Some("https://evil.example".to_owned()), None] {
        assert!(!tried(&|liar, header, claims| (liar.sign(&header, &claims), iss.clone())).await, "{iss:?}");
    }
    assert!(tried(&|liar, header, claims| (liar.sign(&header, &claims), here.clone())).await, "an honest one still does");
}

// covers: A11, WHO-3 (api)
#[tokio::test]
async fn of_whom_a_directory_brought_no_claim_of_a_sign_in_gives_a_group() {
    let served = Served::start().await;
    let provider = OidcProvider::start(&served.url, "corp").await.unwrap();
    serve(&served, &provider.issuer, true);
    let directory = identity::scim::Directory {
        name: "hr".parse().unwrap(),
        signs_in: Some((provider.issuer.clone(), identity::scim::Subject::ExternalId)),
        domains: Vec::new(),
        groups: [("Engineering".to_owned(), "engineers".parse().unwrap())].into(),
        brings_named: false,
    };
    served.test.gate.serve_directories(vec![directory]);
    in_time(&served);
    let dan = served.test.person("dan");
    let issued = served.test.gate.issue_directory_token(dan, &"hr".parse().unwrap(), Span::hours(24), None).await.unwrap();
    let who = served.test.gate.identify_token(issued.token.expose(), testkit::gate::HERE).await.unwrap();
    let hr = Caller { who, door: Door::Api };
    let engineer = json!({ "name": "Gina", "preferred_username": "gina", "groups": ["Platform Team"] });
    provider.sign_in_as("gina-1", Some(engineer)).await.unwrap();
    // 1. By the claim of her sign-in alone she works.
    assert_eq!(ask(&served, &signed_in(&served).await.unwrap()).await.0, StatusCode::CREATED);
    let gina = row(&served, "gina").await;
    assert_eq!(served.test.gate.store().open_grants_of(gina.id).await.unwrap().len(), 1);
    // 2. The directory brings her, by the account she signs in with: she is who she was, and what the claim gave is over.
    let body = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "gina.silva", "externalId": "gina-1", "active": true });
    let brought = served.test.gate.bring_user(&hr, &identity::scim::user::User::read(&body).unwrap()).await.unwrap();
    assert_eq!(brought.id, gina.id);
    assert!(served.test.gate.stored_groups(&gina).await.unwrap().is_empty());
    assert!(served.test.gate.store().open_grants_of(gina.id).await.unwrap().is_empty(), "what stood on the claim is withdrawn");
    // 3. Nor does a fresh sign-in with the claim give anything.
    let cookie = signed_in(&served).await.unwrap();
    assert!(served.test.gate.stored_groups(&gina).await.unwrap().is_empty());
    assert_ne!(ask(&served, &cookie).await.0, StatusCode::CREATED);
    // 4. A group of the directory does, until it is taken away.
    let group = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Engineering", "members": [{ "value": gina.id }] });
    let group = served.test.gate.bring_group(&hr, &identity::scim::group::Group::read(&group).unwrap()).await.unwrap();
    assert_eq!(ask(&served, &cookie).await.0, StatusCode::CREATED);
    served.test.gate.take_out_group(&hr, &group.id.to_string(), workflow::directory::SeenVersion::default()).await.unwrap();
    assert!(served.test.gate.store().open_grants_of(gina.id).await.unwrap().is_empty());
    assert_ne!(ask(&served, &cookie).await.0, StatusCode::CREATED);
    // 5. Who may not sign in there may not here, whatever the provider says.
    let left = |user: &identity::scim::user::User| Ok(identity::scim::user::User { active: Some(false), ..user.clone() });
    served.test.gate.change_user(&hr, &gina.id.to_string(), workflow::directory::SeenVersion::default(), left).await.unwrap();
    assert_eq!(me(&served, &cookie).await.0, StatusCode::UNAUTHORIZED, "the sign-in ended with it");
    assert_eq!(signed_in(&served).await, None);
}

// covers: WHO-1 (api)
#[tokio::test]
async fn a_logout_that_could_not_be_done_is_not_said_to_be_done() {
    let served = Served::start().await;
    let liar = Liar::start().await;
    serve(&served, &liar.issuer, false);
    assert_eq!(link(&served, "ana", "ana-1").await, StatusCode::CREATED);
    let ana = signed_in_as(&served, &liar, "ana-1", json!({})).await.unwrap();
    let log_out = async || {
        let now = served.test.gate.now().as_second();
        let claims = json!({
            "iss": liar.issuer, "aud": CLIENT.0, "sub": "ana-1", "iat": now, "exp": now + 100, "jti": format!("{now}"),
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        let token = liar.sign(&json!({ "alg": "EdDSA", "kid": "one", "typ": "logout+jwt" }), &claims);
        let form = served.call(Method::POST, &format!("{BEGIN}/logout")).header("content-type", "application/x-www-form-urlencoded");
        form.body(format!("logout_token={token}")).send().await.unwrap().status()
    };
    // The store takes entries, and no browser out.
    served.behind("CREATE TRIGGER away BEFORE DELETE ON web_sessions BEGIN SELECT RAISE(ABORT, 'the disk is full'); END");
    assert_eq!(log_out().await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(me(&served, &ana).await.0, StatusCode::OK);
    assert!(!served.test.entries().await.unwrap().iter().any(|entry| entry == "identity.signed_out"), "all of it or nothing");
    // The provider tries again.
    served.behind("DROP TRIGGER away");
    assert_eq!(log_out().await, StatusCode::OK);
    assert_eq!(me(&served, &ana).await.0, StatusCode::UNAUTHORIZED);
}

// covers: WHO-1 (api), G1
#[tokio::test]
async fn who_signs_out_at_the_provider_is_signed_out_where_that_browser_let_them_in() {
    let served = Served::start().await;
    let liar = Liar::start().await;
    serve(&served, &liar.issuer, false);
    assert_eq!(link(&served, "ana", "ana-1").await, StatusCode::CREATED);
    // Two sessions of hers at the provider; from the browser of each she signs a device in.
    let device = async |sid: &str| {
        let cookie = signed_in_as(&served, &liar, "ana-1", json!({ "sid": sid })).await.unwrap();
        let (_, begun) =
            read(served.call(Method::POST, "/api/v1/device").json(&json!({ "client": "x", "purpose": "y" })).send().await.unwrap()).await;
        let answer = format!("/device/{}", begun["user_code"].as_str().unwrap());
        assert_eq!(in_portal(&served, &cookie, Method::POST, &answer, json!({ "agree": true })).await.0, StatusCode::OK);
        let poll = json!({ "device_code": begun["device_code"] });
        let (status, got) = read(served.call(Method::POST, "/api/v1/device/token").json(&poll).send().await.unwrap()).await;
        assert_eq!(status, StatusCode::CREATED, "{got}");
        (cookie, crate::Person { served: &served, token: got["token"]["secret"].as_str().unwrap().to_owned() })
    };
    let (cookie, laptop) = device("one").await;
    let (_, desktop) = device("two").await;
    let certificate = async || {
        let key = json!({ "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti" });
        let (status, made) = laptop.post("/certificates", key).await;
        (status, made["key"]["id"].clone())
    };
    let (status, key) = certificate().await;
    assert_eq!(status, StatusCode::CREATED);
    // She signs that browser out here: the row is gone, the device goes on.
    assert_eq!(in_portal(&served, &cookie, Method::POST, "/sign-out", json!({})).await.0, StatusCode::NO_CONTENT);
    assert_eq!(laptop.get("/me").await.0, StatusCode::OK);
    let works = async || {
        let keys = desktop.get("/me/keys").await.1;
        keys["items"].as_array().unwrap().iter().any(|one| one["id"] == key && one["state"] == "active")
    };
    assert!(works().await);

    // She signs out there: the provider names that session, and nobody.
    let now = served.test.gate.now().as_second();
    let claims = json!({
        "iss": liar.issuer, "aud": CLIENT.0, "sid": "one", "iat": now, "exp": now + 100, "jti": "out",
        "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
    });
    let token = liar.sign(&json!({ "alg": "EdDSA", "kid": "one", "typ": "logout+jwt" }), &claims);
    let form = served.call(Method::POST, &format!("{BEGIN}/logout")).header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(form.body(format!("logout_token={token}")).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(laptop.get("/me").await.0, StatusCode::UNAUTHORIZED);
    assert!(!works().await, "the certificate signs nobody in any more");
    assert_eq!(certificate().await.0, StatusCode::UNAUTHORIZED, "and no other is made with that token");
    // The other session there goes on, with what it let in.
    assert_eq!(desktop.get("/me").await.0, StatusCode::OK);
    assert!(served.test.gate.replay().await.unwrap().differences.is_empty());
}
