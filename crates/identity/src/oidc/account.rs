//! Whose account a provider's claims are: by issuer and subject, never by e-mail.

use std::net::IpAddr;

use access::identity::{Mfa, VerifiedIdentity, Via};
use access::ids::PrincipalId;
use access::reason::{Reason, Refusal};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::id_token::Claims;
use crate::account::{Account, Proven};

/// What is kept of who somebody is at a provider.
#[derive(Debug, Clone, Copy)]
pub struct IdentityFacts<'a> {
    /// [`key`] of issuer and subject.
    pub key: &'a str,
    /// Whose it is here.
    pub person: PrincipalId,
}

/// By what somebody at a provider is known here: SHA-256, hex, of issuer and subject. Says nothing to who reads it in the log.
#[must_use]
pub fn key(issuer: &str, subject: &str) -> String {
    // JSON, so that no two pairs have the same text.
    hex::encode(Sha256::digest(serde_json::json!([issuer, subject]).to_string()))
}

impl Claims {
    /// By what whoever these claims are of is known here.
    #[must_use]
    pub fn key(&self) -> String {
        key(&self.issuer, &self.subject)
    }
}

/// Says who signed in at a provider.
///
/// # Errors
/// [`Reason::NotSignedIn`] when the claims are another's; [`Reason::Disabled`].
pub fn verify_claims(
    claims: &Claims,
    identity: &IdentityFacts<'_>,
    account: Account<'_>,
    from: IpAddr,
    now: Timestamp,
) -> Result<VerifiedIdentity, Refusal> {
    if claims.key() != identity.key || identity.person != account.person.id {
        return Err(Refusal::because(Reason::NotSignedIn, "the identity provider speaks of somebody else"));
    }
    // How strongly the provider asked is its own affair: only what the gate sees itself counts as more.
    account.proven(Proven::in_person(Mfa::None, Via::Provider), Some(from), now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::people::*;
    use access::identity::{PersonRow, PersonState};

    fn claims(issuer: &str, subject: &str) -> Claims {
        Claims {
            issuer: issuer.into(),
            subject: subject.into(),
            sid: None,
            name: None,
            preferred_username: Some("ana".into()),
            groups: Vec::new(),
        }
    }

    // covers: A7
    #[test]
    fn an_account_is_issuer_and_subject_and_nothing_else() {
        let (ana, ben) = (person("ana"), person("ben"));
        let hers = key("https://login.example", "ana-1");
        let facts = IdentityFacts { key: &hers, person: ana.id };
        let verify = |claims: &Claims, facts: &IdentityFacts<'_>, who: &PersonRow| {
            verify_claims(claims, facts, Account::human(who), desk(), noon()).map(|who| who.id()).map_err(|no| no.reason)
        };
        let good = claims("https://login.example", "ana-1");
        assert_eq!(verify(&good, &facts, &ana), Ok(ana.id));
        assert_eq!(verify(&claims("https://login.example", "ana-2"), &facts, &ana), Err(Reason::NotSignedIn), "the same name");
        assert_eq!(verify(&claims("https://other.example", "ana-1"), &facts, &ana), Err(Reason::NotSignedIn));
        assert_eq!(verify(&good, &facts, &ben), Err(Reason::NotSignedIn));
        let gone = PersonRow { state: PersonState::Disabled, ..ana.clone() };
        assert_eq!(verify(&good, &facts, &gone), Err(Reason::Disabled));
        assert_ne!(key("https://a.example", "b\",\"c"), key("https://a.example\",\"b", "c"));
    }
}
