//! Who is here, by key, certificate or token.
//!
//! *Takes* what somebody proved to hold. *Proves* with a `VerifiedIdentity` who they are. *Hands to* every other verb the caller.

use std::net::IpAddr;
use std::sync::PoisonError;

use access::event::{Actor, EntryDraft, Event};
use access::identity::{KeyState, PersonRow, VerifiedIdentity};
use access::ids::PrincipalId;
use access::reason::{Reason, Refusal};
use access::request::Door;
use identity::account::Account;
use identity::login_ca::{self, CertificateProof, TrustedCa};
use identity::ssh_key::KeyProof;
use identity::token::{self, PresentedToken, TokenFacts, TokenKind};
use store::Change;

use crate::Caller;
use crate::gate::{Gate, unavailable};
use crate::tokens::IssuedToken;

/// A person and the human who answers for them, if they are a workload.
pub(crate) struct Known {
    person: PersonRow,
    owner: Option<PersonRow>,
}

impl Known {
    pub(crate) fn account(&self) -> Account<'_> {
        match &self.owner {
            Some(owner) => Account::workload(&self.person, owner),
            None => Account::human(&self.person),
        }
    }
}

impl Gate {
    /// Whether a key could sign somebody in; says nothing about whose it is.
    pub async fn knows_key(&self, fingerprint: &str) -> bool {
        matches!(self.store.active_key(fingerprint).await, Ok(Some(key)) if key.state == KeyState::Active)
    }

    /// Who holds a key that signed.
    ///
    /// # Errors
    /// The refusal, for the log; whoever knocks is only told no.
    pub async fn identify_key(&self, proof: &KeyProof, from: IpAddr, door: Door) -> Result<VerifiedIdentity, Refusal> {
        let found = async {
            let key = self.store.active_key(&proof.fingerprint()).await.map_err(unavailable)?;
            let key = key.ok_or_else(|| Refusal::because(Reason::NotSignedIn, "this key is not registered"))?;
            let known = self.known(key.person).await?;
            identity::ssh_key::verify_key(proof, &key, known.account(), from, self.now())
        };
        self.entered(found.await, from, door).await
    }

    /// Who holds a login certificate whose key signed.
    ///
    /// # Errors
    /// The refusal, for the log; whoever knocks is only told no.
    pub async fn identify_certificate(&self, proof: &CertificateProof, from: IpAddr, door: Door) -> Result<VerifiedIdentity, Refusal> {
        let found = async {
            let no = || Refusal::because(Reason::NotSignedIn, "this is no login certificate of this gate");
            let (person, key) = login_ca::claims(proof.certificate()).ok_or_else(no)?;
            let key = self.store.key(key).await.map_err(unavailable)?.ok_or_else(no)?;
            let known = self.known(person).await?;
            let trusted: Vec<TrustedCa> =
                self.keyring().login_cas().into_iter().map(|(key, retired_at)| TrustedCa { key, retired_at }).collect();
            login_ca::verify_certificate(proof, &trusted, &key, known.account(), from, self.now())
        };
        self.entered(found.await, from, door).await
    }

    /// Whether a bearer token was ever issued; says nothing about whose it is, nor whether it still works.
    pub async fn knows_token(&self, bearer: &str) -> bool {
        let Ok(presented) = PresentedToken::parse(bearer) else { return false };
        matches!(self.store.token_by_verifier(presented.verifier().as_str()).await, Ok(Some(_)))
    }

    /// Who presents a bearer token.
    ///
    /// # Errors
    /// The refusal; it does not say what is wrong with the token.
    pub async fn identify_token(&self, bearer: &str, from: IpAddr) -> Result<VerifiedIdentity, Refusal> {
        self.identify_token_at(bearer, from, Door::Api).await
    }

    /// Who presents a token at a door that asks for a password.
    ///
    /// # Errors
    /// The refusal; it does not say what is wrong with the token.
    pub async fn identify_token_at(&self, bearer: &str, from: IpAddr, door: Door) -> Result<VerifiedIdentity, Refusal> {
        let found = async {
            let presented = PresentedToken::parse(bearer)?;
            if presented.kind() == TokenKind::Connect && !asks_for_password(door) {
                return Err(Refusal::because(
                    Reason::NotSignedIn,
                    "a connect token stands for a password at a database, and is nothing here",
                ));
            }
            let row = self.store.token_by_verifier(presented.verifier().as_str()).await.map_err(unavailable)?;
            let row = row.ok_or_else(|| Refusal::because(Reason::NotSignedIn, "this token is not valid, has run out or was revoked"))?;
            let known = self.known(row.person).await?;
            let facts = TokenFacts {
                id: row.id,
                person: row.person,
                verifier: &row.verifier,
                scopes: &row.scopes.0,
                grant: row.grant,
                claims: row.claims.as_ref(),
                mfa: row.mfa,
                created_at: row.created_at,
                expires_at: row.expires_at,
                revoked: row.revoked_at.is_some(),
            };
            token::verify_token(&presented, &facts, known.account(), from, self.now())
        };
        self.entered(found.await, from, door).await
    }

