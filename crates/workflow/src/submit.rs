//! Somebody asks.
//!
//! *Takes* an `AccessRequest` and the proof of who asks. *Proves* that policy lets the question stand, and at which cost. *Hands
//! to* the approvers a pending request, or, where nobody has to agree, to `activate` a grant.

use access::approval::ApprovedRequest;
use access::event::Event;
use access::grant::{Frozen, GrantRow};
use access::identity::{PersonRow, Scope};
use access::ids::{GrantId, RequestId, ReviewId};
use access::names::GroupName;
use access::reason::{Reason, Refusal};
use access::request::{AccessRequest, Asked, IdentifiedRequest, RequestRow};
use access::review::ReviewKind;
use access::row::Row as _;
use access::time::Span;
use access::verdict::{Answer, Terms, TicketRule, Verdict};
use policy::{Ask, Situation};
use store::{Change, CommitError};

use crate::Caller;
use crate::decide::{denied, terms_of};
use crate::gate::{Gate, refused, unavailable};
use crate::risk::unusual;
use crate::seen::{AsSeen, Seen};
use crate::step_up::asking;

/// What became of a request.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// The request.
    pub request: RequestRow,
    /// The grant, if nobody had to agree.
    pub grant: Option<GrantRow>,
    /// What policy said; `None` if an earlier request for the same was joined.
    pub verdict: Option<Verdict>,
}

/// Why nothing was asked.
enum NotAsked {
    /// There is a grant that was not known, or what waited is decided: what is open has to be looked at again.
    Decided,
    /// No.
    Refused(Refusal),
}

impl From<Refusal> for NotAsked {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<CommitError> for NotAsked {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict { table: GrantRow::TABLE, .. } => Self::Decided,
            other => Self::Refused(refused(other)),
        }
    }
}

/// The longest reason or ticket that is taken, in characters.
pub const LONGEST_TEXT: usize = 4_000;

/// Characters of why something is kept or erased, at most.
pub(crate) const LONGEST_WHY: usize = 2_000;

/// What a request is limited to, as JSON, in bytes at most: it stands in the entry itself.
const LONGEST_LIMITS: usize = 16_384;

impl Gate {
    /// Somebody asks for a role on a resource. A pending request for the same is joined, not doubled.
    ///
    /// # Errors
    /// The refusal, as it was also entered in the audit log.
    pub async fn submit(&self, caller: &Caller, ask: AccessRequest) -> Result<Submitted, Refusal> {
        // Boxed: it passes through every verb of asking, and doors of all kinds wait for it.
        match Box::pin(self.submit_beside(caller, &ask, None)).await? {
            Some(submitted) => Ok(submitted),
            None => Err(Box::pin(self.refuse_request(caller, &ask, Refusal::of(Reason::AlreadyDecided))).await),
        }
    }

    /// The same for who found nothing open, and knows of these grants alone, if of any.
    ///
    /// `None`: there is another grant, or what waited was decided in this very moment. Nothing was asked then, and what is open is to be
    /// looked at again.
    ///
    /// INVARIANT: whether there is a grant, whether a request waits, and making one is one decision: the store takes a request only while
    /// nothing waits for the same, and only beside the grants that are known.
    pub(crate) async fn submit_beside(
        &self,
        caller: &Caller,
        ask: &AccessRequest,
        known: Option<&[GrantId]>,
    ) -> Result<Option<Submitted>, Refusal> {
        // Whatever is answered: a question from elsewhere is news for the sessions that are open.
        self.came(caller.who.id(), caller.who.from()).await;
        let request = IdentifiedRequest::new(ask.clone(), caller.who.clone());
        let submitted = match self.try_submit(caller, &request, known).await {
            Ok(submitted) => self.unless_locked_meanwhile(submitted).await,
            Err(NotAsked::Refused(refusal)) => Err(refusal),
            Err(NotAsked::Decided) => return Ok(None),
        };
        match submitted {
            Ok(submitted) => Ok(Some(submitted)),
            Err(refusal) => Err(self.refuse_request(caller, ask, refusal).await),
        }
    }

    /// What was asked, unless a lock was set since it was looked for one: then it goes as what was there before.
    async fn unless_locked_meanwhile(&self, submitted: Submitted) -> Result<Submitted, Refusal> {
        // One that was joined was there before.
        if submitted.verdict.is_some() {
            self.end_if_locked_meanwhile(&submitted.request, submitted.grant.as_ref()).await?;
        }
        Ok(submitted)
    }

