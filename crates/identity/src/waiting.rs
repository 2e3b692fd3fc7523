//! What waits for an answer that anybody may begin: challenges, sign-ins at a provider, devices.
//!
//! In memory and bounded. Whoever begins many pushes out what they began themselves, and nothing of anybody else's.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use access::ids::PrincipalId;
use access::source::source;

/// Who begins: whoever is in a network, or, once somebody is signed in, they, wherever they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    Network(IpAddr),
    Person(PrincipalId),
}

impl From<IpAddr> for Place {
    fn from(address: IpAddr) -> Self {
        Self::Network(source(address))
    }
}

impl From<PrincipalId> for Place {
    fn from(person: PrincipalId) -> Self {
        Self::Person(person)
    }
}

/// Things that wait, oldest first, and who began each.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    all: VecDeque<(Place, T)>,
    room: usize,
    each: usize,
}

impl<T> Waiting<T> {
    /// At most `room` wait, at most `each` of one source.
    pub(crate) fn new(room: usize, each: usize) -> Self {
        Self { all: VecDeque::new(), room: room.max(1), each: each.max(1) }
    }

    /// One more. If its source has too many, the oldest of them gives way; if there is no room at all, the oldest of the source that has
    /// the most.
    pub(crate) fn push(&mut self, from: impl Into<Place>, item: T) {
        let source = from.into();
        if self.from(source) >= self.each {
            self.remove_oldest(source);
        } else if self.all.len() >= self.room {
            let mut counts: HashMap<Place, usize> = HashMap::new();
            for (from, _) in &self.all {
                *counts.entry(*from).or_default() += 1;
            }
            if let Some((most, _)) = counts.into_iter().max_by_key(|(source, count)| (*count, *source)) {
                self.remove_oldest(most);
            }
        }
        self.all.push_back((source, item));
    }

    /// How many wait of whoever is there.
    pub(crate) fn from(&self, source: impl Into<Place>) -> usize {
        let source = source.into();
        self.all.iter().filter(|(from, _)| *from == source).count()
    }

    fn remove_oldest(&mut self, source: Place) {
        if let Some(at) = self.all.iter().position(|(from, _)| *from == source) {
            self.all.remove(at);
        }
    }

    /// Only what still counts stays.
    pub(crate) fn retain(&mut self, mut stays: impl FnMut(&T) -> bool) {
        self.all.retain(|(_, item)| stays(item));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.all.iter().map(|(_, item)| item)
    }

    pub(crate) fn find_mut(&mut self, is_it: impl Fn(&T) -> bool) -> Option<&mut T> {
        self.all.iter_mut().map(|(_, item)| item).find(|item| is_it(item))
    }

    /// Takes one out.
    pub(crate) fn take(&mut self, is_it: impl Fn(&T) -> bool) -> Option<T> {
        let at = self.all.iter().position(|(_, item)| is_it(item))?;
        self.all.remove(at).map(|(_, item)| item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    // covers: E7
    #[test]
    fn who_begins_many_pushes_out_only_their_own() {
        let mut waiting = Waiting::new(8, 4);
        waiting.push(at(1), 1000);
        for n in 0..50 {
            waiting.push(at(9), n);
        }
        assert_eq!(waiting.iter().copied().collect::<Vec<_>>(), [1000, 46, 47, 48, 49]);
        // From several places, and through one network of IPv6.
        for n in 50..100 {
            waiting.push(at(10), n);
            waiting.push(format!("2001:db8::{n:x}").parse::<IpAddr>().unwrap(), n);
        }
        assert!(waiting.iter().any(|n| *n == 1000) && waiting.iter().count() == 8);
        assert!(waiting.from("2001:db8::ffff:1".parse::<IpAddr>().unwrap()) <= 4);
        assert_eq!(waiting.take(|n| *n == 1000), Some(1000));
        assert_eq!(waiting.take(|n| *n == 1000), None);
    }
}
