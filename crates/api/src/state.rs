//! What every handler stands on.

use std::sync::{Arc, Mutex, PoisonError};

use access::reason::Refusal;
use identity::throttle::Throttle;
use jiff::Timestamp;
use workflow::Gate;

use crate::idempotency::Repeats;
use crate::types::gate::{GateFacts, TargetCaFacts, TargetCaState};
use crate::types::passkeys::PasskeyFacts;
use crate::types::providers::ProviderFacts;

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
        gate.serve_passkeys(&facts.api);
        Self { gate, facts: Arc::new(facts), failures: Arc::default(), repeats: Arc::default() }
    }

    /// What everybody may know of the gate, with its keys as they are now.
    #[must_use]
    pub fn facts_now(&self) -> GateFacts {
        let keys = self.gate.public_keys();
        let mut facts = GateFacts::clone(&self.facts);
        facts.target_cas = keys
            .target_cas
            .into_iter()
            .filter_map(|key| {
                let state = match (key.activated_at, key.retired_at) {
                    (None, _) => TargetCaState::Announced,
                    (Some(_), None) => TargetCaState::InUse,
                    (Some(_), Some(_)) => TargetCaState::Replaced,
                };
                Some(TargetCaFacts { id: key.id.to_string(), public_key: key.public?, state, trusted_until: key.trusted_until })
            })
            .collect();
        facts.target_ca = facts.target_cas.iter().find(|ca| ca.state == TargetCaState::InUse).map(|ca| ca.public_key.clone());
        facts.providers = self.gate.providers().map(|p| ProviderFacts { name: p.name.clone(), title: p.title.clone() }).collect();
        facts.passkeys =
            self.gate.relying_party().map(|party| PasskeyFacts { party: party.id.clone(), origin: party.origin.clone() });
        facts.login_ca = keys.login_ca;
        facts.checkpoint_verifier = keys.checkpoint_verifier;
        if let Some(ssh) = &mut facts.ssh {
            (ssh.host_keys, ssh.fingerprints) = keys.ssh_host.into_iter().unzip();
        }
        facts
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
