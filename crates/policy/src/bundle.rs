//! The policy directory, read and checked as a whole. What comes out is immutable.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use access::approval::{Plan, Seat};
use access::names::{GroupName, PlanName, ResourceName, RoleName, TierName, Username, WindowName};
use access::on_call::{NotKnown, Roster};
use access::risk::{Risk, Signal};
use access::time::Span;
use cedar_policy::{Context, RestrictedExpression};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cases::Case;
use crate::engine::Engine;
use crate::facts::people::{Contractor, People, Schedule};
use crate::facts::resources::Resource;
use crate::facts::roles::Role;
use crate::facts::tiers::Tier;
use crate::facts::windows::{Window, day_name};
use crate::facts::workloads::Workloads;
use crate::facts::{approvals, people, resources, roles, tiers, windows, workloads};
use crate::policies::{self, Names};
use crate::problem::{Place, Problem, Problems, Sink};
use crate::rights;
use crate::situation::{Ask, Situation};
use crate::words::{Subject, Words, access_id};

/// What mistakes are in, for messages.
const DIRECTORY: &str = "the policy directory";

/// Files larger than this are no policy.
const LARGEST_FILE: u64 = 16 << 20;

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
        Self::from_files(files)
    }

    /// Reads a directory given as its files: path, with `/` between its parts, to content. Files that are no part of a
    /// policy directory are left out.
    ///
    /// # Errors
    /// Every mistake in it, each with its place and the nearest name that would be right.
    pub fn from_files(files: BTreeMap<String, Vec<u8>>) -> Result<Self, Problems> {
        let files: BTreeMap<String, Vec<u8>> = files.into_iter().filter(|(path, _)| role_of(path).is_some()).collect();
        let sink = Sink::new(DIRECTORY);
        let words = match Words::new() {
            Ok(words) => words,
            Err(error) => return Err(Problems::one(DIRECTORY, Place::file("tide.cedarschema"), error)),
        };
        let parts = Parts::read(&files, &words, &sink);
        parts.check(&sink);
        let warnings = sink.close()?;
        let digest = access::bundle::digest_of(files.iter().map(|(path, content)| (path.as_str(), content.as_slice())));
        Ok(parts.assemble(words, files, digest, warnings))
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

    /// What is no mistake but should be looked at: a resource without a tier, a policy that can never apply.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
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

    fn moment(&self, who: &Situation) -> Vec<(String, RestrictedExpression)> {
        let local = self.zone.to_datetime(who.now);
        let windows = self.open_windows(who).into_iter().map(|w| RestrictedExpression::new_string(w.to_string()));
        let mut pairs = vec![
            ("now".to_owned(), RestrictedExpression::new_long(who.now.as_second())),
            ("weekday".to_owned(), RestrictedExpression::new_string(day_name(local.weekday()).to_owned())),
            ("hour".to_owned(), RestrictedExpression::new_long(local.hour().into())),
            ("minute".to_owned(), RestrictedExpression::new_long(local.minute().into())),
            ("windows".to_owned(), RestrictedExpression::new_set(windows)),
        ];
        if let Some(network) = who.network {
            pairs.push(("network".to_owned(), RestrictedExpression::new_ip(network.to_canonical().to_string())));
        }
        pairs
    }

    fn mfa(level: access::identity::Mfa, age: i64) -> Result<(String, RestrictedExpression), String> {
        let rank = access::identity::Mfa::ALL.iter().position(|m| *m == level).unwrap_or(0);
        let record = RestrictedExpression::new_record([
            ("level".to_owned(), RestrictedExpression::new_long(i64::try_from(rank).unwrap_or(0))),
            ("kind".to_owned(), RestrictedExpression::new_string(level.code().to_owned())),
            ("age".to_owned(), RestrictedExpression::new_long(age)),
        ]);
        Ok(("mfa".to_owned(), record.map_err(|e| e.to_string())?))
    }

    /// The context of every action but `request`.
    pub(crate) fn circumstances(&self, who: &Situation) -> Result<Context, String> {
        let mut pairs = self.moment(who);
        pairs.push(Self::mfa(who.mfa, who.mfa_age())?);
        Context::from_pairs(pairs).map_err(|e| e.to_string())
    }

    /// The context of `request`, with a fresh second factor and a ticket supposed where a hypothesis says so.
    pub(crate) fn asked_context(&self, who: &Situation, ask: &Ask, tier: &Tier, suppose: Suppose) -> Result<Context, String> {
        use access::request::Asked;
        let mut pairs = self.moment(who);
        pairs.push(if suppose.mfa { Self::mfa(access::identity::Mfa::Verified, 0)? } else { Self::mfa(who.mfa, who.mfa_age())? });
        let seconds = match ask.asked {
            Asked::Default => tier.default,
            Asked::For(span) => span,
            Asked::Standing => Span::default(),
        };
        let yes = RestrictedExpression::new_bool;
        pairs.extend([
            ("reason".to_owned(), yes(ask.reason_given)),
            ("ticket".to_owned(), yes(suppose.ticket || ask.ticket.is_some())),
            ("seconds".to_owned(), RestrictedExpression::new_long(i64::try_from(seconds.as_seconds()).unwrap_or(i64::MAX))),
            ("standing".to_owned(), yes(ask.asked == Asked::Standing)),
            ("break_glass".to_owned(), yes(ask.break_glass)),
            ("read_only".to_owned(), yes(ask.limits.read_only)),
        ]);
        pairs.push(("risk".to_owned(), risk(&who.risk_on(&ask.resource))?));
        if let Some(ticket) = &ask.ticket {
            pairs.push(("ticket_id".to_owned(), RestrictedExpression::new_string(ticket.clone())));
        }
        if let Some(command) = &ask.limits.command {
            pairs.push(("command".to_owned(), RestrictedExpression::new_string(command.clone())));
        }
        Context::from_pairs(pairs).map_err(|e| e.to_string())
    }
}

