//! Prepared statements and portals by name, as the server will have them once it has answered all that it was asked.
//!
//! A name changes when its message is sent, and the server may still refuse it: a `Parse` under a name that is taken, a `Bind` behind an
//! error. So each change is kept with what it took the place of, until the server has answered it. What fails is taken back, and
//! everything after it up to the `Sync`, since the server reads none of that. Such a stretch is a *segment* here.
//!
//! Inside one segment the names are right for whoever comes next: if something before it fails, it does not run. What another segment
//! has changed is only known when that is answered ([`Kept::is_unsure`]).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::judge::HiddenValues;
use super::statement::{Recorded, Values};

/// Prepared statements and portals of one session, at most, and changes of them without an answer.
const NAMES: usize = 65_536;
/// What their texts and values may take in bytes, but for the last.
const PRESENT: usize = 64 * 1024 * 1024;
/// What may be kept besides in case a change fails, in bytes; then answers are waited for.
const HELD: usize = 256 * 1024 * 1024;
/// How much of a name a server looks at, in bytes (`NAMEDATALEN`, less its zero).
const LOOKED_AT: usize = 63;
/// How long a name may be whose letters take another number of bytes in the server's encoding: at most four each.
const ENCODED: usize = LOOKED_AT / 4;

/// A name of which nothing is left that a server ignores.
pub(crate) type Name = Box<[u8]>;

/// The part of a name that a server looks at; `None` if nobody here can tell.
pub(crate) fn looked_at(name: &[u8]) -> Option<&[u8]> {
    match name.get(..LOOKED_AT) {
        None if name.len() > ENCODED && !name.is_ascii() => None,
        None => Some(name),
        Some(_) if !name.is_ascii() => None,
        Some(start) => Some(start),
    }
}

/// What a statement does with a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Naming {
    /// Nothing.
    #[default]
    None,
    /// It opens the cursor of this name.
    Opens(Name),
    /// It fetches from it.
    Fetches(Name),
    /// It prepares the statement of this name.
    Prepares(Name),
}

/// A prepared statement.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// Its text as it is recorded.
    pub(crate) text: Recorded,
    /// Which of its values are not.
    pub(crate) hidden: HiddenValues,
    /// What it does with a name.
    pub(crate) naming: Naming,
    /// The number under which its text was recorded first.
    pub(crate) recorded: Option<u64>,
    /// The places of its output that are masked.
    pub(crate) masked: Arc<BTreeSet<usize>>,
}

/// A portal: what it runs, with which values.
#[derive(Debug, Clone)]
pub(crate) struct Portal {
    pub(crate) text: Recorded,
    pub(crate) values: Values,
    pub(crate) naming: Naming,
    /// The number under which it is recorded, and whether it has run under that.
    pub(crate) number: u64,
    pub(crate) has_run: bool,
    /// The number under which its text was recorded first.
    pub(crate) first: u64,
    /// The places of its output that are masked.
    pub(crate) masked: Arc<BTreeSet<usize>>,
}

/// Statements and portals by name.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) statements: Kept<Prepared>,
    pub(crate) portals: Kept<Portal>,
}

impl Names {
    /// Whether there is room for one of this name more.
    pub(crate) fn have_room_for(&self, statement: Option<&[u8]>, portal: Option<&[u8]>) -> bool {
        let (statements, portals) = (&self.statements, &self.portals);
        let present = statements.present_beside(statement.unwrap_or_default()) + portals.present_beside(portal.unwrap_or_default());
        let few = |names: usize, changes: usize| names < NAMES && changes < NAMES;
        few(statements.slots.len(), statements.changes.len()) && few(portals.slots.len(), portals.changes.len()) && present < PRESENT
    }

    /// Whether so much is kept in case a change fails that the server has to answer first.
    pub(crate) fn hold_too_much(&self) -> bool {
        self.statements.held + self.portals.held >= HELD
    }

    /// Takes back what was changed up to this segment and not answered.
    pub(crate) fn take_back(&mut self, segment: u64) {
        self.statements.take_back(segment);
        self.portals.take_back(segment);
    }

    /// A text that nobody here can read may have given any name to something else: what had one is not known by it any more.
    pub(crate) fn forget_named(&mut self) {
        self.statements.forget_named();
        self.portals.forget_named();
    }
}

/// Something, and what its texts and values take in memory.
#[derive(Debug)]
struct Weighed<T> {
    it: T,
    bytes: usize,
}

/// What has a name, and how many changes of it the server has not answered; the last of them is of this segment.
#[derive(Debug)]
struct Slot<T> {
    now: Option<Weighed<T>>,
    outstanding: usize,
    segment: u64,
}

/// A change that the server has not answered.
#[derive(Debug)]
struct Change<T> {
    segment: u64,
    name: Name,
    was: Option<Weighed<T>>,
}

/// Things by name.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    slots: HashMap<Name, Slot<T>>,
    /// In the order in which they were sent, which is that of the answers.
    changes: VecDeque<Change<T>>,
    present: usize,
    held: usize,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { slots: HashMap::new(), changes: VecDeque::new(), present: 0, held: 0 }
    }
}

