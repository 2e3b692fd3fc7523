//! Why one decision came out as it did, in sentences.

use std::fmt;

use access::names::GroupName;
use access::request::Asked;
use access::verdict::{Answer, StepUp, Terms, TicketRule, Verdict};
use serde::Serialize;

use crate::Bundle;
use crate::decide::{Door, people};
use crate::facts::tiers::{Observe, Tier};
use crate::rights::in_short;
use crate::situation::{Ask, Situation};

/// A decision, step by step. Printed, it is one sentence a line.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// The steps, as sentences.
    pub steps: Vec<String>,
    /// The policies that made the answer, as they are written.
    pub policies: Vec<PolicyText>,
    /// The answer itself.
    pub verdict: Verdict,
}

/// A policy as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyText {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub at: String,
    /// The Cedar text.
    pub text: String,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))?;
        for policy in &self.policies {
            writeln!(f, "\n{}:", policy.at)?;
            policy.text.lines().try_for_each(|line| writeln!(f, "    {line}"))?;
        }
        Ok(())
    }
}

impl Bundle {
    /// Why a question gets the answer it gets.
    #[must_use]
    pub fn explain(&self, who: &Situation, ask: &Ask) -> Explanation {
        let verdict = self.decide(who, ask);
        let mut steps = vec![self.say_question(who, ask), self.say_person(who)];
        steps.extend(say_risk(who, ask));
        if let Door::Facts { resource, tier } = self.door(who, ask) {
            steps.push(say_tier(resource.name.as_str(), tier));
            steps.extend(tier.observe.as_ref().map(|observe| say_observed(tier, observe, who.now)));
        }
        for path in verdict.paths() {
            let place = self.engine.rules.iter().find(|r| r.id == path.policy).map(|r| format!(" ({})", r.place)).unwrap_or_default();
            steps.push(format!("Path `{}`{place}: {}.", path.policy, path.outcome));
        }
        steps.push(say_answer(verdict.answer()));
        if !matches!(verdict.answer(), Answer::Deny { .. })
            && let Some((rights, taken)) = self.rights_and_taken(who, &ask.role, &ask.resource)
        {
            steps.push(format!("Inside a session `{}` may: {}.", ask.role, in_short(&rights)));
            steps.extend(taken.iter().map(|t| format!("`{}` is taken away by {}.", t.action, t.by.join(", ").trim_end_matches('.'))));
        }
        let policies = self.engine.rules.iter().filter(|r| verdict.policies().contains(&r.id));
        let policies = policies.map(|r| PolicyText { id: r.id.clone(), at: r.place.to_string(), text: r.text.clone() }).collect();
        Explanation { steps, policies, verdict }
    }

    /// The same of a resource that does not exist, for somebody who may not know that this one does.
    #[must_use]
    pub fn explain_unseen(&self, who: &Situation, ask: &Ask) -> Explanation {
        let verdict = self.decide_unseen(who, ask);
        let steps = vec![self.say_question(who, ask), self.say_person(who), say_answer(verdict.answer())];
        Explanation { steps, policies: Vec::new(), verdict }
    }

    fn say_question(&self, who: &Situation, ask: &Ask) -> String {
        let length = match ask.asked {
            Asked::Default => "for the usual time".to_owned(),
            Asked::For(span) => format!("for {span}"),
            Asked::Standing => "without an end".to_owned(),
        };
        let emergency = if ask.break_glass { " as an emergency" } else { "" };
        let reason = if ask.reason_given { "with a reason" } else { "without a reason" };
        let ticket = ask.ticket.as_ref().map(|t| format!(" and the ticket `{t}`")).unwrap_or_default();
        let local = self.zone.to_datetime(who.now).strftime("%a %Y-%m-%d %H:%M").to_string();
        let zone = self.zone.iana_name().unwrap_or("UTC");
        format!(
            "`{}` asks{emergency} for `{}` on `{}` {length}, {reason}{ticket}, on {local} ({zone}).",
            who.username, ask.role, ask.resource
        )
    }

    fn say_person(&self, who: &Situation) -> String {
        let list = |names: &[GroupName]| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
        let groups = match self.groups_of(who) {
            none if none.is_empty() => "in no group".to_owned(),
            some => format!("in {}", list(&some)),
        };
        let duty = match self.on_call_of(who) {
            none if none.is_empty() => "not on call".to_owned(),
            some => format!("on call for {}", list(&some)),
        };
        let unknown = match who.on_call {
            Some(_) => Vec::new(),
            None => self.people().on_call.keys().filter_map(|name| self.duty_unknown(name, &who.roster, who.now)).collect(),
        };
        let duty = unknown.into_iter().fold(duty, |said, why| format!("{said} ({why})"));
        let contract = match self.contract(who) {
            Some(contract) => format!(", a contractor until {}", contract.ends_at),
            None => String::new(),
        };
        format!("`{}` is {groups}, {duty}{contract}; second factor: {}, {} seconds ago.", who.username, who.mfa, who.mfa_age())
    }
}

