//! Tickets: their trackers are asked at asking, at each yes and when the clock starts; what they do not say opens nothing.

use std::time::Duration;

use access::approval::Decision::{Approve, Deny};
use access::grant::GrantState;
use access::reason::Reason;
use access::request::{AccessRequest, RequestState};
use access::session::Protocol;
use notify::http::Reach;
use notify::oncall::TokenFrom;
use notify::tickets::{Kind, Tracker, TrackerClient};
use serde_json::json;
use testkit::gate::{TestGate, ask};
use testkit::tracker::{TOKEN, TrackerServer, USER};
use testkit::web::Reply;
use tidegate_workflow::knock::{Given, Knocked};
use tidegate_workflow::outbox::Destinations;

/// A gate whose production wants an open ticket, and the three trackers it knows.
async fn gate(server: &TrackerServer, rule: &str) -> TestGate {
    let t = TestGate::start().await.unwrap();
    let mut files = t.gate.bundle().files().clone();
    let tiers = String::from_utf8(files["tiers.toml"].clone()).unwrap();
    let changed = tiers.replacen("approvals = [\"on-call-or-lead\"]\n", &format!("approvals = [\"on-call-or-lead\"]\n{rule}"), 1);
    assert_ne!(tiers, changed);
    files.insert("tiers.toml".into(), changed.into_bytes());
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    let file = t.dir().join("tracker.token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let tracker = |name: &str, kind, url: String, of: &str| Tracker {
        name: name.parse().unwrap(),
        kind,
        url,
        of: vec![of.to_owned()],
        user: (kind == Kind::Jira).then(|| USER.to_owned()),
        token: TokenFrom::File(file.clone()),
        pointer: "/result/state".into(),
        id_pointer: None,
        open: vec!["implement".into()],
        page: None,
        reach: Reach { addresses: vec!["127.0.0.1".parse().unwrap()], roots: None },
    };
    let all = [
        tracker("jira", Kind::Jira, server.url.clone(), "OPS"),
        tracker("github", Kind::GitHub, server.url.clone(), "acme/shop"),
        tracker("changes", Kind::Json, format!("{}/api/changes/{{id}}", server.url), "CHG"),
    ];
    t.gate.serve_trackers(all.into_iter().map(|tracker| (tracker.clone(), TrackerClient::new(&tracker).unwrap())).collect());
    t
}

fn with(ticket: &str) -> AccessRequest {
    AccessRequest { ticket: Some(ticket.into()), ..ask("db-1", "debug") }
}

// covers: ASK-5 (api)
#[tokio::test]
async fn an_open_ticket_goes_through_and_a_closed_one_does_not() {
    let server = TrackerServer::start().unwrap();
    server.jira("OPS-1", "In Progress", "indeterminate");
    server.jira("OPS-2", "Done", "done");
    let t = gate(&server, "ticket = \"open\"\n").await;
    let none = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap_err();
    assert_eq!(none.reason, Reason::TicketRequired);
    let closed = t.gate.submit(t.person("ana"), with("OPS-2")).await.unwrap_err();
    assert_eq!(closed.reason, Reason::TicketNotOpen);
    assert!(closed.to_string().contains("`OPS-2` is `Done`"), "{closed}");
    assert_eq!(t.entries().await.unwrap().last().map(String::as_str), Some("request.refused"));
    let request = t.gate.submit(t.person("ana"), with("OPS-1")).await.unwrap().request;
    let grant = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap().grant.unwrap();
    t.gate.activate(t.person("ana"), grant.id).await.unwrap();
    assert_eq!(server.calls().len(), 4, "closed, open at asking, at the yes, and when the clock starts: {:?}", server.calls());
}

