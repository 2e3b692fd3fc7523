//! Who is on call, told by sources outside: believed while it is fresh, entered in the log, and nobody's duty when it is not known.

use std::collections::BTreeMap;
use std::time::Duration;

use access::approval::Decision::Approve;
use access::reason::Reason;
use access::request::Door;
use access::time::Span;
use identity::scim::Directory;
use identity::scim::user::{Profile, User};
use jiff::tz::TimeZone;
use notify::http::Reach;
use notify::oncall::{Kind, Mapped, OnCallClient, Place, Source, TokenFrom};
use serde_json::json;
use testkit::gate::{HERE, TestGate, ask};
use testkit::on_call::{OnCallServer, TOKEN, pagerduty_on_call};
use testkit::web::Reply;
use tidegate_workflow::Caller;
use tidegate_workflow::history::ReachBy;

/// One service of a source, and everybody it could mean.
fn source(kind: Kind, server: &OnCallServer, token: TokenFrom, places: &[(Place, u32)]) -> Source {
    let people = [
        ("PBEN", "ben"),
        ("carla@example.com", "carla"),
        ("4a2f", "ben"),
        ("dan@example.com", "dan"),
        ("ben@example.com", "ben"),
        ("PBOT", "nobody-here"),
    ];
    let mapped = |(place, level): &(Place, u32)| Mapped { service: "payments".parse().unwrap(), place: place.clone(), level: *level };
    Source {
        name: "pager".parse().unwrap(),
        kind,
        url: if kind == Kind::ICalendar { String::new() } else { server.url.clone() },
        token,
        schedules: places.iter().map(mapped).collect(),
        people: people.into_iter().map(|(theirs, ours)| (theirs.to_owned(), ours.parse().unwrap())).collect(),
        directory: Some("corp".parse().unwrap()),
        refresh: Span::minutes(1),
        stale_after: Span::minutes(10),
        time_zone: Some(TimeZone::get("Europe/Berlin").unwrap()),
        organizers: Vec::new(),
        reach: Reach { addresses: vec!["127.0.0.1".parse().unwrap()], roots: None },
    }
}

/// A gate where only those on call for `payments` by a source approve, up to a level; the token is sealed in it.
pub(crate) async fn gate(server: &OnCallServer, kind: Kind, places: &[(Place, u32)], level: &str) -> TestGate {
    let t = TestGate::start().await.unwrap();
    kept_elsewhere(&t, level).await;
    let sealed: access::names::SecretName = "pager-token".parse().unwrap();
    t.gate.set_secret(t.person("dan"), sealed, access::secret::Secret::new(TOKEN.to_owned())).await.unwrap();
    serve(&t, server, kind, places);
    t
}

/// The gate asks this server who is on call, with the token sealed in it.
pub(crate) fn serve(t: &TestGate, server: &OnCallServer, kind: Kind, places: &[(Place, u32)]) {
    let source = source(kind, server, TokenFrom::Sealed("pager-token".parse().unwrap()), places);
    let client = OnCallClient::new(&source).unwrap();
    t.gate.serve_on_call(vec![(source, client)]);
}

async fn kept_elsewhere(t: &TestGate, level: &str) {
    let mut files = t.gate.bundle().files().clone();
    let mut edit = |file: &str, from: &str, to: &str| {
        let text = String::from_utf8(files[file].clone()).unwrap();
        assert!(text.contains(from), "{file}: {from}");
        files.insert(file.into(), text.replacen(from, to, 1).into_bytes());
    };
    edit(
        "people.toml",
        "name = \"payments\"\npeople = [\"ben\"]\n[[on_call.shift]]\nperson = \"ana\"\nfrom = 2028-12-24T18:00\nto = 2028-12-27T09:00\n",
        &format!("name = \"payments\"\nsource = \"pager\"\n{level}"),
    );
    edit(
        "approvals.toml",
        "seats = [\"on-call:payments\", \"on-call:platform\", \"leads\"]\ntimeout = \"30m\"\nescalate_to = \"security\"\n",
        "seats = [\"on-call:payments\"]\n",
    );
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
}

