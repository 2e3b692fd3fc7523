//! May they, and at what cost: weighs every path in, and gives the verdict.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use access::approval::filled;
use access::grant::{Frozen, GrantRow};
use access::identity::Mfa;
use access::ids::PrincipalId;
use access::names::{ResourceName, RoleName};
use access::reason::{Reason, Refusal};
use access::request::Asked;
use access::risk::Known;
use access::time::Span;
use access::verdict::{Answer, PathReport, StepUp, Terms, TicketRule, Verdict};

use crate::asker::PathsTo;
use crate::bundle::{Bundle, Suppose};
use crate::cost::PathCost;
use crate::engine::{Rule, Said};
use crate::facts::people::Contractor;
use crate::facts::resources::Resource;
use crate::facts::tiers::Tier;
use crate::situation::{Ask, Situation};

/// So many names like an unknown one are looked at.
const NEAR: usize = 8;

/// A path that is open, maybe after the asker supplies something.
pub(crate) struct OpenPath<'b> {
    pub(crate) rule: &'b Rule,
    pub(crate) terms: Terms,
    pub(crate) needs: Option<StepUp>,
}

/// Why a path is not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    NotYours,
    Conditions,
    Ordinary,
    Emergency,
    Window,
    TooLong(Span),
    NotStanding,
    NoPersonHere,
    /// Open, were it not for the policies in [`Weighed::forbidden`].
    Shut,
}

/// A path that is not open.
pub(crate) struct LostPath<'b> {
    pub(crate) rule: &'b Rule,
    pub(crate) lost: Lost,
    pub(crate) says: String,
}

/// Every path to one access, and what closes them.
#[derive(Default)]
pub(crate) struct Weighed<'b> {
    /// The best first.
    pub(crate) open: Vec<OpenPath<'b>>,
    pub(crate) lost: Vec<LostPath<'b>>,
    /// The policies that forbid it, as asked or after what the asker could supply.
    pub(crate) forbidden: Vec<&'b Rule>,
    /// The policies that could not be evaluated, and why.
    pub(crate) failed: Vec<(&'b Rule, String)>,
    /// Cedar did not take the question at all.
    pub(crate) fault: Option<String>,
    /// Whether a path was open before what could not be evaluated shut them all.
    pub(crate) leads: bool,
}

/// What stands in the way before any policy is asked, or the facts that policies are asked about.
pub(crate) enum Door<'b> {
    Shut(Reason, String),
    Facts { resource: &'b Resource, tier: &'b Tier },
}

impl Bundle {
    /// Whether somebody may have what they ask for, at what cost, and by which path.
    pub fn decide(&self, who: &Situation, ask: &Ask) -> Verdict {
        self.asker(who).decide(ask)
    }

    /// The same, where the policies about it are known.
    pub(crate) fn decide_on(
        &self,
        who: &Situation,
        ask: &Ask,
        resource: &Resource,
        tier: &Tier,
        paths: &Result<PathsTo<'_>, String>,
    ) -> Verdict {
        let weighed = self.weigh_on(who, ask, tier, paths);
        let (answer, policies) = answer(&weighed, who, ask);
        match self.let_through(who, ask, resource, tier, &answer) {
            Some((through, policy)) => self.verdict(through, vec![policy.policy.clone()], beside(report(&weighed), policy)),
            None => self.verdict(answer, policies, report(&weighed)),
        }
    }

    /// The one place where policy speaks.
    #[expect(clippy::disallowed_methods, reason = "this is where policy speaks")]
    pub(crate) fn verdict(&self, answer: Answer, policies: Vec<String>, paths: Vec<PathReport>) -> Verdict {
        access::mint::verdict(answer, self.digest().to_owned(), policies, paths)
    }