/// What is unusual, as policies read it.
fn risk(risk: &Risk) -> Result<RestrictedExpression, String> {
    let set = |signal| RestrictedExpression::new_bool(risk.is_set(signal));
    let count = |signal| RestrictedExpression::new_long(i64::try_from(risk.counts(signal)).unwrap_or(i64::MAX));
    let names = risk.set().map(|signal| RestrictedExpression::new_string(signal.code().to_owned()));
    let fields = [
        ("level", RestrictedExpression::new_string(risk.level.code().to_owned())),
        ("signals", RestrictedExpression::new_set(names)),
        ("new_network", set(Signal::NewNetwork)),
        ("unusual_hour", set(Signal::UnusualHour)),
        ("first_use", set(Signal::FirstUse)),
        ("failed_sign_ins", count(Signal::FailedSignIns)),
        ("resources", count(Signal::ManyResources)),
        ("large_results", set(Signal::LargeResults)),
    ];
    RestrictedExpression::new_record(fields.map(|(name, value)| (name.to_owned(), value))).map_err(|e| e.to_string())
}

/// What is supposed beyond what was asked, to see what the asker could still supply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Suppose {
    pub(crate) mfa: bool,
    pub(crate) ticket: bool,
}

/// Which part of a policy directory a path is; `None` if none.
fn role_of(path: &str) -> Option<&'static str> {
    match path {
        "tiers.toml" => Some("tiers"),
        "resources.toml" => Some("resources"),
        "roles.toml" => Some("roles"),
        "approvals.toml" => Some("approvals"),
        "windows.toml" => Some("windows"),
        "people.toml" => Some("people"),
        "workloads.toml" => Some("workloads"),
        _ => match path.split_once('/') {
            Some(("resources", name)) if name.ends_with(".toml") && !name.contains('/') => Some("resources"),
            Some(("tests", name)) if name.ends_with(".toml") && !name.contains('/') => Some("tests"),
            None if path.ends_with(".cedar") => Some("cedar"),
            _ => None,
        },
    }
}

/// Reads the files of a directory that are parts of a policy, and of `resources/` and `tests/` below it.
fn gather(dir: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>, sink: &Sink, depth: u8) {
    let shown = |error: io::Error| format!("cannot read `{}`: {error}", dir.display());
    let here = || Place::file(if prefix.is_empty() { "." } else { prefix.trim_end_matches('/') });
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => return sink.error(here(), shown(error)),
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return sink.error(here(), shown(error)),
        };
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{prefix}{name}");
        let meta = match std::fs::metadata(entry.path()) {
            Ok(meta) => meta,
            Err(error) if role_of(&path).is_some() => {
                sink.error(Place::file(&path), format!("the file cannot be read: {error}"));
                continue;
            }
            Err(_) => continue,
        };
        if meta.is_dir() {
            if depth == 0 && matches!(name.as_str(), "resources" | "tests") {
                gather(&entry.path(), &format!("{path}/"), files, sink, depth + 1);
            }
        } else if role_of(&path).is_some() {
            if meta.len() > LARGEST_FILE {
                sink.error(
                    Place::file(&path),
                    format!("the file has {} bytes; no part of a policy may have more than {LARGEST_FILE}", meta.len()),
                );
                continue;
            }
            match std::fs::read(entry.path()) {
                Ok(content) => {
                    files.insert(path, content);
                }
                Err(error) => sink.error(Place::file(&path), format!("the file cannot be read: {error}")),
            }
        }
    }
}

