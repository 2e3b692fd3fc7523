//! An identity provider says by itself that somebody is not to be let in, through the whole program: what they have open ends at the target.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;

use serde_json::json;
use testkit::signals::{ACCOUNT_DISABLED, SESSION_REVOKED, Transmitter};

use crate::demo::eventually;
use crate::known::send;
use crate::served::{Plan, Served};

const LOGIN: &str = "https://login.example.com";

/// The second it is by the machine's clock, which is the gate's.
#[expect(clippy::disallowed_methods, reason = "the gate runs for real, by the machine's clock")]
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

// covers: WHO-8 (ssh), D2 (ssh)
#[test]
fn whoever_is_revoked_at_the_provider_is_gone_from_the_target() {
    let transmitter = Transmitter::start(LOGIN, "https://gate.example.com").unwrap();
    let provider = format!("[[identity_provider]]\nname = \"corp-login\"\nissuer = \"{LOGIN}\"\nclient_id = \"tidegate\"\n");
    let gate = Served::with(Plan { settings: format!("{provider}{}", transmitter.settings("corp", "corp-login")), ..Plan::default() });
    let says = |event: &str, of: &str| {
        let signal = transmitter.sign(&transmitter.says(event, of, now()));
        let api = gate.ready["api"].as_str().unwrap();
        let answer = send(api, None, "POST", "/api/v1/signals/corp", "application/secevent+jwt", &signal).unwrap();
        assert_eq!(answer, (202, Vec::new()));
    };
    for name in ["ana", "ben"] {
        let path = format!("/api/v1/users/{}/identities", gate.id(name));
        gate.post("dan", &path, json!({ "provider": "corp-login", "subject": format!("{name}-1") }));
    }
    // 1. Ana and Ben work with stock `ssh`.
    let works = |name: &str| {
        let wish = json!({ "resource": "build-1", "role": "shell", "duration": "10m", "reason": "a build hangs" });
        let asked = gate.post(name, "/api/v1/requests", wish);
        assert!(asked["grant"]["id"].is_string(), "{asked}");
        let mut ssh = gate.ssh(name, "build-1+shell", &["-T"], &["echo $$; exec sleep 1000"]).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(ssh.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let at_target = PathBuf::from(format!("/proc/{}", line.trim()));
        assert!(at_target.exists(), "{line:?}");
        (ssh, at_target)
    };
    let (mut hers, her_sleep) = works("ana");
    let (mut his, his_sleep) = works("ben");
    // 2. The provider revokes her session there.
    says(SESSION_REVOKED, "ana-1");
    eventually("what she ran is gone from the target", || (!her_sleep.exists()).then_some(()));
    assert_eq!(hers.wait().unwrap().code(), Some(76));
    let mut said = String::new();
    hers.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("locked"), "{said}");
    assert!(his_sleep.exists() && his.try_wait().unwrap().is_none(), "nobody spoke of Ben");
    // 3. Nothing of hers opens, and who looks sees whose word it was.
    let again = gate.ssh("ana", "build-1+shell", &[], &["true"]).output().unwrap();
    assert!(!again.status.success());
    let locks = gate.get("dan", "/api/v1/locks");
    assert_eq!(locks["items"][0]["transmitter"], "corp", "{locks}");
    assert!(locks["items"][0]["reason"].as_str().unwrap().contains("session revoked (seen from two places)"), "{locks}");
    // 4. The same by RISC; and once an administrator lifts hers she is let in as before.
    says(ACCOUNT_DISABLED, "ben-1");
    eventually("what he ran is gone from the target", || (!his_sleep.exists()).then_some(()));
    assert_eq!(his.wait().unwrap().code(), Some(76));
    gate.post("dan", &format!("/api/v1/locks/{}/lift", locks["items"][0]["id"].as_str().unwrap()), json!({}));
    let asked = gate.post(
        "ana",
        "/api/v1/requests",
        json!({ "resource": "build-1", "role": "shell", "duration": "10m", "reason": "the build hangs again" }),
    );
    assert!(asked["grant"]["id"].is_string(), "{asked}");
    let again = gate.ssh("ana", "build-1+shell", &[], &["true"]).output().unwrap();
    assert!(again.status.success(), "{again:?}");
    gate.assert_provable();
}
