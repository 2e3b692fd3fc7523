//! Asking for access, and deciding on it.

use std::collections::BTreeSet;

use access::approval::{Decision, Seat};
use access::identity::Mfa;
use access::ids::{GrantId, PrincipalId, RequestId, VoteId};
use access::names::{PlanName, ResourceName, RoleName};
use access::reason::Reason;
use access::request::{Asked, Door, RequestState};
use access::rights::QualifiedName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::grants::Grant;
use super::passkeys::PasskeyAnswer;
use super::risk::Risk;
use super::schema;
use super::terms::Terms;
use super::who::Who;

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRequest {
    /// Where to.
    #[schema(value_type = schema::ResourceName)]
    pub resource: ResourceName,
    /// As what; absent means the one role that is open there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::RoleName>)]
    pub role: Option<RoleName>,
    /// For how long; absent means the tier's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Asked>)]
    pub duration: Option<Asked>,
    /// Why, in the asker's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4000)]
    pub reason: Option<String>,
    /// The change or incident it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4000)]
    pub ticket: Option<String>,
    /// What the asker renounces beforehand.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// Whether this is an emergency that skips people and owes a review.
    #[serde(default)]
    pub break_glass: bool,
    /// Whether the clock starts at once if nobody has to agree; else it starts at the first connection.
    #[serde(default)]
    pub activate: bool,
}

impl NewRequest {
    /// A request for the one open role on a resource, for the default time.
    #[must_use]
    pub fn of(resource: ResourceName) -> Self {
        Self {
            resource,
            role: None,
            duration: None,
            reason: None,
            ticket: None,
            limits: Limits::default(),
            break_glass: false,
            activate: false,
        }
    }
}

/// What an asker renounces: a request can be narrower than its role, never wider.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Only this one command, spelled exactly like this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Nothing that writes.
    #[serde(default)]
    pub read_only: bool,
    /// Only these tables of a database, each with its schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>, example = json!(["public.orders"]))]
    pub tables: Option<BTreeSet<QualifiedName>>,
    /// Only these of the role's named statements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statements: Option<BTreeSet<String>>,
}

impl Limits {
    /// Whether nothing is renounced.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl From<access::limits::Limits> for Limits {
    fn from(access::limits::Limits { command, read_only, tables, statements }: access::limits::Limits) -> Self {
        Self { command, read_only, tables, statements }
    }
}

impl From<Limits> for access::limits::Limits {
    fn from(Limits { command, read_only, tables, statements }: Limits) -> Self {
        Self { command, read_only, tables, statements }
    }
}

/// What becomes different about a pending request. What is absent stays; an empty text takes a ticket or reason away.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestEdit {
    /// For how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Asked>)]
    pub duration: Option<Asked>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4000)]
    pub reason: Option<String>,
    /// The change or incident it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4000)]
    pub ticket: Option<String>,
    /// What the asker renounces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// A yes or no to a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewVote {
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4000)]
    pub note: Option<String>,
    /// The approver's passkey over what `/requests/{id}/signature` gave; for a yes alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<PasskeyAnswer>,
}

/// What policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerCode {
    /// At once.
    Permit,
    /// When people agree.
    NeedsApproval,
    /// When the asker supplies something first.
    StepUp,
    /// No.
    Deny,
}

impl std::fmt::Display for AnswerCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Permit => "permit",
            Self::NeedsApproval => "needs_approval",
            Self::StepUp => "step_up",
            Self::Deny => "deny",
        })
    }
}

/// What became of asking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestAnswer {
    /// `permit` or `needs_approval`; the other two come as problems.
    pub answer: AnswerCode,
    /// The request.
    pub request: Request,
    /// The grant, if nobody had to agree.
    pub grant: Option<Grant>,
    /// Why the grant's clock did not start, though that was asked; absent: it did, or was not to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_activated: Option<String>,
    /// Whether a request for the same was pending already and this one joined it.
    pub joined: bool,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// Every path that was looked at, and what became of it.
    pub why: Vec<PathReport>,
}