/// What is unusual, if somebody looked and anything is.
fn say_risk(who: &Situation, ask: &Ask) -> Option<String> {
    let risk = who.risk.as_ref()?.on(&ask.resource);
    let set: Vec<String> = risk.set().map(|signal| format!("`{signal}`")).collect();
    (!set.is_empty()).then(|| format!("Unusual about it: {}; the risk is `{}`.", set.join(", "), risk.level))
}

fn say_tier(resource: &str, tier: &Tier) -> String {
    let plans = if tier.approvals.is_empty() {
        "nobody has to agree".to_owned()
    } else {
        format!("{} has to agree", tier.approvals.iter().map(|p| format!("`{p}`")).collect::<Vec<_>>().join(" and "))
    };
    format!("`{resource}` is in the tier `{}`: at most {}, {plans}, recorded: {}.", tier.name, tier.max, tier.record)
}

fn say_observed(tier: &Tier, observe: &Observe, now: jiff::Timestamp) -> String {
    let (name, from, until) = (&tier.name, observe.from, observe.until);
    if observe.is_on(now) {
        format!(
            "`{name}` is only observed until {until}: what no path allows is let through, recorded, and counted as standing; what a policy forbids is not."
        )
    } else if now < observe.from {
        format!("`{name}` will be only observed from {from} to {until}.")
    } else {
        format!("`{name}` was only observed until {until}, and blocks since.")
    }
}

fn say_answer(answer: &Answer) -> String {
    match answer {
        Answer::Permit { terms } => format!("Permitted at once: {}.", say_terms(terms)),
        Answer::NeedsApproval { terms } => format!("Needs approval: {}.", say_terms(terms)),
        Answer::StepUp { needs, terms } => format!("Needs {} first, then: {}.", say_needs(needs), say_terms(terms)),
        Answer::Deny { reason, detail } => format!("Denied ({reason}): {} ({detail}) {}", reason.sentence(), reason.hint()),
    }
}

/// What is still to be supplied, in words.
pub(crate) fn say_needs(needs: &StepUp) -> String {
    let mut out = Vec::new();
    if let Some(mfa) = needs.mfa {
        out.push(format!("a fresh second factor (`{mfa}`)"));
    }
    if needs.ticket {
        out.push("a ticket".to_owned());
    }
    out.join(" and ")
}

/// What a path costs, in words.
pub(crate) fn say_terms(terms: &Terms) -> String {
    let mut out = vec![format!("at most {} ({} if none is asked)", terms.max, terms.default)];
    match terms.approvals.as_slice() {
        [] => {}
        plans => {
            let names = plans.iter().map(|p| format!("`{}`", p.name)).collect::<Vec<_>>().join(" and ");
            let signed = if plans.iter().flat_map(|p| &p.stages).any(|s| s.signed) { ", signed with a passkey" } else { "" };
            out.push(format!("{} ({names}{signed})", people(terms.people())));
        }
    }
    if terms.mfa != access::identity::Mfa::None {
        out.push(format!("a second factor (`{}`) at most {} old", terms.mfa, terms.mfa_within));
    }
    match (terms.ticket, terms.ticket_states.as_slice()) {
        (TicketRule::None, _) => {}
        (TicketRule::Named, _) => out.push("a ticket".to_owned()),
        (TicketRule::Open, []) => out.push("a ticket that its tracker says is open".to_owned()),
        (TicketRule::Open, states) => {
            let states = states.iter().map(|state| format!("`{state}`")).collect::<Vec<_>>().join(" or ");
            out.push(format!("a ticket that its tracker says is {states}"));
        }
    }
    if terms.reason {
        out.push("a reason".to_owned());
    }
    if let Some(until) = terms.observed_until {
        out.push(format!("let through by a tier that is only observed, until {until}"));
    }
    out.push(format!("recorded: {}", terms.record));
    if !terms.watch.is_empty() {
        out.push(format!("watched: {}", terms.watch.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")));
    }
    if terms.standing {
        out.push("may be held without an end".to_owned());
    }
    if let Some(owed) = &terms.break_glass {
        let whom = if owed.blocks_team { " (an overdue review blocks the whole team)" } else { "" };
        out.push(format!("reviewed by `{}` within {}{whom}", owed.reviewers, owed.review_within));
    }
    out.join(", ")
}
