//! Marks of a text: each three characters in a row, under a key (HMAC-SHA-256, 40 bits of it).
//!
//! A text stands in another only if all its marks are among the other's. Without the key a mark says nothing of what it is a mark of; that two
//! places have the same mark, and how often it occurs, can be seen all the same.

use std::collections::HashMap;

use aws_lc_rs::hmac;

/// How many characters one mark is of.
const LENGTH: usize = 3;
/// How many marks of what is looked for are looked up.
const LOOKED_UP: usize = 16;
/// How many marks are remembered while a recording is read.
const REMEMBERED: usize = 1 << 18;
const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
/// Digits of a mark.
pub(crate) const MARK: usize = 8;

/// What marks are made with. Prints nothing of itself.
#[derive(Clone)]
pub struct GramKey(hmac::Key);

impl std::fmt::Debug for GramKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GramKey")
    }
}

impl GramKey {
    /// The key of an index.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    fn mark(&self, gram: [char; LENGTH]) -> u64 {
        let text: String = gram.iter().collect();
        let tag = hmac::sign(&self.0, text.as_bytes());
        tag.as_ref().iter().take(5).fold(0, |mark, byte| mark << 8 | u64::from(*byte))
    }
}

/// A mark in letters and digits.
pub(crate) fn write(mark: u64, out: &mut String) {
    for place in (0..MARK).rev() {
        out.push(char::from(DIGITS[(mark >> (5 * place)) as usize & 31]));
    }
}

/// As texts are compared: in lower case, and with one small sigma, since which one it is depends on what follows.
fn folded(text: &str) -> Vec<char> {
    text.to_lowercase().chars().map(|c| if c == 'ς' { 'σ' } else { c }).collect()
}

fn grams(folded: &[char]) -> impl Iterator<Item = [char; LENGTH]> {
    folded.windows(LENGTH).filter_map(|gram| gram.try_into().ok())
}

/// Makes marks, and remembers those it made.
#[derive(Debug)]
pub(crate) struct Marker {
    key: GramKey,
    known: HashMap<[char; LENGTH], u64>,
}

impl Marker {
    pub(crate) fn new(key: GramKey) -> Self {
        Self { key, known: HashMap::new() }
    }

    /// The marks of a text, as often as they occur.
    pub(crate) fn marks(&mut self, text: &str, out: &mut Vec<u64>) {
        if self.known.len() > REMEMBERED {
            self.known.clear();
        }
        for gram in grams(&folded(text)) {
            out.push(*self.known.entry(gram).or_insert_with(|| self.key.mark(gram)));
        }
    }
}

/// What is looked for, as the index is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needle(pub(crate) String);

impl Needle {
    /// The marks that have to be there. `None` for a text that marks do not tell: shorter than one, or with what stands for unreadable bytes.
    #[must_use]
    pub fn new(key: &GramKey, text: &str) -> Option<Self> {
        let folded = folded(text);
        if folded.len() < LENGTH || folded.contains(&char::REPLACEMENT_CHARACTER) {
            return None;
        }
        let all: Vec<[char; LENGTH]> = grams(&folded).collect();
        // Spread over all of it; whether it really stands there is read afterwards.
        let step = all.len().div_ceil(LOOKED_UP);
        let mut marks: Vec<u64> = all.iter().step_by(step).chain(all.last()).map(|gram| key.mark(*gram)).collect();
        marks.sort_unstable();
        marks.dedup();
        let mut query = String::new();
        for mark in marks {
            query.push_str(if query.is_empty() { "\"" } else { " AND \"" });
            write(mark, &mut query);
            query.push('"');
        }
        Some(Self(query))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> GramKey {
        GramKey::new(&[7; 32])
    }

    proptest! {
        #[test]
        fn a_part_has_no_mark_that_the_whole_has_not(before in ".{0,40}", part in "[a-zA-ZäÖΣßİ0-9 ]{3,60}", after in ".{0,40}") {
            let whole = format!("{before}{part}{after}");
            // As the scan compares: the whole in lower case holds what is looked for in lower case.
            let looked_for = part.trim().to_lowercase();
            prop_assume!(whole.to_lowercase().contains(&looked_for));
            if let Some(Needle(query)) = Needle::new(&key(), &looked_for) {
                let mut marks = Vec::new();
                Marker::new(key()).marks(&whole, &mut marks);
                let mut text = String::new();
                for mark in marks {
                    write(mark, &mut text);
                    text.push(' ');
                }
                for wanted in query.split(" AND ") {
                    prop_assert!(text.contains(wanted.trim_matches('"')), "{} in {}", wanted, text);
                }
            }
        }
    }

    #[test]
    fn marks_are_of_the_key_and_short_texts_have_none() {
        let other = GramKey::new(&[8; 32]);
        assert_ne!(Needle::new(&key(), "orders"), Needle::new(&other, "orders"));
        assert_eq!((Needle::new(&key(), "or"), Needle::new(&key(), "\u{fffd}abc")), (None, None));
        let long = Needle::new(&key(), &"abcdefghij".repeat(20)).unwrap();
        assert!(long.0.split(" AND ").count() <= LOOKED_UP + 1);
        assert!(!long.0.contains("abc"), "nothing of the text stands in it: {}", long.0);
    }
}
