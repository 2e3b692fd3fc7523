//! Somebody decides on a request.
//!
//! *Takes* a request, a decision and the proof of who decides. *Proves* that they may, are not the asker, and fill one seat.
//! *Hands to* `activate` a grant once every stage is filled.

use access::approval::{ApprovedRequest, Decision, Stage};
use access::event::{Actor, Entry, Event};
use access::grant::GrantRow;
use access::identity::Scope;
use access::ids::{PrincipalId, RequestId, VoteId};
use access::reason::{Reason, Refusal};
use access::request::{AccessRequest, RequestRow, RequestState};
use access::time::Span;
use policy::{Act, Ask, Object, Situation};
use store::{Change, CommitError, EntryFilter, EntryPage};

use crate::Caller;
use crate::decide::terms_of;
use crate::gate::{Gate, refused, unavailable};
use crate::seen::{AsSeen, Seen};
use crate::submit::LONGEST_TEXT;

/// What a vote led to.
#[derive(Debug, Clone)]
pub struct Voted {
    /// The request as it stands now.
    pub request: RequestRow,
    /// The grant, if this vote was the last one needed.
    pub grant: Option<GrantRow>,
}

/// How often a vote that raced another one is tried again.
const TRIES: usize = 8;

impl Gate {
    /// Somebody approves or denies a request.
    ///
    /// # Errors
    /// Refused, and entered in the log, if they are the asker, may not, or have voted; refused if it was decided meanwhile.
    pub async fn vote(
        &self,
        caller: &Caller,
        request: impl Into<AsSeen<RequestId>>,
        decision: Decision,
        note: Option<String>,
    ) -> Result<Voted, Refusal> {
        let AsSeen { id: request, seen } = request.into();
        if note.as_ref().is_some_and(|n| n.chars().count() > LONGEST_TEXT) {
            return Err(Refusal::because(Reason::Invalid, format!("a note has at most {LONGEST_TEXT} characters")));
        }
        for _ in 0..TRIES {
            match self.vote_once(caller, request, &seen, decision, note.clone()).await {
                Ok(voted) => {
                    self.apply_extension(caller, &voted, note.as_deref()).await;
                    return Ok(voted);
                }
                Err(Attempt::Raced) => {}
                Err(Attempt::Refused(refusal)) => {
                    if matches!(refusal.reason, Reason::SelfApproval | Reason::NotApprover | Reason::Locked | Reason::ScopeMissing) {
                        let draft = self
                            .draft(caller, Event::VoteRefused { request, voter: caller.who.id(), reason: refusal.reason })
                            .text("note", note);
                        self.commit(Change::new(draft)).await.map_err(refused)?;
                    }
                    if matches!(refusal.reason, Reason::NotApprover | Reason::Locked | Reason::ScopeMissing) {
                        // Who may not even see it is told the same as if it did not exist.
                        let row = self.store.request(request).await.map_err(unavailable)?;
                        self.visible_request(caller, row).await.map_err(|unseen| unseen.about(request))?;
                    }
                    return Err(refusal.about(request));
                }
            }
        }
        Err(Refusal::of(Reason::AlreadyDecided).about(request))
    }

    async fn vote_once(
        &self,
        caller: &Caller,
        request: RequestId,
        seen: &Seen,
        decision: Decision,
        note: Option<String>,
    ) -> Result<Voted, Attempt> {
        let row = self.store.request(request).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        let situation = self.situation(&caller.who).await?;
        let stages = self.may_vote(caller, &situation, &row).await?;
        seen.is(row.version)?;
        let now = self.now();
        match row.state {
            RequestState::Pending if row.expires_at <= now => return Err(Refusal::of(Reason::AgedOut).into()),
            RequestState::Pending => {}
            _ => return Err(Refusal::because(Reason::AlreadyDecided, format!("it is {}", row.state)).into()),
        }
        let mut votes = self.store.votes(request).await.map_err(unavailable)?;
        if votes.iter().any(|v| v.revision == row.revision && v.voter == caller.who.id()) {
            return Err(Refusal::of(Reason::AlreadyVoted).into());
        }

        let cast = self
            .draft(
                caller,
                Event::RequestVoted {
                    request,
                    vote: VoteId::generate(now),
                    revision: row.revision,
                    voter: caller.who.id(),
                    decision,
                    stages,
                },
            )
            .text("note", note);
        votes.extend(vote_row(&row, &cast));
        let change = Change::new(cast).expect(&row);
        let change = match decision {
            Decision::Deny => change.and(self.own_draft(Event::RequestDenied { request, reason: Reason::Denied })),
            Decision::Approve => match ApprovedRequest::by_people(row.clone(), &votes) {
                Err(_) => change,
                Ok(approved) => self.conclude(change, approved).await?,
            },
        };
        let committed = match self.commit(change).await {
            Ok(committed) => committed,
            Err(CommitError::Conflict { .. } | CommitError::Duplicate { .. }) => return Err(Attempt::Raced),
            Err(error) => return Err(refused(error).into()),
        };
        let request = committed.rows.requests.into_values().next().ok_or_else(|| Refusal::of(Reason::NotFound))?;
        Ok(Voted { request, grant: committed.rows.grants.into_values().next() })
    }

