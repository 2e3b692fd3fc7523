//! `tiers.toml`: the floor of what access costs. No policy goes under it.

use std::collections::BTreeMap;

use access::identity::Mfa;
use access::names::{GroupName, PlanName, TierName};
use access::threshold::Threshold;
use access::time::Span;
use access::verdict::{Durability, HostKeyRule, RecordLevel, Sample, TicketRule};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::named;
use crate::document::{At, Table};
use crate::problem::{Place, Sink, shown};

/// The shortest time for which recordings may be kept.
pub const LEAST_KEPT: Span = Span::hours(24);
/// For so long after a policy came into force recordings are kept as the one before it says, where that is longer.
pub const NOTICE: Span = Span::hours(72);

/// A time in which a tier is only observed: what no path allows is let through, recorded, and counted as standing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Observe {
    /// From when on.
    pub from: Timestamp,
    /// Until when; from then on the tier blocks as usual.
    pub until: Timestamp,
}

impl Observe {
    /// The longest time.
    pub const LONGEST: Span = Span::hours(92 * 24);

    /// Whether it is at this moment.
    #[must_use]
    pub fn is_on(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }
}

/// A moment, or the beginning of a day, UTC.
struct Moment(Timestamp);

impl std::str::FromStr for Moment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let day = || text.parse::<Date>().ok().and_then(|day| day.to_zoned(TimeZone::UTC).ok()).map(|zoned| zoned.timestamp());
        let found = text.parse().ok().or_else(day);
        found.map(Self).ok_or_else(|| format!("`{}` is no day; write it like `2026-12-31`", shown(text)))
    }
}

/// `observe = { from = "2026-11-01", until = "2026-12-31" }`: both, and no longer than is bearable.
fn read_observe(table: Table<'_>) -> Option<Observe> {
    let from: Option<At<Moment>> = table.required("from");
    let until: Option<At<Moment>> = table.required("until");
    let sink = table.sink();
    table.finish();
    let (from, until) = (from?, until?);
    let observe = Observe { from: from.value.0, until: until.value.0 };
    if observe.until <= observe.from {
        sink.error(until.place, "a tier is observed until a day after it begins to be");
        return None;
    }
    if Span::between(observe.from, observe.until) > Observe::LONGEST {
        sink.error(until.place, "a tier is observed for at most 92 days; what it lets through is standing access for everybody");
        return None;
    }
    Some(observe)
}

/// A sensitivity tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tier {
    /// Its name.
    pub name: TierName,
    /// In plain words, what belongs here.
    pub description: Option<String>,
    /// Whether it is production: what the measures call so. It is unless said otherwise.
    pub production: bool,
    /// The longest time.
    pub max: Span,
    /// The time when none is asked.
    pub default: Span,
    /// The plans that have to agree. Empty: nobody.
    pub approvals: Vec<PlanName>,
    /// Whether approvals have to be signed with the approver's passkey, whatever the plans say.
    pub signed: bool,
    /// How strongly the asker must have proved who they are …
    pub mfa: Mfa,
    /// … and how long ago at most.
    pub mfa_within: Span,
    /// What is asked of a ticket.
    pub ticket: TicketRule,
    /// Where an open one is asked for: the states, any of which will do. Empty: whatever its tracker counts as open.
    pub ticket_states: Vec<String>,
    /// Whether an emergency needs its open ticket too.
    pub ticket_in_emergencies: bool,
    /// Whether a reason has to be given.
    pub reason: bool,
    /// What is recorded.
    pub record: RecordLevel,
    /// When it is safe.
    pub durability: Durability,
    /// Silence after which a session ends; `None`: never.
    pub idle: Option<Span>,
    /// How long an approved grant waits to be used first.
    pub activate_within: Span,
    /// How long a request waits for people.
    pub pending_for: Span,
    /// How long a connection waits at the door for people.
    pub wait_at_connect: Span,
    /// Which host keys are trusted.
    pub host_keys: HostKeyRule,
    /// When it is only observed; `None`: never.
    pub observe: Option<Observe>,
    /// Whether a path here may allow access without an end.
    pub standing: bool,
    /// Whether a path here may let an emergency skip the approvals.
    pub break_glass: bool,
    /// Which of its sessions are looked at afterwards; `None`: none but emergencies.
    pub sample: Option<Sample>,
    /// Who may answer reviews that are overdue, besides those who owe them; `None`: the administrators.
    pub escalate_to: Option<GroupName>,
    /// What is watched while a session lives, and what follows.
    pub watch: Vec<Threshold>,
    /// For how long recordings are kept after the session's end; `None`: until somebody destroys them.
    pub keep: Option<Span>,
    #[serde(skip)]
    pub(crate) plan_places: Vec<Place>,
    #[serde(skip)]
    pub(crate) group_places: Vec<(GroupName, Place)>,
}

/// `15m`, or `never`.
struct Idle(Option<Span>);

impl std::str::FromStr for Idle {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "never" => Ok(Self(None)),
            span => span.parse().map(|s| Self(Some(s))).map_err(|e: access::time::SpanError| format!("{e}, or `never`")),
        }
    }
}

