//! Streams last longer than the sign-in they began with: whether it still holds, and what may have ended it.

use std::sync::Arc;
use std::time::Duration;

use access::event::{Entry, Event};
use access::identity::{KeyState, PersonState, Via};
use access::reason::{Reason, Refusal};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;
use workflow::{Caller, Gate};

/// How often a stream looks whether its reader may go on, if nothing makes it look sooner.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Whether somebody's standing may be another after this: a reason to look at once.
pub(crate) fn shakes(event: &Event) -> bool {
    matches!(
        event,
        Event::LockSet { .. }
            | Event::PersonDisabled { .. }
            | Event::KeyRemoved { .. }
            | Event::TokenRevoked { .. }
            | Event::BundleActivated { .. }
    )
}

/// When to look again whether somebody who reads something long may go on: every few seconds, and after whatever may have ended it.
#[derive(Debug)]
pub(crate) struct Looks {
    news: broadcast::Receiver<Arc<Entry>>,
    next: tokio::time::Instant,
}

impl Looks {
    /// From now on. To be made before their right is looked at for the first time, so that nothing falls in between.
    pub(crate) fn from_now(gate: &Gate) -> Self {
        Self { news: gate.news(), next: tokio::time::Instant::now() + LOOK_EVERY }
    }

    /// Whether it is time to look.
    pub(crate) fn are_due(&mut self) -> bool {
        let mut due = tokio::time::Instant::now() >= self.next;
        loop {
            match self.news.try_recv() {
                Ok(entry) => due |= shakes(&entry.event),
                // Who missed some looks as well.
                Err(TryRecvError::Lagged(_)) => due = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        if due {
            self.next = tokio::time::Instant::now() + LOOK_EVERY;
        }
        due
    }
}

/// What a download says of itself that broke off because its reader may read no more. Who reads it sees a body without its end.
pub(crate) fn withdrawn() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::PermissionDenied, "its reader may not read it any more")
}

/// Whether a reader may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stands {
    /// They may.
    Yes,
    /// What they came with is no longer good, or they are shut out.
    No,
    /// The store does not say just now.
    Unknown,
}

/// Whether the caller may go on. A store that is away says no.
pub(crate) async fn still_signed_in(gate: &Gate, caller: &Caller) -> bool {
    stands(gate, caller).await == Stands::Yes
}

/// Whether the caller is still active, neither they nor where they come from is locked, and what they came with is still good.
pub(crate) async fn stands(gate: &Gate, caller: &Caller) -> Stands {
    match looked(gate, caller).await {
        Ok(true) => Stands::Yes,
        Ok(false) => Stands::No,
        Err(refusal) if refusal.reason == Reason::StoreUnavailable => Stands::Unknown,
        Err(_) => Stands::No,
    }
}

async fn looked(gate: &Gate, caller: &Caller) -> Result<bool, Refusal> {
    let now = gate.now();
    let store = gate.store();
    let Some(person) = store.person(caller.who.id()).await.map_err(unavailable)? else { return Ok(false) };
    if person.state != PersonState::Active {
        return Ok(false);
    }
    if let Some(owner) = person.owner {
        let owner = store.person(owner.into()).await.map_err(unavailable)?;
        if owner.is_none_or(|owner| owner.state != PersonState::Active) {
            return Ok(false);
        }
    }
    gate.refuse_if_person_locked(caller.who.id()).await?;
    gate.refuse_if_network_locked(caller.who.from()).await?;
    Ok(match caller.who.via() {
        Via::Token(id) => store.token(*id).await.map_err(unavailable)?.is_some_and(|row| row.revoked_at.is_none() && row.expires_at > now),
        Via::WebSession(id) => gate.web_session_stands(*id).await?,
        Via::ChatAccount(id) => {
            let account = store.chat_account(id).await.map_err(unavailable)?;
            account.is_some_and(|row| row.counts() && row.person == caller.who.id())
        }
        // These open connections, or decide on one request, and are nothing here.
        Via::ConnectToken { .. } | Via::MailLink { .. } => false,
        Via::SshKey(id) | Via::LoginCertificate(id) | Via::ClientCertificate(id) => {
            let key = store.key(*id).await.map_err(unavailable)?;
            key.is_some_and(|key| key.state == KeyState::Active && key.expires_at.is_none_or(|end| end > now))
        }
        Via::Passkey(_) | Via::Invitation | Via::Provider | Via::LocalSocket => true,
    })
}

fn unavailable<E>(_: E) -> Refusal {
    Refusal::of(Reason::StoreUnavailable)
}
