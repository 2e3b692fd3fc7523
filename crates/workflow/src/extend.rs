//! More time, without dropping the session.
//!
//! *Takes* an active grant and a longer time. *Proves* anew everything that asking proves. *Hands to* live sessions a later end.

use access::approval::ApprovedRequest;
use access::event::Event;
use access::grant::{GrantRow, GrantState};
use access::ids::{GrantId, RequestId};
use access::names::Selector;
use access::reason::{Reason, Refusal};
use access::request::{AccessRequest, Asked, RequestRow, RequestState};
use access::time::Span;
use access::verdict::{Answer, Terms};
use jiff::Timestamp;
use policy::Ask;
use store::{Change, CommitError};

use crate::Caller;
use crate::activate::is_for;
use crate::approve::Voted;
use crate::decide::{denied, terms_of};
use crate::gate::{Gate, refused, unavailable};
use crate::risk::unusual;
use crate::seen::{AsSeen, Seen};
use crate::step_up::asking;
use crate::submit::{Submitted, length_of};

impl Gate {
    /// The holder asks for `more` time from now on. The answer is a request like any other; where nobody has to agree, the end has moved already.
    /// A pending request for more time on the same grant is joined, not doubled.
    ///
    /// # Errors
    /// If the grant is not theirs or not active, or policy refuses so much time.
    pub async fn extend(
        &self,
        caller: &Caller,
        grant: impl Into<AsSeen<GrantId>>,
        more: Span,
        reason: Option<String>,
    ) -> Result<Submitted, Refusal> {
        self.came(caller.who.id(), caller.who.from()).await;
        let AsSeen { id: grant, seen } = grant.into();
        let row = self.own_grant(caller, grant).await?;
        seen.is(row.version)?;
        if row.state != GrantState::Active {
            return Err(Refusal::of(if row.state == GrantState::Ready { Reason::NotActivated } else { Reason::GrantEnded }));
        }
        match row.ends_at {
            None => return Err(Refusal::because(Reason::Invalid, "a standing grant has no end to move")),
            // Its time is up, though that may not be entered yet.
            Some(end) if end <= self.now() => return Err(Refusal::of(Reason::GrantEnded)),
            Some(_) => {}
        }
        if row.break_glass {
            return Err(Refusal::because(
                Reason::NotBreakGlass,
                "an emergency is not made longer; break the glass again, or ask the ordinary way",
            ));
        }
        let ask = AccessRequest {
            resource: row.resource.clone(),
            role: row.role.clone(),
            asked: Asked::For(more),
            reason,
            ticket: row.frozen.ticket.clone(),
            limits: row.limits.clone(),
            break_glass: row.break_glass,
            door: caller.door,
        };
        // Who sits in a session for long proved long ago that it is them: freshly, by the same proof as for asking.
        let situation = self.situation_asking(&caller.who, &asking(&ask)).await?;
        let (risk, says) = unusual(&situation, &row.resource);
        if let Err(refusal) = self.admissible(caller, &situation, &ask).await {
            return Err(self.refuse_request(caller, &ask, refusal).await);
        }
        // INVARIANT: only what an observed tier let through goes on because it is observed. What a path gave, or people agreed to, is counted
        // as that, so more of it is theirs to give.
        let verdict = match row.terms.observed_until {
            Some(_) => self.judge_request(&situation, &ask),
            None => self.bundle.load().decide_by_paths(&situation, &Ask::from(&ask)),
        };
        let terms = match terms_of(&verdict) {
            Ok(terms) => terms,
            Err(refusal) => return Err(self.refuse_request(caller, &ask, refusal).await),
        };
        if let Err(refusal) = self.refuse_ticket_unless(&terms, ask.ticket.as_deref()).await {
            return Err(self.refuse_request(caller, &ask, refusal).await);
        }
        let now = self.now();
        let request = RequestId::generate(now);
        let draft = self
            .draft(
                caller,
                Event::RequestSubmitted {
                    request,
                    person: row.person,
                    resource: ask.resource.clone(),
                    role: ask.role.clone(),
                    asked: ask.asked,
                    limits: ask.limits.clone(),
                    break_glass: ask.break_glass,
                    extends: Some(grant),
                    mfa: situation.mfa,
                    claims: caller.who.claims().cloned(),
                    expires_at: terms.pending_for.after(now),
                    terms: terms.clone(),
                    bundle: verdict.bundle().to_owned(),
                    policy: verdict.policies().first().cloned().unwrap_or_default(),
                    risk,
                },
            )
            .text("risk_says", says)
            .text("reason", ask.reason.clone())
            .text("ticket", ask.ticket.clone())
            .text("from", caller.from());
        let mut change = Change::new(draft).expect(&row);
        let at_once = matches!(verdict.answer(), Answer::Permit { .. });
        if at_once {
            let ends_at = later(&row, more, &terms, now);
            change = change
                .and(self.own_draft(Event::RequestApproved { request, approvers: Vec::new() }))
                .and(self.own_draft(Event::GrantExtended { grant, request, ends_at }));
        }
        let committed = match self.commit(change).await {
            Ok(committed) => committed,
            // Of those who ask for more time on the same grant at once, one asks and the others join.
            Err(CommitError::Duplicate { .. }) => {
                let pending = self.store.pending_extension(grant).await.map_err(unavailable)?;
                let request = pending.ok_or_else(|| Refusal::of(Reason::AlreadyDecided))?;
                return Ok(Submitted { request, grant: None, verdict: None });
            }
            Err(CommitError::Conflict { .. }) if seen != Seen::default() => return Err(Refusal::of(Reason::Stale)),
            Err(error) => return Err(refused(error)),
        };
        let extended = committed.rows.grants.values().next().filter(|_| at_once).cloned();
        if let Some(row) = &extended {
            self.live.extend(row.id, row.ends_at);
            self.accounts.extended(row.id, row.ends_at);
        }
        let request = committed.rows.requests.into_values().next().ok_or_else(|| Refusal::of(Reason::NotFound))?;
        self.tell_of_extension(&request, None).await;
        Ok(Submitted { request, grant: extended, verdict: Some(verdict) })
    }

