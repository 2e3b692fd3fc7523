//! The whole program and collectors of its log, with `kill -9` in between: everything arrives, in order.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::collectors::validate_ocsf;
use testkit::web::Reply;
use testkit::webhooks::Receiver;

use crate::demo::eventually;
use crate::served::{Plan, Served};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[expect(clippy::disallowed_methods, reason = "the gate runs for real, by the machine's clock")]
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn told(receiver: &Receiver) -> Vec<Value> {
    receiver.taken().iter().flat_map(|message| message.body["data"]["events"].as_array().unwrap().clone()).collect()
}

/// Places in the log, as they came, each kept the first time.
fn places(receiver: &Receiver) -> Vec<u64> {
    let mut places = Vec::new();
    for event in told(receiver) {
        if let Some(place) = event["metadata"]["sequence"].as_u64()
            && !places.contains(&place)
        {
            places.push(place);
        }
    }
    places
}

// covers: EV-6 (ssh), EV-6 (cli), F1 (streams), RUN-4 (streams)
#[test]
fn killed_in_the_middle_the_gate_goes_on_where_its_collector_stopped_taking() {
    let receiver = Receiver::start(&[SECRET], now()).unwrap();
    let settings = format!(
        "[[stream]]\nname = \"siem\"\nkind = \"http\"\nurl = \"{}\"\nsecret_file = \"hook\"\nactivity = true\naddresses = [\"127.0.0.1\"]\n",
        receiver.url
    );
    let mut gate = Served::with(Plan { settings, files: vec![("hook", SECRET.to_owned())], ..Plan::default() });
    gate.grant("ana", "build-1", "shell", "1h");
    assert!(gate.ssh("ana", "build-1+shell", &[], &["echo one"]).status().unwrap().success());
    eventually("the session and what was done in it arrive", || {
        told(&receiver)
            .iter()
            .any(|event| event["class_name"] == "SSH Activity" && event["metadata"]["log_name"] == "activity")
            .then_some(())
    });
    // The collector is away, people work on, and the gate dies.
    receiver.troubled((0..10_000).map(|_| Reply::status(503)).collect());
    assert!(gate.ssh("ana", "build-1+shell", &[], &["echo two"]).status().unwrap().success());
    let listed = eventually("the stream is seen to fail", || {
        let list = gate.get("dan", "/api/v1/streams");
        (list["items"][0]["failing_since"].is_string() && list["items"][0]["waiting"].as_u64() > Some(0)).then_some(list)
    });
    assert_eq!(listed["items"][0]["error"], "it answered with HTTP 503");
    let metrics = String::from_utf8(gate.tidegate("dan", &["stream", "list"]).stdout).unwrap();
    assert!(metrics.contains("failing") && metrics.contains("HTTP 503"), "{metrics}");
    gate.kill();
    receiver.troubled(Vec::new());
    gate.run_again();
    eventually("it is up again", || gate.try_api("eve", "GET", "/api/v1/me", None));
    receiver.at(now());
    assert!(gate.ssh("ana", "build-1+shell", &[], &["echo three"]).status().unwrap().success());
    eventually("nothing waits", || {
        receiver.at(now());
        // What came twice is one; and what was done in a session may come after its end.
        let told = told(&receiver);
        let ends: BTreeSet<_> =
            told.iter().filter(|event| event["message"] == "session.ended").map(|e| e["metadata"]["sequence"].as_u64()).collect();
        let done = ends.len() >= 3 && told.iter().any(|event| event.to_string().contains("echo three"));
        let list = gate.get("dan", "/api/v1/streams");
        (list["items"][0]["waiting"] == json!(0) && done).then_some(())
    });
    let places = places(&receiver);
    assert_eq!(places, (0..places.len() as u64).collect::<Vec<_>>(), "every entry, in order, none left out");
    let lines: String = told(&receiver).iter().map(|event| format!("{event}\n")).collect();
    validate_ocsf(&lines).unwrap();
    for said in ["echo one", "echo two", "echo three"] {
        assert!(lines.contains(said), "{said}");
    }
    gate.assert_provable();
}
