//! May they: what policy answers, what the chosen path costs, and why every other path lost.

use serde::{Deserialize, Serialize};

use crate::approval::Plan;
use crate::identity::Mfa;
use crate::names::{GroupName, TierName};
use crate::reason::Reason;
use crate::time::Span;

codes! {
    /// What of a session's content is kept. Events are always kept.
    RecordLevel("recording level") {
        /// What was done: commands, files, forwards, digests.
        Events = "events",
        /// Also what was shown and typed.
        Content = "content",
        /// Also the rows a database answered.
        Results = "results",
    }
}

codes! {
    /// When recorded bytes are safe before they are forwarded.
    Durability("durability") {
        /// Handed to the system at once, on disk within a second.
        Flush = "flush",
        /// On disk before they are forwarded.
        Sync = "sync",
    }
}

codes! {
    /// Which host keys of a target are trusted.
    HostKeyRule("host key rule") {
        /// Only those the bundle names.
        Pinned = "pinned",
        /// The first one seen, from then on only that.
        FirstUse = "first-use",
    }
}

codes! {
    /// What is asked of a ticket.
    TicketRule("ticket rule") {
        /// None is needed.
        None = "none",
        /// One must be named.
        Named = "named",
    }
}

/// What an emergency path owes afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakGlassTerms {
    /// Who has to look at it afterwards.
    pub reviewers: GroupName,
    /// Within which time.
    pub review_within: Span,
    /// Whether an overdue review keeps their whole team from declaring emergencies, and not them alone.
    #[serde(default)]
    pub blocks_team: bool,
}

/// What a path costs: it joined with its tier, field by field, the stricter winning. Frozen into request and grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The tier of the resource.
    pub tier: TierName,
    /// The longest time.
    pub max: Span,
    /// The time when none is asked.
    pub default: Span,
    /// Who has to agree: all of these plans. Empty: nobody.
    pub approvals: Vec<Plan>,
    /// How strongly the asker must have proved who they are …
    pub mfa: Mfa,
    /// … and how long ago at most.
    pub mfa_within: Span,
    /// What is asked of a ticket.
    pub ticket: TicketRule,
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
    /// Whether the path may be held without an end.
    pub standing: bool,
    /// What an emergency on this path owes; `None`: the path is none for emergencies.
    pub break_glass: Option<BreakGlassTerms>,
}
json_fields!(Terms);

impl Terms {
    /// How many people have to agree.
    #[must_use]
    pub fn people(&self) -> u32 {
        self.approvals.iter().flat_map(|p| &p.stages).map(|s| s.count).sum()
    }
}

/// What the asker can still supply to be let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepUp {
    /// A fresh proof of at least this kind.
    pub mfa: Option<Mfa>,
    /// An open ticket.
    pub ticket: bool,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Answer {
    /// At once.
    Permit {
        /// At this cost.
        terms: Terms,
    },
    /// When people agree.
    NeedsApproval {
        /// At this cost.
        terms: Terms,
    },
    /// When the asker supplies something first.
    StepUp {
        /// This.
        needs: StepUp,
        /// What it costs then.
        terms: Terms,
    },
    /// No.
    Deny {
        /// Which kind of no.
        reason: Reason,
        /// In words, naming what stood in the way.
        detail: String,
    },
}

impl Answer {
    /// The four words of the API.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Permit { .. } => "permit",
            Self::NeedsApproval { .. } => "needs_approval",
            Self::StepUp { .. } => "step_up",
            Self::Deny { .. } => "deny",
        }
    }
}

/// One path in, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathReport {
    /// The id of the policy (its `@id`, else file name and number).
    pub policy: String,
    /// What became of it, as a sentence: `chosen`, or why it lost.
    pub outcome: String,
    /// Whether it is the one that was chosen.
    pub chosen: bool,
}

/// Proof that policy has spoken about one request. Made in `policy` alone; see [`crate::mint`].
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub(crate) answer: Answer,
    pub(crate) bundle: String,
    pub(crate) policies: Vec<String>,
    pub(crate) paths: Vec<PathReport>,
}

impl Verdict {
    /// What it says.
    #[must_use]
    pub fn answer(&self) -> &Answer {
        &self.answer
    }
    /// The digest of the bundle that said it.
    #[must_use]
    pub fn bundle(&self) -> &str {
        &self.bundle
    }
    /// The policies that made it: the chosen path, or the ones that forbade.
    #[must_use]
    pub fn policies(&self) -> &[String] {
        &self.policies
    }
    /// Every path that was looked at.
    #[must_use]
    pub fn paths(&self) -> &[PathReport] {
        &self.paths
    }
}
