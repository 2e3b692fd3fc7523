//! Mails to whoever has a duty: who comes on call is asked then, and who owes a review is told.

use std::time::Duration;

use access::outbox::OutboxState;
use access::request::{RequestRow, RequestState};
use notify::oncall::Kind as Pager;
use testkit::gate::{TestGate, ask};
use testkit::mail::{Kind, Mail};
use testkit::on_call::OnCallServer;

use crate::mailing::{Post, address, serve};
use crate::on_call::{gate as gate_by_pager, policy as pager_policy, serve as serve_pager};

// covers: OK-6 (mail), C8 (mail)
#[tokio::test]
async fn who_is_on_call_is_asked_once_that_is_known_and_so_is_whoever_takes_over() {
    let pager = OnCallServer::pagerduty().unwrap();
    let (ben, carla) = ([("PPAY", 1, "PBEN", "ben@example.com")], [("PPAY", 1, "PCARLA", "carla@example.com")]);
    pager.on_call(&ben);
    let post = Post::start_with(gate_by_pager(&pager, Pager::PagerDuty, &[pager_policy("PPAY")], "").await, Kind::Tls).await;
    post.mailbox("ben").await;
    post.mailbox("carla").await;
    let asked = |post: &Post, name: &str, request: &RequestRow| {
        let about = format!("<{}@tide.example>", request.id);
        post.server.to(&address(name)).iter().filter(|mail| mail.header("References") == about && mail.code("decide").is_some()).count()
    };
    // Asked while nobody knows who is on call.
    let request = post.asked("db-1").await;
    assert_eq!((asked(&post, "ben", &request), asked(&post, "carla", &request)), (0, 0));
    post.t.gate.refresh_on_call().await;
    post.t.gate.deliver_all().await;
    assert_eq!((asked(&post, "ben", &request), asked(&post, "carla", &request)), (1, 0));
    // Carla takes over, and Ben again: each is asked once.
    for (on_call, wanted) in [(&carla, (1, 1)), (&ben, (1, 1))] {
        pager.on_call(on_call);
        post.t.gate.refresh_on_call().await;
        post.t.gate.deliver_all().await;
        assert_eq!((asked(&post, "ben", &request), asked(&post, "carla", &request)), wanted);
    }
    // A mail waits for its server, and the gate starts anew: the source has not said yet whom it concerns.
    post.server.down(true);
    let second = post.asked("web-1").await;
    let post = Post { t: post.t.restart().await.unwrap(), ..post };
    serve(&post.t, &post.server, post.kind);
    serve_pager(&post.t, &pager, Pager::PagerDuty, &[pager_policy("PPAY")]);
    post.server.down(false);
    post.pass(Duration::from_secs(60)).await;
    assert_eq!(asked(&post, "ben", &second), 0);
    let waits = post.messages().await.into_iter().find(|row| row.lane.starts_with(&format!("{} ", second.id))).unwrap();
    assert!(
        waits.state == OutboxState::Waiting && waits.error.as_deref().is_some_and(|why| why.contains("has not been asked")),
        "{waits:?}"
    );
    post.t.gate.refresh_on_call().await;
    post.pass(Duration::from_secs(60)).await;
    assert_eq!((asked(&post, "ben", &second), asked(&post, "carla", &second), asked(&post, "ben", &request)), (1, 0, 1));
    assert_eq!(post.decide(&post.code("ben", &second), None, true).await.unwrap(), RequestState::Approved);
}

