//! The whole program and a mail server that verifies: a link decides by a POST, once, and `doctor` says what is wrong with the server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};
use testkit::mail::{FROM, Kind, Mail, MailServer, PASSWORD, USER};

use crate::demo::eventually;
use crate::served::{Plan, Served};

/// One call by hand: what was answered, head and all.
fn call(gate: &Served, method: &str, path: &str, headers: &[String], body: &str) -> String {
    let base = gate.ready["api"].as_str().unwrap();
    let address = base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn body(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"))
}

/// The headers of somebody's browser.
fn browser(gate: &Served, person: &str) -> Vec<String> {
    let origin = format!("Origin: {}", gate.ready["api"].as_str().unwrap());
    let kind = "Content-Type: application/json".to_owned();
    let token = json!({ "token": gate.person(person)["token"] }).to_string();
    let signed_in = call(gate, "POST", "/api/v1/web-sessions", &[origin.clone(), kind.clone()], &token);
    let cookie = signed_in.lines().find_map(|line| line.split_once("__Host-tide=")).unwrap_or_else(|| panic!("{signed_in}")).1;
    vec![origin, kind, format!("Cookie: __Host-tide={}", cookie.split(';').next().unwrap())]
}

fn start(server: &MailServer, security: &str, dir: &std::path::Path) -> Served {
    std::fs::write(dir.join("password"), PASSWORD).unwrap();
    let settings = format!(
        "[mail]\nhost = \"localhost\"\nport = {}\nsecurity = \"{security}\"\nuser = \"{USER}\"\npassword_file = \"{}\"\nfrom = \"{FROM}\"\n\
         addresses = [\"127.0.0.1\", \"::1\"]\nca_file = \"{}\"\n",
        server.port,
        dir.join("password").display(),
        server.ca_file().display(),
    );
    Served::with(Plan { settings, ..Plan::default() })
}

fn mailbox(gate: &Served, server: &MailServer, person: &str) {
    let address = format!("{person}@tide.example");
    let headers = browser(gate, person);
    let named = call(gate, "POST", "/api/v1/me/mailbox", &headers, &json!({ "address": address }).to_string());
    assert!(named.starts_with("HTTP/1.1 202"), "{named}");
    let code = eventually("the mail that confirms", || server.to(&address).iter().find_map(|mail| mail.code("mailbox")));
    let confirmed = call(gate, "POST", "/api/v1/me/mailbox/confirmation", &headers, &json!({ "code": code }).to_string());
    assert!(confirmed.starts_with("HTTP/1.1 201") && confirmed.contains(&address), "{confirmed}");
}

fn asks(server: &MailServer, person: &str) -> Option<Mail> {
    server.to(&format!("{person}@tide.example")).into_iter().rfind(|mail| mail.code("decide").is_some())
}

// covers: OK-5 (mail), C4 (mail)
#[test]
pub(crate) fn ben_decides_by_the_link_of_a_mail_and_opening_it_decides_nothing() {
    let (server, dir) = (MailServer::start(Kind::StartTls).unwrap(), tempfile::tempdir().unwrap());
    let gate = start(&server, "starttls", dir.path());
    mailbox(&gate, &server, "ben");
    let asked = gate.post("ana", "/api/v1/requests", json!({"resource": "db-1", "role": "debug", "reason": "slow"}));
    let request = asked["request"]["id"].as_str().unwrap().to_owned();
    let mail = eventually("the mail that asks", || asks(&server, "ben"));
    let code = mail.code("decide").unwrap();
    let state = || gate.get("ana", &format!("/api/v1/requests/{request}"))["state"].clone();
    let kind = ["Content-Type: application/json".to_owned()];
    // What looks after mailboxes opens the link, with and without what stands behind `#`, and tries every address it finds.
    for path in ["/decide".to_owned(), format!("/decide?{code}"), format!("/api/v1/mail/decisions?code={code}&decision=approve")] {
        for method in ["GET", "HEAD"] {
            call(&gate, method, &path, &[], "");
        }
    }
    let shown = call(&gate, "POST", "/api/v1/mail/asking", &kind, &json!({ "code": code }).to_string());
    assert!(shown.starts_with("HTTP/1.1 200"), "{shown}");
    assert_eq!((body(&shown)["asker"].as_str(), body(&shown)["request"].as_str()), (Some("ana"), Some(request.as_str())));
    assert_eq!(state(), "pending");
    let decide = |headers: &[String], what: Value| call(&gate, "POST", "/api/v1/mail/decisions", headers, &what.to_string());
    let bare = decide(&kind, json!({ "code": code, "decision": "deny" }));
    assert!(bare.starts_with("HTTP/1.1 400") && bare.contains("a no needs its reason"), "{bare}");
    let forged = decide(&kind, json!({ "code": format!("{code}0"), "decision": "approve" }));
    assert!(forged.starts_with("HTTP/1.1 401") && forged.contains("code_invalid"), "{forged}");
    // Opened where somebody else is signed in: refused, and entered who.
    let sent_on = decide(&browser(&gate, "dan"), json!({ "code": code, "decision": "approve" }));
    assert!(sent_on.starts_with("HTTP/1.1 403") && sent_on.contains("somebody else's mailbox"), "{sent_on}");
    assert_eq!(state(), "pending");
    let decided = decide(&kind, json!({ "code": code, "decision": "approve", "note": "go ahead" }));
    assert!(decided.starts_with("HTTP/1.1 200") && decided.contains("Approved by"), "{decided}");
    assert_eq!(state(), "approved");
    let again = decide(&kind, json!({ "code": code, "decision": "deny", "note": "no" }));
    assert!(again.starts_with("HTTP/1.1 401") && again.contains("used already"), "{again}");
    let told =
        eventually("Ben is told", || server.to("ben@tide.example").pop().filter(|mail| mail.header("Subject").contains("Approved by")));
    assert!(told.encrypted && told.code("decide").is_none());
    // He says no where he said yes.
    let asked = gate.post("ana", "/api/v1/requests", json!({"resource": "web-1", "role": "debug", "reason": "slow"}));
    let request = asked["request"]["id"].as_str().unwrap().to_owned();
    let next = eventually("the mail that asks for that", || asks(&server, "ben")?.code("decide").filter(|next| *next != code));
    let no = decide(&kind, json!({ "code": next, "decision": "deny", "note": "not today" }));
    assert!(no.starts_with("HTTP/1.1 200") && no.contains("Denied by"), "{no}");
    assert_eq!(gate.get("ana", &format!("/api/v1/requests/{request}"))["state"], "denied");
    gate.assert_provable();
}

#[test]
fn a_killed_gate_sends_each_mail_once_when_the_server_is_back() {
    let (server, dir) = (MailServer::start(Kind::Tls).unwrap(), tempfile::tempdir().unwrap());
    let mut gate = start(&server, "tls", dir.path());
    mailbox(&gate, &server, "ben");
    server.down(true);
    gate.post("ana", "/api/v1/requests", json!({"resource": "db-1", "role": "debug", "reason": "slow"}));
    let waiting = |gate: &Served| gate.cli("dan", &["outbox", "list", "--state", "waiting", "--to", "mail"]);
    eventually("it was tried", || {
        let list = waiting(&gate);
        let tried =
            list["items"].as_array().into_iter().flatten().any(|row| row["error"].as_str().is_some_and(|why| why.contains("reached")));
        tried.then_some(())
    });
    gate.kill();
    server.down(false);
    gate.run_again();
    eventually("the mail", || asks(&server, "ben"));
    assert_eq!(server.to("ben@tide.example").iter().filter(|mail| mail.code("decide").is_some()).count(), 1);
    gate.assert_provable();
}
