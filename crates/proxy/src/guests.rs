//! Connections of those who have signed in: how many one person may hold at one door, so that nobody takes the whole gate.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use access::ids::PrincipalId;
use access::reason::{Reason, Refusal};

/// Connections that one person may have at one door by default: enough for a tool that works on a thousand machines at once.
pub(crate) const PER_PERSON: usize = 1_024;

/// Of those for whom there is no place, how many may stay for a moment to read why.
const READERS: usize = 16;

type Held = Arc<Mutex<HashMap<PrincipalId, usize>>>;

/// Counts those who have signed in.
#[derive(Debug)]
pub(crate) struct Guests {
    per_person: usize,
    held: Held,
}

/// A place among them; given back when dropped.
#[derive(Debug)]
pub(crate) struct Guest {
    who: PrincipalId,
    held: Held,
}

impl Guests {
    pub(crate) fn new(per_person: usize) -> Self {
        Self { per_person, held: Held::default() }
    }

    /// A place for one more of this person's.
    ///
    /// # Errors
    /// Refused if they have as many as anybody may.
    pub(crate) fn admit(&self, who: PrincipalId) -> Result<Guest, Refusal> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = held.entry(who).or_default();
        if *theirs >= self.per_person {
            let why = format!("you have {} connections to this door open, and nobody may have more; close some", self.per_person);
            return Err(Refusal::because(Reason::TooMany, why));
        }
        *theirs += 1;
        Ok(Guest { who, held: self.held.clone() })
    }

    /// For somebody for whom there is no place: whether they may stay to read why.
    pub(crate) fn reader(&self, who: PrincipalId) -> Option<Guest> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = held.entry(who).or_default();
        (*theirs < self.per_person + READERS).then(|| {
            *theirs += 1;
            Guest { who, held: self.held.clone() }
        })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(theirs) = held.get_mut(&self.who) {
            *theirs -= 1;
            if *theirs == 0 {
                held.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use access::ids::UserId;
    use jiff::Timestamp;

    use super::*;

    // covers: E7
    #[test]
    fn nobody_takes_the_places_of_others() {
        let [ana, ben] = [0, 1].map(|n| PrincipalId::from(UserId::generate(Timestamp::from_second(n).unwrap())));
        let guests = Guests::new(2);
        let first = guests.admit(ana).unwrap();
        let _second = guests.admit(ana).unwrap();
        assert_eq!(guests.admit(ana).unwrap_err().reason, Reason::TooMany);
        let other = guests.admit(ben).unwrap();
        let readers: Vec<_> = std::iter::from_fn(|| guests.reader(ana)).collect();
        assert_eq!(readers.len(), READERS);
        drop(readers);
        drop(first);
        let _third = guests.admit(ana).unwrap();
        drop(other);
        assert_eq!(guests.held.lock().unwrap().len(), 1);
    }
}
