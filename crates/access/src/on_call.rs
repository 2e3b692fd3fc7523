//! Who is on call, as the gate believes at a moment: what schedules outside of it said last, and for how long that counts.
//!
//! Schedules that stand in the policy directory need none of this. A [`Roster`] is what decisions are handed; the log has an entry
//! for each change of it, so that what was believed at a time can be told later.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::PrincipalId;
use crate::names::GroupName;

/// Somebody on call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OnDuty {
    /// Who.
    pub person: PrincipalId,
    /// The escalation level: 1 is asked first.
    pub level: u32,
    /// The first moment at which they no longer are, if the schedule says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What is believed of one service of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Belief {
    /// The source said who it is; maybe nobody.
    Known {
        /// Who is on call.
        people: Vec<OnDuty>,
        /// When the source said so last.
        seen_at: Timestamp,
        /// The first moment at which that is too old to count.
        good_until: Timestamp,
    },
    /// It is not known: then nobody is.
    Unknown {
        /// Why, as a sentence's end.
        because: String,
    },
}

/// Why it cannot be told who is on call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotKnown {
    /// The configuration of the gate has no such service.
    #[error("the gate's configuration maps nothing to the service `{service}` of the on-call source `{source_name}`")]
    NotConfigured {
        /// The source that policy names.
        source_name: GroupName,
        /// Its service.
        service: GroupName,
    },
    /// The source could not say.
    #[error("`{source_name}` does not say who is on call for `{service}`: {because}")]
    Silent {
        /// The source.
        source_name: GroupName,
        /// Its service.
        service: GroupName,
        /// Why.
        because: String,
    },
    /// What it said is too old.
    #[error("what `{source_name}` said of `{service}` is from {seen_at}, which is too long ago")]
    Stale {
        /// The source.
        source_name: GroupName,
        /// Its service.
        service: GroupName,
        /// When it said so.
        seen_at: Timestamp,
    },
}

/// What is believed of every service of every source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    beliefs: BTreeMap<(GroupName, GroupName), Belief>,
}

impl Roster {
    /// Takes a belief in the place of the one before.
    pub fn believe(&mut self, source: GroupName, service: GroupName, belief: Belief) {
        self.beliefs.insert((source, service), belief);
    }

    /// What is believed of a service, however old.
    #[must_use]
    pub fn belief(&self, source: &GroupName, service: &GroupName) -> Option<&Belief> {
        self.beliefs.get(&(source.clone(), service.clone()))
    }

    /// Every belief, by source and service.
    pub fn beliefs(&self) -> impl Iterator<Item = (&GroupName, &GroupName, &Belief)> {
        self.beliefs.iter().map(|((source, service), belief)| (source, service, belief))
    }

    /// Who is on call for a service of a source at `now`, up to a level (`None`: at any), first levels first.
    ///
    /// # Errors
    /// If that is not known, or what is known is too old: then nobody counts as on call.
    pub fn on_call(&self, source: &GroupName, service: &GroupName, level: Option<u32>, now: Timestamp) -> Result<Vec<&OnDuty>, NotKnown> {
        let (source_name, service) = (source.clone(), service.clone());
        match self.beliefs.get(&(source_name.clone(), service.clone())) {
            None => Err(NotKnown::NotConfigured { source_name, service }),
            Some(Belief::Unknown { because }) => Err(NotKnown::Silent { source_name, service, because: because.clone() }),
            // INVARIANT: what is too old is worth nothing, whether or not somebody has noticed yet.
            Some(Belief::Known { good_until, seen_at, .. }) if *good_until <= now => {
                Err(NotKnown::Stale { source_name, service, seen_at: *seen_at })
            }
            Some(Belief::Known { people, .. }) => {
                let mut found: Vec<&OnDuty> = people
                    .iter()
                    .filter(|duty| level.is_none_or(|most| duty.level <= most))
                    .filter(|duty| duty.until.is_none_or(|until| now < until))
                    .collect();
                found.sort_by_key(|duty| (duty.level, duty.person));
                Ok(found)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    // covers: OK-6
    #[test]
    fn what_is_too_old_over_or_of_a_higher_level_is_nobody() {
        let (source, service): (GroupName, GroupName) = ("pager".parse().unwrap(), "payments".parse().unwrap());
        let now = at("2026-03-02T12:00:00Z");
        let (first, second) = (PrincipalId::User(UserId::generate(now)), PrincipalId::User(UserId::generate(at("2026-03-02T12:00:01Z"))));
        let people = vec![
            OnDuty { person: second, level: 2, until: None },
            OnDuty { person: first, level: 1, until: Some(at("2026-03-02T12:05:00Z")) },
        ];
        let mut roster = Roster::default();
        let who = |roster: &Roster, level, now| -> Result<Vec<PrincipalId>, NotKnown> {
            Ok(roster.on_call(&source, &service, level, now)?.into_iter().map(|duty| duty.person).collect())
        };
        assert!(matches!(who(&roster, None, now), Err(NotKnown::NotConfigured { .. })));
        roster.believe(source.clone(), service.clone(), Belief::Known { people, seen_at: now, good_until: at("2026-03-02T12:10:00Z") });
        assert_eq!(who(&roster, None, now).unwrap(), [first, second]);
        assert_eq!(who(&roster, Some(1), now).unwrap(), [first]);
        assert_eq!(who(&roster, None, at("2026-03-02T12:05:00Z")).unwrap(), [second], "the first one's shift is over");
        let stale = who(&roster, None, at("2026-03-02T12:10:00Z")).unwrap_err();
        assert!(stale.to_string().contains("2026-03-02T12:00:00Z"), "{stale}");
        roster.believe(source.clone(), service.clone(), Belief::Unknown { because: "it does not answer".into() });
        assert!(who(&roster, None, now).unwrap_err().to_string().ends_with("it does not answer"));
    }
}
