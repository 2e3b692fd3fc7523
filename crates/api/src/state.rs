//! What every handler stands on.

use std::sync::{Arc, Mutex, PoisonError};

use access::reason::Refusal;
use identity::throttle::Throttle;
use jiff::Timestamp;
use workflow::Gate;

use crate::idempotency::Repeats;
use crate::types::gate::GateFacts;

/// What the router is made of. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiState {
    /// The gate, whose verbs handlers call.
    pub gate: Arc<Gate>,
    /// What everybody may know of it.
    pub facts: Arc<GateFacts>,
    failures: Arc<Mutex<Throttle>>,
    pub(crate) repeats: Arc<Repeats>,
}

impl ApiState {
    /// State for one node.
    #[must_use]
    pub fn new(gate: Arc<Gate>, facts: GateFacts) -> Self {
        Self { gate, facts: Arc::new(facts), failures: Arc::default(), repeats: Arc::default() }
    }

    /// Whether somebody at this address may try to sign in now. To be asked before anything is looked up.
    pub(crate) fn may_try(&self, from: std::net::IpAddr, now: Timestamp) -> Result<(), Refusal> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).may_try(from, now)
    }

    /// Somebody at this address presented what nobody was given.
    pub(crate) fn failed(&self, from: std::net::IpAddr, now: Timestamp) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).failed(from, now);
    }
}
