//! Somebody stands at the door of a resource.
//!
//! *Takes* the proof of who, and a resource and role. *Proves* that one grant of theirs is open now, by policy and locks as they are
//! now. *Hands to* the proxy a `SessionPermit`, its watch and its recording, once the opening is in the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use access::event::Event;
use access::grant::{Grant, GrantRow, GrantState};
use access::identity::{KeyState, Scope, Via};
use access::ids::{GrantId, RecordingId, SessionId};
use access::limits::Limits;
use access::names::{ResourceName, RoleName};
use access::reason::{Reason, Refusal};
use access::session::{ClosedSession, EndReason, Protocol, RecordingTerms, SessionFacts, SessionPermit, Standing, Traffic};
use evidence::recording::RecordingHandle;
use policy::Situation;
use store::{Change, CommitError};
use tokio::sync::watch;

use crate::Caller;
use crate::activate::is_for;
use crate::gate::{Gate, refused, unavailable};
use crate::live::{Relayed, ToWatch};

/// An open session: everything its relay holds.
#[derive(Debug)]
pub struct Opened {
    /// The right to dial, once.
    pub permit: SessionPermit,
    /// When to warn, when to cut.
    pub standing: watch::Receiver<Standing>,
    /// The newest thing its user is to be told.
    pub told: watch::Receiver<Option<Arc<str>>>,
    /// Where its relay counts what it moves.
    pub traffic: Arc<Traffic>,
    /// Whether the grant may be made longer at all: no emergency, and with an end.
    pub may_last_longer: bool,
    /// Where everything goes first.
    pub recording: RecordingHandle,
}

/// How often an opening or asking that raced a change of a grant is tried again.
pub(crate) const TRIES: usize = 5;

impl Gate {
    /// Opens a session on one of the caller's grants, starting the grant's clock if this is its first use.
    ///
    /// # Errors
    /// [`Reason::NoPath`] without detail if the caller has no grant for this (then one may ask); any other reason is final and in the log.
    pub async fn open(&self, caller: &Caller, resource: &ResourceName, role: &RoleName, protocol: Protocol) -> Result<Opened, Refusal> {
        self.open_within(caller, resource, role, &Limits::default(), protocol).await
    }

    /// The same for who renounces something for this session: it opens on a grant that allows all that is left, and allows no more.
    ///
    /// # Errors
    /// As [`Gate::open`].
    pub async fn open_within(
        &self,
        caller: &Caller,
        resource: &ResourceName,
        role: &RoleName,
        limits: &Limits,
        protocol: Protocol,
    ) -> Result<Opened, Refusal> {
        self.open_telling_once(caller, (resource, role), limits, protocol, &mut BTreeSet::new()).await
    }

    /// The same for who looks several times in one knock. `told`: of which grants it is entered already that they are shut.
    pub(crate) async fn open_telling_once(
        &self,
        caller: &Caller,
        to: (&ResourceName, &RoleName),
        limits: &Limits,
        protocol: Protocol,
        told: &mut BTreeSet<GrantId>,
    ) -> Result<Opened, Refusal> {
        let opened = Box::pin(self.try_open(caller, to, limits, protocol, told)).await;
        // Also who is not let in came.
        self.came(caller.who.id(), caller.who.from()).await;
        match opened {
            Err(refusal) if refusal != Refusal::of(Reason::NoPath) => {
                self.enter_refused(caller, Some(to.0), Some(to.1), &refusal).await;
                Err(refusal)
            }
            other => other,
        }
    }

