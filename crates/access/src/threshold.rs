//! What is watched while a session lives, from where on, and what follows: a tier's `watch`.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

codes! {
    /// What of a session is watched.
    Watched("watched thing") {
        /// What it took out of its target so far, in bytes.
        Results = "results",
        /// To how many resources its person opened sessions within the last hour.
        Resources = "resources",
        /// How many steps were made onward from its target.
        Steps = "steps",
        /// From how many other networks its person came since it began.
        Network = "network",
    }
}

codes! {
    /// What follows.
    Consequence("consequence") {
        /// It is entered, shown, and told to who wants to know.
        Alert = "alert",
        /// That, and the session ends.
        End = "end",
    }
}

/// From where on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// So many times what is usual for that role there; see [`crate::risk::large_from`].
    Times(u64),
    /// More than so many: bytes, resources, steps, networks.
    Count(u64),
}

/// One thing that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// What.
    pub what: Watched,
    /// From where on.
    pub over: Over,
    /// What follows.
    pub then: Consequence,
}

impl Threshold {
    /// From which number on, where it is told what the session usually takes.
    #[must_use]
    pub fn bound(&self, usual: Option<u64>) -> u64 {
        match self.over {
            Over::Times(times) => crate::risk::large_from(usual, times),
            Over::Count(count) => count,
        }
    }
}

/// Why a text is no [`Threshold`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is nothing that can be watched; write it like `results over 500MiB: alert`, `results over 10x: end`, `resources over 8: alert`, \
     `steps over 0: end` or `network: alert`"
)]
pub struct ThresholdError(String);

impl FromStr for Threshold {
    type Err = ThresholdError;
    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let bad = || ThresholdError(text.chars().take(80).flat_map(char::escape_default).collect());
        let (watched, then) = text.rsplit_once(':').ok_or_else(bad)?;
        let then = then.trim().parse().map_err(|_| bad())?;
        let (what, over) = match watched.split_once(" over ") {
            Some((what, over)) => (what.trim(), Some(over.trim())),
            None => (watched.trim(), None),
        };
        let what: Watched = what.parse().map_err(|_| bad())?;
        let over = match (what, over) {
            (Watched::Results, Some(over)) => size(over).ok_or_else(bad)?,
            (Watched::Network, None) => Over::Count(0),
            (Watched::Resources | Watched::Steps, Some(over)) => Over::Count(over.parse().map_err(|_| bad())?),
            _ => return Err(bad()),
        };
        Ok(Self { what, over, then })
    }
}

/// `500MiB`, `1GiB`, `10x`.
fn size(text: &str) -> Option<Over> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    match unit {
        "x" => Some(Over::Times(number)),
        "KiB" => number.checked_mul(1 << 10).map(Over::Count),
        "MiB" => number.checked_mul(1 << 20).map(Over::Count),
        "GiB" => number.checked_mul(1 << 30).map(Over::Count),
        _ => None,
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, over, then } = self;
        match (what, over) {
            (Watched::Network, _) => write!(f, "{what}: {then}"),
            (_, Over::Times(times)) => write!(f, "{what} over {times}x: {then}"),
            (Watched::Results, Over::Count(count)) => {
                let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
                let whole = units.into_iter().find(|(bits, _)| count.trailing_zeros() >= *bits && *count > 0);
                match whole {
                    Some((bits, unit)) => write!(f, "{what} over {}{unit}: {then}", count >> bits),
                    None => write!(f, "{what} over {count}: {then}"),
                }
            }
            (_, Over::Count(count)) => write!(f, "{what} over {count}: {then}"),
        }
    }
}

impl Serialize for Threshold {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// That a session went over a threshold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// When.
    pub at: Timestamp,
    /// What was watched.
    pub what: Watched,
    /// How many there were.
    pub value: u64,
    /// More than this was too much.
    pub bound: u64,
    /// What followed.
    pub then: Consequence,
}

impl Alert {
    /// What happened, in a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { value, bound, .. } = self;
        match self.what {
            Watched::Results => format!("It took {} out, more than {}.", crate::risk::bytes(*value), crate::risk::bytes(*bound)),
            Watched::Resources => format!("Its person opened sessions to {value} resources within an hour, more than {bound}."),
            Watched::Steps => format!("{value} steps were made onward from its target, more than {bound}."),
            Watched::Network => "Its person came from another network while it was open.".to_owned(),
        }
    }
}

/// All of a session's, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Alerts(pub Vec<Alert>);
json_fields!(Alerts);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_written_one_way() {
        for text in [
            "results over 500MiB: alert",
            "results over 1GiB: end",
            "results over 10x: end",
            "resources over 8: alert",
            "steps over 0: end",
            "network: alert",
        ] {
            let threshold: Threshold = text.parse().unwrap();
            assert_eq!(threshold.to_string(), text);
            assert_eq!(serde_json::to_string(&threshold).unwrap(), format!("\"{text}\""));
        }
        for wrong in [
            "",
            "results: end",
            "results over 10: end",
            "results over 0MiB: end",
            "results over 99999999999GiB: end",
            "resources: alert",
            "network over 1: end",
            "steps over -1: end",
            "steps over 1: maybe",
            "rows over 1: end",
        ] {
            assert!(wrong.parse::<Threshold>().is_err(), "{wrong}");
        }
    }
}
