//! One asker and many questions, as a list of everything that is open to somebody puts them: what is the same for all of them is made once.

use access::names::{ResourceName, RoleName};
use access::verdict::{Answer, Verdict};
use cedar_policy::Effect;

use crate::bundle::Bundle;
use crate::cost::PathCost;
use crate::decide::Door;
use crate::engine::{Rule, Scene};
use crate::facts::resources::Resource;
use crate::situation::{Ask, Situation};
use crate::words::Subject;

/// Somebody at a moment, ready to be asked about.
pub struct Asker<'a> {
    bundle: &'a Bundle,
    who: &'a Situation,
    /// As policies see them; or why they can't be put to Cedar, which is a fault of ours: every answer is then no.
    subject: Result<Subject, String>,
}

/// The policies about one role on one resource, as far as they are for somebody, and the scene they are asked about.
pub(crate) struct PathsTo<'b> {
    pub(crate) permits: Vec<(&'b Rule, &'b PathCost)>,
    pub(crate) forbids: Vec<&'b Rule>,
    /// Paths for others.
    pub(crate) others: Vec<&'b Rule>,
    /// Nothing where no path is for them: then nothing is asked.
    pub(crate) scene: Option<Scene>,
}

impl PathsTo<'_> {
    /// Whether one of them is for emergencies.
    fn for_emergencies(&self) -> bool {
        self.permits.iter().any(|(_, cost)| cost.break_glass.is_some())
    }
}

impl Bundle {
    /// Somebody, for many questions.
    #[must_use]
    pub fn asker<'a>(&'a self, who: &'a Situation) -> Asker<'a> {
        Asker { bundle: self, who, subject: self.subject(who) }
    }
}

