//! What a transmitter of signals says: Security Event Tokens (RFC 8417) as the OpenID Shared Signals Framework 1.0 profiles them, with the
//! events of CAEP 1.0 and RISC 1.0 that mean something here.
//!
//! INVARIANT: of whom it speaks is told by issuer and subject alone. An e-mail address, a phone number or an id of a session is whatever
//! somebody at the provider could make it, and is nobody here.

use access::inert::inert;
use access::names::Username;
use access::signal::SignalKind;
use access::time::Span;
use jiff::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::account::key;
use super::id_token::{SKEW, is_subject};
use super::jws::{Keys, header, signed};
use super::{OidcError, printable};

/// The oldest signal that is taken. One is sent again until it is acknowledged, so it may be late; and as long it is remembered, so that it
/// counts once.
pub const OLDEST: Span = Span::hours(30 * 24);

const TYPE: &str = "secevent+jwt";
const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";
const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";
/// The longest `jti`, in bytes.
const LONGEST_ID: usize = 512;
/// The longest reason that is kept, in characters.
const LONGEST_REASON: usize = 300;

/// Whose signals are heard, and of whom they may speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmitter {
    /// Its name in the address where it sends them.
    pub name: Username,
    /// `iss`, exactly.
    pub issuer: String,
    /// `aud`, or one of it.
    pub audience: String,
    /// Where its keys are; `None`: where its own metadata says.
    pub jwks_uri: Option<String>,
    /// The issuer of the identity provider whose subjects it speaks of.
    pub subjects: String,
}

impl Transmitter {
    /// Where its metadata is: the well-known name stands between the host and the path of the issuer (SSF 1.0 §7.2).
    ///
    /// # Errors
    /// If the issuer is no address.
    pub fn metadata_url(&self) -> Result<String, OidcError> {
        let mut url = reqwest::Url::parse(&self.issuer).map_err(|_| OidcError::Answer("its issuer is no address".to_owned()))?;
        let path = format!("/.well-known/ssf-configuration{}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(url.into())
    }
}

/// What a transmitter said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityEvent {
    /// By what it is known, so that it counts once: SHA-256, hex, of issuer and `jti`.
    pub id: String,
    /// When it was made.
    pub issued: Timestamp,
    /// What it means here.
    pub kind: SignalKind,
    /// The type of its event, as it calls it.
    pub says: String,
    /// Why, if it says so; inert.
    pub reason: Option<String>,
    /// By what whoever it speaks of is known here ([`key`]); or why nobody can be by what it says.
    pub subject: Result<String, String>,
}

/// Why a text is no signal of a transmitter's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// It is not what it should be.
    #[error("this is no security event token that can be used: {0}")]
    Request(String),
    /// No key of the transmitter's signed it.
    #[error("this is not signed by the transmitter: {0}")]
    Key(String),
    /// None of the transmitter's keys that are known is the one it names.
    #[error("this is not signed by the transmitter: none of its keys signed it")]
    UnknownKey,
    /// Another issuer made it.
    #[error("another issuer made this than the one that is configured; compare its `iss` with `signals.issuer`, letter by letter")]
    Issuer,
    /// It was made for another.
    #[error("this was made for another audience; compare its `aud` with `signals.audience`, letter by letter")]
    Audience,
}

/// Whether a text could be a signal, whoever made it. A token of another kind, signed by the same keys, is none, nor is one that does not say its
/// kind (RFC 8417 §2.3, SSF 1.0 §4.1.4).
///
/// # Errors
/// [`SetError::Request`].
pub fn is_one(token: &str) -> Result<(), SetError> {
    let head = header(token).ok_or_else(|| SetError::Request("it is no signed token".to_owned()))?;
    if head.get("typ").and_then(Value::as_str).is_some_and(|kind| kind.eq_ignore_ascii_case(TYPE)) {
        return Ok(());
    }
    Err(SetError::Request("its `typ` is not `secevent+jwt`".to_owned()))
}

