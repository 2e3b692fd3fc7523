//! What a caller may see in lists, by the same policy that the verbs ask.

use std::sync::{Arc, Mutex, PoisonError};

use access::approval::Seat;
use policy::{Act, Bundle, Noun, Object, Situation};
use workflow::{Caller, Gate};

use crate::problem::Answer;

/// A caller and the policy in force, as they are now.
pub(crate) struct Sight {
    pub(crate) bundle: Arc<Bundle>,
    pub(crate) situation: Situation,
    /// What was asked before: a list asks the same for every row.
    administers: Mutex<Vec<(Noun, bool)>>,
}

impl Sight {
    /// What policy has to know of the caller, now.
    pub(crate) async fn of(gate: &Gate, caller: &Caller) -> Answer<Self> {
        let situation = gate.situation(&caller.who).await?;
        Ok(Self { bundle: gate.bundle(), situation, administers: Mutex::default() })
    }

    /// Whether policy lets them; leaves no entry.
    pub(crate) fn may(&self, act: Act, on: &Object) -> bool {
        self.bundle.may(&self.situation, act, on).allowed
    }

    /// Whether policy lets them administer this.
    pub(crate) fn administers(&self, noun: Noun) -> bool {
        let mut known = self.administers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, may)) = known.iter().find(|(asked, _)| *asked == noun) {
            return *may;
        }
        let may = self.may(Act::Administer(noun), &Object::Nothing);
        known.push((noun, may));
        may
    }

    /// Whether they may read the whole log, and with it everything it speaks of.
    pub(crate) fn audits(&self) -> bool {
        self.administers(Noun::Audit)
    }

    /// Whether they hold one of these seats.
    pub(crate) fn seated<'s>(&self, seats: impl IntoIterator<Item = &'s Seat>) -> bool {
        seats.into_iter().any(|seat| self.bundle.seated(&self.situation, seat))
    }
}
