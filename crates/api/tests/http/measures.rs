//! The measures over HTTP: who may read them, what is asked wrongly, and Prometheus' own look at its names.

use std::io::Write as _;
use std::process::{Command, Stdio};

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::Served;

// covers: BACK-5 (api)
#[tokio::test]
async fn the_measures_of_a_week() {
    let served = Served::start().await;
    let (ana, ben, eve) = (served.person("ana").await, served.person("ben").await, served.person("eve").await);
    let (_, asked) = ana.post("/requests", crate::wish()).await;
    let request = asked["request"]["id"].as_str().unwrap().to_owned();
    served.test.pass(std::time::Duration::from_secs(90)).await;
    let (status, _) = ben.post(&format!("/requests/{request}/approve"), json!({})).await;
    assert_eq!(status, StatusCode::OK);
    served.test.gate.checkpoint().await.unwrap();

    let (status, found) = eve.get("/measures?since=2026-03-01&until=2026-03-10").await;
    assert_eq!(status, StatusCode::OK, "{found}");
    assert_eq!((&found["by"], &found["waiting"]), (&json!("week"), &json!(0)));
    let froms: Vec<&str> = found["periods"].as_array().unwrap().iter().map(|period| period["from"].as_str().unwrap()).collect();
    assert_eq!(froms, ["2026-03-01", "2026-03-02", "2026-03-09"]);
    let total = &found["total"];
    assert_eq!(total["request_to_session"], json!({ "count": 0, "median_ms": null, "p90_ms": null }), "nobody connected yet");
    assert_eq!(total["time_bound"], json!({ "part": 0, "of": 0, "share": null }));
    // As many periods as make a picture, if nothing is said.
    let (_, usual) = eve.get("/measures").await;
    assert_eq!(usual["periods"].as_array().unwrap().len(), 27, "26 weeks, the first and the last cut off");

    assert_eq!(ana.get("/measures").await.0, StatusCode::FORBIDDEN);
    for wrong in ["since=2026-03-10&until=2026-03-01", "since=2020-01-01&by=day", "by=year", "since=yesterday", "until=-009999-01-01"] {
        let (status, problem) = eve.get(&format!("/measures?{wrong}")).await;
        assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("invalid")), "{wrong}: {problem}");
    }
}

// covers: BACK-5 (api), RUN-4 (api)
#[tokio::test]
async fn prometheus_own_tool_objects_to_nothing() {
    let served = Served::start().await;
    let eve = served.person("eve").await;
    served.test.gate.checkpoint().await.unwrap();
    let text = eve.call(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(text.contains("\ntidegate_standing_privileged_roles 0\n") && text.contains("\ntidegate_measures_stuck 0\n"), "{text}");
    let check = |text: &str| {
        let mut tool = Command::new("promtool");
        tool.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::piped());
        let mut running = tool.spawn().expect("promtool, of Debian's package `prometheus`; run scripts/packages");
        running.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let out = running.wait_with_output().unwrap();
        (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout))
    };
    let (sound, said) = check(&text);
    assert!(sound && said.is_empty(), "{said}");
    assert!(
        !check("# TYPE tidegate_lateral_steps counter\ntidegate_lateral_steps 1\n").0,
        "it does object to a counter that is not called one"
    );
}

// covers: BACK-2 (api), BACK-6 (api)
#[tokio::test]
async fn campaigns_noise_and_the_playbook_are_for_who_may() {
    let served = Served::start().await;
    let (ana, carla, dan) = (served.person("ana").await, served.person("carla").await, served.person("dan").await);
    let (status, campaign) = carla.post("/reviews/campaigns", json!({ "within": "14d" })).await;
    assert_eq!((status, &campaign["opened"], &campaign["open_already"]), (StatusCode::OK, &json!([]), &json!(0)));
    assert_eq!(ana.post("/reviews/campaigns", json!({ "within": "14d" })).await.0, StatusCode::FORBIDDEN);
    assert_eq!(carla.post("/reviews/campaigns", json!({ "within": "0s" })).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(carla.get("/reviews?kind=standing&state=open").await.1["items"], json!([]));

    let (status, noisy) = dan.get("/policy/noisy?time=30d").await;
    assert_eq!((status, &noisy["items"]), (StatusCode::OK, &json!([])), "no policy stands long enough");
    assert_eq!(ana.get("/policy/noisy").await.0, StatusCode::FORBIDDEN);
    let playbook = dan.call(Method::GET, "/policy/playbook").send().await.unwrap();
    assert_eq!(playbook.headers()["content-type"], "text/markdown; charset=utf-8");
    assert!(playbook.text().await.unwrap().contains("`security` looks at it within 1d"));
    assert_eq!(ana.get("/policy/playbook").await.0, StatusCode::FORBIDDEN);
}
