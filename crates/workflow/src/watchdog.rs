//! Somebody looks after the sweep: where the ends of sessions are not looked at any more, nothing stays open.
//!
//! *Takes* the sweep's last look. *Proves* that whoever should cut is there. *Hands to* live sessions their cut if nobody is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use access::session::EndReason;

use crate::gate::Gate;

/// After so long without a look the gate is not ready. A look comes every tenth of a second.
const LATE: Duration = Duration::from_secs(5);
/// After so long every session is cut: nobody knows whether their time is up. Time in which the machine sleeps does not count.
const LOST: Duration = Duration::from_secs(20);

/// When the ends of sessions were last looked at (`None` until that begins), and whether it was too long ago when that was seen last.
#[derive(Debug, Default)]
pub(crate) struct LastLook(Mutex<Option<Instant>>, AtomicBool);

impl LastLook {
    pub(crate) fn now(&self, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    fn ago(&self, now: Instant) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(|then| now.saturating_duration_since(then))
    }
}

impl Gate {
    /// Whether the ends of live sessions are being looked at, as they are from when the gate serves.
    #[must_use]
    pub fn is_swept(&self) -> bool {
        self.last_look.ago(Instant::now()).is_none_or(|ago| ago < LATE)
    }

    /// Whether they were looked at once.
    #[must_use]
    pub fn was_swept(&self) -> bool {
        self.last_look.ago(Instant::now()).is_some()
    }

    /// One look at the sweep.
    pub fn look_after_the_sweep(&self, now: Instant) {
        let lost = self.last_look.ago(now).is_some_and(|ago| ago >= LOST);
        // Twice in a row: a process that stood still as a whole looks again when it goes on.
        if self.last_look.1.swap(lost, Ordering::Relaxed) && lost {
            let cut = self.live.cut(EndReason::Node, |_| true);
            if !cut.is_empty() {
                tracing::error!(
                    sessions = cut.len(),
                    "nobody looks at the ends of sessions any more: all of them are cut; restart the gate"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_grows_old() {
        let (look, start) = (LastLook::default(), Instant::now());
        assert_eq!(look.ago(start), None);
        look.now(start);
        assert_eq!(look.ago(start + LOST), Some(LOST));
        look.now(start + LOST);
        assert_eq!(look.ago(start + LOST), Some(Duration::ZERO));
    }
}
