//! Browsers: their cookie, what ends it, and that no other page can use it.

use std::time::Duration;

use access::identity::{Scope, Via};
use access::time::Span;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{COOKIE, HeaderMap, SET_COOKIE};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{Served, read, wish};

/// A browser that is signed in, as its own page calls the API.
struct Browser<'s> {
    served: &'s Served,
    cookie: String,
}

impl<'s> Browser<'s> {
    /// Signs in with something; the cookie is read from the answer as a browser does.
    async fn signed_in(served: &'s Served, proof: Value) -> Self {
        let answer = served.call(Method::POST, "/api/v1/web-sessions").header("origin", &served.url).json(&proof).send().await.unwrap();
        let cookie = cookie_in(answer.headers()).unwrap();
        let (status, body) = read(answer).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        Self { served, cookie: cookie.split(';').next().unwrap().to_owned() }
    }

    async fn of(served: &'s Served, name: &str) -> Self {
        let token = served.token(name, Scope::OF_PEOPLE).await;
        Self::signed_in(served, json!({ "token": token })).await
    }

    /// A call without what only the gate's own page sends.
    fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.served.call(method, &format!("/api/v1{path}")).header(COOKIE, &self.cookie)
    }

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).header("origin", &self.served.url).header("sec-fetch-site", "same-origin")
    }

    async fn status(&self) -> StatusCode {
        self.call(Method::GET, "/me").send().await.unwrap().status()
    }
}

fn cookie_in(headers: &HeaderMap) -> Option<String> {
    headers.get(SET_COOKIE).map(|value| value.to_str().unwrap().to_owned())
}

