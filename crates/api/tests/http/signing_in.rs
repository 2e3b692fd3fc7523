//! Who calls, and what their sign-in may be used for.

use access::identity::{Scope, Via};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{Person, Served, read, wish};

// covers: A9 (api)
#[tokio::test]
async fn guessing_is_slow() {
    let served = Served::start().await;
    let guess = |token: &str| served.call(Method::GET, "/api/v1/me").bearer_auth(token.to_owned()).send();
    let good = served.token("ana", Scope::OF_PEOPLE).await;
    assert_eq!(guess(&good).await.unwrap().status(), StatusCode::OK);
    let mut seen = Vec::new();
    for n in 0..12 {
        seen.push(guess(&format!("tg_pat_{n:032}")).await.unwrap().status());
    }
    assert!(seen[..10].iter().all(|status| *status == StatusCode::UNAUTHORIZED), "{seen:?}");
    assert!(seen[10..].iter().all(|status| *status == StatusCode::TOO_MANY_REQUESTS), "{seen:?}");
    let waiting = guess("tg_pat_00000000000000000000000000000099").await.unwrap();
    assert!(waiting.headers().contains_key("retry-after"));
    // Who was given a token, or sits at a browser that is signed in, does not wait for who guesses behind the same address.
    assert_eq!(guess(&good).await.unwrap().status(), StatusCode::OK);
    // But nobody signs in anew from there, until some time has passed.
    let sign_in = || served.call(Method::POST, "/api/v1/web-sessions").header("origin", &served.url).json(&json!({ "token": good })).send();
    assert_eq!(sign_in().await.unwrap().status(), StatusCode::TOO_MANY_REQUESTS);
    served.test.pass(std::time::Duration::from_secs(60)).await;
    assert_eq!(sign_in().await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(guess("tg_pat_00000000000000000000000000000099").await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

// covers: A9, E7 (api)
#[tokio::test]
async fn no_page_uses_up_its_visitors_attempts() {
    let served = Served::start().await;
    let logout = "/api/v1/sign-in/oidc/corp/logout";
    for _ in 0..30 {
        // An image, a form in a hidden frame, a body without a type: all that a page can have a browser send anywhere.
        let image = served.call(Method::GET, "/api/v1/sign-in/oidc/corp/callback?state=1&code=2").send().await.unwrap();
        assert_eq!(image.status(), StatusCode::UNAUTHORIZED);
        let form = served.call(Method::POST, logout).header("origin", "https://evil.example");
        let form = form.header("content-type", "application/x-www-form-urlencoded").body("logout_token=x").send().await.unwrap();
        assert_eq!(form.status(), StatusCode::FORBIDDEN);
        for path in ["/device", "/device/token", "/invitations/accept", "/sign-in"] {
            let blob = served.call(Method::POST, &format!("/api/v1{path}")).body(r#"{"code":"x","device_code":"x"}"#).send().await.unwrap();
            assert_eq!(blob.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path}");
        }
    }
    let entries = served.test.entries().await.unwrap();
    assert!(!entries.iter().any(|entry| entry == "signin.refused"), "it isn't even an attempt");
    let wrong = served.call(Method::POST, "/api/v1/invitations/accept").json(&json!({ "code": "tg_inv_x" })).send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED, "one may still try");
}

// covers: G2, B4 (api)
#[tokio::test]
async fn a_token_is_used_for_what_it_was_made_for() {
    let served = Served::start().await;
    let with = async |scopes: &[Scope]| Person { served: &served, token: served.token("ana", scopes).await };
    let (all, reads, asks) = (with(Scope::OF_PEOPLE).await, with(&[Scope::Read]).await, with(&[Scope::Ask]).await);
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    assert_eq!(reads.get("/requests").await.0, StatusCode::OK);
    assert_eq!(asks.post("/requests", wish()).await.0, StatusCode::ACCEPTED);
    let missing = |answer: (StatusCode, Value)| (answer.0 == StatusCode::FORBIDDEN && answer.1["code"] == "scope_missing", answer.1);
    for refused in [
        missing(asks.get("/requests").await),
        missing(reads.post("/requests", wish()).await),
        missing(reads.post("/certificates", json!({ "public_key": key })).await),
        // A key or token would outlive and outgrow the one it was made with.
        missing(asks.post("/me/keys", json!({ "public_key": key })).await),
        missing(asks.post("/tokens", json!({ "scopes": ["ask"], "duration": "1d" })).await),
    ] {
        assert!(refused.0, "{}", refused.1);
    }
    let (status, added) = all.post("/me/keys", json!({ "public_key": key, "label": "laptop" })).await;
    assert_eq!(status, StatusCode::CREATED, "{added}");
    assert_eq!(all.get("/me/keys").await.1["items"][0]["fingerprint"], added["fingerprint"]);
}

// covers: A9, D8 (api)
#[tokio::test]
async fn an_invitation_is_spent_once() {
    let served = Served::start().await;
    let dan = served.person("dan").await;
    let (status, invited) = dan.post("/users", json!({ "username": "gina", "display_name": "Gina" })).await;
    assert_eq!(status, StatusCode::CREATED, "{invited}");
    let accept = || served.call(Method::POST, "/api/v1/invitations/accept").json(&json!({ "code": invited["code"] })).send();
    let (first, second) = tokio::join!(accept(), accept());
    let (first, second) = (read(first.unwrap()).await, read(second.unwrap()).await);
    let (good, bad) = if first.0.is_success() { (first, second) } else { (second, first) };
    assert_eq!(good.0, StatusCode::CREATED, "{}", good.1);
    assert_eq!((bad.0, &bad.1["code"]), (StatusCode::UNAUTHORIZED, &json!("code_invalid")));
    let gina = Person { served: &served, token: good.1["token"]["secret"].as_str().unwrap().to_owned() };
    let (_, me) = gina.get("/me").await;
    assert_eq!((&me["user"]["username"], &me["user"]["display_name"]), (&json!("gina"), &json!("Gina")));
}

// covers: WHO-8, A9 (api)
#[tokio::test]
async fn a_token_ends_when_it_is_revoked_and_when_its_owner_is_disabled() {
    let served = Served::start().await;
    let (ana, ben, dan) = (served.person("ana").await, served.person("ben").await, served.person("dan").await);
    let who = served.test.gate.identify_token(&ana.token, testkit::gate::HERE).await.unwrap();
    let Via::Token(id) = who.via() else { panic!("signed in with a token") };
    let (status, revoked) = read(ana.call(Method::DELETE, &format!("/tokens/{id}")).send().await.unwrap()).await;
    assert_eq!((status, revoked["revoked_at"].is_string()), (StatusCode::OK, true), "{revoked}");
    assert_eq!(ana.get("/me").await.0, StatusCode::UNAUTHORIZED);

    let (_, me) = ben.get("/me").await;
    let path = format!("/users/{}/disable", me["user"]["id"].as_str().unwrap());
    let (status, disabled) = dan.post(&path, json!({ "reason": "left" })).await;
    assert_eq!((status, &disabled["user"]["state"]), (StatusCode::OK, &json!("disabled")), "{disabled}");
    assert_eq!(ben.get("/me").await.1["code"], "disabled");
}

// covers: G2, F4 (api)
#[tokio::test]
async fn the_log_is_for_auditors() {
    let served = Served::start().await;
    let (ana, eve) = (served.person("ana").await, served.person("eve").await);
    ana.post("/requests", wish()).await;
    let (status, list) = eve.get("/audit/entries?event=request.&limit=1").await;
    assert_eq!(status, StatusCode::OK, "{list}");
    let entry = &list["items"][0];
    assert_eq!((&entry["data"]["event"], &entry["texts"]["reason"]), (&json!("request.submitted"), &json!("checking a slow query")));
    for path in ["/audit/entries", "/audit/who-could?resource=db-1", "/audit/who-did?resource=db-1"] {
        assert_eq!(eve.get(path).await.0, StatusCode::OK, "{path}");
        let (status, refused) = ana.get(path).await;
        assert_eq!((status, &refused["code"]), (StatusCode::FORBIDDEN, &json!("not_allowed")), "{path}");
    }
    let (status, replayed) = eve.post("/audit/replay", json!({})).await;
    assert_eq!((status, &replayed["differences"]), (StatusCode::OK, &json!([])), "{replayed}");
}

/// A new SSH key of Ana's laptop, or of whoever took it.
fn ssh_key(dir: &std::path::Path, name: &str) -> String {
    let file = dir.join(name);
    let made =
        std::process::Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&file).status().unwrap();
    assert!(made.success());
    std::fs::read_to_string(file.with_extension("pub")).unwrap().trim().to_owned()
}

/// Signs in with a key by answering a challenge.
async fn sign_in_with_key(served: &Served, dir: &std::path::Path, name: &str) -> (StatusCode, Value) {
    let (_, challenge) = read(served.call(Method::POST, "/api/v1/sign-in/challenge").send().await.unwrap()).await;
    let text = dir.join("challenge");
    std::fs::write(&text, challenge["text"].as_str().unwrap()).unwrap();
    let namespace = challenge["namespace"].as_str().unwrap();
    let signed =
        std::process::Command::new("ssh-keygen").args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(dir.join(name)).arg(&text).output();
    assert!(signed.unwrap().status.success());
    let signature = std::fs::read_to_string(text.with_extension("sig")).unwrap();
    std::fs::remove_file(text.with_extension("sig")).unwrap();
    let answer = json!({ "nonce": challenge["nonce"], "signature": signature });
    read(served.call(Method::POST, "/api/v1/sign-in").json(&answer).send().await.unwrap()).await
}

// covers: WHO-8, B8 (api)
#[tokio::test]
async fn who_is_locked_does_and_makes_nothing_by_any_sign_in_of_theirs() {
    let served = Served::start().await;
    let dir = served.test.dir().join("laptop");
    std::fs::create_dir(&dir).unwrap();
    let (ana, dan) = (served.person("ana").await, served.person("dan").await);
    let (_, me) = ana.get("/me").await;
    let id = me["user"]["id"].as_str().unwrap();
    // Whoever holds her laptop and her token tries all that would outlive a lock, with keys of their own.
    let all = async |round: &str| {
        let key = |name: &str| ssh_key(&dir, &format!("{name}-{round}"));
        let (_, invited) = dan.post(&format!("/users/{id}/invite"), json!({})).await;
        let accept = served.call(Method::POST, "/api/v1/invitations/accept").json(&json!({ "code": invited["code"] }));
        vec![
            ("key", ana.post("/me/keys", json!({ "public_key": key("key") })).await),
            ("certificate", ana.post("/certificates", json!({ "public_key": key("certificate") })).await),
            ("token", ana.post("/tokens", json!({ "scopes": ["administer"], "duration": "366d" })).await),
            ("sign-in", sign_in_with_key(&served, &dir, "key-before").await),
            ("invitation", read(accept.send().await.unwrap()).await),
            ("sessions", ana.get("/sessions").await),
            ("me", ana.get("/me").await),
        ]
    };
    for (what, (status, body)) in all("before").await {
        assert!(status.is_success(), "{what}: {status} {body}");
    }
    let (status, lock) =
        dan.post("/locks", json!({ "scope": format!("person:{id}"), "duration": "4h", "reason": "a laptop was stolen" })).await;
    assert_eq!(status, StatusCode::CREATED, "{lock}");
    for (what, (status, body)) in all("while").await {
        assert_eq!((status, &body["code"]), (StatusCode::FORBIDDEN, &json!("locked")), "{what}: {body}");
    }
    assert!(served.test.entries().await.unwrap().iter().any(|entry| entry == "signin.refused"));
    // It lifts by itself, and nothing was made meanwhile.
    served.test.pass(std::time::Duration::from_secs(4 * 3600)).await;
    let keys = served.test.gate.store().keys_of(served.test.person("ana").who.id()).await.unwrap();
    assert_eq!(keys.len(), 2, "the key and the certificate of before: {keys:?}");
}

// covers: WHO-8, B8 (api)
#[tokio::test]
async fn a_certificate_ends_with_the_sign_in_it_was_asked_for_with() {
    let served = Served::start().await;
    let dir = served.test.dir().join("laptop");
    std::fs::create_dir(&dir).unwrap();
    let ana = served.test.person("ana");
    let (short, long) = (served.person("ana").await, {
        let token =
            served.test.gate.issue_token(ana, ana.who.id(), Scope::OF_PEOPLE.to_vec(), access::time::Span::hours(24), None).await.unwrap();
        Person { served: &served, token: token.token.expose().clone() }
    });
    let registered = short.post("/me/keys", json!({ "public_key": ssh_key(&dir, "registered") })).await.1;
    let of_short = short.post("/certificates", json!({ "public_key": ssh_key(&dir, "short") })).await.1;
    // Asked for at the same time, for as long, with another token.
    let of_long = long.post("/certificates", json!({ "public_key": ssh_key(&dir, "long"), "duration": "1h" })).await.1;
    let states = async || {
        let mut states = Vec::new();
        for key in [&registered["id"], &of_short["key"]["id"], &of_long["key"]["id"]] {
            let row = served.test.gate.store().key(key.as_str().unwrap().parse().unwrap()).await.unwrap().unwrap();
            states.push(row.state.to_string());
        }
        states
    };
    assert_eq!(states().await, ["active", "active", "active"]);
    // The short one leaked, and is revoked: what was made with it signs nobody in either.
    let who = served.test.gate.identify_token(&short.token, testkit::gate::HERE).await.unwrap();
    let Via::Token(id) = who.via() else { panic!("signed in with a token") };
    assert_eq!(long.call(Method::DELETE, &format!("/tokens/{id}")).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(states().await, ["active", "removed", "active"]);

    // So it is with a browser that is signed out.
    let sign_in = served.call(Method::POST, "/api/v1/web-sessions").header("origin", &served.url).json(&json!({ "token": long.token }));
    let answer = sign_in.send().await.unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let in_browser =
        |path: &str| served.call(Method::POST, &format!("/api/v1{path}")).header("cookie", &cookie).header("origin", &served.url);
    let (status, made) =
        read(in_browser("/certificates").json(&json!({ "public_key": ssh_key(&dir, "browser"), "duration": "1h" })).send().await.unwrap())
            .await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert_eq!(in_browser("/sign-out").send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let key = served.test.gate.store().key(made["key"]["id"].as_str().unwrap().parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(key.state.to_string(), "removed");
    assert_eq!(states().await[0], "active", "a key that was registered is nobody's certificate");
}
