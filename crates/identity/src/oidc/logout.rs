//! What a logout token says: OpenID Connect Back-Channel Logout 1.0 §2.4 to §2.6.

use jiff::Timestamp;
use serde_json::Value;

use super::OidcError;
use super::id_token::{OLDEST, SKEW, is_subject};
use super::jws::{Keys, signed};
use super::provider::Provider;

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Whose sessions end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logout {
    /// The person at the provider, if it says.
    pub subject: Option<String>,
    /// One session of theirs there; without it, all.
    pub sid: Option<String>,
}

/// Who is signed out, if this provider says so to this gate, now.
///
/// # Errors
/// [`OidcError::UnknownKey`] when none of the keys can have signed it; [`OidcError::Token`] for everything else.
pub fn verify(provider: &Provider, keys: &Keys, token: &str, now: Timestamp) -> Result<Logout, OidcError> {
    let no = |why: &str| OidcError::Token(why.to_owned());
    let claims = signed(keys, token, &["logout+jwt", "JWT"])?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(provider.issuer.as_str()) {
        return Err(no("another issuer made it"));
    }
    let ours = match claims.get("aud") {
        Some(Value::String(one)) => *one == provider.client_id,
        Some(Value::Array(all)) => all.len() == 1 && all[0].as_str() == Some(provider.client_id.as_str()),
        _ => false,
    };
    if !ours {
        return Err(no("it was made for another client"));
    }
    let second = |name: &str| claims.get(name).and_then(Value::as_i64).and_then(|s| Timestamp::from_second(s).ok());
    let issued = second("iat").ok_or_else(|| no("it does not say when it was made"))?;
    if issued > SKEW.after(now) || OLDEST.after(issued) < now {
        return Err(no("it is too old, or from the future"));
    }
    if claims.contains_key("exp") && second("exp").is_none_or(|end| now >= SKEW.after(end)) {
        return Err(no("its time is up"));
    }
    if !claims.get("events").and_then(|events| events.get(EVENT)).is_some_and(Value::is_object) || text("jti").is_none() {
        return Err(no("it is no logout token"));
    }
    // An ID token must never do as a logout token.
    if claims.contains_key("nonce") {
        return Err(no("it carries a nonce, which no logout token does"));
    }
    let logout = Logout { subject: text("sub").map(str::to_owned), sid: text("sid").map(str::to_owned) };
    if logout.subject.as_deref().is_some_and(|subject| !is_subject(subject)) || (logout.subject.is_none() && logout.sid.is_none()) {
        return Err(no("it says neither whom nor which session it ends"));
    }
    Ok(logout)
}
