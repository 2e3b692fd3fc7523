//! What says that a call is Slack's: `v0=` and HMAC-SHA256 over version, time and body
//! (<https://docs.slack.dev/authentication/verifying-requests-from-slack>).

use access::secret::Secret;
use access::time::Span;
use aws_lc_rs::hmac;
use jiff::Timestamp;

/// How far a call's time may be from the gate's.
const WINDOW: Span = Span::minutes(5);

/// Why a call is not taken as Slack's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is missing or cannot be read.
    #[error("it is not signed; `X-Slack-Signature` and `X-Slack-Request-Timestamp` have to be there")]
    Missing,
    /// Its time is too far away.
    #[error("its time is more than five minutes from the gate's")]
    Late,
    /// The signature is not one with the signing secret.
    #[error("its signature is not made with the signing secret")]
    Wrong,
}

/// A signature that is good, if it is the first of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signed {
    tag: [u8; 32],
    at: Timestamp,
}

/// Verifies a call by its two headers and its whole body.
///
/// # Errors
/// [`SignatureError`]; the signature is compared in constant time.
pub fn verify(
    secret: &Secret<String>,
    timestamp: Option<&str>,
    signature: Option<&str>,
    body: &[u8],
    now: Timestamp,
) -> Result<Signed, SignatureError> {
    let (Some(timestamp), Some(signature)) = (timestamp, signature) else { return Err(SignatureError::Missing) };
    let digits = (1..=12).contains(&timestamp.len()) && timestamp.bytes().all(|b| b.is_ascii_digit());
    let seconds: i64 = timestamp.parse().ok().filter(|_| digits).ok_or(SignatureError::Missing)?;
    let at = Timestamp::from_second(seconds).map_err(|_| SignatureError::Missing)?;
    let tag = signature.strip_prefix("v0=").and_then(|hex| hex::decode(hex).ok());
    let tag: [u8; 32] = tag.and_then(|bytes| bytes.try_into().ok()).ok_or(SignatureError::Missing)?;
    let signed = [format!("v0:{timestamp}:").as_bytes(), body].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().trim().as_bytes());
    hmac::verify(&key, &signed, &tag).map_err(|_| SignatureError::Wrong)?;
    if WINDOW.after(at) < now || WINDOW.after(now) < at {
        return Err(SignatureError::Late);
    }
    Ok(Signed { tag, at })
}

impl Signed {
    /// By what it is known: no other call has it.
    #[must_use]
    pub fn id(&self) -> String {
        format!("slack.{}", hex::encode(self.tag))
    }

    /// Until when it could come again.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        WINDOW.after(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&\
user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F\
397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";

    fn secret() -> Secret<String> {
        Secret::new("8f742231b10e8888abcd99yyyzzz85a5".to_owned())
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";

    // covers: C4
    #[test]
    fn the_documented_call_is_slacks_and_nothing_near_it_is() {
        let good = |now| verify(&secret(), Some("1531420618"), Some(SIGNATURE), BODY, now);
        assert!(good(at(1_531_420_618)).is_ok() && good(at(1_531_420_918)).is_ok() && good(at(1_531_420_318)).is_ok());
        assert_eq!(good(at(1_531_420_919)), Err(SignatureError::Late));
        assert_eq!(good(at(1_531_420_317)), Err(SignatureError::Late));
        let now = at(1_531_420_618);
        let other = BODY.to_ascii_uppercase();
        let short = SIGNATURE.get(..SIGNATURE.len() - 2);
        for (time, signature, body, secret, wanted) in [
            (Some("1531420618"), Some(SIGNATURE), &other[..], secret(), SignatureError::Wrong),
            (Some("1531420619"), Some(SIGNATURE), BODY, secret(), SignatureError::Wrong),
            (Some("1531420618"), Some(SIGNATURE), BODY, Secret::new("another".to_owned()), SignatureError::Wrong),
            (Some("1531420618"), None, BODY, secret(), SignatureError::Missing),
            (None, Some(SIGNATURE), BODY, secret(), SignatureError::Missing),
            (Some("1531420618"), short, BODY, secret(), SignatureError::Missing),
            (Some("1531420618"), SIGNATURE.get(3..), BODY, secret(), SignatureError::Missing),
            (Some("+1531420618"), Some(SIGNATURE), BODY, secret(), SignatureError::Missing),
            (Some(""), Some(SIGNATURE), BODY, secret(), SignatureError::Missing),
        ] {
            assert_eq!(verify(&secret, time, signature, body, now), Err(wanted), "{time:?} {signature:?}");
        }
    }

    #[test]
    fn a_call_is_known_as_long_as_it_could_come_again() {
        let call = |now| verify(&secret(), Some("1531420618"), Some(SIGNATURE), BODY, now).unwrap();
        let (first, again) = (call(at(1_531_420_318)), call(at(1_531_420_918)));
        assert_eq!(first.id(), again.id());
        assert_eq!(first.until(), at(1_531_420_918), "the last second in which it is taken");
    }
}
