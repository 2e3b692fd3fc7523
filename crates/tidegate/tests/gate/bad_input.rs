//! Bad input: a sentence that says what, why and what to do; nothing lost.

use serde_json::json;

use crate::demo::{Demo, http};

// covers: A9, B2, G2, E9 (api, ssh)
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
