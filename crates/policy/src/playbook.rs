//! What to do in an emergency, written out of the policy: who may declare one where, how, and what follows. Markdown, for wherever people look.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use access::identity::Mfa;
use access::verdict::{Answer, BreakGlassTerms, Terms, TicketRule};
use jiff::Timestamp;

use crate::Bundle;
use crate::engine::Rule;
use crate::situation::Ask;

/// Whom a path is open to, and for which accesses, each with its terms.
#[derive(Default)]
struct Open {
    /// Resource and role, and who may.
    accesses: BTreeMap<(String, String), BTreeSet<String>>,
    /// By tier.
    terms: BTreeMap<String, Terms>,
}

/// Writes the playbook as of a moment: who is on call, and who is whose, is as it is then.
#[must_use]
pub fn write(bundle: &Bundle, now: Timestamp) -> String {
    let mut open: BTreeMap<String, Open> = BTreeMap::new();
    for person in bundle.people().usernames() {
        let Some(who) = bundle.imagine(&person, now) else { continue };
        for resource in bundle.resources() {
            for role in bundle.roles_for(&resource.name) {
                let mut ask = Ask::plain(resource.name.clone(), role.name.clone());
                ask.break_glass = true;
                let verdict = bundle.decide(&who, &ask);
                let (Answer::Permit { terms } | Answer::NeedsApproval { terms } | Answer::StepUp { terms, .. }) = verdict.answer() else {
                    continue;
                };
                let Some(policy) = verdict.policies().first() else { continue };
                let path = open.entry(policy.clone()).or_default();
                let access = (resource.name.to_string(), role.name.to_string());
                path.accesses.entry(access).or_default().insert(person.to_string());
                path.terms.insert(terms.tier.to_string(), terms.clone());
            }
        }
    }
    let day = bundle.time_zone().to_datetime(now).strftime("%A, %-d %B %Y, %H:%M").to_string();
    let zone = bundle.time_zone().iana_name().unwrap_or("UTC").to_owned();
    let mut out = String::from("# Emergencies\n\n");
    let _ = writeln!(
        out,
        "Written by `tidegate policy playbook` out of the policy `{}`, as of {day} ({zone}). Whoever is on call changes; write it again.\n",
        bundle.digest().get(..12).unwrap_or_default()
    );
    let paths: Vec<(&Rule, &BreakGlassTerms)> =
        bundle.engine.rules.iter().filter_map(|rule| Some((rule, rule.cost.as_ref()?.break_glass.as_ref()?))).collect();
    if paths.is_empty() {
        out.push_str("No policy lets anybody in without asking. Ask the ordinary way, and call whoever has to agree.\n");
        return out;
    }
    how(&mut out);
    for (rule, owed) in paths {
        path(&mut out, rule, owed, open.remove(&rule.id).unwrap_or_default());
    }
    closed(&mut out, bundle);
    out
}

fn how(out: &mut String) {
    out.push_str(
        "## How\n\n\
         1. `tidegate break-glass RESOURCE+ROLE --reason 'what is wrong'`. Nobody is asked; the clock starts at once.\n\
         2. Connect as always: `ssh RESOURCE+ROLE.tide`, `tidegate psql RESOURCE`. Without the command line: \
         `TIDEGATE_BREAK_GLASS='what is wrong' ssh RESOURCE+ROLE.tide`.\n\
         3. When it is out: `tidegate grant return grt_…`, and write down what you did while you remember.\n\n\
         Whoever has to look back finds it in the inbox of the portal and by `tidegate review list --state open`.\n",
    );
}

fn path(out: &mut String, rule: &Rule, owed: &BreakGlassTerms, open: Open) {
    let _ = write!(out, "\n## {}\n\n", rule.id);
    let under = if rule.conditional { ", on conditions," } else { "," };
    let _ = writeln!(out, "For {}{under} as `{}` says:\n\n```cedar\n{}\n```\n", rule.audience(), rule.place, rule.text.trim());
    if open.accesses.is_empty() {
        out.push_str("At this moment it is open to nobody.\n");
    } else {
        // Roles that the same people have on one resource stand together.
        let mut lines: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for ((resource, role), people) in open.accesses {
            let people = people.into_iter().collect::<Vec<_>>().join(", ");
            lines.entry((resource, people)).or_default().insert(format!("`{role}`"));
        }
        out.push_str("| where | as | who, now |\n|---|---|---|\n");
        for ((resource, people), roles) in lines {
            let _ = writeln!(out, "| `{resource}` | {} | {people} |", roles.into_iter().collect::<Vec<_>>().join(", "));
        }
    }
    for (tier, terms) in open.terms {
        let _ = writeln!(out, "\nIn the tier `{tier}`:\n");
        let _ = writeln!(out, "- for {} unless you say otherwise, {} at most; {} is recorded", terms.default, terms.max, terms.record);
        let needs = needed(&terms);
        if !needs.is_empty() {
            let _ = writeln!(out, "- it takes {}", needs.join(", and "));
        }
        if !terms.approvals.is_empty() {
            let names = terms.approvals.iter().map(|plan| format!("`{}`", plan.name)).collect::<Vec<_>>();
            let _ = writeln!(out, "- **not at once**: the path itself still asks {}", names.join(" and "));
        }
        let escalated = terms.escalate_to.map_or_else(|| "administrators".to_owned(), |group| group.to_string());
        let _ = writeln!(out, "- `{}` looks at it within {}; after that `{escalated}` too", owed.reviewers, owed.review_within);
    }
    let whom = if owed.blocks_team { "nobody of their team declares" } else { "they declare no" };
    let other = if owed.blocks_team { "another" } else { "other" };
    let _ = writeln!(out, "\nWhile a review about somebody is overdue, {whom} {other} emergency. Nobody reviews their own.");
}

fn needed(terms: &Terms) -> Vec<String> {
    let mut needs = Vec::new();
    if terms.reason {
        needs.push("a reason".to_owned());
    }
    if terms.ticket != TicketRule::None {
        needs.push("a ticket".to_owned());
    }
    if terms.mfa > Mfa::None {
        needs.push(format!("a proof of who you are of the kind `{}`, at most {} old", terms.mfa, terms.mfa_within));
    }
    needs
}

/// Where nobody gets in like that.
fn closed(out: &mut String, bundle: &Bundle) {
    let shut: Vec<String> = bundle
        .resources()
        .filter(|resource| !resource.tier.as_ref().and_then(|tier| bundle.tier(tier)).is_some_and(|tier| tier.break_glass))
        .map(|resource| format!("`{}`", resource.name))
        .collect();
    if !shut.is_empty() {
        let _ = writeln!(
            out,
            "\n## Where there are no emergencies\n\n{}: their tiers allow none. Ask, and call whoever has to agree.",
            shut.join(", ")
        );
    }
}
