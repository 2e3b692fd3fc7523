//! What an auditor asks for, and where the gate shows it: controls of SOC 2 and ISO/IEC 27001, each with queries that anybody with the right
//! can run, and what they answer now.
//!
//! *Takes* the proof of who asks. *Proves* that they may read the log. *Hands to* them each control with its queries and their answers.

mod controls;

use std::collections::BTreeMap;

use access::inventory::{FindingState, PathState};
use access::reason::Refusal;
use access::time::Span;
use jiff::Timestamp;
use policy::{Act, Noun, Object};
use store::Totals;

use crate::Caller;
use crate::gate::{Gate, unavailable};
pub use controls::{CONTROLS, Control, Framework, Query};

/// How far back answers look that are about what happened.
pub const LOOKED_BACK: Span = Span::hours(90 * 24);

/// A query and what it answers now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Which.
    pub query: Query,
    /// How many it finds.
    pub count: u64,
    /// What that means, in words.
    pub says: String,
    /// Whether somebody should look at it.
    pub attention: bool,
}

/// Every query's answer, at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compliance {
    /// When.
    pub at: Timestamp,
    /// From when on things that happened are counted.
    pub since: Timestamp,
    /// The answers.
    pub answers: BTreeMap<Query, Answered>,
}

/// What answers follow from.
struct Facts {
    now: Timestamp,
    events: BTreeMap<String, u64>,
    totals: Totals,
    open: u64,
    standing: u64,
    live: u64,
    locks: u64,
    holds: u64,
    tiers: (u64, u64),
    streams: (u64, u64),
    placed: u64,
    resources: u64,
    without_tier: u64,
    observed_tiers: u64,
    open_paths: u64,
    open_findings: u64,
    log_trouble: Option<String>,
    retention_stopped: bool,
}

impl Facts {
    /// How often these happened.
    fn happened(&self, names: &[&str]) -> u64 {
        names.iter().filter_map(|name| self.events.get(*name)).sum()
    }
}

impl Gate {
    /// What every query answers now.
    ///
    /// # Errors
    /// If the caller may not read the log, or the store can't be read.
    pub async fn compliance(&self, caller: &Caller) -> Result<Compliance, Refusal> {
        self.authorize(caller, Act::Administer(Noun::Audit), &Object::Nothing).await?;
        let now = self.now();
        let since = now.checked_sub(LOOKED_BACK.as_std()).unwrap_or(Timestamp::UNIX_EPOCH);
        let open = self.store.open_grants().await.map_err(unavailable)?;
        let streams = self.stream_states().await?;
        let bundle = self.bundle.load();
        let paths = self.store.inventory_counts().await.map_err(unavailable)?;
        let findings = self.store.finding_counts().await.map_err(unavailable)?;
        let facts = Facts {
            now,
            events: self.store.entry_counts(since).await.map_err(unavailable)?,
            totals: self.store.totals(since, now).await.map_err(unavailable)?,
            open: open.len() as u64,
            standing: open.iter().filter(|grant| grant.is_standing()).count() as u64,
            live: self.live.len() as u64,
            locks: self.store.holding_locks(now).await.map_err(unavailable)?.len() as u64,
            holds: self.store.set_holds().await.map_err(unavailable)?.len() as u64,
            tiers: (bundle.tiers().filter(|tier| tier.keep.is_some()).count() as u64, bundle.tiers().count() as u64),
            streams: (streams.len() as u64, streams.iter().filter(|state| state.row.failing_since.is_some()).count() as u64),
            placed: self.store.sequenced().await.map_err(unavailable)?,
            resources: bundle.resources().count() as u64,
            without_tier: bundle.resources().filter(|resource| resource.tier.is_none()).count() as u64,
            observed_tiers: bundle.tiers().filter(|tier| tier.observed_until(now).is_some()).count() as u64,
            open_paths: paths.iter().filter(|(state, _)| *state == PathState::Open).map(|(_, count)| count).sum(),
            open_findings: findings.iter().filter(|(state, _)| *state == FindingState::Open).map(|(_, count)| count).sum(),
            log_trouble: self.log_trouble(),
            retention_stopped: self.retention_is_stopped(),
        };
        let answers = Query::ALL.iter().map(|query| (*query, answer(*query, &facts))).collect();
        Ok(Compliance { at: facts.now, since, answers })
    }
}

