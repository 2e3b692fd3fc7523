//! What is unusual about somebody who asks or connects, told from what is kept of them and from nothing else.
//!
//! Pure: the same history, place and time give the same answer, now and at any later look. What each signal means, and its bounds, stand in
//! `docs/risk.md`; the constants here are those.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::names::ResourceName;
use crate::time::Span;

/// What is learnt from: so much of the past.
pub const LEARNT_FROM: Span = Span::hours(90 * 24);
/// A network or an hour is known by what was opened longer ago than this: nobody makes one known by coming twice.
pub const KNOWN_AFTER: Span = Span::hours(24);
/// What counts as a short time, for failed sign-ins and for many resources.
pub const SHORT: Span = Span::hours(1);
/// How long a large result is news.
pub const RECENT: Span = Span::hours(24);
/// So many failed sign-ins in a short time are unusual.
pub const FAILED: u64 = 5;
/// So many resources in a short time are unusual.
pub const RESOURCES: u64 = 10;
/// Of fewer sessions than this, or on fewer days, nothing is said about hours.
pub const HOURS_KNOWN: (usize, usize) = (20, 5);
/// An hour is unusual if fewer of a hundred sessions than this were within an hour of it.
pub const HOURS_PERCENT: usize = 5;
/// A result is large if it is so many times the usual one …
pub const TIMES_USUAL: u64 = 10;
/// … and more than this.
pub const NEVER_LARGE: u64 = 64 << 20;
/// Of fewer sessions of one's own than this, or of fewer of anybody's, nothing is usual.
pub const RESULTS_KNOWN: (usize, usize) = (5, 20);

codes! {
    /// What can be unusual.
    Signal("risk signal") {
        /// They come from a network they never came from.
        NewNetwork = "new_network",
        /// They come at an hour at which they hardly ever came.
        UnusualHour = "unusual_hour",
        /// They never used this resource.
        FirstUse = "first_use",
        /// Sign-ins from where they come from failed.
        FailedSignIns = "failed_sign_ins",
        /// They were at many resources in a short time.
        ManyResources = "many_resources",
        /// One of their sessions took out much more than is usual.
        LargeResults = "large_results",
    }
}

codes! {
    /// Whether something is unusual.
    Finding("finding") {
        /// It is not.
        No = "no",
        /// It is.
        Yes = "yes",
        /// It cannot be told; where a policy asks, that counts as if it were.
        Unknown = "unknown",
    }
}

codes! {
    /// How unusual all of it is together.
    Level("risk level") {
        /// Nothing is.
        Low = "low",
        /// One thing is, or cannot be told.
        Raised = "raised",
        /// Several are.
        High = "high",
    }
}

/// One signal: whether it is set, and the numbers behind that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sign {
    /// Which.
    pub signal: Signal,
    /// Whether it is set.
    pub found: Finding,
    /// What was counted.
    pub value: u64,
    /// What it was held against.
    pub bound: u64,
}

/// All signals for one resource at one moment. Codes and numbers alone: it stands in the log for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Risk {
    /// How unusual all of it is together.
    pub level: Level,
    /// Each signal once, in the order of [`Signal::ALL`].
    pub signs: Vec<Sign>,
}
json_fields!(Risk);

impl Risk {
    fn of(signs: Vec<Sign>) -> Self {
        let level = match signs.iter().filter(|sign| sign.found != Finding::No).count() {
            0 => Level::Low,
            1 => Level::Raised,
            _ => Level::High,
        };
        Self { level, signs }
    }

    /// With just these signals set.
    #[must_use]
    pub fn with(set: &BTreeSet<Signal>) -> Self {
        let sign = |signal: Signal| {
            let found = if set.contains(&signal) { Finding::Yes } else { Finding::No };
            Sign { signal, found, value: bound_of(signal).saturating_mul(u64::from(found == Finding::Yes)), bound: bound_of(signal) }
        };
        Self::of(Signal::ALL.iter().copied().map(sign).collect())
    }

