//! Asks policy, and makes of its answer what the asker is told.
//!
//! *Takes* an `IdentifiedRequest`. *Proves* with a `Verdict` what policy says about it. *Hands to* `submit` and `extend`.

use access::event::Event;
use access::grant::{GrantRow, GrantState};
use access::ids::RequestId;
use access::names::{ResourceName, RoleName, Selector};
use access::reason::{Reason, Refusal};
use access::request::{AccessRequest, IdentifiedRequest, RequestState};
use access::verdict::{Answer, Terms, Verdict};
use policy::{Act, Ask, Bundle, Noun, Object, Situation};
use store::{Page, RequestFilter};

use crate::Caller;
use crate::activate::is_for;
use crate::gate::{Gate, unavailable};

impl Gate {
    /// What policy says to a request as it stands now.
    pub(crate) fn judge_request(&self, situation: &Situation, request: &AccessRequest) -> Verdict {
        let asked = tokio::time::Instant::now();
        let verdict = self.bundle.load().decide(situation, &Ask::from(request));
        self.timings.decision.took(asked.elapsed());
        verdict
    }

    /// What would happen if somebody asked, as they may know it; nothing is kept of the question.
    ///
    /// # Errors
    /// If the caller is disabled or the store can't be reached.
    pub async fn preview(&self, request: &IdentifiedRequest) -> Result<Verdict, Refusal> {
        let situation = self.situation_asking(request.who(), &crate::step_up::asking(request.ask())).await?;
        let (bundle, ask) = (self.bundle(), Ask::from(request.ask()));
        Ok(if sees(&bundle, &situation, &ask.resource) { bundle.decide(&situation, &ask) } else { bundle.decide_unseen(&situation, &ask) })
    }

    /// Why policy says to the caller what it says, step by step, as they may know it.
    ///
    /// # Errors
    /// If the caller is disabled or the store can't be reached.
    pub async fn explain(&self, caller: &Caller, request: &AccessRequest) -> Result<policy::explain::Explanation, Refusal> {
        let mut situation = self.situation(&caller.who).await?;
        self.look_for_risk(&mut situation).await?;
        let (bundle, ask) = (self.bundle(), Ask::from(request));
        Ok(if sees(&bundle, &situation, &ask.resource) {
            bundle.explain(&situation, &ask)
        } else {
            bundle.explain_unseen(&situation, &ask)
        })
    }

    /// The roles that the caller holds on a resource by grants that stand, whether or not they could ask for them now.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn roles_held(&self, caller: &Caller, resource: &ResourceName) -> Result<Vec<RoleName>, Refusal> {
        Ok(self.held(caller, resource).await?.into_iter().map(|grant| grant.role).collect())
    }

    async fn held(&self, caller: &Caller, resource: &ResourceName) -> Result<Vec<GrantRow>, Refusal> {
        let now = self.now();
        let held = self.store.open_grants_of(caller.who.id()).await.map_err(unavailable)?;
        let stands =
            |grant: &GrantRow| grant.ends_at.is_none_or(|end| end > now) && (grant.state != GrantState::Ready || grant.activate_by > now);
        Ok(held.into_iter().filter(|grant| grant.resource == *resource && is_for(grant, caller) && stands(grant)).collect())
    }

    /// The resource and role that `resource[+role]` means for this caller.
    ///
    /// # Errors
    /// If there is no such resource for them, or several roles are open and none was named.
    pub async fn resolve(&self, caller: &Caller, to: &Selector) -> Result<(ResourceName, RoleName), Refusal> {
        let bundle = self.bundle();
        let situation = self.situation(&caller.who).await?;
        if let Some(role) = &to.role {
            // Whether there is such a role, and for them, is for `submit` and `open` to say.
            return Ok((to.resource.clone(), role.clone()));
        }
        let unknown = || bundle.unseen(&situation, &to.resource);
        let resource = bundle.resource(&to.resource).ok_or_else(unknown)?;
        let held = self.held(caller, &to.resource).await?;
        let of = |grants: &mut dyn Iterator<Item = &GrantRow>| {
            let mut roles: Vec<RoleName> = grants.map(|g| g.role.clone()).collect();
            roles.sort();
            roles.dedup();
            roles
        };
        // What is in use before what is only granted, that before what was asked for, and that before what one might ask for.
        let running = of(&mut held.iter().filter(|g| g.state == GrantState::Active));
        let mut roles = if running.len() == 1 { running } else { of(&mut held.iter()) };
        if roles.is_empty() {
            let filter =
                RequestFilter { person: Some(caller.who.id()), state: Some(RequestState::Pending), resource: Some(to.resource.clone()) };
            let pending = self.store.requests(&filter, &Page::first(100)).await.map_err(unavailable)?;
            let pending = pending.into_iter().filter(|r| r.extends.is_none() && r.claims.as_ref() == caller.who.claims());
            roles = pending.map(|r| r.role).collect();
            roles.sort();
        }
        if roles.len() != 1 {
            let open = bundle.open_roles(&situation, &to.resource);
            let default =
                resource.default_role.as_ref().filter(|role| if roles.is_empty() { open.contains(role) } else { roles.contains(role) });
            if let Some(default) = default {
                return Ok((to.resource.clone(), default.clone()));
            }
            if roles.is_empty() {
                roles = open;
            }
        }
        match roles.as_slice() {
            [one] => Ok((to.resource.clone(), one.clone())),
            // Who has no path to a resource is told the same as if it didn't exist.
            [] => Err(unknown()),
            several => {
                let list: Vec<String> = several.iter().map(|role| format!("`{}+{role}`", to.resource)).collect();
                Err(Refusal::because(Reason::RoleRequired, list.join(", ")))
            }
        }
    }
}

/// The terms of an answer that lets a request go on, or the refusal that doesn't, with the policies that made it.
pub(crate) fn terms_of(verdict: &Verdict) -> Result<Terms, Refusal> {
    let refusal = match verdict.answer() {
        Answer::Permit { terms } | Answer::NeedsApproval { terms } => return Ok(terms.clone()),
        Answer::StepUp { needs, .. } => match needs.mfa {
            Some(kind) => Refusal::because(Reason::MfaRequired, format!("`{kind}` is needed")),
            None => Refusal::of(Reason::TicketRequired),
        },
        Answer::Deny { reason, detail } => Refusal::because(*reason, detail.clone()),
    };
    Err(refusal.ruled_by(verdict.bundle(), verdict.policies()))
}

/// A request that waited is over, and why.
pub(crate) fn denied(request: RequestId, why: &Refusal) -> Event {
    Event::RequestDenied { request, reason: why.reason, bundle: why.bundle(), policies: why.policies() }
}

/// Whether somebody may know that there is a resource, if there is: a path leads them to it, or they see all.
fn sees(bundle: &Bundle, situation: &Situation, resource: &ResourceName) -> bool {
    sees_all_resources(bundle, situation) || bundle.leads_to(situation, resource)
}

/// Whether somebody sees resources that no path leads them to: they keep the policy, the secrets, the keys, or read the log.
#[must_use]
pub fn sees_all_resources(bundle: &Bundle, situation: &Situation) -> bool {
    let administers = |noun| bundle.may(situation, Act::Administer(noun), &Object::Nothing).allowed;
    [Noun::Bundle, Noun::Secret, Noun::Keys, Noun::Audit].into_iter().any(administers)
}