    /// A challenge that a registered key answers by signing, once and soon; for somebody at this address.
    pub fn challenge(&self, from: IpAddr) -> String {
        self.challenges.lock().unwrap_or_else(PoisonError::into_inner).issue(from, self.now())
    }

    /// Somebody answers a challenge with a signature of a key they registered, and gets a token. `gate` is the address that was signed.
    ///
    /// # Errors
    /// If the challenge is unknown, used or too old, or the signature is not of a registered key over it.
    pub async fn sign_in_with_key(
        &self,
        gate: &str,
        nonce: &str,
        signature: &str,
        from: IpAddr,
    ) -> Result<(VerifiedIdentity, IssuedToken), Refusal> {
        let answered = {
            let mut challenges = self.challenges.lock().unwrap_or_else(PoisonError::into_inner);
            challenges.answered(gate, nonce, signature, self.now())
        };
        let who = match answered {
            Ok(proof) => self.identify_key(&proof, from, Door::Api).await?,
            Err(refusal) => self.entered(Err(refusal), from, Door::Api).await?,
        };
        let caller = Caller { who: who.clone(), door: Door::Api };
        let token = self.issue_sign_in_token(&caller, "sign-in by key").await?;
        Ok((who, token))
    }

    pub(crate) async fn account_of(&self, id: PrincipalId) -> Result<(PersonRow, Option<PersonRow>), Refusal> {
        let Known { person, owner } = self.known(id).await?;
        Ok((person, owner))
    }

    pub(crate) async fn known(&self, id: PrincipalId) -> Result<Known, Refusal> {
        let person = self.store.person(id).await.map_err(unavailable)?;
        let person = person.ok_or_else(|| Refusal::because(Reason::NotSignedIn, "nobody by this name is known"))?;
        let owner = match person.owner {
            Some(owner) => self.store.person(owner.into()).await.map_err(unavailable)?,
            None => None,
        };
        Ok(Known { person, owner })
    }

    /// Enters a refused sign-in.
    pub(crate) async fn entered(
        &self,
        found: Result<VerifiedIdentity, Refusal>,
        from: IpAddr,
        door: Door,
    ) -> Result<VerifiedIdentity, Refusal> {
        let found = match found {
            // INVARIANT: a lock on somebody shuts the API to them, whatever they sign in with: what they made there would outlive it. At
            // the doors of targets they are told so when they knock.
            Ok(who) if door == Door::Api => match self.refuse_if_network_locked(Some(from)).await {
                Ok(()) => self.refuse_if_person_locked(who.id()).await.map(|()| who),
                Err(refusal) => Err(refusal),
            },
            found => found,
        };
        // Over SSH one connection shows several keys and certificates, one after the other; its door says how it ended.
        if let Err(refusal) = &found
            && door != Door::Ssh
        {
            self.enter_sign_in_refused(refusal, from, door).await;
        }
        found
    }

    /// Enters that somebody tried to sign in and was refused.
    pub async fn enter_sign_in_refused(&self, refusal: &Refusal, from: IpAddr, door: Door) {
        if refusal.reason != Reason::StoreUnavailable {
            let draft = EntryDraft::new(self.now(), Actor::Unknown, door, Event::SigninRefused { door, reason: refusal.reason })
                .text("from", Some(from.to_string()))
                .text("detail", refusal.detail.clone());
            if let Err(error) = self.commit(Change::new(draft)).await {
                tracing::error!(%error, "a refused sign-in could not be entered; it stays refused");
            }
        }
    }
}

/// Whether the protocol of a door asks for a password, in whose place a connect token stands.
fn asks_for_password(door: Door) -> bool {
    match door {
        Door::Postgres | Door::Mysql => true,
        Door::Ssh | Door::Api | Door::Chat | Door::Mail | Door::Socket | Door::Gate => false,
    }
}