    /// The stages the caller can fill now; refused if there is none, or if the request is their own by any path.
    async fn may_vote(&self, caller: &Caller, situation: &Situation, row: &RequestRow) -> Result<Vec<usize>, Refusal> {
        if !caller.who.may(Scope::Approve) {
            return Err(Refusal::because(Reason::ScopeMissing, "the token lacks the scope `approve`"));
        }
        if self.same_hand(caller.who.id(), row.person).await? {
            return Err(Refusal::of(Reason::SelfApproval));
        }
        if self.signed_in_by(row.person, caller.who.id()).await? || self.signed_in_by(caller.who.id(), row.person).await? {
            return Err(Refusal::because(Reason::SelfApproval, "one of the two got their sign-in from the other"));
        }
        if matches!(caller.who.id(), PrincipalId::Workload(_)) {
            return Err(Refusal::because(Reason::NotApprover, "only people decide"));
        }
        self.refuse_if_person_locked(caller.who.id()).await?;
        let about = self.about_request(row).await?;
        let bundle = self.bundle();
        let ruling = bundle.may(situation, Act::Approve, &Object::Request(about));
        let since = Span::between(row.submitted_at, self.now());
        let stages: Vec<usize> = all_stages(row)
            .enumerate()
            .filter(|(_, stage)| stage.seats_after(since).any(|seat| bundle.seated(situation, seat)))
            .map(|(index, _)| index)
            .collect();
        if !ruling.allowed || stages.is_empty() {
            // Who may not even see the request is told that it doesn't exist.
            let visible = self.may_see_request(caller, situation, row).await?;
            return Err(Refusal::of(if visible { Reason::NotApprover } else { Reason::NotFound }));
        }
        Ok(stages)
    }

    /// Whether two principals are one hand: the same person, a machine and its owner, or two machines of one owner.
    async fn same_hand(&self, a: PrincipalId, b: PrincipalId) -> Result<bool, Refusal> {
        Ok(self.hand(a).await? == self.hand(b).await?)
    }

    /// Whether `maker` ever made a way to sign in for `owner`, other than the invitation by which everybody begins.
    async fn signed_in_by(&self, maker: PrincipalId, owner: PrincipalId) -> Result<bool, Refusal> {
        for name in ["token.issued", "key.added", "invitation.issued"] {
            let of_owner = EntryFilter { mentions: Some(owner.to_string()), name: Some(name.to_owned()), ..EntryFilter::default() };
            let page = EntryPage { limit: 1_000, after: None, newest_first: false };
            let entries = self.store.entries(&of_owner, page).await.map_err(unavailable)?;
            let begins = usize::from(name == "invitation.issued");
            let made = |entry: &Entry| {
                entry.actor == Actor::Principal(maker)
                    && match &entry.event {
                        Event::TokenIssued { person, .. } | Event::KeyAdded { person, .. } | Event::InvitationIssued { person, .. } => {
                            *person == owner
                        }
                        _ => false,
                    }
            };
            if entries.iter().skip(begins).any(|logged| made(&logged.entry)) && maker != owner {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn hand(&self, id: PrincipalId) -> Result<PrincipalId, Refusal> {
        let person = self.store.person(id).await.map_err(unavailable)?;
        Ok(person.and_then(|p| p.owner).map_or(id, PrincipalId::User))
    }

    /// What an approved request becomes, if policy still lets it: a grant, or a later end of the one it extends.
    async fn conclude(&self, change: Change, approved: ApprovedRequest) -> Result<Change, Attempt> {
        let row = approved.request();
        let request = row.id;
        let situation = match self.situation_of(row.person).await {
            Ok(mut situation) => {
                situation.mfa = row.mfa;
                situation.network = row.network;
                // It was fresh when they asked; how long people take to agree doesn't make it stale.
                situation.mfa_at = situation.now;
                situation
            }
            Err(refusal) => return Ok(change.and(self.own_draft(Event::RequestDenied { request, reason: refusal.reason }))),
        };
        let locked = self.refuse_if_locked(row.person, &row.role, &row.resource).await.err();
        let verdict = self.judge_request(&situation, &ask_of(row));
        let denied = locked.or_else(|| terms_of(&verdict).err());
        if let Some(refusal) = denied {
            let draft = self.own_draft(Event::RequestDenied { request, reason: refusal.reason }).text("detail", Some(refusal.to_string()));
            return Ok(change.and(draft));
        }
        if row.extends.is_some() {
            return self.conclude_extension(change, approved).await.map_err(Attempt::from);
        }
        let frozen = self.bundle.load().freeze(&situation, &Ask::from(&ask_of(row)));
        Ok(self.grant_approved(change, approved, frozen).0)
    }
}

/// A request's stages through all its plans; their indexes are what votes name.
pub(crate) fn all_stages(row: &RequestRow) -> impl Iterator<Item = &Stage> {
    row.terms.approvals.iter().flat_map(|plan| &plan.stages)
}

/// A kept request as it was asked.
pub(crate) fn ask_of(row: &RequestRow) -> AccessRequest {
    AccessRequest {
        resource: row.resource.clone(),
        role: row.role.clone(),
        asked: row.asked,
        reason: row.reason.clone(),
        ticket: row.ticket.clone(),
        limits: row.limits.clone(),
        break_glass: row.break_glass,
        door: row.door,
    }
}

enum Attempt {
    Raced,
    Refused(Refusal),
}

impl From<Refusal> for Attempt {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The row that a vote will make.
fn vote_row(request: &RequestRow, draft: &access::event::EntryDraft) -> Option<access::approval::VoteRow> {
    let mut rows = access::fold::Tables::default();
    rows.requests.insert(request.id.to_string(), request.clone());
    access::fold::apply(&mut rows, &draft.clone().seal()).ok()?;
    rows.votes.into_values().next()
}
