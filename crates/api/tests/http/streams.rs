//! `/events`: what happens, as it happens, to whom it concerns.

use std::time::Duration;

use access::identity::Via;
use reqwest::{Method, Response, StatusCode};
use serde_json::json;

use crate::{Served, wish};

/// The names of the events that come until one named `last` does; nothing more may take long.
async fn until(stream: &mut Response, last: &str) -> Vec<String> {
    let mut text = String::new();
    let wanted = format!("event: {last}\n");
    let heard = async {
        while !text.contains(&wanted) {
            let Some(chunk) = stream.chunk().await.unwrap() else { break };
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), heard).await;
    assert!(in_time.is_ok(), "`{last}` did not come");
    text.lines().filter_map(|line| line.strip_prefix("event: ").map(str::to_owned)).collect()
}

// covers: OK-5, B2 (api)
#[tokio::test]
async fn each_hears_what_concerns_them() {
    let served = Served::start().await;
    let (ana, ben, eve, frank) =
        (served.person("ana").await, served.person("ben").await, served.person("eve").await, served.person("frank").await);
    let listen = |who: &crate::Person<'_>| who.call(Method::GET, "/events").send();
    let (mut to_ana, mut to_ben, mut to_eve, mut to_frank) =
        (listen(&ana).await.unwrap(), listen(&ben).await.unwrap(), listen(&eve).await.unwrap(), listen(&frank).await.unwrap());
    assert_eq!(to_ana.status(), StatusCode::OK);
    assert_eq!(to_ana.headers()["content-type"], "text/event-stream");

    let (_, asked) = ana.post("/requests", wish()).await;
    ben.post(&format!("/requests/{}/approve", asked["request"]["id"].as_str().unwrap()), json!({})).await;
    frank.post("/requests", json!({ "resource": "build-1", "role": "shell", "reason": "x" })).await;

    let journey = ["request.submitted", "request.voted", "request.approved", "grant.created"];
    assert_eq!(until(&mut to_ana, "grant.created").await, journey);
    assert_eq!(until(&mut to_ben, "request.approved").await, journey[..3]);
    assert_eq!(until(&mut to_frank, "grant.created").await, ["request.submitted", "request.approved", "grant.created"], "his own alone");
    let all = until(&mut to_eve, "grant.created").await;
    assert_eq!(all[..4], journey);
}

// covers: D2, A11 (api)
#[tokio::test]
async fn a_stream_ends_with_the_sign_in_it_began_with() {
    let served = Served::start().await;
    let (ana, again) = (served.person("ana").await, served.person("ana").await);
    let mut stream = ana.call(Method::GET, "/events").send().await.unwrap();
    let who = served.test.gate.identify_token(&ana.token, testkit::gate::HERE).await.unwrap();
    let Via::Token(id) = who.via() else { panic!("signed in with a token") };
    let revoked = again.call(Method::DELETE, &format!("/tokens/{id}")).send().await.unwrap();
    assert_eq!(revoked.status(), StatusCode::OK);
    let ended = tokio::time::timeout(Duration::from_secs(60), async { while stream.chunk().await.unwrap().is_some() {} }).await;
    assert!(ended.is_ok(), "it goes on after its token was revoked");
}

// covers: E7 (api)
#[tokio::test]
async fn nobody_opens_streams_without_end() {
    let served = Served::start().await;
    let (ana, ben) = (served.person("ana").await, served.person("ben").await);
    let mut open = Vec::new();
    for _ in 0..32 {
        let stream = ana.call(Method::GET, "/events").send().await.unwrap();
        assert_eq!(stream.status(), StatusCode::OK);
        open.push(stream);
    }
    let (status, refused) = ana.get("/events").await;
    assert_eq!((status, &refused["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!("too_many")), "{refused}");
    assert_eq!(ben.call(Method::GET, "/events").send().await.unwrap().status(), StatusCode::OK, "others do");
    // One that is closed makes room.
    open.pop();
    let again = async {
        while ana.call(Method::GET, "/events").send().await.unwrap().status() != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), again).await.is_ok(), "it counts what is over");
}

#[tokio::test]
async fn an_answer_says_as_of_which_entry_it_is() {
    let served = Served::start().await;
    let (ana, frank) = (served.person("ana").await, served.person("frank").await);
    let as_of = |answer: Response| answer.headers().get("x-tidegate-as-of").map(|value| value.to_str().unwrap().to_owned());
    let read = async || as_of(ana.call(Method::GET, "/requests").send().await.unwrap());
    let listen = async || as_of(ana.call(Method::GET, "/events").send().await.unwrap());

    // Nothing happens between the list and the stream: nothing was missed.
    let before = read().await;
    assert!(before.is_some());
    assert_eq!((&read().await, &listen().await), (&before, &before));

    // Whoever's it is: the list may be another by then.
    let (_, asked) = frank.post("/requests", json!({ "resource": "build-1", "role": "shell", "reason": "x" })).await;
    assert!(asked["request"]["id"].is_string(), "{asked}");
    let after = listen().await;
    assert_ne!(after, before);
    assert_eq!(read().await, after);

    // How busy a gate is, is no stranger's business.
    let stranger = async |path: &str| as_of(served.call(Method::GET, path).bearer_auth("tg_guessed").send().await.unwrap());
    assert_eq!((stranger("/api/v1/gate").await, stranger("/api/v1/requests").await, stranger("/healthz").await), (None, None, None));
}
