//! One asks where one connects: what a door answers to somebody who stands before it.
//!
//! *Takes* the proof of who, and `resource[+role]`. *Proves* nothing of its own: it calls `open`, `submit` and policy in turn. *Hands
//! to* the door an open session, a question, a request to wait for, or a refusal.

use std::collections::BTreeSet;
use std::sync::Arc;

use access::approval::Decision;
use access::event::Event;
use access::grant::Grant;
use access::identity::Mfa;
use access::ids::{GrantId, RequestId};
use access::limits::Limits;
use access::names::{ResourceName, RoleName, Selector};
use access::reason::{Reason, Refusal};
use access::request::{AccessRequest, Asked, IdentifiedRequest, RequestRow, RequestState};
use access::session::Protocol;
use access::time::Span;
use access::verdict::{Answer, BreakGlassTerms, Terms, TicketRule};
use tokio::sync::{broadcast, watch};

use crate::Caller;
use crate::approve::all_stages;
use crate::decide::terms_of;
use crate::gate::{Gate, unavailable};
use crate::open::{Opened, TRIES, bound_to};
use crate::risk::sentences;
use crate::step_up::{StepUpWait, asking};

/// How long a no is repeated to who knocks again.
const STANDS: Span = Span::minutes(1);

/// How often whoever waits is shown anew who was asked: time alone brings further groups in.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(10);

/// What the door answers.
#[derive(Debug)]
pub enum Knocked {
    /// Come in.
    Open(Box<Opened>),
    /// There is no grant; one may ask.
    Ask(Box<Question>),
    /// People have been asked.
    Waiting(RequestId),
    /// Nothing is missing but a fresh proof that it is them; with it they knock again.
    Prove {
        /// What they are told who don't wait.
        refusal: Refusal,
        /// Where they give it.
        wait: Box<StepUpWait>,
    },
}

/// What somebody is asked before a request is made for them.
#[derive(Debug, Clone)]
pub struct Question {
    /// Where to.
    pub resource: ResourceName,
    /// As what.
    pub role: RoleName,
    /// What it will cost; for who may come in an emergency only, what that costs.
    pub terms: Terms,
    /// Why it cannot be asked for in the ordinary way; then only an emergency leads in.
    pub refused: Option<Refusal>,
    /// What may be done in an emergency, if anything.
    pub emergency: Option<Emergency>,
    /// What is unusual about it, in sentences: those who decide see it too.
    pub unusual: Vec<String>,
}

/// That somebody may come in without asking anybody, and what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emergency {
    /// Who looks at it afterwards, and within which time.
    pub review: BreakGlassTerms,
    /// How they have to prove first that it is they.
    pub needs: Option<Mfa>,
}

/// What somebody gives with their question.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Why.
    pub reason: Option<String>,
    /// For how long.
    pub asked: Asked,
    /// The ticket it belongs to.
    pub ticket: Option<String>,
    /// What they renounce.
    pub limits: Limits,
    /// Whether it is an emergency.
    pub break_glass: bool,
}

/// How a request goes, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestProgress {
    /// How far it has come.
    pub state: RequestState,
    /// Who has been asked.
    pub asked: Vec<String>,
    /// What was answered, oldest first.
    pub answers: Vec<String>,
    /// What it is limited to.
    pub limits: Limits,
    /// How long a connection waits for it at the door.
    pub wait_at_connect: Span,
}

impl Gate {
    /// Somebody stands at the door of a resource.
    ///
    /// # Errors
    /// Refused; the refusal is in the log.
    pub async fn knock(&self, caller: &Caller, to: &Selector, protocol: Protocol) -> Result<Knocked, Refusal> {
        self.knock_saying(caller, to, Given::default(), protocol).await
    }

    /// The same for who says something beforehand: why, for how long, or what they renounce. An emergency is not declared like this.
    ///
    /// # Errors
    /// As [`Gate::knock`].
    pub async fn knock_saying(&self, caller: &Caller, to: &Selector, given: Given, protocol: Protocol) -> Result<Knocked, Refusal> {
        // Boxed: it passes through every verb there is, and a door waits for it.
        Box::pin(self.answer_knock(caller, to, given, protocol)).await
    }

