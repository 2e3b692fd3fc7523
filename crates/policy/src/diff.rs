//! `policy diff`: in words, who gains and who loses which access, and what becomes cheaper or dearer.
//!
//! Both bundles are asked the same questions: everybody they name × every role on every resource, in the ordinary way,
//! without an end and as an emergency, now and in every window that opens; then every other act, and every seat. What policies say of other
//! circumstances, such as the network or the hour, is not gone through; where that changes, the policy itself is named.

mod alike;
mod circumstances;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use access::names::{GroupName, ResourceName, RoleName, Username};
use access::request::Asked;
use access::threshold::{Over, Threshold};
use access::time::Span;
use access::verdict::{Answer, StepUp, Terms};
use jiff::Timestamp;
use serde::Serialize;

use crate::Bundle;
use crate::NOTICE;
use crate::explain::{say_needs, say_terms};
use crate::may::{About, Act, Object};
use crate::rights::added;
use crate::situation::{Ask, Situation};
use crate::words::access_id;
use circumstances::circumstances;

/// Which way something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// It was denied and no longer is.
    Gains,
    /// It was open and is so at a lower cost in at least one respect.
    Eases,
    /// It was open and is so at a higher cost.
    Tightens,
    /// It was open and is denied.
    Loses,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// Who; `None`: whoever the policy is for.
    pub who: Option<Username>,
    /// What: `web-1+shell`, `web-1+shell standing`, `web-1+shell emergency`, `inside:web-1+shell`, `watch:web-1`,
    /// `administer:lock`, `seat:PLAN`, `policy:ID`.
    pub what: String,
    /// Which way.
    pub direction: Direction,
    /// In words.
    pub says: String,
    /// The words before and after the resource, by which the printed form joins what differs in nothing else.
    #[serde(skip)]
    around: Option<(String, String, String)>,
}

impl Change {
    /// `before` and `after` stand around the name of the resource, if it is about one.
    fn new(who: &Username, what: String, direction: Direction, before: &str, resource: Option<&str>, after: &str) -> Self {
        let says = match resource {
            Some(resource) => format!("{before}`{resource}`{after}"),
            None => format!("{before}{after}"),
        };
        let around = resource.map(|r| (before.to_owned(), r.to_owned(), after.to_owned()));
        Self { who: Some(who.clone()), what, direction, says, around }
    }

    /// Of a policy that depends on what is not gone through.
    fn of_policy(who: Option<&Username>, id: &str, direction: Direction, says: String) -> Self {
        Self { who: who.cloned(), what: format!("policy:{id}"), direction, says, around: None }
    }

    /// Who, as a declaration names them.
    #[must_use]
    pub fn whom(&self) -> &str {
        self.who.as_ref().map_or("*", Username::as_str)
    }

    /// Whether somebody can do more than before.
    #[must_use]
    pub fn grants(&self) -> bool {
        matches!(self.direction, Direction::Gains | Direction::Eases)
    }
}

/// Everything that differs between two bundles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// The digest of the old one.
    pub old: String,
    /// The digest of the new one.
    pub new: String,
    /// By person, then by what.
    pub changes: Vec<Change>,
    /// Where recordings are kept for another time, in words.
    pub kept: Vec<String>,
    /// Whether everything was compared, and not only what there was time for.
    pub whole: bool,
}

impl Diff {
    /// Grants that no declaration covers.
    #[must_use]
    pub fn undeclared_grants(&self, declared: &[Declaration]) -> Vec<&Change> {
        self.changes.iter().filter(|c| c.grants() && !declared.iter().any(|d| d.covers(c))).collect()
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changes.is_empty() {
            f.write_str("nobody gains or loses anything")?;
        }
        let mut lines: Vec<(Direction, Option<(&str, &str)>, Vec<&str>)> = Vec::new();
        for change in &self.changes {
            let around = change.around.as_ref().map(|(before, _, after)| (before.as_str(), after.as_str()));
            let on = change.around.as_ref().map_or(change.says.as_str(), |(_, resource, _)| resource.as_str());
            match lines.iter_mut().find(|(d, a, _)| *d == change.direction && a.is_some() && *a == around) {
                Some((.., places)) => places.push(on),
                None => lines.push((change.direction, around, vec![on])),
            }
        }
        for (index, (direction, around, on)) in lines.into_iter().enumerate() {
            let sign = match direction {
                Direction::Gains => '+',
                Direction::Loses => '-',
                Direction::Eases => '<',
                Direction::Tightens => '>',
            };
            let end = if index == 0 { "" } else { "\n" };
            match around {
                Some((before, after)) => write!(f, "{end}{sign} {before}`{}`{after}", on.join("`, `"))?,
                None => write!(f, "{end}{sign} {}", on.concat())?,
            }
        }
        for says in &self.kept {
            write!(f, "\n* {says}")?;
        }
        if !self.whole {
            write!(
                f,
                "\n* there is more: comparing everybody and everything takes longer than was waited; `tidegate policy diff OLD NEW` does it"
            )?;
        }
        Ok(())
    }
}