// covers: ASK-5 (api)
#[tokio::test]
async fn who_is_shut_out_while_a_tracker_thinks_has_asked_for_nothing() {
    let server = TrackerServer::start().unwrap();
    server.jira("OPS-1", "In Progress", "indeterminate");
    let t = gate(&server, "ticket = \"open\"\n").await;
    let (ana, admin) = (t.person("ana"), t.person("admin"));
    let fine = t.gate.submit(ana, with("OPS-1")).await.unwrap().request;
    t.gate.cancel(ana, fine.id).await.unwrap();
    server.slow(Some(Duration::from_secs(5)));
    let (asked, disabled) = tokio::join!(t.gate.submit(ana, with("OPS-1")), t.gate.disable(admin, ana.who.id(), None));
    disabled.unwrap();
    assert_eq!(asked.unwrap_err().reason, Reason::Disabled);
    assert_eq!(t.gate.store().pending_requests().await.unwrap(), []);
}

// covers: ASK-3, C5 (ssh)
#[tokio::test]
async fn who_asks_in_the_very_moment_of_a_yes_comes_in_and_asks_nobody_again() {
    let server = TrackerServer::start().unwrap();
    server.jira("OPS-1", "In Progress", "indeterminate");
    let t = gate(&server, "ticket = \"open\"\n").await;
    let (ana, ben) = (t.person("ana"), t.person("ben"));
    let to = "db-1+debug".parse().unwrap();
    let given = || Given { reason: Some("looking".into()), ticket: Some("OPS-1".into()), ..Given::default() };
    // With no yes meanwhile, it becomes a request.
    let Knocked::Waiting(first) = t.gate.knock_with(ana, &to, given(), Protocol::Ssh).await.unwrap() else { panic!("people are asked") };
    t.gate.cancel(ana, first).await.unwrap();

    // Nothing was open when it was looked; while the tracker thinks, she asks elsewhere and Ben agrees.
    let held = server.hold();
    let (knocked, grant) = tokio::join!(t.gate.knock_with(ana, &to, given(), Protocol::Ssh), async {
        let go = held.came().await;
        let request = t.gate.submit(ana, with("OPS-1")).await.unwrap().request;
        let grant = t.gate.vote(ben, request.id, Approve, None).await.unwrap().grant.unwrap();
        drop(go);
        grant
    });
    let knocked = knocked.unwrap();
    assert!(matches!(&knocked, Knocked::Open(opened) if opened.permit.facts().grant == grant.id), "{knocked:?}");
    assert_eq!(t.gate.store().pending_requests().await.unwrap(), []);
}

// covers: ASK-5, OK-4 (api)
#[tokio::test]
async fn a_ticket_that_is_closed_meanwhile_lets_nobody_agree_and_starts_no_clock() {
    let server = TrackerServer::start().unwrap();
    server.jira("OPS-1", "In Progress", "indeterminate");
    let t = gate(&server, "ticket = \"open\"\n").await;
    let request = t.gate.submit(t.person("ana"), with("OPS-1")).await.unwrap().request;
    server.jira("OPS-1", "Done", "done");
    let refusal = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::TicketNotOpen);
    assert_eq!(t.entries().await.unwrap().last().map(String::as_str), Some("vote.refused"));
    assert_eq!(t.gate.store().request(request.id).await.unwrap().unwrap().state, RequestState::Pending, "nothing is decided by that");
    server.jira("OPS-1", "In Progress", "indeterminate");
    let grant = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap().grant.unwrap();

    server.jira("OPS-1", "Done", "done");
    let refusal = t.gate.activate(t.person("ana"), grant.id).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::TicketNotOpen);
    let (db, debug) = ("db-1".parse().unwrap(), "debug".parse().unwrap());
    let refusal = t.gate.open(t.person("ana"), &db, &debug, Protocol::Ssh).await.err().unwrap();
    assert_eq!(refusal.reason, Reason::TicketNotOpen);
    assert_eq!(t.gate.store().grant(grant.id).await.unwrap().unwrap().state, GrantState::Ready);
    server.jira("OPS-1", "In Progress", "indeterminate");
    t.gate.open(t.person("ana"), &db, &debug, Protocol::Ssh).await.expect("it is open again");

    // Once the clock runs, the ticket is not asked again; the end comes when it was meant to, whatever the tracker does.
    server.down(true);
    let asked = server.calls().len();
    assert!(t.gate.redecide_all().await.is_empty());
    t.gate.open(t.person("ana"), &db, &debug, Protocol::Ssh).await.expect("the grant is active");
    t.pass(Duration::from_secs(61 * 60)).await;
    assert_eq!(t.gate.store().grant(grant.id).await.unwrap().unwrap().state, GrantState::Ended);
    assert_eq!(server.calls().len(), asked);
    // Who says no waits for no tracker.
    server.down(false);
    let other = t.gate.submit(t.person("ana"), with("OPS-1")).await.unwrap().request;
    server.down(true);
    t.gate.vote(t.person("ben"), other.id, Deny, None).await.expect("a no needs no ticket");
}

