//! What the OIDC token of a CI job proves: who its issuer says it is, to this gate, now, once (RFC 7519, RFC 8693 §2.1).
//!
//! The token travels through a pipeline's environment, so whatever about it could be somebody else's is looked at: who signed it, by
//! which algorithm, for whom, for how long, and whether it was shown before (that last by the caller, who keeps [`JobToken::assertion`]).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use access::claims::{JobClaims, SignatureAlgorithm, is_known};
use access::identity::{Mfa, Scope, VerifiedIdentity, Via};
use access::ids::PrincipalId;
use access::reason::{Reason, Refusal};
use access::time::Span;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::OidcError;
use super::jws::{Keys, LONGEST, header, signed};
use crate::account::{Account, Proven};

/// How far an issuer's clock may be from the gate's.
const SKEW: Span = Span::seconds(30);
/// The oldest token that is taken: one that a job got at its start and uses at its end.
const OLDEST: Span = Span::hours(24);
/// The longest value of a claim that is kept.
const LONGEST_CLAIM: usize = 512;

/// Whose tokens are believed, and which.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// `iss`, exactly.
    pub issuer: &'a str,
    /// `aud`, and no other beside it.
    pub audience: &'a str,
    /// What it may be signed with.
    pub algorithms: &'a BTreeSet<SignatureAlgorithm>,
    /// The claims that are kept besides those that policies can speak of.
    pub kept: &'a BTreeSet<&'a str>,
}

/// What a job's token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobToken {
    /// Which pipeline the job belongs to.
    pub claims: JobClaims,
    /// By what the token is known, so that it does once: SHA-256, hex, of issuer and `jti`, or of the whole token where it has none.
    pub assertion: String,
    /// What set the job off, for the log: its run, its commit, and who.
    pub run: String,
}

/// Who issued a token, by its own account: whose keys it has to be verified with. Proves nothing.
///
/// # Errors
/// If it is no token.
pub fn issuer_of(token: &str) -> Result<String, OidcError> {
    let no = || OidcError::Token("it is no signed token".to_owned());
    let body = Some(token).filter(|token| token.len() <= LONGEST).and_then(|token| token.split('.').nth(1)).ok_or_else(no)?;
    let claims: Map<String, Value> = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).map_err(|_| no())?).map_err(|_| no())?;
    let issuer = claims.get("iss").and_then(Value::as_str).map(str::to_owned);
    issuer.ok_or_else(|| OidcError::Token("it does not say who issued it".to_owned()))
}

/// What a job's token says, if this issuer made it for this gate, and it is good now.
///
/// # Errors
/// [`OidcError::UnknownKey`] when none of the keys can have signed it (the issuer may have new ones); [`OidcError::Token`] for
/// everything else.
pub fn verify(expected: Expected<'_>, keys: &Keys, token: &str, now: Timestamp) -> Result<JobToken, OidcError> {
    let no = |why: &str| OidcError::Token(why.to_owned());
    if !algorithm_of(token).is_some_and(|alg| expected.algorithms.contains(&alg)) {
        return Err(no("it is not signed by an algorithm that its issuer is trusted to use here"));
    }
    let claims = signed(keys, token, &["JWT"])?;
    if claims.get("iss").and_then(Value::as_str) != Some(expected.issuer) {
        return Err(no("another issuer made it"));
    }
    let ours = match claims.get("aud") {
        Some(Value::String(one)) => one == expected.audience,
        Some(Value::Array(all)) => matches!(all.as_slice(), [Value::String(one)] if one == expected.audience),
        _ => false,
    };
    if !ours {
        return Err(OidcError::Token(format!("it was made for another audience; ask the CI system for one for `{}`", expected.audience)));
    }
    let second = |name: &str| claims.get(name).map(|value| time(value).ok_or_else(|| no("one of its times is none"))).transpose();
    let end = second("exp")?.ok_or_else(|| no("it does not say until when it is good"))?;
    if now >= SKEW.after(end) {
        return Err(no("its time is up; sign in sooner after the job gets it, or give the job a longer one"));
    }
    let issued = second("iat")?.ok_or_else(|| no("it does not say when it was made"))?;
    if issued > SKEW.after(now) || second("nbf")?.is_some_and(|start| start > SKEW.after(now)) {
        return Err(no("it is not good yet; compare the clocks of the gate and of the CI system"));
    }
    if now > OLDEST.after(issued) {
        return Err(no("it was made too long ago"));
    }
    let known_by = match claims.get("jti") {
        // What was signed, and not the signature: of some kinds there is more than one over the same.
        None => serde_json::json!([expected.issuer, "token", token.rsplit_once('.').map_or(token, |(signed, _)| signed)]),
        Some(Value::String(id)) if !id.is_empty() && id.len() <= LONGEST_CLAIM => serde_json::json!([expected.issuer, "jti", id]),
        Some(_) => return Err(no("its `jti` is none")),
    };
    let kept = |name: &&String| is_known(name) || expected.kept.contains(name.as_str());
    let job: BTreeMap<String, String> =
        claims.keys().filter(kept).filter_map(|name| Some((name.clone(), plain(claims.get(name)?)?))).collect();
    let run: Vec<String> = ["run_id", "run_attempt", "pipeline_id", "job_id", "sha", "actor", "user_login"]
        .iter()
        .filter_map(|name| Some(format!("{name} {}", super::printable(&plain(claims.get(*name)?)?))))
        .collect();
    Ok(JobToken {
        claims: JobClaims { issuer: expected.issuer.to_owned(), claims: job },
        assertion: hex::encode(Sha256::digest(known_by.to_string())),
        run: run.join(", "),
    })
}

/// Says who a job is.
///
/// # Errors
/// [`Reason::NotSignedIn`] if the account is a person's; [`Reason::Disabled`].
pub fn sign_in(job: &JobToken, account: Account<'_>, from: IpAddr, now: Timestamp) -> Result<VerifiedIdentity, Refusal> {
    if !matches!(account.person.id, PrincipalId::Workload(_)) {
        return Err(Refusal::because(Reason::NotSignedIn, "no job signs in as a person"));
    }
    // INVARIANT: a job asks and connects, and never decides or administers.
    let how = Proven { mfa: Mfa::None, via: Via::Provider, scopes: vec![Scope::Read, Scope::Ask], claims: Some(job.claims.clone()) };
    account.proven(how, Some(from), now)
}

fn algorithm_of(token: &str) -> Option<SignatureAlgorithm> {
    header(token)?.get("alg")?.as_str()?.parse().ok()
}

/// `NumericDate` (RFC 7519 §2), which may have a fraction.
fn time(value: &Value) -> Option<Timestamp> {
    Timestamp::from_duration(SignedDuration::try_from_secs_f64(value.as_f64()?).ok()?).ok()
}

/// A claim as text; `None` if it is too long, or none that a condition could be about.
fn plain(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => return None,
    };
    (!text.is_empty() && text.len() <= LONGEST_CLAIM && !text.chars().any(char::is_control)).then_some(text)
}

#[cfg(test)]
#[path = "job_token_tests.rs"]
mod tests;