    /// Nothing is unusual.
    #[must_use]
    pub fn none() -> Self {
        Self::with(&BTreeSet::new())
    }

    /// Nothing can be told: all of it counts as unusual.
    #[must_use]
    pub fn unknown() -> Self {
        let sign = |signal: Signal| Sign { signal, found: Finding::Unknown, value: 0, bound: bound_of(signal) };
        Self::of(Signal::ALL.iter().copied().map(sign).collect())
    }

    /// One of the signals. One that is not there, since another release knew none, cannot be told.
    #[must_use]
    pub fn sign(&self, signal: Signal) -> Sign {
        let unknown = Sign { signal, found: Finding::Unknown, value: 0, bound: bound_of(signal) };
        self.signs.iter().find(|sign| sign.signal == signal).copied().unwrap_or(unknown)
    }

    /// Whether a signal counts as set: it is, or it cannot be told.
    #[must_use]
    pub fn is_set(&self, signal: Signal) -> bool {
        self.sign(signal).found != Finding::No
    }

    /// What a signal counts for where a policy compares: the largest number there is if it cannot be told.
    #[must_use]
    pub fn counts(&self, signal: Signal) -> u64 {
        let sign = self.sign(signal);
        if sign.found == Finding::Unknown { u64::MAX } else { sign.value }
    }

    /// The signals that count as set.
    pub fn set(&self) -> impl Iterator<Item = Signal> {
        Signal::ALL.iter().copied().filter(|signal| self.is_set(*signal))
    }
}

fn bound_of(signal: Signal) -> u64 {
    match signal {
        Signal::FailedSignIns => FAILED,
        Signal::ManyResources => RESOURCES,
        Signal::LargeResults => NEVER_LARGE,
        Signal::NewNetwork | Signal::UnusualHour | Signal::FirstUse => 1,
    }
}

/// What is unusual, and the sentences that say why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// The signals.
    pub risk: Risk,
    /// A sentence for each that counts as set, with the numbers behind it. Names networks: a personal text.
    pub says: Vec<String>,
}

/// Once that somebody asked or opened a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// When.
    pub at: Timestamp,
    /// From where, as far as that is known still.
    pub from: Option<IpAddr>,
    /// For which resource.
    pub resource: ResourceName,
    /// Whether it was a session, and not a question alone.
    pub session: bool,
}

/// A session that took much out lately, and what was usual before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// From where.
    pub resource: ResourceName,
    /// How many bytes.
    pub bytes: u64,
    /// What sessions of that role there usually take; `None`: there were too few.
    pub usual: Option<u64>,
}

/// What is kept of somebody, as far back as is learnt from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    /// What they asked and opened, in any order, none newer than the moment looked at.
    pub acts: Vec<Act>,
    /// Sessions of the last [`RECENT`] that took more than [`NEVER_LARGE`].
    pub results: Vec<Taken>,
    /// Refused sign-ins of the last [`SHORT`] from the address they come from; `None`: it is not known from where they come.
    pub failed: Option<u64>,
}

/// What can be told of somebody at a moment, before it is known what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    signs: BTreeMap<Signal, (Sign, String)>,
    used: BTreeSet<ResourceName>,
    lately: BTreeSet<ResourceName>,
}