/// One path in, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PathReport {
    /// The id of the policy.
    pub policy: String,
    /// What became of it, as a sentence.
    pub outcome: String,
    /// Whether it is the one that was chosen.
    pub chosen: bool,
}

/// What would happen if somebody asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    /// What policy says.
    pub answer: AnswerCode,
    /// The resource that was meant.
    #[schema(value_type = schema::ResourceName)]
    pub resource: ResourceName,
    /// The role that was meant.
    #[schema(value_type = schema::RoleName)]
    pub role: RoleName,
    /// If denied: which kind of no.
    #[schema(value_type = Option<schema::Reason>)]
    pub reason: Option<Reason>,
    /// If denied: what stood in the way.
    pub detail: Option<String>,
    /// What the asker can still supply.
    pub needs: Option<StepUp>,
    /// What it costs.
    pub terms: Option<Terms>,
    /// The digest of the bundle that said it.
    pub bundle: String,
    /// The policies that made it.
    pub policies: Vec<String>,
    /// Every path that was looked at.
    pub why: Vec<PathReport>,
    /// What is unusual about it.
    #[serde(default)]
    pub risk: Option<Risk>,
}

/// What the asker can still supply to be let through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepUp {
    /// A fresh proof of at least this kind.
    #[schema(value_type = Option<schema::Mfa>)]
    pub mfa: Option<Mfa>,
    /// An open ticket.
    pub ticket: bool,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Request {
    /// Its id.
    #[schema(value_type = schema::RequestId)]
    pub id: RequestId,
    /// Who asks.
    pub person: Who,
    /// Where to.
    #[schema(value_type = schema::ResourceName)]
    pub resource: ResourceName,
    /// What that speaks; null if the policy names it no more.
    #[serde(default)]
    pub kind: Option<String>,
    /// As what.
    #[schema(value_type = schema::RoleName)]
    pub role: RoleName,
    /// For how long.
    #[schema(value_type = schema::Asked)]
    pub duration: Asked,
    /// Why; null if nothing was said or it was erased.
    pub reason: Option<String>,
    /// The change or incident it belongs to.
    pub ticket: Option<String>,
    /// Where people look at it; null if it is of no tracker that the gate knows.
    #[serde(default)]
    pub ticket_url: Option<String>,
    /// What the asker renounces.
    pub limits: Limits,
    /// Whether it is an emergency.
    pub break_glass: bool,
    /// The grant it would make longer, if it is an extension.
    #[schema(value_type = Option<schema::GrantId>)]
    pub extends: Option<GrantId>,
    /// Through which door it came.
    #[schema(value_type = schema::Door)]
    pub door: Door,
    /// From which network address; nothing once erased.
    pub network: Option<String>,
    /// How strongly the asker had proved who they are.
    #[schema(value_type = schema::Mfa)]
    pub mfa: Mfa,
    /// The job of a CI system that asks, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    /// What the chosen path costs.
    pub terms: Terms,
    /// The digest of the bundle that decided.
    pub bundle: String,
    /// The policy whose path was chosen.
    pub policy: String,
    /// What was unusual about it; null where nobody looked.
    #[serde(default)]
    pub risk: Option<Risk>,
    /// How far it has come.
    #[schema(value_type = schema::RequestState)]
    pub state: RequestState,
    /// Counts edits; votes count for the revision they were given to.
    pub revision: i64,
    /// When it was asked.
    #[schema(value_type = schema::Time)]
    pub submitted_at: Timestamp,
    /// When it ages out.
    #[schema(value_type = schema::Time)]
    pub expires_at: Timestamp,
    /// When it was decided.
    #[schema(value_type = Option<schema::Time>)]
    pub decided_at: Option<Timestamp>,
    /// Counts changes; also the `ETag`.
    pub version: i64,
}