fn bytes<T>(weighed: Option<&Weighed<T>>) -> usize {
    weighed.map_or(0, |weighed| weighed.bytes)
}

impl<T> Kept<T> {
    pub(crate) fn get(&self, name: &[u8]) -> Option<&T> {
        self.slots.get(name)?.now.as_ref().map(|weighed| &weighed.it)
    }

    pub(crate) fn get_mut(&mut self, name: &[u8]) -> Option<&mut T> {
        self.slots.get_mut(name)?.now.as_mut().map(|weighed| &mut weighed.it)
    }

    /// Whether it hangs on an answer that is still to come what has this name when something of this segment runs.
    pub(crate) fn is_unsure(&self, name: &[u8], segment: u64) -> bool {
        self.slots.get(name).is_some_and(|slot| slot.outstanding > 0 && slot.segment < segment)
    }

    /// Gives a name to something else, of this many bytes, or to nothing, if the server agrees.
    pub(crate) fn change(&mut self, segment: u64, name: &[u8], to: Option<(T, usize)>) {
        let to = to.map(|(it, bytes)| Weighed { it, bytes });
        self.present += bytes(to.as_ref());
        let was = match self.slots.get_mut(name) {
            Some(slot) => {
                slot.outstanding += 1;
                slot.segment = segment;
                std::mem::replace(&mut slot.now, to)
            }
            None => {
                self.slots.insert(name.into(), Slot { now: to, outstanding: 1, segment });
                None
            }
        };
        self.present -= bytes(was.as_ref());
        self.held += bytes(was.as_ref());
        self.changes.push_back(Change { segment, name: name.into(), was });
    }

    /// The server has done the oldest change.
    pub(crate) fn done(&mut self) {
        let Some(change) = self.changes.pop_front() else { return };
        self.held -= bytes(change.was.as_ref());
        self.answered(&change.name);
    }

    /// The server has begun the oldest change, and thrown away what had the name before.
    pub(crate) fn begun(&mut self) {
        if let Some(change) = self.changes.front_mut() {
            self.held -= bytes(change.was.as_ref());
            change.was = None;
        }
    }

    /// The server will not do any change up to this segment that it has not answered.
    fn take_back(&mut self, segment: u64) {
        let mut back: HashMap<Name, Option<Weighed<T>>> = HashMap::new();
        while self.changes.front().is_some_and(|change| change.segment <= segment) {
            let Some(Change { name, was, .. }) = self.changes.pop_front() else { break };
            if let Some(slot) = self.slots.get_mut(&name) {
                slot.outstanding -= 1;
            }
            match back.entry(name) {
                std::collections::hash_map::Entry::Vacant(entry) => drop(entry.insert(was)),
                // The first of them took the place of what is there again now.
                std::collections::hash_map::Entry::Occupied(_) => self.held -= bytes(was.as_ref()),
            }
        }
        if back.is_empty() {
            return;
        }
        // A later change took the place of one that is not done: it takes the place of what was there before.
        for change in &mut self.changes {
            if let Some(was) = back.remove(&change.name) {
                self.held -= bytes(change.was.as_ref());
                change.was = was;
            }
        }
        for (name, was) in back {
            self.held -= bytes(was.as_ref());
            self.present += bytes(was.as_ref());
            if let Some(slot) = self.slots.get_mut(&name) {
                self.present -= bytes(slot.now.as_ref());
                slot.now = was;
                if slot.now.is_none() && slot.outstanding == 0 {
                    self.slots.remove(&name);
                }
            }
        }
    }

    /// One change of this name less is without an answer.
    fn answered(&mut self, name: &[u8]) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.outstanding -= 1;
            if slot.outstanding == 0 && slot.now.is_none() {
                self.slots.remove(name);
            }
        }
    }

    /// Nothing is left at the server but what is without an answer. What has no name is kept: its room is used again.
    pub(crate) fn over(&mut self) {
        if self.slots.len() > 1 {
            let present = &mut self.present;
            self.slots.retain(|name, slot| {
                let kept = name.is_empty() || slot.outstanding > 0;
                *present -= if kept { 0 } else { bytes(slot.now.as_ref()) };
                kept
            });
        }
    }

    fn forget_named(&mut self) {
        for change in self.changes.iter_mut().filter(|change| !change.name.is_empty()) {
            self.held -= bytes(change.was.as_ref());
            change.was = None;
        }
        let present = &mut self.present;
        self.slots.retain(|name, slot| {
            if !name.is_empty() {
                *present -= bytes(slot.now.as_ref());
                slot.now = None;
            }
            slot.now.is_some() || slot.outstanding > 0
        });
    }

    /// The bytes of all but this one.
    fn present_beside(&self, name: &[u8]) -> usize {
        self.present - self.slots.get(name).map_or(0, |slot| bytes(slot.now.as_ref()))
    }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