    /// The same where an observed tier lets nothing through: what paths give, and people.
    pub fn decide_by_paths(&self, who: &Situation, ask: &Ask) -> Verdict {
        let (answer, policies, paths) = match self.door(who, ask) {
            Door::Shut(reason, detail) => (Answer::Deny { reason, detail }, Vec::new(), Vec::new()),
            Door::Facts { resource, tier } => {
                let weighed = self.weigh(who, ask, resource, tier);
                let (answer, policies) = answer(&weighed, who, ask);
                (answer, policies, report(&weighed))
            }
        };
        self.verdict(answer, policies, paths)
    }

    /// What is said of a resource that does not exist, and to somebody who may not know of it of one that does.
    #[must_use]
    pub fn unseen(&self, who: &Situation, resource: &ResourceName) -> Refusal {
        match self.contract_ended(who) {
            Some(contract) => Refusal::because(Reason::Forbidden, over(contract)),
            None => Refusal::because(Reason::UnknownResource, self.unknown(who, resource)),
        }
    }

    /// The answer to a question about such a resource.
    pub fn decide_unseen(&self, who: &Situation, ask: &Ask) -> Verdict {
        let Refusal { reason, detail, .. } = self.unseen(who, &ask.resource);
        let answer = Answer::Deny { reason, detail: detail.unwrap_or_default() };
        self.verdict(answer, Vec::new(), Vec::new())
    }

    /// The roles on a resource that an ordinary request of somebody would not be denied, by name.
    #[must_use]
    pub fn open_roles(&self, who: &Situation, resource: &ResourceName) -> Vec<RoleName> {
        let asker = self.asker(who);
        let open = |role: &RoleName| {
            let verdict = asker.decide(&Ask::plain(resource.clone(), role.clone()));
            !matches!(verdict.answer(), Answer::Deny { .. })
        };
        self.roles_for(resource).into_iter().map(|r| r.name.clone()).filter(open).collect()
    }

    /// What is true of somebody at the time of asking and is kept with their grant.
    #[must_use]
    pub fn freeze(&self, who: &Situation, ask: &Ask) -> Frozen {
        Frozen {
            mfa: who.mfa,
            mfa_at: who.mfa_at,
            ticket: ask.ticket.clone(),
            on_call: self.on_call_of(who),
            network: who.network,
            claims: who.claims.clone(),
            risk: who.risk.as_ref().map(|known| known.on(&ask.resource)),
            asked_at: who.now,
        }
    }

