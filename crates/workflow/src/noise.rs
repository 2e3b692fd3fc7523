//! Policies that decide nothing: approved nearly always, denied nearly always, or never used.
//!
//! *Takes* a length of time. *Proves* that the caller may see how people decide. *Hands to* them each such path, with the numbers, and where it
//! can be done by itself, the policy directory's file as it would be.

use std::sync::Arc;

use access::reason::{Reason, Refusal};
use access::time::Span;
use evidence::measures::PolicyDay;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use policy::paths::{Changed, PathIn};
use policy::{Act, Bundle, Noun, Object};
use store::{EntryFilter, EntryPage};

use crate::Caller;
use crate::gate::{Gate, unavailable};

/// So many decisions of people are needed before anything is said of them.
pub const ENOUGH: u64 = 20;
/// So many of a hundred are nearly all.
pub const NEARLY: u64 = 95;

/// What a path does that need not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    /// People are asked, and nearly always agree.
    Approved,
    /// People are asked, and nearly always deny.
    Denied,
    /// Nobody asked by it.
    Unused,
}

/// A path that decides nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noisy {
    /// Which.
    pub path: PathIn,
    /// What it does.
    pub noise: Noise,
    /// What became of requests by it.
    pub counted: PolicyDay,
    /// What could be done, in words.
    pub proposal: String,
    /// The same as a change of the directory; `None` if it takes thought.
    pub change: Option<Changed>,
}

/// What was found, and from when on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noises {
    /// From when on it was counted.
    pub since: Timestamp,
    /// The digest of the bundle in force, that changes are of.
    pub bundle: String,
    /// The paths.
    pub noisy: Vec<Noisy>,
}

impl Gate {
    /// The paths of the policy in force that decided nothing for so long.
    ///
    /// # Errors
    /// If the caller may read neither the log nor the policy's history, or the log can't be read.
    pub async fn noisy_policies(&self, caller: &Caller, time: Span) -> Result<Noises, Refusal> {
        if self.allowed(caller, Act::Administer(Noun::Bundle), &Object::Nothing).await.is_err() {
            self.authorize(caller, Act::Administer(Noun::Audit), &Object::Nothing).await?;
        }
        let now = self.now();
        let length = jiff::SignedDuration::from_secs(i64::try_from(time.as_seconds()).unwrap_or(i64::MAX));
        let since = now.checked_sub(length).map_err(|_| Refusal::because(Reason::Invalid, "that is longer ago than time goes back"))?;
        let counted = self.counted_by_policy(since).await?;
        let (bundle, before) = (self.bundle(), self.bundle_at(since).await?);
        let noisy = bundle.paths().into_iter().filter_map(|path| {
            let counted = counted.get(&path.policy).copied().unwrap_or_default();
            let stood = before.as_ref().is_some_and(|then| then.paths().iter().any(|old| old.policy == path.policy));
            noise(&path, counted, stood).map(|noise| propose(&bundle, path, noise, counted))
        });
        Ok(Noises { since, bundle: bundle.digest().to_owned(), noisy: noisy.collect() })
    }

    async fn counted_by_policy(&self, since: Timestamp) -> Result<std::collections::BTreeMap<String, PolicyDay>, Refusal> {
        let first = TimeZone::UTC.to_datetime(since).date();
        self.with_measures(|projection| {
            let mut sum = evidence::measures::Day::default();
            projection.days().range(first..).for_each(|(_, day)| sum.add(day));
            sum.policies
        })
        .await
    }

    /// The policy that was in force at a time; `None` if there was none, or it was not kept as it was.
    async fn bundle_at(&self, at: Timestamp) -> Result<Option<Arc<Bundle>>, Refusal> {
        let filter = EntryFilter { name: Some("bundle.activated".to_owned()), until: Some(at), ..EntryFilter::default() };
        let page = EntryPage { limit: 1, after: None, newest_first: true };
        let entries = self.store.entries(&filter, page).await.map_err(unavailable)?;
        let Some(access::event::Event::BundleActivated { digest, .. }) = entries.into_iter().next().map(|logged| logged.entry.event) else {
            return Ok(None);
        };
        if digest == self.bundle.load().digest() {
            return Ok(Some(self.bundle()));
        }
        Ok(self.kept_bundle(&digest).await?.ok().map(Arc::new))
    }
}

fn noise(path: &PathIn, counted: PolicyDay, stood: bool) -> Option<Noise> {
    let decided = counted.approved + counted.denied;
    let nearly = |part: u64| decided >= ENOUGH && part * 100 >= decided * NEARLY;
    if nearly(counted.approved) {
        Some(Noise::Approved)
    } else if nearly(counted.denied) {
        Some(Noise::Denied)
    } else {
        // That nobody had an emergency is no reason to have no way out of one.
        (counted.asked == 0 && stood && !path.break_glass).then_some(Noise::Unused)
    }
}

fn propose(bundle: &Bundle, path: PathIn, noise: Noise, counted: PolicyDay) -> Noisy {
    let PolicyDay { approved, denied, .. } = counted;
    let decided = approved + denied;
    let (proposal, change) = match noise {
        Noise::Unused => ("Nobody asked by it: take it out.".to_owned(), bundle.without_path(&path.policy).ok()),
        Noise::Denied => (
            format!("{denied} of {decided} were denied: take it out, so that nobody asks in vain."),
            bundle.without_path(&path.policy).ok(),
        ),
        Noise::Approved if path.asks_people => (
            format!(
                "{approved} of {decided} were approved: ask nobody but whom the tier asks, and look back at a sample instead (`sample` in \
                 `tiers.toml`)."
            ),
            bundle.without_approval(&path.policy).ok(),
        ),
        Noise::Approved => (
            format!(
                "{approved} of {decided} were approved. It is the tier that asks: move what this path leads to into a tier that asks less and \
                 samples more, or make the path narrower, so that those who agree have something to decide."
            ),
            None,
        ),
    };
    Noisy { path, noise, counted, proposal, change }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: BACK-6
    #[test]
    fn nearly_always_takes_enough_decisions_and_an_emergency_is_never_unused() {
        let path = |break_glass| PathIn { policy: "p".into(), place: "a.cedar:1:1".into(), break_glass, asks_people: false };
        let counted = |asked, approved, denied| PolicyDay { asked, approved, denied, expired: 0 };
        for (asked, approved, denied, expected) in [
            (19, 19, 0, None),
            (20, 20, 0, Some(Noise::Approved)),
            (20, 19, 1, Some(Noise::Approved)),
            (20, 18, 2, None),
            (40, 1, 19, Some(Noise::Denied)),
            (1, 0, 0, None),
            (0, 0, 0, Some(Noise::Unused)),
        ] {
            assert_eq!(noise(&path(false), counted(asked, approved, denied), true), expected, "{asked} {approved} {denied}");
        }
        assert_eq!(noise(&path(false), counted(0, 0, 0), false), None, "it was not there all the time");
        assert_eq!(noise(&path(true), counted(0, 0, 0), true), None);
    }
}