impl<'a> Asker<'a> {
    /// The policy that is asked.
    #[must_use]
    pub fn bundle(&self) -> &'a Bundle {
        self.bundle
    }

    /// Whether they may have what they ask for, at what cost, and by which path.
    pub fn decide(&self, ask: &Ask) -> Verdict {
        match self.bundle.door(self.who, ask) {
            Door::Shut(reason, detail) => self.bundle.verdict(Answer::Deny { reason, detail }, Vec::new(), Vec::new()),
            Door::Facts { resource, tier } => self.bundle.decide_on(self.who, ask, resource, tier, &self.paths_to(resource, &ask.role)),
        }
    }

    /// What policy says to an ordinary request of them, and where it says no to that alone, to a request for an emergency: then the second
    /// is so.
    pub fn offered(&self, resource: &ResourceName, role: &RoleName) -> (Verdict, bool) {
        let ordinary = Ask::plain(resource.clone(), role.clone());
        let (resource, tier) = match self.bundle.door(self.who, &ordinary) {
            Door::Shut(..) => return (self.decide(&ordinary), false),
            Door::Facts { resource, tier } => (resource, tier),
        };
        let paths = self.paths_to(resource, role);
        let verdict = self.bundle.decide_on(self.who, &ordinary, resource, tier, &paths);
        let urgent = tier.break_glass && paths.as_ref().is_ok_and(PathsTo::for_emergencies);
        if !urgent || !matches!(verdict.answer(), Answer::Deny { .. }) {
            return (verdict, false);
        }
        let emergency = self.bundle.decide_on(self.who, &Ask { break_glass: true, ..ordinary }, resource, tier, &paths);
        if matches!(emergency.answer(), Answer::Deny { .. }) { (verdict, false) } else { (emergency, true) }
    }

    /// Whether a path, ordinary or for emergencies, leads them to a resource, so that they may know that it is there. One that is shut only
    /// because a policy beside it can't be evaluated still does.
    #[must_use]
    pub fn leads_to(&self, resource: &ResourceName) -> bool {
        self.bundle.roles_for(resource).into_iter().any(|role| self.leads_to_role(resource, &role.name))
    }

    /// The same of one role on it.
    #[must_use]
    pub fn leads_to_role(&self, resource: &ResourceName, role: &RoleName) -> bool {
        let ordinary = Ask::plain(resource.clone(), role.clone());
        let Door::Facts { resource, tier } = self.bundle.door(self.who, &ordinary) else { return false };
        let paths = self.paths_to(resource, role);
        let leads = |ask: &Ask| self.bundle.weigh_on(self.who, ask, tier, &paths).leads;
        leads(&ordinary)
            || self.bundle.is_let_through(self.who, &ordinary, resource, tier).is_some()
            || paths.as_ref().is_ok_and(PathsTo::for_emergencies) && leads(&Ask { break_glass: true, ..ordinary })
    }

    pub(crate) fn paths_to(&self, resource: &Resource, role: &RoleName) -> Result<PathsTo<'a>, String> {
        let subject = self.subject.as_ref().map_err(Clone::clone)?;
        let engine = &self.bundle.engine;
        let mut target = engine.words.place(resource, role);
        let (mine, others): (Vec<&Rule>, Vec<&Rule>) = engine.about("request", &target).into_iter().partition(|rule| rule.is_for(subject));
        let permits: Vec<(&Rule, &PathCost)> = mine.iter().filter_map(|rule| Some((*rule, rule.cost.as_ref()?))).collect();
        let forbids = mine.into_iter().filter(|rule| rule.effect == Effect::Forbid).collect();
        let others = others.into_iter().filter(|rule| rule.cost.is_some()).collect();
        let mut scene = None;
        if !permits.is_empty() {
            engine.words.furnish(&mut target, resource, role)?;
            scene = Some(engine.scene(subject, &target)?);
        }
        Ok(PathsTo { permits, forbids, others, scene })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::engine::QUESTIONS;

    fn example() -> Bundle {
        Bundle::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policy")).unwrap()
    }

    fn asked<T>(act: impl FnOnce() -> T) -> (T, u32) {
        let before = QUESTIONS.get();
        let it = act();
        (it, QUESTIONS.get() - before)
    }

    #[test]
    fn an_asker_is_told_the_same_as_whoever_asks_once() {
        let bundle = example();
        for name in ["ana", "ben", "carla", "dan", "frank", "deploy-bot"] {
            let who = bundle.imagine(&name.parse().unwrap(), "2026-11-23T09:00:00Z".parse().unwrap()).unwrap();
            let asker = bundle.asker(&who);
            for resource in bundle.resources() {
                for role in bundle.roles() {
                    let ordinary = Ask::plain(resource.name.clone(), role.name.clone());
                    let (verdict, emergency) = asker.offered(&resource.name, &role.name);
                    let once = bundle.decide(&who, &ordinary);
                    let urgent = bundle.decide(&who, &Ask { break_glass: true, ..ordinary });
                    let open = |verdict: &Verdict| !matches!(verdict.answer(), Answer::Deny { .. });
                    let wanted = if !open(&once) && open(&urgent) { (&urgent, true) } else { (&once, false) };
                    assert_eq!((&verdict, emergency), wanted, "{name}: {}+{}", resource.name, role.name);
                    assert_eq!(asker.leads_to_role(&resource.name, &role.name), bundle.leads_to_role(&who, &resource.name, &role.name));
                }
            }
        }
    }

    #[test]
    fn a_list_asks_policies_no_more_often_than_it_has_to() {
        let bundle = example();
        let who = bundle.imagine(&"frank".parse().unwrap(), "2026-11-23T09:00:00Z".parse().unwrap()).unwrap();
        let asker = bundle.asker(&who);
        // His contract ends at one machine: of another nothing is asked.
        let ((_, _), none) = asked(|| asker.offered(&"db-1".parse().unwrap(), &"shell".parse().unwrap()));
        assert_eq!(none, 0);
        // A path that is open at once, and whose conditions are about who and what alone, is asked about once.
        let who = bundle.imagine(&"ana".parse().unwrap(), "2026-11-23T09:00:00Z".parse().unwrap()).unwrap();
        let asker = bundle.asker(&who);
        let ((verdict, _), once) = asked(|| asker.offered(&"build-1".parse().unwrap(), &"shell".parse().unwrap()));
        assert!(!matches!(verdict.answer(), Answer::Deny { .. }));
        assert_eq!(once, 1);
        // One whose conditions no proof and no ticket can meet, with another for emergencies: each once.
        let ((verdict, emergency), both) = asked(|| asker.offered(&"db-1".parse().unwrap(), &"admin".parse().unwrap()));
        assert!(matches!(verdict.answer(), Answer::Deny { .. }) && !emergency);
        assert_eq!(both, 2);
    }
}