// covers: ASK-5 (api)
#[tokio::test]
async fn a_state_can_be_asked_for_by_name_and_every_tracker_has_its_way() {
    let server = TrackerServer::start().unwrap();
    let t = gate(&server, "ticket = \"open\"\nticket_states = [\"Implementing\", \"approved\", \"implement\"]\n").await;
    server.jira("OPS-1", "To Do", "new");
    server.jira("OPS-2", "Implementing", "indeterminate");
    server.github("acme/shop", 1, "open", &["bug"]);
    server.github("acme/shop", 2, "open", &["bug", "Approved"]);
    server.github("acme/shop", 3, "closed", &["approved"]);
    server.json("/api/changes/CHG001", json!({ "result": { "state": "assess" } }));
    server.json("/api/changes/CHG002", json!({ "result": { "state": "implement" } }));
    for wrong in ["OPS-1", "#1", "acme/shop#3", "CHG001"] {
        let refusal = t.gate.submit(t.person("ana"), with(wrong)).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::TicketNotOpen, "{wrong}: {refusal}");
    }
    for right in ["OPS-2", "#2", "acme/shop#2", "CHG002"] {
        let request = t.gate.submit(t.person("ana"), with(right)).await.unwrap_or_else(|refusal| panic!("{right}: {refusal}")).request;
        t.gate.cancel(t.person("ana"), request.id).await.unwrap();
    }
}

// covers: ASK-5 (api)
#[tokio::test]
async fn what_is_no_ticket_is_asked_of_nobody() {
    let server = TrackerServer::start().unwrap();
    server.jira("OPS-1", "In Progress", "indeterminate");
    let t = gate(&server, "ticket = \"open\"\n").await;
    t.gate.submit(t.person("ana"), with("OPS-1")).await.expect("this is one");
    let asked = server.calls().len();
    for odd in [
        "OPS-1/../../user",
        "OPS-1?expand=all",
        "OTHER-1",
        "acme/other#1",
        "CHG001/x",
        "see the chat",
        "OPS-1\nOPS-2",
        "https://evil.example/OPS-1",
    ] {
        let refusal = t.gate.submit(t.person("ana"), with(odd)).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::TicketNotOpen, "{odd}");
        assert!(refusal.to_string().contains("is no ticket like `OPS-123` or `acme/shop#123` or `CHG123`"), "{refusal}");
    }
    assert_eq!(server.calls().len(), asked);
    let refusal = t.gate.submit(t.person("ana"), with("OPS-404")).await.unwrap_err();
    assert!(refusal.reason == Reason::TicketNotOpen && refusal.to_string().contains("knows no such ticket"), "{refusal}");
}

