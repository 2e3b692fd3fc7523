//! The log goes to collectors as it grows: real ones, that come and go.

use std::time::Duration;

use access::approval::Decision::Approve;
use access::ids::SessionId;
use access::secret::Secret;
use access::session::{ClosedSession, EndReason, Protocol};
use access::time::Span;
use evidence::lines::Form;
use evidence::recording::{Direction, Frame, FrameKind};
use notify::http::Reach;
use notify::stream::{otlp, s3, syslog};
use notify::webhook::Endpoint;
use serde_json::Value;
use testkit::collectors::{Rsyslog, Scripted, validate_ocsf};
use testkit::gate::{TestGate, ask, monday_noon};
use testkit::web::Reply;
use testkit::webhooks::Receiver;
use tidegate_workflow::outbox::KeptSecret;
use tidegate_workflow::streams::{Sink, Stream, StreamState};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn here(roots: Option<Vec<u8>>) -> Reach {
    Reach { addresses: vec!["127.0.0.1".parse().unwrap()], roots }
}

fn sealed() -> KeptSecret {
    KeptSecret::Sealed("collector".parse().unwrap())
}

fn stream(form: Form, sink: Sink) -> Stream {
    Stream { name: "siem".into(), form, activity: false, largest: 8_000, every: Span::default(), sink }
}

async fn set(t: &TestGate, value: &str) {
    t.gate.set_secret(t.person("admin"), "collector".parse().unwrap(), Secret::new(value.to_owned())).await.unwrap();
}

/// Gives everything its place in the log, and sends what there is.
async fn send(t: &TestGate) {
    t.gate.sequence().await.unwrap();
    t.gate.stream_all().await;
}

async fn state(t: &TestGate) -> StreamState {
    t.gate.streams(t.person("admin")).await.unwrap().remove(0)
}

/// The ids of all entries that have a place, in order.
async fn placed(t: &TestGate) -> Vec<String> {
    t.gate.store().entries_from(0, 10_000).await.unwrap().iter().map(|logged| logged.entry.id.to_string()).collect()
}

/// Ana asks, Ben approves, she is let in and leaves; what she did there is recorded.
async fn a_session(t: &TestGate, activities: &[String]) -> SessionId {
    let ana = t.person("ana");
    let request = Box::pin(t.gate.submit(ana, ask("db-1", "debug"))).await.unwrap().request;
    Box::pin(t.gate.vote(t.person("ben"), request.id, Approve, Some("go ahead".into()))).await.unwrap();
    let (resource, role) = ("db-1".parse().unwrap(), "debug".parse().unwrap());
    let opened = Box::pin(t.gate.open(ana, &resource, &role, Protocol::Ssh)).await.unwrap();
    let session = opened.permit.facts().session;
    for (number, activity) in activities.iter().enumerate() {
        let bytes = activity.clone().into_bytes().into();
        let frame = Frame { at_us: number as u64, channel: 0, direction: Direction::Input, kind: FrameKind::Activity, bytes };
        opened.recording.record(frame).await.unwrap();
    }
    let closed = opened.recording.close("client", 1).await.unwrap();
    let recording = Some((closed.chunks, closed.digest.iter().map(|byte| format!("{byte:02x}")).collect()));
    t.gate.close(ClosedSession { session, end: EndReason::Client, confirmed: true, bytes_up: 1, bytes_down: 2, recording }).await;
    session
}

fn told(receiver: &Receiver) -> Vec<Value> {
    let events = |message: &Value| message["data"]["events"].as_array().unwrap().clone();
    receiver.taken().iter().flat_map(|message| events(&message.body)).collect()
}

fn ids(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| event["metadata"]["uid"].as_str().unwrap().to_owned()).collect()
}

/// A gate whose log goes to a receiver of webhooks.
async fn to_receiver(form: Form) -> (TestGate, Receiver) {
    let t = TestGate::start().await.unwrap();
    set(&t, SECRET).await;
    let receiver = Receiver::start(&[SECRET], monday_noon().as_second()).unwrap();
    serve_http(&t, &receiver, form, false);
    (t, receiver)
}

