//! Somebody, or a machine, is contained: in one go everything of theirs is shut.
//!
//! *Takes* a person or a resource, a reason, and the proof of who orders it. *Proves* that they may, and are not themselves meant. *Hands to*
//! live sessions the cut, to the log a lock that is lifted by [`Gate::release`] alone, and to whoever ordered it how long it took until the
//! last session was seen to end at its target.

use std::collections::{BTreeMap, BTreeSet};

use access::chat::ChatAccountRow;
use access::event::{EntryDraft, Event};
use access::identity::{KeyState, PersonState};
use access::ids::{GrantId, LockId, PrincipalId, RequestId, SessionId};
use access::lock::{LockRow, LockScope, LockState};
use access::reason::{Reason, Refusal};
use access::session::EndReason;
use access::time::Span;
use policy::{Act, Noun, Object};
use store::{Change, InvitationRow, PasskeyRow, TokenRow};
use tokio::time::Instant;

use crate::Caller;
use crate::decide::denied;
use crate::gate::{Gate, refused, unavailable};
use crate::live::Gone;
use crate::open::TRIES;
use crate::revoke::{Cut, confirm};
use crate::seen::AsSeen;
use crate::submit::{LONGEST_TEXT, fits};

/// Passkeys that were added within this time are named to whoever contains somebody.
const NEW_PASSKEYS: Span = Span::hours(30 * 24);

/// What a containment did.
#[derive(Debug, Clone, PartialEq)]
pub struct Contained {
    /// The lock that holds it.
    pub lock: LockRow,
    /// Whether it held already; then only what was left over was taken away.
    pub already: bool,
    /// What became of sessions.
    pub cut: Cut,
    /// Requests that were denied.
    pub requests: Vec<RequestId>,
    /// Grants that were revoked, those without an end too.
    pub grants: Vec<GrantId>,
    /// Tokens, keys, certificates, accounts at chat services, mailboxes and invitations that no longer work.
    pub credentials: u64,
    /// Passkeys that were added within the last 30 days. They stay; whoever knows that one is not its owner's removes it.
    pub passkeys: Vec<PasskeyRow>,
    /// Browsers that were signed out.
    pub browsers: u64,
    /// From the call to the last end that was seen at a target; if an end was not seen, to where waiting for it was given up.
    pub took: std::time::Duration,
}

impl Gate {
    /// Contains a person or machine everywhere, or a resource for everybody: locks it, cuts every session in its scope, denies what waits,
    /// revokes every grant, and makes of a person's tokens, keys, browsers, chat accounts, mailboxes and invitations nothing. Done again, it takes away what is left over.
    ///
    /// # Errors
    /// If the caller may not, is meant themselves, gives no reason, or there is nothing by that name. If the store goes
    /// away once it is known that the caller may, sessions are cut all the same, and the error says so.
    pub async fn contain(&self, caller: &Caller, scope: LockScope, reason: &str) -> Result<Contained, Refusal> {
        let ordered = Instant::now();
        self.authorize(caller, Act::Administer(Noun::Containment), &Object::Nothing).await?;
        let reason = said(reason)?;
        self.refuse_scope(caller, &scope).await?;
        // 1. What is open is cut. INVARIANT: closing does not wait for the store.
        let mut gone: BTreeMap<SessionId, Gone> = self.cut_in(&scope, &BTreeSet::new()).into_iter().collect();
        // 2. Nothing new opens from here on; what opened meanwhile is cut too.
        let held = self.contained(&scope).await;
        let already = matches!(held, Ok(Some(_)));
        let locked = match held {
            Ok(Some(lock)) => Ok(lock),
            Ok(None) => self.lock_to_contain(caller, &scope, reason).await,
            Err(refusal) => Err(refusal),
        };
        let (people, reads) = self.people_in(&scope).await;
        gone.extend(self.cut_in(&scope, &people));
        let gone: Vec<(SessionId, Gone)> = gone.into_iter().collect();
        let lock = match (locked, reads) {
            (Ok(lock), Ok(())) => lock,
            (Err(refusal), _) | (_, Err(refusal)) => return Err(halfway(&confirm(gone).await, &refusal)),
        };
        // 3. What could open it again is taken away, while the targets close.
        let signed_out = self.sign_out(&people).await;
        let cut = async {
            let cut = confirm(gone).await;
            (cut, ordered.elapsed())
        };
        let ((cut, took), taken) = tokio::join!(cut, self.take_away(caller, &scope, &people, reason));
        // What could be taken away counts from here on, however much that is.
        self.redecide_all().await;
        let ((requests, grants, credentials, passkeys), browsers) = match (taken, signed_out) {
            (Ok(taken), Ok(browsers)) => (taken, browsers),
            (Err(refusal), _) | (_, Err(refusal)) => return Err(halfway(&cut, &refusal)),
        };
        // 4. How it went.
        self.timings.contained.took(took);
        let count = |n: usize| n as u64;
        let reached = Event::ContainmentReached {
            lock: lock.id,
            sessions: count(cut.confirmed.len()),
            unconfirmed: count(cut.unconfirmed.len()),
            requests: count(requests.len()),
            grants: count(grants.len()),
            credentials,
            browsers,
            took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        };
        self.commit(Change::new(self.draft(caller, reached))).await.map_err(refused)?;
        Ok(Contained { lock, already, cut, requests, grants, credentials, passkeys, browsers, took })
    }