/// What a text says, if this transmitter made it for this gate.
///
/// # Errors
/// [`SetError::UnknownKey`] when none of the keys can have signed it (the transmitter may have new ones), and others.
pub fn verify(of: &Transmitter, keys: &Keys, token: &str, now: Timestamp) -> Result<SecurityEvent, SetError> {
    let no = |why: &str| SetError::Request(why.to_owned());
    // 1. Is it one at all?
    is_one(token)?;
    // 2. By whom, for whom?
    let claims = signed(keys, token, &[TYPE]).map_err(|error| match error {
        OidcError::UnknownKey => SetError::UnknownKey,
        OidcError::Token(why) => SetError::Key(why),
        other => SetError::Key(other.to_string()),
    })?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(of.issuer.as_str()) {
        return Err(SetError::Issuer);
    }
    let ours = match claims.get("aud") {
        Some(Value::String(one)) => *one == of.audience,
        Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(of.audience.as_str())),
        _ => false,
    };
    if !ours {
        return Err(SetError::Audience);
    }
    // 3. Which, and when? An `exp` means nothing: what happened does not stop having happened.
    let issued = claims.get("iat").and_then(Value::as_i64).and_then(|second| Timestamp::from_second(second).ok());
    let issued = issued.ok_or_else(|| no("it does not say when it was made"))?;
    if issued > SKEW.after(now) {
        return Err(no("it is from the future; compare the clocks of the gate and of the transmitter"));
    }
    if OLDEST.after(issued) < now {
        return Err(no("it was made too long ago"));
    }
    let id = text("jti").filter(|id| !id.is_empty() && id.len() <= LONGEST_ID).ok_or_else(|| no("its `jti` is none"))?;
    // 4. What happened, to whom? Several events in one token are one that happened, told in several ways (RFC 8417 §2).
    let events = claims.get("events").and_then(Value::as_object).filter(|events| !events.is_empty());
    let events = events.ok_or_else(|| no("it has no `events`"))?;
    if events.values().any(|event| !event.is_object()) {
        return Err(no("one of its `events` is none"));
    }
    let mut all: Vec<(SignalKind, &String, &Value)> = events.iter().map(|(name, event)| (kind_of(name, event), name, event)).collect();
    all.sort_by_key(|(kind, name, _)| (!kind.locks(), *kind, *name));
    let (kind, says, event) = all.first().ok_or_else(|| no("it has no `events`"))?;
    Ok(SecurityEvent {
        id: hex::encode(Sha256::digest(serde_json::json!([of.issuer, "jti", id]).to_string())),
        issued,
        kind: *kind,
        says: printable(says),
        reason: reason(event),
        subject: subject(of, &claims),
    })
}

/// What an event means. Whatever is said of a device other than that it complies is that it does not.
fn kind_of(name: &str, event: &Value) -> SignalKind {
    match (name.strip_prefix(CAEP), name.strip_prefix(RISC)) {
        (Some("session-revoked"), _) | (_, Some("sessions-revoked")) => SignalKind::SessionRevoked,
        (Some("device-compliance-change"), _) if event.get("current_status").and_then(Value::as_str) != Some("compliant") => {
            SignalKind::DeviceNotCompliant
        }
        (_, Some("account-disabled")) => SignalKind::AccountDisabled,
        (_, Some("account-purged")) => SignalKind::AccountPurged,
        _ if name == VERIFICATION => SignalKind::Verification,
        _ => SignalKind::Other,
    }
}

/// Of whom it speaks: an `iss_sub` (RFC 9493 §3.2.3), or a `complex` one whose user is that (SSF 1.0 §3.2). What else a complex subject has
/// (a session, a device) makes it fewer than all of that person's; here it is always all.
fn subject(of: &Transmitter, claims: &Map<String, Value>) -> Result<String, String> {
    let said = claims.get("sub_id").ok_or("it names no subject in `sub_id`")?;
    let user = match said.get("format").and_then(Value::as_str) {
        Some("complex") => said.get("user").ok_or("its subject names no `user`")?,
        _ => said,
    };
    let text = |name: &str| user.get(name).and_then(Value::as_str);
    match text("format") {
        Some("iss_sub") => {}
        other => {
            let other = printable(other.unwrap_or("nothing"));
            return Err(format!(
                "its subject is named by `{other}`; somebody is known here by issuer and subject alone (`iss_sub`), never by an address, a number or a session"
            ));
        }
    }
    let (Some(issuer), Some(subject)) = (text("iss"), text("sub").filter(|subject| is_subject(subject))) else {
        return Err("its subject has no `iss` or no `sub`".to_owned());
    };
    if issuer != of.subjects {
        let (theirs, ours) = (printable(issuer), &of.subjects);
        return Err(format!("its subject is one of `{theirs}`, and this transmitter speaks of those of `{ours}` alone"));
    }
    Ok(key(issuer, subject))
}

/// Why, for administrators or for the person (CAEP 1.0 §2): in English, or else in the first language there is; of drafts, a text alone.
fn reason(event: &Value) -> Option<String> {
    let said = ["reason_admin", "reason_user"].into_iter().filter_map(|name| match event.get(name)? {
        Value::String(text) => Some(text.as_str()),
        Value::Object(all) => all.get("en").or_else(|| all.values().next())?.as_str(),
        _ => None,
    });
    let said: Vec<String> =
        said.filter(|text| !text.is_empty()).map(|text| inert(&text.chars().take(LONGEST_REASON).collect::<String>())).collect();
    (!said.is_empty()).then(|| said.join(" / "))
}

#[cfg(test)]
#[path = "security_event_tests.rs"]
mod tests;