    /// Whether a grant still stands on a path whose cost has been paid.
    ///
    /// Groups, contracts, resources, tiers and policies count as they are now; second factor, ticket, on-call duty and the time of
    /// asking (hours, windows) as they were frozen. So do the network and what is unusual, unless `who` is somewhere now and was looked
    /// at: who connects is judged by the address they connect from and by what is unusual then. A path is paid for if its plans were agreed to, its
    /// second factor and ticket were there, its time is long enough and nothing more has to be recorded. A shorter idle
    /// time is no reason to take a grant away; a reason counts as given if the grant's terms asked for one.
    ///
    /// # Errors
    /// Says why no paid path is left.
    pub fn redecide(&self, who: &Situation, grant: &GrantRow) -> Result<(), Refusal> {
        let gone = |detail: String, policies: Vec<String>| {
            Refusal::because(Reason::GrantWithdrawn, detail).about(grant.request).ruled_by(self.digest(), policies)
        };
        // What was added to it counts: it is as long as it still lasts, if that is longer than it was meant to be.
        let lasts = |length: Span| grant.ends_at.map_or(length, |end| length.max(Span::between(who.now, end)));
        let ask = Ask {
            resource: grant.resource.clone(),
            role: grant.role.clone(),
            asked: grant.length.map_or(Asked::Standing, |length| Asked::For(lasts(length))),
            reason_given: true,
            ticket: grant.frozen.ticket.clone(),
            break_glass: grant.break_glass,
            limits: grant.limits.clone(),
        };
        // Contracts end by today's clock; the rest is judged as of when it was asked.
        let (resource, tier) = match self.door(who, &ask) {
            Door::Shut(_, detail) => return Err(gone(detail, Vec::new())),
            Door::Facts { resource, tier } => (resource, tier),
        };
        // INVARIANT: a grant that a job was given lasts no longer than its pipeline is trusted.
        if let Some(claims) = &grant.frozen.claims {
            self.workloads().trust(&who.username, claims).map_err(|why| gone(why, Vec::new()))?;
        }
        let then = Situation {
            claims: grant.frozen.claims.clone(),
            mfa: grant.frozen.mfa,
            mfa_at: grant.frozen.mfa_at,
            network: who.network.or(grant.frozen.network),
            risk: who.risk.clone().or_else(|| grant.frozen.risk.clone().map(Known::Then)),
            now: grant.frozen.asked_at,
            on_call: Some(grant.frozen.on_call.clone()),
            ..who.clone()
        };
        // INVARIANT: what was given because a tier was only observed stands as long as it is, and no longer.
        if grant.terms.observed_until.is_some_and(|until| who.now < until)
            && tier.observed_until(who.now).is_some()
            // Another tier lets through on terms of its own, and one that records more closely by now has to be asked again.
            && grant.terms.tier == tier.name
            && grant.terms.record >= tier.record
            && grant.terms.durability >= tier.durability
            && !self.is_forbidden(&then, &ask, resource, tier)
        {
            return Ok(());
        }
        let weighed = self.weigh(&then, &ask, resource, tier);
        let mut unpaid = Vec::new();
        for path in &weighed.open {
            match owed(path, grant) {
                None => return Ok(()),
                Some(debt) => unpaid.push(format!("`{}` {debt}", path.rule.id)),
            }
        }
        if !unpaid.is_empty() {
            return Err(gone(unpaid.join(", "), weighed.open.iter().map(|path| path.rule.id.clone()).collect()));
        }
        match answer(&weighed, &then, &ask) {
            // What cannot be evaluated is told as that, as in every other answer.
            (Answer::Deny { reason: reason @ Reason::PolicyError, detail }, policies) => Err(Refusal { reason, ..gone(detail, policies) }),
            (Answer::Deny { detail, .. }, policies) => Err(gone(detail, policies)),
            (_, policies) => Err(gone("no path that was paid for is left".to_owned(), policies)),
        }
    }

