//! `tiers.toml`: the floor of what access costs. No policy goes under it.

use std::collections::BTreeMap;

use access::identity::Mfa;
use access::names::{GroupName, PlanName, TierName};
use access::time::Span;
use access::verdict::{Durability, HostKeyRule, RecordLevel, Sample, TicketRule};
use serde::Serialize;

use super::named;
use crate::document::{At, Table};
use crate::problem::{Place, Sink};

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
    /// Whether a path here may allow access without an end.
    pub standing: bool,
    /// Whether a path here may let an emergency skip the approvals.
    pub break_glass: bool,
    /// Which of its sessions are looked at afterwards; `None`: none but emergencies.
    pub sample: Option<Sample>,
    /// Who may answer reviews that are overdue, besides those who owe them; `None`: the administrators.
    pub escalate_to: Option<GroupName>,
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
    let plans: Vec<At<PlanName>> = table.list("approvals");
    let idle: Idle = table.or("idle", Idle(Some(Span::minutes(15))));
    let sample: Option<At<Sample>> = table.parse("sample");
    let escalate_to: Option<At<GroupName>> = table.parse("escalate_to");
    let sampling = sample.as_ref().map(|sample| (sample.value.reviewers.clone(), sample.place.clone()));
    let escalating = escalate_to.as_ref().map(|group| (group.value.clone(), group.place.clone()));
    let ticket = table.or("ticket", TicketRule::None);
    let ticket_states: Vec<At<String>> = table.list("ticket_states");
    if let Some(state) = ticket_states.first().filter(|_| ticket != TicketRule::Open) {
        table.sink().error(state.place.clone(), "`ticket_states` says which states will do where `ticket = \"open\"`");
    }
    let tier = Tier {
        name: name.as_ref()?.value.clone(),
        description: table.text("description").map(|t| t.value),
        production: table.flag("production", true),
        max: max.as_ref().map_or(Span::seconds(1), |m| m.value),
        default: default.as_ref().map_or(Span::seconds(1), |d| d.value),
        approvals: plans.iter().map(|p| p.value.clone()).collect(),
        plan_places: plans.into_iter().map(|p| p.place).collect(),
        signed: super::approvals::signed(table),
        mfa: table.or("mfa", Mfa::None),
        mfa_within: table.or("mfa_within", Span::hours(12)),
        ticket,
        ticket_states: ticket_states.iter().map(|state| state.value.clone()).collect(),
        ticket_in_emergencies: table.flag("ticket_in_emergencies", false),
        reason: table.flag("reason", true),
        record: table.or("record", RecordLevel::Content),
        durability: table.or("durability", Durability::Flush),
        idle: idle.0,
        activate_within: table.or("activate_within", Span::hours(8)),
        pending_for: table.or("pending_for", Span::hours(24)),
        wait_at_connect: table.or("wait_at_connect", Span::seconds(120)),
        host_keys: table.or("host_keys", HostKeyRule::Pinned),
        standing: table.flag("standing", false),
        break_glass: table.flag("break_glass", false),
        sample: sample.map(|sample| sample.value),
        escalate_to: escalate_to.map(|group| group.value),
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
    Some((name?, tier))
}
