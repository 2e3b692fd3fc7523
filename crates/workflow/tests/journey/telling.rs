//! Endpoints outside are told of what happens: signed, once taken never again, and sooner or later whatever is in the way.

use std::time::Duration;

use access::approval::Decision::Approve;
use access::outbox::OutboxState;
use access::reason::Reason;
use access::secret::Secret;
use notify::http::Reach;
use notify::webhook::Endpoint;
use store::{OutboxFilter, OutboxRow, Page};
use testkit::gate::{TestGate, ask, monday_noon};
use testkit::web::Reply;
use testkit::webhooks::Receiver;
use tidegate_workflow::outbox::{Destinations, KeptSecret, Webhook};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDAAAA";

fn webhook(name: &str, url: &str, events: &[&str], old: bool) -> Webhook {
    let reach = Reach { addresses: vec!["127.0.0.1".parse().unwrap()], roots: None };
    Webhook {
        name: name.into(),
        events: events.iter().map(|event| event.parse().unwrap()).collect(),
        secret: KeptSecret::Sealed("siem-hook".parse().unwrap()),
        old_secret: old.then(|| KeptSecret::Sealed("siem-old".parse().unwrap())),
        endpoint: Endpoint::new(url, &reach).unwrap(),
    }
}

async fn set(t: &TestGate, name: &str, value: &str) {
    t.gate.set_secret(t.person("admin"), name.parse().unwrap(), Secret::new(value.to_owned())).await.unwrap();
}

/// A gate that tells a receiver of these events.
async fn telling(events: &[&str]) -> (TestGate, Receiver) {
    let t = TestGate::start().await.unwrap();
    set(&t, "siem-hook", SECRET).await;
    let receiver = Receiver::start(&[SECRET], monday_noon().as_second()).unwrap();
    serve(&t, &receiver, events, false);
    (t, receiver)
}

fn serve(t: &TestGate, receiver: &Receiver, events: &[&str], old: bool) {
    let webhooks = vec![webhook("siem", &receiver.url, events, old)];
    t.gate.serve_outbox(Destinations { webhooks, slack: None, teams: None, mail: None, portal: "https://gate.example.com".into() });
}

async fn pass(t: &TestGate, receiver: &Receiver, time: Duration) {
    t.time.advance(time);
    receiver.at(t.gate.now().as_second());
    t.gate.deliver_all().await;
}

async fn messages(t: &TestGate) -> Vec<OutboxRow> {
    t.gate.store().outbox(&OutboxFilter::default(), &Page::default()).await.unwrap()
}

#[tokio::test]
async fn what_happens_is_told_signed_and_in_the_words_of_the_log() {
    let (t, receiver) = telling(&["request.*"]).await;
    let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    t.gate.vote(t.person("ben"), request.id, Approve, Some("go ahead".into())).await.unwrap();
    assert!(receiver.taken().is_empty(), "nothing is sent while somebody waits for an answer");
    t.gate.deliver_all().await;
    // Several are on their way at once; when what they tell of happened, they say themselves.
    let taken = receiver.taken();
    let mut kinds: Vec<_> = taken.iter().map(|message| message.body["type"].as_str().unwrap().to_owned()).collect();
    kinds.sort();
    assert_eq!(kinds, ["request.approved", "request.submitted", "request.voted"], "{:?}", receiver.refused());
    let first = &taken.iter().find(|message| message.body["type"] == "request.submitted").unwrap().body;
    assert_eq!(first["data"]["request"], request.id.to_string());
    assert_eq!(first["data"]["actor"]["name"], "ana");
    assert_eq!(first["data"]["texts"]["reason"], "checking a slow query");
    assert_eq!(first["timestamp"], "2026-03-02T12:00:00Z");
    assert!(taken.iter().all(|message| message.id.starts_with("dlv_")));
    assert!(messages(&t).await.iter().all(|row| row.state == OutboxState::Delivered && row.attempts == 1));
    t.gate.deliver_all().await;
    assert_eq!(receiver.calls(), 3, "what was taken is not sent again");
}