    async fn answer_knock(&self, caller: &Caller, to: &Selector, given: Given, protocol: Protocol) -> Result<Knocked, Refusal> {
        if let Some(grant) = bound_to(caller) {
            return self.knock_on_grant(caller, to, grant, &given.limits, protocol).await;
        }
        let (resource, role) = self.resolve_at_the_door(caller, to).await?;
        let (to, mut told) = ((&resource, &role), BTreeSet::new());
        if let Some(open) = self.open_if_any(caller, to, &given.limits, protocol, &mut told).await? {
            return Ok(open);
        }
        let pending = self.store.pending_request(caller.who.id(), &resource, &role).await.map_err(unavailable)?;
        if let Some(pending) = pending.filter(|pending| pending.claims.as_ref() == caller.who.claims()) {
            return Ok(Knocked::Waiting(pending.id));
        }
        // What still waited when it was looked at what is open may be open by now.
        if let Some(open) = self.open_if_any(caller, to, &given.limits, protocol, &mut told).await? {
            return Ok(open);
        }
        if let Err(refusal) = self.refuse_if_just_denied(caller, &resource, &role).await {
            self.enter_refused(caller, Some(&resource), Some(&role), &refusal).await;
            return Err(refusal);
        }
        // Without a grant: what would it cost? A path that asks nothing of anybody, or no more than was said, opens at once.
        let given = Given { break_glass: false, ..given };
        let silent = ask(caller, &resource, &role, given.clone());
        let situation = self.situation_asking(&caller.who, &asking(&silent)).await?;
        if let Answer::Permit { .. } = self.judge_request(&situation, &silent).answer() {
            return Box::pin(self.submit_and_open(caller, silent, protocol, &mut told)).await;
        }
        let supposed = || Some("to be given".to_owned());
        let supposed = Given { reason: given.reason.or_else(supposed), ticket: given.ticket.or_else(supposed), ..given };
        let ordinary = self.judge_request(&situation, &ask(caller, &resource, &role, supposed.clone()));
        let urgent = ask(caller, &resource, &role, Given { break_glass: true, ..supposed });
        let emergency = self.judge_request(&self.situation_asking(&caller.who, &asking(&urgent)).await?, &urgent);
        let emergency = emergency_of(emergency.answer());
        let unusual = sentences(&situation, &resource);
        match (ordinary.answer(), emergency) {
            (Answer::Permit { terms } | Answer::NeedsApproval { terms }, emergency) => Ok(Knocked::Ask(Box::new(Question {
                resource,
                role,
                terms: terms.clone(),
                refused: None,
                emergency: emergency.map(|(emergency, _)| emergency),
                unusual,
            }))),
            (Answer::StepUp { .. } | Answer::Deny { .. }, Some((emergency, terms))) if emergency.needs.is_none() => {
                Ok(Knocked::Ask(Box::new(Question {
                    resource,
                    role,
                    terms,
                    refused: terms_of(&ordinary).err(),
                    emergency: Some(emergency),
                    unusual,
                })))
            }
            (Answer::StepUp { .. } | Answer::Deny { .. }, emergency) => {
                let emergency_needs = emergency.as_ref().and_then(|(emergency, _)| emergency.needs);
                let mut refusal = match (self.admit(caller, &situation, &silent).await, terms_of(&ordinary)) {
                    (Err(refusal), _) | (Ok(_), Err(refusal)) => refusal,
                    (Ok(_), Ok(_)) => Refusal::of(Reason::NoPath),
                };
                if let Some(mfa) = emergency.and_then(|(emergency, _)| emergency.needs) {
                    let detail = refusal.detail.map(|detail| format!("{detail}; ")).unwrap_or_default();
                    refusal.detail = Some(format!("{detail}in an emergency `{mfa}` would let you in at once"));
                }
                let needs = emergency_needs;
                match self.offer_step_up(caller, (&silent.resource, &silent.role), ordinary.answer(), needs).await? {
                    Some(wait) => {
                        let detail = refusal.detail.take().map(|detail| format!("{detail}; ")).unwrap_or_default();
                        refusal.detail = Some(format!("{detail}use your passkey at {}, then connect again", wait.link));
                        let refusal = self.refuse_request(caller, &silent, refusal).await;
                        Ok(Knocked::Prove { refusal, wait: Box::new(wait) })
                    }
                    None => Err(self.refuse_request(caller, &silent, refusal).await),
                }
            }
        }
    }

    /// What they named; a name that leads nowhere for them is entered.
    async fn resolve_at_the_door(&self, caller: &Caller, to: &Selector) -> Result<(ResourceName, RoleName), Refusal> {
        let found = self.resolve(caller, to).await;
        if let Err(refusal) = &found {
            self.enter_refused(caller, Some(&to.resource), to.role.as_ref(), refusal).await;
        }
        found
    }

