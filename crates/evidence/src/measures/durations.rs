//! Many lengths of time, each kept to three significant digits of a millisecond: exact enough for a median, and a year of them is small.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Lengths of time, in milliseconds, and how often each was measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durations {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    counts: BTreeMap<u64, u64>,
    /// All of them together as they were measured, in milliseconds.
    #[serde(default)]
    sum: u64,
}

/// How many significant digits a length keeps; the rest is cut off.
const SIGNIFICANT: u64 = 1_000;

fn cut(millis: u64) -> u64 {
    let mut unit = 1;
    while millis / unit >= SIGNIFICANT {
        unit *= 10;
    }
    millis / unit * unit
}

impl Durations {
    /// One more, from the one time to the other; nothing at all if the second is not later.
    pub fn measured(&mut self, from: Timestamp, until: Timestamp) {
        let millis = u64::try_from(until.as_millisecond().saturating_sub(from.as_millisecond())).unwrap_or(0);
        *self.counts.entry(cut(millis)).or_insert(0) += 1;
        self.sum = self.sum.saturating_add(millis);
    }

    /// All of these too.
    pub fn add(&mut self, other: &Self) {
        for (millis, count) in &other.counts {
            *self.counts.entry(*millis).or_insert(0) += count;
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// All of them together, in milliseconds.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// How many are at most so long, in milliseconds.
    #[must_use]
    pub fn within(&self, millis: u64) -> u64 {
        self.counts.range(..=millis).map(|(_, count)| count).sum()
    }

    /// The smallest length that so many hundredths of them do not exceed (nearest rank), in milliseconds; `None` if there are none.
    #[must_use]
    pub fn quantile(&self, hundredths: u64) -> Option<u64> {
        let rank = (self.count() * hundredths.min(100)).div_ceil(100).max(1);
        let mut seen = 0;
        self.counts.iter().find_map(|(millis, count)| {
            seen += count;
            (seen >= rank).then_some(*millis)
        })
    }

    /// The middle one; of an even number the lower of the two.
    #[must_use]
    pub fn median(&self) -> Option<u64> {
        self.quantile(50)
    }

    /// The longest.
    #[must_use]
    pub fn longest(&self) -> Option<u64> {
        self.quantile(100)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(lengths: &[u64]) -> Durations {
        let mut durations = Durations::default();
        for length in lengths {
            let from = Timestamp::UNIX_EPOCH;
            durations.measured(from, Timestamp::from_millisecond(i64::try_from(*length).unwrap()).unwrap());
        }
        durations
    }

    #[test]
    fn the_middle_the_longest_and_none() {
        assert_eq!(of(&[]).median(), None);
        let some = of(&[40, 10, 30, 20]);
        assert_eq!((some.median(), some.quantile(90), some.longest(), some.count(), some.sum()), (Some(20), Some(40), Some(40), 4, 100));
        assert_eq!((some.within(9), some.within(10), some.within(35)), (0, 1, 3));
        assert_eq!(of(&[123_456]).median(), Some(123_000));
        let mut never = Durations::default();
        never.measured(Timestamp::from_second(2).unwrap(), Timestamp::from_second(1).unwrap());
        assert_eq!(never.median(), Some(0));
    }

    proptest! {
        #[test]
        fn what_is_kept_is_near_and_parts_add_up(mut lengths in proptest::collection::vec(0u64..10_000_000_000, 1..60), at in 0usize..60) {
            let (one, other) = lengths.split_at(at.min(lengths.len()));
            let mut whole = of(one);
            whole.add(&of(other));
            prop_assert_eq!(&whole, &of(&lengths));
            lengths.sort_unstable();
            let exact = lengths[(lengths.len() - 1) / 2];
            let kept = whole.median().unwrap();
            prop_assert!(kept <= exact && exact - kept <= exact / 100, "{} is kept as {}", exact, kept);
            let read: Durations = serde_json::from_str(&serde_json::to_string(&whole).unwrap()).unwrap();
            prop_assert_eq!(read, whole);
        }
    }
}
