//! Streams last longer than the sign-in they began with: whether it still holds.

use std::time::Duration;

use access::identity::{PersonState, Via};
use workflow::{Caller, Gate};

/// How often a stream looks whether its reader may go on.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Whether the caller is still active, and the token they came with still good. A store that is away says no.
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
    match caller.who.via() {
        Via::Token(id) => matches!(gate.store().token(*id).await, Ok(Some(row)) if row.revoked_at.is_none() && row.expires_at > now),
        Via::WebSession(id) => gate.web_session_stands(*id).await.unwrap_or(false),
        Via::SshKey(_) | Via::LoginCertificate(_) | Via::Invitation | Via::LocalSocket => true,
    }
}
