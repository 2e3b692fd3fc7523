//! The policy directory, read and checked as a whole. What comes out is immutable.

mod context;
mod parts;

use std::collections::BTreeMap;
use std::path::Path;

use access::approval::{Plan, Seat};
use access::names::{GroupName, PlanName, ResourceName, RoleName, TierName, Username, WindowName};
use access::on_call::{NotKnown, Roster};
use access::time::Span;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cases::Case;
use crate::engine::Engine;
use crate::facts::people::{Contractor, People, Schedule};
use crate::facts::resources::Resource;
use crate::facts::roles::Role;
use crate::facts::tiers::Tier;
use crate::facts::windows::Window;
use crate::facts::workloads::Workloads;
use crate::problem::{Place, Problem, Problems, Sink};
use crate::situation::Situation;
use crate::words::{Subject, Words};

pub(crate) use context::Suppose;
use parts::{Parts, gather, role_of, strays};

/// What mistakes are in, for messages.
const DIRECTORY: &str = "the policy directory";

/// A policy directory as a whole: facts, floors and policies, checked against each other.
pub struct Bundle {
    files: BTreeMap<String, Vec<u8>>,
    digest: String,
    pub(crate) tiers: BTreeMap<TierName, Tier>,
    pub(crate) resources: BTreeMap<ResourceName, Resource>,
    pub(crate) roles: BTreeMap<RoleName, Role>,
    pub(crate) plans: BTreeMap<PlanName, Plan>,
    pub(crate) windows: BTreeMap<WindowName, Window>,
    pub(crate) zone: TimeZone,
    pub(crate) people: People,
    pub(crate) workloads: Workloads,
    pub(crate) engine: Engine,
    pub(crate) cases: Vec<Case>,
    warnings: Vec<Problem>,
    left_out: Vec<Problem>,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle").field("digest", &self.digest).field("files", &self.files.len()).finish_non_exhaustive()
    }
}

impl Bundle {
    /// Reads a directory.
    ///
    /// # Errors
    /// Every mistake in it, each with its place and the nearest name that would be right.
    pub fn load(dir: &Path) -> Result<Self, Problems> {
        let sink = Sink::new(DIRECTORY);
        let mut files = BTreeMap::new();
        gather(dir, "", &mut files, &sink, 0);
        sink.close()?;
        strays(dir, "", &mut files, 0);
        Self::from_files(files)
    }

    /// Reads a directory given as its files: path, with `/` between its parts, to content. Files that are no part of a
    /// policy directory are left out; where somebody may have taken one for such a part, a warning says so.
    ///
    /// # Errors
    /// Every mistake in it, each with its place and the nearest name that would be right.
    pub fn from_files(files: BTreeMap<String, Vec<u8>>) -> Result<Self, Problems> {
        let (files, others): (BTreeMap<String, Vec<u8>>, BTreeMap<_, _>) = files.into_iter().partition(|(path, _)| role_of(path).is_some());
        let said = |path: &String| Some(Problem { at: Place::file(path), says: parts::left_out(path)?, hint: None });
        let left_out: Vec<Problem> = others.keys().filter_map(said).collect();
        let sink = Sink::new(DIRECTORY);
        let words = match Words::new() {
            Ok(words) => words,
            Err(error) => return Err(Problems::one(DIRECTORY, Place::file("tide.cedarschema"), error)),
        };
        let parts = Parts::read(&files, &words, &sink);
        parts.check(&sink);
        let mut warnings = sink.close()?;
        warnings.extend(left_out.iter().cloned());
        let digest = access::bundle::digest_of(files.iter().map(|(path, content)| (path.as_str(), content.as_slice())));
        Ok(parts.assemble(words, files, digest, (warnings, left_out)))
    }

    /// The files it was read from, path to content.
    #[must_use]
    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    /// What it is known by, see [`access::bundle::digest_of`].
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What is no mistake but should be looked at: a resource without a tier, a policy that can never apply, a file that is left out.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Of these, the files that are no part of a policy directory though they look like it: nothing in them is in force.
    #[must_use]
    pub fn left_out(&self) -> &[Problem] {
        &self.left_out
    }

    /// Whether a file at this path inside a policy directory is part of the policy.
    #[must_use]
    pub fn reads(path: &str) -> bool {
        role_of(path).is_some()
    }

