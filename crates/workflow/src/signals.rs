//! An identity provider says by itself that somebody is not to be let in (OpenID Shared Signals, CAEP, RISC).
//!
//! *Takes* a security event token from a transmitter. *Proves*, by what it signed for this gate, that it is the transmitter's, and of whom it
//! speaks. *Hands to* locks one more, and to live sessions the cut.
//!
//! INVARIANT: a signal shuts, and never opens: whatever it says, no lock is lifted by it. A transmitter speaks of people who sign in at one
//! identity provider, known by issuer and subject, and of nobody else.

use std::net::IpAddr;
use std::sync::OnceLock;

use access::event::{Actor, EntryDraft, Event};
use access::ids::{LockId, PrincipalId};
use access::lock::{LockRow, LockScope};
use access::names::Username;
use access::reason::{Reason, Refusal};
use access::request::Door;
use access::signal::SignalOutcome;
use identity::oidc::security_event::{OLDEST, SecurityEvent, SetError, Transmitter, is_one, verify};
use identity::oidc::{OidcError, ProviderClient};
use identity::opaque::Verifier;
use store::{Change, CommitError, Unique};

use crate::gate::{Gate, refused, unavailable};
use crate::key_cache::KeyCache;
use crate::outbox::KeptSecret;

/// A transmitter that is heard, and how.
#[derive(Debug)]
pub struct HeardTransmitter {
    /// What it is.
    pub transmitter: Transmitter,
    /// What asks it for its keys.
    pub client: ProviderClient,
    /// What each of its calls has to carry as `Authorization`, whole, if anything.
    pub authorization: Option<KeptSecret>,
}

/// The transmitters of a gate.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    all: OnceLock<Vec<(HeardTransmitter, KeyCache)>>,
    /// Held while a signal is entered, so that two of the same person at once set one lock.
    taking: tokio::sync::Mutex<()>,
}

