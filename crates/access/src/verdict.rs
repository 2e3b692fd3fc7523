//! May they: what policy answers, what the chosen path costs, and why every other path lost.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::approval::Plan;
use crate::identity::Mfa;
use crate::names::{GroupName, TierName};
use crate::reason::Reason;
use crate::threshold::Threshold;
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
        /// One must be named, and its tracker must say that it is open, or in a state that the tier names.
        Open = "open",
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

/// Which of the sessions that end are looked at, emergency or not. See [`crate::review::is_sampled`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// So many of a hundred; 1 to 100.
    pub percent: u8,
    /// Who has to look at them.
    pub reviewers: GroupName,
    /// Within which time.
    pub review_within: Span,
}

/// Why a text is no [`Sample`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no sample; write how many, who looks at them and within which time, as in `5%, security, 7d`")]
pub struct SampleError(String);

impl FromStr for Sample {
    type Err = SampleError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || SampleError(text.chars().take(80).flat_map(char::escape_default).collect());
        let mut parts = text.split(',').map(str::trim);
        let (Some(percent), Some(reviewers), Some(within), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(bad());
        };
        let percent: u8 = percent.strip_suffix('%').and_then(|n| n.parse().ok()).filter(|n| (1..=100).contains(n)).ok_or_else(bad)?;
        let reviewers = reviewers.parse().map_err(|_| bad())?;
        let review_within: Span = within.parse().map_err(|_| bad())?;
        if review_within == Span::default() {
            return Err(bad());
        }
        Ok(Self { percent, reviewers, review_within })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%, {}, {}", self.percent, self.reviewers, self.review_within)
    }
}

/// What a path costs: it joined with its tier, field by field, the stricter winning. Frozen into request and grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The tier of the resource.
    pub tier: TierName,
    /// Whether the tier is production, as measures count it.
    #[serde(default = "production")]
    pub production: bool,
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
    /// Where an open one is asked for: the states, any of which will do. Empty: whatever the tracker counts as open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ticket_states: Vec<String>,
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
    /// Which sessions are looked at afterwards; `None`: none but emergencies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
    /// Who joins the reviewers of a review that is overdue; `None`: the administrators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalate_to: Option<GroupName>,
    /// What is watched while a session lives, and what follows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watch: Vec<Threshold>,
    /// The tier was only observed when this was given, and let through what no path allowed: until then, and not a moment longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_until: Option<Timestamp>,
}
json_fields!(Terms);

/// What is not said to be anything else.
fn production() -> bool {
    true
}

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
