//! `people.toml`: groups and teams, on-call schedules, contractors' end dates: what the directory service doesn't know.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use access::names::{GroupName, ResourceName, RoleName, Username};
use access::time::Span;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::collect;
use super::windows::{Moment, Zone};
use crate::document::{At, Document, Table};
use crate::problem::{Place, Sink};

/// Several people. A team is a group that policies may also name as `Tide::Team`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// In plain words, who they are.
    pub description: Option<String>,
    /// Whether it is a team.
    pub team: bool,
    /// Who is in it.
    pub members: BTreeSet<Username>,
}

/// A schedule that is kept outside the directory: which service of which source, as the gate's configuration names them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Elsewhere {
    /// The `[[oncall]]` of the gate's configuration.
    pub source: GroupName,
    /// A service of it.
    pub service: GroupName,
    /// Only people of this escalation level or a lower one count; `None`: all.
    pub level: Option<u32>,
}

/// Who is on call when: dated shifts first, else a rotation; or kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Its name.
    pub name: GroupName,
    /// Where it is kept, if not here.
    pub elsewhere: Option<Elsewhere>,
    people: Vec<Username>,
    starts: DateTime,
    every: Span,
    shifts: Vec<(Username, Timestamp, Timestamp)>,
    zone: TimeZone,
}

impl Schedule {
    /// Who is on call at `now`, of a schedule that is kept here.
    #[must_use]
    pub fn on_call(&self, now: Timestamp) -> Vec<&Username> {
        let shifts: Vec<&Username> = self.shifts.iter().filter(|(_, from, to)| *from <= now && now < *to).map(|(who, ..)| who).collect();
        if !shifts.is_empty() {
            return shifts;
        }
        // Turns are counted on the wall clock of the schedule's zone, so that a change to summer time moves no hand-over.
        let gone = self.zone.to_datetime(now).duration_since(self.starts);
        let every = SignedDuration::from_secs(i64::try_from(self.every.as_seconds()).unwrap_or(i64::MAX));
        if gone.is_negative() || every.is_zero() || self.people.is_empty() {
            return Vec::new();
        }
        let turn = usize::try_from(gone.as_secs() / every.as_secs().max(1)).unwrap_or(0);
        self.people.get(turn % self.people.len()).into_iter().collect()
    }

    /// The first moment after `now` at which it may be somebody else, of a schedule that is kept here; `None`: it stays as it is.
    #[must_use]
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let shifts = self.shifts.iter().flat_map(|(_, from, to)| [*from, *to]).filter(|at| now < *at);
        shifts.chain(self.next_turn(now)).min()
    }

    fn next_turn(&self, now: Timestamp) -> Option<Timestamp> {
        let every = i64::try_from(self.every.as_seconds()).ok().filter(|every| *every > 0)?;
        let gone = self.zone.to_datetime(now).duration_since(self.starts);
        let begun = !gone.is_negative();
        if self.people.is_empty() || (begun && self.people.len() == 1) {
            return None;
        }
        let next = if begun { gone.as_secs() / every + 1 } else { 0 };
        // While the clock is put back, the turn that comes next may have its beginning behind it.
        [next, next.saturating_add(1)].into_iter().find_map(|turn| {
            let begins = self.starts.checked_add(SignedDuration::from_secs(every.checked_mul(turn)?)).ok()?;
            self.zone.to_timestamp(begins).ok().filter(|at| now < *at)
        })
    }
}

/// Somebody from outside: sees and reaches only what is named here, until the end of a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contractor {
    /// Who.
    pub name: Username,
    /// The first moment at which everything is denied.
    pub ends_at: Timestamp,
    /// The only resources they see.
    pub resources: BTreeSet<ResourceName>,
    /// The only roles they may take there; empty: all of those resources' roles.
    pub roles: BTreeSet<RoleName>,
}

/// A contractor and the places of the names it uses.
pub(crate) struct ContractorSource {
    pub(crate) contractor: Contractor,
    pub(crate) resources: Vec<At<ResourceName>>,
    pub(crate) roles: Vec<At<RoleName>>,
}

