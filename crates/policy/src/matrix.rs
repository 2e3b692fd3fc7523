//! The whole policy on paper: actor × action × resource → answer and cost. What is not printed is denied because no path
//! leads there.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use access::names::{GroupName, Username};
use access::reason::Reason;
use access::request::Asked;
use access::verdict::{Answer, StepUp, Terms, TicketRule};
use jiff::Timestamp;

use crate::Bundle;
use crate::may::{About, Act, Object};
use crate::rights::in_short;
use crate::situation::{Ask, Situation};

/// Prints what each of some people may do at each of some moments, in short form. What is the same for several roles,
/// resources or nouns stands in one line; after the first moment only lines that were not printed before. Made for golden
/// files: the same bundle, people and moments give the same text.
#[must_use]
pub fn print(bundle: &Bundle, people: &[Username], moments: &[Timestamp]) -> String {
    let mut out = String::new();
    let mut before: BTreeSet<String> = BTreeSet::new();
    for (index, now) in moments.iter().enumerate() {
        let _ = writeln!(out, "== {}", bundle.time_zone().to_datetime(*now).strftime("%a %Y-%m-%d %H:%M"));
        for person in people {
            let Some(who) = bundle.imagine(person, *now) else { continue };
            let mut lines = Lines::default();
            accesses(bundle, &who, &mut lines);
            if index == 0 {
                inside(bundle, &who, &mut lines);
                acts(bundle, &who, people, &mut lines);
            }
            let lines: Vec<String> = lines.print().into_iter().filter(|l| !before.contains(&format!("{person}{l}"))).collect();
            if !lines.is_empty() {
                let _ = writeln!(out, "{person}");
            }
            for line in lines {
                let _ = writeln!(out, "  {line}");
                before.insert(format!("{person}{line}"));
            }
        }
    }
    out
}

/// Lines of `what`, `where` and an answer; those that differ in one of the first two alone become one.
#[derive(Default)]
struct Lines {
    all: Vec<(String, String, String)>,
}

impl Lines {
    fn add(&mut self, what: impl Into<String>, place: impl Into<String>, answer: String) {
        self.all.push((what.into(), place.into(), answer));
    }

    fn print(self) -> Vec<String> {
        // First the places that share an act and an answer, then the acts that share places and an answer.
        let mut by_what: Vec<(String, Vec<String>, String)> = Vec::new();
        for (what, place, answer) in self.all {
            match by_what.iter_mut().find(|(w, _, a)| *w == what && *a == answer) {
                Some((_, places, _)) => places.push(place),
                None => by_what.push((what, vec![place], answer)),
            }
        }
        let mut merged: Vec<(Vec<String>, Vec<String>, String)> = Vec::new();
        for (what, places, answer) in by_what {
            match merged.iter_mut().find(|(_, p, a)| *p == places && *a == answer) {
                Some((whats, ..)) => whats.push(what),
                None => merged.push((vec![what], places, answer)),
            }
        }
        merged.into_iter().map(|(what, places, answer)| format!("{} @ {} | {answer}", what.join(","), places.join(","))).collect()
    }
}

fn accesses(bundle: &Bundle, who: &Situation, out: &mut Lines) {
    for resource in bundle.resources() {
        let tier = resource.tier.as_ref().and_then(|t| bundle.tier(t));
        for role in bundle.roles_for(&resource.name) {
            let plain = Ask::plain(resource.name.clone(), role.name.clone());
            let mut ways = vec![("", plain.clone())];
            if tier.is_some_and(|t| t.standing) {
                ways.push(("standing ", Ask { asked: Asked::Standing, ..plain.clone() }));
            }
            if tier.is_some_and(|t| t.break_glass) {
                ways.push(("emergency ", Ask { break_glass: true, ..plain }));
            }
            for (way, ask) in ways {
                if let Some(cell) = cell(bundle, who, &ask) {
                    out.add(format!("{way}{}", role.name), resource.name.as_str(), cell);
                }
            }
        }
    }
}

/// The answer in short form; `None` for the plain no.
fn cell(bundle: &Bundle, who: &Situation, ask: &Ask) -> Option<String> {
    let verdict = bundle.decide(who, ask);
    let via = verdict.policies().join(",");
    Some(match verdict.answer() {
        Answer::Permit { terms } => format!("at once | {} | {via}", short(terms)),
        Answer::NeedsApproval { terms } => format!("asks    | {} | {via}", short(terms)),
        Answer::StepUp { needs, terms } => format!("step up ({}) | {} | {via}", step(needs), short(terms)),
        Answer::Deny {
            reason: Reason::NoPath | Reason::NotBreakGlass | Reason::NotStanding | Reason::UnknownResource | Reason::UnknownRole,
            detail,
        } if !detail.contains("window") => {
            return None;
        }
        Answer::Deny { reason, detail } => format!("no ({reason}): {detail}"),
    })
}