fn serve_http(t: &TestGate, receiver: &Receiver, form: Form, activity: bool) {
    let endpoint = Endpoint::new(&receiver.url, &here(None)).unwrap();
    t.gate.serve_streams(vec![Stream { activity, ..stream(form, Sink::Http { endpoint, secret: sealed() }) }]);
}

// covers: EV-6 (http, ocsf)
#[tokio::test]
async fn every_entry_goes_out_once_in_order_as_an_event_of_the_published_schema() {
    let (t, receiver) = to_receiver(Form::Ocsf).await;
    a_session(&t, &[]).await;
    t.gate.disable(t.person("admin"), t.person("frank").who.id(), Some("left".into())).await.unwrap();
    assert!(receiver.taken().is_empty(), "nothing is sent while somebody waits for an answer");
    send(&t).await;
    let events = told(&receiver);
    assert_eq!(ids(&events), placed(&t).await, "{:?}", receiver.refused());
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    let classes = validate_ocsf(&lines).unwrap();
    for class in ["Account Change", "Authentication", "Entity Management", "SSH Activity", "User Access Management"] {
        assert!(classes[class].as_u64() > Some(0), "{class}: {classes}");
    }
    let opened = events.iter().find(|event| event["message"] == "session.opened").unwrap();
    assert_eq!((&opened["actor"]["user"]["name"], &opened["dst_endpoint"]["name"]), (&"ana".into(), &"db-1".into()));
    // What was taken is not sent again.
    let calls = receiver.calls();
    send(&t).await;
    assert_eq!((receiver.calls(), state(&t).await.waiting), (calls, 0));
}

// covers: EV-6 (http, jsonl), F1 (streams)
#[tokio::test]
async fn a_collector_that_is_away_gets_everything_afterwards_and_nobody_waits_for_it() {
    let (t, receiver) = to_receiver(Form::JsonLines).await;
    send(&t).await;
    let before = told(&receiver).len();
    receiver.troubled((0..3).map(|_| Reply::status(503)).collect());
    a_session(&t, &[]).await;
    send(&t).await;
    let away = state(&t).await;
    assert_eq!(away.row.error.as_deref(), Some("it answered with HTTP 503"));
    assert!(away.row.failing_since.is_some() && away.waiting > 0 && away.oldest.is_some(), "{away:?}");
    // It is not asked all the time.
    let calls = receiver.calls();
    t.gate.stream_all().await;
    assert_eq!(receiver.calls(), calls);
    a_session(&t, &[]).await;
    for _ in 0..20 {
        t.time.advance(Duration::from_secs(30));
        receiver.at(t.gate.now().as_second());
        send(&t).await;
    }
    let events = told(&receiver);
    assert!(events.len() > before);
    let came: Vec<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(came, placed(&t).await);
    let back = state(&t).await;
    assert_eq!((back.waiting, back.row.failing_since, back.row.error), (0, None, None));
}

// covers: EV-6 (http)
#[tokio::test]
async fn a_gate_that_died_before_it_kept_that_a_batch_was_taken_sends_it_again() {
    let (t, receiver) = to_receiver(Form::Ocsf).await;
    send(&t).await;
    let kept = t.gate.store().stream("siem").await.unwrap().unwrap();
    a_session(&t, &[]).await;
    send(&t).await;
    let first = receiver.taken().last().unwrap().clone();
    let now = t.gate.store().stream("siem").await.unwrap().unwrap();
    // As if the process had ended between the answer and the store.
    assert!(t.gate.store().move_stream(&now, &kept.mark, (kept.next, kept.line), t.gate.now()).await.unwrap());
    let t = t.restart().await.unwrap();
    serve_http(&t, &receiver, Form::Ocsf, false);
    send(&t).await;
    let came = receiver.taken();
    let again = came.iter().filter(|message| message.body["data"]["first"] == first.body["data"]["first"]).collect::<Vec<_>>();
    assert_eq!(again.len(), 2);
    let (one, two) = (ids(again[0].body["data"]["events"].as_array().unwrap()), ids(again[1].body["data"]["events"].as_array().unwrap()));
    assert!(two.starts_with(&one), "what was in it is in it again, in order");
    let mut all = ids(&told(&receiver));
    all.sort();
    all.dedup();
    let mut wanted = placed(&t).await;
    wanted.sort();
    assert_eq!(all, wanted);
}