/// Everything `people.toml` says.
#[derive(Debug, Clone, Default)]
pub struct People {
    /// Groups and teams.
    pub groups: BTreeMap<GroupName, Group>,
    /// On-call schedules.
    pub on_call: BTreeMap<GroupName, Schedule>,
    /// Contractors.
    pub contractors: BTreeMap<Username, Contractor>,
    /// Which of the names above are machines. Only reports and cases read it: at a request the id says it.
    pub workloads: BTreeSet<Username>,
    memberships: HashMap<Username, Vec<GroupName>>,
}

impl People {
    /// The groups and teams somebody is in.
    #[must_use]
    pub fn groups_of(&self, who: &Username) -> &[GroupName] {
        self.memberships.get(who).map_or(&[], Vec::as_slice)
    }

    /// The machines of `workloads.toml` are machines, and in the groups that it names.
    pub(crate) fn take_in(&mut self, workloads: &super::workloads::Workloads) {
        for workload in workloads.all.values() {
            self.workloads.insert(workload.name.clone());
            for group in &workload.groups {
                if let Some(known) = self.groups.get_mut(group)
                    && known.members.insert(workload.name.clone())
                {
                    self.memberships.entry(workload.name.clone()).or_default().push(group.clone());
                }
            }
        }
    }

    /// Everybody the directory names, sorted.
    #[must_use]
    pub fn usernames(&self) -> BTreeSet<Username> {
        let members = self.groups.values().flat_map(|g| g.members.iter());
        let shifts = self.on_call.values().flat_map(|s| s.people.iter().chain(s.shifts.iter().map(|(who, ..)| who)));
        members.chain(shifts).chain(self.contractors.keys()).chain(&self.workloads).cloned().collect()
    }
}

/// What was read, before names are checked against each other.
pub(crate) struct PeopleSource {
    pub(crate) people: People,
    pub(crate) contractors: Vec<ContractorSource>,
}

pub(crate) fn load(files: &[(&str, &[u8])], zone: &TimeZone, sink: &Sink) -> PeopleSource {
    let mut groups: BTreeMap<GroupName, (Group, Place)> = BTreeMap::new();
    let mut on_call: BTreeMap<GroupName, (Schedule, Place)> = BTreeMap::new();
    let mut contractors: BTreeMap<Username, (ContractorSource, Place)> = BTreeMap::new();
    let mut workloads = BTreeSet::new();
    for (file, bytes) in files {
        let Some(doc) = Document::open(file, bytes, sink) else { continue };
        let root = doc.root();
        workloads.extend(root.read_list::<Username>("workloads").into_iter().map(|w| w.value));
        collect(&root, "group", &mut groups, |table| read_group(table, false));
        collect(&root, "team", &mut groups, |table| read_group(table, true));
        collect(&root, "on_call", &mut on_call, |table| read_schedule(table, zone));
        collect(&root, "contractor", &mut contractors, |table| read_contractor(table, zone));
        root.finish();
    }
    let mut people = People {
        groups: groups.into_iter().map(|(name, (group, _))| (name, group)).collect(),
        on_call: on_call.into_iter().map(|(name, (schedule, _))| (name, schedule)).collect(),
        contractors: contractors.iter().map(|(name, (source, _))| (name.clone(), source.contractor.clone())).collect(),
        workloads,
        memberships: HashMap::new(),
    };
    for group in people.groups.values() {
        for member in &group.members {
            people.memberships.entry(member.clone()).or_default().push(group.name.clone());
        }
    }
    PeopleSource { people, contractors: contractors.into_values().map(|(source, _)| source).collect() }
}

fn read_group(table: &Table<'_>, team: bool) -> Option<(At<GroupName>, Group)> {
    let name: At<GroupName> = table.required("name")?;
    let description = table.text("description").map(|t| t.value);
    let members = table.read_list::<Username>("members").into_iter().map(|m| m.value).collect();
    let group = Group { name: name.value.clone(), description, team, members };
    Some((name, group))
}

