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
    /// The same as a sentence, numbers and all.
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

/// So many of so many do what is said, or there is nothing to count.
fn step(name: &'static str, (done, of): (u64, u64), what: &str, nothing: &str) -> Step {
    let says = if of == 0 { nothing.to_owned() } else { format!("{done} of {of} {what}") };
    Step { name, says, done, of }
}

/// Something that is there or is not, as a sentence says.
fn there(name: &'static str, is: bool, says: String) -> Step {
    Step { name, says, done: u64::from(is), of: 1 }
}

fn several(count: u64, one: &str, many: &str) -> String {
    match count {
        0 => format!("no {one}"),
        1 => format!("1 {one}"),
        _ => format!("{count} {many}"),
    }
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
            there(
                "lists",
                sources > 0,
                several(sources, "list of ways to production is imported", "lists of ways to production are imported"),
            ),
            step(
                "ways",
                (answered, known),
                "known ways are taken in, closed, or accepted until a date",
                "no way to production beside the gate is known",
            ),
            step(
                "targets",
                (count(looked.count()), count(lookable.len())),
                "targets were looked at for what the gate did not put there",
                "there is no target that can be looked at",
            ),
        ];

        let identity = vec![
            step(
                "people",
                (counts.people_known_outside, counts.people),
                "people are known by an identity provider or a directory",
                "there is nobody yet",
            ),
            step("passkeys", (counts.people_with_passkey, counts.people), "people have a passkey", "there is nobody yet"),
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
            step("resources", (placed, count(bundle.resources().count())), "resources have a tier", "the policy names no resource"),
            step("tiers", (blocking, tiers), "tiers block what no path allows, and do not only observe it", "the policy names no tier"),
            step(
                "sessions",
                (counts.sessions_time_bound, counts.sessions),
                "sessions of the last 30 days stood on a right with an end that a path gave",
                "nobody connected within the last 30 days",
            ),
        ];

        let trusted = count(bundle.workloads().all.len());
        let without = counts.workloads.saturating_sub(counts.workloads_with_stored_token);
        let says = several(trusted, "machine signs in by the token of its CI system", "machines sign in by the tokens of their CI systems");
        let pipelines = vec![
            there("trusted", trusted > 0, format!("{says}, as `workloads.toml` has it")),
            step("tokens", (without, counts.workloads), "machines have no stored token", "there is no machine yet"),
            step(
                "jobs",
                (counts.sessions_of_jobs, counts.sessions_of_workloads),
                "sessions of machines in the last 30 days were jobs that signed in so",
                "no machine connected within the last 30 days",
            ),
            step(
                "secrets",
                (counts.ci_secrets_answered, counts.ci_secrets),
                "known secrets of CI systems are taken in, closed, or accepted until a date",
                "no secret of a CI system is known",
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