// covers: EV-6 (activity, long statements), F2 (streams)
#[tokio::test]
async fn what_was_done_in_a_session_follows_its_end_whole_however_long_it_was() {
    let t = TestGate::start().await.unwrap();
    set(&t, SECRET).await;
    let receiver = Receiver::start(&[SECRET], monday_noon().as_second()).unwrap();
    serve_http(&t, &receiver, Form::Ocsf, true);
    let long = "x".repeat(3 * 1024 * 1024);
    let statement = format!("{{\"kind\":\"sql.statement\",\"n\":0,\"text\":\"SELECT '{long}'\"}}");
    let mut activities = vec![statement];
    activities.extend((1..3_000).map(|n| format!("{{\"kind\":\"exec\",\"command\":\"echo {n}\"}}")));
    let session = a_session(&t, &activities).await;
    send(&t).await;
    let events = told(&receiver);
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    validate_ocsf(&lines).unwrap();
    let mut whole = String::new();
    let mut numbers = Vec::new();
    for event in &events {
        let uid = event["metadata"]["uid"].as_str().unwrap();
        let Some(number) = uid.strip_prefix(&format!("{session}/")) else { continue };
        match number.split_once('#') {
            Some(("0", _)) => whole.push_str(event["raw_data"].as_str().unwrap()),
            _ => numbers.push(number.parse::<u64>().unwrap()),
        }
    }
    let whole: Value = serde_json::from_str(&whole).unwrap();
    assert_eq!(whole["unmapped"]["activity"]["text"], format!("SELECT '{long}'"));
    assert_eq!(numbers, (1..3_000).collect::<Vec<_>>(), "each once, in order");
    let at = |name: &str| events.iter().position(|event| event["message"] == name).unwrap();
    assert!(at("session.ended") < at("exec"));
    assert_eq!(state(&t).await.waiting, 0);
}

/// The activities of a session among events, by their numbers.
fn numbers(events: &[Value], session: SessionId) -> Vec<u64> {
    let start = format!("{session}/");
    ids(events).iter().filter_map(|id| id.strip_prefix(&start)?.parse().ok()).collect()
}

/// A gate with a stream, on which what was done in a session was taken in part; what was taken is not among what the receiver has.
async fn taken_in_part() -> (TestGate, Receiver, SessionId) {
    let t = TestGate::start().await.unwrap();
    set(&t, SECRET).await;
    let receiver = Receiver::start(&[SECRET], monday_noon().as_second()).unwrap();
    serve_http(&t, &receiver, Form::Ocsf, true);
    let activities: Vec<String> = (0..3_000).map(|n| format!("{{\"kind\":\"exec\",\"command\":\"echo {n}\"}}")).collect();
    let session = a_session(&t, &activities).await;
    receiver.troubled(vec![Reply::status(204), Reply::status(503)]);
    send(&t).await;
    let row = state(&t).await.row;
    assert!(row.line > 100 && row.failing_since.is_some(), "it stands within what was done in the session: {row:?}");
    t.time.advance(Duration::from_secs(60));
    receiver.at(t.gate.now().as_second());
    (t, receiver, session)
}

// covers: EV-6 (http, activity)
#[tokio::test]
async fn a_stream_goes_on_in_the_middle_of_an_entry_just_where_it_was() {
    let (t, receiver, session) = taken_in_part().await;
    let taken = state(&t).await.row.line - 1;
    send(&t).await;
    let events = told(&receiver);
    assert_eq!(numbers(&events, session), (taken..3_000).collect::<Vec<_>>());
    assert!(events.iter().all(|event| event["message"] != "session.ended"), "that was taken before");
}

// covers: EV-6 (http, activity), EV-7 (streams)
#[tokio::test]
async fn an_entry_that_changed_while_it_was_sent_is_sent_again_whole() {
    let (t, receiver, session) = taken_in_part().await;
    t.gate.destroy_recording(t.person("carla"), session, "nobody may keep it").await.unwrap();
    send(&t).await;
    let events = told(&receiver);
    assert_eq!((events[0]["message"].as_str(), numbers(&events, session).len()), (Some("session.ended"), 0));
    let absent = events[1].to_string();
    assert!(absent.contains("its keys were destroyed") && absent.contains(&session.to_string()), "{absent}");
    assert_eq!(ids(&events).last(), placed(&t).await.last());
    assert_eq!(state(&t).await.waiting, 0);
}

