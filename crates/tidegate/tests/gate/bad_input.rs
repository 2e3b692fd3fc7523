//! Bad input: a sentence that says what, why and what to do; nothing lost.

use serde_json::json;

use std::path::PathBuf;
use std::process::Command;

use crate::demo::{Demo, Talk, eventually, http};

// covers: A9 (api), A9 (ssh), B2 (api), B2 (ssh), G2 (api), G2 (ssh), E9 (api), E9 (ssh)
#[test]
fn wrong_things_get_a_sentence_and_a_status() {
    let demo = Demo::start();
    let base = demo.ready["api"].as_str().unwrap();
    // The right thing, first.
    assert_eq!(demo.api("ana", "GET", "/api/v1/me", None).0, 200);
    let (status, problem) = http(base, None, "GET", "/api/v1/me", None);
    assert_eq!((status, &problem["code"]), (401, &json!("not_signed_in")), "{problem}");
    let (status, _) = http(base, Some("tg_pat_0000000000000000000000000000000000"), "GET", "/api/v1/me", None);
    assert_eq!(status, 401);
    let (status, problem) = demo.api("ana", "GET", "/api/v1/grants/grt_00000000000000000000000000", None);
    assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{problem}");
    let (status, problem) = demo.api("ana", "POST", "/api/v1/requests", Some(json!({"resource": "db-1", "rolle": "debug"})));
    assert_eq!(status, 400, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("rolle"), "{problem}");
    let (status, problem) = demo.api("ana", "POST", "/api/v1/locks", Some(json!({"scope": "resource:db-1"})));
    assert_eq!((status, &problem["code"]), (403, &json!("not_allowed")), "{problem}");
    let (status, problem) = demo.api("ana", "GET", "/api/v1/nothing", None);
    assert_eq!(status, 404, "{problem}");
    assert!(problem["hint"].is_string() && problem["request_id"].is_string(), "{problem}");
    // Unknown resource over SSH: refused in a sentence, no matter how it is spelled.
    for selector in ["nowhere", "db-1+nothing", "nowhere+shell"] {
        let config = demo.person("ana")["ssh_config"].as_str().unwrap();
        let out = std::process::Command::new("ssh")
            .args(["-F", config, "-o", "BatchMode=yes", "-l", selector, "build-1.tide", "true"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(77), "{selector}: {said}");
        assert!(said.contains("no such"), "{selector}: {said}");
    }
    // Escapes and direction marks in a reason are inert where they are shown.
    let hostile = "\u{1b}]0;owned\u{7}\u{202e}evil\r\nsecond line";
    demo.post("ana", "/api/v1/requests", json!({"resource": "db-1", "role": "debug", "reason": hostile}));
    let shown = demo.tidegate("ben", &["request", "list", "--inbox"]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.success() && text.contains("evil"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\u{7}') && !text.contains('\u{202e}'), "{text:?}");
}

/// A small file system, taken away again when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(path: PathBuf) -> Self {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs"]).arg(&path).status().unwrap();
        assert!(mounted.success(), "a small disk is mounted for this test, which takes root");
        Self(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

// covers: SES-3 (ssh), F1 (ssh)
#[test]
fn a_full_disk_ends_the_session_and_opens_no_other() {
    let mut disk = None;
    let demo = Demo::start().restart_after(|dir| disk = Some(SmallDisk::at(dir.join("data/recordings"))));
    demo.grant("ana", "db-1", "shell", "1h");
    let small = demo.ssh("ana", "db-1+shell", &[], &["echo fits"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&small.stdout).trim(), "fits", "{}", String::from_utf8_lossy(&small.stderr));
    let mut flood = Talk::start(demo.ssh("ana", "db-1+shell", &[], &["exec head -c 50000000 /dev/urandom"]));
    assert_ne!(flood.end(), 0, "what can't be recorded isn't delivered");
    let ended = eventually("the session is entered as ended by the recorder", || {
        let all = demo.get("eve", "/api/v1/sessions?all=true");
        all["items"].as_array().unwrap().iter().find(|s| s["end"] == "recorder").cloned()
    });
    assert_eq!(ended["state"], "ended");
    // To the last byte: nothing opens, and the reason is said.
    let filled = Command::new("dd")
        .args(["if=/dev/zero", "bs=512"])
        .arg(format!("of={}", demo.dir().join("data/recordings/fill").display()))
        .output()
        .unwrap();
    assert!(!filled.status.success(), "there was room without end");
    let refused = demo.ssh("ana", "db-1+shell", &[], &["echo must-not-open"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!String::from_utf8_lossy(&refused.stdout).contains("must-not-open"), "{said}");
    assert_eq!(refused.status.code(), Some(76), "{said}");
    assert!(said.contains("cannot be recorded"), "{said}");
    // Other things go on: the log is on another disk.
    assert_eq!(demo.post("eve", "/api/v1/audit/replay", json!({}))["differences"], json!([]));
    drop(demo);
    drop(disk);
}

// covers: G1 (api)
#[test]
fn nothing_secret_stands_in_arguments_logs_or_files() {
    let demo = Demo::start();
    let token = demo.person("ana")["token"].as_str().unwrap().to_owned();
    let secret = "correct-horse-battery";
    demo.post("dan", "/api/v1/requests/preview", json!({"resource": "db-1", "role": "debug"}));
    let (status, answer) = demo.api("dan", "PUT", "/api/v1/secrets/db-password", Some(json!({"value": secret})));
    assert_eq!(status, 204, "{answer}");
    let listed = demo.get("dan", "/api/v1/secrets");
    assert!(listed.to_string().contains("db-password") && !listed.to_string().contains(secret), "{listed}");
    for needle in [secret, token.as_str(), "PRIVATE KEY"] {
        let found = Command::new("grep").args(["-r", "-l", "-a", "-F", needle]).arg(demo.dir().join("data")).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "{needle} stands in clear in the data directory");
    }
    let processes = Command::new("ps").args(["-eo", "args"]).output().unwrap();
    let processes = String::from_utf8_lossy(&processes.stdout).into_owned();
    assert!(processes.contains("demo --dir") && !processes.contains(&token));
}
