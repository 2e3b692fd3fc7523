//! The local socket: what an operator does at the machine itself when nobody can through the API.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::demo::eventually;
use crate::known::{http, program};
use crate::served::Served;

fn operator(served: &Served, args: &[&str]) -> Output {
    Command::new(program()).env_clear().env("TIDEGATE_CONFIG", served.dir().join("tidegate.toml")).args(args).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn entries(served: &Served, event: &str) -> Vec<Value> {
    served.get("eve", &format!("/api/v1/audit/entries?event={event}"))["items"].as_array().unwrap().clone()
}

// covers: MAY-8 (cli)
#[test]
fn a_policy_is_put_back_and_stays_so() {
    let mut served = Served::start();
    let good = served.get("dan", "/api/v1/policy")["digest"].clone();
    served.change_policy("people.toml", |text| text.replace("members = [\"carla\"]", "members = [\"eve\"]"));
    let bad = served.get("dan", "/api/v1/policy")["digest"].clone();

    let output = operator(&served, &["policy", "rollback", "--json"]);
    assert!(output.status.success(), "{}", said(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["digest"], &answer["changed"]), (&good, &json!(true)), "{answer}");
    assert_eq!(served.get("dan", "/api/v1/policy")["digest"], good);
    let entry = entries(&served, "bundle.activated").remove(0);
    assert_eq!((&entry["door"], &entry["data"]["previous"], &entry["data"]["digest"]), (&json!("socket"), &bad, &good), "{entry}");
    assert!(entry["texts"]["by"].as_str().unwrap().contains("of the gate's machine"), "{entry}");

    // The directory still holds the other one; it is not taken by itself, nor by a restart, however often it is looked at …
    served.stop();
    served.run_again();
    for look in ["one", "two", "three"] {
        // A file that does not count is named at the next look.
        fs::write(served.dir().join(format!("policy/{look}.ceder")), "").unwrap();
        eventually("the directory was looked at", || served.log().contains(&format!("{look}.ceder")).then_some(()));
    }
    assert_eq!(served.get("dan", "/api/v1/policy")["digest"], good);
    assert!(served.log().contains("replaced by a push or a rollback"), "{}", served.log());
    let doctor = said(&operator(&served, &["doctor"]));
    assert!(doctor.contains("so it waits until it changes") && doctor.contains("one.ceder: this file is left out"), "{doctor}");
    // … until it changes.
    served.change_policy("people.toml", |text| text + "# mended\n");
    let mended = served.get("dan", "/api/v1/policy")["digest"].clone();
    assert!(mended != good && mended != bad);
    // What the directory itself replaced while nobody looked, it may bring back.
    served.stop();
    let people = served.dir().join("policy/people.toml");
    let text = fs::read_to_string(&people).unwrap();
    fs::write(&people, format!("{text}# again\n")).unwrap();
    served.run_again();
    let again = served.get("dan", "/api/v1/policy")["digest"].clone();
    served.stop();
    fs::write(&people, text).unwrap();
    served.run_again();
    assert!(again != mended && served.get("dan", "/api/v1/policy")["digest"] == mended);
    // By name, the other one.
    let history = served.get("dan", "/api/v1/policy/history");
    let before = history["items"].as_array().unwrap().iter().find(|a| a["digest"] == bad).unwrap()["id"].as_str().unwrap().to_owned();
    let output = operator(&served, &["policy", "rollback", "--to", &before]);
    assert!(output.status.success() && said(&output).contains("is in force."), "{}", said(&output));
    assert_eq!(served.get("dan", "/api/v1/policy")["digest"], bad);
    served.assert_provable();
}

// covers: WHO-4 (cli), G2 (cli)
#[test]
fn a_lost_administrator_is_invited_anew_and_everybody_can_see_it() {
    let served = Served::start();
    let base = served.ready["api"].as_str().unwrap().to_owned();
    for name in ["admin", "night-shift"] {
        let output = operator(&served, &["recover", name, "--json"]);
        assert!(output.status.success(), "{}", said(&output));
        let recovered: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&recovered["username"], &recovered["api"]), (&json!(name), &json!(base)));
        let (status, joined) = http(&base, None, "POST", "/api/v1/invitations/accept", Some(json!({"code": recovered["code"]})));
        assert_eq!(status, 201, "{joined}");
        let (_, me) = http(&base, joined["token"]["secret"].as_str(), "GET", "/api/v1/me", None);
        assert!(me["administers"].as_array().unwrap().contains(&json!("person")), "{me}");
        let (again, _) = http(&base, None, "POST", "/api/v1/invitations/accept", Some(json!({"code": recovered["code"]})));
        assert_eq!(again, 401, "it was used");
    }
    let loud = entries(&served, "administrator.recovered");
    assert_eq!(loud.len(), 2);
    assert!(loud.iter().all(|entry| entry["door"] == "socket" && entry["texts"]["by"].is_string()), "{loud:?}");
    assert!(served.log().contains("an administrator was invited at the machine itself"), "{}", served.log());
    served.assert_provable();

    // Nobody becomes an administrator who was somebody else before.
    let refused = operator(&served, &["recover", "ana"]);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(said(&refused).contains("name somebody new"), "{}", said(&refused));
    assert_eq!(entries(&served, "administrator.recovered").len(), 2);
}

// covers: G2 (cli)
#[test]
fn the_socket_is_the_owner_s_alone_and_answers_nothing_else() {
    let served = Served::start();
    let path = served.dir().join("data/control.sock");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let ask = |line: &[u8]| {
        let mut stream = UnixStream::connect(&path).unwrap();
        let _too_much = stream.write_all(line);
        let mut answer = String::new();
        let _broken = stream.read_to_string(&mut answer);
        answer
    };
    for (line, wanted) in [
        (&b"{\"act\":\"recover\",\"username\":\"Not A Name\"}\n"[..], "\"code\":\"invalid\""),
        (b"{\"act\":\"requests\"}\n", "\"code\":\"invalid\""),
        (b"GET /api/v1/me HTTP/1.1\r\n\r\n", "\"code\":\"invalid\""),
    ] {
        assert!(ask(line).contains(wanted), "{}", ask(line));
    }
    assert!(!ask(&[b'x'; 100_000]).contains("done"));
    assert!(ask(b"{\"act\":\"recover\",\"username\":\"night-shift\"}\n").starts_with("{\"done\""), "and goes on answering");

    // Without a gate there is nobody to ask, and that is said.
    let mut served = served;
    served.stop();
    let nobody = operator(&served, &["recover"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(said(&nobody).contains("start it with `tidegate serve` first"), "{}", said(&nobody));
}
