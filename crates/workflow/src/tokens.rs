//! Bearer tokens: made for oneself or a workload, and revoked with what was opened with them.

use access::event::{EntryDraft, Event};
use access::identity::{Mfa, Scope, Via};
use access::ids::{GrantId, PrincipalId, TokenId};
use access::reason::{Reason, Refusal};
use access::row::Row as _;
use access::secret::Secret;
use access::session::EndReason;
use access::time::Span;
use identity::token;
use policy::{Act, Noun, Object};
use store::{Change, CommitError, Scopes, TokenRow};

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::open::TRIES;
use crate::people::{LOGIN_VALID, LONGEST_NAME, refuse_job, unseen};
use crate::revoke::confirm;
use crate::submit::fits;

/// The longest life of a token.
pub const TOKEN_LONGEST: Span = Span::hours(24 * 366);

/// A token just made.
#[derive(Debug)]
pub struct IssuedToken {
    /// What is kept of it.
    pub row: TokenRow,
    /// The token; shown once.
    pub token: Secret<String>,
}

impl Gate {
    /// Makes a bearer token: for oneself with at most the scopes one has, or, by an administrator, for a workload.
    ///
    /// # Errors
    /// If it would be wider or longer than allowed, or the caller may not.
    pub async fn issue_token(
        &self,
        caller: &Caller,
        person: PrincipalId,
        scopes: Vec<Scope>,
        valid: Span,
        label: Option<String>,
    ) -> Result<IssuedToken, Refusal> {
        refuse_job(caller)?;
        if person != caller.who.id() {
            self.authorize(caller, Act::Administer(Noun::Token), &Object::Nothing).await?;
            if matches!(person, PrincipalId::User(_)) {
                return Err(Refusal::because(Reason::NotAllowed, "people make their own tokens"));
            }
            self.situation_of(person).await?;
        } else if let Some(scope) = scopes.iter().find(|scope| !caller.who.may(**scope)) {
            return Err(Refusal::because(Reason::ScopeMissing, format!("you are signed in without `{scope}` yourself")));
        }
        if scopes.contains(&Scope::Directory) {
            return Err(Refusal::because(
                Reason::Invalid,
                "a token for a directory is made with `tidegate directory token`, and is for nothing else",
            ));
        }
        if scopes.is_empty() || valid == Span::default() || valid > TOKEN_LONGEST {
            return Err(Refusal::because(
                Reason::Invalid,
                format!("a token needs at least one scope and a life of at most {TOKEN_LONGEST}"),
            ));
        }
        fits("a label", label.as_deref(), LONGEST_NAME)?;
        let (row, token) = self.new_token(person, scopes, None, valid, Mfa::None, label);
        let row = TokenRow { made_by: caller.who.id(), ..row };
        let change = Change::new(self.token_issued(caller, &row)?).put_token(&row);
        self.commit(change).await.map_err(refused)?;
        Ok(IssuedToken { row, token })
    }

    /// The token of somebody who just signed in: worth as much as the proof they signed in with, as of now.
    pub(crate) async fn issue_sign_in_token(&self, caller: &Caller, label: &str) -> Result<IssuedToken, Refusal> {
        let (row, token) =
            self.new_token(caller.who.id(), Scope::OF_PEOPLE.to_vec(), None, LOGIN_VALID, caller.who.mfa(), Some(label.to_owned()));
        let change = Change::new(self.token_issued(caller, &row)?).put_token(&row);
        self.commit(change).await.map_err(refused)?;
        Ok(IssuedToken { row, token })
    }

    pub(crate) fn new_token(
        &self,
        person: PrincipalId,
        scopes: Vec<Scope>,
        grant: Option<GrantId>,
        valid: Span,
        mfa: Mfa,
        label: Option<String>,
    ) -> (TokenRow, Secret<String>) {
        let now = self.now();
        let kind = match (grant, person) {
            (Some(_), _) => token::TokenKind::Connect,
            (None, PrincipalId::User(_)) => token::TokenKind::Personal,
            (None, PrincipalId::Workload(_)) => token::TokenKind::Workload,
        };
        let issued = token::generate(kind);
        let row = TokenRow {
            id: TokenId::generate(now),
            person,
            made_by: person,
            verifier: issued.verifier.as_str().to_owned(),
            scopes: Scopes(scopes),
            grant,
            mfa,
            claims: None,
            assertion: None,
            identity: None,
            sid: None,
            label,
            created_at: now,
            expires_at: valid.after(now),
            revoked_at: None,
        };
        (row, issued.secret)
    }

    pub(crate) fn token_issued(&self, caller: &Caller, row: &TokenRow) -> Result<EntryDraft, Refusal> {
        let event = Event::TokenIssued {
            token: row.id,
            person: row.person,
            scopes: row.scopes.0.clone(),
            grant: row.grant,
            expires_at: row.expires_at,
            row_digest: self.row_digest(&store::digestible(row))?,
        };
        Ok(self.draft(caller, event).text("label", row.label.clone()))
    }

    /// A token no longer works; what was opened with it is cut.
    ///
    /// # Errors
    /// If there is none, or it is not the caller's and they may not.
    pub async fn revoke_token(&self, caller: &Caller, id: TokenId) -> Result<TokenRow, Refusal> {
        for _ in 0..TRIES {
            let row = self.store.token(id).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
            // INVARIANT: a token of one job of a workload is no other job's.
            if row.person != caller.who.id() || row.claims.as_ref() != caller.who.claims() {
                self.authorize(caller, Act::Administer(Noun::Token), &Object::Nothing).await.map_err(unseen)?;
            }
            if row.revoked_at.is_some() {
                return Err(Refusal::of(Reason::AlreadyDecided));
            }
            let row = TokenRow { revoked_at: Some(self.now()), ..row };
            let event = Event::TokenRevoked { token: id, row_digest: self.row_digest(&store::digestible(&row))? };
            let change = Change::new(self.draft(caller, event)).revoke_token(&row);
            // INVARIANT: a certificate outlives no token that it was asked for with, neither in time nor by its being taken away.
            let ended = self.certificates_made_with(row.person, &Via::Token(id)).await?;
            let change = change.and_all(ended.iter().map(|key| self.draft(caller, Event::KeyRemoved { key: *key })));
            let browsers = self.store.web_sessions_of(row.person).await.map_err(unavailable)?;
            let browsers: Vec<_> = browsers.into_iter().filter(|browser| browser.token == Some(id)).map(|browser| browser.id).collect();
            match self.commit(change).await {
                Ok(_) => {}
                // Its label was erased since it was read, or somebody else revoked it.
                Err(CommitError::Conflict { table: TokenRow::TABLE, .. }) => continue,
                Err(error) => return Err(refused(error)),
            }
            let with_it = |via: &Via| match via {
                Via::Token(token) | Via::ConnectToken { token, .. } => *token == id,
                Via::LoginCertificate(key) | Via::ClientCertificate(key) => ended.contains(key),
                _ => false,
            };
            confirm(self.live.cut(EndReason::Revoked, |live| with_it(&live.via))).await;
            confirm(self.cut_let_in_by(&browsers)).await;
            return Ok(row);
        }
        Err(Refusal::of(Reason::AlreadyDecided))
    }
}
