//! A tier that is only observed: for a fixed time what no path allows, or people would have to agree to, is let through, recorded, and counted
//! as standing access.
//!
//! It lets through nobody who is not who they say, no emergency, nothing that a policy forbids, and nothing where a policy cannot be evaluated.

use access::reason::Reason;
use access::verdict::{Answer, PathReport, Terms};
use cedar_policy::Effect;
use jiff::Timestamp;

use crate::bundle::{Bundle, Suppose};
use crate::cost::PathCost;
use crate::engine::Said;
use crate::facts::resources::Resource;
use crate::facts::tiers::Tier;
use crate::situation::{Ask, Situation};

impl Bundle {
    /// What becomes of an answer where the tier is only observed, and what stands in the place of a policy; `None`: nothing else.
    pub(crate) fn let_through(
        &self,
        who: &Situation,
        ask: &Ask,
        resource: &Resource,
        tier: &Tier,
        answer: &Answer,
    ) -> Option<(Answer, PathReport)> {
        let blocks = match answer {
            Answer::NeedsApproval { .. } => true,
            Answer::Deny { reason, .. } => *reason == Reason::NoPath,
            Answer::Permit { .. } | Answer::StepUp { .. } => false,
        };
        let until = self.is_let_through(who, ask, resource, tier).filter(|_| blocks)?;
        let through = match answer {
            Answer::NeedsApproval { terms } => Answer::Permit { terms: observed(terms.clone(), until) },
            // The floor of the tier holds, but for the people who would have to agree.
            _ => match self.price(who, ask, tier, &PathCost::default(), Suppose::default()) {
                Err((_, _)) => return None,
                Ok((terms, Some(needs))) => Answer::StepUp { needs, terms: observed(terms, until) },
                Ok((terms, None)) if terms.reason && !ask.reason_given => {
                    let detail = format!("`{}` is in the tier `{}`, which asks for one", ask.resource, terms.tier);
                    Answer::Deny { reason: Reason::ReasonRequired, detail }
                }
                Ok((terms, None)) => Answer::Permit { terms: observed(terms, until) },
            },
        };
        let outcome = format!("let through: the tier is only observed until {until}");
        Some((through, PathReport { policy: format!("tier:{}", tier.name), outcome, chosen: true }))
    }

    /// Until when the tier lets somebody through to ask for something, whatever no path allows.
    pub(crate) fn is_let_through(&self, who: &Situation, ask: &Ask, resource: &Resource, tier: &Tier) -> Option<Timestamp> {
        let until = tier.observed_until(who.now).filter(|_| !ask.break_glass)?;
        (!self.is_forbidden(who, ask, resource, tier)).then_some(until)
    }

    /// Whether a policy forbids it just as it is asked, or one that might could not be evaluated.
    pub(crate) fn is_forbidden(&self, who: &Situation, ask: &Ask, resource: &Resource, tier: &Tier) -> bool {
        let judged = || -> Result<bool, String> {
            let subject = self.subject(who)?;
            let target = self.engine.words.access(resource, &ask.role)?;
            let scene = self.engine.scene(&subject, &target)?;
            let question = self.engine.question(&scene, "request", self.asked_context(who, ask, tier, Suppose::default())?)?;
            let mut mine = self.engine.about("request", &target).into_iter().filter(|rule| rule.is_for(&subject));
            Ok(mine.any(|rule| match self.engine.ask(rule, &question) {
                Said::Applies => rule.effect == Effect::Forbid,
                Said::Failed(_) => true,
                Said::Silent => false,
            }))
        };
        judged().unwrap_or(true)
    }
}

/// The same terms, without the people, until the tier blocks again.
fn observed(terms: Terms, until: Timestamp) -> Terms {
    Terms { approvals: Vec::new(), observed_until: Some(until), ..terms }
}