pub(crate) fn policy(id: &str) -> (Place, u32) {
    (Place::EscalationPolicy(id.into()), 1)
}

/// What is believed of `payments`: the names, or why it is not known.
async fn believed(t: &TestGate) -> Result<Vec<String>, String> {
    let duties = t.gate.duties(t.person("admin")).await.unwrap();
    let duty = duties.into_iter().find(|duty| duty.schedule.as_str() == "payments").unwrap();
    match duty.unknown {
        Some(why) => Err(why),
        None => Ok(duty.people.into_iter().map(|one| format!("{} {}", one.username, one.level.unwrap_or(0))).collect()),
    }
}

async fn changes(t: &TestGate) -> usize {
    t.entries().await.unwrap().iter().filter(|name| *name == "oncall.changed").count()
}

// covers: OK-6, OK-4, MAY-3 (api)
#[tokio::test]
async fn ben_may_approve_only_while_pagerduty_has_him_on_call() {
    let server = OnCallServer::pagerduty().unwrap();
    server.on_call(&[("PPAY", 1, "PBEN", "ben@example.com"), ("POTHER", 1, "PDAN", "dan@example.com")]);
    let t = gate(&server, Kind::PagerDuty, &[policy("PPAY")], "").await;
    let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;

    // Nothing was asked yet: nobody is on call, and who asks and who would agree are told why.
    let refusal = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap_err();
    assert!(matches!(refusal.reason, Reason::NotApprover | Reason::NotFound), "{refusal}");
    let waits = t.gate.duties_for(t.person("ana"), &request).await.unwrap();
    assert!(waits[0].unknown.as_deref().unwrap().contains("has not been asked"), "{waits:?}");

    t.gate.refresh_on_call().await;
    assert_eq!(believed(&t).await.unwrap(), ["ben 1"]);
    let waits = t.gate.duties_for(t.person("ana"), &request).await.unwrap();
    assert_eq!((waits[0].people[0].username.as_str(), waits[0].unknown.as_deref()), ("ben", None));
    assert!(t.gate.can_decide(t.person("ben"), &request).await.unwrap());

    // He hands over: the next look takes it from him, and Carla has it, by her address in capitals.
    server.on_call(&[("PPAY", 1, "PCARLA", "Carla@Example.com")]);
    t.gate.refresh_on_call().await;
    let refusal = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap_err();
    assert!(matches!(refusal.reason, Reason::NotApprover | Reason::NotFound), "{refusal}");
    let voted = t.gate.vote(t.person("carla"), request.id, Approve, None).await.unwrap();
    assert!(voted.grant.is_some());
    assert_eq!(changes(&t).await, 2, "each change is entered, and a look that changes nothing is not");
    t.gate.refresh_on_call().await;
    assert_eq!(changes(&t).await, 2);
}

// covers: OK-6 (api)
#[tokio::test]
async fn a_level_that_policy_does_not_count_is_not_on_call() {
    let server = OnCallServer::pagerduty().unwrap();
    server.on_call(&[("PPAY", 1, "PCARLA", "carla@example.com"), ("PPAY", 2, "PBEN", "ben@example.com")]);
    let t = gate(&server, Kind::PagerDuty, &[policy("PPAY")], "level = 1\n").await;
    t.gate.refresh_on_call().await;
    assert_eq!(believed(&t).await.unwrap(), ["carla 1"]);
    let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    assert!(!t.gate.can_decide(t.person("ben"), &request).await.unwrap());
    assert!(t.gate.can_decide(t.person("carla"), &request).await.unwrap());
    kept_at_level_two(&t).await;
    assert!(t.gate.can_decide(t.person("ben"), &request).await.unwrap(), "two levels count now");
}

async fn kept_at_level_two(t: &TestGate) {
    let mut files = t.gate.bundle().files().clone();
    let people = String::from_utf8(files["people.toml"].clone()).unwrap().replace("level = 1", "level = 2");
    files.insert("people.toml".into(), people.into_bytes());
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
}