    /// Ends what was just made, if a lock was set since it was looked for one. What a request makes longer was there before.
    ///
    /// INVARIANT: whoever contains somebody sets the lock and then looks what there is; whoever asks or agrees makes what there is and then
    /// looks for a lock. One of the two sees the other, so that nothing outlives a containment.
    pub(crate) async fn end_if_locked_meanwhile(&self, request: &RequestRow, grant: Option<&GrantRow>) -> Result<(), Refusal> {
        if request.extends.is_some() {
            return Ok(());
        }
        let Err(refusal) = self.refuse_if_locked(request.person, &request.role, &request.resource).await else { return Ok(()) };
        let (event, why) = match grant {
            Some(grant) => (Event::GrantRevoked { grant: grant.id, still_open: Vec::new() }, "reason"),
            None => (denied(request.id, &refusal), "detail"),
        };
        self.enter_unless_over(Change::new(self.own_draft(event).text(why, refusal.detail.clone()))).await?;
        Err(refusal.about(request.id))
    }

    async fn try_submit(&self, caller: &Caller, request: &IdentifiedRequest, known: Option<&[GrantId]>) -> Result<Submitted, NotAsked> {
        let mut situation = self.situation_asking(request.who(), &asking(request.ask())).await?;
        let mut verdict = self.admit(caller, &situation, request.ask()).await?;
        let asked = terms_of(&verdict)?;
        let ticket = self.refuse_ticket_unless(&asked, request.ask().ticket.as_deref()).await;
        ticket.map_err(|refusal| refusal.ruled_by(verdict.bundle(), verdict.policies()))?;
        if asked.ticket == TicketRule::Open {
            // INVARIANT: trackers take their time, and who lost the right to ask meanwhile has none.
            situation = self.situation_asking(request.who(), &asking(request.ask())).await?;
            verdict = self.admit(caller, &situation, request.ask()).await?;
        }
        let terms = terms_of(&verdict)?;
        match self.store_request(caller, &situation, request.ask(), (&verdict, terms), known).await {
            Ok(submitted) => Ok(submitted),
            Err(CommitError::Duplicate { .. }) if request.ask().break_glass => {
                // An emergency does not wait behind an ordinary question for the same: it takes its place.
                let pending = self.join(caller, request.ask()).await?.request;
                if pending.break_glass {
                    return Ok(Submitted { request: pending, grant: None, verdict: None });
                }
                self.cancel(caller, pending.id).await.map_err(|refusal| match refusal.reason {
                    Reason::AlreadyDecided => NotAsked::Decided,
                    _ => refusal.into(),
                })?;
                let terms = terms_of(&verdict)?;
                Ok(self.store_request(caller, &situation, request.ask(), (&verdict, terms), known).await?)
            }
            Err(CommitError::Duplicate { .. }) => self.join(caller, request.ask()).await,
            Err(error) => Err(error.into()),
        }
    }

    /// What must hold before policy is asked: texts of sane size, nothing locked, no emergency while one is unreviewed.
    pub(crate) async fn admit(&self, caller: &Caller, situation: &Situation, ask: &AccessRequest) -> Result<Verdict, Refusal> {
        self.admissible(caller, situation, ask).await?;
        Ok(self.judge_request(situation, ask))
    }

    /// What must hold before policy is asked.
    pub(crate) async fn admissible(&self, caller: &Caller, situation: &Situation, ask: &AccessRequest) -> Result<(), Refusal> {
        self.admit_anywhere(caller, ask).await?;
        self.refuse_if_locked(caller.who.id(), &ask.role, &ask.resource).await?;
        self.refuse_if_nothing_is_left(situation, ask)
    }

    /// What must hold wherever they ask for, whether there is such a resource or not.
    async fn admit_anywhere(&self, caller: &Caller, ask: &AccessRequest) -> Result<(), Refusal> {
        if !caller.who.may(Scope::Ask) {
            return Err(Refusal::because(Reason::ScopeMissing, "the token lacks the scope `ask`"));
        }
        // A connection may have been open for long since they signed in.
        self.refuse_if_sign_in_ended(caller).await?;
        for text in [&ask.reason, &ask.ticket].into_iter().flatten() {
            fits("a reason or ticket", Some(text), LONGEST_TEXT)?;
        }
        let limits = serde_json::to_string(&ask.limits).map_or(usize::MAX, |text| text.len());
        if limits > LONGEST_LIMITS {
            let why = format!(
                "what a request is limited to takes at most {LONGEST_LIMITS} bytes, and this takes {limits}; name fewer tables, or a shorter command"
            );
            return Err(Refusal::because(Reason::Invalid, why));
        }
        self.refuse_if_person_locked(caller.who.id()).await?;
        if ask.break_glass {
            self.refuse_if_a_review_is_overdue(caller).await?;
        }
        Ok(())
    }

