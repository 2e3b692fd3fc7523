//! Naming what happened to a list of entries: which one was altered, taken out, put in, or moved.
//!
//! On one side are the hashes that should be there, in order; on the other what is there. Where they disagree, both are
//! searched a window ahead for the nearest place at which they agree again.

use std::collections::{HashMap, VecDeque};

use super::tree::Hash;
use crate::finding::Finding;

/// How far ahead the two sides are searched for a place where they agree again.
const WINDOW: usize = 1024;
/// After so many disagreements only place by place is compared: the list is no longer the one that was logged.
const PATIENCE: usize = 256;

/// What should stand at one place.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The place in the log.
    pub index: u64,
    /// The leaf's hash; `None` where nothing tells it.
    pub hash: Option<Hash>,
    /// The entry's id, where something beside the leaf tells it.
    pub id: Option<String>,
}

/// What stands at one place.
#[derive(Debug, Clone)]
pub struct Present {
    /// The leaf's hash; `None` if it could not be read, which has been said elsewhere.
    pub hash: Option<Hash>,
    /// What it calls itself.
    pub id: Option<String>,
}

struct Missing {
    index: u64,
    hash: Hash,
    id: Option<String>,
    after: Option<String>,
    /// Where in `foreign` the entry is that stands in its stead.
    instead: Option<usize>,
}

struct Foreign {
    place: u64,
    hash: Hash,
    id: Option<String>,
}

/// Compares the two sides as they are read.
#[derive(Default)]
pub struct Alignment {
    expected: VecDeque<Expected>,
    present: VecDeque<Present>,
    place: u64,
    disagreements: usize,
    before: Option<String>,
    missing: Vec<Missing>,
    foreign: Vec<Foreign>,
    findings: Vec<Finding>,
}

impl Alignment {
    /// The next that should be there.
    pub fn expect(&mut self, expected: Expected) {
        self.expected.push_back(expected);
    }

    /// The next that is there.
    pub fn meet(&mut self, present: Present) {
        self.present.push_back(present);
        if self.present.len() > 2 * WINDOW && self.expected.len() > 2 * WINDOW {
            self.advance(WINDOW);
        }
    }

    /// Everything that disagrees, in the order of the log.
    #[must_use]
    pub fn finish(mut self) -> Vec<Finding> {
        self.advance(0);
        while let Some(expected) = self.expected.pop_front() {
            self.take_missing(expected, None);
        }
        while let Some(present) = self.present.pop_front() {
            self.take_foreign(present);
        }
        self.name_them();
        self.findings
    }

    /// Goes on while more than `keep` are left on both sides.
    fn advance(&mut self, keep: usize) {
        while self.expected.len() > keep && self.present.len() > keep {
            let agree = match (self.expected[0].hash, self.present[0].hash) {
                (Some(expected), Some(present)) => expected == present,
                _ => true,
            };
            if agree {
                self.expected.pop_front();
                self.before = self.present.pop_front().and_then(|p| p.id);
                self.place += 1;
            } else if self.adjacent_swap() {
                self.take_swap();
            } else {
                let (expected, present) = self.next_agreement();
                self.disagreements += 1;
                self.take_disagreement(expected, present);
            }
        }
    }

    fn adjacent_swap(&self) -> bool {
        let both = (self.expected.get(1).and_then(|e| e.hash), self.present.get(1).and_then(|p| p.hash));
        both.0.is_some() && both.0 == self.present[0].hash && both.1.is_some() && both.1 == self.expected[0].hash
    }

    fn take_swap(&mut self) {
        let (Some(early), Some(late)) = (self.expected.pop_front(), self.expected.pop_front()) else { return };
        let (Some(at_early), Some(at_late)) = (self.present.pop_front(), self.present.pop_front()) else { return };
        self.place += 2;
        self.before.clone_from(&at_late.id);
        self.findings.push(Finding::EntriesSwapped { first: (early.index, at_late.id), second: (late.index, at_early.id) });
    }

    /// How many to take from either side until both agree again.
    fn next_agreement(&self) -> (usize, usize) {
        let next = (self.expected.get(1).and_then(|e| e.hash), self.present.get(1).and_then(|p| p.hash));
        if self.disagreements >= PATIENCE || (next.0.is_some() && next.0 == next.1) {
            return (1, 1);
        }
        let mut ahead = HashMap::new();
        for (i, expected) in self.expected.iter().take(WINDOW).enumerate() {
            if let Some(hash) = expected.hash {
                ahead.entry(hash).or_insert(i);
            }
        }
        let candidates = self.present.iter().take(WINDOW).enumerate().filter_map(|(present, p)| {
            let expected = *ahead.get(&p.hash?)?;
            Some((expected, present))
        });
        candidates.min_by_key(|(e, p)| (e + p, e.abs_diff(*p))).unwrap_or((1, 1))
    }

    fn take_disagreement(&mut self, expected: usize, present: usize) {
        for _ in 0..expected.min(present) {
            let (Some(e), Some(p)) = (self.expected.pop_front(), self.present.pop_front()) else { return };
            let instead = p.hash.is_some().then_some(self.foreign.len());
            self.take_foreign(p);
            self.take_missing(e, instead);
        }
        for _ in present..expected {
            let Some(e) = self.expected.pop_front() else { return };
            self.take_missing(e, None);
        }
        for _ in expected..present {
            let Some(p) = self.present.pop_front() else { return };
            self.take_foreign(p);
        }
    }

    fn take_missing(&mut self, expected: Expected, instead: Option<usize>) {
        let after = self.before.clone();
        match expected.hash {
            Some(hash) => self.missing.push(Missing { index: expected.index, hash, id: expected.id, after, instead }),
            // Nothing tells what should have stood here, but something should have.
            None => self.findings.push(Finding::EntryMissing { index: expected.index, id: expected.id, after }),
        }
    }

