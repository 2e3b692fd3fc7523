//! Who asks, in which circumstances; and what they ask for.

use std::net::IpAddr;
use std::sync::Arc;

use access::claims::JobClaims;
use access::identity::{Mfa, VerifiedIdentity};
use access::ids::PrincipalId;
use access::limits::Limits;
use access::names::{GroupName, ResourceName, RoleName, Username};
use access::on_call::Roster;
use access::request::{AccessRequest, Asked};
use access::risk::{Known, Risk};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// Somebody at a moment. Groups of `people.toml` are added by the bundle itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Situation {
    /// `usr_…` or `wkl_…`.
    pub id: PrincipalId,
    /// How they sign in.
    pub username: Username,
    /// The human who answers for a machine.
    pub owner: Option<Username>,
    /// What the CI system says of the job, if it is one that signed in by that.
    pub claims: Option<JobClaims>,
    /// Groups that the store gives.
    pub store_groups: Vec<GroupName>,
    /// How strongly they proved who they are …
    pub mfa: Mfa,
    /// … and when.
    pub mfa_at: Timestamp,
    /// From where they come.
    pub network: Option<IpAddr>,
    /// The time.
    pub now: Timestamp,
    /// The schedules they are on call for; `None`: what `people.toml` and the roster say at `now`.
    pub on_call: Option<Vec<GroupName>>,
    /// What is believed of the schedules that are kept elsewhere. Nothing: nobody is on call for those.
    pub roster: Arc<Roster>,
    /// What is unusual about them; `None`: nobody looked, and a policy that asks is told that all of it is.
    pub risk: Option<Known>,
}

impl Situation {
    /// Somebody without a second factor, from nowhere, in no group of the store.
    #[must_use]
    pub fn new(id: impl Into<PrincipalId>, username: Username, now: Timestamp) -> Self {
        Self {
            id: id.into(),
            username,
            owner: None,
            claims: None,
            store_groups: Vec::new(),
            mfa: Mfa::None,
            mfa_at: now,
            network: None,
            now,
            on_call: None,
            roster: Arc::default(),
            risk: None,
        }
    }

    /// Somebody who proved who they are. `owner` and `store_groups` are facts of the store.
    #[must_use]
    pub fn of(identity: &VerifiedIdentity, owner: Option<Username>, store_groups: Vec<GroupName>, now: Timestamp) -> Self {
        Self {
            owner,
            claims: identity.claims().cloned(),
            store_groups,
            mfa: identity.mfa(),
            mfa_at: identity.at(),
            network: identity.from(),
            ..Self::new(identity.id(), identity.username().clone(), now)
        }
    }

    /// The human who answers for what is done: the owner of a machine, else the person.
    #[must_use]
    pub fn answers(&self) -> &Username {
        self.owner.as_ref().unwrap_or(&self.username)
    }

    /// What is unusual if they want this resource.
    #[must_use]
    pub fn risk_on(&self, resource: &ResourceName) -> Risk {
        self.risk.as_ref().map_or_else(Risk::unknown, |known| known.on(resource))
    }

    /// Seconds since the proof.
    pub(crate) fn mfa_age(&self) -> i64 {
        self.now.as_second().saturating_sub(self.mfa_at.as_second()).max(0)
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Where to.
    pub resource: ResourceName,
    /// As what.
    pub role: RoleName,
    /// For how long.
    pub asked: Asked,
    /// Whether a reason was given.
    pub reason_given: bool,
    /// The change or incident it belongs to.
    pub ticket: Option<String>,
    /// Whether it is an emergency that skips people and owes a review.
    pub break_glass: bool,
    /// What the asker renounces.
    pub limits: Limits,
}

impl Ask {
    /// The ordinary question: for the default time, with a reason, without a ticket.
    #[must_use]
    pub fn plain(resource: ResourceName, role: RoleName) -> Self {
        Self { resource, role, asked: Asked::Default, reason_given: true, ticket: None, break_glass: false, limits: Limits::default() }
    }
}

impl From<&AccessRequest> for Ask {
    fn from(request: &AccessRequest) -> Self {
        Self {
            resource: request.resource.clone(),
            role: request.role.clone(),
            asked: request.asked,
            reason_given: request.reason.as_ref().is_some_and(|r| !r.trim().is_empty()),
            ticket: request.ticket.clone().filter(|t| !t.trim().is_empty()),
            break_glass: request.break_glass,
            limits: request.limits.clone(),
        }
    }
}

impl crate::Bundle {
    /// Somebody the directory names, as cases, the matrix and the diff suppose them: a machine if `people.toml` lists it
    /// among `workloads`, or as a job that `workloads.toml` takes for it, with an id made from the name. Never an identity: nobody has proved anything.
    #[must_use]
    pub fn imagine(&self, username: &Username, now: Timestamp) -> Option<Situation> {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let machine = self.people().workloads.contains(username);
        let mut id = String::from(if machine { "wkl_" } else { "usr_" });
        for (place, byte) in Sha256::digest(username.as_str()).iter().take(26).enumerate() {
            let digit = if place == 0 { byte & 7 } else { byte & 31 };
            id.push(DIGITS.get(usize::from(digit)).copied().unwrap_or(b'0').into());
        }
        let workload = self.workloads().all.get(username);
        let claims = workload.and_then(|workload| {
            let issuer = self.workloads().issuers.get(&workload.issuer)?;
            Some(JobClaims { issuer: issuer.url.clone(), claims: workload.example() })
        });
        let owner = workload.map(|workload| workload.owner.clone());
        let risk = Some(Known::Then(Risk::none()));
        Some(Situation { owner, claims, risk, ..Situation::new(id.parse::<PrincipalId>().ok()?, username.clone(), now) })
    }
}