    /// Somebody stands at the door with what opens one grant alone: it opens, or it does not. Nothing is asked, and nobody waits.
    async fn knock_on_grant(
        &self,
        caller: &Caller,
        to: &Selector,
        grant: GrantId,
        limits: &Limits,
        protocol: Protocol,
    ) -> Result<Knocked, Refusal> {
        let row = match self.own_grant(caller, grant).await {
            Ok(row) => row,
            Err(refusal) => {
                self.enter_refused(caller, Some(&to.resource), to.role.as_ref(), &refusal).await;
                return Err(refusal);
            }
        };
        let named = |role: &RoleName| *role == row.role;
        let refusal = if to.resource != row.resource || !to.role.as_ref().is_none_or(named) {
            Refusal::because(Reason::NotAllowed, format!("this connect token opens `{}+{}` and nothing else", row.resource, row.role))
        } else {
            match self.open_within(caller, &row.resource, &row.role, limits, protocol).await {
                Ok(opened) => return Ok(Knocked::Open(Box::new(opened))),
                // Why its grant is not open: `open` knows only that none is.
                Err(refusal) if refusal == Refusal::of(Reason::NoPath) => Grant::open(row.clone(), self.now())
                    .err()
                    .filter(|r| r.reason != Reason::NotActivated)
                    .unwrap_or_else(|| Refusal::because(Reason::GrantExpired, "the grant of this connect token is not open")),
                // Entered already.
                Err(refusal) => return Err(refusal),
            }
        };
        self.enter_refused(caller, Some(&to.resource), to.role.as_ref(), &refusal).await;
        Err(refusal)
    }

    /// Somebody answered the question; who need not wait for anybody comes in.
    ///
    /// # Errors
    /// Refused; the refusal is in the log.
    pub async fn knock_with(&self, caller: &Caller, to: &Selector, given: Given, protocol: Protocol) -> Result<Knocked, Refusal> {
        let (resource, role) = self.resolve_at_the_door(caller, to).await?;
        // Boxed, as a knock is.
        Box::pin(self.submit_and_open(caller, ask(caller, &resource, &role, given), protocol, &mut BTreeSet::new())).await
    }