// covers: EV-6 (activity)
#[tokio::test]
async fn a_recording_that_cannot_be_opened_for_a_moment_is_not_left_out() {
    let t = TestGate::start().await.unwrap();
    set(&t, SECRET).await;
    let receiver = Receiver::start(&[SECRET], monday_noon().as_second()).unwrap();
    serve_http(&t, &receiver, Form::Ocsf, true);
    let session = a_session(&t, &["{\"kind\":\"exec\",\"command\":\"id\"}".to_owned()]).await;
    let path = t.gate.recording_path(t.gate.store().session(session).await.unwrap().unwrap().recording);
    let aside = path.with_extension("aside");
    std::fs::rename(&path, &aside).unwrap();
    std::os::unix::fs::symlink(&path, &path).unwrap();
    send(&t).await;
    let row = state(&t).await.row;
    assert!(row.error.as_deref().unwrap_or_default().contains("a recording cannot be read"), "{row:?}");

    std::fs::remove_file(&path).unwrap();
    // Not there at all, as where a volume is not mounted: no other, as long as nobody let it go.
    let again = async || {
        t.time.advance(Duration::from_secs(60));
        receiver.at(t.gate.now().as_second());
        send(&t).await;
    };
    again().await;
    let row = state(&t).await.row;
    assert!(row.error.as_deref().unwrap_or_default().contains("a recording cannot be read"), "{row:?}");
    assert!(!told(&receiver).iter().any(|event| event.to_string().contains("absent")));
    std::fs::rename(&aside, &path).unwrap();
    again().await;
    assert_eq!(numbers(&told(&receiver), session), [0]);
    assert_eq!(state(&t).await.waiting, 0);
    // Lost for good: whoever may destroy recordings says so, and it is waited for no longer.
    t.pass(Duration::from_secs(2 * 3600)).await;
    let lost = a_session(&t, &["{\"kind\":\"exec\",\"command\":\"id\"}".to_owned()]).await;
    std::fs::remove_file(t.gate.recording_path(t.gate.store().session(lost).await.unwrap().unwrap().recording)).unwrap();
    again().await;
    assert!(state(&t).await.row.failing_since.is_some());
    t.gate.destroy_recording(t.person("carla"), lost, "the disk it was on is gone").await.unwrap();
    let twice = t.gate.destroy_recording(t.person("carla"), lost, "the disk it was on is gone").await.unwrap_err();
    assert_eq!(twice.reason, access::reason::Reason::NotFound);
    again().await;
    assert!(told(&receiver).iter().any(|event| event.to_string().contains(&format!("{lost}/absent"))));
    assert_eq!(state(&t).await.waiting, 0);
}

// covers: EV-6 (http)
#[tokio::test]
async fn nobody_sees_how_streams_stand_without_the_right_to() {
    let (t, _receiver) = to_receiver(Form::Ocsf).await;
    assert_eq!(t.gate.streams(t.person("admin")).await.unwrap().len(), 1);
    assert_eq!(t.gate.streams(t.person("ana")).await.unwrap_err().reason, access::reason::Reason::NotAllowed);
}

fn to_rsyslog(rsyslog: &Rsyslog, own: bool) -> Stream {
    let reach = here(Some(rsyslog.file("ca.pem").unwrap()));
    let own = own.then(|| syslog::ClientCertificate {
        certificate: rsyslog.file("client.pem").unwrap(),
        key: Secret::new(rsyslog.file("client.key").unwrap()),
    });
    let collector = syslog::Collector::new(&rsyslog.address(), &reach, own.as_ref()).unwrap();
    Stream { activity: true, ..stream(Form::JsonLines, Sink::Syslog(collector)) }
}

/// Sends until nothing waits, for as long as it takes.
async fn send_all(t: &TestGate) {
    for _ in 0..200 {
        send(t).await;
        if state(t).await.waiting == 0 {
            return;
        }
        t.time.advance(Duration::from_secs(60));
    }
    panic!("{:?}", state(t).await);
}

