//! The house's own rules, held by `cargo metadata` in every run: borders between crates, licences, one TLS provider.

#![expect(clippy::unwrap_used, reason = "a helper of tests that fails is a test that fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

fn metadata() -> Value {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--locked",
            "--offline",
            "--format-version",
            "1",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
            "--manifest-path",
            manifest,
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Which of our crates each may use, in the order a request travels.
const BORDERS: &[(&str, &[&str])] = &[
    ("access", &[]),
    ("wire", &[]),
    ("sql", &["access"]),
    ("webauthn", &[]),
    ("policy", &["access"]),
    ("store", &["access"]),
    ("evidence", &["access", "webauthn"]),
    ("search", &["evidence"]),
    ("inventory", &["access"]),
    ("identity", &["access", "webauthn"]),
    ("credentials", &["access"]),
    ("notify", &["access"]),
    ("workflow", &["access", "policy", "store", "evidence", "search", "inventory", "identity", "credentials", "notify"]),
    ("proxy", &["access", "wire", "sql", "evidence"]),
    ("api", &["access", "workflow", "evidence", "policy", "identity"]),
    (
        "tidegate",
        &["access", "wire", "sql", "policy", "store", "evidence", "identity", "credentials", "notify", "workflow", "proxy", "api"],
    ),
];

/// What a crate never sees, of others' crates.
const NEVER: &[(&str, &[&str])] = &[
    ("access", &["tokio", "sqlx", "cedar-policy"]),
    ("wire", &["tokio", "bytes"]),
    ("sql", &["tokio", "sqlx"]),
    ("webauthn", &["tokio", "sqlx"]),
    ("policy", &["tokio", "sqlx"]),
    ("store", &["cedar-policy"]),
    ("evidence", &["sqlx"]),
    ("search", &["axum", "russh"]),
    ("inventory", &["tokio", "sqlx"]),
    ("workflow", &["axum", "russh", "sqlx"]),
    ("proxy", &["sqlx", "cedar-policy"]),
    ("api", &["russh", "sqlx"]),
];

fn short(name: &str) -> &str {
    name.strip_prefix("tidegate-").unwrap_or(name)
}

#[test]
fn crates_use_only_what_their_border_allows() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, BTreeSet<&str>> = BORDERS.iter().map(|(name, uses)| (*name, uses.iter().copied().collect())).collect();
    let never: BTreeMap<&str, &[&str]> = NEVER.iter().copied().collect();
    let mut seen = 0;
    for package in metadata["packages"].as_array().unwrap() {
        let name = short(package["name"].as_str().unwrap());
        let ours = package["name"].as_str().unwrap().starts_with("tidegate") && package["source"].is_null();
        if !ours || name == "testkit" {
            continue;
        }
        seen += 1;
        let allowed = allowed.get(name).unwrap_or_else(|| panic!("the crate `{name}` stands in no border"));
        let dependencies = package["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"].is_null());
        for dependency in dependencies.map(|d| d["name"].as_str().unwrap()) {
            if dependency.starts_with("tidegate-") {
                assert!(allowed.contains(short(dependency)), "`{name}` may not use `{}`", short(dependency));
            }
            assert!(!never.get(name).is_some_and(|never| never.contains(&dependency)), "`{name}` never sees `{dependency}`");
        }
    }
    assert_eq!(seen, BORDERS.len());
}

#[test]
fn members_stand_in_the_order_a_request_travels() {
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml")).unwrap();
    let places: Vec<usize> = BORDERS
        .iter()
        .map(|(name, _)| manifest.find(&format!("\"crates/{name}\"")).unwrap_or_else(|| panic!("no member {name}")))
        .collect();
    assert!(places.is_sorted());
}

const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether one of the alternatives of an SPDX expression can be met with licences from the list.
fn acceptable(expression: &str) -> bool {
    let flat = expression.replace(['(', ')'], " ").replace('/', " OR ");
    flat.split(" OR ").any(|side| side.split(" AND ").all(|one| LICENCES.contains(&one.trim())))
}

// covers: G5
#[test]
fn dependencies_have_one_tls_provider_and_known_licences() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    // What is really built into the program, with the features it is really built with.
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "-p", "tidegate", "-e", "normal,build", "--target", "x86_64-unknown-linux-gnu"])
        .args(["--prefix", "none", "--format", "{p}|{l}", "--manifest-path", manifest])
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let packages: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| line.split_once('|'))
        .map(|(package, licence)| (package.split(' ').next().unwrap(), licence.trim_end_matches("(*)").trim()))
        .collect();
    assert!(packages.len() > 200 && packages.iter().any(|(name, _)| *name == "aws-lc-rs"), "the tree was not read: {}", packages.len());
    for (name, licence) in packages {
        assert!(
            !["openssl", "openssl-sys", "native-tls", "ring"].contains(&name),
            "{name} is banned: TLS is rustls with aws-lc-rs, and nothing else"
        );
        assert!(acceptable(licence), "{name} has the licence `{licence}`");
    }
}
