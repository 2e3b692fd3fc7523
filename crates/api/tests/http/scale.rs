//! How lists answer in a large company: 10,000 people, 100,000 sessions, 1,000,000 entries of the log. Printed, and judged by whoever reads it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use access::session::{ClosedSession, EndReason, Protocol};
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

#[expect(clippy::print_stdout, reason = "the numbers are for whoever runs it")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "full scale: scripts/soak"]
async fn lists_of_a_large_company() {
    let served = Served::start().await;
    let (ana, eve) = (served.test.person("ana"), served.person("eve").await);
    // One journey, of which there are to be many.
    served.test.gate.submit(ana, testkit::gate::ask("build-1", "shell")).await.unwrap();
    let opened = served.test.gate.open(ana, &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap();
    let session = opened.permit.facts().session;
    opened.recording.close("client", 2).await.unwrap();
    let closed = ClosedSession { session, end: EndReason::Client, confirmed: true, bytes_up: 1, bytes_down: 1, recording: None };
    served.test.gate.close(closed).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let store = served.test.dir().join("store.db");
    assert!(Command::new("python3").arg(root.join("bench/multiply.py")).arg(&store).status().unwrap().success());
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
