//! Browsers that are signed in.
//!
//! *Takes* a proven sign-in. *Proves* at each call, by the cookie, that it still stands: neither time, lock, disabling nor the loss
//! of what it was made from has ended it. *Hands to* every other verb the caller.
//!
//! The log knows the sign-in a web session is made from (an invitation spent, a token issued); the session itself is ephemeral.

use std::net::IpAddr;

use access::event::{EntryDraft, Event};
use access::identity::{Mfa, Scope, VerifiedIdentity, Via};
use access::ids::{PrincipalId, WebSessionId};
use access::reason::{Reason, Refusal};
use access::request::Door;
use access::secret::Secret;
use access::session::EndReason;
use access::time::Span;
use identity::account::Account;
use identity::web_session::{self, IDLE, LONGEST, WebSessionFacts};
use jiff::Timestamp;
use store::{Change, Scopes, WebSessionRow};

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::revoke::confirm;

/// Use is noted at most this often, so that reading a page writes nothing most of the time.
const NOTED_EVERY: Span = Span::minutes(1);
/// The longest name of a browser that is kept, in characters.
const LONGEST_AGENT: usize = 200;

/// A web session just made.
#[derive(Debug)]
pub struct OpenedWebSession {
    /// Who sits there.
    pub who: VerifiedIdentity,
    /// What is kept of it.
    pub row: WebSessionRow,
    /// The cookie; given to the browser, this once.
    pub cookie: Secret<String>,
}

impl Gate {
    /// Somebody uses an invitation in a browser: it is spent, and the browser is signed in. Exactly one of two at the same instant
    /// succeeds.
    ///
    /// # Errors
    /// [`Reason::CodeInvalid`] without saying what is wrong with the code.
    pub async fn accept_invitation_in_browser(&self, code: &str, from: IpAddr, agent: Option<String>) -> Result<OpenedWebSession, Refusal> {
        let (caller, spent) = self.spend_invitation(code, from).await?;
        let (row, cookie) = self.new_web_session(&caller.who, None, LONGEST.after(self.now()), agent)?;
        self.commit(spent.put_web_session(&row)).await.map_err(|_| Refusal::of(Reason::CodeInvalid))?;
        Ok(OpenedWebSession { who: caller.who, row, cookie })
    }

