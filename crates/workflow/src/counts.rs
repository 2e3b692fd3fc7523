//! What happened since this process began, in numbers: each event as it was committed, with its reason if it has one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use access::event::Event;

/// An event's name and the code of its reason; empty if it has none.
pub type Counted = (&'static str, &'static str);

/// Counters, from zero at the start of the process.
#[derive(Debug, Default)]
pub struct Counts(Mutex<BTreeMap<Counted, u64>>);

impl Counts {
    pub(crate) fn count(&self, event: &Event) {
        let key = (event.name(), reason_of(event));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert(0) += 1;
    }

    /// How many entries there were, of all kinds together. Each is counted before anybody is told of it.
    #[must_use]
    pub fn entered(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// All of them, as they are now.
    #[must_use]
    pub fn now(&self) -> BTreeMap<Counted, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn reason_of(event: &Event) -> &'static str {
    match event {
        Event::SigninRefused { reason, .. }
        | Event::RequestRefused { reason, .. }
        | Event::RequestDenied { reason, .. }
        | Event::VoteRefused { reason, .. }
        | Event::GrantWithdrawn { reason, .. }
        | Event::SessionRefused { reason, .. }
        | Event::SessionDenied { reason, .. }
        | Event::ActionRefused { reason, .. } => reason.code(),
        Event::SessionEnded { reason, .. } => reason.code(),
        _ => "",
    }
}
