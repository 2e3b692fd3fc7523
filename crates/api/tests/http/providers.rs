//! Sign-in at identity providers: npm's `oidc-provider` for real, and one that lies.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use access::identity::PersonRow;
use access::request::Door;
use access::session::{EndReason, Protocol, Standing};
use access::time::Span;
use axum::Json;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use identity::oidc::{ClientSecret, GroupsFrom, Provider, ProviderClient};
use jiff::Timestamp;
use reqwest::header::COOKIE;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::oidc::{Browser, CLIENT, OidcProvider};
use workflow::Caller;
use workflow::knock::Knocked;

use crate::{Served, read};

pub(crate) const BEGIN: &str = "/api/v1/sign-in/oidc/corp";
pub(crate) const WEB: &str = "__Host-tide";

/// A gate where people sign in at `issuer`. Its clock is the provider's.
fn serve(served: &Served, issuer: &str, provision: bool) {
    serve_groups(served, issuer, provision, &[("Platform Team", "engineers")]);
}

/// The same, with groups of theirs that mean ours.
pub(crate) fn serve_groups(served: &Served, issuer: &str, provision: bool, groups: &[(&str, &str)]) {
    serve_groups_from(served, issuer, provision, groups, GroupsFrom::IdToken);
}

/// The same, said where the provider says them.
pub(crate) fn serve_groups_from(served: &Served, issuer: &str, provision: bool, groups: &[(&str, &str)], groups_from: GroupsFrom) {
    let provider = Provider {
        name: "corp".into(),
        title: "Corp".into(),
        issuer: issuer.into(),
        client_id: CLIENT.0.into(),
        client_secret: ClientSecret::File(served.test.dir().join("corp.secret")),
        scopes: vec!["profile".into(), "groups".into()],
        groups_claim: "groups".into(),
        groups_from,
        groups: groups.iter().map(|(theirs, ours)| ((*theirs).to_owned(), ours.parse().unwrap())).collect(),
        groups_last: Span::minutes(30),
        provision,
    };
    std::fs::write(served.test.dir().join("corp.secret"), format!("{}\n", CLIENT.1)).unwrap();
    served.test.gate.serve_providers(vec![(provider, ProviderClient::new(None).unwrap())]);
}

#[expect(clippy::disallowed_methods, reason = "a provider that runs for real has no other clock than the machine's")]
fn wall() -> Timestamp {
    Timestamp::now()
}

/// The gate's clock is moved to the provider's.
pub(crate) fn in_time(served: &Served) {
    let behind = wall().duration_since(served.test.gate.now());
    served.test.time.advance(Duration::try_from(behind).unwrap_or_default());
}

async fn link(served: &Served, name: &str, subject: &str) -> StatusCode {
    linked_by(served, "dan", name, subject).await
}

pub(crate) async fn linked_by(served: &Served, administrator: &str, name: &str, subject: &str) -> StatusCode {
    let person = served.test.person(name).who.id();
    let administrator = served.person(administrator).await;
    administrator.post(&format!("/users/{person}/identities"), json!({ "provider": "corp", "subject": subject })).await.0
}

/// Who sits at a browser.
pub(crate) async fn me(served: &Served, cookie: &str) -> (StatusCode, Value) {
    let call = served.call(Method::GET, "/api/v1/me").header(COOKIE, format!("{WEB}={cookie}")).header("origin", &served.url);
    read(call.send().await.unwrap()).await
}

async fn row(served: &Served, name: &str) -> PersonRow {
    served.test.gate.store().person_named(&name.parse().unwrap()).await.unwrap().unwrap()
}