// covers: ASK-5 (api)
#[tokio::test]
async fn a_tracker_that_does_not_say_is_told_in_words_and_opens_nothing() {
    let server = TrackerServer::start().unwrap();
    server.jira("OPS-1", "In Progress", "indeterminate");
    let t = gate(&server, "ticket = \"open\"\n").await;
    let text = |body: &str| Reply { status: 200, headers: Vec::new(), body: body.to_owned() };
    let moved = json!({ "key": "NEW-7", "fields": { "status": { "name": "Open", "statusCategory": { "key": "new" } } } });
    let odd = json!({ "key": "OPS-1", "fields": { "status": { "name": "Open", "statusCategory": { "key": "undefined" } } } });
    for (reply, reason, wanted) in [
        (Reply::status(500), Reason::TrackerUnreachable, "HTTP 500"),
        (Reply::status(401), Reason::TrackerUnreachable, "does not take the gate's token"),
        (Reply::status(403), Reason::TrackerUnreachable, "HTTP 403"),
        (Reply::status(429), Reason::TrackerUnreachable, "less often"),
        (Reply::status(301).with("location", "https://evil.example/"), Reason::TicketNotOpen, "has moved"),
        (Reply::status(404), Reason::TicketNotOpen, "knows no such ticket"),
        (text("<html>"), Reason::TrackerUnreachable, "cannot be read"),
        (text("{}"), Reason::TrackerUnreachable, "cannot be read"),
        (Reply::json(&moved), Reason::TicketNotOpen, "is `NEW-7` now"),
        (Reply::json(&odd), Reason::TrackerUnreachable, "of no category"),
    ] {
        server.trouble([reply]);
        let refusal = t.gate.submit(t.person("ana"), with("OPS-1")).await.unwrap_err();
        assert_eq!(refusal.reason, reason, "{refusal}");
        assert!(refusal.to_string().contains(wanted), "{refusal}");
    }
    // A pull request is no issue.
    server.json("/repos/acme/shop/issues/9", json!({ "number": 9, "state": "open", "labels": [], "pull_request": { "url": "x" } }));
    let refusal = t.gate.submit(t.person("ana"), with("#9")).await.unwrap_err();
    assert!(refusal.to_string().contains("is a pull request"), "{refusal}");
    // Its token is gone, or another's.
    std::fs::write(t.dir().join("tracker.token"), "another").unwrap();
    let refusal = t.gate.submit(t.person("ana"), with("OPS-1")).await.unwrap_err();
    assert!(refusal.reason == Reason::TrackerUnreachable && refusal.to_string().contains("HTTP 401"), "{refusal}");
    std::fs::remove_file(t.dir().join("tracker.token")).unwrap();
    let refusal = t.gate.submit(t.person("ana"), with("OPS-1")).await.unwrap_err();
    assert!(refusal.reason == Reason::TrackerUnreachable && refusal.to_string().contains("cannot be read"), "{refusal}");
    std::fs::write(t.dir().join("tracker.token"), TOKEN).unwrap();
    t.gate.submit(t.person("ana"), with("OPS-1")).await.expect("and all is well again");
}

// covers: ASK-5, GRANT-9 (api)
#[tokio::test]
async fn an_emergency_waits_for_no_tracker_unless_its_tier_says_so() {
    let server = TrackerServer::start().unwrap();
    server.down(true);
    let t = gate(&server, "ticket = \"open\"\n").await;
    let wish = AccessRequest { break_glass: true, ..ask("db-1", "shell") };
    t.gate.submit(t.person("ben"), wish.clone()).await.expect("at once").grant.expect("without a ticket");
    assert!(server.calls().is_empty());

    let t = gate(&server, "ticket = \"open\"\nticket_in_emergencies = true\n").await;
    let refusal = t.gate.submit(t.person("ben"), wish.clone()).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::TicketRequired);
    let wish = AccessRequest { ticket: Some("OPS-1".into()), ..wish };
    assert_eq!(t.gate.submit(t.person("ben"), wish.clone()).await.unwrap_err().reason, Reason::TrackerUnreachable);
    server.down(false);
    server.jira("OPS-1", "In Progress", "indeterminate");
    t.gate.submit(t.person("ben"), wish).await.unwrap().grant.expect("its incident is open");
}

