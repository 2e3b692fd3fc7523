//! The API against its own document, by Schemathesis: calls made up from `openapi.json`, well formed and not. No answer is a server error, and
//! none is one that the document does not know.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::served::Served;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Makes up calls as somebody: in which phases, and how many for each operation. Always the same ones.
fn calls(gate: &Served, person: &str, phases: &str, examples: u32) {
    let program = root().join(".cache/schemathesis/bin/schemathesis");
    assert!(program.is_file(), "Schemathesis is not here; run `scripts/packages`");
    let output = Command::new(program)
        .args(["run", "openapi.json", "--url", gate.ready["api"].as_str().unwrap()])
        .args(["--header", &format!("Authorization: Bearer {}", gate.person(person)["token"].as_str().unwrap())])
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance",
        ])
        // Each on a connection of its own: one that is kept may be closed at the moment when the next call is sent.
        .args(["--header", "Connection: close"])
        // The first never ends by itself; of what the second takes, signed tokens, none can be made up.
        .args(["--exclude-path", "/api/v1/events", "--exclude-path", "/api/v1/signals/{name}"])
        // What is no HTTP is answered by the server before the API sees it.
        .args(["--generation-with-security-parameters", "false"])
        .args(["--phases", phases, "--max-examples", &examples.to_string(), "--seed", "20261122", "--continue-on-failure"])
        .args(["--request-timeout", "60", "--generation-database", "none", "--no-color"])
        .current_dir(root())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "as {person}:\n{said}");
    // Whoever called is who they were: it was not all refused for one reason.
    assert_eq!(gate.get(person, "/api/v1/me")["user"]["username"], person);
}

// covers: RUN-5 (api)
#[test]
fn whatever_the_document_allows_is_answered_as_it_says() {
    let gate = Served::start();
    calls(&gate, "dan", "examples,coverage", 1);
    calls(&gate, "ana", "examples,fuzzing", 1);
    gate.assert_provable();
}

#[test]
#[ignore = "full scale: scripts/soak"]
fn whatever_the_document_allows_is_answered_as_it_says_for_long() {
    let gate = Served::start();
    for person in ["dan", "ana"] {
        calls(&gate, person, "examples,coverage,fuzzing,stateful", 50);
    }
    gate.assert_provable();
}
