//! Sign-in at a provider of another make than the certified one: Canaille, run for real, people signing in by its own forms.

use identity::oidc::GroupsFrom;
use reqwest::{Method, StatusCode};
use serde_json::json;
use testkit::oidc::Browser;
use testkit::oidc::canaille::Canaille;

use crate::Served;
use crate::made_up_provider::in_portal;
use crate::providers::{BEGIN, WEB, in_time, linked_by, me, serve_groups, serve_groups_from};

/// The value of a parameter of an address.
fn of(url: &str, name: &str) -> Option<String> {
    reqwest::Url::parse(url).unwrap().query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
}

// covers: WHO-1 (canaille), A7, A9
#[tokio::test]
async fn somebody_signs_in_at_a_provider_of_another_make() {
    let served = Served::start().await;
    let provider = Canaille::start(&served.url, "corp").await.unwrap();
    serve_groups(&served, &provider.issuer, false, &[("platform", "engineers")]);
    in_time(&served);
    let begin = format!("{}{BEGIN}?then=/requests", served.url);

    // By authorization code, with a challenge that only this gate can answer, a state and a nonce.
    let mut browser = Browser::new().unwrap();
    let sent = Browser::new().unwrap().go(&begin, Some(&format!("{}/oauth/authorize", provider.issuer))).await.unwrap().url;
    assert_eq!(
        (of(&sent, "response_type").as_deref(), of(&sent, "code_challenge_method").as_deref()),
        (Some("code"), Some("S256")),
        "{sent}"
    );
    assert!(["code_challenge", "state", "nonce"].iter().all(|name| of(&sent, name).is_some_and(|value| value.len() >= 32)), "{sent}");

    // Who is not known here by this account is told so.
    let page = browser.go(&begin, None).await.unwrap();
    assert!(page.url.starts_with(&provider.issuer) && page.status == 200, "{page:?}");
    let back = provider.sign_in(&mut browser, &page, "ana", "/callback?").await.unwrap();
    assert!(of(&back.url, "code").is_some(), "{back:?}");
    let at = browser.go(&back.url, None).await.unwrap();
    assert!(at.status == 401 && at.text.contains("nobody here is known by this account"), "{at:?}");

    // An administrator says whose it is, and then it is theirs.
    assert_eq!(linked_by(&served, "dan", "ana", "ana").await, StatusCode::CREATED);
    in_time(&served);
    let mut hers = Browser::new().unwrap();
    let page = hers.go(&begin, None).await.unwrap();
    // Not with a password that is not hers.
    let still = provider.fail(&mut hers, &page, "ana", "/callback?").await.unwrap();
    assert!(still.url.starts_with(&provider.issuer) && hers.cookie(&served.url, WEB).is_none(), "{}", still.url);
    let page = hers.go(&begin, None).await.unwrap();
    let back = provider.sign_in(&mut hers, &page, "ana", "/callback?").await.unwrap().url;
    // The code is good in the browser where it was asked for, and once.
    let mut foreign = Browser::new().unwrap();
    foreign.go(&begin, Some("/oauth/authorize")).await.unwrap();
    assert_eq!(foreign.go(&back, None).await.unwrap().status, 401);
    assert_eq!(foreign.cookie(&served.url, WEB), None);
    // With that it is over; she begins anew, and the provider knows her still.
    in_time(&served);
    let back = hers.go(&begin, Some("/callback?")).await.unwrap().url;
    let at = hers.go(&back, Some("/requests")).await.unwrap();
    assert_eq!(at.url, format!("{}/requests", served.url), "{}", at.text);
    let (status, body) = me(&served, hers.cookie(&served.url, WEB).unwrap()).await;
    assert_eq!((status, &body["user"]["username"]), (StatusCode::OK, &json!("ana")), "{body}");
    assert_eq!(hers.go(&back, None).await.unwrap().status, 401, "a second time");
    // A code with another state, and one that nobody gave.
    let page = hers.go(&begin, Some("/callback?")).await.unwrap().url;
    let mut made_up = reqwest::Url::parse(&page).unwrap();
    let others: Vec<(String, String)> = made_up.query_pairs().into_owned().filter(|(name, _)| name != "code").collect();
    made_up.query_pairs_mut().clear().extend_pairs(others).append_pair("code", "made-up");
    let made_up = made_up.to_string();
    let at = hers.go(&made_up, None).await.unwrap();
    assert!(at.status == 401 && at.text.contains("did not take the code"), "{at:?}");
}

