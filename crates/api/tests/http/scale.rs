//! How lists and searches answer in a large company: 10,000 people, 100,000 sessions, 1,000,000 entries of the log, 5,000,000 things done in sessions.
//! Printed, and judged by whoever reads it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use access::ids::RecordingId;
use access::session::{ClosedSession, EndReason, Protocol};
use evidence::recording::{About, Direction, Durability, Frame, FrameKind, KeyRecipients, PoolOptions, RecorderPool, header};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::Served;

/// How often each is asked for.
const TIMES: usize = 41;

/// Median and the slowest of twenty, in milliseconds.
async fn measure(who: &crate::Person<'_>, path: &str) -> (f64, f64, usize) {
    let mut times = Vec::with_capacity(TIMES);
    let mut items = 0;
    for _ in 0..TIMES {
        let since = Instant::now();
        let (status, body) = who.get(path).await;
        times.push(since.elapsed());
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        items = body["items"].as_array().map_or(0, Vec::len);
    }
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    (ms(times[TIMES / 2]), ms(times[TIMES * 19 / 20]), items)
}

/// One journey, of which there are to be many, and the store with as many.
async fn multiplied(served: &Served, how: &[&str]) -> RecordingId {
    let ana = served.test.person("ana");
    served.test.gate.submit(ana, testkit::gate::ask("build-1", "shell")).await.unwrap();
    let opened = served.test.gate.open(ana, &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap();
    let (session, recording) = (opened.permit.facts().session, opened.permit.facts().recording.id);
    opened.recording.close("client", 2).await.unwrap();
    let closed = ClosedSession { session, end: EndReason::Client, confirmed: true, bytes_up: 1, bytes_down: 1, recording: None };
    served.test.gate.close(closed).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let store = served.test.dir().join("store.db");
    assert!(Command::new("python3").arg(root.join("bench/multiply.py")).arg(&store).args(how).status().unwrap().success());
    recording
}

#[expect(clippy::print_stdout, reason = "the numbers are for whoever runs it")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "full scale: scripts/soak"]
async fn lists_of_a_large_company() {
    let served = Served::start().await;
    let (ana, eve) = (served.test.person("ana"), served.person("eve").await);
    multiplied(&served, &[]).await;
    // Some live ones too.
    for _ in 0..5 {
        served.test.gate.open(ana, &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap();
    }

    let somebody = "usr_00000000000000000000004711";
    let mut found = serde_json::Map::new();
    for path in [
        "/users?limit=50".to_owned(),
        "/requests?of=all&limit=50".to_owned(),
        "/requests?of=all&state=pending&limit=50".to_owned(),
        "/grants?all=true&limit=50".to_owned(),
        "/grants?all=true&state=active&limit=50".to_owned(),
        format!("/grants?all=true&person={somebody}&limit=50"),
        "/sessions?all=true&limit=50".to_owned(),
        "/sessions?all=true&state=live&limit=50".to_owned(),
        "/sessions?all=true&resource=build-1&limit=50".to_owned(),
        format!("/sessions?all=true&person={somebody}&limit=50"),
        "/sessions/search?role=shell&limit=50".to_owned(),
        "/audit/entries?limit=50".to_owned(),
        "/audit/entries?event=session.opened&limit=50".to_owned(),
        "/audit/entries?event=lock.&limit=50".to_owned(),
        format!("/audit/entries?actor={somebody}&limit=50"),
        "/audit/entries?about=ses_00000000000000000000004711&limit=50".to_owned(),
        "/audit/entries?about=build-1&limit=50".to_owned(),
        "/audit/entries?about=build-1&event=lock.&limit=50".to_owned(),
        format!("/audit/entries?about={somebody}&event=session.&limit=50"),
    ] {
        let (median, slow, items) = measure(&eve, &path).await;
        println!("{path:72} {median:8.1} ms median, {slow:8.1} ms the slowest of twenty ({items} items)");
        found.insert(path, json!({ "median_ms": median, "p95_ms": slow, "items": items }));
    }
    if let Some(file) = std::env::var_os("TIDEGATE_LISTS_REPORT") {
        let report = json!({ "people": 10_000, "sessions": 100_000, "entries": 1_000_000, "lists": Value::Object(found) });
        std::fs::write(file, format!("{report:#}\n")).unwrap();
    }
}

/// Things done in one session.
const ACTIVITIES: u64 = 50;

/// What somebody did: statements like those of a working day, and in a few sessions one that is looked for.
fn did(session: u64, n: u64) -> Frame {
    const TABLES: [&str; 6] = ["orders", "customers", "invoices", "shipments", "prices", "returns"];
    let number = session * ACTIVITIES + n;
    let table = TABLES[(number % 6) as usize];
    let text = match (session % 40_000, n) {
        (4_711, 17) => "update prices set amount = amount * 2 where sku = 'okapi-plush-xl'".to_owned(),
        _ => format!(
            "select id, total from {table} where id = {} and state = 'open' order by created_at limit {}",
            number * 7_919 % 1_000_003,
            n + 1
        ),
    };
    let activity = json!({ "kind": "sql.statement", "text": text, "outcome": "SELECT 1" });
    Frame { at_us: n, channel: 0, direction: Direction::Gate, kind: FrameKind::Activity, bytes: activity.to_string().into() }
}

#[expect(clippy::print_stdout, reason = "the numbers are for whoever runs it")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "full scale: scripts/soak"]
async fn searches_over_millions_of_activities() {
    let sessions: u64 = std::env::var("TIDEGATE_SEARCH_SESSIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let served = Served::start().await;
    let (how, entries) = (sessions.to_string(), (2 * sessions).to_string());
    let how = ["--sessions", &how, "--entries", &entries, "--events", "session.opened,session.ended"];
    let first = multiplied(&served, &how).await;
    let recordings = served.test.dir().join("recordings");
    let opening = header::read(&mut std::fs::File::open(recordings.join(format!("{first}.tgr"))).unwrap()).unwrap();
    let (output, input) =
        (KeyRecipients::parse(&opening.recipients().output).unwrap(), KeyRecipients::parse(&opening.recipients().input).unwrap());
    let pool = RecorderPool::open(&recordings, &PoolOptions::default()).unwrap();
    let since = Instant::now();
    for session in 1..=sessions {
        let id = |prefix: &str| format!("{prefix}_{session:026}");
        let about = About { recording: id("rec"), session: id("ses"), grant: id("grt"), ..opening.about().clone() };
        let recording = pool.start(&about, Durability::Flush, &output, &input).unwrap();
        for n in 0..ACTIVITIES {
            recording.record(did(session, n)).await.unwrap();
        }
        recording.close("client", ACTIVITIES).await.unwrap();
    }
    println!("{} activities recorded in {:.0} s", sessions * ACTIVITIES, since.elapsed().as_secs_f64());
    let since = Instant::now();
    let gate = &served.test.gate;
    gate.sequence().await.unwrap();
    println!("entries placed in {:.0} s", since.elapsed().as_secs_f64());
    let since = Instant::now();
    gate.index_activity().await.unwrap();
    let built = since.elapsed().as_secs_f64();
    let state = gate.index_state().await.unwrap();
    assert!(state.sessions > sessions && state.waiting == 0 && state.unread == 0, "{state:?}");
    let bytes = std::fs::metadata(served.test.dir().join("index/activity.db")).unwrap().len();
    println!("index of {} sessions, {} MiB, made in {built:.0} s", state.sessions, bytes >> 20);

    let carla = served.person("carla").await;
    let mut found = serde_json::Map::new();
    for path in [
        "/sessions/search?text=okapi-plush-xl&limit=50",
        "/sessions/search?text=select%20id&limit=50",
        "/sessions/search?text=shipments&limit=50",
        "/sessions/search?text=nobody%20ever%20ran%20this&limit=50",
        "/sessions/search?text=select%20id&resource=build-1&limit=50",
        "/sessions/search?text=okapi-plush-xl&resource=nowhere&limit=50",
        "/sessions/search?text=select%20id&person=usr_00000000000000000000004711&limit=50",
    ] {
        let (median, slow, items) = measure(&carla, path).await;
        println!("{path:72} {median:8.1} ms median, {slow:8.1} ms the slowest of twenty ({items} items)");
        found.insert(path.to_owned(), json!({ "median_ms": median, "p95_ms": slow, "items": items }));
    }
    if let Some(file) = std::env::var_os("TIDEGATE_SEARCH_REPORT") {
        let report = json!({
            "sessions": sessions, "activities": sessions * ACTIVITIES, "index_bytes": bytes, "index_made_seconds": built.round(), "searches": Value::Object(found),
        });
        std::fs::write(file, format!("{report:#}\n")).unwrap();
    }
}