// covers: EV-6 (syslog)
#[tokio::test]
async fn rsyslog_gets_everything_over_tls_before_and_after_it_was_killed() {
    let t = TestGate::start().await.unwrap();
    let mut rsyslog = Rsyslog::prepare().unwrap();
    t.gate.serve_streams(vec![to_rsyslog(&rsyslog, true)]);
    send(&t).await;
    assert!(state(&t).await.row.failing_since.is_some(), "nobody listens yet");
    rsyslog.run(true).unwrap();
    let long = format!("{{\"kind\":\"exec\",\"command\":\"echo {}é\"}}", "y".repeat(20_000));
    let session = a_session(&t, &[long]).await;
    send_all(&t).await;
    let wanted = placed(&t).await;
    let entries = |rsyslog: &Rsyslog| -> Vec<String> {
        let texts = rsyslog.messages().into_iter().map(|message| serde_json::from_str::<Value>(&message.text).unwrap());
        texts.filter(|line| line["kind"] == "entry").map(|line| line["id"].as_str().unwrap().to_owned()).collect()
    };
    // rsyslog has read everything; that it has written it, it says to nobody.
    for _ in 0..3_000 {
        if entries(&rsyslog).len() >= wanted.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(entries(&rsyslog), wanted);
    let opened = rsyslog.messages().into_iter().find(|message| message.id == "session.opened").unwrap();
    assert_eq!((opened.pri, opened.host.as_str(), opened.program.as_str()), (110, "test", "tidegate"));
    assert_eq!(opened.at, "2026-03-02T12:00:00Z");
    let parts: Vec<Value> = rsyslog
        .messages()
        .iter()
        .map(|message| serde_json::from_str::<Value>(&message.text).unwrap())
        .filter(|line| line["kind"] == "part" && line["of"] == session.to_string())
        .collect();
    assert!(parts.len() > 2 && parts.iter().enumerate().all(|(n, part)| part["part"] == n + 1));
    let whole: String = parts.iter().map(|part| part["data"].as_str().unwrap()).collect();
    let whole: Value = serde_json::from_str(&whole).unwrap();
    assert!(whole["data"]["activity"]["command"].as_str().unwrap().ends_with("yé"));

    rsyslog.kill();
    a_session(&t, &[]).await;
    send(&t).await;
    assert!(state(&t).await.row.failing_since.is_some());
    rsyslog.run(true).unwrap();
    t.time.advance(Duration::from_secs(600));
    send_all(&t).await;
    let wanted = placed(&t).await;
    for _ in 0..3_000 {
        if entries(&rsyslog).len() >= wanted.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(entries(&rsyslog), wanted);
}

// covers: G3 (streams)
#[tokio::test]
async fn a_collector_of_syslog_that_cannot_prove_who_it_is_gets_nothing() {
    let t = TestGate::start().await.unwrap();
    let (mut rsyslog, other) = (Rsyslog::prepare().unwrap(), Rsyslog::prepare().unwrap());
    rsyslog.run(false).unwrap();
    let reach = here(Some(other.file("ca.pem").unwrap()));
    let collector = syslog::Collector::new(&rsyslog.address(), &reach, None).unwrap();
    t.gate.serve_streams(vec![stream(Form::Ocsf, Sink::Syslog(collector))]);
    send(&t).await;
    let failing = state(&t).await.row;
    assert!(failing.error.as_deref().unwrap_or_default().contains("certificate"), "{failing:?}");
    assert_eq!((failing.next, rsyslog.messages()), (0, Vec::new()));
    // The same with the right CA.
    let collector = syslog::Collector::new(&rsyslog.address(), &here(Some(rsyslog.file("ca.pem").unwrap())), None).unwrap();
    let t = t.restart().await.unwrap();
    t.gate.serve_streams(vec![stream(Form::Ocsf, Sink::Syslog(collector))]);
    t.time.advance(Duration::from_secs(600));
    send_all(&t).await;
}

// covers: EV-6 (s3)
#[tokio::test]
async fn objects_in_s3_are_the_log_by_day_and_are_signed() {
    let t = TestGate::start().await.unwrap();
    let mut service = Scripted::s3().unwrap();
    let text = |name: &str| service.ready[name].as_str().unwrap().to_owned();
    let place = |access_key: String| s3::Place {
        url: text("url"),
        bucket: "logs".into(),
        region: "us-east-1".into(),
        prefix: "tidegate/".into(),
        access_key,
    };
    set(&t, "not the secret of that key, and forty letters").await;
    let own = place(text("access_key"));
    let bucket = s3::Bucket::new(&own, &here(None)).unwrap();
    let every = Span::minutes(1);
    t.gate.serve_streams(vec![Stream { every, ..stream(Form::Ocsf, Sink::S3 { bucket, secret: sealed() }) }]);
    send(&t).await;
    assert_eq!((state(&t).await.row.next, state(&t).await.row.error), (0, None), "lines are gathered for a minute");
    t.time.advance(Duration::from_secs(61));
    send(&t).await;
    let why = state(&t).await.row.error.unwrap();
    assert!(why.contains("HTTP 403") && why.contains("SignatureDoesNotMatch"), "{why}");

    let secret = text("secret");
    set(&t, &secret).await;
    t.time.advance(Duration::from_secs(600));
    send_all(&t).await;
    a_session(&t, &[]).await;
    send_all(&t).await;
    let objects = service.ask("list").unwrap();
    let objects = objects.as_object().unwrap();
    assert!(objects.len() >= 2 && objects.keys().all(|name| name.starts_with("tidegate/2026/03/02/siem-")), "{:?}", objects.keys());
    // By name they are in order, and together they are the log.
    let lines: String = objects.values().map(|text| text.as_str().unwrap()).collect();
    validate_ocsf(&lines).unwrap();
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(ids(&events), placed(&t).await);

    // Another log at the same places, as after the gate was turned back and went on: nothing is put over what was put.
    let other = TestGate::start().await.unwrap();
    set(&other, &secret).await;
    let bucket = s3::Bucket::new(&own, &here(None)).unwrap();
    other.gate.serve_streams(vec![stream(Form::Ocsf, Sink::S3 { bucket, secret: sealed() })]);
    send_all(&other).await;
    let now = service.ask("list").unwrap();
    let now = now.as_object().unwrap();
    assert!(now.len() > objects.len() && objects.iter().all(|(name, text)| now.get(name) == Some(text)), "{:?}", now.keys());
}

// covers: EV-6 (otlp)
#[tokio::test]
async fn a_collector_of_opentelemetry_decodes_every_record() {
    let t = TestGate::start().await.unwrap();
    let mut service = Scripted::otlp().unwrap();
    let collector = otlp::Collector::new(service.ready["url"].as_str().unwrap(), &here(None)).unwrap();
    set(&t, "open-sesame").await;
    t.gate.serve_streams(vec![stream(Form::Ocsf, Sink::Otlp { collector, token: Some(sealed()) })]);
    service.ask("status 503 1").unwrap();
    service.ask("reject").unwrap();
    send(&t).await;
    assert_eq!(state(&t).await.row.error.as_deref(), Some("it answered with HTTP 503"));
    t.time.advance(Duration::from_secs(60));
    send(&t).await;
    let why = state(&t).await.row.error.unwrap();
    assert!(why.contains("rejected 1 of") && why.contains("too large"), "{why}");
    t.time.advance(Duration::from_secs(600));
    a_session(&t, &[]).await;
    send_all(&t).await;
    let said = service.ask("list").unwrap();
    assert_eq!(said["tokens"][0], "Bearer open-sesame");
    let records = said["records"].as_array().unwrap();
    let bodies: Vec<Value> = records.iter().map(|r| serde_json::from_str(r["body"]["stringValue"].as_str().unwrap()).unwrap()).collect();
    assert_eq!(ids(&bodies), placed(&t).await);
    let opened = records.iter().find(|record| record["eventName"] == "session.opened").unwrap();
    assert_eq!((&opened["severityText"], &opened["resource"]["service.name"]), (&"INFO".into(), &"tidegate".into()));
    assert_eq!(opened["timeUnixNano"].as_str().unwrap().len(), 19);
}