#[tokio::test]
async fn a_receiver_that_is_away_gets_everything_later_under_the_same_ids() {
    let (t, receiver) = telling(&["request.submitted"]).await;
    t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap();
    receiver.troubled(vec![
        Reply::status(500),
        Reply::status(429).with("retry-after", 120),
        Reply::status(302).with("location", "http://127.0.0.1:1/"),
    ]);
    t.gate.deliver_all().await;
    let row = messages(&t).await.remove(0);
    assert_eq!((row.state, row.error.as_deref()), (OutboxState::Waiting, Some("it answered with HTTP 500")));
    pass(&t, &receiver, Duration::from_secs(4)).await;
    assert_eq!(receiver.calls(), 1, "not before five seconds are over");
    pass(&t, &receiver, Duration::from_secs(1)).await;
    assert_eq!(receiver.calls(), 2);
    pass(&t, &receiver, Duration::from_secs(119)).await;
    assert_eq!(receiver.calls(), 2, "it asked for two minutes");
    pass(&t, &receiver, Duration::from_secs(1)).await;
    assert_eq!(receiver.calls(), 3);
    let why = messages(&t).await.remove(0).error.unwrap();
    assert!(why.contains("HTTP 302") && why.contains("followed"), "{why}");
    pass(&t, &receiver, Duration::from_secs(600)).await;
    let taken = receiver.taken();
    assert_eq!((taken.len(), taken[0].id.as_str()), (1, row.id.to_string().as_str()));
}

#[tokio::test]
async fn what_nobody_takes_for_three_days_is_given_up_listed_and_sent_again_by_hand() {
    let (t, receiver) = telling(&["request.submitted"]).await;
    let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    receiver.troubled((0..200).map(|_| Reply::status(503)).collect());
    for _ in 0..100 {
        pass(&t, &receiver, Duration::from_secs(3600)).await;
    }
    let row = messages(&t).await.remove(0);
    assert_eq!(row.state, OutboxState::Dead);
    assert!(row.attempts > 10 && receiver.taken().is_empty());
    assert!(t.entries().await.unwrap().contains(&"delivery.abandoned".to_owned()));
    assert_eq!(t.gate.replay_message(t.person("ana"), row.id).await.unwrap_err().reason, Reason::NotAllowed);
    receiver.troubled(Vec::new());
    let again = t.gate.replay_message(t.person("admin"), row.id).await.unwrap();
    assert_eq!((again.id, again.state), (row.id, OutboxState::Waiting));
    assert_eq!(t.gate.replay_message(t.person("admin"), row.id).await.unwrap_err().reason, Reason::AlreadyDecided);
    t.gate.deliver_all().await;
    let taken = receiver.taken();
    assert_eq!(taken[0].id, row.id.to_string());
    assert_eq!(taken[0].body["data"]["request"], request.id.to_string());
    assert!(t.entries().await.unwrap().contains(&"delivery.replayed".to_owned()));
}

#[tokio::test]
async fn a_crash_between_keeping_and_sending_loses_nothing() {
    let (t, receiver) = telling(&["request.submitted", "review.opened"]).await;
    t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap();
    let before = messages(&t).await.remove(0);
    // Taken to be sent, and then the process ends: whether it was sent nobody knows.
    let now = t.gate.now();
    let claimed =
        t.gate.store().claim_outbox("webhook:siem", "gone", now, now.checked_add(Duration::from_secs(60)).unwrap(), 8).await.unwrap();
    assert_eq!(claimed.len(), 1);
    let t = t.restart().await.unwrap();
    serve(&t, &receiver, &["request.submitted", "review.opened"], false);
    t.gate.deliver_all().await;
    assert!(receiver.taken().is_empty(), "it may be on its way still");
    pass(&t, &receiver, Duration::from_secs(61)).await;
    let taken = receiver.taken();
    assert_eq!((taken.len(), taken[0].id.as_str()), (1, before.id.to_string().as_str()), "under the id it had");
}