/// What was read, before it is a bundle.
struct Parts {
    tiers: BTreeMap<TierName, (Tier, Place)>,
    resources: BTreeMap<ResourceName, (resources::ResourceSource, Place)>,
    roles: BTreeMap<RoleName, (Role, Place)>,
    plans: BTreeMap<PlanName, (approvals::PlanSource, Place)>,
    windows: windows::Windows,
    people: people::PeopleSource,
    workloads: workloads::WorkloadsSource,
    rules: Vec<crate::engine::Rule>,
    cases: Vec<Case>,
}

impl Parts {
    fn read(files: &BTreeMap<String, Vec<u8>>, words: &Words, sink: &Sink) -> Self {
        let part = |wanted: &str| -> Vec<(&str, &[u8])> {
            files.iter().filter(|(path, _)| role_of(path) == Some(wanted)).map(|(p, c)| (p.as_str(), c.as_slice())).collect()
        };
        for (wanted, path) in [("tiers", "tiers.toml"), ("roles", "roles.toml")] {
            if part(wanted).is_empty() {
                sink.error(Place::file(path), "the file is missing; a policy directory needs it");
            }
        }
        if part("cedar").is_empty() {
            sink.error(Place::file("."), "there is no `.cedar` file, so nobody could do anything; a policy directory needs at least one");
        }
        let windows = windows::load(&part("windows"), sink);
        let mut people = people::load(&part("people"), &windows.zone, sink);
        let workloads = workloads::load(&part("workloads"), sink);
        workloads.check(&people.people, sink);
        people.people.take_in(&workloads.workloads);
        let mut parts = Self {
            tiers: tiers::load(&part("tiers"), sink),
            resources: resources::load(&part("resources"), sink),
            roles: roles::load(&part("roles"), sink),
            plans: approvals::load(&part("approvals"), sink),
            windows,
            people,
            workloads,
            rules: Vec::new(),
            cases: crate::cases::load(&part("tests"), sink),
        };
        parts.rules = policies::load(&part("cedar"), words, &parts.names(), sink);
        for (role, place) in parts.roles.values() {
            match rights::compile(role, place) {
                Ok(rule) => parts.rules.extend(rule),
                Err(error) => sink.error(place.clone(), format!("the role cannot be compiled: {error}")),
            }
        }
        parts
    }

    fn names(&self) -> Names {
        let people = &self.people.people;
        let resources = || self.resources.values().map(|(source, _)| &source.resource);
        Names {
            groups: people.groups.keys().map(ToString::to_string).collect(),
            teams: people.groups.values().filter(|g| g.team).map(|g| g.name.to_string()).collect(),
            on_call: people.on_call.keys().map(ToString::to_string).collect(),
            tiers: self.tiers.keys().map(ToString::to_string).collect(),
            environments: resources().filter_map(|r| r.environment.clone()).collect(),
            kinds: ["ssh".to_owned()].into(),
            resources: self.resources.keys().map(ToString::to_string).collect(),
            roles: self.roles.keys().map(ToString::to_string).collect(),
            accesses: resources()
                .flat_map(|r| self.roles.values().filter(|(role, _)| role.applies_to(r)).map(|(role, _)| access_id(&r.name, &role.name)))
                .collect(),
            plans: self.plans.keys().map(ToString::to_string).collect(),
            windows: self.windows.windows.keys().map(ToString::to_string).collect(),
        }
    }

