//! How much may be refused on one connection before it counts as a flood.
//!
//! Whatever is refused is entered in the audit log, and either side can be refused as fast as it can ask. So the first refusals are entered
//! one by one, those beyond are counted, and whoever goes on is shown out with one entry that says why.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::session::lock;

/// Refusals that are entered one by one.
const TOLD: u32 = 64;
/// Refusals after which the connection ends.
pub(crate) const BORNE: u32 = 1024;
/// One is forgiven each time this passes: a browser behind `ssh -D` may be refused all day long.
const FORGIVEN: Duration = Duration::from_millis(100);

/// What to do about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Enter it.
    Tell,
    /// It was counted; that is all.
    Count,
    /// It is one too many: enter that, and end the connection. Said once.
    Flood,
}

/// The refusals of one connection.
#[derive(Debug)]
pub(crate) struct Tolerance(Mutex<Count>);

#[derive(Debug)]
struct Count {
    marks: u32,
    since: Instant,
    untold: u64,
    told_once: HashSet<&'static str>,
    /// Between the first refusal that was not entered and the time when half of them are forgiven.
    hushed: bool,
    over: bool,
}

impl Tolerance {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(Count { marks: 0, since: now, untold: 0, told_once: HashSet::new(), hushed: false, over: false }))
    }

    /// One more refusal. What comes in numbers by its nature is to be `once`: told the first time only.
    pub(crate) fn mark(&self, what: &'static str, once: bool, now: Instant) -> Manner {
        let mut count = lock(&self.0);
        let passed = now.saturating_duration_since(count.since).as_millis() / FORGIVEN.as_millis();
        let forgiven = u32::try_from(passed).unwrap_or(u32::MAX);
        count.marks = count.marks.saturating_sub(forgiven);
        count.since = if count.marks == 0 { now } else { count.since + FORGIVEN * forgiven };
        count.marks = count.marks.saturating_add(1);
        count.hushed = count.marks > if count.hushed { TOLD / 2 } else { TOLD };
        let first = !once || count.told_once.insert(what);
        if !count.over && !count.hushed && first {
            return Manner::Tell;
        }
        count.untold += 1;
        if count.marks > BORNE && !count.over {
            count.over = true;
            return Manner::Flood;
        }
        Manner::Count
    }

    /// Refusals that were only counted.
    pub(crate) fn untold(&self) -> u64 {
        lock(&self.0).untold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: E7 (ssh)
    #[test]
    fn a_flood_is_told_once_and_what_comes_slowly_is_told_always() {
        let start = Instant::now();
        let tolerance = Tolerance::new(start);
        let manners: Vec<Manner> = (0..5000).map(|_| tolerance.mark("x11", false, start)).collect();
        let times = |manner| manners.iter().filter(|m| **m == manner).count();
        assert_eq!((times(Manner::Tell), times(Manner::Flood)), (64, 1));
        assert_eq!(tolerance.untold(), 5000 - 64);

        let tolerance = Tolerance::new(start);
        for n in 0..5000 {
            assert_eq!(tolerance.mark("x11", false, start + FORGIVEN * n), Manner::Tell);
        }
        // A flood that takes its time, at twice the speed at which it is forgiven: no more is entered while it lasts.
        let tolerance = Tolerance::new(start);
        let manners: Vec<Manner> = (0..5000).map(|n| tolerance.mark("x11", false, start + FORGIVEN * n / 2)).collect();
        let times = |manner| manners.iter().filter(|m| **m == manner).count();
        assert!(times(Manner::Tell) <= 130 && times(Manner::Flood) == 1, "{}", times(Manner::Tell));
        let tolerance = Tolerance::new(start);
        assert_eq!(tolerance.mark("channels", true, start), Manner::Tell);
        assert_eq!(tolerance.mark("channels", true, start), Manner::Count);
    }
}