// covers: OK-6 (api)
#[tokio::test]
async fn what_pagerduty_says_is_read_to_the_last_page() {
    let server = OnCallServer::pagerduty().unwrap();
    server.add((0..230).map(|n| pagerduty_on_call("PPAY", 3, &format!("P{n}"), &format!("p{n}@example.com"))));
    server.add([pagerduty_on_call("PPAY", 1, "PBEN", "ben@example.com")]);
    let t = gate(&server, Kind::PagerDuty, &[policy("PPAY")], "").await;
    t.gate.refresh_on_call().await;
    assert_eq!(believed(&t).await.unwrap(), ["ben 1"]);
    assert_eq!(server.calls().len(), 3, "{:?}", server.calls());
    // Who looks after the gate is told whom it does not know; others are not.
    let unmapped = async |name: &str| t.gate.duties(t.person(name)).await.unwrap().iter().map(|duty| duty.unmapped.len()).sum::<usize>();
    assert_eq!((unmapped("dan").await, unmapped("ana").await), (230, 0));
    assert!(t.gate.duties(t.person("frank")).await.unwrap().is_empty(), "a contractor is told of no schedule");
}

// covers: OK-6 (api)
#[tokio::test]
async fn an_answer_counts_until_it_is_too_old_and_then_nobody_is_on_call() {
    let server = OnCallServer::pagerduty().unwrap();
    server.on_call(&[("PPAY", 1, "PBEN", "ben@example.com")]);
    let t = gate(&server, Kind::PagerDuty, &[policy("PPAY")], "").await;
    t.gate.refresh_on_call().await;
    let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;

    server.down(true);
    t.pass(Duration::from_secs(9 * 60)).await;
    t.gate.refresh_on_call().await;
    assert_eq!(believed(&t).await.unwrap(), ["ben 1"], "it was said nine minutes ago");
    let health = t.gate.on_call_health();
    assert!(health[0].trouble.as_deref().unwrap().contains("HTTP 500"), "{health:?}");
    assert!(t.gate.can_decide(t.person("ben"), &request).await.unwrap());

    // Too old: it counts for nothing at once, whether or not anybody has looked.
    t.time.advance(Duration::from_secs(60));
    assert!(!t.gate.can_decide(t.person("ben"), &request).await.unwrap());
    assert!(believed(&t).await.unwrap_err().contains("too long ago"));
    t.gate.refresh_on_call().await;
    assert!(believed(&t).await.unwrap_err().contains("HTTP 500"));
    assert_eq!(changes(&t).await, 2, "that it is not known is entered");
    let refusal = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap_err();
    assert!(matches!(refusal.reason, Reason::NotApprover | Reason::NotFound), "{refusal}");

    server.down(false);
    t.gate.refresh_on_call().await;
    t.gate.vote(t.person("ben"), request.id, Approve, None).await.expect("it answers again");
}

// covers: OK-6 (api)
#[tokio::test]
async fn each_wrong_answer_is_said_in_words_and_believed_by_nobody() {
    let server = OnCallServer::pagerduty().unwrap();
    server.on_call(&[("PPAY", 1, "PBEN", "ben@example.com")]);
    let t = gate(&server, Kind::PagerDuty, &[policy("PPAY")], "").await;
    let broken = |body: &str| Reply { status: 200, headers: Vec::new(), body: body.to_owned() };
    let mut bad_end = pagerduty_on_call("PPAY", 1, "PBEN", "ben@example.com");
    bad_end["end"] = json!("next week");
    for (reply, wanted) in [
        (Reply::status(401), "does not take the gate's token"),
        (Reply::status(403), "does not take the gate's token"),
        (Reply::status(404), "it knows no"),
        (Reply::status(429).with("ratelimit-reset", 30), "less often"),
        (Reply::status(503), "HTTP 503"),
        (Reply::status(302).with("location", "https://elsewhere.example/"), "HTTP 302"),
        (broken("<html>"), "cannot be read"),
        (broken("{\"oncalls\":[]}"), "cannot be read"),
        (broken("{\"oncalls\":[],\"more\":true}"), "gives nothing"),
        (Reply::json(&json!({ "oncalls": [bad_end], "more": false })), "is no time"),
    ] {
        server.trouble([reply]);
        t.gate.refresh_on_call().await;
        let why = believed(&t).await.unwrap_err();
        assert!(why.contains(wanted), "{why}");
    }
    t.gate.refresh_on_call().await;
    assert_eq!(believed(&t).await.unwrap(), ["ben 1"]);

    // Nobody, somebody who is not mapped, somebody who is mapped to nobody: nobody.
    for on_call in [&[][..], &[("PPAY", 1, "PGUEST", "ben@elsewhere.example")][..], &[("PPAY", 1, "PBOT", "bot@example.com")][..]] {
        server.on_call(on_call);
        t.gate.refresh_on_call().await;
        assert_eq!(believed(&t).await.unwrap(), Vec::<String>::new());
        assert!(t.gate.on_call_health()[0].trouble.is_some());
    }
    // Somebody who was disabled is on call for nothing.
    server.on_call(&[("PPAY", 1, "PBEN", "ben@example.com")]);
    t.gate.disable(t.person("dan"), t.person("ben").who.id(), None).await.unwrap();
    t.gate.refresh_on_call().await;
    assert_eq!(believed(&t).await.unwrap(), Vec::<String>::new());
}

