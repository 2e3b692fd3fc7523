//! What a comparison of two policies does not go through: circumstances such as the network, the hour, or what is unusual.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::Effect;
use jiff::Timestamp;

use super::{Change, Direction, Whom};
use crate::Bundle;
use crate::engine::Rule;

/// What changed in policies that depend on circumstances which are not gone through: the network, the hour, how long, what is unusual. Who
/// gains by that can't be told, so the policy is named.
pub(super) fn circumstances(old: &Bundle, new: &Bundle, everybody: &BTreeSet<Whom>, now: Timestamp, out: &mut Vec<Change>) {
    let (gone, came) = (not_as_in(old, new), not_as_in(new, old));
    let (were, are) = (bodies(&gone), bodies(&came));
    let gone: BTreeMap<&str, &Rule> = gone.into_iter().filter(|(_, rule)| !are.contains(&rule.body())).collect();
    let came: BTreeMap<&str, &Rule> = came.into_iter().filter(|(_, rule)| !were.contains(&rule.body())).collect();
    for id in gone.keys().chain(came.keys()).collect::<BTreeSet<_>>() {
        let (was, is) = (gone.get(id), came.get(id));
        let read: BTreeSet<String> = was.into_iter().chain(is).flat_map(|rule| rule.reads()).collect();
        if read.is_empty() {
            continue;
        }
        let read = listed(&read);
        let (direction, what) = match (was.map(|rule| rule.effect), is.map(|rule| rule.effect)) {
            (None, Some(Effect::Permit)) => (Direction::Gains, "is new and permits"),
            (None, _) => (Direction::Loses, "is new and forbids"),
            (Some(Effect::Forbid), None) => (Direction::Gains, "forbids no longer"),
            (Some(_), None) => (Direction::Loses, "permits no longer"),
            (Some(_), Some(_)) => (Direction::Gains, "says something else"),
        };
        let says = format!("the policy `{id}` {what}, depending on {read}, which is not gone through here; look at it yourself");
        out.push(Change::of_policy(None, id, direction, says));
    }
    let stay: Vec<(&Rule, BTreeSet<String>)> = new
        .engine
        .rules
        .iter()
        .filter(|rule| rule.conditional && rule.names_people() && !came.contains_key(rule.id.as_str()))
        .map(|rule| (rule, rule.reads()))
        .filter(|(_, read)| !read.is_empty())
        .collect();
    if stay.is_empty() {
        return;
    }
    for whom in everybody {
        let subject = |bundle: &Bundle| bundle.subject(&whom.seen_by(bundle, now)?).ok();
        let (Some(before), Some(after)) = (subject(old), subject(new)) else { continue };
        for (rule, read) in &stay {
            let (was, is) = (rule.is_for(&before), rule.is_for(&after));
            if was == is {
                continue;
            }
            let permits = rule.effect == Effect::Permit;
            let direction = if is == permits { Direction::Gains } else { Direction::Loses };
            let (person, id) = (&whom.username, &rule.id);
            let whom = if is { "is for them now" } else { "is no longer for them" };
            let does = if permits { "permits" } else { "forbids" };
            let read = listed(read);
            let says = format!("`{person}`: the policy `{id}` {whom}; it {does} depending on {read}, which is not gone through here");
            out.push(Change::of_policy(Some(person), id, direction, says));
        }
    }
}

/// The policies that the other bundle does not have word for word under the same id; of thousands only these are looked into.
fn not_as_in<'b>(one: &'b Bundle, other: &Bundle) -> BTreeMap<&'b str, &'b Rule> {
    let others: BTreeMap<&str, &Rule> = other.engine.rules.iter().map(|rule| (rule.id.as_str(), rule)).collect();
    let same = |rule: &Rule| others.get(rule.id.as_str()).is_some_and(|other| other.text == rule.text && other.cost == rule.cost);
    one.engine.rules.iter().filter(|rule| !same(rule)).map(|rule| (rule.id.as_str(), rule)).collect()
}

fn bodies(rules: &BTreeMap<&str, &Rule>) -> BTreeSet<String> {
    rules.values().map(|rule| rule.body()).collect()
}

fn listed(names: &BTreeSet<String>) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
