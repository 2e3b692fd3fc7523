//! What is counted of one day, UTC. Days add up to weeks, months and everything.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::durations::Durations;

/// One day, or several days added up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Day {
    /// From a request that people agreed to, to the first session on what came of it.
    #[serde(skip_serializing_if = "none")]
    pub request_to_session: Durations,
    /// First sessions on grants that nobody had to agree to, emergencies among them.
    #[serde(skip_serializing_if = "zero")]
    pub at_once: u64,
    /// Emergencies that were declared.
    #[serde(skip_serializing_if = "zero")]
    pub emergencies: u64,
    /// Sessions that were opened on production.
    #[serde(skip_serializing_if = "zero")]
    pub production: u64,
    /// Those of them whose grant has an end.
    #[serde(skip_serializing_if = "zero")]
    pub time_bound: u64,
    /// Grants for production without an end whose clock started.
    #[serde(skip_serializing_if = "zero")]
    pub standing_began: u64,
    /// Those that ended.
    #[serde(skip_serializing_if = "zero")]
    pub standing_ended: u64,
    /// Sessions that ended.
    #[serde(skip_serializing_if = "zero")]
    pub ended: u64,
    /// Those of them of which everything stands in the log.
    #[serde(skip_serializing_if = "zero")]
    pub complete: u64,
    /// Orders to contain that found something open.
    #[serde(skip_serializing_if = "zero")]
    pub orders: u64,
    /// From such an order to the last confirmed close in its scope.
    #[serde(skip_serializing_if = "none")]
    pub contained: Durations,
    /// Sessions that were opened from the machine of another one that was open.
    #[serde(skip_serializing_if = "zero")]
    pub lateral_steps: u64,
    /// Sessions that were open when what they stood on was taken away.
    #[serde(skip_serializing_if = "zero")]
    pub revoked: u64,
    /// From that to the confirmed close.
    #[serde(skip_serializing_if = "none")]
    pub to_last_byte: Durations,
    /// What became of what was asked by each policy's path.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub policies: BTreeMap<String, PolicyDay>,
}

/// What became of requests by the path of one policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyDay {
    /// Asked.
    #[serde(skip_serializing_if = "zero")]
    pub asked: u64,
    /// Agreed to by people.
    #[serde(skip_serializing_if = "zero")]
    pub approved: u64,
    /// Denied by people.
    #[serde(skip_serializing_if = "zero")]
    pub denied: u64,
    /// Nobody answered in time.
    #[serde(skip_serializing_if = "zero")]
    pub expired: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn zero(number: &u64) -> bool {
    *number == 0
}

fn none(durations: &Durations) -> bool {
    durations.count() == 0
}

impl Day {
    /// All of this too.
    pub fn add(&mut self, other: &Self) {
        self.request_to_session.add(&other.request_to_session);
        self.at_once += other.at_once;
        self.emergencies += other.emergencies;
        self.production += other.production;
        self.time_bound += other.time_bound;
        self.standing_began += other.standing_began;
        self.standing_ended += other.standing_ended;
        self.ended += other.ended;
        self.complete += other.complete;
        self.orders += other.orders;
        self.contained.add(&other.contained);
        self.lateral_steps += other.lateral_steps;
        self.revoked += other.revoked;
        self.to_last_byte.add(&other.to_last_byte);
        for (policy, day) in &other.policies {
            let sum = self.policies.entry(policy.clone()).or_default();
            sum.asked += day.asked;
            sum.approved += day.approved;
            sum.denied += day.denied;
            sum.expired += day.expired;
        }
    }
}
