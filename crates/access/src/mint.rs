//! Where proof is made: the constructors of [`VerifiedIdentity`], [`Verdict`] and [`SessionPermit`].
//!
//! The lints ban each of these everywhere but in the one crate that earns it: `identity`, `policy`, `workflow`.

use std::net::IpAddr;

use jiff::Timestamp;

use crate::claims::JobClaims;
use crate::identity::{Mfa, Scope, VerifiedIdentity, Via};
use crate::ids::PrincipalId;
use crate::names::Username;
use crate::session::{Dial, SessionFacts, SessionPermit};
use crate::verdict::{Answer, PathReport, Verdict};

/// Says that somebody proved who they are. For `identity` alone.
#[must_use]
pub fn verified_identity(
    id: PrincipalId,
    username: Username,
    mfa: Mfa,
    via: Via,
    scopes: Vec<Scope>,
    from: Option<IpAddr>,
    at: Timestamp,
) -> VerifiedIdentity {
    VerifiedIdentity { id, username, mfa, via, scopes, from, at: crate::time::micros(at), claims: None }
}

/// Says which job of a CI system it is that proved who it is. For `identity` alone.
#[must_use]
pub fn verified_job(who: VerifiedIdentity, claims: JobClaims) -> VerifiedIdentity {
    VerifiedIdentity { claims: Some(claims), ..who }
}

/// Says what policy answers. For `policy` alone.
pub fn verdict(answer: Answer, bundle: String, policies: Vec<String>, paths: Vec<PathReport>) -> Verdict {
    Verdict { answer, bundle, policies, paths }
}

/// Gives the right to dial one target once. For `workflow` alone.
#[must_use]
pub fn session_permit(facts: SessionFacts, dial: Dial) -> SessionPermit {
    SessionPermit { facts, dial }
}