    /// Every name that one part uses of another has to be there.
    fn check(&self, sink: &Sink) {
        let people = &self.people.people;
        for (tier, _) in self.tiers.values() {
            for (plan, place) in tier.approvals.iter().zip(&tier.plan_places) {
                if !self.plans.contains_key(plan) {
                    sink.unknown(place.clone(), "approval plan", plan.as_str(), self.plans.keys().map(PlanName::as_str));
                }
            }
            for (group, place) in tier.group_places.iter().filter(|(group, _)| !people.groups.contains_key(group)) {
                sink.unknown(place.clone(), "group", group.as_str(), people.groups.keys().map(GroupName::as_str));
            }
        }
        for (source, _) in self.plans.values() {
            for seat in &source.seats {
                match &seat.value {
                    Seat::Group(name) if !people.groups.contains_key(name) => {
                        sink.unknown(seat.place.clone(), "group", name.as_str(), people.groups.keys().map(GroupName::as_str));
                    }
                    Seat::OnCall(name) if !people.on_call.contains_key(name) => {
                        sink.unknown(seat.place.clone(), "on-call schedule", name.as_str(), people.on_call.keys().map(GroupName::as_str));
                    }
                    _ => {}
                }
            }
        }
        for (source, place) in self.resources.values() {
            self.check_resource(source, place, sink);
        }
        for duty in self.cases.iter().flat_map(Case::duties) {
            if !people.on_call.contains_key(&duty.value) {
                sink.unknown(duty.place.clone(), "on-call schedule", duty.value.as_str(), people.on_call.keys().map(GroupName::as_str));
            }
        }
        for contractor in &self.people.contractors {
            for resource in contractor.resources.iter().filter(|r| !self.resources.contains_key(&r.value)) {
                sink.unknown(resource.place.clone(), "resource", resource.value.as_str(), self.resources.keys().map(ResourceName::as_str));
            }
            for role in contractor.roles.iter().filter(|r| !self.roles.contains_key(&r.value)) {
                sink.unknown(role.place.clone(), "role", role.value.as_str(), self.roles.keys().map(RoleName::as_str));
            }
        }
    }

    fn check_resource(&self, source: &resources::ResourceSource, place: &Place, sink: &Sink) {
        let resource = &source.resource;
        match (&resource.tier, &source.tier) {
            (Some(name), Some(at)) => match self.tiers.get(name) {
                None => sink.unknown(at.clone(), "tier", name.as_str(), self.tiers.keys().map(TierName::as_str)),
                Some((tier, _))
                    if resource.kind == resources::Kind::Ssh
                        && tier.host_keys == access::verdict::HostKeyRule::Pinned
                        && resource.host_keys.is_empty() =>
                {
                    let says = format!(
                        "`{}` names no `host_keys`, and the tier `{name}` trusts only named ones: every connection will be refused",
                        resource.name
                    );
                    sink.warn(place.clone(), says);
                }
                Some(_) => {}
            },
            _ => sink.warn(place.clone(), format!("`{}` has no `tier`: every request for it will be denied", resource.name)),
        }
        if let (Some(schedule), Some(at)) = (&resource.on_call, &source.on_call)
            && !self.people.people.on_call.contains_key(schedule)
        {
            let known = self.people.people.on_call.keys().map(GroupName::as_str);
            sink.unknown(at.clone(), "on-call schedule", schedule.as_str(), known);
        }
        if let (Some(owner), Some(at)) = (&resource.owner, &source.owner)
            && !self.people.people.groups.contains_key(owner)
        {
            sink.unknown(at.clone(), "group", owner.as_str(), self.people.people.groups.keys().map(GroupName::as_str));
        }
        if let (Some(role), Some(at)) = (&resource.default_role, &source.default_role) {
            match self.roles.get(role) {
                None => sink.unknown(at.clone(), "role", role.as_str(), self.roles.keys().map(RoleName::as_str)),
                Some((found, _)) if !found.applies_to(resource) => {
                    sink.error(
                        at.clone(),
                        format!("the role `{role}` is not one of `{}`: its kind, environments or tags don't fit", resource.name),
                    );
                }
                Some(_) => {}
            }
        }
    }

    fn assemble(self, words: Words, files: BTreeMap<String, Vec<u8>>, digest: String, warnings: Vec<Problem>) -> Bundle {
        Bundle {
            files,
            digest,
            tiers: self.tiers.into_iter().map(|(name, (tier, _))| (name, tier)).collect(),
            resources: self.resources.into_iter().map(|(name, (source, _))| (name, source.resource)).collect(),
            roles: self.roles.into_iter().map(|(name, (role, _))| (name, role)).collect(),
            plans: self.plans.into_iter().map(|(name, (source, _))| (name, source.plan)).collect(),
            windows: self.windows.windows.into_iter().map(|(name, (window, _))| (name, window)).collect(),
            zone: self.windows.zone,
            people: self.people.people,
            workloads: self.workloads.workloads,
            engine: Engine::new(words, self.rules),
            cases: self.cases,
            warnings,
        }
    }
}
