//! What passwords of accounts become with their servers' salts, kept for a while: SCRAM has each connection hash its password thousands
//! of times otherwise, which is most of what it takes to connect.
//!
//! Kept is what a server has shown to know too, and one of each account: a password or salt that changes takes the place of what was
//! there. Nobody can find a password by what is kept without guessing it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use wire::postgres::scram::Keys;

/// Accounts whose keys are kept, at most.
const MOST: usize = 1024;
/// How long keys are kept that nobody uses: an account of a grant is gone some time.
const UNUSED: Duration = Duration::from_secs(600);

/// Those of this gate.
static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);

/// An account at a server.
pub(super) type At = (SocketAddr, String);

/// Which password and salt keys were made of, and by how many hashes; told by a digest that only this process can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Made([u8; 32]);

struct Entry {
    of: Made,
    keys: Keys,
    used: Instant,
}

/// Keys by account.
pub(super) struct Kept {
    secret: [u8; 32],
    all: HashMap<At, Entry>,
}

impl Default for Kept {
    fn default() -> Self {
        Self { secret: rand::random(), all: HashMap::new() }
    }
}

/// Those of this gate.
pub(super) fn kept() -> MutexGuard<'static, Kept> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    /// What tells these keys from others.
    pub(super) fn made_of(&self, password: &str, (salt, iterations): (&[u8], NonZeroU32)) -> Made {
        let mut digest = Sha256::new_with_prefix(self.secret);
        for part in [password.as_bytes(), salt] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.update(iterations.get().to_be_bytes());
        Made(digest.finalize().into())
    }

    /// The keys of an account, if they were made of the same.
    pub(super) fn find(&mut self, at: &At, of: Made, now: Instant) -> Option<Keys> {
        let entry = self.all.get_mut(at).filter(|entry| entry.of == of)?;
        entry.used = now;
        Some(entry.keys.clone())
    }

    /// Keeps what the server has shown to know, in the place of what it was before.
    pub(super) fn keep(&mut self, at: At, of: Made, keys: Keys, now: Instant) {
        self.all.retain(|_, entry| now.saturating_duration_since(entry.used) < UNUSED);
        if self.all.len() >= MOST && !self.all.contains_key(&at) {
            let oldest = self.all.iter().min_by_key(|(_, entry)| entry.used).map(|(at, _)| at.clone());
            if let Some(oldest) = oldest {
                self.all.remove(&oldest);
            }
        }
        self.all.insert(at, Entry { of, keys, used: now });
    }

    /// A server refused them.
    pub(super) fn forget(&mut self, at: &At) {
        self.all.remove(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::postgres::scram::{Binding, Started};

    fn keys(password: &str) -> Keys {
        Started::new(Binding::None, "abc".into()).challenged(b"r=abcdef,s=c2FsdA==,i=1").unwrap().keys(password)
    }

    fn at(port: u16) -> At {
        (([127, 0, 0, 1], port).into(), "app".to_owned())
    }

    #[test]
    fn keys_are_those_of_one_password_and_salt_and_go_when_either_changes() {
        let (mut kept, now, thousand) = (Kept::default(), Instant::now(), NonZeroU32::new(1_000).unwrap());
        let old = kept.made_of("old", (b"salt", thousand));
        kept.keep(at(1), old, keys("old"), now);
        assert!(kept.find(&at(1), old, now).is_some() && kept.find(&at(2), old, now).is_none());
        for other in [
            kept.made_of("new", (b"salt", thousand)),
            kept.made_of("old", (b"tlas", thousand)),
            kept.made_of("old", (b"salt", NonZeroU32::new(999).unwrap())),
            kept.made_of("olds", (b"alt", thousand)),
            Kept::default().made_of("old", (b"salt", thousand)),
        ] {
            assert!(kept.find(&at(1), other, now).is_none());
        }
        let new = kept.made_of("new", (b"salt", thousand));
        kept.keep(at(1), new, keys("new"), now);
        assert!(kept.find(&at(1), old, now).is_none() && kept.find(&at(1), new, now).is_some());
        kept.forget(&at(1));
        assert!(kept.all.is_empty());
    }

    #[test]
    fn no_more_are_kept_than_are_used() {
        let (mut kept, mut now, keys) = (Kept::default(), Instant::now(), keys("x"));
        let of = kept.made_of("x", (b"salt", NonZeroU32::MIN));
        for port in 0..=u16::try_from(MOST).unwrap() {
            now += Duration::from_millis(1);
            kept.keep(at(port), of, keys.clone(), now);
        }
        assert_eq!((kept.all.len(), kept.find(&at(0), of, now).is_none(), kept.find(&at(1), of, now).is_some()), (MOST, true, true));
        kept.keep(at(7), of, keys, now + UNUSED);
        assert_eq!(kept.all.len(), 1);
    }
}
