//! The OpenAPI document: written out, and whole.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn references(value: &Value, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            out.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| references(value, out));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, out)),
        _ => {}
    }
}

// covers: RUN-5 (api)
#[test]
fn the_document_is_whole_and_stands_in_openapi_json() {
    let document = tidegate_api::openapi();
    let text = format!("{}\n", serde_json::to_string_pretty(&document).unwrap());
    let value: Value = serde_json::from_str(&text).unwrap();
    assert!(value["openapi"].as_str().unwrap().starts_with("3.1"));

    let mut found = BTreeSet::new();
    references(&value, &mut found);
    for reference in found {
        assert!(value.pointer(reference.trim_start_matches('#')).is_some(), "{reference} leads nowhere");
    }
    let mut names = BTreeSet::new();
    for (path, item) in value["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{method} {path}: `{name}` names two operations");
            assert!(operation["summary"].is_string(), "{method} {path} says nothing of itself");
        }
    }

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi.json");
    if std::env::var_os("TIDEGATE_UPDATE").is_some() || !path.exists() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(written == text, "openapi.json is not what the routes say; run this test with TIDEGATE_UPDATE=1 and look at what changed");
}

/// Every page below a directory.
fn pages(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let all = entries.flat_map(|path| if path.is_dir() { pages(&path) } else { vec![path] });
    all.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

// covers: RUN-5 (api)
#[test]
fn every_call_that_the_documentation_names_is_there() {
    let document = serde_json::to_value(tidegate_api::openapi()).unwrap();
    let known: Vec<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone())))
        .collect();
    // Beside the document: it does not name itself, nor what only some listeners serve.
    let beside = [("GET", "/api/v1/openapi.json"), ("GET", "/ca.pem")];
    let is = |known: &str, named: &str| {
        let (known, named): (Vec<&str>, Vec<&str>) = (known.split('/').collect(), named.split('/').collect());
        known.len() == named.len() && known.iter().zip(named).all(|(known, named)| known.starts_with('{') || *known == named)
    };
    let mut found = 0;
    for page in pages(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")) {
        let text = std::fs::read_to_string(&page).unwrap();
        for (method, rest) in text.split('`').filter_map(|span| span.split_once(' ')) {
            if !["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method) || !rest.starts_with('/') {
                continue;
            }
            let path = rest.split(['?', ' ', '\n']).next().unwrap();
            let whole = format!("/api/v1{path}");
            let there = known.iter().any(|(verb, known)| verb == method && (is(known, path) || is(known, &whole)));
            assert!(there || beside.contains(&(method, path)), "{}: there is no `{method} {path}`", page.display());
            found += 1;
        }
    }
    assert!(found > 100, "{found} calls were looked up");
}