/// A job of a CI system, as its issuer signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// The issuer's URL.
    pub issuer: String,
    /// The claims that say which pipeline it belongs to: repository, branch, environment, and what else its issuer says.
    pub claims: std::collections::BTreeMap<String, String>,
}

impl From<access::claims::JobClaims> for Job {
    fn from(job: access::claims::JobClaims) -> Self {
        Self { issuer: job.issuer, claims: job.claims }
    }
}

impl From<Job> for access::claims::JobClaims {
    fn from(job: Job) -> Self {
        Self { issuer: job.issuer, claims: job.claims }
    }
}

/// A request with who was asked and what they said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestDetail {
    /// The request.
    #[serde(flatten)]
    pub request: Request,
    /// The stages of its plans, in order, and what each still lacks.
    pub stages: Vec<StageProgress>,
    /// What was said, oldest first.
    pub votes: Vec<Vote>,
    /// What they may do with it, in plain words, one right each: as policy stands now, less what they renounce.
    #[serde(default)]
    pub may: Vec<String>,
    /// Whether the caller can decide on it now.
    pub can_decide: bool,
    /// Who is on call for its seats now, while it waits for them; nothing for a contractor.
    #[serde(default)]
    pub on_call: Vec<super::on_call::Duty>,
    /// The grant that it made.
    pub grant: Option<Grant>,
}

/// How far one stage has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StageProgress {
    /// The plan it belongs to.
    #[schema(value_type = schema::PlanName)]
    pub plan: PlanName,
    /// Who may fill it now: its seats, and after its timeout those it escalates to.
    #[schema(value_type = Vec<schema::Seat>)]
    pub asked: Vec<Seat>,
    /// How many different people are needed.
    pub count: u32,
    /// How many of them are still missing.
    pub missing: u32,
    /// Whether only approvals count that are signed with the approver's passkey.
    #[serde(default)]
    pub signed: bool,
    /// When it escalates, if it does and has not yet.
    #[schema(value_type = Option<schema::Time>)]
    pub escalates_at: Option<Timestamp>,
    /// Who joins then.
    #[schema(value_type = Option<schema::Seat>)]
    pub escalate_to: Option<Seat>,
}

/// One person's yes or no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Vote {
    /// Its id.
    #[schema(value_type = schema::VoteId)]
    pub id: VoteId,
    /// Whose.
    pub voter: Who,
    /// Yes or no.
    #[schema(value_type = schema::Decision)]
    pub decision: Decision,
    /// To which revision of the request.
    pub revision: i64,
    /// Whether it counts for the request as it stands now.
    pub counts: bool,
    /// Whether it is signed with the voter's passkey.
    #[serde(default)]
    pub signed: bool,
    /// Whether they began here by an invitation of the asker's.
    #[serde(default)]
    pub invited_by_asker: bool,
    /// Why; null if nothing was said or it was erased.
    pub note: Option<String>,
    /// When.
    #[schema(value_type = schema::Time)]
    pub at: Timestamp,
}

/// What a vote led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Voted {
    /// The request as it stands now.
    pub request: Request,
    /// The grant, if this vote was the last one needed.
    pub grant: Option<Grant>,
}

/// Which requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestsOf {
    /// The caller's own.
    #[default]
    Mine,
    /// Those that the caller can decide on.
    Inbox,
    /// All that the caller may see.
    All,
}

/// Which requests to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RequestsQuery {
    /// Whose; the caller's own if nothing is said.
    #[serde(default)]
    #[param(inline)]
    pub of: RequestsOf,
    /// Only in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::RequestState>)]
    pub state: Option<RequestState>,
    /// Only to this resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::ResourceName>)]
    pub resource: Option<ResourceName>,
    /// With `of` other than `mine`: only this person's or machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::PrincipalId>)]
    pub person: Option<PrincipalId>,
    /// How many at most: 1 to 500; 50 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next_cursor` of the part before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