fn read_schedule(table: &Table<'_>, zone: &TimeZone) -> Option<(At<GroupName>, Schedule)> {
    let name: At<GroupName> = table.required("name")?;
    if table.has("source") {
        return read_elsewhere(table, name);
    }
    let zone = table.read::<Zone>("time_zone").map_or_else(|| zone.clone(), |z| z.value.0);
    let people: Vec<Username> = table.read_list("people").into_iter().map(|p| p.value).collect();
    let starts: Option<At<Moment>> = table.read("starts");
    let every: Option<At<Span>> = table.read("every");
    let mut shifts = Vec::new();
    for shift in table.tables("shift") {
        let person: Option<At<Username>> = shift.required("person");
        let (from, to): (Option<At<Moment>>, Option<At<Moment>>) = (shift.required("from"), shift.required("to"));
        let place = shift.place();
        shift.finish();
        match (person, from.and_then(|f| f.value.resolve(&zone)), to.and_then(|t| t.value.resolve(&zone))) {
            (Some(person), Some(from), Some(to)) if from < to => shifts.push((person.value, from, to)),
            (Some(_), Some(_), Some(_)) => table.sink().error(place, "this shift ends before it begins"),
            _ => {}
        }
    }
    if people.is_empty() && shifts.is_empty() {
        table.sink().error(
            name.place.clone(),
            format!("nobody is ever on call for `{}`; name `people`, `[[on_call.shift]]` or a `source`", name.value),
        );
    }
    if people.len() > 1 && (starts.is_none() || every.is_none()) {
        table.sink().error(
            name.place.clone(),
            "a rotation of several people needs `starts` and `every`, as in `starts = 2026-01-05T09:00` and `every = \"7d\"`",
        );
    }
    if let Some(every) = every.as_ref().filter(|e| e.value == Span::default()) {
        table.sink().error(every.place.clone(), "a turn of no length is nobody's; write `every = \"7d\"`");
    }
    let starts = match starts {
        None => DateTime::MIN,
        Some(at) => at.value.resolve(&zone).map_or(DateTime::MIN, |t| zone.to_datetime(t)),
    };
    let every = every.map_or(Span::hours(24 * 7), |e| e.value);
    let schedule = Schedule { name: name.value.clone(), elsewhere: None, people, starts, every, shifts, zone };
    Some((name, schedule))
}

/// `source`, and maybe `service` and `level`: the rest is told at run time.
fn read_elsewhere(table: &Table<'_>, name: At<GroupName>) -> Option<(At<GroupName>, Schedule)> {
    let source: Option<At<GroupName>> = table.required("source");
    let service: Option<At<GroupName>> = table.read("service");
    let level = table.number("level", 0, u32::MAX);
    if let Some(level) = level.as_ref().filter(|level| level.value == 0) {
        table.sink().error(level.place.clone(), "the first escalation level is 1; leave `level` out if every level counts");
    }
    for key in ["people", "starts", "every", "shift", "time_zone"] {
        if table.has(key) {
            table.sink().error(table.place(), format!("a schedule with a `source` is kept there, so `{key}` has no place here"));
        }
    }
    let service = service.map_or_else(|| name.value.clone(), |service| service.value);
    let elsewhere = Some(Elsewhere { source: source?.value, service, level: level.map(|level| level.value) });
    let nobody = (Vec::new(), DateTime::MIN, Span::hours(24 * 7), Vec::new(), TimeZone::UTC);
    let (people, starts, every, shifts, zone) = nobody;
    let schedule = Schedule { name: name.value.clone(), elsewhere, people, starts, every, shifts, zone };
    Some((name, schedule))
}

