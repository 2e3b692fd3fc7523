//! The whole policy on paper: actor × action × resource → answer and cost. What is not printed is denied because no path
//! leads there.

use std::fmt::Write as _;

use access::names::Username;
use access::reason::Reason;
use access::request::Asked;
use access::verdict::{Answer, StepUp, Terms, TicketRule};
use jiff::Timestamp;

use crate::may::{About, Act, Object};
use crate::rights::in_short;
use crate::situation::{Ask, Situation};
use crate::Bundle;

/// Prints what each of some people may do at each of some moments, in short form. Made for golden files: the same bundle,
/// people and moments give the same text.
#[must_use]
pub fn print(bundle: &Bundle, people: &[Username], moments: &[Timestamp]) -> String {
    let mut out = String::new();
    for (index, now) in moments.iter().enumerate() {
        let _ = writeln!(out, "== {}", bundle.time_zone().to_datetime(*now).strftime("%a %Y-%m-%d %H:%M"));
        for person in people {
            let Some(who) = bundle.imagine(person, *now) else { continue };
            let _ = writeln!(out, "{person}");
            accesses(bundle, &who, &mut out);
            if index == 0 {
                inside(bundle, &who, &mut out);
                acts(bundle, &who, people, &mut out);
            }
        }
    }
    out
}

fn accesses(bundle: &Bundle, who: &Situation, out: &mut String) {
    for resource in bundle.resources() {
        for role in bundle.roles_for(&resource.name) {
            let plain = Ask::plain(resource.name.clone(), role.name.clone());
            for (way, ask) in [
                ("", plain.clone()),
                (" standing", Ask { asked: Asked::Standing, ..plain.clone() }),
                (" emergency", Ask { break_glass: true, ..plain.clone() }),
            ] {
                if let Some(cell) = cell(bundle, who, &ask) {
                    let name = format!("{}+{}{way}", resource.name, role.name);
                    let _ = writeln!(out, "  {name:<24} {cell}");
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
        Answer::Deny { reason: Reason::NoPath | Reason::NotBreakGlass | Reason::NotStanding | Reason::UnknownResource | Reason::UnknownRole, detail }
            if !detail.contains("window") =>
        {
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
        let _ = write!(out, " +{}", plan.name);
    }
    if terms.mfa != access::identity::Mfa::None {
        let _ = write!(out, " mfa:{}<{}", terms.mfa, terms.mfa_within);
    }
    if terms.ticket == TicketRule::Named {
        out.push_str(" ticket");
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
        let _ = write!(out, " review:{}<{}", owed.reviewers, owed.review_within);
    }
    out
}

/// What somebody may do inside the sessions that are open to them.
fn inside(bundle: &Bundle, who: &Situation, out: &mut String) {
    for resource in bundle.resources() {
        for role in bundle.open_roles(who, &resource.name) {
            let Some((rights, taken)) = bundle.rights_and_taken(who, &role, &resource.name) else { continue };
            let _ = write!(out, "  in {:<21} {}", format!("{}+{role}", resource.name), in_short(&rights));
            for right in taken {
                let _ = write!(out, " -{} ({})", right.action, right.by.join(", "));
            }
            out.push('\n');
        }
    }
}

fn acts(bundle: &Bundle, who: &Situation, people: &[Username], out: &mut String) {
    for act in Act::all() {
        if matches!(act, Act::Administer(_)) {
            let ruling = bundle.may(who, act, &Object::Nothing);
            if ruling.allowed {
                let _ = writeln!(out, "  {act:<24} {}", ruling.policies.join(","));
            }
            continue;
        }
        for resource in bundle.resources() {
            let Some(role) = bundle.roles_for(&resource.name).first().map(|r| r.name.clone()) else { continue };
            for noun in ["request", "session", "recording", "review"] {
                // Whose it is: oneself, or the first of the others.
                let own = std::iter::once(&who.username);
                for of in own.chain(people.iter().find(|p| **p != who.username)) {
                    let Some(person) = bundle.imagine(of, who.now) else { continue };
                    let about = About {
                        person: person.id,
                        username: of.clone(),
                        owner: None,
                        resource: resource.name.clone(),
                        role: role.clone(),
                        break_glass: noun == "review",
                    };
                    let whose = if *of == who.username { "own" } else { "another's" };
                    act_line(bundle, who, act, noun, about, &format!("{whose} {noun} on {}", resource.name), out);
                }
            }
        }
    }
}

fn act_line(bundle: &Bundle, who: &Situation, act: Act, noun: &str, about: About, what: &str, out: &mut String) {
    let objects = match noun {
        "request" => vec![Object::Request(about)],
        "session" => vec![Object::Session(about)],
        "recording" => vec![Object::Recording(about)],
        _ => {
            let groups = bundle.tiers().any(|t| t.break_glass).then(|| bundle.people().groups.keys()).into_iter().flatten();
            groups.map(|g| Object::Review { about: about.clone(), reviewers: g.clone() }).collect()
        }
    };
    for object in objects {
        let ruling = bundle.may(who, act, &object);
        let owed = match &object {
            Object::Review { reviewers, .. } => format!(" owed by {reviewers}"),
            _ => String::new(),
        };
        match &ruling.refusal {
            None if ruling.allowed => {
                let _ = writeln!(out, "  {:<24} {what}{owed} | {}", act.to_string(), ruling.policies.join(","));
            }
            Some(refusal) if matches!(refusal.reason, Reason::Forbidden | Reason::PolicyError) => {
                let _ = writeln!(out, "  {:<24} {what}{owed} | no: {}", act.to_string(), refusal.detail.as_deref().unwrap_or_default());
            }
            _ => {}
        }
    }
}