pub(crate) fn load(files: &[(&str, &[u8])], sink: &Sink) -> BTreeMap<TierName, (Tier, Place)> {
    named(files, "tier", sink, read)
}

fn read(table: &Table<'_>) -> Option<(At<TierName>, Tier)> {
    let name: Option<At<TierName>> = table.required("name");
    let max: Option<At<Span>> = table.required("max");
    let default: Option<At<Span>> = table.required("default");
    if !table.has("approvals") {
        table.sink().error(table.place(), "`approvals` is missing here; write `approvals = []` if this tier needs nobody to agree");
    }
    let plans: Vec<At<PlanName>> = table.read_list("approvals");
    let idle: Idle = table.or("idle", Idle(Some(Span::minutes(15))));
    let sample: Option<At<Sample>> = table.read("sample");
    let escalate_to: Option<At<GroupName>> = table.read("escalate_to");
    let watch: Vec<At<Threshold>> = table.read_list("watch");
    let keep: Option<At<Span>> = table.read("keep");
    let sampling = sample.as_ref().map(|sample| (sample.value.reviewers.clone(), sample.place.clone()));
    let escalating = escalate_to.as_ref().map(|group| (group.value.clone(), group.place.clone()));
    let production = table.flag_or("production", true);
    let host_keys: Option<At<HostKeyRule>> = table.read("host_keys");
    if let Some(rule) = host_keys.as_ref().filter(|rule| production && rule.value == HostKeyRule::FirstUse) {
        let says =
            "a production tier trusts no host key that nobody named: take `first-use` away, or say `production = false` if it is none";
        table.sink().error(rule.place.clone(), says);
    }
    let ticket = table.or("ticket", TicketRule::None);
    let ticket_states: Vec<At<String>> = table.read_list("ticket_states");
    if let Some(state) = ticket_states.first().filter(|_| ticket != TicketRule::Open) {
        table.sink().error(state.place.clone(), "`ticket_states` says which states will do where `ticket = \"open\"`");
    }
    let tier = Tier {
        name: name.as_ref()?.value.clone(),
        description: table.text("description").map(|t| t.value),
        production,
        max: max.as_ref().map_or(Span::seconds(1), |m| m.value),
        default: default.as_ref().map_or(Span::seconds(1), |d| d.value),
        approvals: plans.iter().map(|p| p.value.clone()).collect(),
        plan_places: plans.into_iter().map(|p| p.place).collect(),
        signed: super::approvals::signed(table),
        mfa: table.or("mfa", Mfa::None),
        mfa_within: table.or("mfa_within", Span::hours(12)),
        ticket,
        ticket_states: ticket_states.iter().map(|state| state.value.clone()).collect(),
        ticket_in_emergencies: table.flag_or("ticket_in_emergencies", false),
        reason: table.flag_or("reason", true),
        record: table.or("record", RecordLevel::Content),
        durability: table.or("durability", Durability::Flush),
        idle: idle.0,
        activate_within: table.or("activate_within", Span::hours(8)),
        pending_for: table.or("pending_for", Span::hours(24)),
        wait_at_connect: table.or("wait_at_connect", Span::seconds(120)),
        host_keys: host_keys.map_or(HostKeyRule::Pinned, |rule| rule.value),
        observe: table.table("observe").if_there().and_then(read_observe),
        standing: table.flag_or("standing", false),
        break_glass: table.flag_or("break_glass", false),
        sample: sample.map(|sample| sample.value),
        escalate_to: escalate_to.map(|group| group.value),
        keep: keep.as_ref().map(|keep| keep.value),
        watch: watch.into_iter().map(|threshold| threshold.value).collect(),
        group_places: sampling.into_iter().chain(escalating).collect(),
    };
    for (key, span) in [("max", &max), ("default", &default)] {
        if let Some(span) = span
            && span.value == Span::default()
        {
            table.sink().error(span.place.clone(), format!("`{key}` is no time at all; access needs at least a second"));
        }
    }
    if let (Some(max), Some(default)) = (&max, &default)
        && default.value > max.value
    {
        table.sink().error(default.place.clone(), format!("the default of {} is longer than the maximum of {}", default.value, max.value));
    }
    if let Some(keep) = &keep
        && keep.value < LEAST_KEPT
    {
        let says = format!("`keep` is {}, and recordings are kept for {LEAST_KEPT} at least; what is gone does not come back", keep.value);
        table.sink().error(keep.place.clone(), says);
    }
    if let Some(Observe { from, until }) = &tier.observe {
        let says = format!(
            "the tier `{}` is only observed from {from} until {until}: what no path allows is let through then, and counted as standing",
            tier.name
        );
        table.sink().warn(table.place(), says);
    }
    Some((name?, tier))
}

impl Tier {
    /// Until when it is only observed, if it is at this moment.
    #[must_use]
    pub fn observed_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.observe.as_ref().filter(|observe| observe.is_on(now)).map(|observe| observe.until)
    }
}
