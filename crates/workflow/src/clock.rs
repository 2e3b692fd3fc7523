//! The gate's clock: never behind its own log, never stopped by a step of the wall clock.
//!
//! `now` is the later of the wall clock and the newest time known, moved on by `CLOCK_BOOTTIME` (which runs through
//! suspend and is stepped by nobody). So a wall clock set back an hour makes no grant an hour longer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use access::time::micros;
use jiff::{SignedDuration, Timestamp};

/// A wall clock this far behind the newest known time means that nothing opens.
pub const TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// A wall clock that ran this far ahead of the time since boot was set, or is a wrong one: nothing is destroyed by what it says.
pub const JUMP: SignedDuration = SignedDuration::from_hours(1);

/// Where time comes from.
pub trait TimeSource: Send + Sync + 'static {
    /// What the wall clock shows.
    fn wall(&self) -> Timestamp;
    /// Time since boot, suspend included.
    fn boot(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemTime;

impl TimeSource for SystemTime {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn wall(&self) -> Timestamp {
        micros(Timestamp::now())
    }
    fn boot(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    }
}

/// Clocks that a test moves by hand.
#[derive(Debug)]
pub struct ManualTime(Mutex<(Timestamp, Duration)>);

impl ManualTime {
    /// Starts at a wall time.
    #[must_use]
    pub fn new(wall: Timestamp) -> Arc<Self> {
        Arc::new(Self(Mutex::new((wall, Duration::from_secs(1)))))
    }
    /// Time passes on both clocks.
    pub fn advance(&self, by: Duration) {
        let mut at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at.0 = at.0.checked_add(SignedDuration::try_from(by).unwrap_or_default()).unwrap_or(Timestamp::MAX);
        at.1 += by;
    }
    /// Somebody sets the wall clock.
    pub fn step_wall(&self, to: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = to;
    }
}

impl TimeSource for ManualTime {
    fn wall(&self) -> Timestamp {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }
    fn boot(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

/// What time it is, for everything the gate decides.
pub struct Clock {
    source: Arc<dyn TimeSource>,
    anchor: Mutex<(Timestamp, Duration)>,
    /// The time, and the time since boot, when this clock began or was last accepted.
    origin: Mutex<(Timestamp, Duration)>,
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}

impl Clock {
    /// A clock that is at least at `mark`, the newest time in the log.
    #[must_use]
    pub fn new(source: Arc<dyn TimeSource>, mark: Option<Timestamp>) -> Self {
        let wall = source.wall();
        let boot = source.boot();
        let begin = (mark.map_or(wall, |m| m.max(wall)), boot);
        Self { source, anchor: Mutex::new(begin), origin: Mutex::new(begin) }
    }

    /// What time it is; it never goes back.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let wall = self.source.wall();
        let boot = self.source.boot();
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        let run = SignedDuration::try_from(boot.saturating_sub(anchor.1)).unwrap_or_default();
        let floor = anchor.0.checked_add(run).unwrap_or(Timestamp::MAX);
        let now = micros(floor.max(wall));
        *anchor = (now, boot);
        now
    }

    /// Takes an earlier time for right.
    ///
    /// INVARIANT: whoever calls it has ended before what would last longer by it; `Gate::accept_clock` does.
    pub(crate) fn turn_back(&self, to: Timestamp) {
        let begin = (to, self.source.boot());
        *self.anchor.lock().unwrap_or_else(PoisonError::into_inner) = begin;
        *self.origin.lock().unwrap_or_else(PoisonError::into_inner) = begin;
    }

    /// How far the time ran ahead of the time since boot, in all steps together, if that is more than [`JUMP`]. It stays so, whatever the
    /// wall clock shows later, until an earlier time is taken for right or the gate starts anew.
    #[must_use]
    pub fn ran_ahead(&self) -> Option<SignedDuration> {
        let now = self.now();
        let (began, boot) = *self.origin.lock().unwrap_or_else(PoisonError::into_inner);
        let run = SignedDuration::try_from(self.source.boot().saturating_sub(boot)).unwrap_or(SignedDuration::MAX);
        let ahead = now.duration_since(began).saturating_sub(run);
        (ahead > JUMP).then_some(ahead)
    }

    /// Time since boot, for measuring.
    #[must_use]
    pub fn boot(&self) -> Duration {
        self.source.boot()
    }

    /// The wall clock and the gate's own time, if the wall clock is too far behind for anything to open.
    #[must_use]
    pub fn behind(&self) -> Option<(Timestamp, Timestamp)> {
        let now = self.now();
        let wall = self.source.wall();
        (now.duration_since(wall) > TOLERANCE).then_some((wall, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: D4, GRANT-7
    #[test]
    fn a_wall_clock_set_back_makes_nothing_longer() {
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let time = ManualTime::new(start);
        let clock = Clock::new(time.clone(), None);
        time.advance(Duration::from_secs(60));
        let before = clock.now();
        time.step_wall(start - SignedDuration::from_hours(1));
        assert!(clock.now() >= before);
        assert!(clock.behind().is_some());
        time.advance(Duration::from_secs(60));
        assert_eq!(clock.now(), before + SignedDuration::from_secs(60));
        time.step_wall(start + SignedDuration::from_hours(2));
        assert_eq!(clock.now(), start + SignedDuration::from_hours(2));
        assert!(clock.behind().is_none());
    }

    // covers: D4
    #[test]
    fn steps_forward_are_counted_together_until_an_earlier_time_is_taken_for_right() {
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let time = ManualTime::new(start);
        let clock = Clock::new(time.clone(), None);
        time.advance(Duration::from_hours(1000));
        assert_eq!(clock.ran_ahead(), None, "time that passes is no jump");
        for _ in 0..3 {
            assert_eq!(clock.ran_ahead(), None);
            time.step_wall(clock.now() + SignedDuration::from_mins(25));
        }
        assert_eq!(clock.ran_ahead(), Some(SignedDuration::from_mins(75)));
        let right = start + SignedDuration::from_hours(1000);
        time.step_wall(right);
        assert!(clock.ran_ahead().is_some(), "the log stays ahead");
        clock.turn_back(right);
        assert_eq!(clock.ran_ahead(), None);
    }

    #[test]
    fn a_restart_begins_at_the_newest_time_in_the_log() {
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let mark = start + SignedDuration::from_mins(10);
        let clock = Clock::new(ManualTime::new(start), Some(mark));
        assert_eq!(clock.now(), mark);
        assert!(clock.behind().is_some());
    }
}
