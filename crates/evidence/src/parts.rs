//! Long lines in parts, for receivers that take short ones only: nothing is cut off.
//!
//! Each part is a line of its own that says of which it is a part, and how many there are. The pieces, in order, one behind the other,
//! are the whole line to the byte, and each part has the SHA-256 of that. A part of an OCSF event is an event of the same class: who, what
//! and when stand in each, the piece in `raw_data`, its number in `unmapped.part`. A part of a JSON line is
//! `{"kind":"part","of":…,"at":…,"sha256":…,"part":1,"parts":9,"data":…}`.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// Bytes that the numbers of a part, and the JSON around a piece, take at most.
const AROUND: usize = 280;
/// The least that a part carries, however much stands around it.
const LEAST: usize = 512;
/// What each part of an event says; all of it is short.
const REPEATED: &[&str] = &[
    "activity_id",
    "activity_name",
    "actor",
    "api",
    "category_name",
    "category_uid",
    "class_name",
    "class_uid",
    "database",
    "dst_endpoint",
    "entity",
    "message",
    "metadata",
    "privileges",
    "service",
    "session",
    "severity",
    "severity_id",
    "src_endpoint",
    "status",
    "status_id",
    "time",
    "type_id",
    "type_name",
    "type_uid",
    "user",
];

/// JSON in ASCII alone: other characters are written as JSON writes them, so that it reads back the same.
#[must_use]
pub fn ascii(json: &str) -> String {
    use std::fmt::Write as _;
    if json.is_ascii() {
        return json.to_owned();
    }
    let mut text = String::with_capacity(json.len() * 2);
    for c in json.chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            // Outside of ASCII a character of JSON stands in a string: nowhere else may it be.
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _whole = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text
}

/// A line of JSON as it is, or in parts that are at most so many bytes long; each at least 512 bytes of it.
#[must_use]
pub fn parts(line: String, largest: usize) -> Vec<String> {
    if line.len() <= largest {
        return vec![line];
    }
    let whole = serde_json::from_str::<Value>(&line).unwrap_or_default();
    let head = head(&whole);
    let room = largest.saturating_sub(Value::Object(head.clone()).to_string().len() + AROUND).max(LEAST);
    let pieces = pieces(&line, room);
    let (count, sha256) = (pieces.len(), hex::encode(Sha256::digest(&line)));
    let parts = pieces.iter().enumerate().map(|(number, piece)| {
        let mut part = head.clone();
        if part.contains_key("class_uid") {
            let of = whole.pointer("/metadata/uid").cloned().unwrap_or_default();
            part.insert("raw_data".into(), (*piece).into());
            part.insert("unmapped".into(), json!({ "part": { "of": of, "number": number + 1, "count": count, "sha256": sha256 } }));
            if let Some(metadata) = part.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.insert("uid".into(), format!("{}#{}", of.as_str().unwrap_or_default(), number + 1).into());
            }
        } else {
            part.insert("sha256".into(), sha256.as_str().into());
            part.insert("part".into(), (number + 1).into());
            part.insert("parts".into(), count.into());
            part.insert("data".into(), (*piece).into());
        }
        Value::Object(part).to_string()
    });
    parts.collect()
}

/// What stands in each part.
fn head(whole: &Value) -> Map<String, Value> {
    let field = |name: &str| whole.get(name).cloned().unwrap_or_default();
    if whole.get("class_uid").is_some() {
        return REPEATED.iter().filter_map(|name| Some(((*name).to_owned(), whole.get(*name)?.clone()))).collect();
    }
    [("kind", "part".into()), ("of", field("id")), ("at", field("at"))].map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}

/// Cuts a text so that each piece, as a string in JSON, takes at most so many bytes.
fn pieces(line: &str, room: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut from, mut taken) = (0, 0);
    for (at, c) in line.char_indices() {
        let written = if matches!(c, '"' | '\\') { 2 } else { c.len_utf8() };
        if taken + written > room {
            pieces.push(&line[from..at]);
            (from, taken) = (at, 0);
        }
        taken += written;
    }
    pieces.push(&line[from..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn together(parts: &[String], piece: &str) -> String {
        parts.iter().map(|part| serde_json::from_str::<Value>(part).unwrap()[piece].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_short_line_stays_as_it_is() {
        assert_eq!(parts("{\"kind\":\"entry\"}".into(), 2_048), ["{\"kind\":\"entry\"}"]);
    }

    // covers: EV-6 (long statements), F2 (export)
    #[test]
    fn ten_mebibytes_go_in_parts_that_are_the_whole_again() {
        let statement = "SELECT 'é\"\\' -- ".repeat(10 * 1024 * 1024 / 16);
        let line = json!({
            "class_uid": 6005, "time": 1, "metadata": { "uid": "ses_1/0", "version": "1.4.0" }, "query_info": { "query_string": statement },
        });
        let line = ascii(&line.to_string());
        let parts = parts(line.clone(), 8_192);
        assert!(parts.len() > 1_200 && parts.iter().all(|part| part.len() <= 8_192 && part.is_ascii()));
        assert_eq!(together(&parts, "raw_data"), line);
        let last: Value = serde_json::from_str(parts.last().unwrap()).unwrap();
        let part = &last["unmapped"]["part"];
        assert_eq!((&part["of"], &part["number"], &part["count"]), (&json!("ses_1/0"), &json!(parts.len()), &json!(parts.len())));
        assert_eq!(part["sha256"], hex::encode(Sha256::digest(&line)));
        assert_eq!(last["metadata"]["uid"], format!("ses_1/0#{}", parts.len()));
    }

    proptest! {
        #[test]
        fn whatever_the_text_parts_are_short_and_whole(text in "(?s).{0,3000}", largest in 1_024_usize..3_000) {
            let line = json!({ "kind": "activity", "id": "ses_1", "at": "2026-03-02T12:00:00Z", "data": text.repeat(2) }).to_string();
            let parts = parts(line.clone(), largest);
            prop_assert!(parts.iter().all(|part| part.len() <= largest));
            if parts.len() > 1 {
                prop_assert_eq!(together(&parts, "data"), line);
            } else {
                prop_assert_eq!(&parts[0], &line);
            }
            let spelled = ascii(&parts[0]);
            prop_assert!(spelled.is_ascii());
            prop_assert_eq!(serde_json::from_str::<Value>(&spelled).unwrap(), serde_json::from_str::<Value>(&parts[0]).unwrap());
        }
    }
}