fn read_contractor(table: &Table<'_>, zone: &TimeZone) -> Option<(At<Username>, ContractorSource)> {
    let name: Option<At<Username>> = table.required("name");
    let until: Option<At<Moment>> = table.required("until");
    let resources: Vec<At<ResourceName>> = table.read_list("resources");
    let roles: Vec<At<RoleName>> = table.read_list("roles");
    let (name, until) = (name?, until?);
    if resources.is_empty() {
        table.sink().error(name.place.clone(), format!("the contractor `{}` has no `resources`; name those they may see", name.value));
    }
    // A day is meant to its end.
    let ends_at = match &until.value {
        Moment::Day(date) => date.tomorrow().ok().and_then(|d| Moment::Day(d).resolve(zone)),
        other => other.resolve(zone),
    };
    let contractor = Contractor {
        name: name.value.clone(),
        ends_at: ends_at?,
        resources: resources.iter().map(|r| r.value.clone()).collect(),
        roles: roles.iter().map(|r| r.value.clone()).collect(),
    };
    Some((name, ContractorSource { contractor, resources, roles }))
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: MAY-3
    #[test]
    fn a_rotation_hands_over_and_a_shift_goes_first() {
        let text = "[[on_call]]\nname = \"payments\"\npeople = [\"ana\", \"ben\"]\nstarts = 2026-01-05T09:00\nevery = \"7d\"\n\
                    [[on_call.shift]]\nperson = \"dan\"\nfrom = 2026-01-06\nto = 2026-01-07\n";
        let sink = Sink::new("a test");
        let people = load(&[("people.toml", text.as_bytes())], &"Europe/Berlin".parse::<Zone>().unwrap().0, &sink).people;
        sink.close().unwrap();
        let who = |at: &str| {
            let rota = people.on_call.values().next().unwrap();
            rota.on_call(at.parse().unwrap()).iter().map(|u| u.as_str()).collect::<Vec<_>>().join(",")
        };
        assert_eq!(who("2026-01-05T07:59:59Z"), "");
        assert_eq!(who("2026-01-05T08:00:00Z"), "ana");
        assert_eq!(who("2026-01-06T12:00:00Z"), "dan");
        assert_eq!(who("2026-01-12T08:00:00Z"), "ben");
        // In summer the hand-over is still at nine o'clock in Berlin.
        assert_eq!(who("2026-07-06T06:59:00Z"), "ben");
        assert_eq!(who("2026-07-06T07:00:00Z"), "ana");
    }

    // covers: OK-6
    #[test]
    fn when_somebody_else_is_on_call_is_known_before() {
        let text = "[[on_call]]\nname = \"payments\"\npeople = [\"ana\", \"ben\"]\nstarts = 2026-01-05T09:00\nevery = \"7d\"\n\
                    [[on_call.shift]]\nperson = \"dan\"\nfrom = 2026-01-06\nto = 2026-01-07\n\
                    [[on_call]]\nname = \"always\"\npeople = [\"ana\"]\n";
        let sink = Sink::new("a test");
        let people = load(&[("people.toml", text.as_bytes())], &"Europe/Berlin".parse::<Zone>().unwrap().0, &sink).people;
        sink.close().unwrap();
        let next = |name: &str, at: &str| {
            let schedule = &people.on_call[&name.parse::<GroupName>().unwrap()];
            schedule.next_change(at.parse().unwrap()).map(|at| at.to_string()).unwrap_or_default()
        };
        assert_eq!(next("payments", "2026-01-01T00:00:00Z"), "2026-01-05T08:00:00Z");
        assert_eq!(next("payments", "2026-01-05T08:00:00Z"), "2026-01-05T23:00:00Z", "a shift begins at midnight in Berlin");
        assert_eq!(next("payments", "2026-01-05T23:00:00Z"), "2026-01-06T23:00:00Z");
        assert_eq!(next("payments", "2026-01-06T23:00:00Z"), "2026-01-12T08:00:00Z");
        assert_eq!(next("payments", "2026-07-01T00:00:00Z"), "2026-07-06T07:00:00Z", "nine o'clock in summer");
        assert_eq!(next("always", "2026-07-01T00:00:00Z"), "");
    }
}