    async fn try_open(
        &self,
        caller: &Caller,
        (resource, role): (&ResourceName, &RoleName),
        limits: &Limits,
        protocol: Protocol,
        told: &mut BTreeSet<GrantId>,
    ) -> Result<Opened, Refusal> {
        let bound = bound_to(caller);
        if bound.is_none() && !caller.who.may(Scope::Ask) {
            return Err(Refusal::because(Reason::ScopeMissing, "the token lacks the scope `ask`"));
        }
        let reading = || self.store.open_grants_for(caller.who.id(), resource, role);
        let (signed_in, mut read) = tokio::join!(self.refuse_if_sign_in_ended(caller), reading());
        signed_in?;
        self.refuse_if_clock_behind().await?;
        'again: for _ in 0..TRIES {
            let mut grants = read.map_err(unavailable)?;
            // INVARIANT: a connect token opens its own grant, whatever else its holder may.
            grants.retain(|grant| bound.is_none_or(|only| grant.id == only) && is_for(grant, caller));
            let grants = self.not_shut_by_risk(caller, &self.bundle(), grants, told).await?;
            let mut first = None;
            for row in best_first(grants, limits, self.now()) {
                match Box::pin(self.open_on(caller, row, limits, protocol)).await {
                    Ok(opened) => return Ok(opened),
                    Err(Attempt::Raced) => {
                        read = reading().await;
                        continue 'again;
                    }
                    // That is about the one grant; another one may open the same door.
                    Err(Attempt::Refused(refusal)) if is_about_a_grant(refusal.reason) => first = first.or(Some(refusal)),
                    Err(Attempt::Refused(refusal)) => return Err(first.unwrap_or(refusal)),
                }
            }
            return Err(first.unwrap_or_else(|| Refusal::of(Reason::NoPath)));
        }
        Err(Refusal::of(Reason::AlreadyDecided))
    }

    async fn open_on(&self, caller: &Caller, row: GrantRow, limits: &Limits, protocol: Protocol) -> Result<Opened, Attempt> {
        let bundle = self.bundle.load_full();
        let now = self.now();
        let activation = (row.state == GrantState::Ready).then(|| self.activation(caller, &row)).transpose()?;
        let ends_at = if activation.is_some() { row.ends_if_started(now) } else { row.ends_at };
        let resource = bundle.resource(&row.resource).ok_or_else(|| Refusal::of(Reason::UnknownResource))?;
        refuse_other_protocol(resource, protocol)?;
        let situation = self.situation(&caller.who).await?;
        let rights = bundle.rights(&situation, &row.role, &row.resource).ok_or_else(|| Refusal::of(Reason::UnknownRole))?;
        // INVARIANT: what the grant renounces stays renounced, whatever is asked for this session.
        let limits = row.limits.and(limits).ok_or_else(|| Refusal::because(Reason::OutsideLimits, format!("`{}`", row.limits)))?;
        let whole = rights.clone();
        let may_last_longer = !row.break_glass && row.length.is_some();
        let facts = SessionFacts {
            session: SessionId::generate(now),
            grant: row.id,
            person: row.person,
            username: caller.who.username().clone(),
            resource: row.resource.clone(),
            role: row.role.clone(),
            tier: row.terms.tier.clone(),
            protocol,
            rights: limits.narrow(rights),
            limits,
            recording: RecordingTerms { id: RecordingId::generate(now), level: row.terms.record, durability: row.terms.durability },
            idle: row.terms.idle,
            opened_at: now,
            ends_at,
            bundle: bundle.digest().to_owned(),
        };
        let usual = self.usual_for(row.person, (&row.resource, &row.role), &row.terms.watch).await?;
        let to_watch = ToWatch { watch: row.terms.watch.clone(), usual };
        // INVARIANT: registered first, then judged, then committed: whatever is decided from here on finds the session.
        let judged_in = Situation { on_call: Some(bundle.on_call_of(&situation)), ..situation };
        let Relayed { standing, told, traffic } = self.live.register(&facts, caller.who.via().clone(), judged_in, to_watch);
        let session = facts.session;
        match self.admit_session(caller, row, activation, facts, (resource, &whole)).await {
            Ok((permit, recording)) => Ok(Opened { permit, standing, told, traffic, may_last_longer, recording }),
            Err(attempt) => {
                self.live.remove(session, true);
                self.accounts.release(session);
                Err(attempt)
            }
        }
    }

    async fn admit_session(
        &self,
        caller: &Caller,
        row: GrantRow,
        activation: Option<access::event::EntryDraft>,
        facts: SessionFacts,
        (resource, whole): (&policy::Resource, &access::rights::Rights),
    ) -> Result<(SessionPermit, RecordingHandle), Attempt> {
        // What took their sign-in away since it was looked at found no session to cut. All that is read at the same time; the first no counts.
        let (signed_in, paid_for, from_here) = tokio::join!(
            self.refuse_if_sign_in_ended(caller),
            Box::pin(self.still_paid_for(&row)),
            Box::pin(self.may_be_used_from_here(caller, &row))
        );
        signed_in?;
        paid_for?;
        from_here?;
        if activation.is_some() {
            self.refuse_grant_s_ticket_unless(&row).await?;
        }
        // A policy that came into force since the rights and the address were read: again, by that. Any later one finds the session registered.
        if self.bundle.load().digest() != facts.bundle {
            return Err(Attempt::Raced);
        }
        let dial = self.dial(resource, &facts, &row, whole).await?;
        let recording = self.start_recording(&facts).await?;
        let opening = self
            .draft(
                caller,
                Event::SessionOpened {
                    session: facts.session,
                    grant: row.id,
                    person: row.person,
                    resource: row.resource.clone(),
                    role: row.role.clone(),
                    protocol: facts.protocol,
                    recording: facts.recording.id,
                    recording_header: Some(hex::encode(recording.header_digest())),
                    level: facts.recording.level,
                    node: self.settings.node.clone(),
                    bundle: facts.bundle.clone(),
                    ends_at: facts.ends_at,
                },
            )
            .text("from", caller.from())
            .text("limits", (!facts.limits.is_empty()).then(|| facts.limits.to_string()));
        let mut change = match activation {
            Some(activation) => Change::new(activation).and(opening),
            None => Change::new(opening),
        };
        let from_session = caller.who.from().and_then(|address| self.live.on_machine(address, row.person));
        if let Some(from_session) = from_session {
            change = change.and(self.own_draft(Event::SessionStepped { session: facts.session, from_session }));
        }
        if let Some(until) = row.terms.observed_until {
            let observed = Event::SessionObserved { session: facts.session, tier: row.terms.tier.clone(), until };
            change = change.and(self.own_draft(observed));
        }
        match self.commit(change.expect(&row)).await {
            Ok(committed) => {
                if let Some(from_session) = from_session {
                    self.stepped(from_session).await;
                }
                // The grant as it is now is the proof; a clock that ran out meanwhile refuses here.
                let row = committed.rows.grants.into_values().next().unwrap_or(row);
                match Grant::open(row, self.now()) {
                    Ok(grant) => Ok((permit(grant, facts, dial), recording)),
                    Err(refusal) => {
                        self.close_unopened(facts.session, recording, EndReason::Expired).await;
                        Err(refusal.into())
                    }
                }
            }
            Err(error) => {
                discard(recording).await;
                match error {
                    CommitError::Conflict { .. } => Err(Attempt::Raced),
                    other => Err(refused(other).into()),
                }
            }
        }
    }

    /// Enters in the log that somebody knocked and was not let through.
    pub(crate) async fn enter_refused(&self, caller: &Caller, resource: Option<&ResourceName>, role: Option<&RoleName>, refusal: &Refusal) {
        let draft = self
            .draft(
                caller,
                Event::SessionRefused {
                    person: caller.who.id(),
                    resource: resource.cloned(),
                    role: role.cloned(),
                    door: caller.door,
                    reason: refusal.reason,
                    bundle: refusal.bundle(),
                    policies: refusal.policies(),
                },
            )
            .text("from", caller.from())
            .text("detail", refusal.detail.clone());
        if let Err(error) = self.commit(Change::new(draft)).await {
            tracing::error!(%error, "a refused knock could not be entered; it stays refused");
        }
    }

    /// A session whose opening is entered, but which nobody gets: it is entered as ended.
    async fn close_unopened(&self, session: SessionId, recording: RecordingHandle, end: EndReason) {
        discard(recording).await;
        self.close(ClosedSession { session, end, confirmed: true, bytes_up: 0, bytes_down: 0, recording: None }).await;
    }

    /// Refused if what the caller signed in with was taken away or has run out since; a connection may have waited long.
    pub(crate) async fn refuse_if_sign_in_ended(&self, caller: &Caller) -> Result<(), Refusal> {
        let (unlocked, stands) = tokio::join!(self.refuse_if_network_locked(caller.who.from()), self.sign_in_stands(caller));
        unlocked?;
        if stands? {
            Ok(())
        } else {
            Err(Refusal::because(Reason::NotSignedIn, "the key, certificate or token you came with was removed or has run out"))
        }
    }

    async fn sign_in_stands(&self, caller: &Caller) -> Result<bool, Refusal> {
        let now = self.now();
        Ok(match caller.who.via() {
            Via::SshKey(id) | Via::LoginCertificate(id) | Via::ClientCertificate(id) => {
                let key = self.store.key(*id).await.map_err(unavailable)?;
                key.is_some_and(|key| key.state == KeyState::Active && key.expires_at.is_none_or(|end| end > now))
            }
            Via::Token(id) | Via::ConnectToken { token: id, .. } => {
                let token = self.store.token(*id).await.map_err(unavailable)?;
                token.is_some_and(|token| token.revoked_at.is_none() && token.expires_at > now)
            }
            Via::WebSession(id) => self.web_session_stands(*id).await?,
            Via::ChatAccount(id) => {
                let account = self.store.chat_account(id).await.map_err(unavailable)?;
                account.is_some_and(|account| account.counts() && account.person == caller.who.id())
            }
            // It decides on one request, and opens nothing.
            Via::MailLink { .. } => false,
            Via::Passkey(_) | Via::Invitation | Via::Provider | Via::LocalSocket => true,
        })
    }

    async fn refuse_if_clock_behind(&self) -> Result<(), Refusal> {
        let Some((wall, mark)) = self.clock.behind() else { return Ok(()) };
        let entry = self.own_draft(Event::ClockBehind { wall, mark });
        if let Err(error) = self.commit(Change::new(entry)).await {
            tracing::error!(%error, "the clock is behind, and that could not be entered");
        }
        Err(Refusal::because(
            Reason::ClockBehind,
            format!(
                "it shows {wall}, the log has reached {mark}; if it is right now, it ran ahead before: `tidegate clock accept` at the gate's machine, or nothing opens until {mark}"
            ),
        ))
    }
}

