//! Side records: the personal and free texts of entries, kept outside the leaves so that they can be erased.
//!
//! A leaf holds `texts: {name: hex SHA-256(salt ‖ UTF-8 text)}` with 16 random bytes of salt. The texts travel as lines
//! of `texts.jsonl`: `{"entry":"ent_…","texts":{"reason":{"salt":"<32 hex>","text":"…"}}}`. What is present must match
//! its digest; what is absent was erased if an entry says so.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::finding::Finding;
use crate::printable;

/// One text and the salt that keeps its digest from being guessed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideText {
    /// 16 random bytes.
    #[serde(with = "crate::hexadecimal")]
    pub salt: [u8; 16],
    /// The text itself.
    pub text: String,
}

impl SideText {
    /// The digest that binds this text to its leaf.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::new().chain_update(self.salt).chain_update(self.text.as_bytes()).finalize().into()
    }
}

/// The texts of one entry: one line of `texts.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideRecord {
    /// The entry they belong to.
    pub entry: String,
    /// The texts that have not been erased, by name.
    pub texts: BTreeMap<String, SideText>,
}

impl SideRecord {
    /// The texts of an entry that were not erased; `None` if none is left.
    #[must_use]
    pub fn of(entry: &access::event::Entry) -> Option<Self> {
        let text = |text: &access::event::SaltedText| {
            let salt = crate::hexadecimal::decode(&text.salt)?;
            Some(SideText { salt, text: text.text.clone() })
        };
        let texts: BTreeMap<String, SideText> = entry.texts.iter().filter_map(|(name, t)| Some((name.clone(), text(t)?))).collect();
        (!texts.is_empty()).then(|| Self { entry: entry.id.to_string(), texts })
    }
}

/// The digests that a leaf holds, by name; empty when it holds none.
#[must_use]
pub fn bound_texts(leaf: &[u8]) -> BTreeMap<String, String> {
    #[derive(Deserialize)]
    struct Bound {
        #[serde(default)]
        texts: BTreeMap<String, String>,
    }
    serde_json::from_slice::<Bound>(leaf).map(|bound| bound.texts).unwrap_or_default()
}

/// What a leaf says was erased: of which entry, and which of its texts.
fn erasure(leaf: &[u8]) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Leaf {
        data: Said,
    }
    #[derive(Deserialize)]
    struct Said {
        event: String,
        entry: String,
        name: String,
    }
    let said = serde_json::from_slice::<Leaf>(leaf).ok()?.data;
    (said.event == "text.erased").then_some((said.entry, said.name))
}

/// The side records of a copy or an export, and what becomes of them while the leaves go by.
#[derive(Debug, Default)]
pub(crate) struct Side {
    records: HashMap<String, SideRecord>,
    /// How many texts match what was logged.
    pub(crate) matching: u64,
    gone: Vec<(String, String)>,
    erased: HashSet<(String, String)>,
    findings: Vec<Finding>,
}

impl Side {
    pub(crate) fn read(file: &[u8]) -> Self {
        let mut side = Self::default();
        let (records, wrong) = read_lines(file);
        side.findings.extend(wrong.into_iter().map(|line| Finding::TextUnreadable { line: line as u64 }));
        for record in records {
            match side.records.entry(record.entry.clone()) {
                Slot::Occupied(_) => side.findings.push(Finding::TextTwice { entry: printable::name(&record.entry) }),
                Slot::Vacant(slot) => {
                    slot.insert(record);
                }
            }
        }
        side
    }

    /// One leaf after another, each with its entry's id.
    pub(crate) fn compare(&mut self, id: &str, leaf: &[u8]) {
        self.erased.extend(erasure(leaf));
        let compared = compare(leaf, self.records.remove(id).as_ref());
        self.matching += compared.matching;
        self.gone.extend(compared.absent.into_iter().map(|name| (id.to_owned(), name)));
        let altered = |name: String| Finding::TextAltered { entry: id.to_owned(), name: printable::name(&name) };
        self.findings.extend(compared.wrong.into_iter().map(altered));
    }

    /// How many texts were erased, and everything that is wrong.
    pub(crate) fn finish(mut self) -> (u64, Vec<Finding>) {
        let absent = self.gone.len() as u64;
        let unsaid = self.gone.into_iter().filter(|gone| !self.erased.contains(gone));
        self.findings
            .extend(unsaid.map(|(entry, name)| Finding::TextGone { entry: printable::name(&entry), name: printable::name(&name) }));
        let mut left: Vec<String> = self.records.into_keys().collect();
        left.sort();
        self.findings.extend(left.into_iter().map(|entry| Finding::TextUnbound { entry: printable::name(&entry) }));
        (absent, self.findings)
    }
}

/// The side records of a whole file, one for each line, and the lines that are none (counted from 1).
#[must_use]
pub fn read_lines(file: &[u8]) -> (Vec<SideRecord>, Vec<usize>) {
    let mut records = Vec::new();
    let mut wrong = Vec::new();
    for (i, line) in file.split(|b| *b == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(record) => records.push(record),
            Err(_) => wrong.push(i + 1),
        }
    }
    (records, wrong)
}

/// What came of comparing one leaf with its side record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// Texts that match their digests.
    pub matching: u64,
    /// Names of texts that the leaf binds and that are not there.
    pub absent: Vec<String>,
    /// Names of texts that do not match, or that the leaf does not bind.
    pub wrong: Vec<String>,
}

/// Compares a leaf with what is left of its texts.
#[must_use]
pub fn compare(leaf: &[u8], record: Option<&SideRecord>) -> Compared {
    let bound = bound_texts(leaf);
    let mut compared = Compared::default();
    let nothing = BTreeMap::new();
    let present = record.map_or(&nothing, |r| &r.texts);
    for (name, text) in present {
        if bound.get(name) == Some(&hex::encode(text.digest())) {
            compared.matching += 1;
        } else {
            compared.wrong.push(name.clone());
        }
    }
    compared.absent = bound.into_keys().filter(|name| !present.contains_key(name)).collect();
    compared
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(text: &SideText) -> Vec<u8> {
        format!(r#"{{"id":"ent_1","texts":{{"reason":"{}"}}}}"#, hex::encode(text.digest())).into_bytes()
    }

    #[test]
    fn a_text_matches_is_absent_or_is_wrong() {
        let text = SideText { salt: [3; 16], text: "restart the queue".into() };
        let leaf = leaf(&text);
        let record = |text: SideText| SideRecord { entry: "ent_1".into(), texts: [("reason".to_owned(), text)].into() };
        assert_eq!(compare(&leaf, Some(&record(text.clone()))), Compared { matching: 1, ..Compared::default() });
        assert_eq!(compare(&leaf, None), Compared { absent: vec!["reason".into()], ..Compared::default() });
        let other = SideText { text: "something else".into(), ..text };
        assert_eq!(compare(&leaf, Some(&record(other))).wrong, ["reason"]);
    }

    #[test]
    fn lines_are_read_and_wrong_ones_are_numbered() {
        let good = r#"{"entry":"ent_1","texts":{"reason":{"salt":"03030303030303030303030303030303","text":"x"}}}"#;
        let (records, wrong) = read_lines(format!("{good}\nnonsense\n{good}\n").as_bytes());
        assert_eq!((records.len(), wrong), (2, vec![2]));
    }
}