// covers: OK-6 (api)
#[tokio::test]
async fn a_token_that_is_wrong_or_gone_and_a_host_that_is_not_there() {
    let server = OnCallServer::pagerduty().unwrap();
    server.on_call(&[("PPAY", 1, "PBEN", "ben@example.com")]);
    let t = gate(&server, Kind::PagerDuty, &[policy("PPAY")], "").await;
    t.gate.refresh_on_call().await;
    assert_eq!(believed(&t).await.unwrap(), ["ben 1"]);
    let name: access::names::SecretName = "pager-token".parse().unwrap();
    t.gate.set_secret(t.person("dan"), name.clone(), access::secret::Secret::new("wrong".to_owned())).await.unwrap();
    t.pass(Duration::from_secs(11 * 60)).await;
    t.gate.refresh_on_call().await;
    assert!(believed(&t).await.unwrap_err().contains("does not take the gate's token (HTTP 401)"));
    t.gate.remove_secret(t.person("dan"), name).await.unwrap();
    t.gate.refresh_on_call().await;
    assert!(believed(&t).await.unwrap_err().contains("`pager-token` is not set"));

    let away = TestGate::start().await.unwrap();
    kept_elsewhere(&away, "").await;
    let mut nowhere = source(Kind::PagerDuty, &server, TokenFrom::Nowhere, &[policy("PPAY")]);
    let closed = testkit::ports::free().unwrap();
    nowhere.url = format!("http://{closed}");
    let client = OnCallClient::new(&nowhere).unwrap();
    away.gate.serve_on_call(vec![(nowhere, client)]);
    away.gate.refresh_on_call().await;
    assert!(believed(&away).await.unwrap_err().contains("cannot be reached"));
}

// covers: OK-6 (api)
#[tokio::test]
async fn opsgenie_tells_users_escalations_and_teams() {
    let server = OnCallServer::opsgenie().unwrap();
    let user = |id: &str, name: &str| json!({ "id": id, "name": name, "type": "user" });
    let later = |id: &str, name: &str, minutes: u32| json!({ "id": id, "name": name, "type": "user", "escalationTime": minutes, "notifyType": "default" });
    server.schedule("Payments / EU", true, &json!([user("4a2f", "b@example.com")]));
    let t = gate(&server, Kind::Opsgenie, &[(Place::Schedule("Payments / EU".into()), 1)], "").await;
    t.gate.refresh_on_call().await;
    assert_eq!(believed(&t).await.unwrap(), ["ben 1"]);

    let escalation = json!({ "id": "e1", "name": "Payments_escalation", "type": "escalation", "onCallParticipants": [
        later("1", "carla@example.com", 10), later("4a2f", "b@example.com", 0),
        { "id": "t1", "name": "Platform", "type": "team", "escalationTime": 20, "onCallParticipants": [user("2", "dan@example.com")] },
    ] });
    server.schedule("Payments / EU", true, &json!([escalation, { "type": "none" }]));
    t.gate.refresh_on_call().await;
    assert_eq!(believed(&t).await.unwrap(), ["ben 1", "carla 2", "dan 3"]);

    server.schedule("Payments / EU", false, &json!([user("4a2f", "b@example.com")]));
    t.gate.refresh_on_call().await;
    assert_eq!(believed(&t).await.unwrap(), Vec::<String>::new(), "a schedule that is switched off calls nobody");
    server.trouble([Reply::json(&json!({ "data": { "_parent": { "enabled": true } } }))]);
    t.pass(Duration::from_secs(11 * 60)).await;
    t.gate.refresh_on_call().await;
    assert!(believed(&t).await.unwrap_err().contains("cannot be read"));
}

