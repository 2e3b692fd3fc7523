//! Points and lengths of time: UTC to the microsecond, and `90s 15m 8h 7d`.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Cuts a time to whole microseconds, the precision everything is kept in.
#[must_use]
pub fn micros(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

/// A length of time in whole seconds, written `90s`, `15m`, `8h`, `7d`, or several of these (`1h30m`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(u64);

/// Why a text is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a length of time; write it like `90s`, `15m`, `8h`, `7d` or `1h30m`")]
pub struct SpanError(String);

const LONGEST: u64 = 100 * 366 * 86_400;

impl Span {
    /// So many seconds.
    #[must_use]
    pub const fn seconds(n: u64) -> Self {
        Self(n)
    }
    /// So many minutes.
    #[must_use]
    pub const fn minutes(n: u64) -> Self {
        Self(n * 60)
    }
    /// So many hours.
    #[must_use]
    pub const fn hours(n: u64) -> Self {
        Self(n * 3600)
    }
    /// The whole length in seconds.
    #[must_use]
    pub const fn as_seconds(self) -> u64 {
        self.0
    }
    /// The length as the standard library has it.
    #[must_use]
    pub const fn as_std(self) -> std::time::Duration {
        std::time::Duration::from_secs(self.0)
    }
    /// The time this much later; the end of time if there is none.
    #[must_use]
    pub fn after(self, start: Timestamp) -> Timestamp {
        let length = SignedDuration::from_secs(i64::try_from(self.0).unwrap_or(i64::MAX));
        start.checked_add(length).unwrap_or(Timestamp::MAX)
    }
    /// How long from `start` to `end`, in whole seconds; nothing if `end` is not later.
    #[must_use]
    pub fn between(start: Timestamp, end: Timestamp) -> Self {
        Self(u64::try_from(end.as_second().saturating_sub(start.as_second())).unwrap_or(0))
    }
}

impl FromStr for Span {
    type Err = SpanError;
    fn from_str(text: &str) -> Result<Self, SpanError> {
        let bad = || SpanError(text.chars().take(32).flat_map(char::escape_default).collect());
        let mut total = 0u64;
        let mut number: Option<u64> = None;
        for c in text.chars() {
            if let Some(digit) = c.to_digit(10) {
                let next = number.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(digit.into()));
                number = Some(next.ok_or_else(bad)?);
            } else {
                let unit = match c {
                    's' => 1,
                    'm' => 60,
                    'h' => 3600,
                    'd' => 86_400,
                    _ => return Err(bad()),
                };
                let part = number.take().ok_or_else(bad)?.checked_mul(unit).ok_or_else(bad)?;
                total = total.checked_add(part).ok_or_else(bad)?;
            }
        }
        if number.is_some() || text.is_empty() || total > LONGEST {
            return Err(bad());
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.pad("0s");
        }
        let mut rest = self.0;
        let mut text = String::new();
        for (unit, letter) in [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')] {
            if rest >= unit {
                text.push_str(&(rest / unit).to_string());
                text.push(letter);
                rest %= unit;
            }
        }
        f.pad(&text)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_span_survives_being_written_and_read(seconds in 0..LONGEST) {
            let span = Span::seconds(seconds);
            prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }
    }

    #[test]
    fn absurd_lengths_are_refused() {
        for wrong in ["", "15", "m", "1x", "99999999999999999999s", "9999999d", "-1h", "1 h"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong:?} was taken for a length");
        }
    }
}
