//! Streams last longer than the sign-in they began with: whether it still holds, and what may have ended it.

use std::time::Duration;

use access::event::Event;
use access::identity::{KeyState, PersonState, Via};
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

/// Whether the caller is still active and not locked, and what they came with is still good. A store that is away says no.
pub(crate) async fn still_signed_in(gate: &Gate, caller: &Caller) -> bool {
    let now = gate.now();
    let active = async |id| matches!(gate.store().person(id).await, Ok(Some(person)) if person.state == PersonState::Active);
    let Ok(Some(person)) = gate.store().person(caller.who.id()).await else { return false };
    if person.state != PersonState::Active {
        return false;
    }
    if let Some(owner) = person.owner
        && !active(owner.into()).await
    {
        return false;
    }
    if gate.refuse_if_person_locked(caller.who.id()).await.is_err() {
        return false;
    }
    match caller.who.via() {
        Via::Token(id) => matches!(gate.store().token(*id).await, Ok(Some(row)) if row.revoked_at.is_none() && row.expires_at > now),
        Via::WebSession(id) => gate.web_session_stands(*id).await.unwrap_or(false),
        Via::ChatAccount(id) => {
            matches!(gate.store().chat_account(id).await, Ok(Some(row)) if row.counts() && row.person == caller.who.id())
        }
        // It opens connections, and is nothing here.
        Via::ConnectToken { .. } => false,
        Via::SshKey(id) | Via::LoginCertificate(id) | Via::ClientCertificate(id) => {
            matches!(gate.store().key(*id).await, Ok(Some(key)) if key.state == KeyState::Active && key.expires_at.is_none_or(|end| end > now))
        }
        Via::Passkey(_) | Via::Invitation | Via::Provider | Via::LocalSocket => true,
    }
}