// covers: WHO-1 (api), A7
#[tokio::test]
async fn somebody_signs_in_at_a_certified_provider_by_issuer_and_subject() {
    let served = Served::start().await;
    let provider = OidcProvider::start(&served.url, "corp").await.unwrap();
    serve(&served, &provider.issuer, false);
    in_time(&served);
    let begin = format!("{}{BEGIN}?then=/requests", served.url);

    // Nobody is known by this account, whatever name and address it carries.
    let mut browser = Browser::new().unwrap();
    let at = browser.go(&begin, None).await.unwrap();
    assert_eq!(at.status, 401, "{}", at.text);
    assert!(at.text.contains("nobody here is known by this account"), "{}", at.text);
    assert_eq!(browser.cookie(&served.url, WEB), None);

    // An administrator says whose it is, and then it is theirs, though its address is Ben's.
    assert_eq!(link(&served, "ana", "ana-1").await, StatusCode::CREATED);
    in_time(&served);
    let at = browser.go(&begin, Some("/requests")).await.unwrap();
    assert_eq!(at.url, format!("{}/requests", served.url), "{}", at.text);
    let (status, body) = me(&served, browser.cookie(&served.url, WEB).unwrap()).await;
    assert_eq!((status, &body["user"]["username"]), (StatusCode::OK, &json!("ana")), "{body}");
    let entries = served.test.entries().await.unwrap();
    for name in ["identity.linked", "identity.proved", "signin.refused"] {
        assert!(entries.iter().any(|entry| entry == name), "{name}");
    }

    // One who is turned away there is told so here.
    provider.sign_in_as("nobody", None).await.unwrap();
    let mut other = Browser::new().unwrap();
    let at = other.go(&begin, None).await.unwrap();
    assert!(at.status == 401 && at.text.contains("access_denied"), "{} {}", at.status, at.text);
}

// covers: A7, A9
#[tokio::test]
async fn a_code_is_good_once_and_in_the_browser_where_it_was_asked_for() {
    let served = Served::start().await;
    let provider = OidcProvider::start(&served.url, "corp").await.unwrap();
    serve(&served, &provider.issuer, false);
    in_time(&served);
    assert_eq!(link(&served, "ana", "ana-1").await, StatusCode::CREATED);
    let begin = format!("{}{BEGIN}", served.url);
    let (mut hers, mut foreign) = (Browser::new().unwrap(), Browser::new().unwrap());
    // The other browser has a sign-in of its own under way.
    foreign.go(&begin, Some("/interaction/")).await.unwrap();
    let back = hers.go(&begin, Some("/callback?")).await.unwrap().url;
    assert_eq!(foreign.go(&back, None).await.unwrap().status, 401, "another's browser");
    assert_eq!(foreign.cookie(&served.url, WEB), None);

    in_time(&served);
    let back = hers.go(&begin, Some("/callback?")).await.unwrap().url;
    hers.go(&back, Some("127.0.0.1")).await.unwrap();
    let cookie = hers.cookie(&served.url, WEB).unwrap().to_owned();
    assert_eq!(me(&served, &cookie).await.0, StatusCode::OK);
    assert_eq!(hers.go(&back, None).await.unwrap().status, 401, "a second time");
    // Another state in the same browser does not make an old code good.
    let waiting = hers.go(&begin, Some("/callback?")).await.unwrap().url;
    let of = |url: &str, name: &str| reqwest::Url::parse(url).unwrap().query_pairs().find(|(n, _)| n == name).unwrap().1.into_owned();
    let mixed = waiting.replace(&of(&waiting, "code"), &of(&back, "code"));
    assert_ne!(mixed, waiting);
    let at = hers.go(&mixed, None).await.unwrap();
    assert!(at.status == 401 && at.text.contains("did not take the code"), "{}", at.text);
}

