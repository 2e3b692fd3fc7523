//! Which entries speak of what: every id and name in a leaf, by a digest of it, so that nobody has to read the log to find them.
//!
//! A leaf holds ids and names as whole texts (`"usr_…"`, `"build-1"`) or behind a colon (`"person:usr_…"`). What is longer than any of
//! them, when it was, through which door and what the entry is called are not kept here. The table only grows, like the log; a replay
//! tells it anew and compares.

use access::row::Column;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The table.
pub(crate) const TABLE: &str = "entry_mentions";
/// The longest text that is kept, in bytes: the longest name.
const LONGEST: usize = 63;

/// By what a text is found, if it is one that is kept.
pub(crate) fn key(text: &str) -> Option<i64> {
    if text.is_empty() || text.len() > LONGEST || is_time(text) {
        return None;
    }
    let digest = Sha256::digest(text.as_bytes());
    let (first, _) = digest.split_first_chunk::<8>()?;
    Some(i64::from_be_bytes(*first))
}

/// What a leaf speaks of, each once. What is no leaf speaks of nothing.
pub(crate) fn keys_of(leaf: &str) -> Vec<i64> {
    let mut keys = Vec::new();
    if let Ok(Value::Object(fields)) = serde_json::from_str(leaf) {
        for (name, field) in &fields {
            match (name.as_str(), field) {
                ("door" | "at" | "texts", _) => {}
                ("data", Value::Object(data)) => {
                    data.iter().filter(|(name, _)| *name != "event").for_each(|(_, field)| walk(field, &mut keys))
                }
                (_, field) => walk(field, &mut keys),
            }
        }
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Whether a leaf speaks of a text.
pub(crate) fn speaks_of(leaf: &[u8], text: &str) -> bool {
    let (Ok(leaf), Ok(whole)) = (std::str::from_utf8(leaf), serde_json::to_string(text)) else { return false };
    leaf.contains(&whole) || leaf.contains(&whole.replacen('"', ":", 1))
}

fn walk(value: &Value, keys: &mut Vec<i64>) {
    match value {
        Value::String(text) => {
            keys.extend(key(text));
            // No time has an id or a name behind one of its colons.
            if !is_time(text) {
                keys.extend(text.match_indices(':').filter_map(|(at, _)| key(&text[at + 1..])));
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, keys)),
        Value::Object(fields) => {
            for (name, field) in fields {
                keys.extend(access::ids::made_at(name).and_then(|_| key(name)));
                walk(field, keys);
            }
        }
        _ => {}
    }
}

fn is_time(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && text.ends_with('Z') && text.contains('T') && text.contains(':')
}

/// All rows together, in whatever order: as many rows that are others come to another sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    rows: u64,
    sum: u128,
}

impl Sum {
    pub(crate) fn add(&mut self, mention: i64, seq: i64) {
        let mut hash = Sha256::new();
        hash.update(mention.to_be_bytes());
        hash.update(seq.to_be_bytes());
        if let Some((first, _)) = hash.finalize().split_first_chunk::<16>() {
            self.sum = self.sum.wrapping_add(u128::from_be_bytes(*first));
        }
        self.rows += 1;
    }

    pub(crate) fn rows(self) -> u64 {
        self.rows
    }
}

/// Both columns of a row.
pub(crate) fn pair(row: &[Column]) -> Option<(i64, i64)> {
    match row {
        [Column::Int(mention), Column::Int(seq)] => Some((*mention, *seq)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_are_kept_and_nothing_else() {
        let (person, grant) = ("usr_01jqzzzzzzzzzzzzzzzzzzzzzz", "grt_01jqzzzzzzzzzzzzzzzzzzzzzz");
        let leaf = serde_json::json!({
            "v": 1, "id": "ent_01jqzzzzzzzzzzzzzzzzzzzzzz", "at": "2026-03-01T12:00:00Z", "actor": person, "door": "ssh",
            "data": {"event": "grant.created", "grant": grant, "scope": "resource:build-1", "until": "2026-03-01T13:00:00Z",
                     "of": {(grant): 3}, "digest": "a".repeat(64), "many": ["db-1", person]},
            "texts": {"reason": "b".repeat(64)},
        });
        let mut wanted: Vec<i64> =
            ["ent_01jqzzzzzzzzzzzzzzzzzzzzzz", person, grant, "resource:build-1", "build-1", "db-1"].into_iter().filter_map(key).collect();
        wanted.sort_unstable();
        assert_eq!(keys_of(&leaf.to_string()), wanted);
        assert_eq!((keys_of("{}"), keys_of("no leaf")), (Vec::new(), Vec::new()));
        assert_eq!((key(""), key(&"a".repeat(64)), key("2026-03-01T12:00:00Z")), (None, None, None));
        assert!(speaks_of(leaf.to_string().as_bytes(), "build-1") && !speaks_of(leaf.to_string().as_bytes(), "build"));
    }
}
