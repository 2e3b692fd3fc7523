//! `KILL`: which session at which server a connection's number means, and that nobody reaches one that is not theirs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use access::ids::PrincipalId;
use access::names::ResourceName;

use super::upstream::Hold;

/// The gate's numbers begin here, far from those of servers.
const FIRST: u32 = 1 << 31;

#[derive(Debug)]
struct Session {
    person: PrincipalId,
    resource: ResourceName,
    hold: Arc<Hold>,
}

/// The live sessions by the number that their clients were greeted with.
#[derive(Debug, Default, Clone)]
pub(crate) struct Kills(Arc<Mutex<HashMap<u32, Option<Session>>>>);

/// A connection's number; it means nothing any more when this is dropped.
#[derive(Debug)]
pub(crate) struct Number {
    number: u32,
    all: Kills,
}

impl Kills {
    fn all(&self) -> MutexGuard<'_, HashMap<u32, Option<Session>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a new connection.
    pub(crate) fn number(&self) -> Number {
        let mut all = self.all();
        loop {
            let number = FIRST | rand::random::<u32>();
            if let std::collections::hash_map::Entry::Vacant(free) = all.entry(number) {
                free.insert(None);
                return Number { number, all: self.clone() };
            }
        }
    }

    /// The session that this person means by a number: the gate's, or the server's own (`CONNECTION_ID()`) of the same resource.
    pub(crate) fn find(&self, number: u64, person: PrincipalId, resource: &ResourceName) -> Option<Arc<Hold>> {
        let all = self.all();
        let theirs = || all.iter().filter_map(|(gates, session)| Some((*gates, session.as_ref()?))).filter(|(_, s)| s.person == person);
        let found = theirs()
            .find(|(gates, _)| u64::from(*gates) == number)
            .or_else(|| theirs().find(|(_, s)| u64::from(s.hold.connection()) == number && s.resource == *resource));
        found.map(|(_, session)| Arc::clone(&session.hold))
    }
}

impl Number {
    pub(crate) fn get(&self) -> u32 {
        self.number
    }

    /// From now on it means this session.
    pub(crate) fn means(&self, person: PrincipalId, resource: ResourceName, hold: Arc<Hold>) {
        self.all.all().insert(self.number, Some(Session { person, resource, hold }));
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        self.all.all().remove(&self.number);
    }
}