// covers: ASK-5 (api)
#[tokio::test]
async fn an_edited_request_and_more_time_ask_again_and_without_trackers_nothing_opens() {
    let server = TrackerServer::start().unwrap();
    server.jira("OPS-1", "In Progress", "indeterminate");
    server.jira("OPS-2", "Done", "done");
    let t = gate(&server, "ticket = \"open\"\n").await;
    let request = t.gate.submit(t.person("ana"), with("OPS-1")).await.unwrap().request;
    let refusal = t.gate.edit(t.person("ana"), request.id, with("OPS-2")).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::TicketNotOpen);
    let grant = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap().grant.unwrap();
    t.gate.activate(t.person("ana"), grant.id).await.unwrap();
    server.jira("OPS-1", "Done", "done");
    let more = access::time::Span::minutes(30);
    let refusal = t.gate.extend(t.person("ana"), grant.id, more, Some("it is not done".into())).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::TicketNotOpen);
    server.jira("OPS-1", "In Progress", "indeterminate");
    t.gate.extend(t.person("ana"), grant.id, more, Some("it is not done".into())).await.expect("reopened");

    let bare = TestGate::start().await.unwrap();
    let mut files = bare.gate.bundle().files().clone();
    let tiers = String::from_utf8(files["tiers.toml"].clone()).unwrap().replacen(
        "record = \"content\"\n",
        "record = \"content\"\nticket = \"open\"\n",
        1,
    );
    files.insert("tiers.toml".into(), tiers.into_bytes());
    bare.gate.push_bundle(bare.person("dan"), files).await.unwrap();
    let refusal = bare.gate.submit(bare.person("ana"), with("OPS-1")).await.unwrap_err();
    assert!(refusal.to_string().contains("has no tracker to ask"), "{refusal}");
}

// covers: ASK-5 (api)
#[tokio::test]
async fn what_came_of_a_request_is_written_to_its_ticket_even_if_the_tracker_was_away() {
    let server = TrackerServer::start().unwrap();
    server.jira("OPS-1", "In Progress", "indeterminate");
    server.github("acme/shop", 7, "open", &[]);
    let t = gate(&server, "ticket = \"named\"\n").await;
    t.gate.serve_outbox(Destinations { portal: "https://gate.example.com".into(), ..Destinations::default() });
    let request = t.gate.submit(t.person("ana"), with("OPS-1")).await.unwrap().request;
    let grant = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap().grant.unwrap();
    server.down(true);
    t.gate.deliver_all().await;
    assert!(server.comments().is_empty());
    server.down(false);
    t.pass(Duration::from_secs(60)).await;
    t.gate.deliver_all().await;
    let comments = server.comments();
    let text = comments[0].1.to_string();
    assert_eq!((comments.len(), comments[0].0.as_str()), (1, "/rest/api/3/issue/OPS-1"));
    assert!(
        text.contains("ana to db-1+debug was approved by ben")
            && text.contains(&format!("https://gate.example.com/requests/{}", request.id)),
        "{text}"
    );
    t.gate.activate(t.person("ana"), grant.id).await.unwrap();
    t.gate.give_back(t.person("ana"), grant.id).await.unwrap();
    t.gate.deliver_all().await;
    let text = server.comments().last().unwrap().1.to_string();
    assert!(text.contains("is over (returned") && text.contains("Nobody connected on it."), "{text}");

    let other = t.gate.submit(t.person("ana"), with("#7")).await.unwrap().request;
    t.gate.vote(t.person("ben"), other.id, Deny, Some("no".into())).await.unwrap();
    // What belongs to no ticket of a tracker's is written nowhere.
    let loose = t.gate.submit(t.person("ana"), with("see the chat")).await.unwrap().request;
    t.gate.vote(t.person("ben"), loose.id, Deny, None).await.unwrap();
    // Nor is anything where no path wants a ticket, whatever somebody names.
    let unasked = AccessRequest { ticket: Some("OPS-1".into()), ..ask("build-1", "shell") };
    assert!(t.gate.submit(t.person("ana"), unasked).await.unwrap().grant.is_some());
    t.gate.deliver_all().await;
    let comments = server.comments();
    assert_eq!((comments.len(), comments[2].0.as_str()), (3, "/repos/acme/shop/issues/7"));
    assert!(comments[2].1["body"].as_str().unwrap().contains("was denied"), "{comments:?}");
}
