//! Invitations: the single-use code with which somebody signs in for the first time, the first administrator included.

use std::net::IpAddr;

use access::identity::{Mfa, VerifiedIdentity, Via};
use access::ids::PrincipalId;
use access::reason::{Reason, Refusal};
use jiff::Timestamp;

use crate::account::{Account, Proven};
use crate::opaque::{self, Issued, Verifier};

const PREFIX: &str = "tg_inv_";

/// What is kept of an invitation.
#[derive(Debug, Clone, Copy)]
pub struct InvitationFacts<'a> {
    /// Who is invited.
    pub person: PrincipalId,
    /// SHA-256 of the code, hex: [`Verifier::as_str`].
    pub verifier: &'a str,
    /// Until when it works.
    pub expires_at: Timestamp,
    /// Whether somebody used it. Whoever accepts it marks it so in the same transaction, expecting it unused.
    pub used: bool,
}

/// Makes an invitation's code.
#[must_use]
pub fn generate() -> Issued {
    opaque::issue(PREFIX)
}

/// Reads a code and gives what to look it up by.
///
/// # Errors
/// [`Reason::CodeInvalid`] when the text has not the form of a code.
pub fn parse(code: &str) -> Result<Verifier, Refusal> {
    match code.trim().strip_prefix(PREFIX) {
        Some(body) if opaque::is_body(body) => Ok(Verifier::of(code.trim())),
        _ => Err(Reason::CodeInvalid.into()),
    }
}

/// Says who accepts an invitation.
///
/// # Errors
/// [`Reason::CodeInvalid`] when the code is another's, used or too old, without saying which; [`Reason::Disabled`].
pub fn verify_invitation(
    presented: &Verifier,
    invitation: &InvitationFacts<'_>,
    account: Account<'_>,
    from: IpAddr,
    now: Timestamp,
) -> Result<VerifiedIdentity, Refusal> {
    let good =
        presented.matches(invitation.verifier) && invitation.person == account.person.id && !invitation.used && now < invitation.expires_at;
    if !good {
        return Err(Reason::CodeInvalid.into());
    }
    account.proven(Proven::in_person(Mfa::None, Via::Invitation), Some(from), now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::people::*;
    use access::identity::{PersonRow, PersonState};
    use access::time::Span;
    use proptest::prelude::*;

    // covers: A9, D8 (ssh)
    #[test]
    fn an_invitation_lets_one_person_in_while_it_is_new_and_unused() {
        let (ana, ben) = (person("ana"), person("ben"));
        let issued = generate();
        let good =
            InvitationFacts { person: ana.id, verifier: issued.verifier.as_str(), expires_at: Span::hours(1).after(noon()), used: false };
        let code = parse(&format!(" {}\n", issued.secret.expose())).unwrap();
        let verify = |code: &Verifier, facts: &InvitationFacts<'_>, at| verify_invitation(code, facts, Account::human(&ana), desk(), at);
        let who = verify(&code, &good, noon()).unwrap();
        assert_eq!((who.id(), who.via()), (ana.id, &Via::Invitation));

        let invalid = Refusal::of(Reason::CodeInvalid);
        assert_eq!(verify(&code, &InvitationFacts { used: true, ..good }, noon()).unwrap_err(), invalid);
        assert_eq!(verify(&code, &good, good.expires_at).unwrap_err(), invalid);
        assert_eq!(verify(&code, &InvitationFacts { person: ben.id, ..good }, noon()).unwrap_err(), invalid);
        assert_eq!(verify(&generate().verifier, &good, noon()).unwrap_err(), invalid);
        let disabled = PersonRow { state: PersonState::Disabled, ..ana.clone() };
        let refused = verify_invitation(&code, &good, Account::human(&disabled), desk(), noon()).unwrap_err();
        assert_eq!(refused.reason, Reason::Disabled);
    }

    proptest! {
        #[test]
        fn no_other_text_is_a_code(text in "(tg_inv_|tg_pat_)?\\PC{0,40}") {
            prop_assume!(!text.trim().strip_prefix(PREFIX).is_some_and(opaque::is_body));
            prop_assert!(parse(&text).is_err());
        }
    }
}
