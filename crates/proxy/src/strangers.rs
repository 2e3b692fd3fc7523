//! Connections that have not signed in yet: how many there may be, all together and from one source.
//!
//! Whoever fills all places must not keep others out with them. So a newcomer for whom there is no place takes that of a stranger who has
//! lingered, or of one from the source that holds the most.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// After this a stranger lingers: a client needs a fraction of it, and a person who is to touch a security key a little more.
const LINGERS: Duration = Duration::from_secs(3);

/// Counts strangers.
#[derive(Debug, Clone)]
pub(crate) struct Strangers {
    places: usize,
    per_source: usize,
    crowd: Arc<Mutex<Crowd>>,
}

#[derive(Debug, Default)]
struct Crowd {
    number: u64,
    all: usize,
    /// By their number, so that the first is the oldest.
    by_source: HashMap<IpAddr, BTreeMap<u64, Present>>,
}

#[derive(Debug)]
struct Present {
    since: Instant,
    shown_out: CancellationToken,
}

/// A place among them; given back when dropped.
#[derive(Debug)]
pub(crate) struct Stranger {
    source: IpAddr,
    number: u64,
    shown_out: CancellationToken,
    crowd: Arc<Mutex<Crowd>>,
}

/// Where a connection comes from, as far as one can tell apart who is there: a network of IPv6 belongs to one subscriber.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
    }
}

fn locked(crowd: &Mutex<Crowd>) -> MutexGuard<'_, Crowd> {
    crowd.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Crowd {
    fn from(&self, source: &IpAddr) -> usize {
        self.by_source.get(source).map_or(0, BTreeMap::len)
    }

    fn remove(&mut self, source: &IpAddr, number: u64) -> Option<Present> {
        let theirs = self.by_source.get_mut(source)?;
        let present = theirs.remove(&number)?;
        self.all -= 1;
        if theirs.is_empty() {
            self.by_source.remove(source);
        }
        Some(present)
    }

    /// Where the oldest of all is from.
    fn oldest(&self) -> Option<IpAddr> {
        let firsts = self.by_source.iter().filter_map(|(source, theirs)| Some((*theirs.first_key_value()?.0, *source)));
        firsts.min().map(|(_, source)| source)
    }

    /// Shows the oldest of a source out, if they linger or must.
    fn show_out(&mut self, source: IpAddr, whoever: bool, now: Instant) -> bool {
        let oldest = self.by_source.get(&source).and_then(|theirs| theirs.first_key_value());
        let Some((&number, _)) = oldest.filter(|(_, present)| whoever || now.saturating_duration_since(present.since) >= LINGERS) else {
            return false;
        };
        if let Some(present) = self.remove(&source, number) {
            present.shown_out.cancel();
        }
        true
    }
}

impl Strangers {
    pub(crate) fn new(places: usize, per_source: usize) -> Self {
        Self { places, per_source, crowd: Arc::default() }
    }

    /// A place for one more, if there is one.
    fn place(&self, address: IpAddr, now: Instant) -> Option<Stranger> {
        let source = source(address);
        let mut crowd = locked(&self.crowd);
        if crowd.all >= self.places || crowd.from(&source) >= self.per_source {
            return None;
        }
        crowd.number += 1;
        crowd.all += 1;
        let (number, shown_out) = (crowd.number, CancellationToken::new());
        crowd.by_source.entry(source).or_default().insert(number, Present { since: now, shown_out: shown_out.clone() });
        Some(Stranger { source, number, shown_out, crowd: self.crowd.clone() })
    }

    /// A place for one more; if there is none, that of somebody who has to go for it, see [`Stranger::shown_out`].
    pub(crate) fn admit(&self, address: IpAddr, now: Instant) -> Option<Stranger> {
        if let Some(place) = self.place(address, now) {
            return Some(place);
        }
        let source = source(address);
        {
            let mut crowd = locked(&self.crowd);
            let mine = crowd.from(&source);
            let most = crowd.by_source.iter().max_by_key(|(_, theirs)| theirs.len()).map(|(source, theirs)| (*source, theirs.len()));
            let (from, whoever) = match most {
                Some(_) if mine >= self.per_source => (source, false),
                Some((most, held)) if held > mine + 1 => (most, true),
                // Nobody holds more than the newcomer would: whoever has been there the longest, wherever they are.
                _ => (crowd.oldest()?, false),
            };
            if !crowd.show_out(from, whoever, now) {
                return None;
            }
        }
        self.place(address, now)
    }
}

impl Stranger {
    /// Told when they have to go for somebody else.
    pub(crate) fn shown_out(&self) -> CancellationToken {
        self.shown_out.clone()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = locked(&self.crowd).remove(&self.source, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    // covers: E7
    #[test]
    fn whoever_fills_the_door_keeps_nobody_else_out() {
        let strangers = Strangers::new(7, 4);
        let start = Instant::now();
        let crowd: Vec<Stranger> = (0..7u8).map(|n| strangers.admit(at(n % 2), start).unwrap()).collect();
        // Nobody lingers yet: the same sources get no more, others do.
        assert!(strangers.place(at(7), start).is_none() && strangers.admit(at(0), start).is_none());
        let other = strangers.admit(at(7), start).unwrap();
        assert!(crowd[0].shown_out().is_cancelled() && !other.shown_out().is_cancelled());
        assert_eq!(crowd.iter().filter(|s| s.shown_out().is_cancelled()).count(), 1);
        drop((crowd, other));
        // Somebody else behind the same address: whoever lingers there goes, the oldest first.
        let crowd: Vec<Stranger> = (0..4).map(|_| strangers.admit(at(1), start).unwrap()).collect();
        assert!(strangers.admit(at(1), start).is_none());
        let same: Vec<Stranger> = (0..4).map(|_| strangers.admit(at(1), start + LINGERS).unwrap()).collect();
        assert!(crowd.iter().all(|s| s.shown_out().is_cancelled()) && same.iter().all(|s| !s.shown_out().is_cancelled()));
        drop((crowd, same));
        let crowd = locked(&strangers.crowd);
        assert!(crowd.all == 0 && crowd.by_source.is_empty());
    }

    // covers: E7
    #[test]
    fn who_has_lingered_goes_though_others_from_elsewhere_are_fresh() {
        let strangers = Strangers::new(8, 4);
        let start = Instant::now();
        let lingering = strangers.admit(at(5), start).unwrap();
        let fresh: Vec<Stranger> = (10..17).map(|n| strangers.admit(at(n), start + LINGERS).unwrap()).collect();
        let newcomer = strangers.admit(at(20), start + LINGERS).unwrap();
        assert!(lingering.shown_out().is_cancelled() && !newcomer.shown_out().is_cancelled());
        assert!(fresh.iter().all(|s| !s.shown_out().is_cancelled()));
        // Now nobody lingers, and nobody holds more than one place.
        assert!(strangers.admit(at(21), start + LINGERS).is_none());
    }

    // covers: E7
    #[test]
    fn a_network_of_addresses_is_one_source() {
        let strangers = Strangers::new(100, 2);
        let from = |text: &str| strangers.place(text.parse().unwrap(), Instant::now());
        let there = (from("2001:db8::1"), from("2001:db8::2:1"), from("::ffff:192.0.2.1"), from("192.0.2.1"));
        assert!(there.0.is_some() && there.3.is_some());
        assert!(from("2001:db8::3").is_none() && from("192.0.2.1").is_none());
        assert!(from("2001:db8:0:1::1").is_some() && from("192.0.2.2").is_some());
    }
}
