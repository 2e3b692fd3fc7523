//! Cancel requests: a key of the gate's own per session, which reaches that session at its target and no other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use wire::postgres::startup::CancelKey;

use super::target::Hold;

/// The keys of live sessions.
#[derive(Debug, Default, Clone)]
pub(crate) struct Cancels(Arc<Mutex<HashMap<CancelKey, Arc<Hold>>>>);

/// A session's key; it opens nothing any more when this is dropped.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) key: CancelKey,
    all: Cancels,
}

impl Cancels {
    /// Makes a key for what is held at a target, with a secret of this many bytes.
    pub(crate) fn issue(&self, hold: Arc<Hold>, secret_length: usize) -> Issued {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let secret = (0..secret_length).map(|_| rand::random()).collect();
            // Clients print it as a signed number.
            let key = CancelKey { pid: rand::random::<u32>() >> 1, secret };
            if !all.contains_key(&key) {
                all.insert(key.clone(), hold);
                return Issued { key, all: self.clone() };
            }
        }
    }

    /// Cancels what the session with this key does. Nobody is told whether there was one.
    pub(crate) async fn cancel(&self, key: &CancelKey) {
        let hold = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if let Some(hold) = hold {
            hold.cancel().await;
        }
    }
}

impl Drop for Issued {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
