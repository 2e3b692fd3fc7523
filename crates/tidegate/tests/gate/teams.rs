//! The whole program and a tenant of Microsoft Teams that checks what the original checks.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};
use testkit::teams::{APP, APP_PASSWORD, CHANNEL, Posted, TENANT, Teams};

use crate::demo::eventually;
use crate::served::{Plan, Served};

const BEN: &str = "bbbbbbbb-0000-4000-8000-000000000002";

#[expect(clippy::disallowed_methods, reason = "the gate runs for real, by the machine's clock")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

fn call(gate: &Served, path: &str, headers: &[String], body: &str) -> String {
    let base = gate.ready["api"].as_str().unwrap();
    let address = base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn teams_calls(gate: &Served, authorization: &str, activity: &Value) -> String {
    call(gate, "/api/v1/chat/teams/messages", &[format!("Authorization: {authorization}")], &activity.to_string())
}

fn press(gate: &Served, teams: &Teams, card: &Posted) -> String {
    let activity = teams.press(BEN, "tide_approve", card, None, now());
    teams_calls(gate, &teams.authorization(&Teams::claims(now().as_second())), &activity)
}

// covers: OK-5 (teams), C4 (teams)
#[test]
pub(crate) fn ana_asks_and_ben_presses_a_button_in_teams() {
    let (teams, dir) = (Teams::start().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("app"), APP_PASSWORD).unwrap();
    let settings = format!(
        "[teams]\ntenant = \"{TENANT}\"\napp = \"{APP}\"\nchannel = \"{CHANNEL}\"\napp_password_file = \"{}\"\nlogin_url = \"{}\"\n\
         service_url = \"{}\"\nmetadata_url = \"{}\"\naddresses = [\"127.0.0.1\"]\n",
        dir.path().join("app").display(),
        teams.login(),
        teams.service(),
        teams.metadata(),
    );
    let gate = Served::with(Plan { settings, ..Plan::default() });
    let asked = gate.post("ana", "/api/v1/requests", json!({"resource": "db-1", "role": "debug", "reason": "slow"}));
    let request = asked["request"]["id"].as_str().unwrap().to_owned();
    let state = || gate.get("ana", &format!("/api/v1/requests/{request}"))["state"].clone();
    let card = eventually("the card", || teams.cards(CHANNEL).into_iter().find(|card| card.card.to_string().contains(&request)));
    // Ben is asked who he is, and says so where he is signed in.
    let who = press(&gate, &teams, &card);
    assert!(who.starts_with("HTTP/1.1 200") && who.contains("/chat?code="), "{who}");
    let code = who.split("/chat?code=").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let origin = format!("Origin: {}", gate.ready["api"].as_str().unwrap());
    let token = json!({ "token": gate.person("ben")["token"] }).to_string();
    let signed_in = call(&gate, "/api/v1/web-sessions", std::slice::from_ref(&origin), &token);
    let cookie = signed_in.lines().find_map(|line| line.split_once("__Host-tide=")).unwrap_or_else(|| panic!("{signed_in}")).1;
    let cookie = format!("Cookie: __Host-tide={}", cookie.split(';').next().unwrap());
    let linked = call(&gate, "/api/v1/me/chat-accounts", &[origin, cookie], &json!({ "code": code }).to_string());
    assert!(linked.starts_with("HTTP/1.1 201") && linked.contains(BEN), "{linked}");
    // Who forges a call gets nobody in; what a browser sends is not Teams'.
    let activity = teams.press(BEN, "tide_approve", &card, None, now());
    let forged = teams_calls(&gate, &Teams::start().unwrap().authorization(&Teams::claims(now().as_second())), &activity);
    assert!(forged.starts_with("HTTP/1.1 401"), "{forged}");
    let good = teams.authorization(&Teams::claims(now().as_second()));
    let page = [format!("Authorization: {good}"), "Origin: https://evil.example".to_owned()];
    let crossed = call(&gate, "/api/v1/chat/teams/messages", &page, &activity.to_string());
    assert!(crossed.starts_with("HTTP/1.1 403") && crossed.contains("cross_site"), "{crossed}");
    assert_eq!(state(), "pending");
    let taken = teams_calls(&gate, &good, &activity);
    assert!(taken.starts_with("HTTP/1.1 200") && taken.contains("Approved by"), "{taken}");
    assert_eq!(state(), "approved");
    let again = teams_calls(&gate, &good, &activity);
    assert!(again.starts_with("HTTP/1.1 401") && again.contains("it came before"), "{again}");
    eventually("the card says so", || {
        teams.cards(CHANNEL).into_iter().find(|card| card.card.to_string().contains("Approved by")).map(|_| ())
    });
    // Who guesses waits, whatever they send; Teams does not wait for them.
    let path = "/api/v1/chat/teams/messages";
    let refused: Vec<String> = (0..100).map(|_| call(&gate, path, &[], "x")).take_while(|said| !said.starts_with("HTTP/1.1 429")).collect();
    assert!(refused.len() < 100 && refused.iter().all(|said| said.starts_with("HTTP/1.1 401")), "{} {:?}", refused.len(), refused.last());
    let pressed = press(&gate, &teams, &card);
    assert!(pressed.starts_with("HTTP/1.1 200"), "{pressed}");
    // He says no where he said yes.
    let asked = gate.post("ana", "/api/v1/requests", json!({"resource": "web-1", "role": "debug", "reason": "slow"}));
    let request = asked["request"]["id"].as_str().unwrap().to_owned();
    let card = eventually("the card", || teams.cards(CHANNEL).into_iter().find(|card| card.card.to_string().contains(&request)));
    let good = teams.authorization(&Teams::claims(now().as_second()));
    let no = teams_calls(&gate, &good, &teams.press(BEN, "tide_deny", &card, Some("not today"), now()));
    assert!(no.starts_with("HTTP/1.1 200") && no.contains("Denied by"), "{no}");
    assert_eq!(gate.get("ana", &format!("/api/v1/requests/{request}"))["state"], "denied");
    gate.assert_provable();
}