/// A grant that a change owns up to: `WHO WHAT`, as in `ana web-1+shell`; a `*` stands for any ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    who: String,
    what: String,
}

impl Declaration {
    fn covers(&self, change: &Change) -> bool {
        let fits = |pattern: &str, text: &str| match pattern.strip_suffix('*') {
            Some(stem) => text.starts_with(stem),
            None => pattern == text,
        };
        fits(&self.who, change.whom()) && fits(&self.what, &change.what)
    }
}

impl FromStr for Declaration {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().split_once(char::is_whitespace) {
            Some((who, what)) if !what.trim().is_empty() => Ok(Self { who: who.to_owned(), what: what.trim().to_owned() }),
            _ => Err(format!(
                "`{}` declares nothing; write `WHO WHAT`, as in `ana web-1+shell` or `* build-1+*`",
                crate::problem::shown(text)
            )),
        }
    }
}

/// Somebody to ask about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whom {
    /// Under which name.
    pub username: Username,
    /// The groups that the gate's store and identity providers know of, beside those of `people.toml`.
    pub groups: Vec<GroupName>,
    /// The schedules they are supposed to be on call for; none: what `people.toml` says.
    pub on_call: Vec<GroupName>,
}

impl From<Username> for Whom {
    fn from(username: Username) -> Self {
        Self { username, groups: Vec::new(), on_call: Vec::new() }
    }
}

impl Whom {
    /// Whoever is on call for the schedules that are kept elsewhere, of either bundle: nobody in particular, called `on-call.NAME`, since
    /// the directory alone doesn't say who that is.
    pub fn on_call<'b>(bundles: impl IntoIterator<Item = &'b Bundle>) -> BTreeSet<Self> {
        let schedules = bundles.into_iter().flat_map(|bundle| bundle.people().on_call.values());
        let elsewhere = schedules.filter(|schedule| schedule.elsewhere.is_some());
        elsewhere
            .filter_map(|schedule| {
                let username = format!("on-call.{}", schedule.name).parse().ok()?;
                Some(Self { username, groups: Vec::new(), on_call: vec![schedule.name.clone()] })
            })
            .collect()
    }

    fn seen_by(&self, bundle: &Bundle, now: Timestamp) -> Option<Situation> {
        let on_call = (!self.on_call.is_empty()).then(|| self.on_call.clone());
        Some(Situation { store_groups: self.groups.clone(), on_call, ..bundle.imagine(&self.username, now)? })
    }
}

/// Compares two bundles at `now`. `people`: whom to ask about; everybody either bundle names if there are none.
#[must_use]
pub fn diff(old: &Bundle, new: &Bundle, people: &[Whom], now: Timestamp) -> Diff {
    diff_while(old, new, people, now, || true)
}

/// Compares two bundles for as long as `go_on` says so.
#[must_use]
pub fn diff_while(old: &Bundle, new: &Bundle, people: &[Whom], now: Timestamp, go_on: impl Fn() -> bool) -> Diff {
    let everybody: BTreeSet<Whom> = if people.is_empty() {
        let named = old.people().usernames().union(&new.people().usernames()).cloned().map(Whom::from).collect::<BTreeSet<Whom>>();
        named.into_iter().chain(Whom::on_call([old, new])).collect()
    } else {
        people.iter().cloned().collect()
    };
    let mut comparison = Comparison { old, new, now, moments: moments(old, new, now), changes: Vec::new() };
    let whole = old.digest() == new.digest() || comparison.everybody(&everybody, &go_on);
    let Comparison { mut changes, .. } = comparison;
    if old.digest() != new.digest() {
        circumstances(old, new, &everybody, now, &mut changes);
    }
    changes.sort();
    Diff { old: old.digest().to_owned(), new: new.digest().to_owned(), changes, kept: kept(old, new), whole }
}