// covers: WHO-1 (api), A11
#[tokio::test]
async fn groups_count_as_the_provider_said_last_and_not_for_ever() {
    let served = Served::start().await;
    let provider = OidcProvider::start(&served.url, "corp").await.unwrap();
    serve(&served, &provider.issuer, true);
    in_time(&served);
    let engineer = json!({ "name": "Gina", "preferred_username": "gina", "groups": ["Platform Team", "administrators"] });
    provider.sign_in_as("gina-1", Some(engineer.clone())).await.unwrap();
    let begin = format!("{}{BEGIN}", served.url);
    let sign_in = async || {
        in_time(&served);
        let mut browser = Browser::new().unwrap();
        let back = browser.go(&begin, Some("/callback?")).await.unwrap().url;
        browser.go(&back, Some("127.0.0.1")).await.unwrap();
        browser.cookie(&served.url, WEB).unwrap().to_owned()
    };
    let ask = async |cookie: &str| {
        let call = served.call(Method::POST, "/api/v1/requests").header(COOKIE, format!("{WEB}={cookie}")).header("origin", &served.url);
        let wish = json!({ "resource": "build-1", "role": "shell", "reason": "a build hangs", "activate": true });
        read(call.json(&wish).send().await.unwrap()).await
    };
    // Known from now on, with the one group that means something here.
    let cookie = sign_in().await;
    assert_eq!(served.test.gate.stored_groups(&row(&served, "gina").await).await.unwrap(), ["engineers".parse().unwrap()]);
    let (status, body) = ask(&cookie).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let open = served.test.gate.store().open_grants().await.unwrap().len();
    assert_eq!(open, 1);

    // Taken away there: with the next sign-in nothing of it is left here.
    provider.sign_in_as("gina-1", Some(json!({ "name": "Gina", "preferred_username": "gina", "groups": [] }))).await.unwrap();
    let cookie = sign_in().await;
    assert!(served.test.gate.stored_groups(&row(&served, "gina").await).await.unwrap().is_empty());
    assert!(served.test.gate.store().open_grants().await.unwrap().is_empty(), "the grant went with the group");
    assert_ne!(ask(&cookie).await.0, StatusCode::CREATED);

    // Given again, and never refreshed: it runs out by itself.
    provider.sign_in_as("gina-1", Some(engineer)).await.unwrap();
    let cookie = sign_in().await;
    assert_eq!(ask(&cookie).await.0, StatusCode::CREATED);
    served.test.pass(Duration::from_secs(10)).await;
    assert_eq!(served.test.gate.store().open_grants().await.unwrap().len(), 1);
    served.test.pass(Duration::from_secs(1800)).await;
    assert!(served.test.gate.stored_groups(&row(&served, "gina").await).await.unwrap().is_empty());
    assert!(served.test.gate.store().open_grants().await.unwrap().is_empty());
}