    /// A session on what is open for them; `None` if nothing is.
    async fn open_if_any(
        &self,
        caller: &Caller,
        to: (&ResourceName, &RoleName),
        limits: &Limits,
        protocol: Protocol,
        told: &mut BTreeSet<GrantId>,
    ) -> Result<Option<Knocked>, Refusal> {
        match self.open_telling_once(caller, to, limits, protocol, told).await {
            Ok(opened) => Ok(Some(Knocked::Open(Box::new(opened)))),
            Err(refusal) if refusal == Refusal::of(Reason::NoPath) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Asks for what is not open, and opens what nobody has to agree to. What is open already needs neither a question nor an emergency,
    /// also if it was agreed to while they answered.
    async fn submit_and_open(
        &self,
        caller: &Caller,
        ask: AccessRequest,
        protocol: Protocol,
        told: &mut BTreeSet<GrantId>,
    ) -> Result<Knocked, Refusal> {
        let to = (&ask.resource, &ask.role);
        for _ in 0..TRIES {
            // Known before it is looked at what is open, so that nothing falls between.
            let known = self.store.open_grants_for(caller.who.id(), to.0, to.1).await.map_err(unavailable)?;
            if let Some(open) = self.open_if_any(caller, to, &ask.limits, protocol, told).await? {
                return Ok(open);
            }
            let known: Vec<GrantId> = known.iter().map(|grant| grant.id).collect();
            let Some(submitted) = Box::pin(self.submit_beside(caller, &ask, Some(&known))).await? else { continue };
            if submitted.grant.is_none() {
                return Ok(Knocked::Waiting(submitted.request.id));
            }
            let opened = self.open_telling_once(caller, to, &ask.limits, protocol, told).await?;
            return Ok(Knocked::Open(Box::new(opened)));
        }
        Err(self.refuse_request(caller, &ask, Refusal::of(Reason::AlreadyDecided)).await)
    }

    /// A fresh no stands for a while, so that who waited for it is told, and does not ask the same again at once. What no person said no
    /// to is decided anew: what stood in the way may be gone.
    async fn refuse_if_just_denied(&self, caller: &Caller, resource: &ResourceName, role: &RoleName) -> Result<(), Refusal> {
        let filter = store::RequestFilter { person: Some(caller.who.id()), state: None, resource: Some(resource.clone()) };
        let recent = self.store.requests(&filter, &store::Page::first(10)).await.map_err(unavailable)?;
        let own = |r: &RequestRow| &r.role == role && r.extends.is_none() && r.claims.as_ref() == caller.who.claims();
        let Some(last) = recent.into_iter().find(own) else { return Ok(()) };
        let fresh = last.decided_at.is_some_and(|at| STANDS.after(at) > self.now());
        let reason = match last.state {
            RequestState::Denied if fresh && !self.somebody_said_no(last.id).await? => return Ok(()),
            RequestState::Denied => Reason::Denied,
            RequestState::Expired => Reason::AgedOut,
            RequestState::Cancelled => Reason::Cancelled,
            RequestState::Pending | RequestState::Approved => return Ok(()),
        };
        if fresh { Err(Refusal::of(reason).about(last.id)) } else { Ok(()) }
    }

    async fn somebody_said_no(&self, request: RequestId) -> Result<bool, Refusal> {
        let votes = self.store.votes(request).await.map_err(unavailable)?;
        Ok(votes.iter().any(|vote| vote.decision == Decision::Deny))
    }

    /// What a preview would say, for doors that show it before they ask.
    ///
    /// # Errors
    /// If the store can't be reached.
    pub async fn cost(&self, caller: &Caller, ask: AccessRequest) -> Result<access::verdict::Verdict, Refusal> {
        self.preview(&IdentifiedRequest::new(ask, caller.who.clone())).await
    }

    /// How a request goes, from now until it is decided.
    ///
    /// # Errors
    /// If there is none, or the store can't be reached.
    pub async fn follow(self: &Arc<Self>, request: RequestId) -> Result<watch::Receiver<RequestProgress>, Refusal> {
        // Subscribed before it is read, so that nothing falls between.
        let mut news = self.news();
        let first = self.progress(request).await?;
        let (sender, receiver) = watch::channel(first);
        let gate = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                if sender.borrow().state != RequestState::Pending {
                    return;
                }
                let concerns = tokio::select! {
                    () = sender.closed() => return,
                    entry = news.recv() => match entry {
                        Ok(entry) => about(&entry.event) == Some(request),
                        Err(broadcast::error::RecvError::Lagged(_)) => true,
                        Err(broadcast::error::RecvError::Closed) => return,
                    },
                    // Who is asked changes by time alone, too.
                    () = tokio::time::sleep(LOOK_AGAIN) => true,
                };
                if concerns && let Ok(progress) = gate.progress(request).await {
                    sender.send_if_modified(|now| {
                        let changed = *now != progress;
                        *now = progress;
                        changed
                    });
                }
            }
        });
        Ok(receiver)
    }

    async fn progress(&self, request: RequestId) -> Result<RequestProgress, Refusal> {
        let row = self.store.request(request).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        let since = Span::between(row.asked_since(), self.now());
        let mut asked: Vec<String> = all_stages(&row)
            .map(|stage| {
                let seats: Vec<String> = stage.seats_after(since).map(ToString::to_string).collect();
                format!("{} of {}", stage.count, seats.join(" or "))
            })
            .collect();
        asked.dedup();
        let mut answers = Vec::new();
        for vote in self.store.votes(request).await.map_err(unavailable)? {
            if vote.revision != row.revision {
                continue;
            }
            answers.push(self.vote_line(row.person, &vote).await?);
        }
        if let (RequestState::Approved, Some(grant)) = (row.state, row.extends) {
            let grant = self.store.grant(grant).await.map_err(unavailable)?;
            answers.extend(grant.and_then(|grant| grant.ends_at).map(|end| format!("It is open until {}.", end.strftime("%H:%M:%S UTC"))));
        }
        Ok(RequestProgress { state: row.state, asked, answers, limits: row.limits, wait_at_connect: row.terms.wait_at_connect })
    }
}

impl Question {
    /// Whether a reason has to be given: always where people decide, they have nothing else to go by.
    #[must_use]
    pub fn needs_reason(&self) -> bool {
        self.terms.reason || self.terms.people() > 0
    }
    /// Whether a ticket has to be named.
    #[must_use]
    pub fn needs_ticket(&self) -> bool {
        self.terms.ticket != TicketRule::None
    }
}

fn ask(caller: &Caller, resource: &ResourceName, role: &RoleName, given: Given) -> AccessRequest {
    AccessRequest {
        resource: resource.clone(),
        role: role.clone(),
        asked: given.asked,
        reason: given.reason,
        ticket: given.ticket,
        limits: given.limits,
        break_glass: given.break_glass,
        door: caller.door,
    }
}

/// The emergency that an answer to one allows, and its cost.
fn emergency_of(answer: &Answer) -> Option<(Emergency, Terms)> {
    let (terms, needs) = match answer {
        Answer::Permit { terms } | Answer::NeedsApproval { terms } => (terms, None),
        Answer::StepUp { needs, terms } => (terms, needs.mfa),
        Answer::Deny { .. } => return None,
    };
    Some((Emergency { review: terms.break_glass.clone()?, needs }, terms.clone()))
}

/// The request an event is about.
fn about(event: &Event) -> Option<RequestId> {
    match event {
        Event::RequestEdited { request, .. }
        | Event::RequestVoted { request, .. }
        | Event::RequestApproved { request, .. }
        | Event::RequestDenied { request, .. }
        | Event::RequestCancelled { request }
        | Event::RequestExpired { request } => Some(*request),
        _ => None,
    }
}