    fn take_foreign(&mut self, present: Present) {
        if let Some(hash) = present.hash {
            self.foreign.push(Foreign { place: self.place, hash, id: present.id });
        }
        self.place += 1;
    }

    /// Pairs what is missing with what is foreign: moved, swapped, altered, or just missing or foreign.
    fn name_them(&mut self) {
        let foreign_by_hash: HashMap<Hash, usize> = self.foreign.iter().enumerate().map(|(i, f)| (f.hash, i)).collect();
        let mut named = vec![false; self.foreign.len()];
        // Where each missing entry went, by its own index.
        let moves: HashMap<u64, usize> = self.missing.iter().filter_map(|m| Some((m.index, *foreign_by_hash.get(&m.hash)?))).collect();
        // And back: which missing entry stands at a place, and what stands in its stead.
        let mut came_from: HashMap<usize, (u64, Option<usize>)> = HashMap::new();
        for missing in &self.missing {
            if let Some(went) = moves.get(&missing.index) {
                named[*went] = true;
                came_from.insert(*went, (missing.index, missing.instead));
            }
        }
        for missing in &self.missing {
            let finding = if let Some(went) = moves.get(&missing.index) {
                let here = &self.foreign[*went];
                let back = missing.instead.and_then(|stands_here| {
                    let (other, instead) = *came_from.get(&stands_here)?;
                    (instead == Some(*went)).then_some((other, self.foreign[stands_here].id.clone()))
                });
                match back {
                    Some((other, _)) if other < missing.index => continue,
                    Some(other) => Finding::EntriesSwapped { first: (missing.index, here.id.clone()), second: other },
                    None => Finding::EntryMoved { index: missing.index, place: here.place, id: here.id.clone() },
                }
            } else if let Some(stands_here) = missing.instead.filter(|i| !named[*i]) {
                named[stands_here] = true;
                let id = self.foreign[stands_here].id.clone().or_else(|| missing.id.clone());
                Finding::EntryAltered { index: missing.index, id }
            } else {
                Finding::EntryMissing { index: missing.index, id: missing.id.clone(), after: missing.after.clone() }
            };
            self.findings.push(finding);
        }
        for (foreign, _) in self.foreign.iter().zip(named).filter(|(_, named)| !named) {
            self.findings.push(Finding::EntryForeign { place: foreign.place, id: foreign.id.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tree::leaf_hash;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_is_named_only_if_nothing_differs(present in "[A-K]{0,14}") {
            prop_assert_eq!(compare(&present).is_empty(), present == "ABCDEFGHIJ");
        }

        #[test]
        fn whatever_was_taken_out_is_named_and_nothing_else(keep in prop::collection::vec(any::<bool>(), 10)) {
            let (kept, gone): (Vec<_>, Vec<_>) = ('A'..='J').zip(keep).enumerate().partition(|(_, (_, keep))| *keep);
            let said = compare(&kept.iter().map(|(_, (letter, _))| *letter).collect::<String>());
            prop_assert_eq!(said.len(), gone.len());
            for (said, (index, _)) in said.iter().zip(gone) {
                let named = format!("entry {index} is missing");
                prop_assert!(said.starts_with(&named), "{}", said);
            }
        }
    }

    fn compare(present: &str) -> Vec<String> {
        let mut alignment = Alignment::default();
        for (index, letter) in ('A'..='J').enumerate() {
            let hash = Some(leaf_hash(letter.to_string().as_bytes()));
            alignment.expect(Expected { index: index as u64, hash, id: None });
        }
        for letter in present.chars() {
            let hash = Some(leaf_hash(letter.to_string().as_bytes()));
            alignment.meet(Present { hash, id: Some(letter.to_string()) });
        }
        alignment.finish().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_happened_is_named() {
        assert_eq!(compare("ABCDEFGHIJ"), Vec::<String>::new());
        assert_eq!(compare("ABxDEFGHIJ"), ["entry 2 is not the one that was logged; what stands there calls itself `x`"]);
        assert_eq!(compare("AACDEFGHIJ"), ["entry 1 is not the one that was logged; what stands there calls itself `A`"]);
        assert_eq!(compare("ACCDEFGHIJ"), ["entry 1 is not the one that was logged; what stands there calls itself `C`"]);
        assert_eq!(compare("ABDEFGHIJ"), ["entry 2 is missing; it stood after `B`"]);
        assert_eq!(compare("ABCDEFGHI"), ["entry 9 is missing; it stood after `I`"]);
        assert_eq!(compare("ABCxDEFGHIJ"), ["what stands at place 3 (`x`) was never logged"]);
        assert_eq!(compare("ACBDEFGHIJ"), ["entries 1 (`B`) and 2 (`C`) have changed places"]);
        assert_eq!(compare("ABHDEFGCIJ"), ["entries 2 (`C`) and 7 (`H`) have changed places"]);
        assert_eq!(compare("ACDEFGBHIJ"), ["entry 1 (`B`) stands at place 6"]);
    }

    #[test]
    fn every_single_deletion_and_every_swap_is_named_exactly() {
        let all: Vec<char> = ('A'..='J').collect();
        for i in 0..all.len() {
            let mut without = all.clone();
            without.remove(i);
            let said = compare(&without.iter().collect::<String>());
            assert!(said.len() == 1 && said[0].starts_with(&format!("entry {i} is missing")), "{said:?}");
            for j in i + 1..all.len() {
                let mut swapped = all.clone();
                swapped.swap(i, j);
                let said = compare(&swapped.iter().collect::<String>());
                let wanted = format!("entries {i} (`{}`) and {j} (`{}`) have changed places", all[i], all[j]);
                assert_eq!(said, [wanted]);
            }
        }
    }
}