impl Facts {
    /// What a history says of somebody who comes from there now. Hours are those of the time zone.
    #[must_use]
    pub fn of(history: &History, from: Option<IpAddr>, now: Timestamp, zone: &TimeZone) -> Self {
        let since = before(now, LEARNT_FROM);
        let acts: Vec<&Act> = history.acts.iter().filter(|act| act.at >= since && act.at <= now).collect();
        // INVARIANT: a question teaches nothing, whatever became of it, and neither does a session of the last day: otherwise whoever asks or
        // comes a second time would be known by the first.
        let young = before(now, KNOWN_AFTER);
        let known: Vec<&Act> = acts.iter().copied().filter(|act| act.session && act.at < young).collect();
        let mut signs = BTreeMap::new();
        for (sign, says) in [network(&known, from), hour(&known, now, zone), failed(history.failed, from), results(&history.results)] {
            signs.insert(sign.signal, (sign, says));
        }
        let lately = before(now, SHORT);
        Self {
            signs,
            used: acts.iter().filter(|act| act.session).map(|act| act.resource.clone()).collect(),
            lately: acts.iter().filter(|act| act.at >= lately).map(|act| act.resource.clone()).collect(),
        }
    }

    /// What is unusual if they want this resource.
    #[must_use]
    pub fn on(&self, resource: &ResourceName) -> Assessment {
        let mut signs = self.signs.clone();
        let used = self.used.contains(resource);
        let days = LEARNT_FROM.as_seconds() / 86_400;
        let first = sign(Signal::FirstUse, !used, u64::from(used), 1);
        signs.insert(Signal::FirstUse, (first, format!("No session of theirs on {resource} in {days} days.")));
        let mut lately = self.lately.clone();
        lately.insert(resource.clone());
        let count = lately.len() as u64;
        let many = sign(Signal::ManyResources, count >= RESOURCES, count, RESOURCES);
        let says = format!("{count} resources within an hour, this one among them; {RESOURCES} are many.");
        signs.insert(Signal::ManyResources, (many, says));
        // The map is in the order of the signals.
        let says = signs.values().filter(|(sign, _)| sign.found != Finding::No).map(|(_, says)| says.clone()).collect();
        Assessment { risk: Risk::of(signs.into_values().map(|(sign, _)| sign).collect()), says }
    }
}

/// What is known of somebody's risk, where policy asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// As it is now.
    Now(std::sync::Arc<Facts>),
    /// As it was for what they asked.
    Then(Risk),
}

impl Known {
    /// The signals for one resource.
    #[must_use]
    pub fn on(&self, resource: &ResourceName) -> Risk {
        match self {
            Self::Now(facts) => facts.on(resource).risk,
            Self::Then(risk) => risk.clone(),
        }
    }
}

/// The network that an address counts to: of IPv4 a /24, of IPv6 a /48.
#[must_use]
pub fn network_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{}/24", Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

/// What sessions usually take: the median of what so many took, if there were enough.
#[must_use]
pub fn usual(mut bytes: Vec<u64>, enough: usize) -> Option<u64> {
    if bytes.len() < enough {
        return None;
    }
    bytes.sort_unstable();
    bytes.get((bytes.len() - 1) / 2).copied()
}

/// From how many bytes on a result is large.
#[must_use]
pub fn large_from(usual: Option<u64>, times: u64) -> u64 {
    usual.map_or(NEVER_LARGE, |usual| usual.saturating_mul(times).max(NEVER_LARGE))
}

/// Bytes as people read them.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} bytes");
    }
    let mut unit = 0;
    let mut tenths = count.saturating_mul(10) / 1024;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if tenths.is_multiple_of(10) { format!("{} {name}", tenths / 10) } else { format!("{}.{} {name}", tenths / 10, tenths % 10) }
}

fn before(now: Timestamp, span: Span) -> Timestamp {
    let back = jiff::SignedDuration::from_secs(i64::try_from(span.as_seconds()).unwrap_or(i64::MAX));
    now.checked_sub(back).unwrap_or(Timestamp::MIN)
}

fn sign(signal: Signal, set: bool, value: u64, bound: u64) -> Sign {
    Sign { signal, found: if set { Finding::Yes } else { Finding::No }, value, bound }
}

fn unknown(signal: Signal, says: &str) -> (Sign, String) {
    (Sign { signal, found: Finding::Unknown, value: 0, bound: bound_of(signal) }, says.to_owned())
}

