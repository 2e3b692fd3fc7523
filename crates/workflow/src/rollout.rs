//! How far the gate has been taken up: inventory, identity, policy, pipelines, in numbers.
//!
//! *Takes* nothing. *Proves* that the caller may see the inventory. *Hands to* them for each phase what is done, of how much.

use access::inventory::PathState;
use access::names::TierName;
use access::reason::Refusal;
use access::time::Span;
use jiff::Timestamp;
use policy::Kind;

use crate::Caller;
use crate::gate::{Gate, unavailable};

/// How far back sessions are counted.
const WINDOW: Span = Span::hours(30 * 24);

/// A number of a phase: so many of so many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is counted, in a word.
    pub name: &'static str,
    /// The same as a sentence.
    pub says: String,
    /// How much is done.
    pub done: u64,
    /// Of how much. Nothing: there is nothing to do.
    pub of: u64,
}

/// How far a phase has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is done, and there is something to do.
    NotBegun,
    /// Some of it is done.
    UnderWay,
    /// All of it is.
    Done,
}

/// A phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// `inventory`, `identity`, `policy`, `pipelines`.
    pub name: &'static str,
    /// What is counted.
    pub steps: Vec<Step>,
}

impl Phase {
    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        if self.steps.iter().all(|step| step.done >= step.of) {
            Progress::Done
        } else if self.steps.iter().all(|step| step.done == 0) {
            Progress::NotBegun
        } else {
            Progress::UnderWay
        }
    }
}

/// A tier that is only observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Which.
    pub tier: TierName,
    /// From when on.
    pub from: Timestamp,
    /// Until when; then it blocks.
    pub until: Timestamp,
    /// Whether it is now.
    pub now: bool,
}

/// How far the gate has been taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// When this was counted.
    pub at: Timestamp,
    /// From when on sessions are counted.
    pub since: Timestamp,
    /// The phases, in order.
    pub phases: Vec<Phase>,
    /// Tiers that are or were to be only observed.
    pub observed: Vec<Observed>,
    /// Sessions that such a tier let through, since.
    pub observed_sessions: u64,
    /// Open grants without an end.
    pub standing: u64,
}

fn step(name: &'static str, done: u64, of: u64, says: impl Into<String>) -> Step {
    Step { name, says: says.into(), done, of }
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}

impl Gate {
    /// How far the gate has been taken up.
    ///
    /// # Errors
    /// If the caller may not see the inventory, or the store can't be read.
    pub async fn rollout(&self, caller: &Caller) -> Result<Rollout, Refusal> {
        self.may_see_inventory(caller).await?;
        let (now, bundle) = (self.now(), self.bundle());
        let since = now.checked_sub(WINDOW.as_std()).unwrap_or(now);
        let counts = self.store.rollout_counts(since, now).await.map_err(unavailable)?;
        let paths = self.store.inventory_counts().await.map_err(unavailable)?;
        let sources = count(self.store.inventory_sources().await.map_err(unavailable)?.len());
        let looks = self.store.drift_looks().await.map_err(unavailable)?;

        let in_state = |wanted: &[PathState]| paths.iter().filter(|(state, _)| wanted.contains(state)).map(|(_, count)| count).sum::<u64>();
        let known = in_state(&[PathState::Open, PathState::TakenIn, PathState::Accepted, PathState::Closed]);
        let answered = known - in_state(&[PathState::Open]);
        let lookable: Vec<_> = bundle.resources().filter(|resource| resource.kind == Kind::Ssh || resource.accounts.is_some()).collect();
        let looked =
            lookable.iter().filter(|resource| looks.iter().any(|look| look.id == resource.name && look.seen_at.is_some() && !look.failed));
        let inventory = vec![
            step("lists", sources.min(1), 1, format!("{sources} lists of ways to production are imported")),
            step("ways", answered, known, format!("{answered} of {known} known ways are taken in, closed, or accepted until a date")),
            step("targets", count(looked.count()), count(lookable.len()), "targets were looked at for what the gate did not put there"),
        ];

        let identity = vec![
            step("people", counts.people_known_outside, counts.people, "people are known by an identity provider or a directory"),
            step("passkeys", counts.people_with_passkey, counts.people, "people have a passkey"),
        ];

        let observed: Vec<Observed> = bundle
            .tiers()
            .filter_map(|tier| {
                let observe = tier.observe.as_ref()?;
                Some(Observed { tier: tier.name.clone(), from: observe.from, until: observe.until, now: observe.is_on(now) })
            })
            .collect();
        let tiers = count(bundle.tiers().count());
        let blocking = tiers - count(observed.iter().filter(|one| one.now).count());
        let placed = count(bundle.resources().filter(|resource| resource.tier.is_some()).count());
        let policy = vec![
            step("resources", placed, count(bundle.resources().count()), "resources have a tier"),
            step("tiers", blocking, tiers, "tiers block what no path allows, and do not only observe it"),
            step(
                "sessions",
                counts.sessions_time_bound,
                counts.sessions,
                "sessions of the last 30 days stood on a right with an end that a path gave",
            ),
        ];

        let trusted = count(bundle.workloads().all.len());
        let without = counts.workloads.saturating_sub(counts.workloads_with_stored_token);
        let pipelines = vec![
            step(
                "trusted",
                trusted.min(1),
                1,
                format!("{trusted} machines sign in by the token of their CI system, as `workloads.toml` says"),
            ),
            step("tokens", without, counts.workloads, "machines have no stored token"),
            step(
                "jobs",
                counts.sessions_of_jobs,
                counts.sessions_of_workloads,
                "sessions of machines in the last 30 days were jobs that signed in so",
            ),
            step(
                "secrets",
                counts.ci_secrets_answered,
                counts.ci_secrets,
                "known secrets of CI systems are taken in, closed, or accepted until a date",
            ),
        ];
        let phases = [("inventory", inventory), ("identity", identity), ("policy", policy), ("pipelines", pipelines)];
        Ok(Rollout {
            at: now,
            since,
            phases: phases.into_iter().map(|(name, steps)| Phase { name, steps }).collect(),
            observed,
            observed_sessions: counts.sessions_observed,
            standing: counts.standing,
        })
    }
}