    /// What stands before all policies: unknown names, a contract's bounds, a missing tier.
    pub(crate) fn door(&self, who: &Situation, ask: &Ask) -> Door<'_> {
        if let Some(contract) = self.contract_ended(who) {
            return Door::Shut(Reason::Forbidden, over(contract));
        }
        let contract = self.contract(who);
        let visible = |name: &ResourceName| contract.is_none_or(|c| c.resources.contains(name));
        let Some(resource) = self.resource(&ask.resource).filter(|r| visible(&r.name)) else {
            return Door::Shut(Reason::UnknownResource, self.unknown(who, &ask.resource));
        };
        let takes = |role: &RoleName| contract.is_none_or(|c| c.roles.is_empty() || c.roles.contains(role));
        if self.role(&ask.role).is_none_or(|r| !r.applies_to(resource) || !takes(&r.name)) {
            let roles: Vec<String> =
                self.roles_for(&resource.name).into_iter().filter(|r| takes(&r.name)).map(|r| format!("`{}`", r.name)).collect();
            let list = if roles.is_empty() { "it has none".to_owned() } else { format!("it has {}", roles.join(", ")) };
            return Door::Shut(Reason::UnknownRole, format!("`{}` on `{}`; {list}", ask.role, resource.name));
        }
        let Some(tier) = resource.tier.as_ref().and_then(|t| self.tier(t)) else {
            return Door::Shut(Reason::NoTier, format!("`{}` has none", resource.name));
        };
        if ask.asked == Asked::For(Span::default()) {
            return Door::Shut(Reason::Invalid, "a time of 0s was asked for; ask for at least `1s`, or leave it out".to_owned());
        }
        Door::Facts { resource, tier }
    }

    /// A name that leads nowhere, and one like it that a path leads to.
    fn unknown(&self, who: &Situation, name: &ResourceName) -> String {
        let contract = self.contract(who);
        let mut names: BTreeSet<&str> =
            self.resources.keys().filter(|n| contract.is_none_or(|c| c.resources.contains(*n))).map(ResourceName::as_str).collect();
        names.remove(name.as_str());
        // INVARIANT: nobody is pointed to what they may not know of.
        for _ in 0..NEAR {
            let Some(near) = crate::problem::nearest(name.as_str(), names.iter().copied()) else { break };
            match self.resources.keys().find(|found| found.as_str() == near) {
                Some(found) if self.leads_to(who, found) => return format!("`{name}`; did you mean `{near}`?"),
                _ => names.remove(near),
            };
        }
        format!("`{name}`")
    }

    /// Asks every policy about one access: as asked, then with a fresh second factor, then also with a ticket.
    fn weigh<'b>(&'b self, who: &'b Situation, ask: &Ask, resource: &Resource, tier: &'b Tier) -> Weighed<'b> {
        self.weigh_on(who, ask, tier, &self.asker(who).paths_to(resource, &ask.role))
    }

    /// The same, where the policies about it are known.
    pub(crate) fn weigh_on<'b>(&'b self, who: &Situation, ask: &Ask, tier: &'b Tier, paths: &Result<PathsTo<'b>, String>) -> Weighed<'b> {
        let mut out = Weighed::default();
        let weighed = paths.as_ref().map_err(Clone::clone).and_then(|paths| self.weigh_into(&mut out, who, ask, tier, paths));
        if let Err(error) = weighed {
            out.fault = Some(error);
        }
        out.leads = !out.open.is_empty();
        if out.fault.is_some() || !out.failed.is_empty() {
            out.open.clear();
        }
        out.open.sort_by(|a, b| order(a).cmp(&order(b)));
        out
    }

    fn weigh_into<'b>(
        &'b self,
        out: &mut Weighed<'b>,
        who: &Situation,
        ask: &Ask,
        tier: &'b Tier,
        paths: &PathsTo<'b>,
    ) -> Result<(), String> {
        for rule in &paths.others {
            out.lost.push(LostPath { rule, lost: Lost::NotYours, says: format!("not open: it is for {}", rule.audience()) });
        }
        let Some(scene) = &paths.scene else { return Ok(()) };
        // A machine has no second factor to offer.
        let human = matches!(who.id, PrincipalId::User(_));
        let wants_mfa = human && !(who.mfa == Mfa::Verified && who.mfa_age() == 0);
        let wants_ticket = ask.ticket.is_none();
        let mut waiting = paths.permits.clone();
        let mut closed: BTreeSet<&str> = BTreeSet::new();
        for (round, suppose) in
            [Suppose::default(), Suppose { mfa: wants_mfa, ticket: false }, Suppose { mfa: wants_mfa, ticket: wants_ticket }]
                .into_iter()
                .enumerate()
        {
            let conditional = waiting.iter().map(|(r, _)| r).chain(&out.forbidden).any(|r| r.circumstantial);
            if round > 0 && (suppose == Suppose::default() || !conditional || waiting.is_empty()) {
                continue;
            }
            let question = self.engine.question(scene, "request", self.asked_context(who, ask, tier, suppose)?)?;
            let mut shut = false;
            for rule in &paths.forbids {
                match self.engine.ask(rule, &question) {
                    Said::Applies => {
                        shut = true;
                        if !out.forbidden.iter().any(|r| r.id == rule.id) {
                            out.forbidden.push(rule);
                        }
                    }
                    Said::Failed(error) => out.failed.push((rule, error)),
                    Said::Silent => {}
                }
            }
            let mut left = Vec::new();
            for (rule, cost) in waiting {
                match self.engine.ask(rule, &question) {
                    Said::Applies => match self.price(who, ask, tier, cost, suppose) {
                        Ok(_) if shut => {
                            closed.insert(rule.id.as_str());
                            left.push((rule, cost));
                        }
                        Ok((terms, needs)) => out.open.push(OpenPath { rule, terms, needs }),
                        Err((lost, says)) => out.lost.push(LostPath { rule, lost, says }),
                    },
                    Said::Failed(error) => out.failed.push((rule, error)),
                    Said::Silent => left.push((rule, cost)),
                }
            }
            waiting = left;
        }
        out.failed.dedup_by(|a, b| a.0.id == b.0.id);
        for (rule, _) in waiting {
            let (lost, says) = if closed.contains(rule.id.as_str()) {
                (Lost::Shut, "closed by a policy that forbids")
            } else {
                (Lost::Conditions, "not open: its conditions are not met")
            };
            out.lost.push(LostPath { rule, lost, says: says.to_owned() });
        }
        Ok(())
    }

    /// What a path costs this asker, and what they would still have to supply; or why it is none for this question.
    pub(crate) fn price(
        &self,
        who: &Situation,
        ask: &Ask,
        tier: &Tier,
        cost: &PathCost,
        suppose: Suppose,
    ) -> Result<(Terms, Option<StepUp>), (Lost, String)> {
        match (&cost.break_glass, ask.break_glass) {
            (Some(_), false) => return Err((Lost::Emergency, "only for emergencies".to_owned())),
            (None, true) => return Err((Lost::Ordinary, "not for emergencies".to_owned())),
            (Some(_), true) if !tier.break_glass => {
                return Err((Lost::Ordinary, format!("the tier `{}` has no emergencies", tier.name)));
            }
            _ => {}
        }
        if let Some(name) = &cost.window
            && let Some(window) = self.windows.get(name)
            && !window.is_open(who.now, &self.zone)
        {
            let opens = match window.opens_next(who.now, &self.zone) {
                Some(at) => format!("opens at {}", self.zone.to_datetime(at).strftime("%Y-%m-%d %H:%M")),
                None => "does not open again".to_owned(),
            };
            return Err((Lost::Window, format!("open only in the window `{name}`, which {opens}")));
        }
        let terms = cost.join(tier, ask.break_glass, |plan| self.plans.get(plan));
        match ask.asked {
            Asked::For(span) if span > terms.max => {
                return Err((Lost::TooLong(terms.max), format!("it lasts at most {}", terms.max)));
            }
            Asked::Standing if !terms.standing => {
                return Err((Lost::NotStanding, "it cannot be held without an end".to_owned()));
            }
            _ => {}
        }
        let age = Span::seconds(u64::try_from(who.mfa_age()).unwrap_or(0));
        let mfa_there = terms.mfa == Mfa::None || (who.mfa >= terms.mfa && age <= terms.mfa_within);
        let mfa = if !mfa_there {
            Some(terms.mfa)
        } else if suppose.mfa {
            Some(Mfa::Verified)
        } else {
            None
        };
        if mfa.is_some() && !matches!(who.id, PrincipalId::User(_)) {
            return Err((Lost::NoPersonHere, "it needs a second factor, and a machine has none".to_owned()));
        }
        let ticket = ask.ticket.is_none() && (suppose.ticket || terms.ticket != TicketRule::None);
        let needs = (mfa.is_some() || ticket).then_some(StepUp { mfa: mfa.map(|m| if suppose.mfa { Mfa::Verified } else { m }), ticket });
        Ok((terms, needs))
    }
}