fn step(needs: &StepUp) -> String {
    let mfa = needs.mfa.map(|m| m.to_string());
    mfa.into_iter().chain(needs.ticket.then(|| "ticket".to_owned())).collect::<Vec<_>>().join("+")
}

fn short(terms: &Terms) -> String {
    let mut out = format!("{} of {}", terms.default, terms.max);
    for plan in &terms.approvals {
        let _ = write!(out, " +{}{}", plan.name, if plan.stages.iter().any(|stage| stage.signed) { "(signed)" } else { "" });
    }
    if terms.mfa != access::identity::Mfa::None {
        let _ = write!(out, " mfa:{}<{}", terms.mfa, terms.mfa_within);
    }
    match terms.ticket {
        TicketRule::None => {}
        TicketRule::Named => out.push_str(" ticket"),
        TicketRule::Open => {
            let _ =
                write!(out, " ticket:{}", if terms.ticket_states.is_empty() { "open".to_owned() } else { terms.ticket_states.join("|") });
        }
    }
    if terms.reason {
        out.push_str(" reason");
    }
    let _ = write!(out, " rec:{}/{}", terms.record, terms.durability);
    match terms.idle {
        Some(idle) => {
            let _ = write!(out, " idle:{idle}");
        }
        None => out.push_str(" idle:never"),
    }
    if terms.standing {
        out.push_str(" may-stand");
    }
    if let Some(owed) = &terms.break_glass {
        let team = if owed.blocks_team { "+team" } else { "" };
        let _ = write!(out, " review:{}<{}{team}", owed.reviewers, owed.review_within);
    }
    out
}

/// What somebody may do inside the sessions that are open to them.
fn inside(bundle: &Bundle, who: &Situation, out: &mut Lines) {
    for resource in bundle.resources() {
        for role in bundle.open_roles(who, &resource.name) {
            let Some((rights, taken)) = bundle.rights_and_taken(who, &role, &resource.name) else { continue };
            let mut may = in_short(&rights);
            for right in taken {
                let _ = write!(may, " -{} ({})", right.action, right.by.join(", "));
            }
            out.add(format!("inside {role}"), resource.name.as_str(), may);
        }
    }
}

fn acts(bundle: &Bundle, who: &Situation, people: &[Username], out: &mut Lines) {
    let reviewers: BTreeSet<&GroupName> = bundle.reviewers().collect();
    for act in Act::all() {
        if matches!(act, Act::Administer(_)) {
            let ruling = bundle.may(who, act, &Object::Nothing);
            if ruling.allowed {
                out.add(act.to_string(), "gate", ruling.policies.join(","));
            }
            continue;
        }
        // Whose it is: oneself, or the first of the others.
        for of in std::iter::once(&who.username).chain(people.iter().find(|p| **p != who.username)) {
            let whose = if *of == who.username { "own" } else { "others'" };
            for resource in bundle.resources() {
                let (Some(person), Some(role)) =
                    (bundle.imagine(of, who.now), bundle.roles_for(&resource.name).first().map(|r| r.name.clone()))
                else {
                    continue;
                };
                let about = About {
                    person: person.id,
                    username: of.clone(),
                    owner: None,
                    resource: resource.name.clone(),
                    role,
                    break_glass: false,
                    claims: person.claims,
                };
                let mut objects = vec![
                    ("request", Object::Request(about.clone())),
                    ("session", Object::Session(about.clone())),
                    ("recording", Object::Recording(about.clone())),
                ];
                let emergency = About { break_glass: true, ..about };
                objects.extend(reviewers.iter().map(|g| ("review", Object::Review { about: emergency.clone(), reviewers: (*g).clone() })));
                for (noun, object) in objects {
                    if let Some(answer) = ruling(bundle, who, act, &object) {
                        out.add(format!("{act} {whose} {noun}"), resource.name.as_str(), answer);
                    }
                }
            }
        }
    }
}

fn ruling(bundle: &Bundle, who: &Situation, act: Act, object: &Object) -> Option<String> {
    let ruling = bundle.may(who, act, object);
    match &ruling.refusal {
        None if ruling.allowed => Some(ruling.policies.join(",")),
        Some(refusal) if matches!(refusal.reason, Reason::Forbidden | Reason::PolicyError) => {
            Some(format!("no: {}", refusal.detail.as_deref().unwrap_or_default()))
        }
        _ => None,
    }
}