// covers: OK-6 (api)
#[tokio::test]
async fn one_broken_part_of_a_service_breaks_it_whole() {
    let server = OnCallServer::opsgenie().unwrap();
    server.schedule("first", true, &json!([{ "id": "4a2f", "name": "b@example.com", "type": "user" }]));
    server.schedule("second", true, &json!([{ "id": "1", "name": "carla@example.com", "type": "user" }]));
    let places = [(Place::Schedule("first".into()), 1), (Place::Schedule("second".into()), 2)];
    let t = gate(&server, Kind::Opsgenie, &places, "").await;
    t.gate.refresh_on_call().await;
    assert_eq!(believed(&t).await.unwrap(), ["ben 1", "carla 2"]);
    let other = TestGate::start().await.unwrap();
    kept_elsewhere(&other, "").await;
    let half = [(Place::Schedule("first".into()), 1), (Place::Schedule("gone".into()), 2)];
    let file = other.dir().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let half = source(Kind::Opsgenie, &server, TokenFrom::File(file), &half);
    let client = OnCallClient::new(&half).unwrap();
    other.gate.serve_on_call(vec![(half, client)]);
    other.gate.refresh_on_call().await;
    assert!(believed(&other).await.unwrap_err().contains("it knows no `gone`"));
}

const CALENDAR: &str = "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:1\nDTSTART:20260302T130000\nDTEND:20260302T190000\nRRULE:FREQ=DAILY\n\
    ATTENDEE:mailto:ben@example.com\nEND:VEVENT\nEND:VCALENDAR\n";

// covers: OK-6 (api)
#[tokio::test]
async fn a_shift_of_a_calendar_ends_on_time_and_a_broken_feed_says_nothing() {
    let server = OnCallServer::calendar().unwrap();
    server.publish(CALENDAR);
    let feed = format!("{}/oncall.ics", server.url);
    let t = gate(&server, Kind::ICalendar, &[(Place::Feed(feed), 2)], "").await;
    t.gate.refresh_on_call().await;
    assert_eq!(believed(&t).await.unwrap(), ["ben 2"]);
    // At seven in the evening in Berlin it is over, even though the last answer is a moment old.
    t.pass(Duration::from_secs(5 * 3600 + 59 * 60)).await;
    t.gate.refresh_on_call().await;
    assert_eq!(believed(&t).await.unwrap(), ["ben 2"]);
    t.pass(Duration::from_secs(60)).await;
    assert_eq!(believed(&t).await.unwrap(), Vec::<String>::new());

    server.publish(&CALENDAR.replace("FREQ=DAILY", "FREQ=HOURLY"));
    t.pass(Duration::from_secs(60 * 60)).await;
    t.gate.refresh_on_call().await;
    assert!(believed(&t).await.unwrap_err().contains("the event `1`"));
    server.publish("BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\n");
    t.gate.refresh_on_call().await;
    assert!(believed(&t).await.unwrap_err().contains("breaks off"));
}