    /// An approved extension moves the end of its grant, if that is still open.
    pub(crate) async fn conclude_extension(&self, change: Change, approved: ApprovedRequest) -> Result<Change, Refusal> {
        let request = approved.request();
        let denied = |reason: Reason| self.own_draft(denied(request.id, &reason.into()));
        let Some(grant) = request.extends else { return Ok(change.and(denied(Reason::Invalid))) };
        let row = self.store.grant(grant).await.map_err(unavailable)?;
        let now = self.now();
        let Some(row) = row.filter(|g| g.state == GrantState::Active && g.ends_at.is_some_and(|end| end > now)) else {
            return Ok(change.and(denied(Reason::GrantEnded)));
        };
        let more = length_of(request.asked, &request.terms).unwrap_or_default();
        let ends_at = later(&row, more, &request.terms, now);
        Ok(change
            .expect(&row)
            .and(self.own_draft(Event::RequestApproved { request: request.id, approvers: approved.approvers().to_vec() }))
            .and(self.own_draft(Event::GrantExtended { grant, request: request.id, ends_at })))
    }

    /// Live sessions of an extended grant learn of their later end.
    pub(crate) async fn apply_extension(&self, caller: &Caller, voted: &Voted, note: Option<&str>) {
        if let (Some(_), Some(grant)) = (voted.request.extends, &voted.grant) {
            self.live.extend(grant.id, grant.ends_at);
            self.accounts.extended(grant.id, grant.ends_at);
        }
        self.tell_of_extension(&voted.request, Some((caller, note))).await;
    }

    /// Says in the sessions of a grant how a request to make it longer goes. That it was granted they learn by their new end.
    pub(crate) async fn tell_of_extension(&self, request: &RequestRow, by: Option<(&Caller, Option<&str>)>) {
        let Some(grant) = request.extends else { return };
        let text = match request.state {
            RequestState::Approved => return,
            // A vote that was not the last.
            RequestState::Pending if by.is_some() => return,
            RequestState::Pending => format!("You asked for {} more; it waits for approval ({}).", request.asked, request.id),
            RequestState::Denied => {
                let who = match by {
                    Some((caller, _)) => format!("{} denied your request", self.called(caller.who.id()).await),
                    None => "Your request was denied".to_owned(),
                };
                let note = by.and_then(|(_, note)| note).map(|note| format!(": {note}")).unwrap_or_default();
                format!("No more time. {who}{note}")
            }
            RequestState::Cancelled => "You took your request for more time back.".to_owned(),
            RequestState::Expired => "No more time. Nobody answered your request.".to_owned(),
        };
        self.live.tell(grant, &text);
    }

    /// The holder asks for more time where they connect, naming no grant: it is the one their sessions there stand on, or that ends
    /// first. Without a time it is the path's default.
    ///
    /// # Errors
    /// If nothing of theirs is open there, or as [`Gate::extend`].
    pub async fn extend_at(
        &self,
        caller: &Caller,
        to: &Selector,
        more: Option<Span>,
        reason: Option<String>,
    ) -> Result<Submitted, Refusal> {
        let now = self.now();
        let held = self.store.open_grants_of(caller.who.id()).await.map_err(unavailable)?;
        let here = held
            .into_iter()
            .filter(|g| is_for(g, caller) && g.resource == to.resource && to.role.as_ref().is_none_or(|role| *role == g.role))
            .filter(|g| g.ends_at.is_none_or(|end| end > now));
        let wanted = here.min_by_key(|g| {
            let longer = g.state == GrantState::Active && g.ends_at.is_some() && !g.break_glass;
            (!longer, self.live.of_grant(g.id).is_empty(), g.ends_at.unwrap_or(Timestamp::MAX))
        });
        let Some(row) = wanted else {
            self.came(caller.who.id(), caller.who.from()).await;
            let refusal = Refusal::because(Reason::GrantExpired, format!("nothing of yours is open on `{to}`"));
            self.enter_refused(caller, Some(&to.resource), to.role.as_ref(), &refusal).await;
            return Err(refusal);
        };
        let more = more.unwrap_or(row.terms.default.min(row.terms.max));
        Box::pin(self.extend(caller, row.id, more, reason)).await.map_err(|refusal| match refusal.reason {
            // A session has no place for a passkey.
            Reason::MfaRequired => {
                let why = refusal.detail.map(|detail| format!("{detail}; ")).unwrap_or_default();
                let how = format!("{why}`tidegate grant extend {} --for {more}` says where to use it, and this session goes on", row.id);
                Refusal { detail: Some(how), ..refusal }
            }
            _ => refusal,
        })
    }
}

/// The end that so much more time gives: counted from now, at most the path's longest time, never sooner than it was.
fn later(row: &GrantRow, more: Span, terms: &Terms, now: Timestamp) -> Timestamp {
    let end = more.min(terms.max).after(now);
    // INVARIANT: what is given because a tier is only observed, or was, ends with that.
    let until = [terms.observed_until, row.terms.observed_until].into_iter().flatten().min();
    until.map_or(end, |until| end.min(until)).max(row.ends_at.unwrap_or(now))
}
