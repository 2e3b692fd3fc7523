//! Bearer tokens of the API: `tg_pat_…` a person made, `tg_cli_…` of `tidegate login`, `tg_wkl_…` of a workload.
//!
//! `tg_con_…` is none of the API: it stands in the place of a password where a database's protocol asks for one, and opens
//! connections on the one grant it was made for.

use std::net::IpAddr;

use access::claims::JobClaims;
use access::identity::{Mfa, Scope, VerifiedIdentity, Via};
use access::ids::{GrantId, PrincipalId, TokenId};
use access::reason::{Reason, Refusal};
use jiff::Timestamp;

use crate::account::{Account, Proven};
use crate::opaque::{self, Issued, Verifier};

/// What made a token, and who may have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A human made it for their own programs.
    Personal,
    /// `tidegate login` keeps it.
    Cli,
    /// A workload has it.
    Workload,
    /// It opens connections on one grant, for pools and tools that connect many times.
    Connect,
}

impl TokenKind {
    /// Every one there is.
    pub const ALL: [Self; 4] = [Self::Personal, Self::Cli, Self::Workload, Self::Connect];

    /// How its tokens begin.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Personal => "tg_pat_",
            Self::Cli => "tg_cli_",
            Self::Workload => "tg_wkl_",
            Self::Connect => "tg_con_",
        }
    }

    /// Whether somebody may have such a token.
    #[must_use]
    pub fn suits(self, owner: PrincipalId) -> bool {
        match self {
            Self::Personal | Self::Cli => matches!(owner, PrincipalId::User(_)),
            Self::Workload => matches!(owner, PrincipalId::Workload(_)),
            Self::Connect => true,
        }
    }
}

/// What is kept of a token.
#[derive(Debug, Clone, Copy)]
pub struct TokenFacts<'a> {
    /// `tok_…`.
    pub id: TokenId,
    /// Whose.
    pub person: PrincipalId,
    /// SHA-256 of its text, hex: [`Verifier::as_str`].
    pub verifier: &'a str,
    /// What it may be used for.
    pub scopes: &'a [Scope],
    /// The one grant of a connect token.
    pub grant: Option<GrantId>,
    /// The job of a CI system that has it.
    pub claims: Option<&'a JobClaims>,
    /// How strongly whoever got it had proved who they are …
    pub mfa: Mfa,
    /// … when they got it.
    pub created_at: Timestamp,
    /// Until when it works.
    pub expires_at: Timestamp,
    /// Whether it was taken back.
    pub revoked: bool,
}

/// A text that has the form of a token, and the verifier to look it up by.
#[derive(Debug, Clone, PartialEq)]
pub struct PresentedToken {
    kind: TokenKind,
    verifier: Verifier,
}

impl PresentedToken {
    /// Reads what stands after `Authorization: Bearer`.
    ///
    /// # Errors
    /// [`Reason::NotSignedIn`] when it is no token of ours, without saying what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        TokenKind::ALL
            .into_iter()
            .find(|kind| text.strip_prefix(kind.prefix()).is_some_and(opaque::is_body))
            .map(|kind| Self { kind, verifier: Verifier::of(text) })
            .ok_or_else(not_valid)
    }

    /// What made it, by its own account.
    #[must_use]
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// What to look it up by.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }
}

/// One sentence for every way a token can be wrong: who presents it learns nothing from it.
fn not_valid() -> Refusal {
    Refusal::because(Reason::NotSignedIn, "this token is not valid, has run out or was revoked")
}

/// Makes a token.
#[must_use]
pub fn generate(kind: TokenKind) -> Issued {
    opaque::issue(kind.prefix())
}

