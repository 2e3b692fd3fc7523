//! Asking: what somebody wants, for how long and why, and how far the question has come.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::claims::JobClaims;
use crate::identity::{Mfa, VerifiedIdentity};
use crate::ids::{GrantId, PrincipalId, RequestId};
use crate::limits::Limits;
use crate::names::{ResourceName, RoleName};
use crate::risk::Risk;
use crate::time::Span;
use crate::verdict::Terms;

codes! {
    /// Through which door somebody came.
    Door("door") {
        /// Their own `ssh`.
        Ssh = "ssh",
        /// Their own PostgreSQL client.
        Postgres = "postgres",
        /// Their own MySQL or MariaDB client.
        Mysql = "mysql",
        /// The HTTP API, and with it the command line and the portal.
        Api = "api",
        /// Where they chat: a button, a window or a command there.
        Chat = "chat",
        /// A link in a mail.
        Mail = "mail",
        /// The socket on the gate's own machine.
        Socket = "socket",
        /// The gate by itself: clocks, sweeps, reloads.
        Gate = "gate",
    }
}

codes! {
    /// How far a request has come.
    RequestState("request state") {
        /// People are asked.
        Pending = "pending",
        /// All that was needed agreed; the grant exists.
        Approved = "approved",
        /// Somebody who may said no, or policy changed its mind.
        Denied = "denied",
        /// The asker took it back.
        Cancelled = "cancelled",
        /// Nobody answered in time.
        Expired = "expired",
    }
}

/// For how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Asked {
    /// The tier's default.
    #[default]
    Default,
    /// This long.
    For(Span),
    /// Without an end, where the policy allows that by name.
    Standing,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::For(span) => span.fmt(f),
            Self::Standing => f.write_str("standing"),
        }
    }
}

impl FromStr for Asked {
    type Err = crate::time::SpanError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "default" => Ok(Self::Default),
            "standing" => Ok(Self::Standing),
            span => span.parse().map(Self::For),
        }
    }
}

impl Serialize for Asked {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

text_fields!(Asked);

/// What somebody asks for, not yet tied to who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRequest {
    /// Where to.
    pub resource: ResourceName,
    /// As what.
    pub role: RoleName,
    /// For how long.
    pub asked: Asked,
    /// Why, in their own words.
    pub reason: Option<String>,
    /// The change or incident it belongs to.
    pub ticket: Option<String>,
    /// What they renounce beforehand.
    pub limits: Limits,
    /// Whether this is an emergency that skips people and owes a review.
    pub break_glass: bool,
    /// Through which door.
    pub door: Door,
}

/// A request and the proof of who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentifiedRequest {
    who: VerifiedIdentity,
    ask: AccessRequest,
}

impl IdentifiedRequest {
    /// Ties a request to its proven asker.
    #[must_use]
    pub fn new(ask: AccessRequest, who: VerifiedIdentity) -> Self {
        Self { who, ask }
    }
    /// Who asks.
    #[must_use]
    pub fn who(&self) -> &VerifiedIdentity {
        &self.who
    }
    /// For what.
    #[must_use]
    pub fn ask(&self) -> &AccessRequest {
        &self.ask
    }
}

row! {
    /// A request as it is kept.
    RequestRow in "requests" {
        /// `req_…`.
        id: RequestId,
        /// Who asks.
        person: PrincipalId,
        /// Where to.
        resource: ResourceName,
        /// As what.
        role: RoleName,
        /// For how long.
        asked: Asked,
        /// Why; `None` once erased.
        reason: Option<String>,
        /// The change or incident it belongs to.
        ticket: Option<String>,
        /// What the asker renounced.
        limits: Limits,
        /// Whether it is an emergency.
        break_glass: bool,
        /// The grant it would make longer, if it is an extension.
        extends: Option<GrantId>,
        /// Through which door.
        door: Door,
        /// From which address; `None` once erased.
        network: Option<std::net::IpAddr>,
        /// How strongly the asker had proved who they are.
        mfa: Mfa,
        /// The job that asked, if it was a job.
        claims: Option<JobClaims>,
        /// What the chosen path costs.
        terms: Terms,
        /// The digest of the bundle that decided.
        bundle: String,
        /// The id of the policy whose path was chosen.
        policy: String,
        /// What was unusual about it; `None` where nobody looked.
        risk: Option<Risk>,
        /// The same in sentences, a line each; `None` if nothing was, or once erased.
        risk_says: Option<String>,
        /// How far it has come.
        state: RequestState,
        /// Counts edits; votes count for the revision they were given to.
        revision: i64,
        /// When it was asked.
        submitted_at: Timestamp,
        /// When it ages out.
        expires_at: Timestamp,
        /// When it was decided.
        decided_at: Option<Timestamp>,
        /// Counts changes of this row and of its votes.
        version: i64,
    }
}

impl RequestRow {
    /// Since when it is asked as it stands: since it was submitted, or changed the last time. From then on people are waited for.
    #[must_use]
    pub fn asked_since(&self) -> Timestamp {
        // The one is set as so much later than the other.
        let waits = SignedDuration::from_secs(i64::try_from(self.terms.pending_for.as_seconds()).unwrap_or(i64::MAX));
        self.expires_at.checked_sub(waits).map_or(self.submitted_at, |since| since.max(self.submitted_at))
    }
}