// covers: C8 (api)
#[tokio::test]
async fn an_emergency_is_told_and_its_review_opened_when_nobody_can_be_told() {
    let (t, receiver) = telling(&["request.approved", "review.opened", "grant.created"]).await;
    receiver.troubled((0..10).map(|_| Reply::status(503)).collect());
    let mut wish = ask("db-1", "shell");
    wish.break_glass = true;
    wish.reason = Some("checkout is down".into());
    let submitted = t.gate.submit(t.person("ben"), wish).await.unwrap();
    let grant = submitted.grant.expect("an emergency waits for nobody");
    t.gate.deliver_all().await;
    assert!(receiver.taken().is_empty());
    let reviews = t.gate.store().open_reviews_about(t.person("ben").who.id()).await.unwrap();
    assert!(reviews.iter().any(|review| review.grant == grant.id));
    receiver.troubled(Vec::new());
    pass(&t, &receiver, Duration::from_secs(60)).await;
    let kinds: Vec<_> = receiver.taken().iter().map(|message| message.body["type"].as_str().unwrap().to_owned()).collect();
    assert!(kinds.contains(&"review.opened".to_owned()) && kinds.contains(&"grant.created".to_owned()), "{kinds:?}");
}

#[tokio::test]
async fn a_key_is_replaced_while_the_receiver_knows_either() {
    let t = TestGate::start().await.unwrap();
    set(&t, "siem-hook", OTHER).await;
    set(&t, "siem-old", SECRET).await;
    let receiver = Receiver::start(&[SECRET], monday_noon().as_second()).unwrap();
    serve(&t, &receiver, &["request.submitted"], true);
    t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap();
    t.gate.deliver_all().await;
    assert_eq!(receiver.taken().len(), 1, "it knows the old one: {:?}", receiver.refused());
    receiver.knows(&[OTHER]);
    t.gate.submit(t.person("ana"), ask("web-1", "debug")).await.unwrap();
    t.gate.deliver_all().await;
    assert_eq!(receiver.taken().len(), 2, "it knows the new one: {:?}", receiver.refused());
    receiver.knows(&["whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]);
    t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap();
    t.gate.deliver_all().await;
    assert_eq!((receiver.taken().len(), receiver.refused()), (2, vec!["the signature is wrong".to_owned()]));
}

#[tokio::test]
async fn what_waits_for_somebody_who_is_not_configured_any_more_is_given_up_and_comes_if_they_are_again() {
    let (t, receiver) = telling(&["request.submitted"]).await;
    t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap();
    let t = t.restart().await.unwrap();
    t.gate.serve_outbox(Destinations::default());
    for _ in 0..100 {
        pass(&t, &receiver, Duration::from_secs(3600)).await;
    }
    let row = messages(&t).await.remove(0);
    assert_eq!((row.state, receiver.calls()), (OutboxState::Dead, 0));
    assert!(row.error.as_deref().is_some_and(|why| why.contains("not in the configuration")), "{:?}", row.error);
    let t = t.restart().await.unwrap();
    serve(&t, &receiver, &["request.submitted"], false);
    t.gate.replay_message(t.person("admin"), row.id).await.unwrap();
    t.gate.deliver_all().await;
    assert_eq!(receiver.taken().len(), 1, "{:?}", receiver.refused());
}

#[tokio::test]
async fn without_its_secret_a_message_waits_and_says_so() {
    let t = TestGate::start().await.unwrap();
    let receiver = Receiver::start(&[SECRET], monday_noon().as_second()).unwrap();
    serve(&t, &receiver, &["request.submitted"], false);
    t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap();
    t.gate.deliver_all().await;
    let row = messages(&t).await.remove(0);
    assert_eq!((row.state, receiver.calls()), (OutboxState::Waiting, 0));
    assert!(row.error.as_deref().is_some_and(|why| why.contains("tidegate secret set siem-hook")), "{:?}", row.error);
    set(&t, "siem-hook", SECRET).await;
    pass(&t, &receiver, Duration::from_secs(5)).await;
    assert_eq!(receiver.taken().len(), 1);
}
