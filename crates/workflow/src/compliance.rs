//! What an auditor asks for, and where the gate shows it: controls of SOC 2 and ISO/IEC 27001, each with queries that anybody with the right
//! can run, and what they answer now.
//!
//! *Takes* the proof of who asks. *Proves* that they may read the log. *Hands to* them each control with its queries and their answers.

mod controls;

use std::collections::BTreeMap;

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
    log_trouble: Option<String>,
}

impl Facts {
    /// How often these happened.
    fn happened(&self, names: &[&str]) -> u64 {
        names.iter().filter_map(|name| self.events.get(*name)).sum()
    }

    /// How often something of these nouns happened.
    fn of(&self, start: &str) -> u64 {
        self.events.iter().filter(|(name, _)| name.starts_with(start)).map(|(_, count)| count).sum()
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
        let facts = Facts {
            now,
            events: self.store.entry_counts(since).await.map_err(unavailable)?,
            totals: self.store.totals(since, now).await.map_err(unavailable)?,
            open: open.len() as u64,
            standing: open.iter().filter(|grant| grant.length.is_none()).count() as u64,
            live: self.live.len() as u64,
            locks: self.store.holding_locks(now).await.map_err(unavailable)?.len() as u64,
            holds: self.store.set_holds().await.map_err(unavailable)?.len() as u64,
            tiers: (bundle.tiers().filter(|tier| tier.keep.is_some()).count() as u64, bundle.tiers().count() as u64),
            streams: (streams.len() as u64, streams.iter().filter(|state| state.row.failing_since.is_some()).count() as u64),
            placed: self.store.sequenced().await.map_err(unavailable)?,
            resources: bundle.resources().count() as u64,
            log_trouble: self.log_trouble(),
        };
        let answers = Query::ALL.iter().map(|query| (*query, answer(*query, &facts))).collect();
        Ok(Compliance { at: facts.now, since, answers })
    }
}

fn answer(query: Query, facts: &Facts) -> Answered {
    let totals = &facts.totals;
    let good = |count: u64, says: String| Answered { query, count, says, attention: false };
    let look = |count: u64, says: String, attention: bool| Answered { query, count, says, attention };
    match query {
        Query::People => good(
            totals.people + totals.machines,
            format!(
                "{} people and {} machines may sign in, each by a name of their own; {} are disabled",
                totals.people, totals.machines, totals.disabled
            ),
        ),
        Query::Joined => good(
            facts.happened(&["person.created", "directory.user_added"]),
            format!(
                "{} became known, {} were disabled or left",
                facts.happened(&["person.created"]),
                facts.happened(&["person.disabled", "directory.user_removed"])
            ),
        ),
        Query::Passkeys => good(totals.with_passkey, format!("{} of {} people have a passkey", totals.with_passkey, totals.people)),
        Query::SignInsRefused => {
            let count = facts.happened(&["signin.refused"]);
            good(count, format!("{count} sign-ins were refused, each with its reason"))
        }
        Query::Requests => {
            let (asked, agreed) = (facts.happened(&["request.submitted"]), facts.happened(&["request.approved"]));
            good(
                asked,
                format!(
                    "{asked} asked for access, {agreed} were agreed to, {} denied",
                    facts.happened(&["request.denied", "request.refused"])
                ),
            )
        }
        Query::Votes => {
            let count = facts.happened(&["request.voted"]);
            good(
                count,
                format!("people decided {count} times; {} votes were refused, as on one's own request", facts.happened(&["vote.refused"])),
            )
        }
        Query::Grants => good(
            facts.open,
            format!("{} rights are open, {} of them without an end; every other ends by itself", facts.open, facts.standing),
        ),
        Query::Standing => good(facts.standing, format!("{} rights have no end", facts.standing)),
        Query::Revoked => {
            let ended =
                facts.happened(&["grant.revoked", "grant.withdrawn", "grant.returned", "grant.expired", "grant.idled", "grant.lapsed"]);
            good(ended, format!("{ended} rights ended, {} of them taken away", facts.happened(&["grant.revoked", "grant.withdrawn"])))
        }
        Query::Reviews => look(
            totals.reviews_open,
            format!(
                "{} reviews are open, {} of them overdue; {} were answered",
                totals.reviews_open,
                totals.reviews_overdue,
                facts.happened(&["review.completed"])
            ),
            totals.reviews_overdue > 0,
        ),
        Query::Sessions => look(
            totals.ended,
            format!(
                "{} sessions ended, {} of them with a recording bound to the log; {} live now",
                totals.ended, totals.recorded, facts.live
            ),
            totals.recorded < totals.ended,
        ),
        Query::Denied => {
            let count = facts.happened(&["session.refused", "session.denied", "action.refused", "request.refused"]);
            good(count, format!("{count} times somebody tried what they had no right to, and was refused"))
        }
        Query::Locks => good(facts.locks, format!("{} locks hold; {} were set", facts.locks, facts.happened(&["lock.set"]))),
        Query::Emergencies => {
            let count = facts.of("review.opened");
            good(count, format!("{count} reviews of emergencies and drawn sessions were opened by themselves"))
        }
        Query::Policy => good(
            totals.activations,
            format!(
                "policy changed {} times, each with its difference in words; {} were rejected",
                totals.activations,
                facts.happened(&["bundle.rejected"])
            ),
        ),
        Query::Resources => {
            good(facts.resources, format!("{} resources are reached through the gate alone, each in a tier", facts.resources))
        }
        Query::Secrets => good(
            totals.secrets,
            format!("{} credentials of targets are sealed; {} were set anew", totals.secrets, facts.happened(&["secret.set"])),
        ),
        Query::Keys => {
            let count = facts.happened(&["keys.rotated"]);
            good(count, format!("{count} keys of the gate were replaced"))
        }
        Query::Log => match &facts.log_trouble {
            None => good(facts.placed, format!("{} entries stand in the signed log", facts.placed)),
            Some(why) => {
                look(facts.placed, format!("{} entries stand in the signed log, and new ones do not reach it: {why}", facts.placed), true)
            }
        },
        Query::Streams => look(
            facts.streams.0,
            match facts.streams {
                (0, _) => "the log goes to no collector; `[[stream]]` in the configuration names one".to_owned(),
                (all, failing) => format!("the log goes to {all} collectors as it grows, {failing} of them take nothing now"),
            },
            facts.streams.0 == 0 || facts.streams.1 > 0,
        ),
        Query::Retention => look(
            facts.tiers.0,
            format!(
                "{} of {} tiers say for how long recordings are kept; {} went by age",
                facts.tiers.0,
                facts.tiers.1,
                facts.happened(&["recording.expired"])
            ),
            facts.tiers.0 < facts.tiers.1,
        ),
        Query::Holds => good(facts.holds, format!("{} legal holds are set", facts.holds)),
        Query::Erased => {
            let count = facts.happened(&["text.erased", "recording.destroyed"]);
            good(count, format!("{count} texts and recordings were erased by hand, each with its reason"))
        }
        Query::Exports => {
            let count = facts.happened(&["evidence.exported", "recording.read", "recordings.searched"]);
            good(count, format!("{count} times somebody read or took away evidence"))
        }
    }
}