    /// Signs a browser in with a token of a person's own. The session may do what the token may, and ends with it.
    ///
    /// # Errors
    /// If the token is no good, is a machine's, or its owner is locked.
    pub async fn sign_in_browser(&self, token: &str, from: IpAddr, agent: Option<String>) -> Result<OpenedWebSession, Refusal> {
        let who = self.identify_token(token, from).await?;
        let Via::Token(token) = *who.via() else { return Err(Refusal::of(Reason::Internal)) };
        let row = self.store.token(token).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotSignedIn))?;
        let ends_at = LONGEST.after(self.now()).min(row.expires_at);
        self.open_web_session(who, ends_at, agent).await
    }

    /// Signs a browser in with any proof of who sits there, until `ends_at` at the latest.
    ///
    /// # Errors
    /// If it is a machine's, or its owner is locked.
    pub async fn open_web_session(
        &self,
        who: VerifiedIdentity,
        ends_at: Timestamp,
        agent: Option<String>,
    ) -> Result<OpenedWebSession, Refusal> {
        let token = match who.via() {
            Via::Token(token) => Some(*token),
            _ => None,
        };
        let (mut row, cookie) = self.new_web_session(&who, token, ends_at, agent)?;
        if let Some(token) = token {
            // A device's token came of a browser's sign-in, and what comes of the token ends with that as well.
            let token = self.store.token(token).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotSignedIn))?;
            (row.identity, row.sid) = (token.identity, token.sid);
        }
        self.entered(self.refuse_if_person_locked(who.id()).await.map(|()| who.clone()), from_of(&who), Door::Api).await?;
        let idle_since = self.now().checked_sub(IDLE.as_std()).unwrap_or(Timestamp::MIN);
        self.store.put_web_session(&row, idle_since).await.map_err(unavailable)?;
        Ok(OpenedWebSession { who, row, cookie })
    }

    pub(crate) fn new_web_session(
        &self,
        who: &VerifiedIdentity,
        token: Option<access::ids::TokenId>,
        ends_at: Timestamp,
        agent: Option<String>,
    ) -> Result<(WebSessionRow, Secret<String>), Refusal> {
        if matches!(who.id(), PrincipalId::Workload(_)) {
            return Err(Refusal::because(Reason::NotAllowed, "machines do not sign in to the portal; their tokens are for the API"));
        }
        let now = self.now();
        let issued = web_session::generate();
        let row = WebSessionRow {
            id: WebSessionId::generate(now),
            person: who.id(),
            verifier: issued.verifier.as_str().to_owned(),
            token,
            identity: None,
            sid: None,
            passkey: match who.via() {
                Via::Passkey(id) => Some(*id),
                _ => None,
            },
            raised_with: None,
            scopes: Scopes(Scope::ALL.iter().copied().filter(|scope| who.may(*scope)).collect()),
            mfa: who.mfa(),
            proved_at: if who.mfa() == Mfa::None { now } else { who.at() },
            address: who.from().map(|from| from.to_string()),
            agent: agent.map(|agent| agent.chars().filter(|c| !c.is_control()).take(LONGEST_AGENT).collect()),
            created_at: now,
            seen_at: now,
            ends_at: access::time::micros(ends_at),
        };
        Ok((row, issued.secret))
    }

    /// Who sits at a browser, by its cookie. `used` says whether somebody is there; what a page fetches by itself keeps no session open.
    ///
    /// # Errors
    /// If the session has ended. What ended it otherwise than by time is entered once, since the session is gone then.
    pub async fn identify_web_session(&self, cookie: &str, from: IpAddr, used: bool) -> Result<VerifiedIdentity, Refusal> {
        let presented = web_session::parse(cookie)?;
        let row = self.store.web_session_by_verifier(presented.as_str()).await.map_err(unavailable)?;
        let row = row.ok_or_else(web_session::over)?;
        let now = self.now();
        if !facts(&row).lasts(now) {
            self.forget_web_session(row.id).await;
            return Err(web_session::over());
        }
        // A browser that went elsewhere is signed in there.
        self.refuse_if_network_locked(Some(from)).await?;
        let stands = async {
            self.refuse_if_unsupported(&row).await?;
            let (person, owner) = self.account_of(row.person).await?;
            let account = match &owner {
                Some(owner) => Account::workload(&person, owner),
                None => Account::human(&person),
            };
            web_session::verify_web_session(&presented, &facts(&row), account, from, now)
        };
        match stands.await {
            Ok(who) => {
                if used && NOTED_EVERY.after(row.seen_at) <= now {
                    self.store.web_session_seen(row.id, now).await.map_err(unavailable)?;
                }
                Ok(who)
            }
            Err(refusal) if refusal.reason == Reason::StoreUnavailable => Err(refusal),
            Err(refusal) => {
                self.forget_web_session(row.id).await;
                self.entered(Err(refusal), from, Door::Api).await
            }
        }
    }

    /// Which browser a cookie is of, if it was signed in and is not forgotten.
    pub async fn known_web_session(&self, cookie: &str) -> Option<WebSessionId> {
        let presented = web_session::parse(cookie).ok()?;
        self.store.web_session_by_verifier(presented.as_str()).await.ok().flatten().map(|row| row.id)
    }

    /// Whether a web session still stands.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn web_session_stands(&self, id: WebSessionId) -> Result<bool, Refusal> {
        let Some(row) = self.store.web_session(id).await.map_err(unavailable)? else { return Ok(false) };
        if !facts(&row).lasts(self.now()) {
            return Ok(false);
        }
        match self.refuse_if_unsupported(&row).await {
            Ok(()) => Ok(true),
            Err(refusal) if refusal.reason == Reason::StoreUnavailable => Err(refusal),
            Err(_) => Ok(false),
        }
    }

    /// Refused if what a web session stands on is gone: its token, or its person's freedom.
    async fn refuse_if_unsupported(&self, row: &WebSessionRow) -> Result<(), Refusal> {
        if let Some(id) = row.token {
            let token = self.store.token(id).await.map_err(unavailable)?;
            if !token.is_some_and(|token| token.revoked_at.is_none() && token.expires_at > self.now()) {
                return Err(Refusal::because(Reason::NotSignedIn, "the token this browser was signed in with was revoked or has run out"));
            }
        }
        if let Some(id) = row.passkey {
            let passkey = self.store.passkey(id).await.map_err(unavailable)?;
            if passkey.is_none_or(|passkey| passkey.removed_at.is_some()) {
                return Err(Refusal::because(Reason::NotSignedIn, "the passkey this browser was signed in with was removed"));
            }
        }
        self.refuse_if_person_locked(row.person).await
    }

    /// The browsers a person is signed in with now, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn web_sessions(&self, caller: &Caller) -> Result<Vec<WebSessionRow>, Refusal> {
        let now = self.now();
        let rows = self.store.web_sessions_of(caller.who.id()).await.map_err(unavailable)?;
        Ok(rows.into_iter().filter(|row| facts(row).lasts(now)).collect())
    }

    /// Ends a web session of the caller's own.
    ///
    /// # Errors
    /// If there is none of theirs by that id.
    pub async fn end_web_session(&self, caller: &Caller, id: WebSessionId) -> Result<WebSessionRow, Refusal> {
        let row = self.store.web_session(id).await.map_err(unavailable)?;
        let row = row.filter(|row| row.person == caller.who.id()).ok_or_else(|| Refusal::of(Reason::NotFound))?;
        self.end_browser(&row, |event| self.draft(caller, event)).await?;
        Ok(row)
    }

    async fn end_browser(&self, row: &WebSessionRow, entered: impl Fn(Event) -> EntryDraft) -> Result<(), Refusal> {
        // What was asked for in it goes first, so that it can be ended again if that fails.
        let ended = self.certificates_made_with(row.person, &Via::WebSession(row.id)).await?;
        let mut removed = ended.iter().map(|key| entered(Event::KeyRemoved { key: *key }));
        if let Some(first) = removed.next() {
            self.commit(Change::new(first).and_all(removed)).await.map_err(refused)?;
        }
        self.store.end_web_session(row.id).await.map_err(unavailable)?;
        let with_it = |via: &Via| matches!(via, Via::LoginCertificate(key) | Via::ClientCertificate(key) if ended.contains(key));
        confirm(self.live.cut(EndReason::Revoked, |live| with_it(&live.via))).await;
        confirm(self.cut_let_in_by(&[row.id])).await;
        Ok(())
    }

    /// Somebody signed in in a browser that was signed in before, as whoever that was: that sign-in ends, with what it let in.
    ///
    /// # Errors
    /// If it could not be ended.
    pub async fn end_former_web_session(&self, former: Option<WebSessionId>) -> Result<(), Refusal> {
        let Some(former) = former else { return Ok(()) };
        match self.store.web_session(former).await.map_err(unavailable)? {
            Some(row) => self.end_browser(&row, |event| self.own_draft(event)).await,
            None => Ok(()),
        }
    }

    async fn forget_web_session(&self, id: WebSessionId) {
        if let Err(error) = self.store.end_web_session(id).await {
            tracing::warn!(%error, "a web session that has ended could not be forgotten; it stays refused");
        }
    }

    /// Signs a person's browsers out. Each of them is refused by the lock or the disabling itself, too.
    pub(crate) async fn forget_web_sessions(&self, person: PrincipalId) {
        if let Err(error) = self.store.end_web_sessions_of(person).await {
            tracing::warn!(%error, "web sessions could not be forgotten; each is refused when it is used");
        }
    }
}

fn from_of(who: &VerifiedIdentity) -> IpAddr {
    who.from().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
}

fn facts(row: &WebSessionRow) -> WebSessionFacts<'_> {
    WebSessionFacts {
        id: row.id,
        person: row.person,
        verifier: &row.verifier,
        scopes: &row.scopes.0,
        mfa: row.mfa,
        proved_at: row.proved_at,
        seen_at: row.seen_at,
        ends_at: row.ends_at,
    }
}