    /// Every resource, by name.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.resources.values()
    }

    /// A resource.
    #[must_use]
    pub fn resource(&self, name: &ResourceName) -> Option<&Resource> {
        self.resources.get(name)
    }

    /// Every role, by name.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values()
    }

    /// A role.
    #[must_use]
    pub fn role(&self, name: &RoleName) -> Option<&Role> {
        self.roles.get(name)
    }

    /// The roles that a resource has, by name.
    #[must_use]
    pub fn roles_for(&self, resource: &ResourceName) -> Vec<&Role> {
        let Some(resource) = self.resource(resource) else { return Vec::new() };
        self.roles.values().filter(|r| r.applies_to(resource)).collect()
    }

    /// The account a role uses on a resource.
    #[must_use]
    pub fn login(&self, role: &RoleName, resource: &ResourceName) -> Option<&str> {
        let (role, resource) = (self.role(role)?, self.resource(resource)?);
        role.applies_to(resource).then(|| resource.login.as_deref().unwrap_or(&role.login))
    }

    /// Every tier, by name.
    pub fn tiers(&self) -> impl Iterator<Item = &Tier> {
        self.tiers.values()
    }

    /// A tier.
    #[must_use]
    pub fn tier(&self, name: &TierName) -> Option<&Tier> {
        self.tiers.get(name)
    }

    /// For how long recordings at a resource are kept after a session's end, and the tier that says so; `None`: until somebody destroys
    /// them.
    #[must_use]
    pub fn kept(&self, name: &ResourceName) -> Option<(&TierName, Span)> {
        let tier = self.tier(self.resource(name)?.tier.as_ref()?)?;
        Some((&tier.name, tier.keep?))
    }

    /// Every approval plan, by name.
    pub fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.plans.values()
    }

    /// Every window, by name.
    pub fn windows(&self) -> impl Iterator<Item = &Window> {
        self.windows.values()
    }

    /// The time zone in which the house counts hours.
    #[must_use]
    pub fn time_zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Groups, schedules and contractors.
    #[must_use]
    pub fn people(&self) -> &People {
        &self.people
    }

    /// The CI systems whose jobs are believed, and which machine each job is.
    #[must_use]
    pub fn workloads(&self) -> &Workloads {
        &self.workloads
    }

    /// Whether a right, a seat, a duty or a bound of somebody by this name stands in the directory, so that whoever gets the name has it.
    #[must_use]
    pub fn names_person(&self, name: &Username) -> bool {
        self.people.usernames().contains(name) || self.engine.rules.iter().any(|rule| rule.names(name.as_str()))
    }

    /// The test cases of `tests/*.toml`.
    #[must_use]
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// The groups that some path names as reviewers of its emergencies.
    pub fn reviewers(&self) -> impl Iterator<Item = &GroupName> {
        self.engine.rules.iter().filter_map(|r| r.cost.as_ref()?.break_glass.as_ref()).map(|terms| &terms.reviewers)
    }

    /// All groups somebody is in: of `people.toml`, and of the store.
    #[must_use]
    pub fn groups_of(&self, who: &Situation) -> Vec<GroupName> {
        let mut groups = self.people.groups_of(&who.username).to_vec();
        for group in &who.store_groups {
            if !groups.contains(group) {
                groups.push(group.clone());
            }
        }
        groups
    }

    /// The schedules somebody is on call for: what was frozen, else what `people.toml` and the roster say now.
    #[must_use]
    pub fn on_call_of(&self, who: &Situation) -> Vec<GroupName> {
        if let Some(given) = &who.on_call {
            return given.clone();
        }
        let on_duty = |schedule: &&Schedule| match &schedule.elsewhere {
            None => schedule.on_call(who.now).contains(&&who.username),
            // INVARIANT: what is not known is nobody's duty.
            Some(at) => who
                .roster
                .on_call(&at.source, &at.service, at.level, who.now)
                .is_ok_and(|people| people.iter().any(|duty| duty.person == who.id)),
        };
        self.people.on_call.values().filter(on_duty).map(|schedule| schedule.name.clone()).collect()
    }

    /// Why it cannot be told who is on call for a schedule; `None`: it can.
    #[must_use]
    pub fn duty_unknown(&self, schedule: &GroupName, roster: &Roster, now: Timestamp) -> Option<NotKnown> {
        let at = self.people.on_call.get(schedule)?.elsewhere.as_ref()?;
        roster.on_call(&at.source, &at.service, at.level, now).err()
    }

    /// Whether somebody may fill a seat of an approval plan: a member of its group, or on call now.
    #[must_use]
    pub fn seated(&self, who: &Situation, seat: &Seat) -> bool {
        if self.contract_ended(who).is_some() {
            return false;
        }
        match seat {
            Seat::Group(name) => self.groups_of(who).contains(name),
            Seat::OnCall(name) => self.on_call_of(who).contains(name),
        }
    }

    /// The contract that somebody, or the human behind a machine, works under.
    pub(crate) fn contract(&self, who: &Situation) -> Option<&Contractor> {
        self.people.contractors.get(&who.username).or_else(|| who.owner.as_ref().and_then(|o| self.people.contractors.get(o)))
    }

    /// The contract, if it is over.
    pub(crate) fn contract_ended(&self, who: &Situation) -> Option<&Contractor> {
        self.contract(who).filter(|c| c.ends_at <= who.now)
    }

    /// Whether a policy asks what is unusual about somebody, so that it has to be looked at.
    #[must_use]
    pub fn asks_for_risk(&self) -> bool {
        self.engine.asks_for_risk
    }

    /// Somebody as Cedar sees them.
    pub(crate) fn subject(&self, who: &Situation) -> Result<Subject, String> {
        let groups = self.groups_of(who);
        let teams: Vec<&GroupName> = groups.iter().filter(|g| self.people.groups.get(*g).is_some_and(|g| g.team)).collect();
        self.engine.words.subject(who, &groups, &teams, &self.on_call_of(who), self.contract(who).is_some())
    }

    /// The windows open at the moment of a situation.
    pub(crate) fn open_windows(&self, who: &Situation) -> Vec<&WindowName> {
        self.windows.values().filter(|w| w.is_open(who.now, &self.zone)).map(|w| &w.name).collect()
    }
}
