//! What says that a call is Slack's: `v0=` and HMAC-SHA256 over version, time and body
//! (<https://docs.slack.dev/authentication/verifying-requests-from-slack>).

use std::collections::{HashMap, VecDeque};

use access::secret::Secret;
use access::time::Span;
use aws_lc_rs::hmac;
use jiff::Timestamp;

/// How far a call's time may be from the gate's.
const WINDOW: Span = Span::minutes(5);
/// How many calls are remembered; when there are more within their window, no other is taken.
const ROOM: usize = 100_000;

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
    /// It came before.
    #[error("it came before")]
    Repeated,
    /// It was sent before this gate began to listen, which could not tell whether it came before.
    #[error("it was sent before this gate was started")]
    Before,
    /// There are too many at once.
    #[error("too many calls came within five minutes")]
    TooMany,
}

/// A signature that is good, as long as it is the first of its kind.
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

/// Takes each call once.
#[derive(Debug)]
pub struct Once {
    since: Timestamp,
    seen: HashMap<[u8; 32], ()>,
    order: VecDeque<([u8; 32], Timestamp)>,
}

impl Once {
    /// From now on: what was sent earlier may have been taken by whoever listened then.
    #[must_use]
    pub fn since(now: Timestamp) -> Self {
        Self { since: Timestamp::from_second(now.as_second()).unwrap_or(now), seen: HashMap::new(), order: VecDeque::new() }
    }

    /// Takes a call, if it is the first of its kind.
    ///
    /// # Errors
    /// If it came before, or might have.
    pub fn take(&mut self, call: Signed, now: Timestamp) -> Result<(), SignatureError> {
        // A call can be taken until its window ends, which begins at its own time: so long it has to be known.
        while self.order.front().is_some_and(|(_, at)| WINDOW.after(*at) < now) {
            if let Some((tag, _)) = self.order.pop_front() {
                self.seen.remove(&tag);
            }
        }
        if call.at < self.since {
            return Err(SignatureError::Before);
        }
        if self.seen.contains_key(&call.tag) {
            return Err(SignatureError::Repeated);
        }
        if self.order.len() >= ROOM {
            return Err(SignatureError::TooMany);
        }
        self.seen.insert(call.tag, ());
        let last = self.order.back().map_or(call.at, |(_, last)| call.at.max(*last));
        // In order of forgetting: a call that claims an earlier time than the one before is known a little longer than needed.
        self.order.push_back((call.tag, last));
        Ok(())
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

    // covers: C4
    #[test]
    fn each_call_is_taken_once_as_long_as_it_could_come() {
        let begun = at(1_531_420_000);
        let mut once = Once::since(begun);
        let call = |tag: u8, seconds| Signed { tag: [tag; 32], at: at(seconds) };
        let early = call(1, 1_531_420_010);
        assert_eq!(once.take(early, at(1_531_420_010)), Ok(()));
        // A clock ahead of the gate's: its window ends later than that of what came before.
        assert_eq!(once.take(call(2, 1_531_420_200), at(1_531_420_011)), Ok(()));
        assert_eq!(once.take(call(3, 1_531_420_012), at(1_531_420_012)), Ok(()));
        for seconds in [1_531_420_013, 1_531_420_310] {
            assert_eq!(once.take(early, at(seconds)), Err(SignatureError::Repeated));
            assert_eq!(once.take(call(2, 1_531_420_200), at(seconds)), Err(SignatureError::Repeated));
            assert_eq!(once.take(call(3, 1_531_420_012), at(seconds)), Err(SignatureError::Repeated));
        }
        assert_eq!(once.take(call(2, 1_531_420_200), at(1_531_420_500)), Err(SignatureError::Repeated));
        assert_eq!(once.take(call(4, 1_531_419_999), begun), Err(SignatureError::Before), "the process before may have taken it");
        assert_eq!(once.take(call(5, 1_531_420_900), at(1_531_420_900)), Ok(()));
        assert_eq!(once.order.len(), 1, "what is too late anyway is forgotten");
    }
}