/// Two bundles, and what was found to differ so far.
struct Comparison<'b> {
    old: &'b Bundle,
    new: &'b Bundle,
    now: Timestamp,
    moments: Vec<Timestamp>,
    changes: Vec<Change>,
}

impl Comparison<'_> {
    /// Asks about one of those who are alike, and about the others where that one's answers differ. Whether all was compared.
    fn everybody(&mut self, everybody: &BTreeSet<Whom>, go_on: &impl Fn() -> bool) -> bool {
        let bundles = [self.old, self.new];
        let named = alike::Named::by(bundles);
        let resources = alike::resources(bundles, &named);
        for people in alike::people(bundles, &named, everybody, &self.moments) {
            for resources in &resources {
                for (index, (whom, resource)) in people.iter().flat_map(|whom| resources.iter().map(move |at| (whom, at))).enumerate() {
                    let differs = self.at(whom, resource);
                    if !go_on() {
                        return false;
                    }
                    if index == 0 && !differs {
                        break;
                    }
                }
            }
            for (index, whom) in people.into_iter().enumerate() {
                let differs = self.anywhere(whom);
                if index == 0 && !differs {
                    break;
                }
            }
        }
        true
    }

    /// What somebody may have and do at one resource; whether anything differs.
    fn at(&mut self, whom: &Whom, resource: &ResourceName) -> bool {
        let before = self.changes.len();
        accesses(self.old, self.new, whom, resource, &self.moments, &mut self.changes);
        acts(self.old, self.new, whom, resource, self.now, &mut self.changes);
        self.changes.len() > before
    }

    /// What somebody may do wherever they are; whether anything differs.
    fn anywhere(&mut self, whom: &Whom) -> bool {
        let before = self.changes.len();
        administers(self.old, self.new, whom, self.now, &mut self.changes);
        seats(self.old, self.new, whom, self.now, &mut self.changes);
        self.changes.len() > before
    }
}

/// Where recordings are kept for another time, the resources of one change together.
fn kept(old: &Bundle, new: &Bundle) -> Vec<String> {
    let mut changes: BTreeMap<(Option<Span>, Option<Span>), Vec<&str>> = BTreeMap::new();
    for resource in new.resources().filter(|resource| old.resource(&resource.name).is_some()) {
        let by = |bundle: &Bundle| bundle.kept(&resource.name).map(|(_, kept)| kept);
        let (was, is) = (by(old), by(new));
        if was != is {
            changes.entry((was, is)).or_default().push(resource.name.as_str());
        }
    }
    let words = |kept: Option<Span>| kept.map_or_else(|| "until somebody destroys them".to_owned(), |kept| kept.to_string());
    let says = |((was, is), at): ((Option<Span>, Option<Span>), Vec<&str>)| {
        let shorter = is.is_some_and(|is| was.is_none_or(|was| is < was));
        let goes = if shorter { format!("; what is older goes for good, {NOTICE} after this came into force") } else { String::new() };
        format!("recordings at `{}` are kept {}, were kept {}{goes}", at.join("`, `"), words(is), words(was))
    };
    changes.into_iter().map(says).collect()
}

/// Now, and the next opening of every window either bundle knows.
fn moments(old: &Bundle, new: &Bundle, now: Timestamp) -> Vec<Timestamp> {
    let opening = |bundle: &Bundle| bundle.windows().filter_map(|w| w.opens_next(now, bundle.time_zone())).collect::<Vec<_>>();
    let mut out = vec![now];
    for at in opening(old).into_iter().chain(opening(new)) {
        if !out.contains(&at) {
            out.push(at);
        }
    }
    out
}