/// Fewest people, no step-up, longest time, policy id.
fn order<'p>(path: &'p OpenPath<'_>) -> (u32, bool, Reverse<Span>, &'p str) {
    (path.terms.people(), path.needs.is_some(), Reverse(path.terms.max), path.rule.id.as_str())
}

fn over(contract: &Contractor) -> String {
    format!("the contract of `{}` ended at {}; `people.toml` says so", contract.name, contract.ends_at)
}

/// The answer, and the policies that made it.
pub(crate) fn answer(weighed: &Weighed<'_>, who: &Situation, ask: &Ask) -> (Answer, Vec<String>) {
    let deny = |reason, detail: String| Answer::Deny { reason, detail };
    if let Some(fault) = &weighed.fault {
        return (deny(Reason::PolicyError, format!("the question could not be put: {fault}")), Vec::new());
    }
    if !weighed.failed.is_empty() {
        let says = weighed.failed.iter().map(|(rule, error)| format!("`{}` ({}): {error}", rule.id, rule.place)).collect::<Vec<_>>();
        return (deny(Reason::PolicyError, says.join("; ")), weighed.failed.iter().map(|(r, _)| r.id.clone()).collect());
    }
    if let Some(best) = weighed.open.first() {
        let policies = vec![best.rule.id.clone()];
        let terms = best.terms.clone();
        if terms.reason && !ask.reason_given {
            return (
                deny(Reason::ReasonRequired, format!("`{}` is in the tier `{}`, which asks for one", ask.resource, terms.tier)),
                policies,
            );
        }
        let answer = match best.needs {
            Some(needs) => Answer::StepUp { needs, terms },
            None if terms.approvals.is_empty() => Answer::Permit { terms },
            None => Answer::NeedsApproval { terms },
        };
        return (answer, policies);
    }
    // What forbids is named only where it is all that stands in the way.
    if weighed.lost.iter().any(|p| p.lost == Lost::Shut) {
        let says = weighed.forbidden.iter().map(|r| match &r.reason {
            Some(reason) => format!("`{}`: {}", r.id, reason.trim_end_matches('.')),
            None => format!("`{}`", r.id),
        });
        return (deny(Reason::Forbidden, says.collect::<Vec<_>>().join("; ")), weighed.forbidden.iter().map(|r| r.id.clone()).collect());
    }
    refuse(weighed, who, ask)
}

