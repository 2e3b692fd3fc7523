//! Slows down guessing: so many failures from one address, then no more tries for a while.
//!
//! In memory and bounded: losing it costs nothing but a few more guesses at 160 random bits. IPv6 addresses count by
//! their /64, since one customer has a whole one.

use std::collections::HashMap;
use std::net::IpAddr;

use access::reason::{Reason, Refusal};
use access::source::source;
use access::time::Span;
use jiff::Timestamp;

/// Failures by source address: each takes one from a bucket that refills with time.
#[derive(Debug)]
pub struct Throttle {
    sources: HashMap<IpAddr, Bucket>,
    /// At most so many addresses are remembered.
    room: usize,
    /// So many failures in a row are let through.
    burst: u32,
    /// One is forgiven each time this passes.
    refill: Span,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u32,
    /// When `left` was last counted.
    at: Timestamp,
}

impl Default for Throttle {
    /// 10 failures, then one more every 6 seconds; 4,096 addresses.
    fn default() -> Self {
        Self::new(4096, 10, Span::seconds(6))
    }
}

impl Throttle {
    /// Remembers at most `room` addresses, lets `burst` failures through and forgives one each `refill`.
    #[must_use]
    pub fn new(room: usize, burst: u32, refill: Span) -> Self {
        Self { sources: HashMap::new(), room: room.max(1), burst: burst.max(1), refill: Span::seconds(refill.as_seconds().max(1)) }
    }

    /// Whether one may try from here now. To be asked before anything is looked up.
    ///
    /// # Errors
    /// [`Reason::TooMany`].
    pub fn may_try(&self, from: IpAddr, now: Timestamp) -> Result<(), Refusal> {
        match self.sources.get(&source(from)) {
            Some(bucket) if self.refilled(*bucket, now).left == 0 => {
                Err(Refusal::because(Reason::TooMany, "too many failed attempts to sign in from this address"))
            }
            _ => Ok(()),
        }
    }

    /// Somebody failed to sign in from here.
    pub fn failed(&mut self, from: IpAddr, now: Timestamp) {
        let source = source(from);
        let bucket = self.sources.get(&source).map_or(Bucket { left: self.burst, at: now }, |b| self.refilled(*b, now));
        if !self.sources.contains_key(&source) && self.sources.len() >= self.room {
            self.make_room(now);
        }
        self.sources.insert(source, Bucket { left: bucket.left.saturating_sub(1), ..bucket });
    }

    fn refilled(&self, bucket: Bucket, now: Timestamp) -> Bucket {
        // A clock that went backwards forgives nothing and forgets nothing.
        let steps = Span::between(bucket.at, now).as_seconds() / self.refill.as_seconds();
        let forgiven = u32::try_from(steps).unwrap_or(u32::MAX);
        let left = bucket.left.saturating_add(forgiven).min(self.burst);
        let at = if left == self.burst { now.max(bucket.at) } else { Span::seconds(steps * self.refill.as_seconds()).after(bucket.at) };
        Bucket { left, at }
    }

    /// Forgets whoever has recovered, else the one that is closest to it.
    fn make_room(&mut self, now: Timestamp) {
        let recovered: Vec<IpAddr> =
            self.sources.iter().filter(|(_, b)| self.refilled(**b, now).left == self.burst).map(|(ip, _)| *ip).collect();
        for ip in &recovered {
            self.sources.remove(ip);
        }
        if recovered.is_empty()
            && let Some(ip) = self
                .sources
                .iter()
                .map(|(ip, b)| (*ip, self.refilled(*b, now)))
                .max_by_key(|(_, b)| (b.left, std::cmp::Reverse(b.at)))
                .map(|(ip, _)| ip)
        {
            self.sources.remove(&ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::people::*;
    use proptest::prelude::*;

    // covers: A9
    #[test]
    fn after_so_many_failures_one_has_to_wait() {
        let mut throttle = Throttle::new(8, 3, Span::seconds(10));
        let elsewhere: IpAddr = "192.0.2.11".parse().unwrap();
        for _ in 0..3 {
            assert_eq!(throttle.may_try(desk(), noon()), Ok(()));
            throttle.failed(desk(), noon());
        }
        assert_eq!(throttle.may_try(desk(), noon()).unwrap_err().reason, Reason::TooMany);
        assert_eq!(throttle.may_try(elsewhere, noon()), Ok(()));
        assert!(throttle.may_try("::ffff:192.0.2.10".parse().unwrap(), noon()).is_err(), "the same address in another spelling");
        assert!(throttle.may_try(desk(), Span::seconds(9).after(noon())).is_err());
        let later = Span::seconds(10).after(noon());
        assert_eq!(throttle.may_try(desk(), later), Ok(()));
        throttle.failed(desk(), later);
        assert!(throttle.may_try(desk(), later).is_err());
        assert!(throttle.may_try(desk(), noon()).is_err(), "a clock that goes back forgives nothing");
    }

    #[test]
    fn one_ipv6_network_is_one_source() {
        let mut throttle = Throttle::new(8, 1, Span::seconds(10));
        throttle.failed("2001:db8:1:2::1".parse().unwrap(), noon());
        assert!(throttle.may_try("2001:db8:1:2:ffff::9".parse().unwrap(), noon()).is_err());
        assert!(throttle.may_try("2001:db8:1:3::1".parse().unwrap(), noon()).is_ok());
    }

    proptest! {
        #[test]
        fn memory_stays_bounded_and_the_worst_are_kept(sources in prop::collection::vec(any::<u32>(), 1..400)) {
            let mut throttle = Throttle::new(16, 2, Span::seconds(60));
            for _ in 0..2 {
                throttle.failed(desk(), noon());
            }
            for ip in sources {
                throttle.failed(IpAddr::V4(ip.into()), noon());
                prop_assert!(throttle.sources.len() <= 16);
            }
            prop_assert!(throttle.may_try(desk(), noon()).is_err());
        }
    }
}