// covers: OK-6 (mail)
#[tokio::test]
async fn who_comes_on_duty_by_a_rotation_of_the_policy_is_asked_then_and_so_is_whom_another_policy_names() {
    let t = TestGate::start().await.unwrap();
    let with = async |t: &TestGate, rotation: &str| {
        let mut files = t.gate.bundle().files().clone();
        let people = String::from_utf8(files["people.toml"].clone()).unwrap();
        let (before, rest) = people.split_once("[[on_call]]\nname = \"payments\"\n").unwrap();
        let (_, after) = rest.split_once("[[on_call]]").unwrap();
        let people = format!("{before}[[on_call]]\nname = \"payments\"\n{rotation}\n[[on_call]]{after}");
        files.insert("people.toml".into(), people.into_bytes());
        let approvals = String::from_utf8(files["approvals.toml"].clone()).unwrap();
        let seats = "seats = [\"on-call:payments\", \"on-call:platform\", \"leads\"]\ntimeout = \"30m\"\nescalate_to = \"security\"\n";
        files.insert("approvals.toml".into(), approvals.replace(seats, "seats = [\"on-call:payments\"]\n").into_bytes());
        t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    };
    // It is noon: Ben has an hour to go, then it is Carla's turn.
    with(&t, "time_zone = \"UTC\"\npeople = [\"ben\", \"carla\"]\nstarts = 2026-03-02T09:00\nevery = \"4h\"\n").await;
    let post = Post::start_with(t, Kind::Tls).await;
    for name in ["ben", "carla", "dan"] {
        post.mailbox(name).await;
    }
    let request = post.asked("db-1").await;
    let asked = || {
        let about = format!("<{}@tide.example>", request.id);
        let is_one = |mail: &&Mail| mail.header("References") == about && mail.code("decide").is_some();
        ["ben", "carla", "dan"].map(|name| post.server.to(&address(name)).iter().filter(is_one).count())
    };
    assert_eq!(asked(), [1, 0, 0], "{:?}", post.server.refused());
    post.pass(Duration::from_secs(3_599)).await;
    assert_eq!(asked(), [1, 0, 0]);
    post.pass(Duration::from_secs(1)).await;
    assert_eq!(asked(), [1, 1, 0]);
    // Whoever has that mail gets no second one when it is their turn again.
    post.pass(Duration::from_secs(4 * 3_600)).await;
    assert_eq!(asked(), [1, 1, 0]);
    with(&post.t, "people = [\"dan\"]\n").await;
    post.t.gate.deliver_all().await;
    assert_eq!(asked(), [1, 1, 1]);
    // After a change each is asked about what is asked now, once, and only those on duty.
    let mut wish = ask("db-1", "debug");
    wish.reason = Some("the orders table".into());
    post.t.gate.edit(post.t.person("ana"), request.id, wish).await.unwrap();
    post.pass(Duration::from_secs(4 * 3_600)).await;
    assert_eq!(asked(), [1, 1, 2]);
}

// covers: BACK-1 (mail), GRANT-9 (mail)
#[tokio::test]
async fn who_owes_a_review_is_told_of_the_emergency_reminded_once_and_others_when_it_is_overdue() {
    let post = Post::start(Kind::Tls).await;
    for name in ["ben", "carla", "dan", "eve"] {
        post.mailbox(name).await;
    }
    let mut wish = ask("db-1", "shell");
    wish.break_glass = true;
    post.t.gate.submit(post.t.person("ben"), wish).await.unwrap();
    let told = async |post: &Post| {
        post.t.gate.deliver_all().await;
        let of =
            |name: &str| post.server.to(&address(name)).iter().filter(|mail| mail.header("Subject").starts_with("Review: ben")).count();
        [of("carla"), of("dan"), of("ben"), of("eve")]
    };
    assert_eq!(told(&post).await, [1, 0, 0, 0], "{:?}", post.server.refused());
    let mail = post.server.to(&address("carla")).pop().unwrap();
    assert!(mail.text.contains("An emergency of ben, shell on db-1, is to be reviewed") && mail.text.contains("/inbox"), "{}", mail.text);
    post.t.pass(Duration::from_secs(18 * 3600)).await;
    assert_eq!(told(&post).await, [2, 0, 0, 0], "three quarters of its time are over");
    post.t.pass(Duration::from_secs(3600)).await;
    assert_eq!(told(&post).await, [2, 0, 0, 0], "once");
    // Overdue: administrators may answer it, too.
    post.t.pass(Duration::from_secs(6 * 3600)).await;
    assert_eq!(told(&post).await, [3, 1, 0, 0]);
    // Answered before its mail went out: nobody is told that it is owed.
    let mut wish = ask("web-1", "shell");
    wish.break_glass = true;
    let review = post.t.gate.store().open_reviews_about(post.t.person("ben").who.id()).await.unwrap().remove(0);
    post.t.gate.complete_review(post.t.person("carla"), review.id, access::review::ReviewOutcome::Justified).await.unwrap();
    post.t.gate.submit(post.t.person("ben"), wish).await.unwrap();
    let review = post.t.gate.store().open_reviews_about(post.t.person("ben").who.id()).await.unwrap().remove(0);
    post.t.gate.complete_review(post.t.person("carla"), review.id, access::review::ReviewOutcome::Justified).await.unwrap();
    assert_eq!(told(&post).await, [3, 1, 0, 0]);
}
