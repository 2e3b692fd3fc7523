//! Somebody decides on a request.
//!
//! *Takes* a request, a decision and the proof of who decides. *Proves* that they may, are not the asker, and fill one seat.
//! *Hands to* `activate` a grant once every stage is filled.

use access::approval::{ApprovedRequest, Decision, Stage};
use access::event::{Actor, Event};
use access::grant::GrantRow;
use access::identity::{Mfa, Scope};
use access::ids::{PrincipalId, RequestId, VoteId};
use access::reason::{Reason, Refusal};
use access::request::{AccessRequest, RequestRow, RequestState};
use access::risk::Known;
use access::time::Span;
use identity::passkeys::{Asking, Assertion};
use policy::{Act, Ask, Bundle, Object, Situation};
use store::{Change, CommitError, EntryFilter, EntryPage, LoggedEntry};

use crate::Caller;
use crate::authorize::said;
use crate::decide::{denied, terms_of};
use crate::gate::{Gate, refused, unavailable};
use crate::seen::{AsSeen, Seen};
use crate::sign::Signed;
use crate::submit::{LONGEST_TEXT, fits, length_of};

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
        self.decide_on(caller, request.into(), decision, note, None).await
    }

    /// Somebody approves a request and signs it with their passkey; see [`Gate::begin_signature`].
    ///
    /// # Errors
    /// As [`Gate::vote`]; and if the passkey is not theirs, or signed another request or an earlier revision of this one.
    pub async fn approve_signed(
        &self,
        caller: &Caller,
        request: impl Into<AsSeen<RequestId>>,
        note: Option<String>,
        assertion: &Assertion,
    ) -> Result<Voted, Refusal> {
        let as_seen = request.into();
        let signed = self.signed(caller, as_seen.id, assertion).await.map_err(|refusal| refusal.about(as_seen.id))?;
        self.decide_on(caller, as_seen, Decision::Approve, note, Some(&signed)).await
    }

    async fn decide_on(
        &self,
        caller: &Caller,
        AsSeen { id: request, seen }: AsSeen<RequestId>,
        decision: Decision,
        note: Option<String>,
        signed: Option<&Signed>,
    ) -> Result<Voted, Refusal> {
        fits("a note", note.as_deref(), LONGEST_TEXT)?;
        for _ in 0..TRIES {
            match Box::pin(self.vote_once(caller, request, &seen, (decision, signed), note.clone())).await {
                Ok(voted) => {
                    if voted.grant.is_some() {
                        self.end_if_locked_meanwhile(&voted.request, voted.grant.as_ref()).await?;
                    }
                    self.apply_extension(caller, &voted, note.as_deref()).await;
                    return Ok(voted);
                }
                Err(Attempt::Raced) => {}
                Err(Attempt::Refused(refusal)) => {
                    if matches!(
                        refusal.reason,
                        Reason::SelfApproval
                            | Reason::NotApprover
                            | Reason::Forbidden
                            | Reason::PolicyError
                            | Reason::Locked
                            | Reason::ScopeMissing
                            | Reason::SignatureRequired
                            | Reason::MfaRequired
                            | Reason::TicketRequired
                            | Reason::TicketNotOpen
                            | Reason::TrackerUnreachable
                    ) {
                        let refused_vote = Event::VoteRefused {
                            request,
                            voter: caller.who.id(),
                            reason: refusal.reason,
                            bundle: refusal.bundle(),
                            policies: refusal.policies(),
                        };
                        let draft = self.draft(caller, refused_vote).text("note", note).text("detail", refusal.detail.clone());
                        self.commit(Change::new(draft)).await.map_err(refused)?;
                    }
                    if matches!(refusal.reason, Reason::NotApprover | Reason::Locked | Reason::ScopeMissing | Reason::SelfApproval) {
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
        (decision, signed): (Decision, Option<&Signed>),
        note: Option<String>,
    ) -> Result<Voted, Attempt> {
        let row = self.store.request(request).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        let mut situation = self.situation_asking(&caller.who, &Asking::Decide(request)).await?;
        if let Some(signed) = signed {
            (situation.mfa, situation.mfa_at) = (Mfa::Verified, signed.proved.used.who.at());
        }
        let mut stages = self.may_vote(caller, &situation, &row).await?;
        seen.is(row.version)?;
        Self::refuse_if_mail_is_too_little(caller, &row, decision)?;
        // INVARIANT: nobody agrees by an error; who says no waits for no tracker.
        if decision == Decision::Approve && row.ticket.is_some() {
            self.refuse_ticket_unless(&row.terms, row.ticket.as_deref()).await?;
            // INVARIANT: trackers take their time, and who lost the right to vote meanwhile has none.
            let (mfa, mfa_at) = (situation.mfa, situation.mfa_at);
            situation = self.situation_asking(&caller.who, &Asking::Decide(request)).await?;
            if signed.is_some() {
                (situation.mfa, situation.mfa_at) = (mfa, mfa_at);
            }
            stages = self.may_vote(caller, &situation, &row).await?;
        } else if decision == Decision::Approve {
            self.refuse_ticket_unless(&row.terms, None).await?;
        }
        let now = self.now();
        let mut votes = self.undecided(caller, &row).await?;
        match signed {
            // INVARIANT: an edit makes a signature worthless.
            Some(signed) if signed.revision != row.revision => {
                return Err(Refusal::because(Reason::Stale, "the request was changed after you signed it").into());
            }
            None if decision == Decision::Approve && all_stages(&row).enumerate().any(|(i, stage)| stage.signed && stages.contains(&i)) => {
                return Err(Refusal {
                    detail: self.relying_party().map(|p| format!("{}/requests/{request}", p.origin)),
                    ..Reason::SignatureRequired.into()
                }
                .into());
            }
            _ => {}
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
                    signature: signed.map(|signed| Box::new(signed.signature.clone())),
                    invited_by_asker: self.invited(row.person, caller.who.id()).await?,
                },
            )
            .text("note", note);
        votes.extend(vote_row(&row, &cast));
        let change = match signed {
            Some(signed) => signed.proved.noted().and(cast),
            None => Change::new(cast),
        };
        let change = Self::spend_mail_link(caller, &row, change.expect(&row));
        let change = match decision {
            Decision::Deny => change.and(self.own_draft(denied(request, &Reason::Denied.into()))),
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

    /// The votes so far on a request that is still to be decided, and not by the caller before.
    async fn undecided(&self, caller: &Caller, row: &RequestRow) -> Result<Vec<access::approval::VoteRow>, Refusal> {
        match row.state {
            RequestState::Pending if row.expires_at <= self.now() => return Err(Refusal::of(Reason::AgedOut)),
            RequestState::Pending => {}
            _ => return Err(Refusal::because(Reason::AlreadyDecided, format!("it is {}", row.state))),
        }
        let votes = self.store.votes(row.id).await.map_err(unavailable)?;
        if votes.iter().any(|v| v.revision == row.revision && v.voter == caller.who.id()) {
            return Err(Refusal::of(Reason::AlreadyVoted));
        }
        Ok(votes)
    }

    /// A request that the caller could approve now, with their passkey in hand.
    pub(crate) async fn votable(&self, caller: &Caller, request: RequestId) -> Result<RequestRow, Refusal> {
        let row = self.store.request(request).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        let mut situation = self.circumstances(&caller.who).await?;
        (situation.mfa, situation.mfa_at) = (Mfa::Verified, situation.now);
        self.may_vote(caller, &situation, &row).await.map_err(|refusal| refusal.about(request))?;
        self.undecided(caller, &row).await.map_err(|refusal| refusal.about(request))?;
        Ok(row)
    }

    /// Whether the caller could say yes or no to a request now; leaves no entry.
    ///
    /// # Errors
    /// If that can't be told: the store can't be read, or the caller is disabled.
    pub async fn can_decide(&self, caller: &Caller, row: &RequestRow) -> Result<bool, Refusal> {
        let now = self.now();
        if row.state != RequestState::Pending || row.expires_at <= now {
            return Ok(false);
        }
        // Lists ask this of every request that waits, and what is unusual about who decides matters to no policy.
        let situation = self.circumstances(&caller.who).await?;
        // What costs little first: lists ask this of every request that waits.
        let (bundle, since) = (self.bundle(), Span::between(row.asked_since(), now));
        if !all_stages(row).any(|stage| stage.seats_after(since).any(|seat| bundle.seated(&situation, seat))) {
            return Ok(false);
        }
        let votes = self.store.votes(row.id).await.map_err(unavailable)?;
        if votes.iter().any(|vote| vote.revision == row.revision && vote.voter == caller.who.id()) {
            return Ok(false);
        }
        match self.may_vote(caller, &situation, row).await {
            Ok(_) => Ok(true),
            // They can, once they prove again who they are.
            Err(refusal) if refusal.reason == Reason::MfaRequired => Ok(true),
            Err(refusal) if refusal.reason == Reason::StoreUnavailable => Err(refusal),
            Err(_) => Ok(false),
        }
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
        let since = Span::between(row.asked_since(), self.now());
        let stages: Vec<usize> = all_stages(row)
            .enumerate()
            .filter(|(_, stage)| stage.seats_after(since).any(|seat| bundle.seated(situation, seat)))
            .map(|(index, _)| index)
            .collect();
        if !ruling.allowed && !stages.is_empty() {
            // With a fresh proof they could.
            let proved = Situation { mfa: Mfa::Verified, mfa_at: situation.now, ..situation.clone() };
            let about = self.about_request(row).await?;
            if bundle.may(&proved, Act::Approve, &Object::Request(about)).allowed {
                return Err(Refusal::because(Reason::MfaRequired, format!("`{}` is needed to decide on this", Mfa::Verified)));
            }
        }
        let ruled = said(&bundle, ruling);
        if stages.is_empty() || ruled.is_err() {
            return Err(self.may_not_vote(caller, (situation, &bundle), row, (&stages, ruled.err())).await?);
        }
        Ok(stages)
    }

    /// What somebody is told who may not decide on a request.
    async fn may_not_vote(
        &self,
        caller: &Caller,
        (situation, bundle): (&Situation, &Bundle),
        row: &RequestRow,
        (stages, ruled): (&[usize], Option<Refusal>),
    ) -> Result<Refusal, Refusal> {
        let seated = !stages.is_empty();
        // Who was asked hears which policy failed them: it shows them no request either, and nobody else would learn of it.
        if let Some(failed) = ruled.as_ref().filter(|ruled| seated && ruled.reason == Reason::PolicyError) {
            return Ok(failed.clone());
        }
        // Who may not even see the request is told that it doesn't exist.
        if !self.may_see_request(caller, situation, row).await? {
            return Ok(Refusal::of(Reason::NotFound));
        }
        if let Some(forbidden) = ruled.as_ref().filter(|ruled| matches!(ruled.reason, Reason::Forbidden | Reason::PolicyError)) {
            return Ok(forbidden.clone());
        }
        let unknown = if seated { None } else { self.why_nobody_is_on_call(bundle, row) };
        Ok(Refusal { detail: unknown, ruled: ruled.and_then(|ruled| ruled.ruled), ..Refusal::of(Reason::NotApprover) })
    }

    /// Whether two principals are one hand: the same person, a machine and its owner, or two machines of one owner.
    async fn same_hand(&self, a: PrincipalId, b: PrincipalId) -> Result<bool, Refusal> {
        Ok(self.hand(a).await? == self.hand(b).await?)
    }

    /// Whether `maker` ever made a way to sign in for `owner`, other than the one by which they began; or the token of a directory that
    /// brought them.
    pub(crate) async fn signed_in_by(&self, maker: PrincipalId, owner: PrincipalId) -> Result<bool, Refusal> {
        if maker == owner {
            return Ok(false);
        }
        let began = self.beginning_of(owner).await?;
        for name in ["token.issued", "key.added", "invitation.issued", "identity.linked"] {
            let by_maker = EntryFilter {
                mentions: Some(owner.to_string()),
                actor: Some(Actor::Principal(maker)),
                name: Some(name.to_owned()),
                ..EntryFilter::default()
            };
            if self.any_entry(by_maker, |made| made_a_way_in(made, owner, &began)).await? {
                return Ok(true);
            }
        }
        self.brought_by_token_of(maker, owner).await
    }

    /// Whether any of these entries is such.
    pub(crate) async fn any_entry(&self, which: EntryFilter, mut is: impl FnMut(&LoggedEntry) -> bool + Send) -> Result<bool, Refusal> {
        // INVARIANT: however long the log is, all that somebody did is looked at; the newest first.
        let mut page = EntryPage { limit: 200, after: None, newest_first: true };
        loop {
            let entries = self.store.entries(&which, page).await.map_err(unavailable)?;
            if entries.iter().any(&mut is) {
                return Ok(true);
            }
            match entries.last() {
                Some(last) if entries.len() == page.limit as usize => page.after = Some(last.seq),
                _ => return Ok(false),
            }
        }
    }

    async fn beginning_of(&self, owner: PrincipalId) -> Result<Beginning, Refusal> {
        let first = async |filter: EntryFilter, name: &str| {
            let filter = EntryFilter { name: Some(name.to_owned()), ..filter };
            let found = self.store.entries(&filter, EntryPage { limit: 1, after: None, newest_first: false }).await;
            found.map(|found| found.into_iter().next()).map_err(unavailable)
        };
        let own = || EntryFilter { actor: Some(Actor::Principal(owner)), ..EntryFilter::default() };
        let used = first(own(), "invitation.used").await?;
        let proved = first(own(), "identity.proved").await?;
        if let Some(proved) = proved.filter(|proved| used.as_ref().is_none_or(|used| proved.seq < used.seq))
            && let Event::IdentityProved { identity, .. } = proved.entry.event
        {
            return Ok(Beginning::Linked { identity, before: proved.seq, invited: used.is_some() });
        }
        let about = EntryFilter { mentions: Some(owner.to_string()), ..EntryFilter::default() };
        Ok(Beginning::Invited { by: first(about, "invitation.issued").await?.map(|issued| (issued.seq, issued.entry.actor)) })
    }

    /// Whether who asks gave somebody who decides the invitation by which these began here. Where one person invited everybody it can't be
    /// refused; it is entered with the vote, and shown to the others who decide and to whoever looks back.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn invited(&self, asker: PrincipalId, voter: PrincipalId) -> Result<bool, Refusal> {
        let Beginning::Invited { by: Some((_, actor)) } = self.beginning_of(voter).await? else { return Ok(false) };
        Ok(actor == Actor::Principal(asker) || actor == Actor::Principal(self.hand(asker).await?))
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
                situation.claims.clone_from(&row.claims);
                situation.network = row.network;
                situation.risk = row.risk.clone().map(Known::Then);
                // It was fresh when they asked; how long people take to agree doesn't make it stale.
                situation.mfa_at = situation.now;
                situation
            }
            // What the store does not say now, it says at the next try.
            Err(refusal) if refusal.reason == Reason::StoreUnavailable => return Err(refusal.into()),
            Err(refusal) => return Ok(change.and(self.own_draft(denied(request, &refusal)))),
        };
        let locked = self.refuse_if_locked(row.person, &row.role, &row.resource).await.err();
        if let Some(refusal) = locked.as_ref().filter(|refusal| refusal.reason == Reason::StoreUnavailable) {
            return Err(refusal.clone().into());
        }
        let verdict = self.judge_request(&situation, &ask_of(row));
        let no = locked.or_else(|| terms_of(&verdict).err());
        if let Some(refusal) = no {
            let draft = self.own_draft(denied(request, &refusal)).text("detail", Some(refusal.to_string()));
            return Ok(change.and(draft));
        }
        let bundle = self.bundle.load();
        let frozen = bundle.freeze(&situation, &Ask::from(&ask_of(row)));
        // INVARIANT: nobody is told that it was approved if the door would stay shut, as policy costs more now than they paid.
        let would_be = approved.would_be(length_of(row.asked, &row.terms), frozen.clone(), self.now());
        let unpaid = would_be.and_then(|grant| bundle.redecide(&situation, &grant).err());
        if let Some(refusal) = unpaid {
            let draft = self.own_draft(denied(request, &refusal));
            let detail = format!("{}; ask again", refusal.detail.unwrap_or_default());
            return Ok(change.and(draft.text("detail", Some(detail))));
        }
        if row.extends.is_some() {
            return self.conclude_extension(change, approved).await.map_err(Attempt::from);
        }
        Ok(self.grant_approved(change, approved, frozen).0)
    }
}

/// How somebody signed in for the first time.
enum Beginning {
    /// By their first invitation; or they never did, as a machine.
    Invited {
        /// Where it stands in the log, and who gave it.
        by: Option<(i64, Actor)>,
    },
    /// By an account at an identity provider that was linked to them.
    Linked {
        /// Which account.
        identity: String,
        /// What stands before this made that.
        before: i64,
        /// Whether an invitation of theirs was used as well, later.
        invited: bool,
    },
}

/// Whether an entry says that somebody got a way to sign in, other than the one by which they began.
fn made_a_way_in(made: &LoggedEntry, owner: PrincipalId, began: &Beginning) -> bool {
    match &made.entry.event {
        Event::TokenIssued { person, .. } | Event::KeyAdded { person, .. } => *person == owner,
        Event::InvitationIssued { person, .. } => {
            let begins = match began {
                Beginning::Invited { by } => by.as_ref().is_some_and(|(seq, _)| *seq == made.seq),
                // What nobody used let nobody in.
                Beginning::Linked { invited, .. } => !invited,
            };
            *person == owner && !begins
        }
        Event::IdentityLinked { person, identity, .. } => {
            let begins = matches!(began, Beginning::Linked { identity: by, before, .. } if by == identity && made.seq < *before);
            *person == owner && !begins
        }
        _ => false,
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
