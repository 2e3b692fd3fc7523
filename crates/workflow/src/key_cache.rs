//! The keys of whoever signs what the gate is shown, for a while: of CI systems, and of transmitters of signals.

use std::sync::{Arc, Mutex, PoisonError};

use access::time::Span;
use identity::oidc::{Keys, OidcError};
use jiff::Timestamp;

/// For so long somebody's keys are taken as they were.
const FRESH: Span = Span::minutes(10);
/// What was signed by a key that is not known, or somebody who did not answer, makes the gate look again, at most this often.
const LOOK_AGAIN: Span = Span::seconds(10);

/// One's keys.
#[derive(Debug, Default)]
pub(crate) struct KeyCache {
    published: Mutex<Published>,
    /// Held by the one call that asks. Whoever needs what it may bring waits for it; nobody else does.
    asking: tokio::sync::Mutex<()>,
}

/// What is known of them.
#[derive(Debug, Clone, Default)]
struct Published {
    /// The keys, and when they were given.
    keys: Option<(Arc<Keys>, Timestamp)>,
    /// When they were last asked for.
    asked: Option<Timestamp>,
    /// Why none were given then.
    trouble: Option<String>,
}

impl Published {
    /// The keys, or why there are none, if there is no need or no leave to ask now. `older` are keys that did not do.
    fn enough(&self, now: Timestamp, older: Option<&Arc<Keys>>) -> Option<Result<Arc<Keys>, OidcError>> {
        // INVARIANT: keys that cannot be looked at again are believed for no longer than they would have been.
        let fresh = self.keys.as_ref().filter(|(_, at)| now < FRESH.after(*at)).map(|(keys, _)| keys);
        let asked_just_now = self.asked.is_some_and(|at| now < LOOK_AGAIN.after(at));
        match fresh {
            Some(keys) if asked_just_now || older.is_none_or(|older| !Arc::ptr_eq(keys, older)) => Some(Ok(Arc::clone(keys))),
            None if asked_just_now => Some(Err(OidcError::Unreachable(self.trouble.clone().unwrap_or_default()))),
            _ => None,
        }
    }
}

impl KeyCache {
    /// The keys: as they are kept, or as `ask` brings them when they are old or `older` did not do.
    pub(crate) async fn keys(
        &self,
        now: Timestamp,
        older: Option<&Arc<Keys>>,
        ask: impl Future<Output = Result<Keys, OidcError>>,
    ) -> Result<Arc<Keys>, OidcError> {
        let published = || self.published.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(enough) = published().enough(now, older) {
            return enough;
        }
        let _alone = self.asking.lock().await;
        // Another call may have asked meanwhile.
        if let Some(enough) = published().enough(now, older) {
            return enough;
        }
        let answer = ask.await;
        let mut published = published();
        published.asked = Some(now);
        match answer {
            Ok(keys) => {
                let keys = Arc::new(keys);
                published.keys = Some((Arc::clone(&keys), now));
                published.trouble = None;
                Ok(keys)
            }
            Err(error) => {
                published.trouble = Some(error.to_string());
                Err(error)
            }
        }
    }
}