/// Why nothing is believed that came as a signal.
#[derive(Debug, thiserror::Error)]
pub enum NoSignal {
    /// No transmitter has this name.
    #[error("no transmitter of signals is called this; compare the end of the address that it sends to with `signals.name`")]
    Nobody,
    /// The call does not carry what this transmitter's calls have to.
    #[error("the `Authorization` of this call is not the one that is configured for the transmitter")]
    Authorization,
    /// It proves nothing.
    #[error(transparent)]
    Token(#[from] SetError),
    /// It can't be told now whether it does.
    #[error(transparent)]
    Later(#[from] Refusal),
}

impl Gate {
    /// Says whose signals are heard. Once; a second time changes nothing.
    pub fn serve_signals(&self, transmitters: Vec<HeardTransmitter>) {
        let with_keys = |transmitter| (transmitter, KeyCache::default());
        let _before = self.signals.all.set(transmitters.into_iter().map(with_keys).collect());
    }

    fn transmitter(&self, name: &str) -> Option<&(HeardTransmitter, KeyCache)> {
        self.signals.all.get().into_iter().flatten().find(|(known, _)| known.transmitter.name.as_str() == name)
    }

    /// What a transmitter says, if it is this one that says it to this gate. Changes nothing.
    ///
    /// # Errors
    /// Why it is not believed, or can't be looked at now.
    pub async fn read_signal(&self, name: &str, token: &str, authorization: Option<&[u8]>) -> Result<SecurityEvent, NoSignal> {
        // INVARIANT: until it is proved who sends it, nothing that is answered depends on whether anybody has this name, but while its keys or
        // secret cannot be had: what is not sent again then is lost.
        is_one(token)?;
        let (known, keys) = self.transmitter(name).ok_or(NoSignal::Nobody)?;
        if let Some(wanted) = &known.authorization {
            let wanted = self.kept_secret(wanted).await.map_err(|refusal| {
                tracing::error!(transmitter = name, %refusal, "what a transmitter's calls have to carry cannot be had, so none is believed");
                // Where the gate keeps it is no business of whoever calls.
                Refusal::of(if refusal.reason == Reason::StoreUnavailable { refusal.reason } else { Reason::Internal })
            })?;
            let shown = authorization.and_then(|shown| std::str::from_utf8(shown).ok()).ok_or(NoSignal::Authorization)?;
            // Of digests, so that it takes the same time wherever the texts differ, and however long they are.
            if Verifier::of(shown) != Verifier::of(wanted.expose()) {
                return Err(NoSignal::Authorization);
            }
        }
        let (of, now) = (&known.transmitter, self.now());
        let away = |error: OidcError| Refusal::because(Reason::IssuerUnreachable, error.to_string());
        let kept = keys.keys(now, None, known.client.transmitter_keys(of)).await.map_err(away)?;
        match verify(of, &kept, token, now) {
            Err(SetError::UnknownKey) => {
                let newer = keys.keys(now, Some(&kept), known.client.transmitter_keys(of)).await.map_err(away)?;
                Ok(verify(of, &newer, token, now)?)
            }
            other => Ok(other?),
        }
    }

    /// Does what a signal wants: whoever it says is not to be let in is locked, and all that is open of theirs is cut. The same signal again
    /// does nothing.
    ///
    /// # Errors
    /// If the store can't be read, or does not take it; then the transmitter has to send it again. Whoever it could be read to be of is cut
    /// all the same.
    pub async fn take_signal(&self, name: &Username, signal: &SecurityEvent, from: IpAddr) -> Result<SignalOutcome, Refusal> {
        let one_at_a_time = self.signals.taking.lock().await;
        // 1. Of whom?
        let known = match &signal.subject {
            Ok(identity) if signal.kind.locks() => self.store.identity(identity).await.map_err(unavailable)?.map(|row| row.person),
            _ => None,
        };
        let outcome = match (signal.kind.locks(), &signal.subject, known) {
            (false, ..) => SignalOutcome::Ignored,
            (true, Err(_), _) => SignalOutcome::NotUnderstood,
            (true, Ok(_), None) => SignalOutcome::UnknownSubject,
            (true, Ok(_), Some(person)) if self.locked_by_signal(name, person).await? => SignalOutcome::StillLocked,
            (true, Ok(_), Some(_)) => SignalOutcome::Locked,
        };
        // 2. For the first time?
        let once = format!("signal {name} {}", signal.id);
        if self.store.was_taken(&once).await.map_err(unavailable)? {
            return Ok(outcome);
        }
        // 3. It is entered, with the lock.
        let by = |event| EntryDraft::new(self.now(), Actor::Gate, Door::Api, event);
        let detail = match outcome {
            SignalOutcome::NotUnderstood => signal.subject.clone().err(),
            _ => signal.reason.clone(),
        };
        let event = Event::SignalHeard { transmitter: name.clone(), signal: signal.id.clone(), kind: signal.kind, outcome, person: known };
        let heard = by(event).text("says", Some(signal.says.clone())).text("detail", detail).text("from", Some(from.to_string()));
        let mut change = Change::new(heard).once(&once, OLDEST.after(signal.issued));
        if let (SignalOutcome::Locked, Some(person)) = (outcome, known) {
            let set = Event::LockSet {
                lock: LockId::generate(self.now()),
                scope: LockScope::Person(person),
                until: None,
                contains: false,
                transmitter: Some(name.clone()),
                sessions: Vec::new(),
            };
            change = change.and(by(set).text("reason", Some(reason(name, signal))));
        }
        match self.commit(change).await {
            Ok(_) => {}
            // It came twice at once, and the other of the two does what it wants.
            Err(CommitError::Duplicate { what: Unique::Once }) => return Ok(outcome),
            Err(error) => {
                // INVARIANT: closing does not wait for the store.
                if let Some(person) = known {
                    drop(self.cut_person_at_once(person, access::session::EndReason::Locked).await);
                }
                return Err(refused(error));
            }
        }
        // 4. What is open ends; the transmitter does not wait for targets, nor others for this.
        drop(one_at_a_time);
        if let Some(person) = known {
            self.shut_out(person).await;
        }
        Ok(outcome)
    }

    /// Enters that something came in a transmitter's name that proves nothing, or nothing now, whether anybody has that name or not.
    pub async fn enter_refused_signal(&self, name: &Username, why: &NoSignal, from: IpAddr) {
        let event = Event::SignalRefused { transmitter: name.clone() };
        let draft = EntryDraft::new(self.now(), Actor::Unknown, Door::Api, event);
        let draft = draft.text("detail", Some(why.to_string())).text("from", Some(from.to_string()));
        if let Err(error) = self.commit(Change::new(draft)).await {
            tracing::error!(%error, "a refused signal could not be entered; it stays refused");
        }
    }

    /// Whether a lock of this transmitter's holds somebody already. One of anybody else's may be lifted for reasons of their own.
    async fn locked_by_signal(&self, name: &Username, person: PrincipalId) -> Result<bool, Refusal> {
        let now = self.now();
        let locks = self.store.holding_locks(now).await.map_err(unavailable)?;
        let same = |lock: &LockRow| lock.scope == LockScope::Person(person) && lock.transmitter.as_ref() == Some(name);
        Ok(locks.iter().any(|lock| lock.holds(now) && same(lock)))
    }
}

/// What stands at the lock.
fn reason(name: &Username, signal: &SecurityEvent) -> String {
    let said = format!("`{name}` says: {}", signal.kind.code().replace('_', " "));
    signal.reason.as_ref().map_or_else(|| said.clone(), |why| format!("{said} ({why})"))
}
