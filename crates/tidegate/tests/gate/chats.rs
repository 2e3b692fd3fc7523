//! The whole program and a workspace of Slack that checks what the original checks; a receiver of webhooks, and `kill -9` in between.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::slack::{BOT_TOKEN, CHANNEL, Message, SIGNING_SECRET, Slack, TEAM, signed};
use testkit::web::Reply;
use testkit::webhooks::Receiver;

use crate::demo::{Talk, eventually};
use crate::served::{Plan, Served};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[expect(clippy::disallowed_methods, reason = "the gate runs for real, by the machine's clock")]
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// One call by hand: what was answered, head and all.
fn call(gate: &Served, path: &str, headers: &[String], body: &str) -> String {
    let base = gate.ready["api"].as_str().unwrap();
    let address = base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    write!(stream, "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Slack calls.
fn slack_calls(gate: &Served, path: &str, secret: &str, body: &str) -> String {
    let (timestamp, signature) = signed(secret, now(), body);
    let headers = [
        "Content-Type: application/x-www-form-urlencoded".to_owned(),
        format!("X-Slack-Request-Timestamp: {timestamp}"),
        format!("X-Slack-Signature: {signature}"),
    ];
    call(gate, &format!("/api/v1/chat/slack/{path}"), &headers, body)
}

/// A gate with a workspace and a receiver.
fn start(slack: &Slack, receiver: &Receiver, dir: &TempDir) -> Served {
    for (name, value) in [("bot", BOT_TOKEN), ("signing", SIGNING_SECRET), ("hook", SECRET)] {
        std::fs::write(dir.path().join(name), value).unwrap();
    }
    let at = dir.path().display();
    let config = format!(
        "[slack]\nteam = \"{TEAM}\"\nchannel = \"{CHANNEL}\"\nbot_token_file = \"{at}/bot\"\nsigning_secret_file = \"{at}/signing\"\n\
         api_url = \"{}\"\nhooks_url = \"{}\"\naddresses = [\"127.0.0.1\"]\n\
         [[webhook]]\nname = \"siem\"\nurl = \"{}\"\nevents = [\"request.submitted\"]\nsecret_file = \"{at}/hook\"\naddresses = [\"127.0.0.1\"]\n",
        slack.api(),
        slack.hooks(),
        receiver.url
    );
    Served::with(Plan { settings: config, ..Plan::default() })
}

/// Somebody opens the link that Slack showed them, signed in in a browser, and says that it is them.
fn link(gate: &Served, slack: &Slack, user: &str, person: &str) {
    let answer = slack_calls(gate, "commands", SIGNING_SECRET, &slack.command(user, "/tidegate", "help"));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let said = eventually("the link", || slack.whispers(user).pop()).to_string();
    let code = said.split("/chat?code=").nth(1).unwrap().split('|').next().unwrap().to_owned();
    let origin = format!("Origin: {}", gate.ready["api"].as_str().unwrap());
    let kind = "Content-Type: application/json".to_owned();
    let token = json!({ "token": gate.person(person)["token"] }).to_string();
    let signed_in = call(gate, "/api/v1/web-sessions", &[origin.clone(), kind.clone()], &token);
    let cookie = signed_in.lines().find_map(|line| line.split_once("__Host-tide=")).unwrap_or_else(|| panic!("{signed_in}")).1;
    let cookie = format!("Cookie: __Host-tide={}", cookie.split(';').next().unwrap());
    let code = json!({ "code": code }).to_string();
    let shown = call(gate, "/api/v1/chat/asking", &[origin.clone(), kind.clone(), cookie.clone()], &code);
    assert!(shown.contains(user), "{shown}");
    let linked = call(gate, "/api/v1/me/chat-accounts", &[origin, kind, cookie], &code);
    assert!(linked.starts_with("HTTP/1.1 201"), "{linked}");
    let mine = gate.get(person, "/api/v1/me/chat-accounts");
    assert_eq!(mine["items"][0]["account"], user);
}

fn message(slack: &Slack, about: &str) -> Message {
    eventually("the message", || slack.messages(CHANNEL).into_iter().find(|message| message.blocks.to_string().contains(about)))
}

// covers: OK-5 (chat), OK-3 (chat), C4 (chat)
#[test]
pub(crate) fn ana_waits_in_her_shell_and_ben_presses_a_button() {
    let (slack, receiver, dir) = (Slack::start().unwrap(), Receiver::start(&[SECRET], now()).unwrap(), tempfile::tempdir().unwrap());
    let gate = start(&slack, &receiver, &dir);
    link(&gate, &slack, "UBEN", "ben");
    link(&gate, &slack, "UANA", "ana");
    let wait = ["-o", "SetEnv=TIDEGATE_WAIT=1 TIDEGATE_REASON=slow"];
    let mut ana = Talk::start(gate.ssh("ana", "db-1+shell", &wait, &["echo through"]));
    ana.until("waits for approval");
    let posted = message(&slack, "ana asks for shell on db-1");
    // Neither she herself nor who forges a call gets her in.
    slack_calls(&gate, "interactions", SIGNING_SECRET, &slack.press("UANA", "tide_approve", &posted));
    eventually("the refusal", || slack.whispers("UANA").pop().filter(|said| said.to_string().contains("Nobody decides on their own")));
    let approve = slack.press("UBEN", "tide_approve", &posted);
    let forged = slack_calls(&gate, "interactions", "guessed", &approve);
    assert!(forged.starts_with("HTTP/1.1 401") && forged.contains("not made with the signing secret"), "{forged}");
    let pending = gate.get("ana", "/api/v1/requests?state=pending");
    assert_eq!(pending["items"].as_array().map(Vec::len), Some(1), "{pending}");
    let taken = slack_calls(&gate, "interactions", SIGNING_SECRET, &approve);
    assert!(taken.starts_with("HTTP/1.1 200"), "{taken}");
    ana.until("through");
    assert_eq!(ana.end(), 0);
    eventually("the message says so", || message(&slack, "db-1").blocks.to_string().contains("Approved by ben").then_some(()));
    // The command line lists whose accounts are whose, to them and to who administers people, and takes one back.
    let mine = gate.cli("ben", &["chat", "list"]);
    assert_eq!((&mine["items"][0]["account"], mine["items"].as_array().unwrap().len()), (&json!("UBEN"), 1), "{mine}");
    assert_eq!(gate.cli("dan", &["chat", "list", "--person", "ben"])["items"], mine["items"]);
    assert!(!gate.tidegate("ana", &["chat", "list", "--person", "ben"]).status.success());
    let account = mine["items"][0]["id"].as_str().unwrap();
    assert!(!gate.tidegate("ana", &["chat", "remove", account]).status.success());
    assert_eq!(gate.cli("ben", &["chat", "list"])["items"], mine["items"]);
    eventually("Ana is told", || slack.messages("UANA").into_iter().find(|told| told.text.contains("Approved by ben")));
    // She asks there, too.
    let command = slack.command("UANA", "/tidegate", "web-1+debug for 30m the front is slow");
    let taken = slack_calls(&gate, "commands", SIGNING_SECRET, &command);
    assert!(taken.starts_with("HTTP/1.1 200"), "{taken}");
    let asked =
        eventually("her request", || gate.get("ana", "/api/v1/requests?state=pending")["items"].as_array().unwrap().first().cloned());
    assert_eq!(
        (&asked["resource"], &asked["reason"], &asked["door"]),
        (&json!("web-1"), &json!("the front is slow"), &json!("chat")),
        "{asked}"
    );
    // Ben chooses what he is told there; nobody else does, and an account that is none of his is as none at all.
    assert_eq!(gate.cli("ben", &["chat", "tell", account, "own"])["told"], "own");
    assert_eq!(gate.cli("ben", &["chat", "list"])["items"][0]["told"], "own");
    assert!(!gate.tidegate("ana", &["chat", "tell", account, "nothing"]).status.success());
    assert!(!gate.tidegate("ben", &["chat", "tell", account, "loudly"]).status.success());
    let said = gate.tidegate("ben", &["chat", "tell", account, "all"]);
    assert!(said.status.success() && String::from_utf8_lossy(&said.stdout).contains("you are told: all"), "{said:?}");
    gate.cli("ben", &["chat", "remove", account]);
    assert_eq!(gate.cli("ben", &["chat", "list"])["items"], json!([]));
    gate.assert_provable();
}

#[test]
fn a_killed_gate_sends_what_it_had_kept_under_the_same_id() {
    let (slack, receiver, dir) = (Slack::start().unwrap(), Receiver::start(&[SECRET], now()).unwrap(), tempfile::tempdir().unwrap());
    let mut gate = start(&slack, &receiver, &dir);
    receiver.troubled((0..1_000).map(|_| Reply::status(503)).collect());
    slack.down(true);
    // A call is taken whatever becomes of what it asks for.
    let taken = slack_calls(&gate, "commands", SIGNING_SECRET, &slack.command("UANA", "/tidegate", "help"));
    assert!(taken.starts_with("HTTP/1.1 200"), "{taken}");
    let asked = gate.post("ana", "/api/v1/requests", json!({"resource": "db-1", "role": "debug", "reason": "slow"}));
    let request = asked["request"]["id"].as_str().unwrap().to_owned();
    let waiting = |gate: &Served| gate.cli("dan", &["outbox", "list", "--state", "waiting", "--to", "webhook:siem"]);
    let before = eventually("it was tried", || {
        let list = waiting(&gate);
        (list["items"][0]["attempts"].as_i64() > Some(0)).then_some(list)
    });
    let id = before["items"][0]["id"].as_str().unwrap().to_owned();
    gate.kill();
    receiver.troubled(Vec::new());
    slack.down(false);
    receiver.at(now());
    gate.run_again();
    receiver.at(now());
    let taken = eventually("it was sent", || receiver.taken().into_iter().next());
    assert_eq!((taken.id.as_str(), &taken.body["data"]["request"]), (id.as_str(), &json!(request)), "{:?}", receiver.refused());
    message(&slack, &request);
    let shown: Value = eventually("it says so", || {
        let shown = gate.cli("dan", &["outbox", "show", &id]);
        (shown["state"] == "delivered").then_some(shown)
    });
    assert_eq!(shown["event"], "request.submitted");
    let refused = gate.tidegate("ana", &["outbox", "list"]);
    assert!(!refused.status.success(), "{refused:?}");
    let again = gate.cli("dan", &["outbox", "replay", &id]);
    assert_eq!(again["id"], id.as_str());
    eventually("it came again", || (receiver.taken().iter().filter(|message| message.id == id).count() == 2).then_some(()));
    gate.assert_provable();
}