/// What an access costs; `None` if it is denied.
fn cost(bundle: &Bundle, who: &Situation, ask: &Ask) -> Option<(Terms, Option<StepUp>)> {
    match bundle.decide(who, ask).answer() {
        Answer::Permit { terms } | Answer::NeedsApproval { terms } => Some((terms.clone(), None)),
        Answer::StepUp { needs, terms } => Some((terms.clone(), Some(*needs))),
        Answer::Deny { .. } => None,
    }
}

/// The roles that a resource has under either bundle.
fn roles_at(old: &Bundle, new: &Bundle, resource: &ResourceName) -> BTreeSet<RoleName> {
    old.roles_for(resource).into_iter().chain(new.roles_for(resource)).map(|role| role.name.clone()).collect()
}

fn accesses(old: &Bundle, new: &Bundle, whom: &Whom, resource: &ResourceName, moments: &[Timestamp], out: &mut Vec<Change>) {
    let person = &whom.username;
    for role in roles_at(old, new, resource) {
        let plain = Ask::plain(resource.clone(), role.clone());
        let what = access_id(resource, &role);
        for (way, words, ask) in [
            ("", "", plain.clone()),
            (" standing", " without an end", Ask { asked: Asked::Standing, ..plain.clone() }),
            (" emergency", " in an emergency", Ask { break_glass: true, ..plain.clone() }),
        ] {
            // A change is told once, at the first moment it shows.
            let found = moments.iter().enumerate().find_map(|(index, now)| {
                let (before, after) = (whom.seen_by(old, *now)?, whom.seen_by(new, *now)?);
                let (direction, says) = compare(cost(old, &before, &ask), cost(new, &after, &ask))?;
                let when = if index == 0 {
                    String::new()
                } else {
                    format!(" (from {})", new.time_zone().to_datetime(*now).strftime("%Y-%m-%d %H:%M"))
                };
                Some((direction, format!("{says}{when}")))
            });
            if let Some((direction, says)) = found {
                let (before, after) = (format!("`{person}`, `{role}` on "), format!("{words}: {says}"));
                out.push(Change::new(person, format!("{what}{way}"), direction, &before, Some(resource.as_str()), &after));
            }
        }
        inside(old, new, whom, &plain, moments, out);
    }
}

fn compare(before: Option<(Terms, Option<StepUp>)>, after: Option<(Terms, Option<StepUp>)>) -> Option<(Direction, String)> {
    let told = |(terms, needs): &(Terms, Option<StepUp>)| match needs {
        Some(needs) => format!("{}, after {}", say_terms(terms), say_needs(needs)),
        None => say_terms(terms),
    };
    match (before, after) {
        (None, None) => None,
        (None, Some(after)) => Some((Direction::Gains, format!("was denied, is now open: {}", told(&after)))),
        (Some(before), None) => Some((Direction::Loses, format!("was open ({}), is now denied", told(&before)))),
        (Some(before), Some(after)) if before == after => None,
        (Some(before), Some(after)) => {
            let direction = if eases(&before.0, &after.0) { Direction::Eases } else { Direction::Tightens };
            let (was, is) = (told(&before), told(&after));
            let says = if was == is {
                format!("changes in what stands behind it: {}", changed(&before.0, &after.0))
            } else {
                format!("was {was}; is now {is}")
            };
            Some((direction, says))
        }
    }
}

/// Whether anything about the cost is lower than it was.
fn eases(before: &Terms, after: &Terms) -> bool {
    let plans = |t: &Terms| t.approvals.iter().map(|p| p.name.clone()).collect::<BTreeSet<_>>();
    let opened = after.approvals.iter().any(|plan| {
        let Some(was) = before.approvals.iter().find(|p| p.name == plan.name) else { return false };
        was != plan && (plan.stages.len() != was.stages.len() || plan.stages.iter().zip(&was.stages).any(|(new, old)| wider(old, new)))
    });
    opened
        || !plans(before).is_subset(&plans(after))
        || after.people() < before.people()
        || after.max > before.max
        || after.default > before.default
        || after.mfa < before.mfa
        || (after.mfa_within > before.mfa_within && after.mfa != access::identity::Mfa::None)
        || after.ticket < before.ticket
        || (!before.ticket_states.is_empty() && !after.ticket_states.iter().all(|state| before.ticket_states.contains(state)))
        || (!before.ticket_states.is_empty() && after.ticket_states.is_empty())
        || (before.reason && !after.reason)
        || after.record < before.record
        || after.durability < before.durability
        || longer(before.idle, after.idle)
        || after.host_keys > before.host_keys
        || after.activate_within > before.activate_within
        || (after.standing && !before.standing)
        || (before.production && !after.production)
        || after.escalate_to != before.escalate_to
        || before.watch.iter().any(|was| !after.watch.iter().any(|is| as_watchful(was, is)))
        || match (&before.sample, &after.sample) {
            (Some(old), Some(new)) => new.percent < old.percent || new.reviewers != old.reviewers || new.review_within > old.review_within,
            (Some(_), None) => true,
            (None, _) => false,
        }
        || match (&before.break_glass, &after.break_glass) {
            (Some(old), Some(new)) => {
                old.reviewers != new.reviewers || new.review_within > old.review_within || (old.blocks_team && !new.blocks_team)
            }
            (old, new) => old != new,
        }
}

