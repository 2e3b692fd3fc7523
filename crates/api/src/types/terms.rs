//! What access costs, as an answer says it: time, people, proof, record.

use access::approval::Seat;
use access::identity::Mfa;
use access::names::{GroupName, PlanName, TierName};
use access::time::Span;
use access::verdict::{Durability, HostKeyRule, RecordLevel, TicketRule};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// What a path costs: it joined with its tier, the stricter winning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Terms {
    /// The tier of the resource.
    #[schema(value_type = schema::TierName)]
    pub tier: TierName,
    /// Whether the tier is production, as measures count it.
    #[serde(default)]
    pub production: bool,
    /// The longest time.
    #[schema(value_type = schema::Span)]
    pub max: Span,
    /// The time when none is asked.
    #[schema(value_type = schema::Span)]
    pub default: Span,
    /// Who has to agree: all of these plans. Empty: nobody.
    pub approvals: Vec<Plan>,
    /// How strongly the asker must have proved who they are …
    #[schema(value_type = schema::Mfa)]
    pub mfa: Mfa,
    /// … and how long ago at most.
    #[schema(value_type = schema::Span)]
    pub mfa_within: Span,
    /// What is asked of a ticket.
    #[schema(value_type = schema::TicketRule)]
    pub ticket: TicketRule,
    /// Where an open one is asked for: the states, any of which will do; empty: whatever the tracker counts as open.
    #[serde(default)]
    pub ticket_states: Vec<String>,
    /// Whether a reason has to be given.
    pub reason: bool,
    /// What is recorded.
    #[schema(value_type = schema::RecordLevel)]
    pub record: RecordLevel,
    /// When it is safe.
    #[schema(value_type = schema::Durability)]
    pub durability: Durability,
    /// Silence after which a session ends; null: never.
    #[schema(value_type = Option<schema::Span>)]
    pub idle: Option<Span>,
    /// How long an approved grant waits to be used first.
    #[schema(value_type = schema::Span)]
    pub activate_within: Span,
    /// How long a request waits for people.
    #[schema(value_type = schema::Span)]
    pub pending_for: Span,
    /// How long a connection waits at the door for people.
    #[schema(value_type = schema::Span)]
    pub wait_at_connect: Span,
    /// Which host keys are trusted.
    #[schema(value_type = schema::HostKeyRule)]
    pub host_keys: HostKeyRule,
    /// Whether it may be held without an end.
    pub standing: bool,
    /// What an emergency on this path owes; null: the path is none for emergencies.
    pub break_glass: Option<BreakGlassTerms>,
    /// Which sessions are looked at afterwards; null: none but emergencies.
    #[serde(default)]
    pub sample: Option<SampleTerms>,
    /// Who may answer reviews that are overdue too; null: the administrators.
    #[serde(default)]
    #[schema(value_type = Option<schema::GroupName>)]
    pub escalate_to: Option<GroupName>,
    /// What is watched while a session lives, and what follows: `results over 10x: end`.
    #[serde(default)]
    pub watch: Vec<String>,
    /// The tier is only observed, and lets through what no path allows: until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub observed_until: Option<Timestamp>,
}

/// Which sessions are looked at afterwards, emergency or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SampleTerms {
    /// So many of a hundred.
    pub percent: u8,
    /// Who has to look at them.
    #[schema(value_type = schema::GroupName)]
    pub reviewers: GroupName,
    /// Within which time.
    #[schema(value_type = schema::Span)]
    pub review_within: Span,
}

/// What an emergency owes afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BreakGlassTerms {
    /// Who has to look at it.
    #[schema(value_type = schema::GroupName)]
    pub reviewers: GroupName,
    /// Within which time.
    #[schema(value_type = schema::Span)]
    pub review_within: Span,
    /// Whether an overdue review keeps their whole team from declaring emergencies.
    #[serde(default)]
    pub blocks_team: bool,
}

/// A named approval plan: all of its stages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// Its name.
    #[schema(value_type = schema::PlanName)]
    pub name: PlanName,
    /// Its stages.
    pub stages: Vec<Stage>,
}

/// So many people out of any of these seats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stage {
    /// Any of these.
    #[schema(value_type = Vec<schema::Seat>)]
    pub seats: Vec<Seat>,
    /// How many different people.
    pub count: u32,
    /// After this long without them, `escalate_to` may decide too.
    #[schema(value_type = Option<schema::Span>)]
    pub timeout: Option<Span>,
    /// Who joins then.
    #[schema(value_type = Option<schema::Seat>)]
    pub escalate_to: Option<Seat>,
    /// Whether only approvals count that are signed with the approver's passkey.
    #[serde(default)]
    pub signed: bool,
}

impl From<access::verdict::Terms> for Terms {
    fn from(terms: access::verdict::Terms) -> Self {
        let access::verdict::Terms {
            tier,
            production,
            max,
            default,
            approvals,
            mfa,
            mfa_within,
            ticket,
            ticket_states,
            reason,
            record,
            durability,
            idle,
            activate_within,
            pending_for,
            wait_at_connect,
            host_keys,
            standing,
            break_glass,
            sample,
            escalate_to,
            watch,
            observed_until,
        } = terms;
        Self {
            tier,
            production,
            max,
            default,
            approvals: approvals.into_iter().map(Plan::from).collect(),
            mfa,
            mfa_within,
            ticket,
            ticket_states,
            reason,
            record,
            durability,
            idle,
            activate_within,
            pending_for,
            wait_at_connect,
            host_keys,
            standing,
            break_glass: break_glass.map(|b| BreakGlassTerms {
                reviewers: b.reviewers,
                review_within: b.review_within,
                blocks_team: b.blocks_team,
            }),
            sample: sample.map(|s| SampleTerms { percent: s.percent, reviewers: s.reviewers, review_within: s.review_within }),
            escalate_to,
            watch: watch.iter().map(ToString::to_string).collect(),
            observed_until,
        }
    }
}

impl From<access::approval::Plan> for Plan {
    fn from(access::approval::Plan { name, stages }: access::approval::Plan) -> Self {
        Self { name, stages: stages.into_iter().map(Stage::from).collect() }
    }
}

impl From<access::approval::Stage> for Stage {
    fn from(stage: access::approval::Stage) -> Self {
        let access::approval::Stage { seats, count, timeout, escalate_to, signed } = stage;
        Self { seats, count, timeout, escalate_to, signed }
    }
}
