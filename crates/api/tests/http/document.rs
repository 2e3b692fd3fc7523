//! The OpenAPI document: written out, and whole.

use std::collections::BTreeSet;
use std::path::Path;

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