/// Whether one threshold says at least what another said, at the same number or a lower one.
fn as_watchful(was: &Threshold, is: &Threshold) -> bool {
    let lower = match (was.over, is.over) {
        (Over::Times(was), Over::Times(is)) | (Over::Count(was), Over::Count(is)) => is <= was,
        _ => false,
    };
    was.what == is.what && lower && is.then >= was.then
}

fn longer(before: Option<access::time::Span>, after: Option<access::time::Span>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => after > before,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

fn wider(old: &access::approval::Stage, new: &access::approval::Stage) -> bool {
    new.count < old.count
        || (old.signed && !new.signed)
        || new.seats.iter().any(|s| !old.seats.contains(s))
        || (new.escalate_to.is_some() && (new.escalate_to != old.escalate_to || new.timeout < old.timeout))
}

/// The fields that differ where the sentence about the cost doesn't show it.
fn changed(before: &Terms, after: &Terms) -> String {
    let mut out = Vec::new();
    let plans: Vec<String> = after
        .approvals
        .iter()
        .filter(|p| before.approvals.iter().any(|b| b.name == p.name && b != *p))
        .map(|p| format!("the plan `{}`", p.name))
        .collect();
    out.extend(plans);
    for (differs, word) in [
        (before.tier != after.tier, "the tier"),
        (before.mfa_within != after.mfa_within, "the age of a second factor"),
        (before.durability != after.durability, "the durability of recordings"),
        (before.idle != after.idle, "the idle time"),
        (before.activate_within != after.activate_within, "the time to activate"),
        (before.pending_for != after.pending_for, "the time a request waits"),
        (before.wait_at_connect != after.wait_at_connect, "the time a connection waits"),
        (before.host_keys != after.host_keys, "the trust in host keys"),
        (before.production != after.production, "whether it counts as production"),
        (before.sample != after.sample, "which sessions are looked at afterwards"),
        (before.escalate_to != after.escalate_to, "who answers for overdue reviews"),
        (before.watch != after.watch, "what is watched in sessions"),
    ] {
        if differs {
            out.push(word.to_owned());
        }
    }
    out.join(", ")
}

/// What more or less may be done inside sessions that are open on both sides.
fn inside(old: &Bundle, new: &Bundle, whom: &Whom, ask: &Ask, moments: &[Timestamp], out: &mut Vec<Change>) {
    let person = &whom.username;
    let Some(now) = moments.first() else { return };
    let (Some(before), Some(after)) = (whom.seen_by(old, *now), whom.seen_by(new, *now)) else { return };
    let open = |bundle: &Bundle, who: &Situation| {
        cost(bundle, who, ask).is_some() || cost(bundle, who, &Ask { break_glass: true, ..ask.clone() }).is_some()
    };
    if !open(old, &before) || !open(new, &after) {
        return;
    }
    let (Some(was), Some(is)) = (old.rights(&before, &ask.role, &ask.resource), new.rights(&after, &ask.role, &ask.resource)) else {
        return;
    };
    for (direction, items, word) in [(Direction::Gains, added(&was, &is), "now also"), (Direction::Loses, added(&is, &was), "no longer")] {
        if !items.is_empty() {
            let (before, after) = (format!("`{person}`, inside `{}` on ", ask.role), format!(": {word} {}", items.join(", ")));
            let what = format!("inside:{}", access_id(&ask.resource, &ask.role));
            out.push(Change::new(person, what, direction, &before, Some(ask.resource.as_str()), &after));
        }
    }
}

/// Says what somebody may now, or may no longer, do.
fn tell(whom: &Whom, what: String, words: &str, resource: Option<&ResourceName>, (was, is): (bool, bool), out: &mut Vec<Change>) {
    let (direction, may) = match (was, is) {
        (false, true) => (Direction::Gains, "may now"),
        (true, false) => (Direction::Loses, "may no longer"),
        _ => return,
    };
    let person = &whom.username;
    out.push(Change::new(person, what, direction, &format!("`{person}` {may} {words}"), resource.map(ResourceName::as_str), ""));
}

/// What somebody may administer.
fn administers(old: &Bundle, new: &Bundle, whom: &Whom, now: Timestamp, out: &mut Vec<Change>) {
    let (Some(before), Some(after)) = (whom.seen_by(old, now), whom.seen_by(new, now)) else { return };
    for act in Act::all().into_iter().filter(|act| matches!(act, Act::Administer(_))) {
        let may = |bundle: &Bundle, who: &Situation| bundle.may(who, act, &Object::Nothing).allowed;
        tell(whom, act.to_string(), &format!("do `{act}`"), None, (may(old, &before), may(new, &after)), out);
    }
}

/// What somebody may do about what others do at a resource.
fn acts(old: &Bundle, new: &Bundle, whom: &Whom, resource: &ResourceName, now: Timestamp, out: &mut Vec<Change>) {
    let (Some(before), Some(after)) = (whom.seen_by(old, now), whom.seen_by(new, now)) else { return };
    // Somebody whom no policy names, so that only rights over others count.
    let Ok(nobody) = "somebody.else".parse::<Username>() else { return };
    let Some(other) = old.imagine(&nobody, now) else { return };
    let roles = roles_at(old, new, resource);
    for act in Act::all().into_iter().filter(|act| !matches!(act, Act::Administer(_))) {
        let may = |bundle: &Bundle, who: &Situation| {
            roles.iter().any(|role| {
                let about = About {
                    person: other.id,
                    username: nobody.clone(),
                    owner: None,
                    resource: resource.clone(),
                    role: role.clone(),
                    break_glass: act == Act::Review,
                    claims: None,
                };
                objects(bundle, act, about).iter().any(|object| bundle.may(who, act, object).allowed)
            })
        };
        let words = format!("`{act}` what others do on ");
        tell(whom, format!("{act}:{resource}"), &words, Some(resource), (may(old, &before), may(new, &after)), out);
    }
}

fn objects(bundle: &Bundle, act: Act, about: About) -> Vec<Object> {
    match act {
        Act::Approve => vec![Object::Request(about)],
        Act::Review => bundle.people().groups.keys().map(|g| Object::Review { about: about.clone(), reviewers: g.clone() }).collect(),
        Act::Watch | Act::Terminate => vec![Object::Session(about)],
        _ => vec![Object::Recording(about.clone()), Object::Session(about)],
    }
}

fn seats(old: &Bundle, new: &Bundle, whom: &Whom, now: Timestamp, out: &mut Vec<Change>) {
    let person = &whom.username;
    let (Some(before), Some(after)) = (whom.seen_by(old, now), whom.seen_by(new, now)) else { return };
    let names: BTreeSet<_> = old.plans().chain(new.plans()).map(|p| p.name.clone()).collect();
    for name in names {
        let seated = |bundle: &Bundle, who: &Situation| {
            let plan = bundle.plans().find(|p| p.name == name);
            plan.is_some_and(|p| p.stages.iter().flat_map(|s| s.seats.iter().chain(&s.escalate_to)).any(|seat| bundle.seated(who, seat)))
        };
        let (direction, may) = match (seated(old, &before), seated(new, &after)) {
            (false, true) => (Direction::Gains, "may now"),
            (true, false) => (Direction::Loses, "may no longer"),
            _ => continue,
        };
        out.push(Change::new(
            person,
            format!("seat:{name}"),
            direction,
            &format!("`{person}` {may} agree under the plan `{name}`"),
            None,
            "",
        ));
    }
}