/// Says who presents a token.
///
/// # Errors
/// [`Reason::NotSignedIn`] when it is not this token, has run out, was revoked or is of a kind its owner cannot have;
/// [`Reason::Disabled`] when the account may not sign in.
pub fn verify_token(
    presented: &PresentedToken,
    token: &TokenFacts<'_>,
    account: Account<'_>,
    from: IpAddr,
    now: Timestamp,
) -> Result<VerifiedIdentity, Refusal> {
    let good = presented.verifier.matches(token.verifier)
        && token.person == account.person.id
        && presented.kind.suits(token.person)
        && (presented.kind == TokenKind::Connect) == token.grant.is_some()
        && !token.revoked
        && now < token.expires_at;
    if !good {
        return Err(not_valid());
    }
    // It says nothing about a person being there now; what was proved when it was made is as old as the token.
    let proved_at = if token.mfa == Mfa::None { now } else { token.created_at.min(now) };
    let via = match token.grant {
        Some(grant) => Via::ConnectToken { token: token.id, grant },
        None => Via::Token(token.id),
    };
    let how = Proven { mfa: token.mfa, via, scopes: token.scopes.to_vec(), claims: token.claims.cloned() };
    if token.scopes == [Scope::Directory] && presented.kind == TokenKind::Workload {
        return account.proven_as_directory(how, Some(from), proved_at);
    }
    account.proven(how, Some(from), proved_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::people::*;
    use access::identity::{PersonRow, PersonState};
    use access::time::Span;
    use proptest::prelude::*;

    fn facts<'a>(person: &PersonRow, verifier: &'a Verifier, scopes: &'a [Scope]) -> TokenFacts<'a> {
        TokenFacts {
            id: TokenId::generate(noon()),
            person: person.id,
            verifier: verifier.as_str(),
            scopes,
            grant: None,
            claims: None,
            mfa: Mfa::None,
            created_at: noon(),
            expires_at: Span::hours(1).after(noon()),
            revoked: false,
        }
    }

    // covers: A9, G1
    #[test]
    fn a_token_works_until_it_runs_out_or_is_revoked_and_only_as_itself() {
        let ana = person("ana");
        let issued = generate(TokenKind::Personal);
        let good = facts(&ana, &issued.verifier, &[Scope::Read, Scope::Ask]);
        let presented = PresentedToken::parse(issued.secret.expose()).unwrap();
        let verify = |p: &PresentedToken, t: &TokenFacts<'_>, at| verify_token(p, t, Account::human(&ana), desk(), at);

        let who = verify(&presented, &good, noon()).unwrap();
        assert_eq!((who.id(), who.mfa(), who.via()), (ana.id, Mfa::None, &Via::Token(good.id)));
        assert!(who.may(Scope::Ask) && !who.may(Scope::Approve) && !who.may(Scope::Administer));

        // What a sign-in with a security key proved is as old as its token.
        let later = Span::minutes(20).after(noon());
        let strong = verify(&presented, &TokenFacts { mfa: Mfa::Verified, ..good }, later).unwrap();
        assert_eq!((strong.mfa(), strong.at()), (Mfa::Verified, noon()));
        assert_eq!(verify(&presented, &good, later).unwrap().at(), later);

        let other = PresentedToken::parse(generate(TokenKind::Personal).secret.expose()).unwrap();
        assert_eq!(verify(&other, &good, noon()).unwrap_err().reason, Reason::NotSignedIn);
        assert_eq!(verify(&presented, &TokenFacts { revoked: true, ..good }, noon()).unwrap_err(), not_valid());
        assert!(verify(&presented, &good, good.expires_at).is_err());
        let ben = person("ben");
        assert!(verify(&presented, &TokenFacts { person: ben.id, ..good }, noon()).is_err());
        let disabled = PersonRow { state: PersonState::Disabled, ..ana.clone() };
        let refused = verify_token(&presented, &good, Account::human(&disabled), desk(), noon()).unwrap_err();
        assert_eq!(refused.reason, Reason::Disabled);

        let shown = format!("{issued:?} {presented:?} {good:?}");
        assert!(!shown.contains(issued.secret.expose()), "{shown}");
    }

    // covers: WHO-4 (ssh)
    #[test]
    fn a_humans_token_is_not_a_workloads_and_the_owner_counts() {
        let ana = person("ana");
        let build = workload("build", &ana);
        let issued = generate(TokenKind::Workload);
        let token = facts(&build, &issued.verifier, &[Scope::Ask]);
        let presented = PresentedToken::parse(issued.secret.expose()).unwrap();
        assert!(verify_token(&presented, &token, Account::workload(&build, &ana), desk(), noon()).is_ok());
        let gone = PersonRow { state: PersonState::Disabled, ..ana.clone() };
        let refused = verify_token(&presented, &token, Account::workload(&build, &gone), desk(), noon()).unwrap_err();
        assert_eq!(refused.reason, Reason::Disabled);

        let personal = generate(TokenKind::Personal);
        let wrong = facts(&build, &personal.verifier, &[Scope::Ask]);
        let presented = PresentedToken::parse(personal.secret.expose()).unwrap();
        assert!(verify_token(&presented, &wrong, Account::workload(&build, &ana), desk(), noon()).is_err());
    }

    // covers: WHO-3
    #[test]
    fn a_directory_goes_on_telling_who_left_when_who_answers_for_it_has() {
        let ana = person("ana");
        let gone = PersonRow { state: PersonState::Disabled, ..ana.clone() };
        let corp = workload("corp", &ana);
        let issued = generate(TokenKind::Workload);
        let presented = PresentedToken::parse(issued.secret.expose()).unwrap();
        let verify = |scopes: &[Scope], who: &PersonRow, owner: &PersonRow| {
            let token = facts(&corp, &issued.verifier, scopes);
            verify_token(&presented, &token, Account::workload(who, owner), desk(), noon()).map_err(|no| no.reason)
        };
        let who = verify(&[Scope::Directory], &corp, &ana).unwrap();
        assert!(who.may(Scope::Directory) && Scope::OF_PEOPLE.iter().all(|scope| !who.may(*scope)));
        assert!(verify(&[Scope::Directory], &corp, &gone).is_ok());
        // Nothing but that one scope goes on, and a directory itself can be shut.
        assert_eq!(verify(&[Scope::Directory, Scope::Read], &corp, &gone), Err(Reason::Disabled));
        assert_eq!(verify(&[Scope::Ask], &corp, &gone), Err(Reason::Disabled));
        let shut = PersonRow { state: PersonState::Disabled, ..corp.clone() };
        assert_eq!(verify(&[Scope::Directory], &shut, &ana), Err(Reason::Disabled));
    }

    // covers: A9, WHO-4
    #[test]
    fn a_connect_token_is_one_only_with_its_grant_and_nothing_else_is() {
        let ana = person("ana");
        let grant = GrantId::generate(noon());
        let issued = generate(TokenKind::Connect);
        let good = TokenFacts { grant: Some(grant), ..facts(&ana, &issued.verifier, &[]) };
        let presented = PresentedToken::parse(issued.secret.expose()).unwrap();
        let who = verify_token(&presented, &good, Account::human(&ana), desk(), noon()).unwrap();
        assert_eq!(who.via(), &Via::ConnectToken { token: good.id, grant });
        assert!(Scope::ALL.iter().all(|scope| !who.may(*scope)));
        let loose = TokenFacts { grant: None, ..good };
        assert_eq!(verify_token(&presented, &loose, Account::human(&ana), desk(), noon()).unwrap_err(), not_valid());

        let personal = generate(TokenKind::Personal);
        let bound = TokenFacts { grant: Some(grant), ..facts(&ana, &personal.verifier, &[Scope::Ask]) };
        let presented = PresentedToken::parse(personal.secret.expose()).unwrap();
        assert_eq!(verify_token(&presented, &bound, Account::human(&ana), desk(), noon()).unwrap_err(), not_valid());
    }

    proptest! {
        // covers: A9
        #[test]
        fn nothing_but_what_was_issued_parses(text in "\\PC{0,60}", body in "[0-9a-z]{30,34}") {
            prop_assert!(PresentedToken::parse(&text).is_err());
            // With the beginning of one: what has another length, or a letter that none has, is none.
            let is_body = body.len() == 32 && !body.contains(['i', 'l', 'o', 'u']);
            for prefix in ["tg_pat_", "tg_cli_", "tg_wkl_", "tg_con_"] {
                let (near, far) = (format!("{prefix}{body}"), format!("{prefix}{text}"));
                prop_assert_eq!(PresentedToken::parse(&near).is_ok(), is_body, "{}", near);
                prop_assert_eq!(PresentedToken::parse(&far).is_ok(), opaque::is_body(&text), "{}", far);
            }
        }

        #[test]
        fn a_token_with_anything_changed_has_another_verifier_or_none(at in 0usize..39, to in any::<char>()) {
            let issued = generate(TokenKind::Cli);
            let mut text: Vec<char> = issued.secret.expose().chars().collect();
            prop_assume!(text[at] != to);
            text[at] = to;
            let text: String = text.into_iter().collect();
            if let Ok(presented) = PresentedToken::parse(&text) {
                prop_assert!(!presented.verifier().matches(issued.verifier.as_str()));
            }
        }
    }

    #[test]
    fn tokens_are_160_bits_and_never_the_same() {
        let mut seen = std::collections::HashSet::new();
        for kind in TokenKind::ALL {
            for _ in 0..500 {
                let issued = generate(kind);
                let text = issued.secret.expose().clone();
                assert_eq!(text.len(), kind.prefix().len() + 32);
                assert_eq!(PresentedToken::parse(&text).unwrap().kind(), kind);
                assert!(PresentedToken::parse(&text.to_uppercase()).is_err());
                assert!(PresentedToken::parse(&format!("{text} ")).is_err());
                assert!(seen.insert(text));
            }
        }
    }
}
