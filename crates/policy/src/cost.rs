//! What a path costs: the typed annotations of a `permit`, and their join with the tier.

use std::cmp::{max, min};

use access::approval::Plan;
use access::identity::Mfa;
use access::names::{PlanName, WindowName};
use access::time::Span;
use access::verdict::{BreakGlassTerms, RecordLevel, Terms, TicketRule};

use crate::facts::tiers::Tier;
use crate::problem::{nearest, shown};

/// The annotations a path may carry besides `@id`.
pub(crate) const PATH_ANNOTATIONS: &[&str] = &["approval", "max_duration", "mfa", "ticket", "record", "window", "standing", "breakglass"];

/// What stands in a path's annotations. What is missing means the tier's value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PathCost {
    pub(crate) approvals: Vec<PlanName>,
    pub(crate) max: Option<Span>,
    pub(crate) mfa: Option<(Mfa, Option<Span>)>,
    pub(crate) ticket: Option<TicketRule>,
    pub(crate) record: Option<RecordLevel>,
    pub(crate) window: Option<WindowName>,
    pub(crate) standing: bool,
    pub(crate) break_glass: Option<BreakGlassTerms>,
}

impl PathCost {
    /// Reads one annotation.
    ///
    /// # Errors
    /// What is wrong with it, and a hint.
    pub(crate) fn read(&mut self, name: &str, value: &str) -> Result<(), (String, Option<String>)> {
        let wrong = |error: &dyn std::fmt::Display| (format!("`@{name}(\"{}\")`: {error}", shown(value)), None);
        let mut parts = value.split(',').map(str::trim);
        match name {
            "approval" => {
                for part in parts {
                    let plan: PlanName = part.parse().map_err(|e| wrong(&e))?;
                    if self.approvals.contains(&plan) {
                        return Err(wrong(&format!("the plan `{plan}` is named twice")));
                    }
                    self.approvals.push(plan);
                }
            }
            "max_duration" => {
                let span: Span = value.parse().map_err(|e| wrong(&e))?;
                if span == Span::default() {
                    return Err(wrong(&"a path of no length leads nowhere"));
                }
                self.max = Some(span);
            }
            "mfa" => {
                let kind = parts.next().unwrap_or_default().parse().map_err(|e| wrong(&e))?;
                let within = parts.next().map(str::parse).transpose().map_err(|e| wrong(&e))?;
                if parts.next().is_some() {
                    return Err(wrong(&"write a kind, and maybe how long ago at most, as in `@mfa(\"verified, 15m\")`"));
                }
                self.mfa = Some((kind, within));
            }
            "ticket" => self.ticket = Some(value.parse().map_err(|e| wrong(&e))?),
            "record" => self.record = Some(value.parse().map_err(|e| wrong(&e))?),
            "window" => self.window = Some(value.parse().map_err(|e| wrong(&e))?),
            "standing" => {
                if !value.is_empty() {
                    return Err(wrong(&"it takes no value; write `@standing`"));
                }
                self.standing = true;
            }
            "breakglass" => {
                let example = "write who reviews it and within which time, as in `@breakglass(\"security, 24h\")`";
                let reviewers = parts.next().unwrap_or_default().parse().map_err(|e| wrong(&format!("{e}; {example}")))?;
                let review_within = parts.next().ok_or_else(|| wrong(&example))?.parse().map_err(|e| wrong(&e))?;
                let blocks_team = match (parts.next(), parts.next()) {
                    (None, _) => false,
                    (Some("team"), None) => true,
                    _ => return Err(wrong(&format!("{example}; a third word `team` lets an overdue review block the whole team"))),
                };
                self.break_glass = Some(BreakGlassTerms { reviewers, review_within, blocks_team });
            }
            other => {
                let known = PATH_ANNOTATIONS.iter().copied().chain(["id"]);
                let hint = match nearest(other, known.clone()) {
                    Some(near) => format!("did you mean `@{near}`?"),
                    None => format!("a path may carry {}", known.map(|k| format!("`@{k}`")).collect::<Vec<_>>().join(", ")),
                };
                return Err((format!("`@{}` is no annotation of a path", shown(other)), Some(hint)));
            }
        }
        Ok(())
    }

    /// The path joined with its tier, field by field, the stricter winning. `plan` finds a plan by name; `emergency` says
    /// whether the tier's own approvals are replaced by the review that the path owes.
    pub(crate) fn join<'p>(&self, tier: &Tier, emergency: bool, plan: impl Fn(&PlanName) -> Option<&'p Plan>) -> Terms {
        let floor: &[PlanName] = if emergency { &[] } else { &tier.approvals };
        let mut names: Vec<&PlanName> = floor.iter().collect();
        for name in &self.approvals {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let longest = self.max.map_or(tier.max, |m| min(m, tier.max));
        let (mfa, within) = match self.mfa {
            Some((kind, within)) => (max(kind, tier.mfa), within.map_or(tier.mfa_within, |w| min(w, tier.mfa_within))),
            None => (tier.mfa, tier.mfa_within),
        };
        // An emergency waits for no tracker, unless its tier says so.
        let tier_ticket =
            if emergency && tier.ticket == TicketRule::Open && !tier.ticket_in_emergencies { TicketRule::None } else { tier.ticket };
        Terms {
            tier: tier.name.clone(),
            production: tier.production,
            max: longest,
            default: min(tier.default, longest),
            approvals: names.into_iter().filter_map(plan).map(|plan| floored(plan, tier.signed)).collect(),
            mfa,
            mfa_within: within,
            ticket: self.ticket.map_or(tier_ticket, |t| max(t, tier_ticket)),
            ticket_states: tier.ticket_states.clone(),
            reason: tier.reason,
            // What nobody agreed to first is recorded as closely as can be.
            record: if emergency { RecordLevel::Results } else { self.record.map_or(tier.record, |r| max(r, tier.record)) },
            durability: tier.durability,
            idle: tier.idle,
            activate_within: tier.activate_within,
            pending_for: tier.pending_for,
            wait_at_connect: tier.wait_at_connect,
            host_keys: tier.host_keys,
            standing: self.standing && tier.standing,
            break_glass: self.break_glass.clone(),
            sample: tier.sample.clone(),
            escalate_to: tier.escalate_to.clone(),
            watch: tier.watch.clone(),
            observed_until: None,
        }
    }
}

/// A plan as a tier wants it: all of it signed, where the tier says so.
fn floored(plan: &Plan, signed: bool) -> Plan {
    let mut plan = plan.clone();
    if signed {
        plan.stages.iter_mut().for_each(|stage| stage.signed = true);
    }
    plan
}