fn network(known: &[&Act], from: Option<IpAddr>) -> (Sign, String) {
    let Some(from) = from else {
        return unknown(Signal::NewNetwork, "It is not known from where they come.");
    };
    let here = network_of(from);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for network in known.iter().filter_map(|act| act.from).map(network_of) {
        *seen.entry(network).or_default() += 1;
    }
    let times = seen.get(&here).copied().unwrap_or(0);
    let days = LEARNT_FROM.as_seconds() / 86_400;
    let mut often: Vec<(&String, &usize)> = seen.iter().collect();
    often.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
    let usual = match often.as_slice() {
        [] => "nothing is known of where they come from".to_owned(),
        some => {
            let list = some.iter().take(3).map(|(network, times)| format!("{network} ({times} times)")).collect::<Vec<_>>();
            format!("usual are {}", list.join(", "))
        }
    };
    (
        sign(Signal::NewNetwork, times == 0, times as u64, 1),
        format!("No session of theirs from {here} in {days} days, the last 24 hours aside; {usual}."),
    )
}

fn hour(known: &[&Act], now: Timestamp, zone: &TimeZone) -> (Sign, String) {
    let local = |at: Timestamp| zone.to_datetime(at);
    let here = local(now).hour();
    let days: BTreeSet<jiff::civil::Date> = known.iter().map(|act| local(act.at).date()).collect();
    if known.len() < HOURS_KNOWN.0 || days.len() < HOURS_KNOWN.1 {
        let says = format!(
            "At which hours they usually come cannot be told: {} sessions on {} days are known, {} on {} are needed.",
            known.len(),
            days.len(),
            HOURS_KNOWN.0,
            HOURS_KNOWN.1
        );
        return unknown(Signal::UnusualHour, &says);
    }
    let near = |hour: i8| {
        let apart = (hour - here).rem_euclid(24);
        apart <= 1 || apart == 23
    };
    let around = known.iter().filter(|act| near(local(act.at).hour())).count();
    let set = around * 100 < known.len() * HOURS_PERCENT;
    let says = format!("It is past {here:02}:00 there; {around} of {} sessions began within an hour of that time of day.", known.len());
    (sign(Signal::UnusualHour, set, around as u64, known.len() as u64), says)
}

fn failed(count: Option<u64>, from: Option<IpAddr>) -> (Sign, String) {
    let (Some(count), Some(from)) = (count, from) else {
        return unknown(Signal::FailedSignIns, "Whether sign-ins failed from where they come from cannot be told.");
    };
    let says = format!("{count} sign-ins from {from} were refused within an hour; {FAILED} are many.");
    (sign(Signal::FailedSignIns, count >= FAILED, count, FAILED), says)
}

fn results(taken: &[Taken]) -> (Sign, String) {
    let bound = |result: &Taken| large_from(result.usual, TIMES_USUAL);
    let large = taken.iter().filter(|result| result.usual.is_some() && result.bytes > bound(result)).max_by_key(|result| result.bytes);
    if let Some(result) = large {
        let says = format!(
            "A session on {} took {} within the last day; usual are {}.",
            result.resource,
            bytes(result.bytes),
            bytes(result.usual.unwrap_or_default())
        );
        return (sign(Signal::LargeResults, true, result.bytes, bound(result)), says);
    }
    let largest = taken.iter().filter(|result| result.bytes > NEVER_LARGE && result.usual.is_none()).max_by_key(|result| result.bytes);
    if let Some(result) = largest {
        let says = format!(
            "A session on {} took {} within the last day, and what is usual there cannot be told.",
            result.resource,
            bytes(result.bytes)
        );
        return unknown(Signal::LargeResults, &says);
    }
    let most = taken.iter().map(|result| result.bytes).max().unwrap_or(0);
    (sign(Signal::LargeResults, false, most, NEVER_LARGE), String::new())
}

#[cfg(test)]
#[path = "risk/tests.rs"]
mod tests;