    /// Lifts a containment. Nothing that was taken away comes back by that: it is asked for anew.
    ///
    /// # Errors
    /// If the caller may not, gives no reason, or it is lifted already.
    pub async fn release(&self, caller: &Caller, lock: impl Into<AsSeen<LockId>>, reason: &str) -> Result<LockRow, Refusal> {
        let AsSeen { id: lock, seen } = lock.into();
        self.authorize(caller, Act::Administer(Noun::Containment), &Object::Nothing).await?;
        let reason = said(reason)?;
        let row = self.store.lock(lock).await.map_err(unavailable)?.filter(|row| row.contains);
        let row = row.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        seen.is(row.version)?;
        let change = Change::new(self.draft(caller, Event::LockLifted { lock }).text("note", Some(reason))).expect(&row);
        let committed = self.commit_seen(change, &row, &seen).await?;
        committed.rows.locks.into_values().next().ok_or_else(|| Refusal::of(Reason::NotFound))
    }

    async fn refuse_scope(&self, caller: &Caller, scope: &LockScope) -> Result<(), Refusal> {
        match scope {
            LockScope::Person(person) if *person == caller.who.id() => {
                let why = "nobody contains themselves: nobody would be left to say how it went; another one who may does it for you";
                Err(self
                    .enter_action_refused(caller, "administer:containment", scope.to_string(), Refusal::because(Reason::Invalid, why))
                    .await)
            }
            LockScope::Person(person) => match self.store.person(*person).await.map_err(unavailable)? {
                Some(_) => Ok(()),
                None => Err(Refusal::because(Reason::NotFound, format!("`{scope}`"))),
            },
            LockScope::Resource(name) if self.bundle.load().resource(name).is_some() => Ok(()),
            LockScope::Resource(_) => Err(Refusal::because(Reason::NotFound, format!("`{scope}`"))),
            LockScope::Role(_) | LockScope::Network(_) => Err(Refusal::because(
                Reason::Invalid,
                "a person, machine or resource is contained; lock a role or network with `tidegate lock set`",
            )),
        }
    }

    /// Cuts, from memory, what lives in a scope, and of these people.
    fn cut_in(&self, scope: &LockScope, people: &BTreeSet<PrincipalId>) -> Vec<(SessionId, Gone)> {
        self.live.cut(EndReason::Locked, |live| scope.covers(live.person, &live.role, &live.resource) || people.contains(&live.person))
    }

    /// The lock that contains this already.
    async fn contained(&self, scope: &LockScope) -> Result<Option<LockRow>, Refusal> {
        let locks = self.store.holding_locks(self.now()).await.map_err(unavailable)?;
        Ok(locks.into_iter().find(|lock| lock.contains && lock.state == LockState::Set && lock.scope == *scope))
    }

    async fn lock_to_contain(&self, caller: &Caller, scope: &LockScope, reason: &str) -> Result<LockRow, Refusal> {
        let event = Event::LockSet {
            lock: LockId::generate(self.now()),
            scope: scope.clone(),
            until: None,
            contains: true,
            transmitter: None,
            sessions: Vec::new(),
        };
        let committed = self.commit(Change::new(self.draft(caller, event).text("reason", Some(reason)))).await.map_err(refused)?;
        committed.rows.locks.into_values().next().ok_or_else(|| Refusal::of(Reason::Internal))
    }

    /// Whom a scope is about: a person, and the machines they answer for. That they can't be read is said beside who is meant at least.
    async fn people_in(&self, scope: &LockScope) -> (BTreeSet<PrincipalId>, Result<(), Refusal>) {
        let LockScope::Person(person) = scope else { return (BTreeSet::new(), Ok(())) };
        let mut people = BTreeSet::from([*person]);
        let PrincipalId::User(owner) = person else { return (people, Ok(())) };
        match self.store.workloads_of(*owner).await {
            Ok(workloads) => {
                people.extend(workloads.into_iter().filter(|row| row.state == PersonState::Active).map(|row| row.id));
                (people, Ok(()))
            }
            Err(error) => (people, Err(unavailable(error))),
        }
    }

    /// Signs their browsers out; says how many were.
    async fn sign_out(&self, people: &BTreeSet<PrincipalId>) -> Result<u64, Refusal> {
        let mut browsers = Ok(0);
        for person in people {
            // That one's can't be reached keeps no other's in.
            let ended = self.store.end_web_sessions_of(*person).await.map_err(unavailable);
            browsers = browsers.and_then(|so_far: u64| Ok(so_far + ended?));
        }
        browsers
    }

