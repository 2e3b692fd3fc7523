//! Sign-in at identity providers: npm's `oidc-provider`, for real.

use std::time::Duration;

use access::identity::PersonRow;
use access::request::Door;
use access::session::{EndReason, Protocol, Standing};
use access::time::Span;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
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
pub(crate) fn serve(served: &Served, issuer: &str, provision: bool) {
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

/// Whoever the provider says comes with a new browser: what the gate knows it by from then on, or nothing when it let nobody in.
pub(crate) async fn signed_in(served: &Served) -> Option<String> {
    in_time(served);
    let mut browser = Browser::new().unwrap();
    let back = browser.go(&format!("{}{BEGIN}", served.url), Some("/callback?")).await.unwrap().url;
    browser.go(&back, Some("127.0.0.1")).await.unwrap();
    browser.cookie(&served.url, WEB).map(str::to_owned)
}

/// Asks with such a sign-in for a shell that engineers get at once.
pub(crate) async fn ask(served: &Served, cookie: &str) -> (StatusCode, Value) {
    let call = served.call(Method::POST, "/api/v1/requests").header(COOKIE, format!("{WEB}={cookie}")).header("origin", &served.url);
    let wish = json!({ "resource": "build-1", "role": "shell", "reason": "a build hangs", "activate": true });
    read(call.json(&wish).send().await.unwrap()).await
}

pub(crate) async fn link(served: &Served, name: &str, subject: &str) -> StatusCode {
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

pub(crate) async fn row(served: &Served, name: &str) -> PersonRow {
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
    // Known from now on, with the one group that means something here.
    let cookie = signed_in(&served).await.unwrap();
    assert_eq!(served.test.gate.stored_groups(&row(&served, "gina").await).await.unwrap(), ["engineers".parse().unwrap()]);
    let (status, body) = ask(&served, &cookie).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let open = served.test.gate.store().open_grants().await.unwrap().len();
    assert_eq!(open, 1);

    // Taken away there: with the next sign-in nothing of it is left here.
    provider.sign_in_as("gina-1", Some(json!({ "name": "Gina", "preferred_username": "gina", "groups": [] }))).await.unwrap();
    let cookie = signed_in(&served).await.unwrap();
    assert!(served.test.gate.stored_groups(&row(&served, "gina").await).await.unwrap().is_empty());
    assert!(served.test.gate.store().open_grants().await.unwrap().is_empty(), "the grant went with the group");
    assert_ne!(ask(&served, &cookie).await.0, StatusCode::CREATED);

    // Given again, and never refreshed: it runs out by itself.
    provider.sign_in_as("gina-1", Some(engineer)).await.unwrap();
    let cookie = signed_in(&served).await.unwrap();
    assert_eq!(ask(&served, &cookie).await.0, StatusCode::CREATED);
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
    let mut cookies = Vec::new();
    for _ in 0..2 {
        cookies.push(signed_in(&served).await.unwrap());
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
