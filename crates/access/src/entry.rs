//! The entry that says something happened.
//!
//! An [`Entry`] becomes a leaf of the audit log: ids, codes, times and digests in RFC 8785 form. Free and personal texts
//! stand beside it in [`Texts`], bound to the leaf by salted digests, so that they can be erased and the log still verifies.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::event::Event;
use crate::ids::{EntryId, PrincipalId};
use crate::request::Door;

/// The longest leaf that a signed log takes, in bytes.
pub const LONGEST_LEAF: usize = u16::MAX as usize;

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// Somebody known.
    Principal(PrincipalId),
    /// The gate by itself.
    Gate,
    /// Somebody who had not said, or not proved, who they are.
    Unknown,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(id) => id.fmt(f),
            Self::Gate => f.write_str("gate"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl std::str::FromStr for Actor {
    type Err = crate::ids::IdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "gate" => Ok(Self::Gate),
            "unknown" => Ok(Self::Unknown),
            id => id.parse().map(Self::Principal),
        }
    }
}

impl Serialize for Actor {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Free and personal texts of an entry, by name.
pub type Texts = BTreeMap<&'static str, String>;

/// What is to be logged; the store gives it its id and salts.
#[derive(Debug, Clone, PartialEq)]
pub struct EntryDraft {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub actor: Actor,
    /// Through which door.
    pub door: Door,
    /// What.
    pub event: Event,
    /// Texts that belong to it.
    pub texts: Texts,
}

impl EntryDraft {
    /// A draft without texts.
    #[must_use]
    pub fn new(at: Timestamp, actor: Actor, door: Door, event: Event) -> Self {
        Self { at: crate::time::micros(at), actor, door, event, texts: Texts::new() }
    }

    /// With a text, if there is one.
    #[must_use]
    pub fn text(mut self, name: &'static str, text: Option<impl Into<String>>) -> Self {
        if let Some(text) = text {
            self.texts.insert(name, text.into());
        }
        self
    }

    /// The entry, with a fresh id and fresh salts.
    #[must_use]
    pub fn seal(self) -> Entry {
        let texts = self.texts.into_iter().map(|(name, text)| (name.to_owned(), SaltedText::new(text))).collect();
        Entry { id: EntryId::generate(self.at), at: self.at, actor: self.actor, door: self.door, event: self.event, texts }
    }
}

/// A text and the salt that binds it to its leaf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaltedText {
    /// 16 random bytes, hex.
    pub salt: String,
    /// The text.
    pub text: String,
}

impl SaltedText {
    /// A text under a fresh salt.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self { salt: hex::encode(rand::random::<[u8; 16]>()), text }
    }

    /// SHA-256 over the salt's bytes and the text, hex.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(hex::decode(&self.salt).unwrap_or_default());
        hash.update(self.text.as_bytes());
        hex::encode(hash.finalize())
    }
}

/// One line of the audit log with the texts that belong to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// `ent_…`.
    pub id: EntryId,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub actor: Actor,
    /// Through which door.
    pub door: Door,
    /// What.
    pub event: Event,
    /// Texts, as far as they are not erased.
    pub texts: BTreeMap<String, SaltedText>,
}

#[derive(Serialize, Deserialize)]
struct Leaf {
    v: u8,
    id: EntryId,
    at: Timestamp,
    actor: Actor,
    door: Door,
    data: Event,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    texts: BTreeMap<String, String>,
}

/// A leaf that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    /// Not the JSON of an entry.
    #[error("the leaf is no audit entry of this version")]
    Json(#[from] serde_json::Error),
    /// A text does not match its digest.
    #[error("the text `{0}` of entry {1} does not match the digest in its leaf")]
    Text(String, EntryId),
}

impl Entry {
    /// A text, if it was given and not erased.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(|t| t.text.as_str())
    }

    /// The leaf: RFC 8785 JSON of everything but the texts, which are there by digest.
    ///
    /// # Errors
    /// If the event does not serialise, which no event does.
    pub fn leaf(&self) -> Result<Vec<u8>, serde_json::Error> {
        let leaf = Leaf {
            v: 1,
            id: self.id,
            at: self.at,
            actor: self.actor,
            door: self.door,
            data: self.event.clone(),
            texts: self.texts.iter().map(|(name, text)| (name.clone(), text.digest())).collect(),
        };
        serde_json_canonicalizer::to_vec(&leaf)
    }

    /// An entry from its leaf and the texts that are left of it.
    ///
    /// # Errors
    /// If the leaf is no entry, or a text does not match its digest.
    pub fn from_leaf(leaf: &[u8], texts: BTreeMap<String, SaltedText>) -> Result<Self, LeafError> {
        let leaf: Leaf = serde_json::from_slice(leaf)?;
        for (name, text) in &texts {
            if leaf.texts.get(name) != Some(&text.digest()) {
                return Err(LeafError::Text(name.clone(), leaf.id));
            }
        }
        Ok(Self { id: leaf.id, at: leaf.at, actor: leaf.actor, door: leaf.door, event: leaf.data, texts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::LockId;
    use crate::lock::LockScope;

    #[test]
    fn an_entry_survives_being_a_leaf_and_a_wrong_text_is_named() {
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let draft = EntryDraft::new(
            at,
            Actor::Gate,
            Door::Gate,
            Event::LockSet {
                lock: LockId::generate(at),
                scope: LockScope::Resource("db-1".parse().unwrap()),
                until: None,
                contains: false,
                transmitter: None,
                sessions: Vec::new(),
            },
        )
        .text("reason", Some("incident"));
        let entry = draft.seal();
        let leaf = entry.leaf().unwrap();
        assert!(!String::from_utf8(leaf.clone()).unwrap().contains("incident"));
        assert_eq!(Entry::from_leaf(&leaf, entry.texts.clone()).unwrap(), entry);
        let mut forged = entry.texts.clone();
        forged.get_mut("reason").unwrap().text = "drill".into();
        assert!(matches!(Entry::from_leaf(&leaf, forged), Err(LeafError::Text(name, _)) if name == "reason"));
    }

    // covers: EV-1
    #[test]
    fn what_was_written_before_refusals_named_their_policies_reads_as_it_was() {
        for old in [
            r#"{"event":"request.denied","request":"req_00000000000000000000000000","reason":"denied"}"#,
            r#"{"event":"vote.refused","request":"req_00000000000000000000000000","voter":"usr_00000000000000000000000000","reason":"not_approver"}"#,
            r#"{"event":"session.refused","person":"usr_00000000000000000000000000","door":"ssh","reason":"locked"}"#,
            r#"{"event":"action.refused","action":"watch","object":"gate","reason":"not_allowed"}"#,
            r#"{"event":"grant.withdrawn","grant":"grt_00000000000000000000000000","reason":"grant_withdrawn","bundle":"b"}"#,
        ] {
            let event: Event = serde_json::from_str(old).unwrap();
            let again: serde_json::Value = serde_json::to_value(&event).unwrap();
            assert_eq!(again, serde_json::from_str::<serde_json::Value>(old).unwrap());
        }
    }
}
