//! How long things take here, counted into buckets since this process began.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often something took at most so long.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Upper bounds in seconds, and how many were within each; what took longer is in [`Histogram::count`] alone.
    pub buckets: Vec<(f64, u64)>,
    /// All of them together, in seconds.
    pub sum: f64,
    /// How many there were.
    pub count: u64,
}

/// One measured kind of thing.
#[derive(Debug)]
pub(crate) struct Timing(Mutex<Histogram>);

impl Timing {
    fn with(bounds: &[f64]) -> Self {
        Self(Mutex::new(Histogram { buckets: bounds.iter().map(|bound| (*bound, 0)).collect(), sum: 0.0, count: 0 }))
    }

    /// One more that took so long.
    pub(crate) fn took(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let mut histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        histogram.sum += seconds;
        histogram.count += 1;
        for (_, within) in histogram.buckets.iter_mut().filter(|(bound, _)| seconds <= *bound) {
            *within += 1;
        }
    }

    fn now(&self) -> Histogram {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is measured.
#[derive(Debug)]
pub struct Timings {
    /// From the question to what policy answers.
    pub(crate) decision: Timing,
    /// From an entry to the published checkpoint that commits to it; of those that one checkpoint takes, the oldest.
    pub(crate) audit: Timing,
    /// From a cut to both sides of its session closed.
    pub(crate) cut: Timing,
    /// From the order to contain somebody or something to the last end that was seen at a target.
    pub(crate) contained: Timing,
    /// When the oldest entry was committed that no published checkpoint commits to yet.
    waiting: Mutex<Option<Instant>>,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            decision: Timing::with(&[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05]),
            audit: Timing::with(&[0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0]),
            cut: Timing::with(&[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0]),
            contained: Timing::with(&[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0]),
            waiting: Mutex::default(),
        }
    }
}

impl Timings {
    /// An entry was committed.
    pub(crate) fn entered(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
    }

    /// Takes the oldest entry that waits for a checkpoint. What is committed from here on waits for the next.
    pub(crate) fn takes(&self) -> Option<Instant> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The checkpoint was published, or was not: then what it was to take waits on.
    pub(crate) fn published(&self, oldest: Option<Instant>, published: bool) {
        match oldest {
            Some(oldest) if published => self.audit.took(oldest.elapsed()),
            Some(oldest) => *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(oldest),
            None => {}
        }
    }

    /// How long policy takes to decide.
    #[must_use]
    pub fn decisions(&self) -> Histogram {
        self.decision.now()
    }

    /// How long entries wait for a published checkpoint.
    #[must_use]
    pub fn audit_lag(&self) -> Histogram {
        self.audit.now()
    }

    /// How long cuts take until both sides are closed.
    #[must_use]
    pub fn cuts(&self) -> Histogram {
        self.cut.now()
    }

    /// How long containments take, from the order to the last end that was seen at a target.
    #[must_use]
    pub fn containments(&self) -> Histogram {
        self.contained.now()
    }

    /// How long the oldest entry waits already that no published checkpoint commits to.
    #[must_use]
    pub fn audit_waiting(&self) -> Duration {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).map_or(Duration::ZERO, |since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_in_every_bucket_that_holds_it() {
        let timing = Timing::with(&[0.25, 1.0]);
        for millis in [250, 250, 500, 3000] {
            timing.took(Duration::from_millis(millis));
        }
        assert_eq!(timing.now(), Histogram { buckets: vec![(0.25, 2), (1.0, 3)], sum: 4.0, count: 4 });
    }

    #[test]
    fn an_entry_waits_until_a_checkpoint_that_takes_it_is_published() {
        let timings = Timings::default();
        assert_eq!((timings.takes(), timings.audit_waiting()), (None, Duration::ZERO));
        timings.entered();
        let oldest = timings.takes();
        // One that fails takes nothing away; what came in between waits no longer than it does.
        timings.entered();
        timings.published(oldest, false);
        timings.entered();
        assert_eq!((timings.takes(), timings.audit_lag().count), (oldest, 0));
        timings.published(oldest, true);
        assert_eq!((timings.takes(), timings.audit_lag().count), (None, 1));
    }
}