/// A count with what it counts, as people say it: `1 lock holds`, `2 locks hold`.
fn so_many(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn answer(query: Query, facts: &Facts) -> Answered {
    let totals = &facts.totals;
    let good = |count: u64, says: String| Answered { query, count, says, attention: false };
    let look = |count: u64, says: String, attention: bool| Answered { query, count, says, attention };
    match query {
        Query::People => good(
            totals.people + totals.machines,
            format!(
                "{} and {} may sign in, each by a name of their own; {} disabled",
                so_many(totals.people, "person", "people"),
                so_many(totals.machines, "machine", "machines"),
                so_many(totals.disabled, "is", "are")
            ),
        ),
        Query::Joined => good(
            facts.happened(&["person.created", "person.disabled", "directory.user_removed"]),
            format!(
                "{} became known, {} disabled or left",
                facts.happened(&["person.created"]),
                so_many(facts.happened(&["person.disabled", "directory.user_removed"]), "was", "were")
            ),
        ),
        Query::Passkeys => {
            let of = so_many(totals.people, "person has", "people have");
            good(totals.with_passkey, format!("{} of {of} a passkey", totals.with_passkey))
        }
        Query::SignInsRefused => {
            let count = facts.happened(&["signin.refused"]);
            good(count, format!("{} refused, each with its reason", so_many(count, "sign-in was", "sign-ins were")))
        }
        Query::Requests => {
            let (asked, agreed) = (facts.happened(&["request.submitted"]), facts.happened(&["request.approved"]));
            good(
                asked,
                format!(
                    "{} for access; agreed to: {agreed}, denied: {}",
                    so_many(asked, "request", "requests"),
                    facts.happened(&["request.denied", "request.refused"])
                ),
            )
        }
        Query::Votes => {
            let count = facts.happened(&["request.voted"]);
            good(
                count,
                format!(
                    "people decided {}; {} refused, as on one's own request",
                    so_many(count, "time", "times"),
                    so_many(facts.happened(&["vote.refused"]), "vote was", "votes were")
                ),
            )
        }
        Query::Grants => good(
            facts.open,
            format!(
                "{} open, {} of them standing: without an end, or let through by a tier that is only observed; every other ends by itself",
                so_many(facts.open, "right is", "rights are"),
                facts.standing
            ),
        ),
        Query::Standing => good(facts.standing, format!("{} standing", so_many(facts.standing, "right is", "rights are"))),
        Query::Revoked => {
            let ended =
                facts.happened(&["grant.revoked", "grant.withdrawn", "grant.returned", "grant.expired", "grant.idled", "grant.lapsed"]);
            let taken = facts.happened(&["grant.revoked", "grant.withdrawn"]);
            good(ended, format!("{} ended, {taken} by being taken away", so_many(ended, "right", "rights")))
        }
        Query::Reviews => look(
            totals.reviews_open,
            format!(
                "{} open, {} overdue; {} answered",
                so_many(totals.reviews_open, "review is", "reviews are"),
                totals.reviews_overdue,
                so_many(facts.happened(&["review.completed"]), "was", "were")
            ),
            totals.reviews_overdue > 0,
        ),
        Query::Sessions => look(
            totals.ended,
            format!(
                "{} ended, {} with a recording bound to the log; {} live now",
                so_many(totals.ended, "session", "sessions"),
                totals.recorded,
                facts.live
            ),
            totals.recorded < totals.ended,
        ),
        Query::Denied => {
            let count = facts.happened(&["session.refused", "session.denied", "action.refused", "request.refused"]);
            good(count, format!("{} somebody tried what they had no right to, and was refused", so_many(count, "time", "times")))
        }
        Query::Locks => good(
            facts.locks,
            format!("{}; {} set", so_many(facts.locks, "lock holds", "locks hold"), so_many(facts.happened(&["lock.set"]), "was", "were")),
        ),
        Query::Emergencies => {
            let count = facts.happened(&["review.opened"]);
            let opened = so_many(count, "review was opened", "reviews were opened");
            good(count, format!("{opened}: of emergencies, of sessions that were drawn, of rights without an end"))
        }
        Query::Policy => good(
            totals.activations,
            format!(
                "policy changed {}, each with its difference in words; {} rejected",
                so_many(totals.activations, "time", "times"),
                so_many(facts.happened(&["bundle.rejected"]), "was", "were")
            ),
        ),
        Query::Resources => {
            let doubts: Vec<String> = [
                (facts.without_tier, "is in no tier, and opens to nobody", "are in no tier, and open to nobody"),
                (facts.observed_tiers, "tier is only observed", "tiers are only observed"),
                (facts.open_paths, "way to production beside the gate is open", "ways to production beside the gate are open"),
                (facts.open_findings, "finding on a target is open", "findings on targets are open"),
            ]
            .into_iter()
            .filter(|(count, _, _)| *count > 0)
            .map(|(count, one, many)| so_many(count, one, many))
            .collect();
            let resources = so_many(facts.resources, "resource stands", "resources stand");
            match doubts.as_slice() {
                [] => {
                    good(facts.resources, format!("{resources} behind the gate, each in a tier; no other way to them is known to be open"))
                }
                doubts => look(facts.resources, format!("{resources} behind the gate; {}", doubts.join(", ")), true),
            }
        }
        Query::Secrets => good(
            totals.secrets,
            format!(
                "{} sealed; {} set anew",
                so_many(totals.secrets, "credential of a target is", "credentials of targets are"),
                so_many(facts.happened(&["secret.set"]), "was", "were")
            ),
        ),
        Query::Keys => {
            let count = facts.happened(&["keys.rotated"]);
            good(count, format!("{} replaced", so_many(count, "key of the gate was", "keys of the gate were")))
        }
        Query::Log => match &facts.log_trouble {
            None => good(facts.placed, format!("{} in the signed log", so_many(facts.placed, "entry stands", "entries stand"))),
            Some(why) => {
                let stand = so_many(facts.placed, "entry stands", "entries stand");
                look(facts.placed, format!("{stand} in the signed log, and new ones do not reach it: {why}"), true)
            }
        },
        Query::Streams => look(
            facts.streams.0,
            match facts.streams {
                (0, _) => "the log goes to no collector; `[[stream]]` in the configuration names one".to_owned(),
                (all, failing) => {
                    let all = so_many(all, "collector", "collectors");
                    format!("the log goes to {all} as it grows; {} nothing now", so_many(failing, "takes", "take"))
                }
            },
            facts.streams.0 == 0 || facts.streams.1 > 0,
        ),
        Query::Retention => look(
            facts.tiers.0,
            format!(
                "{} of {} for how long recordings are kept; {} went by age{}",
                facts.tiers.0,
                so_many(facts.tiers.1, "tier says", "tiers say"),
                facts.happened(&["recording.expired"]),
                if facts.retention_stopped { ", and none goes now, because the clock may be wrong" } else { "" }
            ),
            facts.tiers.0 < facts.tiers.1 || facts.retention_stopped,
        ),
        Query::Holds => good(facts.holds, format!("{} set", so_many(facts.holds, "legal hold is", "legal holds are"))),
        Query::Erased => {
            let count = facts.happened(&["text.erased", "recording.destroyed"]);
            let erased = so_many(count, "text or recording was", "texts and recordings were");
            good(count, format!("{erased} erased by hand, each with its reason"))
        }
        Query::Exports => {
            let count = facts.happened(&["evidence.exported", "recording.read", "recordings.searched"]);
            good(count, format!("{} somebody read or took away evidence", so_many(count, "time", "times")))
        }
    }
}
