//! What the browser adds to the challenge: client data (WebAuthn §5.8.1), read as the JSON it is.

use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use crate::{Flaw, RelyingParty, decode};

/// More than any browser writes.
const LONGEST: usize = 8 * 1024;
const WHAT: &str = "the client data";

/// What the browser says it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Made a passkey.
    Create,
    /// Used one.
    Get,
}

impl Purpose {
    fn of(word: &str) -> Option<Self> {
        match word {
            "webauthn.create" => Some(Self::Create),
            "webauthn.get" => Some(Self::Get),
            _ => None,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Create => "add a passkey",
            Self::Get => "use a passkey",
        }
    }
}

// Members that browsers add are not ours to refuse: the specification tells them to add some.
#[derive(Deserialize)]
struct ClientData {
    r#type: String,
    challenge: String,
    origin: String,
    #[serde(rename = "crossOrigin", default)]
    cross_origin: bool,
    #[serde(rename = "topOrigin", default)]
    top_origin: Option<String>,
}

/// Checks client data (§7.1 steps 5 to 11, §7.2 steps 9 to 14).
///
/// # Errors
/// The first thing that is not as it should be.
pub(crate) fn check(bytes: &[u8], wanted: Purpose, challenge: &[u8], party: &RelyingParty) -> Result<(), Flaw> {
    if bytes.len() > LONGEST {
        return Err(Flaw::Unreadable(WHAT));
    }
    let data: ClientData = serde_json::from_slice(bytes).map_err(|_| Flaw::Unreadable(WHAT))?;
    let found = Purpose::of(&data.r#type).ok_or(Flaw::Unreadable(WHAT))?;
    if found != wanted {
        return Err(Flaw::OtherPurpose { found: found.words(), wanted: wanted.words() });
    }
    let answered = decode(&data.challenge, WHAT)?;
    if !bool::from(answered.ct_eq(challenge)) {
        return Err(Flaw::OtherChallenge);
    }
    if data.origin != party.origin {
        return Err(Flaw::OtherOrigin);
    }
    if data.cross_origin || data.top_origin.is_some() {
        return Err(Flaw::CrossOrigin);
    }
    Ok(())
}

/// The challenge that client data answers, to look it up by; nothing else of it is believed yet.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn challenge(bytes: &[u8]) -> Result<Vec<u8>, Flaw> {
    if bytes.len() > LONGEST {
        return Err(Flaw::Unreadable(WHAT));
    }
    let data: ClientData = serde_json::from_slice(bytes).map_err(|_| Flaw::Unreadable(WHAT))?;
    decode(&data.challenge, WHAT)
}