// covers: WHO-1 (api)
#[tokio::test]
async fn who_signs_out_at_the_provider_is_signed_out_here() {
    let served = Served::start().await;
    let provider = OidcProvider::start(&served.url, "corp").await.unwrap();
    serve(&served, &provider.issuer, false);
    in_time(&served);
    assert_eq!(link(&served, "ana", "ana-1").await, StatusCode::CREATED);
    let begin = format!("{}{BEGIN}", served.url);
    let mut cookies = Vec::new();
    for _ in 0..2 {
        in_time(&served);
        let mut browser = Browser::new().unwrap();
        let back = browser.go(&begin, Some("/callback?")).await.unwrap().url;
        browser.go(&back, Some("127.0.0.1")).await.unwrap();
        cookies.push(browser.cookie(&served.url, WEB).unwrap().to_owned());
    }
    let ana = served.test.person("ana").who.id();
    let sessions = served.test.gate.store().web_sessions_of(ana).await.unwrap();
    let sid_of = |cookie: &str| {
        let verifier = identity::opaque::Verifier::of(cookie);
        sessions.iter().find(|row| row.verifier == verifier.as_str()).unwrap().sid.clone().unwrap()
    };
    // One session there: one browser here, with what it let in.
    let mut let_in = Vec::new();
    for cookie in &cookies {
        let who = served.test.gate.identify_web_session(cookie, "192.0.2.7".parse().unwrap(), true).await.unwrap();
        let opened = served.test.gate.knock(&Caller { who, door: Door::Ssh }, &"build-1+shell".parse().unwrap(), Protocol::Ssh).await;
        let Ok(Knocked::Open(opened)) = opened else { panic!("build-1 opens at once: {opened:?}") };
        let_in.push(opened);
    }
    in_time(&served);
    provider.log_out("ana-1", &sid_of(&cookies[0])).await.unwrap();
    assert_eq!(me(&served, &cookies[0]).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(me(&served, &cookies[1]).await.0, StatusCode::OK);
    let cut: Vec<bool> = let_in.iter().map(|opened| matches!(*opened.standing.borrow(), Standing::Cut(EndReason::Revoked))).collect();
    assert_eq!(cut, [true, false]);
    // What nobody signed ends nothing.
    let forged = format!("logout_token={}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode("{}"));
    let form =
        served.call(Method::POST, &format!("{BEGIN}/logout")).header("content-type", "application/x-www-form-urlencoded").body(forged);
    assert_eq!(form.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    assert_eq!(me(&served, &cookies[1]).await.0, StatusCode::OK);
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
    let behind = |sql: &str| {
        let store = served.test.dir().join("store.db");
        let script = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1], timeout=30); c.execute(sys.argv[2]); c.commit()";
        let done = std::process::Command::new("python3").args(["-c", script]).arg(store).arg(sql).status().unwrap();
        assert!(done.success());
    };
    behind("CREATE TRIGGER away BEFORE DELETE ON web_sessions BEGIN SELECT RAISE(ABORT, 'the disk is full'); END");
    assert_eq!(log_out().await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(me(&served, &ana).await.0, StatusCode::OK);
    assert!(!served.test.entries().await.unwrap().iter().any(|entry| entry == "identity.signed_out"), "all of it or nothing");
    // The provider tries again.
    behind("DROP TRIGGER away");
    assert_eq!(log_out().await, StatusCode::OK);
    assert_eq!(me(&served, &ana).await.0, StatusCode::UNAUTHORIZED);
}

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
    let begin = format!("{}{BEGIN}", served.url);
    let sign_in = async || {
        in_time(&served);
        let mut browser = Browser::new().unwrap();
        let back = browser.go(&begin, Some("/callback?")).await.unwrap().url;
        browser.go(&back, Some("127.0.0.1")).await.unwrap();
        browser.cookie(&served.url, WEB).unwrap().to_owned()
    };
    let ask = async |cookie: &str| {
        let call = served.call(Method::POST, "/api/v1/requests").header(COOKIE, format!("{WEB}={cookie}")).header("origin", &served.url);
        let wish = json!({ "resource": "build-1", "role": "shell", "reason": "a build hangs", "activate": true });
        read(call.json(&wish).send().await.unwrap()).await
    };
    // 1. By the claim of her sign-in alone she works.
    assert_eq!(ask(&sign_in().await).await.0, StatusCode::CREATED);
    let gina = row(&served, "gina").await;
    assert_eq!(served.test.gate.store().open_grants_of(gina.id).await.unwrap().len(), 1);
    // 2. The directory brings her, by the account she signs in with: she is who she was, and what the claim gave is over.
    let body = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "gina.silva", "externalId": "gina-1", "active": true });
    let brought = served.test.gate.bring_user(&hr, &identity::scim::user::User::read(&body).unwrap()).await.unwrap();
    assert_eq!(brought.id, gina.id);
    assert!(served.test.gate.stored_groups(&gina).await.unwrap().is_empty());
    assert!(served.test.gate.store().open_grants_of(gina.id).await.unwrap().is_empty(), "what stood on the claim is withdrawn");
    // 3. Nor does a fresh sign-in with the claim give anything.
    let cookie = sign_in().await;
    assert!(served.test.gate.stored_groups(&gina).await.unwrap().is_empty());
    assert_ne!(ask(&cookie).await.0, StatusCode::CREATED);
    // 4. A group of the directory does, until it is taken away.
    let group = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Engineering", "members": [{ "value": gina.id }] });
    let group = served.test.gate.bring_group(&hr, &identity::scim::group::Group::read(&group).unwrap()).await.unwrap();
    assert_eq!(ask(&cookie).await.0, StatusCode::CREATED);
    served.test.gate.take_out_group(&hr, &group.id.to_string(), workflow::directory::SeenVersion::default()).await.unwrap();
    assert!(served.test.gate.store().open_grants_of(gina.id).await.unwrap().is_empty());
    assert_ne!(ask(&cookie).await.0, StatusCode::CREATED);
    // 5. Who may not sign in there may not here, whatever the provider says.
    let left = |user: &identity::scim::user::User| Ok(identity::scim::user::User { active: Some(false), ..user.clone() });
    served.test.gate.change_user(&hr, &gina.id.to_string(), workflow::directory::SeenVersion::default(), left).await.unwrap();
    assert_eq!(me(&served, &cookie).await.0, StatusCode::UNAUTHORIZED, "the sign-in ended with it");
    in_time(&served);
    let mut browser = Browser::new().unwrap();
    let back = browser.go(&begin, Some("/callback?")).await.unwrap().url;
    browser.go(&back, Some("127.0.0.1")).await.unwrap();
    assert_eq!(browser.cookie(&served.url, WEB), None);
}