// covers: EV-9, OK-6 (api)
#[tokio::test]
async fn who_could_at_a_time_counts_what_was_believed_then() {
    let server = OnCallServer::pagerduty().unwrap();
    server.on_call(&[("PPAY", 1, "PBEN", "ben@example.com")]);
    let t = gate(&server, Kind::PagerDuty, &[policy("PPAY")], "").await;
    let unknown = t.gate.now();
    t.pass(Duration::from_secs(60)).await;
    t.gate.refresh_on_call().await;
    t.pass(Duration::from_secs(60)).await;
    let his = t.gate.now();
    t.pass(Duration::from_secs(60)).await;
    server.on_call(&[("PPAY", 1, "PCARLA", "carla@example.com")]);
    t.gate.refresh_on_call().await;
    t.pass(Duration::from_secs(60)).await;
    let hers = t.gate.now();
    // Emergencies are for those on call.
    let could = async |name: &str, at| {
        let all = t.gate.who_could(t.person("eve"), &"db-1".parse().unwrap(), at, None, usize::MAX).await.unwrap();
        all.iter().any(|reach| reach.username == name && reach.by == ReachBy::Emergency)
    };
    assert_eq!((could("ben", unknown).await, could("carla", unknown).await), (false, false));
    assert_eq!((could("ben", his).await, could("carla", his).await), (true, false));
    assert_eq!((could("ben", hers).await, could("carla", hers).await), (false, true));
}

// covers: OK-6, GRANT-3 (api)
#[tokio::test]
async fn what_was_granted_on_duty_stays_when_the_duty_changes() {
    let server = OnCallServer::pagerduty().unwrap();
    server.on_call(&[("PPAY", 1, "PBEN", "ben@example.com")]);
    let t = gate(&server, Kind::PagerDuty, &[policy("PPAY")], "").await;
    t.gate.refresh_on_call().await;
    let mut wish = ask("db-1", "shell");
    wish.break_glass = true;
    let grant = t.gate.submit(t.person("ben"), wish.clone()).await.unwrap().grant.expect("he is on call: at once");
    server.on_call(&[("PPAY", 1, "PCARLA", "carla@example.com")]);
    t.gate.refresh_on_call().await;
    // Whoever hands over in the middle of an emergency is not thrown out of it; they begin no other.
    assert!(t.gate.redecide_all().await.is_empty());
    t.gate.activate(t.person("ben"), grant.id).await.expect("on call was frozen with the grant");
    t.gate.give_back(t.person("ben"), grant.id).await.unwrap();
    assert_eq!(t.gate.submit(t.person("ben"), wish).await.unwrap_err().reason, Reason::NotBreakGlass);
}

// covers: OK-6 (api)
#[tokio::test]
async fn whom_the_directory_brought_is_known_by_its_user_name_and_by_nothing_else() {
    let server = OnCallServer::pagerduty().unwrap();
    server.on_call(&[("PPAY", 1, "PZOE", "Zoe@Example.com")]);
    let t = gate(&server, Kind::PagerDuty, &[policy("PPAY")], "").await;
    let corp: access::names::Username = "corp".parse().unwrap();
    let directory =
        Directory { name: corp.clone(), signs_in: None, domains: vec!["example.com".into()], groups: BTreeMap::new(), brings_named: false };
    t.gate.serve_directories(vec![directory]);
    t.gate.refresh_on_call().await;
    assert_eq!(believed(&t).await.unwrap(), Vec::<String>::new(), "nobody brought her yet");
    let token = t.gate.issue_directory_token(t.person("dan"), &corp, Span::hours(1), None).await.unwrap();
    let who = t.gate.identify_token(token.token.expose(), HERE).await.unwrap();
    let hr = Caller { who, door: Door::Api };
    let zoe = User { user_name: "zoe@example.com".into(), external_id: None, active: Some(true), profile: Profile::default() };
    t.gate.bring_user(&hr, &zoe).await.unwrap();
    t.gate.refresh_on_call().await;
    assert_eq!(believed(&t).await.unwrap(), ["zoe 1"]);
    // An address that only looks alike is nobody's; who left is nobody.
    server.on_call(&[("PPAY", 1, "PZOE", "zoe@example.org")]);
    t.gate.refresh_on_call().await;
    assert_eq!(believed(&t).await.unwrap(), Vec::<String>::new());
    server.on_call(&[("PPAY", 1, "PZOE", "zoe@example.com")]);
    let row = t.gate.store().person_named(&"zoe".parse().unwrap()).await.unwrap().unwrap();
    t.gate.disable(t.person("dan"), row.id, None).await.unwrap();
    t.gate.refresh_on_call().await;
    assert_eq!(believed(&t).await.unwrap(), Vec::<String>::new());
}