// covers: G4, F4 (api)
#[tokio::test]
async fn a_browser_stays_signed_in_by_a_cookie_that_scripts_and_other_sites_never_see() {
    let served = Served::start().await;
    let token = served.token("ana", Scope::OF_PEOPLE).await;
    let sign_in = || served.call(Method::POST, "/api/v1/web-sessions").json(&json!({ "token": token }));
    // Another page can't sign somebody in, nor can one that does not say where it is from.
    for other in [sign_in(), sign_in().header("origin", "https://evil.example"), sign_in().header("origin", "null")] {
        let answer = other.send().await.unwrap();
        assert!(cookie_in(answer.headers()).is_none());
        let (status, refused) = read(answer).await;
        assert_eq!((status, &refused["code"]), (StatusCode::FORBIDDEN, &json!("cross_site")), "{refused}");
    }

    let answer = sign_in().header("origin", &served.url).send().await.unwrap();
    let cookie = cookie_in(answer.headers()).unwrap();
    let (value, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Strict");
    assert!(value.starts_with("__Host-tide=tg_web_") && value.len() == "__Host-tide=tg_web_".len() + 32, "{value}");
    let (_, body) = read(answer).await;
    assert!(!body.to_string().contains(value.split_once('=').unwrap().1), "the cookie stands in the body");
    assert_eq!(body["user"]["username"], "ana");

    let ana = Browser { served: &served, cookie: value.to_owned() };
    let (status, me) = read(ana.call(Method::GET, "/me").send().await.unwrap()).await;
    assert_eq!((status, &me["user"]["username"]), (StatusCode::OK, &json!("ana")), "{me}");
    let (status, asked) = read(ana.call(Method::POST, "/requests").json(&wish()).send().await.unwrap()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{asked}");
    // Kept as a hash alone.
    let row = &served.test.gate.store().web_sessions_of(served.test.person("ana").who.id()).await.unwrap()[0];
    assert!(!format!("{row:?}").contains(value.split_once('=').unwrap().1), "{row:?}");
}

// covers: G4 (api)
#[tokio::test]
async fn what_another_page_makes_a_browser_send_is_refused_with_a_sentence() {
    let served = Served::start().await;
    let ana = Browser::of(&served, "ana").await;
    let own = |call: RequestBuilder| call.json(&wish());
    let (status, asked) = read(own(ana.call(Method::POST, "/requests")).send().await.unwrap()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{asked}");

    let post = || own(ana.bare(Method::POST, "/requests"));
    let get = || ana.bare(Method::GET, "/events");
    for other in [
        post(),
        post().header("origin", "https://evil.example").header("sec-fetch-site", "cross-site"),
        post().header("origin", "https://evil.example"),
        post().header("origin", &served.url).header("sec-fetch-site", "same-site"),
        post().header("sec-fetch-site", "same-origin"),
        ana.bare(Method::DELETE, "/tokens/tok_00000000000000000000000000"),
        get().header("sec-fetch-site", "cross-site"),
        get().header("origin", "https://evil.example"),
    ] {
        let (status, refused) = read(other.send().await.unwrap()).await;
        assert_eq!((status, &refused["code"]), (StatusCode::FORBIDDEN, &json!("cross_site")), "{refused}");
        assert!(refused["title"].as_str().unwrap().ends_with('.') && refused["hint"].is_string(), "{refused}");
    }
    // A form's body is never taken for JSON, whatever it says of itself.
    let form = ana.call(Method::POST, "/requests").header("content-type", "text/plain").body(wish().to_string());
    assert_eq!(form.send().await.unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    // Who presents a token is no browser, and needs none of this.
    let token = served.token("ana", Scope::OF_PEOPLE).await;
    let program = served.call(Method::POST, "/api/v1/requests/preview").bearer_auth(token).json(&wish());
    assert_eq!(program.send().await.unwrap().status(), StatusCode::OK);
}

// covers: WHO-8, A11, D2 (api)
#[tokio::test]
async fn a_browser_is_signed_out_with_what_it_was_signed_in_with() {
    let served = Served::start().await;
    let (ben, dan, carla) = (Browser::of(&served, "ben").await, served.person("dan").await, served.person("carla").await);
    let id = |name: &str| served.test.person(name).who.id();

    // Its token is revoked.
    let token = served.token("ana", Scope::OF_PEOPLE).await;
    let ana = Browser::signed_in(&served, json!({ "token": token })).await;
    let mut stream = ana.call(Method::GET, "/events").send().await.unwrap();
    assert_eq!((ana.status().await, stream.status()), (StatusCode::OK, StatusCode::OK));
    let who = served.test.gate.identify_token(&token, testkit::gate::HERE).await.unwrap();
    let Via::Token(tok) = who.via() else { panic!("signed in with a token") };
    let revoked = served.call(Method::DELETE, &format!("/api/v1/tokens/{tok}")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(revoked.status(), StatusCode::OK);
    assert_eq!(ana.status().await, StatusCode::UNAUTHORIZED);
    let ended = tokio::time::timeout(Duration::from_secs(60), async { while stream.chunk().await.unwrap().is_some() {} }).await;
    assert!(ended.is_ok(), "a stream goes on in a browser that is signed out");

    // Its owner is locked: signed out, and not in again until the lock is lifted; even then not by the old cookie.
    assert_eq!(ben.status().await, StatusCode::OK);
    let token = served.token("ben", Scope::OF_PEOPLE).await;
    let again = || served.call(Method::POST, "/api/v1/web-sessions").header("origin", &served.url).json(&json!({ "token": token })).send();
    let (status, lock) = carla.post("/locks", json!({ "scope": format!("person:{}", id("ben")) })).await;
    assert_eq!(status, StatusCode::CREATED, "{lock}");
    assert_eq!(ben.status().await, StatusCode::UNAUTHORIZED);
    let (_, refused) = read(again().await.unwrap()).await;
    assert_eq!(refused["code"], "locked", "{refused}");
    carla.post(&format!("/locks/{}/lift", lock["lock"]["id"].as_str().unwrap()), json!({})).await;
    assert_eq!(ben.status().await, StatusCode::UNAUTHORIZED);
    assert_eq!(again().await.unwrap().status(), StatusCode::CREATED);

    // Its owner is disabled.
    let ben = Browser::of(&served, "ben").await;
    assert_eq!(ben.status().await, StatusCode::OK);
    let (status, disabled) = dan.post(&format!("/users/{}/disable", id("ben")), json!({})).await;
    assert_eq!(status, StatusCode::OK, "{disabled}");
    assert_eq!(ben.status().await, StatusCode::UNAUTHORIZED);
}

// covers: A11 (api)
#[tokio::test]
async fn a_session_ends_unused_after_an_hour_and_in_any_case_after_twelve() {
    let served = Served::start().await;
    let caller = served.test.person("ana");
    let token = served.test.gate.issue_token(caller, caller.who.id(), Scope::OF_PEOPLE.to_vec(), Span::hours(48), None).await.unwrap();
    let proof = json!({ "token": token.token.expose() });
    let (idle, busy) = (Browser::signed_in(&served, proof.clone()).await, Browser::signed_in(&served, proof).await);
    for half_hours in 1..=25 {
        served.test.pass(Duration::from_secs(30 * 60)).await;
        // What a page that nobody sits at asks by itself is no use.
        let asked = idle.call(Method::GET, "/me").header("x-tidegate-background", "1").send().await.unwrap().status();
        assert_eq!(asked, if half_hours < 2 { StatusCode::OK } else { StatusCode::UNAUTHORIZED }, "{half_hours}");
        assert_eq!(busy.status().await, if half_hours < 24 { StatusCode::OK } else { StatusCode::UNAUTHORIZED }, "{half_hours}");
    }
}

// covers: A9, G4 (api)
#[tokio::test]
async fn an_invitation_signs_one_browser_in_once() {
    let served = Served::start().await;
    let dan = served.person("dan").await;
    let (_, invited) = dan.post("/users", json!({ "username": "gina" })).await;
    let code = json!({ "code": invited["code"] });
    let gina = Browser::signed_in(&served, code.clone()).await;
    let (_, me) = read(gina.call(Method::GET, "/me").send().await.unwrap()).await;
    assert_eq!((&me["user"]["username"], me["scopes"].as_array().map(Vec::len)), (&json!("gina"), Some(Scope::OF_PEOPLE.len())));
    let again = served.call(Method::POST, "/api/v1/web-sessions").header("origin", &served.url).json(&code).send().await.unwrap();
    let (status, refused) = read(again).await;
    assert_eq!((status, &refused["code"]), (StatusCode::UNAUTHORIZED, &json!("code_invalid")));
    // Nothing of this stands in the log but the invitation that was spent, and the log is whole.
    let replay = served.test.gate.replay().await.unwrap();
    assert!(replay.differences.is_empty(), "{:?}", replay.differences);
}

// covers: WHO-8, B2 (api)
#[tokio::test]
async fn one_sees_and_ends_ones_own_browsers_and_nobody_elses() {
    let served = Served::start().await;
    let (desk, phone, ben) = (Browser::of(&served, "ana").await, Browser::of(&served, "ana").await, Browser::of(&served, "ben").await);
    let (_, list) = read(desk.call(Method::GET, "/web-sessions").send().await.unwrap()).await;
    let items = list["items"].as_array().unwrap();
    assert_eq!((items.len(), items.iter().filter(|item| item["current"] == true).count()), (2, 1), "{list}");
    let other = items.iter().find(|item| item["current"] == false).unwrap();
    let path = format!("/web-sessions/{}", other["id"].as_str().unwrap());
    assert_eq!(read(ben.call(Method::DELETE, &path).send().await.unwrap()).await.0, StatusCode::NOT_FOUND);
    assert_eq!(read(desk.call(Method::DELETE, &path).send().await.unwrap()).await.0, StatusCode::OK);
    assert_eq!((desk.status().await, phone.status().await), (StatusCode::OK, StatusCode::UNAUTHORIZED));

    let out = desk.call(Method::POST, "/sign-out").send().await.unwrap();
    assert_eq!(out.status(), StatusCode::NO_CONTENT);
    assert!(cookie_in(out.headers()).unwrap().contains("Max-Age=0"));
    assert_eq!(desk.status().await, StatusCode::UNAUTHORIZED);
}

// covers: B4, G2 (api)
#[tokio::test]
async fn a_browser_may_no_more_than_its_token() {
    let served = Served::start().await;
    let token = served.token("ana", &[Scope::Read]).await;
    let ana = Browser::signed_in(&served, json!({ "token": token })).await;
    assert_eq!(ana.status().await, StatusCode::OK);
    let (status, refused) = read(ana.call(Method::POST, "/requests").json(&wish()).send().await.unwrap()).await;
    assert_eq!((status, &refused["code"]), (StatusCode::FORBIDDEN, &json!("scope_missing")), "{refused}");
}

// covers: G4 (api)
#[tokio::test]
async fn the_page_wears_its_headers_and_every_path_of_it_is_the_page() {
    let served = Served::start().await;
    for path in ["/", "/inbox", "/requests/req_00000000000000000000000000"] {
        let page = served.call(Method::GET, path).header("accept", "text/html").send().await.unwrap();
        let headers = page.headers().clone();
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(headers[name], value, "{path}: {name}");
        }
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
        for needed in ["frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "connect-src 'self'"] {
            assert!(policy.contains(needed), "{policy}");
        }
        for loose in ["unsafe", "http:", "https:", "*"] {
            assert!(!policy.contains(loose), "{policy}");
        }
        assert!(headers["permissions-policy"].to_str().unwrap().contains("camera=()"));
        // Built or not, it is no API's answer; what stands in a page that was built is let in by its digest, and nothing else is.
        let kind = headers["content-type"].to_str().unwrap().to_owned();
        let text = page.text().await.unwrap();
        if kind.starts_with("text/html") {
            assert!(!text.contains("<style ") && !text.contains(" style=") && !text.contains("onload="), "{text}");
            for element in ["script", "style"] {
                let (opens, closes) = (format!("<{element}>"), format!("</{element}>"));
                let inside: Vec<&str> = text.split(&opens).skip(1).map(|rest| rest.split_once(&closes).unwrap().0).collect();
                let said = policy.split("; ").find(|one| one.starts_with(&format!("{element}-src"))).unwrap();
                let allowed = inside.iter().fold(format!("{element}-src 'self'"), |all, one| {
                    format!("{all} 'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(one)))
                });
                assert_eq!(said, allowed);
                assert!(!inside.is_empty(), "{text}");
            }
            assert!(text.match_indices("<script ").all(|(at, _)| text[at..].split('>').next().unwrap().contains("src=\"/")), "{text}");
            let script = text.split("src=\"/assets/").nth(1).unwrap().split('"').next().unwrap();
            let file = served.call(Method::GET, &format!("/assets/{script}")).send().await.unwrap();
            assert_eq!(file.headers()["cache-control"], "public, max-age=31536000, immutable");
            assert_eq!(file.headers()["content-type"], "text/javascript; charset=utf-8");
            let packed = served.call(Method::GET, &format!("/assets/{script}")).header("accept-encoding", "gzip, br").send().await.unwrap();
            assert_eq!(
                (&packed.headers()["content-encoding"], &packed.headers()["vary"]),
                (&"br".parse().unwrap(), &"Accept-Encoding".parse().unwrap())
            );
        } else {
            assert!(text.contains("scripts/portal build"), "{text}");
        }
    }
    // A file that is not there, and whoever wants no page, get a problem.
    for (path, accept) in [("/assets/none.js", "text/html"), ("/inbox", "application/json"), ("/api/v2/me", "text/html")] {
        let (status, problem) = read(served.call(Method::GET, path).header("accept", accept).send().await.unwrap()).await;
        assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("not_found")), "{path}: {problem}");
    }
}

// covers: G4 (api), WHO-8
#[tokio::test]
async fn who_signs_in_again_in_the_same_browser_ends_what_was_there() {
    let served = Served::start().await;
    let (ana, other) = (Browser::of(&served, "ana").await, Browser::of(&served, "ana").await);
    // A sign-in that fails ends nothing.
    let sign_in = |token: String| {
        let call = served.call(Method::POST, "/api/v1/web-sessions").header("origin", &served.url).header(COOKIE, &ana.cookie);
        call.json(&json!({ "token": token })).send()
    };
    assert_eq!(sign_in("tg_pat_00000000000000000000000000000000".to_owned()).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(ana.status().await, StatusCode::OK);
    // Somebody else sits down and signs in.
    assert_eq!(sign_in(served.token("ben", Scope::OF_PEOPLE).await).await.unwrap().status(), StatusCode::CREATED);
    assert_eq!((ana.status().await, other.status().await), (StatusCode::UNAUTHORIZED, StatusCode::OK));
}