// covers: WHO-1 (canaille)
#[tokio::test]
async fn its_groups_mean_ours_wherever_it_says_them() {
    for from in [GroupsFrom::IdToken, GroupsFrom::UserInfo] {
        let served = Served::start().await;
        let provider = Canaille::start(&served.url, "corp").await.unwrap();
        serve_groups_from(&served, &provider.issuer, true, &[("platform", "engineers")], from);
        in_time(&served);
        let begin = format!("{}{BEGIN}", served.url);
        // Gina is in `platform` there, and nobody here before.
        let mut hers = Browser::new().unwrap();
        let page = hers.go(&begin, None).await.unwrap();
        let back = provider.sign_in(&mut hers, &page, "gina", "/callback?").await.unwrap().url;
        let at = hers.go(&back, Some(&served.url)).await.unwrap();
        let cookie = hers.cookie(&served.url, WEB).unwrap_or_else(|| panic!("{from:?}: {at:?}"));
        let (status, body) = me(&served, cookie).await;
        assert_eq!((status, &body["user"]["username"]), (StatusCode::OK, &json!("gina")), "{from:?}: {body}");
        let (_, list) = in_portal(&served, cookie, Method::GET, "/resources", serde_json::Value::Null).await;
        assert!(list["items"].as_array().unwrap().iter().any(|one| one["name"] == "build-1"), "{from:?}: {list}");
    }
}

// covers: WHO-1 (canaille), A7
#[tokio::test]
async fn a_sign_in_that_took_too_long_a_clock_that_is_wrong_and_a_provider_that_is_away_are_said() {
    let served = Served::start().await;
    let provider = Canaille::start(&served.url, "corp").await.unwrap();
    serve_groups(&served, &provider.issuer, false, &[]);
    assert_eq!(linked_by(&served, "dan", "ana", "ana").await, StatusCode::CREATED);
    let begin = format!("{}{BEGIN}", served.url);
    let back = async |provider: &Canaille, browser: &mut Browser| {
        let page = browser.go(&begin, None).await.unwrap();
        provider.sign_in(browser, &page, "ana", "/callback?").await.unwrap().url
    };
    // In time she is in.
    in_time(&served);
    let mut hers = Browser::new().unwrap();
    let url = back(&provider, &mut hers).await;
    hers.go(&url, Some("127.0.0.1")).await.unwrap();
    assert!(hers.cookie(&served.url, WEB).is_some());
    // What was begun is good for ten minutes.
    let mut slow = Browser::new().unwrap();
    let url = back(&provider, &mut slow).await;
    served.test.time.advance(std::time::Duration::from_secs(11 * 60));
    let at = slow.go(&url, None).await.unwrap();
    assert!(at.status == 401 && slow.cookie(&served.url, WEB).is_none(), "{at:?}");
    // Now the gate's clock is eleven minutes ahead of the provider's: what it proves is over by then.
    let mut ahead = Browser::new().unwrap();
    let url = back(&provider, &mut ahead).await;
    let at = ahead.go(&url, None).await.unwrap();
    assert!(at.status == 401 && at.text.contains("token is no proof"), "{at:?}");
    assert!(ahead.cookie(&served.url, WEB).is_none());
    // Away.
    let mut away = Browser::new().unwrap();
    let url = back(&provider, &mut away).await;
    drop(provider);
    let at = away.go(&url, None).await.unwrap();
    assert!(at.status >= 400 && away.cookie(&served.url, WEB).is_none(), "{at:?}");
    assert!(at.text.contains("did not answer"), "{at:?}");
}