/// No path is open and none was forbidden: the reason of the path that came nearest.
fn refuse(weighed: &Weighed<'_>, who: &Situation, ask: &Ask) -> (Answer, Vec<String>) {
    let found = |wanted: fn(Lost) -> bool| weighed.lost.iter().filter(move |p| wanted(p.lost)).collect::<Vec<_>>();
    let ids = |paths: &[&LostPath<'_>]| paths.iter().map(|p| p.rule.id.clone()).collect::<Vec<_>>();
    let says = |paths: &[&LostPath<'_>]| paths.iter().map(|p| format!("`{}`: {}", p.rule.id, p.says)).collect::<Vec<_>>().join("; ");
    let deny = |reason, detail: String, paths: &[&LostPath<'_>]| (Answer::Deny { reason, detail }, ids(paths));

    let too_long = found(|l| matches!(l, Lost::TooLong(_)));
    let longest = too_long.iter().filter_map(|p| if let Lost::TooLong(max) = p.lost { Some(max) } else { None }).max();
    if let Some(max) = longest {
        return deny(Reason::TooLong, format!("at most {max}, and {} was asked for", ask.asked), &too_long);
    }
    let standing = found(|l| l == Lost::NotStanding);
    if !standing.is_empty() {
        return deny(Reason::NotStanding, says(&standing), &standing);
    }
    let machines = found(|l| l == Lost::NoPersonHere);
    if !machines.is_empty() {
        return deny(Reason::MfaRequired, says(&machines), &machines);
    }
    let closed = found(|l| l == Lost::Window);
    if !closed.is_empty() {
        return deny(Reason::NoPath, says(&closed), &closed);
    }
    let role = format!("`{}` on `{}`", ask.role, ask.resource);
    if ask.break_glass {
        return deny(Reason::NotBreakGlass, format!("none leads `{}` to {role}", who.username), &[]);
    }
    let near = found(|l| l == Lost::Conditions);
    let detail = match near.as_slice() {
        [] => format!("no path leads `{}` to {role}", who.username),
        near => format!("no path leads `{}` to {role}: the conditions of {} are not met", who.username, list(near)),
    };
    deny(Reason::NoPath, detail, &near)
}

fn list(paths: &[&LostPath<'_>]) -> String {
    paths.iter().map(|p| format!("`{}`", p.rule.id)).collect::<Vec<_>>().join(", ")
}

/// The same, where none of them was chosen.
fn beside(mut paths: Vec<PathReport>, chosen: PathReport) -> Vec<PathReport> {
    for path in paths.iter_mut().filter(|path| path.chosen) {
        path.chosen = false;
        path.outcome = "open, but people would have to agree".to_owned();
    }
    paths.insert(0, chosen);
    paths
}

/// Every path and what became of it: the chosen one, those it beat, those that are not open.
fn report(weighed: &Weighed<'_>) -> Vec<PathReport> {
    let mut out = Vec::new();
    if let Some((best, rest)) = weighed.open.split_first() {
        out.push(PathReport { policy: best.rule.id.clone(), outcome: "chosen".to_owned(), chosen: true });
        out.extend(rest.iter().map(|path| PathReport { policy: path.rule.id.clone(), outcome: beaten(best, path), chosen: false }));
    }
    let mut lost: Vec<&LostPath<'_>> = weighed.lost.iter().collect();
    lost.sort_by(|a, b| a.rule.id.cmp(&b.rule.id));
    out.extend(lost.iter().map(|p| PathReport { policy: p.rule.id.clone(), outcome: p.says.clone(), chosen: false }));
    out.extend(weighed.failed.iter().map(|(rule, error)| PathReport {
        policy: rule.id.clone(),
        outcome: format!("could not be evaluated: {error}"),
        chosen: false,
    }));
    out
}

fn beaten(best: &OpenPath<'_>, path: &OpenPath<'_>) -> String {
    let (a, b) = (order(best), order(path));
    if a.0 != b.0 {
        format!("open, but it needs {} where `{}` needs {}", people(b.0), best.rule.id, people(a.0))
    } else if a.1 != b.1 {
        format!("open, but it needs another proof first and `{}` doesn't", best.rule.id)
    } else if a.2 != b.2 {
        format!("open, but it lasts {} where `{}` lasts {}", path.terms.max, best.rule.id, best.terms.max)
    } else {
        format!("open at the same cost; `{}` comes first by name", best.rule.id)
    }
}

pub(crate) fn people(count: u32) -> String {
    match count {
        0 => "nobody".to_owned(),
        1 => "1 person".to_owned(),
        n => format!("{n} people"),
    }
}

/// What a grant still owes on a path; `None` if all is paid.
fn owed(path: &OpenPath<'_>, grant: &GrantRow) -> Option<String> {
    if let Some(needs) = path.needs {
        return Some(match (needs.mfa, needs.ticket) {
            (Some(_), _) => "needs a stronger or fresher second factor".to_owned(),
            _ => "needs a ticket".to_owned(),
        });
    }
    let paid = &grant.terms;
    if path.terms.reason && !paid.reason {
        return Some("needs a reason".to_owned());
    }
    if path.terms.record > paid.record || path.terms.durability > paid.durability {
        return Some("has to be recorded more closely".to_owned());
    }
    // Stages that were filled are taken for stages that they cover, each for one.
    let wanted: Vec<&access::approval::Stage> = path.terms.approvals.iter().flat_map(|p| &p.stages).collect();
    let filled_then: Vec<Vec<usize>> = paid
        .approvals
        .iter()
        .flat_map(|p| &p.stages)
        .map(|had| (0..wanted.len()).filter(|i| wanted.get(*i).is_some_and(|want| covers(had, want))).collect())
        .collect();
    let voters: Vec<&[usize]> = filled_then.iter().map(Vec::as_slice).collect();
    if !filled(&vec![1; wanted.len()], &voters) {
        let plans = path.terms.approvals.iter().map(|p| format!("`{}`", p.name)).collect::<Vec<_>>().join(", ");
        return Some(format!("needs the agreement of {plans}"));
    }
    None
}

/// Whether whoever filled one stage would have filled the other.
fn covers(had: &access::approval::Stage, want: &access::approval::Stage) -> bool {
    let mut seats = had.seats.iter().chain(&had.escalate_to);
    had.count >= want.count && (had.signed || !want.signed) && seats.all(|s| want.seats.contains(s) || want.escalate_to.as_ref() == Some(s))
}
