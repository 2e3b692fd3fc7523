//! What every handler stands on.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use access::ids::PrincipalId;
use access::reason::{Reason, Refusal};
use identity::throttle::Throttle;
use jiff::Timestamp;
use workflow::Gate;

use crate::console::{Consoles, OpenConsoles};
use crate::extract::LARGEST_POLICY;
use crate::idempotency::Repeats;
use crate::shares::{Share, Shares};
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
    /// Which process this is, among those that ever answer here.
    process: RandomState,
    failures: Arc<Mutex<Throttle>>,
    pub(crate) repeats: Arc<Repeats>,
    pub(crate) taken: Arc<Taken>,
    /// What runs consoles; `None`: nothing does.
    pub(crate) consoles: Option<Arc<dyn Consoles>>,
    pub(crate) open_consoles: Arc<OpenConsoles>,
}

/// What callers take of the gate just now.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Bytes of bodies on their way from addresses where nobody has signed in.
    pub(crate) strangers_bodies: Arc<Shares<IpAddr>>,
    /// Bytes of bodies on their way from people.
    pub(crate) bodies: Arc<Shares<PrincipalId>>,
    /// Bytes of policy directories on their way from who may put one in force.
    pub(crate) policies: Arc<Shares<PrincipalId>>,
    streams: Arc<Shares<PrincipalId>>,
    searches: Arc<Shares<PrincipalId>>,
    exports: Arc<Shares<PrincipalId>>,
}

const MIB: usize = 1024 * 1024;

impl Default for Taken {
    fn default() -> Self {
        Self {
            strangers_bodies: Shares::new(MIB, 64 * MIB),
            bodies: Shares::new(8 * MIB, 256 * MIB),
            policies: Shares::new(LARGEST_POLICY, 2 * LARGEST_POLICY),
            streams: Shares::new(32, 8192),
            searches: Shares::new(4, 32),
            exports: Shares::new(1, 4),
        }
    }
}

/// What takes long, or lasts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Long {
    /// A stream of events, a view of a session, a recording that is read.
    Stream,
    /// Looking through recordings or the whole log.
    Search,
    /// Writing a file of evidence.
    Export,
}

impl ApiState {
    /// State for one node.
    #[must_use]
    pub fn new(gate: Arc<Gate>, facts: GateFacts) -> Self {
        gate.serve_passkeys(&facts.api);
        Self {
            gate,
            facts: Arc::new(facts),
            process: RandomState::new(),
            failures: Arc::default(),
            repeats: Arc::default(),
            taken: Arc::default(),
            consoles: None,
            open_consoles: Arc::default(),
        }
    }

    /// The same, with consoles.
    #[must_use]
    pub fn with_consoles(self, consoles: Arc<dyn Consoles>) -> Self {
        Self { consoles: Some(consoles), ..self }
    }

    /// Lets somebody do what takes long, for as long as they hold this.
    ///
    /// # Errors
    /// [`Reason::TooMany`], if so many of theirs are under way already, or of all together.
    pub(crate) fn long(&self, who: PrincipalId, what: Long) -> Result<Share<PrincipalId>, Refusal> {
        let (shares, says) = match what {
            Long::Stream => (&self.taken.streams, "too many streams of yours are open; close some"),
            Long::Search => (&self.taken.searches, "too many searches run; wait until one has ended"),
            Long::Export => (&self.taken.exports, "an export of yours is being written, or too many of others; wait until it has ended"),
        };
        shares.take(who, 1).ok_or_else(|| Refusal::because(Reason::TooMany, says))
    }

    /// As of which entry an answer is that is made from now on. Who finds the same twice missed nothing in between.
    pub(crate) fn as_of(&self) -> String {
        format!("{:016x}", self.process.hash_one(self.gate.counts().entered()))
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
        facts.passkeys = self.gate.relying_party().map(|party| PasskeyFacts { party: party.id.clone(), origin: party.origin.clone() });
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
