//! Bounds on what one caller, or one address, takes of the gate at a time, so that others notice nothing of it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// So much of something for each, and so much for all together.
#[derive(Debug)]
pub(crate) struct Shares<K> {
    each: usize,
    all: usize,
    held: Mutex<Held<K>>,
}

#[derive(Debug)]
struct Held<K> {
    all: usize,
    by: HashMap<K, usize>,
}

/// A share; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share<K: Copy + Eq + Hash> {
    of: Arc<Shares<K>>,
    by: K,
    amount: usize,
}

impl<K: Copy + Eq + Hash> Shares<K> {
    pub(crate) fn new(each: usize, all: usize) -> Arc<Self> {
        Arc::new(Self { each, all, held: Mutex::new(Held { all: 0, by: HashMap::new() }) })
    }

    /// So much for `by`, unless they, or all together, have too much of it already.
    pub(crate) fn take(self: &Arc<Self>, by: K, amount: usize) -> Option<Share<K>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = held.by.get(&by).copied().unwrap_or(0);
        if theirs + amount > self.each || held.all + amount > self.all {
            return None;
        }
        held.all += amount;
        held.by.insert(by, theirs + amount);
        Some(Share { of: Arc::clone(self), by, amount })
    }
}

impl<K: Copy + Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut held = self.of.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.all = held.all.saturating_sub(self.amount);
        match held.by.get_mut(&self.by) {
            Some(theirs) if *theirs > self.amount => *theirs -= self.amount,
            _ => {
                held.by.remove(&self.by);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: E7 (api)
    #[test]
    fn nobody_takes_what_is_left_for_others() {
        let shares = Shares::new(2, 5);
        let held: Vec<_> = (0..2).map(|_| shares.take("ana", 1).unwrap()).collect();
        assert!(shares.take("ana", 1).is_none());
        let ben = shares.take("ben", 2).unwrap();
        let carla = shares.take("carla", 1).unwrap();
        assert!(shares.take("dan", 1).is_none(), "all together");
        drop(carla);
        assert!(shares.take("dan", 1).is_some());
        drop((held, ben));
        assert!(shares.take("ana", 2).is_some());
        let held = shares.held.lock().unwrap();
        assert!(held.all == 0 && held.by.is_empty());
    }
}