    /// Whoever's last emergency was not looked at in time declares no other; nor, where its path says so, does anybody of their team.
    async fn refuse_if_a_review_is_overdue(&self, caller: &Caller) -> Result<(), Refusal> {
        for review in self.store.overdue_reviews(self.now()).await.map_err(unavailable)? {
            let due = format!("{} was due at {}", review.id, review.due_at);
            if review.person == caller.who.id() {
                return Err(Refusal::because(Reason::BreakGlassBlocked, due));
            }
            let grant = self.store.grant(review.grant).await.map_err(unavailable)?;
            if !grant.and_then(|grant| grant.terms.break_glass).is_some_and(|terms| terms.blocks_team) {
                continue;
            }
            let person = async |id| self.store.person(id).await.map_err(unavailable);
            let (Some(own), Some(other)) = (person(caller.who.id()).await?, person(review.person).await?) else { continue };
            let (ours, theirs) = (self.teams_of(&own).await?, self.teams_of(&other).await?);
            if let Some(team) = ours.iter().find(|team| theirs.contains(team)) {
                let why = format!("{due}; it is about `{}`, of your team `{team}`", other.username);
                return Err(Refusal::because(Reason::BreakGlassBlocked, why));
            }
        }
        Ok(())
    }

    /// The teams somebody is in: by `people.toml`, by the store, by a directory or provider.
    async fn teams_of(&self, person: &PersonRow) -> Result<Vec<GroupName>, Refusal> {
        let mut teams = self.stored_groups(person).await?;
        let bundle = self.bundle();
        let people = bundle.people();
        teams.extend_from_slice(people.groups_of(&person.username));
        teams.retain(|name| people.groups.get(name).is_some_and(|group| group.team));
        Ok(teams)
    }

    /// A request limited to less than anything is a mistake that is better told now than at the door.
    fn refuse_if_nothing_is_left(&self, situation: &Situation, ask: &AccessRequest) -> Result<(), Refusal> {
        if ask.limits.is_empty() {
            return Ok(());
        }
        let bundle = self.bundle.load();
        let visible = bundle.leads_to(situation, &ask.resource);
        match bundle.rights(situation, &ask.role, &ask.resource) {
            Some(rights) if visible && ask.limits.narrow(rights.clone()).is_nothing() => Err(Refusal::because(
                Reason::NotInRole,
                format!("of `{}` on `{}` nothing is left with {}", ask.role, ask.resource, ask.limits),
            )),
            // Unknown names are for policy to answer.
            _ => Ok(()),
        }
    }

    async fn store_request(
        &self,
        caller: &Caller,
        situation: &Situation,
        ask: &AccessRequest,
        (verdict, terms): (&Verdict, Terms),
        known: Option<&[GrantId]>,
    ) -> Result<Submitted, CommitError> {
        let now = self.now();
        let id = RequestId::generate(now);
        let expires_at = terms.pending_for.after(now);
        let (risk, says) = unusual(situation, &ask.resource);
        let submitted = self
            .draft(
                caller,
                Event::RequestSubmitted {
                    request: id,
                    person: caller.who.id(),
                    resource: ask.resource.clone(),
                    role: ask.role.clone(),
                    asked: ask.asked,
                    limits: ask.limits.clone(),
                    break_glass: ask.break_glass,
                    extends: None,
                    mfa: situation.mfa,
                    claims: caller.who.claims().cloned(),
                    terms,
                    bundle: verdict.bundle().to_owned(),
                    policy: verdict.policies().first().cloned().unwrap_or_default(),
                    expires_at,
                    risk,
                },
            )
            .text("risk_says", says)
            .text("reason", ask.reason.clone())
            .text("ticket", ask.ticket.clone())
            .text("from", caller.from());
        let row = submitted_row(&submitted);
        let mut change = Change::new(submitted);
        if let (Some(row), Some(known)) = (&row, known) {
            change = change.only_beside(row, known);
        }
        let mut grant = None;
        if let (Some(row), Answer::Permit { .. }) = (row, verdict.answer())
            && let Ok(approved) = ApprovedRequest::by_policy(row, verdict.clone())
        {
            let (next, id) = self.grant_approved(change, approved, self.bundle.load().freeze(situation, &Ask::from(ask)));
            change = next;
            grant = Some(id);
        }
        let committed = self.commit(change).await?;
        let request = committed.rows.requests.values().next().cloned();
        let grant = grant.and_then(|id| committed.rows.grants.get(&id.to_string()).cloned());
        let request = request.ok_or_else(|| CommitError::Conflict { table: "requests", key: id.to_string() })?;
        Ok(Submitted { request, grant, verdict: Some(verdict.clone()) })
    }