    /// Denies what waits, revokes what is granted, and removes what signs them in.
    async fn take_away(
        &self,
        caller: &Caller,
        scope: &LockScope,
        people: &BTreeSet<PrincipalId>,
        reason: &str,
    ) -> Result<(Vec<RequestId>, Vec<GrantId>, u64, Vec<PasskeyRow>), Refusal> {
        let concerns = |person: &PrincipalId, resource: &access::names::ResourceName| match scope {
            LockScope::Resource(name) => name == resource,
            _ => people.contains(person),
        };
        let mut requests = Vec::new();
        for row in self.store.pending_requests().await.map_err(unavailable)? {
            if concerns(&row.person, &row.resource) {
                let draft = self.draft(caller, denied(row.id, &Reason::Locked.into())).text("detail", Some(format!("contained: {reason}")));
                if self.enter_unless_over(Change::new(draft)).await? {
                    requests.push(row.id);
                }
            }
        }
        let mut grants = Vec::new();
        for row in self.store.open_grants().await.map_err(unavailable)? {
            if concerns(&row.person, &row.resource) {
                let draft = self.draft(caller, Event::GrantRevoked { grant: row.id, still_open: Vec::new() }).text("reason", Some(reason));
                if self.enter_unless_over(Change::new(draft)).await? {
                    grants.push(row.id);
                }
            }
        }
        let (mut credentials, mut passkeys) = (0, Vec::new());
        for person in people {
            for row in self.store.tokens_of(*person).await.map_err(unavailable)? {
                credentials += u64::from(self.take_token(caller, row).await?);
            }
            for row in self.store.keys_of(*person).await.map_err(unavailable)? {
                if row.state == KeyState::Active {
                    let draft: EntryDraft = self.draft(caller, Event::KeyRemoved { key: row.id });
                    credentials += u64::from(self.enter_unless_over(Change::new(draft)).await?);
                }
            }
            // They speak in their name, and would do so again once this is lifted.
            for row in self.store.chat_accounts_of(*person).await.map_err(unavailable)?.into_iter().filter(ChatAccountRow::counts) {
                let draft = self.draft(caller, Event::ChatAccountRemoved { chat_account: row.id, person: row.person });
                credentials += u64::from(self.enter_unless_over(Change::new(draft)).await?);
            }
            for row in self.store.invitations_of(*person).await.map_err(unavailable)? {
                if row.used_at.is_none() && row.expires_at > self.now() {
                    let row = InvitationRow { used_at: Some(self.now()), ..row };
                    let event = Event::InvitationVoided { person: row.person, row_digest: self.row_digest(&store::digestible(&row))? };
                    credentials += u64::from(self.enter_unless_over(Change::new(self.draft(caller, event)).use_invitation(&row)).await?);
                }
            }
            let new = self.store.passkeys_of(*person).await.map_err(unavailable)?;
            passkeys.extend(new.into_iter().filter(|row| NEW_PASSKEYS.after(row.added_at) > self.now()));
        }
        Ok((requests, grants, credentials, passkeys))
    }

    /// Revokes a token; says whether it could still be used. Read again if it is called differently by now.
    async fn take_token(&self, caller: &Caller, mut row: TokenRow) -> Result<bool, Refusal> {
        for _ in 0..TRIES {
            if row.revoked_at.is_some() || row.expires_at <= self.now() {
                return Ok(false);
            }
            row.revoked_at = Some(self.now());
            let event = Event::TokenRevoked { token: row.id, row_digest: self.row_digest(&store::digestible(&row))? };
            if self.enter_unless_over(Change::new(self.draft(caller, event)).revoke_token(&row)).await? {
                return Ok(true);
            }
            row = self.store.token(row.id).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        }
        Err(Refusal::of(Reason::StoreUnavailable))
    }

    /// Enters a change, unless somebody else was faster and what it ends is over. Whether it was entered.
    pub(crate) async fn enter_unless_over(&self, change: Change) -> Result<bool, Refusal> {
        match self.commit(change).await.map_err(refused) {
            Ok(_) => Ok(true),
            Err(refusal) if refusal.reason == Reason::AlreadyDecided => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }
}

/// What is said when not everything could be taken away: the sessions are cut whatever became of the rest.
fn halfway(cut: &Cut, refusal: &Refusal) -> Refusal {
    let sessions = cut.confirmed.len() + cut.unconfirmed.len();
    let why = format!("{sessions} sessions were cut, but not all of it is entered, so order it again: {refusal}");
    Refusal::because(refusal.reason, why)
}

/// The reason, which has to be given.
fn said(reason: &str) -> Result<&str, Refusal> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(Refusal::because(Reason::ReasonRequired, "say why: whoever looks at it later reads it"));
    }
    fits("a reason", Some(reason), LONGEST_TEXT)?;
    Ok(reason)
}