/// INVARIANT: the one place where the right to dial is made, out of a grant that is open now.
#[expect(clippy::disallowed_methods, reason = "`workflow` is the one maker of session permits")]
#[expect(clippy::needless_pass_by_value, reason = "the grant is the price of the permit")]
fn permit(grant: Grant, facts: SessionFacts, dial: access::session::Dial) -> SessionPermit {
    debug_assert_eq!(grant.row().id, facts.grant, "a permit stands on the grant it was opened with");
    access::mint::session_permit(facts, dial)
}

/// The one grant that what somebody signed in with opens; `None`: it opens any of theirs.
pub(crate) fn bound_to(caller: &Caller) -> Option<GrantId> {
    match caller.who.via() {
        Via::ConnectToken { grant, .. } => Some(*grant),
        _ => None,
    }
}

/// A door opens only what speaks its protocol.
fn refuse_other_protocol(resource: &policy::Resource, protocol: Protocol) -> Result<(), Refusal> {
    let spoken = match resource.kind {
        policy::Kind::Ssh => Protocol::Ssh,
        policy::Kind::Postgres => Protocol::Postgres,
        policy::Kind::Mysql => Protocol::Mysql,
    };
    if spoken == protocol {
        return Ok(());
    }
    let why = format!("`{}` speaks {spoken}, and this is the door for {protocol}", resource.name);
    Err(Refusal::because(Reason::Invalid, why))
}

