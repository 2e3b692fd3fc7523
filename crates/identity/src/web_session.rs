//! Web sessions: the cookie of a browser that was signed in.
//!
//! The cookie is 160 random bits, kept as their SHA-256 like every opaque secret. It carries the strength of the sign-in it was
//! made from, never more, and ends after a time without use and after a time in any case.

use std::net::IpAddr;

use access::identity::{Mfa, Scope, VerifiedIdentity, Via};
use access::ids::{PrincipalId, WebSessionId};
use access::reason::{Reason, Refusal};
use access::time::Span;
use jiff::Timestamp;

use crate::account::{Account, Proven};
use crate::opaque::{self, Issued, Verifier};

const PREFIX: &str = "tg_web_";

/// Time without use after which a browser has to sign in again.
pub const IDLE: Span = Span::hours(1);
/// Time after which it has to in any case.
pub const LONGEST: Span = Span::hours(12);

/// What is kept of a web session.
#[derive(Debug, Clone, Copy)]
pub struct WebSessionFacts<'a> {
    /// `web_…`.
    pub id: WebSessionId,
    /// Whose.
    pub person: PrincipalId,
    /// SHA-256 of the cookie, hex: [`Verifier::as_str`].
    pub verifier: &'a str,
    /// What the sign-in it was made from may be used for.
    pub scopes: &'a [Scope],
    /// How strongly that sign-in proved who it was …
    pub mfa: Mfa,
    /// … and when.
    pub proved_at: Timestamp,
    /// When it was last used.
    pub seen_at: Timestamp,
    /// Until when it works in any case.
    pub ends_at: Timestamp,
}

impl WebSessionFacts<'_> {
    /// Whether it works at this time, as far as time goes.
    #[must_use]
    pub fn lasts(&self, now: Timestamp) -> bool {
        now < self.ends_at && now < IDLE.after(self.seen_at)
    }
}

/// Makes the cookie of a web session.
#[must_use]
pub fn generate() -> Issued {
    opaque::issue(PREFIX)
}

/// Reads a cookie and gives what to look it up by.
///
/// # Errors
/// [`Reason::NotSignedIn`] when the text has not the form of one.
pub fn parse(cookie: &str) -> Result<Verifier, Refusal> {
    match cookie.strip_prefix(PREFIX) {
        Some(body) if opaque::is_body(body) => Ok(Verifier::of(cookie)),
        _ => Err(over()),
    }
}

/// One sentence for every way a web session can be no good.
#[must_use]
pub fn over() -> Refusal {
    Refusal::because(Reason::NotSignedIn, "this browser is not signed in any more")
}

/// Says who sits at a browser that was signed in.
///
/// # Errors
/// [`Reason::NotSignedIn`] when it is not this cookie or its time is up; [`Reason::Disabled`].
pub fn verify_web_session(
    presented: &Verifier,
    session: &WebSessionFacts<'_>,
    account: Account<'_>,
    from: IpAddr,
    now: Timestamp,
) -> Result<VerifiedIdentity, Refusal> {
    if !presented.matches(session.verifier) || session.person != account.person.id || !session.lasts(now) {
        return Err(over());
    }
    let how = Proven { mfa: session.mfa, via: Via::WebSession(session.id), scopes: session.scopes.to_vec(), claims: None };
    // The proof is as old as the sign-in, however often the cookie is shown.
    account.proven(how, Some(from), session.proved_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::people::*;
    use access::identity::{PersonRow, PersonState};

    // covers: A9, A11
    #[test]
    fn a_cookie_works_for_its_own_session_while_it_lasts() {
        let (ana, ben) = (person("ana"), person("ben"));
        let issued = generate();
        let good = WebSessionFacts {
            id: WebSessionId::generate(noon()),
            person: ana.id,
            verifier: issued.verifier.as_str(),
            scopes: &[Scope::Read],
            mfa: Mfa::None,
            proved_at: noon(),
            seen_at: noon(),
            ends_at: LONGEST.after(noon()),
        };
        let presented = parse(issued.secret.expose()).unwrap();
        let verify = |facts: &WebSessionFacts<'_>, at| verify_web_session(&presented, facts, Account::human(&ana), desk(), at);
        let later = Span::minutes(59).after(noon());
        let who = verify(&good, later).unwrap();
        assert_eq!((who.id(), who.via(), who.at()), (ana.id, &Via::WebSession(good.id), noon()));
        assert!(who.may(Scope::Read) && !who.may(Scope::Ask));

        assert_eq!(verify(&good, IDLE.after(noon())).unwrap_err(), over());
        let busy = WebSessionFacts { seen_at: Span::minutes(719).after(noon()), ..good };
        assert!(verify(&busy, Span::minutes(719).after(noon())).is_ok());
        assert_eq!(verify(&busy, good.ends_at).unwrap_err(), over());
        assert_eq!(verify(&WebSessionFacts { person: ben.id, ..good }, noon()).unwrap_err(), over());
        let other = parse(generate().secret.expose()).unwrap();
        assert_eq!(verify_web_session(&other, &good, Account::human(&ana), desk(), noon()).unwrap_err(), over());
        let disabled = PersonRow { state: PersonState::Disabled, ..ana.clone() };
        let refused = verify_web_session(&presented, &good, Account::human(&disabled), desk(), noon()).unwrap_err();
        assert_eq!(refused.reason, Reason::Disabled);
        assert!(parse("tg_pat_00000000000000000000000000000000").is_err());
    }
}