    /// Adds to a change what an approved request becomes: its approval, its grant, and for an emergency the review it owes.
    pub(crate) fn grant_approved(&self, change: Change, approved: ApprovedRequest, frozen: Frozen) -> (Change, GrantId) {
        let now = self.now();
        let grant = GrantId::generate(now);
        let row = approved.request();
        let length = length_of(row.asked, &row.terms);
        let (request, person) = (row.id, row.person);
        let review = row.terms.break_glass.clone().filter(|_| row.break_glass);
        let approvers = approved.approvers().to_vec();
        let mut change = change
            .and(self.own_draft(Event::RequestApproved { request, approvers }))
            .and(self.own_draft(approved.into_grant(grant, length, frozen, now)));
        if let Some(terms) = review {
            change = change.and(self.own_draft(Event::ReviewOpened {
                review: ReviewId::generate(now),
                kind: ReviewKind::BreakGlass,
                grant,
                session: None,
                person,
                reviewers: terms.reviewers,
                due_at: terms.review_within.after(now),
            }));
        }
        (change, grant)
    }

    /// The pending request for the same person, resource and role.
    async fn join(&self, caller: &Caller, ask: &AccessRequest) -> Result<Submitted, NotAsked> {
        let pending = self.store.pending_request(caller.who.id(), &ask.resource, &ask.role).await.map_err(unavailable)?;
        let request = pending.ok_or(NotAsked::Decided)?;
        if request.claims.as_ref() != caller.who.claims() {
            // INVARIANT: nobody waits for what people agree to for another job.
            let other = request.claims.map_or_else(|| "no job".to_owned(), |job| job.to_string());
            let detail = format!("it is pending for `{}` as {other}, and a job shares nothing with another one", caller.who.username());
            return Err(Refusal::because(Reason::AlreadyAsked, detail).about(request.id).into());
        }
        if !ask.break_glass && request.limits != ask.limits {
            let detail = format!("you asked for the same limited to {} before; change or cancel that", request.limits);
            return Err(Refusal::because(Reason::AlreadyAsked, detail).about(request.id).into());
        }
        Ok(Submitted { request, grant: None, verdict: None })
    }

    /// Enters a refused request in the log; if that fails, the refusal is that.
    pub(crate) async fn refuse_request(&self, caller: &Caller, ask: &AccessRequest, refusal: Refusal) -> Refusal {
        let draft = self
            .draft(
                caller,
                Event::RequestRefused {
                    person: caller.who.id(),
                    resource: ask.resource.clone(),
                    role: Some(ask.role.clone()),
                    bundle: refusal.bundle().unwrap_or_else(|| self.bundle.load().digest().to_owned()),
                    policies: refusal.policies(),
                    reason: refusal.reason,
                },
            )
            .text("reason", ask.reason.as_ref().map(|r| r.chars().take(LONGEST_TEXT).collect::<String>()))
            .text("detail", refusal.detail.clone())
            .text("from", caller.from());
        match self.commit(Change::new(draft)).await {
            Ok(_) => self.as_may_be_known(caller, ask, refusal).await,
            Err(error) => refused(error),
        }
    }

    /// The refusal as its asker may know it: of a resource that they may not know of, they are told just what they would be told if it
    /// didn't exist. The log knows better.
    async fn as_may_be_known(&self, caller: &Caller, ask: &AccessRequest, refusal: Refusal) -> Refusal {
        let situation = match self.situation(&caller.who).await {
            Ok(situation) => situation,
            Err(trouble) => return trouble,
        };
        let bundle = self.bundle();
        if bundle.leads_to(&situation, &ask.resource) {
            return refusal;
        }
        match self.admit_anywhere(caller, ask).await {
            Err(first) => first,
            Ok(()) => bundle.unseen(&situation, &ask.resource),
        }
    }

    /// The asker takes a pending request back.
    ///
    /// # Errors
    /// If it is not theirs, or already decided.
    pub async fn cancel(&self, caller: &Caller, request: impl Into<AsSeen<RequestId>>) -> Result<RequestRow, Refusal> {
        let AsSeen { id: request, seen } = request.into();
        let row = self.own_request(caller, request).await?;
        seen.is(row.version)?;
        let change = Change::new(self.draft(caller, Event::RequestCancelled { request })).expect(&row);
        let committed = self.commit_seen(change, &row, &seen).await?;
        let row = committed.rows.requests.into_values().next().ok_or_else(|| Refusal::of(Reason::NotFound))?;
        self.tell_of_extension(&row, None).await;
        Ok(row)
    }

