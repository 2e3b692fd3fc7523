//! Webhooks by Standard Webhooks 1.0.0 (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>):
//! each message has an id that stays the same however often it is sent, and is signed with HMAC-SHA256 over id, time and body.

use access::secret::Secret;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use reqwest::Url;

use crate::http::{Caller, Reach, ReachError};
use crate::outcome::Outcome;

/// What secrets begin with.
pub const PREFIX: &str = "whsec_";
/// How long a key may be, in bytes.
const KEY: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret that cannot sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret of a webhook is `whsec_` and 24 to 64 bytes in base64; `echo whsec_$(openssl rand -base64 32)` makes one")]
pub struct KeyError;

/// What signs messages to one endpoint.
#[derive(Debug)]
pub struct SigningKey(hmac::Key);

impl std::str::FromStr for SigningKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = text.trim().strip_prefix(PREFIX).and_then(|key| BASE64_STANDARD.decode(key).ok()).map(Secret::new).ok_or(KeyError)?;
        if !KEY.contains(&bytes.expose().len()) {
            return Err(KeyError);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, bytes.expose())))
    }
}

impl SigningKey {
    /// `v1,` and the signature, base64.
    #[must_use]
    pub fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> String {
        let mut signed = hmac::Context::with_key(&self.0);
        signed.update(format!("{id}.{}.", at.as_second()).as_bytes());
        signed.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(signed.sign()))
    }
}

/// Which events an endpoint is told of: `request.approved`, `request.*`, `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no event, as `request.approved`, nor several, as `request.*` or `*`")]
pub struct PatternError(String);

impl std::str::FromStr for Pattern {
    type Err = PatternError;
    fn from_str(text: &str) -> Result<Self, PatternError> {
        let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let good = text == "*" || text.split_once('.').is_some_and(|(noun, verb)| word(noun) && (verb == "*" || word(verb)));
        if good { Ok(Self(text.to_owned())) } else { Err(PatternError(text.chars().filter(|c| !c.is_control()).take(64).collect())) }
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pattern {
    /// Whether it covers an event.
    #[must_use]
    pub fn covers(&self, event: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => event.starts_with(start),
            None => event == self.0,
        }
    }
}

/// One endpoint.
#[derive(Debug, Clone)]
pub struct Endpoint {
    caller: Caller,
    url: Url,
}

impl Endpoint {
    /// An endpoint at a URL.
    ///
    /// # Errors
    /// If that may not be called, or TLS can't be set up.
    pub fn new(url: &str, reach: &Reach) -> Result<Self, ReachError> {
        let caller = Caller::new(reach)?;
        let url = caller.url(url)?;
        Ok(Self { caller, url })
    }

    /// Sends one message, signed with each key: while one takes another's place, the receiver knows either.
    pub async fn send(&self, keys: &[SigningKey], id: &str, at: Timestamp, body: Vec<u8>) -> Outcome<()> {
        let signature = keys.iter().map(|key| key.sign(id, at, &body)).collect::<Vec<_>>().join(" ");
        let timestamp = at.as_second().to_string();
        let headers = [
            ("content-type", "application/json"),
            ("webhook-id", id),
            ("webhook-timestamp", timestamp.as_str()),
            ("webhook-signature", signature.as_str()),
        ];
        match self.caller.post(&self.url, &headers, body).await {
            Ok(answer) if (200..300).contains(&answer.status) => Outcome::Taken(()),
            // The receiver says that it wants none of this any more.
            Ok(answer) if answer.status == 410 => Outcome::Never { why: "it answered with HTTP 410: it is gone for good".to_owned() },
            Ok(answer) if (300..400).contains(&answer.status) => {
                Outcome::later(format!("it answered with HTTP {}, and nothing is followed elsewhere", answer.status))
            }
            Ok(answer) => answer.refused(),
            Err(why) => Outcome::later(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of the specification's libraries.
    #[test]
    fn a_message_is_signed_as_the_specification_says() {
        let key: SigningKey = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let at = Timestamp::from_second(1_614_265_330).unwrap();
        assert_eq!(
            key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn a_key_that_is_none_signs_nothing() {
        assert!(format!("whsec_{}", BASE64_STANDARD.encode([7; 24])).parse::<SigningKey>().is_ok());
        for wrong in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_!!!"] {
            assert!(wrong.parse::<SigningKey>().is_err(), "{wrong}");
        }
        assert!(format!("whsec_{}", BASE64_STANDARD.encode([7; 65])).parse::<SigningKey>().is_err());
    }

    #[test]
    fn events_are_chosen_by_noun_or_name() {
        let covers = |pattern: &str, event: &str| pattern.parse::<Pattern>().unwrap().covers(event);
        assert!(covers("request.*", "request.approved") && covers("*", "lock.set") && covers("grant.revoked", "grant.revoked"));
        assert!(!covers("request.*", "grant.revoked") && !covers("grant.revoked", "grant.returned"));
        for wrong in ["", "request", "request.", "*.approved", "Request.*", "request.app*", "."] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong}");
        }
    }
}
