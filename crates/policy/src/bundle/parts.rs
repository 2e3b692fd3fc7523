//! Reading a policy directory: its files, each part of it, and that every name one part uses of another is there.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use access::approval::Seat;
use access::identity::Mfa;
use access::names::{GroupName, PlanName, ResourceName, RoleName, TierName};

use super::Bundle;
use crate::cases::Case;
use crate::engine::Engine;
use crate::facts::roles::Role;
use crate::facts::tiers::Tier;
use crate::facts::{approvals, people, resources, roles, tiers, windows, workloads};
use crate::policies::{self, Names};
use crate::problem::{Place, Problem, Sink, nearest};
use crate::rights;
use crate::words::{Words, access_id};

/// Files larger than this are no policy.
const LARGEST_FILE: u64 = 16 << 20;
/// So many folders down it is looked for what was left out.
const DEEPEST: u8 = 4;
/// The parts that are one file.
const SINGLE: [&str; 7] = ["tiers", "resources", "roles", "approvals", "windows", "people", "workloads"];

/// Which part of a policy directory a path is; `None` if none.
pub(super) fn role_of(path: &str) -> Option<&'static str> {
    match path.strip_suffix(".toml").and_then(|stem| SINGLE.into_iter().find(|single| *single == stem)) {
        Some(single) => Some(single),
        None => match path.split_once('/') {
            Some(("resources", name)) if name.ends_with(".toml") && !name.contains('/') => Some("resources"),
            Some(("tests", name)) if name.ends_with(".toml") && !name.contains('/') => Some("tests"),
            None if path.ends_with(".cedar") => Some("cedar"),
            _ => None,
        },
    }
}

/// What is to be said of a file that is no part of a policy directory, if somebody may take it for one.
pub(super) fn left_out(path: &str) -> Option<String> {
    let name = path.rsplit('/').next().filter(|name| !name.starts_with('.'))?;
    let (stem, ending) = name.rsplit_once('.')?;
    let (stem, ending) = (stem.to_lowercase(), nearest(&ending.to_lowercase(), ["cedar", "toml"])?);
    let meant = match ending {
        "cedar" => "policies are the `.cedar` files beside `tiers.toml`".to_owned(),
        _ => match nearest(&stem, SINGLE) {
            Some(near) => format!("did you mean `{near}.toml`, beside the `.cedar` files?"),
            None => format!("the parts are called `{}.toml`, `resources/*.toml` and `tests/*.toml`", SINGLE.join(".toml`, `")),
        },
    };
    Some(format!("this file is left out, and nothing in it counts; {meant}"))
}

/// The files below a directory that [`left_out`] speaks of, without what is in them. What can't be looked at is no part of a policy either.
pub(super) fn strays(dir: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>, depth: u8) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let (Ok(name), Ok(kind)) = (entry.file_name().into_string(), entry.file_type()) else { continue };
        let path = format!("{prefix}{name}");
        if kind.is_dir() {
            if depth < DEEPEST && !name.starts_with('.') {
                strays(&entry.path(), &format!("{path}/"), files, depth + 1);
            }
        } else if role_of(&path).is_none() && left_out(&path).is_some() {
            files.insert(path, Vec::new());
        }
    }
}

/// Reads the files of a directory that are parts of a policy, and of `resources/` and `tests/` below it.
pub(super) fn gather(dir: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>, sink: &Sink, depth: u8) {
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
pub(super) struct Parts {
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
    pub(super) fn read(files: &BTreeMap<String, Vec<u8>>, words: &Words, sink: &Sink) -> Self {
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
            kinds: resources::Kind::ALL.iter().map(ToString::to_string).collect(),
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
    pub(super) fn check(&self, sink: &Sink) {
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
        self.check_emergencies(sink);
        for contractor in &self.people.contractors {
            for resource in contractor.resources.iter().filter(|r| !self.resources.contains_key(&r.value)) {
                sink.unknown(resource.place.clone(), "resource", resource.value.as_str(), self.resources.keys().map(ResourceName::as_str));
            }
            for role in contractor.roles.iter().filter(|r| !self.roles.contains_key(&r.value)) {
                sink.unknown(role.place.clone(), "role", role.value.as_str(), self.roles.keys().map(RoleName::as_str));
            }
        }
    }

    /// Whoever sits down at a terminal that somebody left open can declare an emergency, where no fresh proof is asked for.
    fn check_emergencies(&self, sink: &Sink) {
        for rule in &self.rules {
            let Some(cost) = rule.cost.as_ref().filter(|cost| cost.break_glass.is_some()) else { continue };
            if cost.mfa.is_some_and(|(kind, _)| kind > Mfa::None) {
                continue;
            }
            let open = self.tiers.values().map(|(tier, _)| tier).filter(|tier| tier.break_glass && tier.mfa == Mfa::None);
            let names: Vec<String> = open.filter(|tier| rule.may_be_in(&tier.name)).map(|tier| format!("`{}`", tier.name)).collect();
            if !names.is_empty() {
                let says = format!(
                    "the path `{}` opens in an emergency without a fresh proof of who asks: neither it nor the tier {} wants one; where \
                     everybody has a security key or a passkey, put `@mfa(\"verified, 15m\")` above it",
                    rule.id,
                    names.join(", ")
                );
                sink.warn(rule.place.clone(), says);
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
        if resource.accounts.is_some() && matches!(resource.tls, access::session::TargetTls::Pinned(_)) {
            let says = format!(
                "`{}` has `accounts` and `tls_pins`: nobody makes an account behind a pinned certificate, so roles that have one for each grant will be refused; trust its authority with `tls_ca` instead",
                resource.name
            );
            sink.warn(place.clone(), says);
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

    pub(super) fn assemble(
        self,
        words: Words,
        files: BTreeMap<String, Vec<u8>>,
        digest: String,
        (warnings, left_out): (Vec<Problem>, Vec<Problem>),
    ) -> Bundle {
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
            left_out,
        }
    }
}