    /// The asker changes a pending request. Votes given so far no longer count.
    ///
    /// # Errors
    /// If it is not theirs, already decided, or policy refuses it as it would be.
    pub async fn edit(&self, caller: &Caller, request: impl Into<AsSeen<RequestId>>, ask: AccessRequest) -> Result<RequestRow, Refusal> {
        self.came(caller.who.id(), caller.who.from()).await;
        let AsSeen { id: request, seen } = request.into();
        let row = self.own_request(caller, request).await?;
        seen.is(row.version)?;
        match self.try_edit(caller, row, &seen, &ask).await {
            Ok(row) => Ok(row),
            Err(refusal) => Err(self.refuse_request(caller, &ask, refusal.about(request)).await),
        }
    }

    async fn try_edit(&self, caller: &Caller, row: RequestRow, seen: &Seen, ask: &AccessRequest) -> Result<RequestRow, Refusal> {
        let request = row.id;
        if row.extends.is_some() && row.limits != ask.limits {
            return Err(Refusal::because(Reason::Invalid, "an extension has the limits of its grant"));
        }
        if row.resource != ask.resource || row.role != ask.role || row.break_glass != ask.break_glass {
            return Err(Refusal::because(
                Reason::Invalid,
                "only time, reason, ticket and limits of a request can be changed; cancel it and ask anew",
            ));
        }
        let situation = self.situation_asking(&caller.who, &asking(ask)).await?;
        let verdict = self.admit(caller, &situation, ask).await?;
        if matches!(verdict.answer(), Answer::Permit { .. }) {
            return Err(Refusal::because(
                Reason::Invalid,
                "like this nobody has to agree; cancel the request and ask anew, it opens at once",
            ));
        }
        let terms = terms_of(&verdict)?;
        let ticket = self.refuse_ticket_unless(&terms, ask.ticket.as_deref()).await;
        ticket.map_err(|refusal| refusal.ruled_by(verdict.bundle(), verdict.policies()))?;
        let (risk, says) = unusual(&situation, &ask.resource);
        let draft = self
            .draft(
                caller,
                Event::RequestEdited {
                    request,
                    asked: ask.asked,
                    limits: ask.limits.clone(),
                    mfa: situation.mfa,
                    expires_at: terms.pending_for.after(self.now()),
                    terms,
                    bundle: verdict.bundle().to_owned(),
                    policy: verdict.policies().first().cloned().unwrap_or_default(),
                    risk,
                },
            )
            .text("risk_says", says)
            .text("reason", ask.reason.clone())
            .text("ticket", ask.ticket.clone())
            .text("from", caller.from());
        let committed = self.commit_seen(Change::new(draft).expect(&row), &row, seen).await?;
        committed.rows.requests.into_values().next().ok_or_else(|| Refusal::of(Reason::NotFound))
    }

    /// A request of the caller's own; anybody else's is as one that doesn't exist.
    async fn own_request(&self, caller: &Caller, request: RequestId) -> Result<RequestRow, Refusal> {
        let row = self.store.request(request).await.map_err(unavailable)?;
        let own = |row: &RequestRow| row.person == caller.who.id() && row.claims.as_ref() == caller.who.claims();
        row.filter(own).ok_or_else(|| Refusal::of(Reason::NotFound).about(request))
    }
}

/// How long a request asks for, within its terms; `None`: standing.
pub(crate) fn length_of(asked: Asked, terms: &Terms) -> Option<Span> {
    match asked {
        Asked::Standing => None,
        Asked::Default => Some(terms.default.min(terms.max)),
        Asked::For(span) => Some(span.min(terms.max)),
    }
}

/// Refuses a text of somebody's that is longer than so many characters; `what` it is stands in the sentence.
pub(crate) fn fits(what: &str, text: Option<&str>, most: usize) -> Result<(), Refusal> {
    if text.is_some_and(|text| text.chars().count() > most) {
        return Err(Refusal::because(Reason::Invalid, format!("{what} has at most {most} characters")));
    }
    Ok(())
}

/// The row that a submission will make.
fn submitted_row(draft: &access::event::EntryDraft) -> Option<RequestRow> {
    let mut rows = access::fold::Tables::default();
    access::fold::apply(&mut rows, &draft.clone().seal()).ok()?;
    rows.requests.into_values().next()
}