/// The open grants, the one that lasts longest first; those whose clock runs before those whose clock doesn't. Who renounces something for
/// this session gets one that allows all that is left; who doesn't, any.
fn best_first(mut grants: Vec<GrantRow>, limits: &Limits, now: jiff::Timestamp) -> Vec<GrantRow> {
    grants.retain(|g| {
        let stands = match g.state {
            GrantState::Active => g.ends_at.is_none_or(|end| end > now),
            GrantState::Ready => g.activate_by > now,
            GrantState::Ended => false,
        };
        stands && (limits.is_empty() || limits.within(&g.limits))
    });
    grants.sort_by_key(|g| {
        std::cmp::Reverse((g.state == GrantState::Active, g.limits.is_empty(), g.ends_at.unwrap_or(jiff::Timestamp::MAX)))
    });
    grants
}

/// Whether a refusal speaks of what one grant was given for or where it is used from, and not of who comes or what they come to.
const fn is_about_a_grant(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Forbidden
            | Reason::PolicyError
            | Reason::GrantWithdrawn
            | Reason::GrantExpired
            | Reason::GrantEnded
            | Reason::OutsideLimits
            | Reason::TicketNotOpen
            | Reason::TrackerUnreachable
    )
}

enum Attempt {
    Raced,
    Refused(Refusal),
}

impl From<Refusal> for Attempt {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Removes the recording of a session that did not open after all.
async fn discard(recording: RecordingHandle) {
    // Closed, and not deleted: it holds nothing, and a file that vanishes looks worse than an empty one.
    if let Err(error) = recording.close("never opened", 0).await {
        tracing::warn!(%error, "the recording of a session that did not open could not be closed");
    }
}
