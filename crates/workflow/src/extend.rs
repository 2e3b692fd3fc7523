//! More time, without dropping the session.
//!
//! *Takes* an active grant and a longer time. *Proves* anew everything that asking proves. *Hands to* live sessions a later end.

use access::approval::ApprovedRequest;
use access::event::Event;
use access::grant::{GrantRow, GrantState};
use access::ids::{GrantId, RequestId};
use access::reason::{Reason, Refusal};
use access::request::{AccessRequest, Asked};
use access::time::Span;
use access::verdict::Answer;
use jiff::Timestamp;
use store::{Change, CommitError};

use crate::Caller;
use crate::approve::Voted;
use crate::decide::terms_of;
use crate::gate::{Gate, refused, unavailable};
use crate::submit::{Submitted, length_of};

impl Gate {
    /// The holder asks for `more` time from now on. The answer is a request like any other; where nobody has to agree, the end has moved already.
    ///
    /// # Errors
    /// If the grant is not theirs or not active, or policy refuses so much time.
    pub async fn extend(&self, caller: &Caller, grant: GrantId, more: Span, reason: Option<String>) -> Result<Submitted, Refusal> {
        let row = self.own_grant(caller, grant).await?;
        if row.state != GrantState::Active {
            return Err(Refusal::of(if row.state == GrantState::Ready { Reason::NotActivated } else { Reason::GrantEnded }));
        }
        if row.ends_at.is_none() {
            return Err(Refusal::because(Reason::Invalid, "a standing grant has no end to move"));
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
        let situation = self.situation(&caller.who).await?;
        let verdict = match self.admit(caller, &situation, &ask).await {
            Ok(verdict) => verdict,
            Err(refusal) => return Err(self.refuse_request(caller, &ask, refusal).await),
        };
        let terms = match terms_of(&verdict) {
            Ok(terms) => terms,
            Err(refusal) => return Err(self.refuse_request(caller, &ask, refusal).await),
        };
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
                    mfa: caller.who.mfa(),
                    expires_at: terms.pending_for.after(now),
                    terms: terms.clone(),
                    bundle: verdict.bundle().to_owned(),
                    policy: verdict.policies().first().cloned().unwrap_or_default(),
                },
            )
            .text("reason", ask.reason.clone())
            .text("ticket", ask.ticket.clone())
            .text("from", caller.from());
        let mut change = Change::new(draft).expect(&row);
        let at_once = matches!(verdict.answer(), Answer::Permit { .. });
        if at_once {
            let ends_at = later(&row, more, terms.max, now);
            change = change
                .and(self.own_draft(Event::RequestApproved { request, approvers: Vec::new() }))
                .and(self.own_draft(Event::GrantExtended { grant, request, ends_at }));
        }
        let committed = match self.commit(change).await {
            Ok(committed) => committed,
            Err(CommitError::Duplicate { .. }) => {
                return Err(Refusal::because(Reason::Pending, "an extension of this grant is already being decided"));
            }
            Err(error) => return Err(refused(error)),
        };
        let extended = committed.rows.grants.values().next().filter(|_| at_once).cloned();
        if let Some(row) = &extended {
            self.live.extend(row.id, row.ends_at);
        }
        let request = committed.rows.requests.into_values().next().ok_or_else(|| Refusal::of(Reason::NotFound))?;
        Ok(Submitted { request, grant: extended, verdict: Some(verdict) })
    }

    /// An approved extension moves the end of its grant, if that is still open.
    pub(crate) async fn conclude_extension(&self, change: Change, approved: ApprovedRequest) -> Result<Change, Refusal> {
        let request = approved.request();
        let denied = |reason| self.own_draft(Event::RequestDenied { request: request.id, reason });
        let Some(grant) = request.extends else { return Ok(change.and(denied(Reason::Invalid))) };
        let row = self.store.grant(grant).await.map_err(unavailable)?;
        let now = self.now();
        let Some(row) = row.filter(|g| g.state == GrantState::Active && g.ends_at.is_some_and(|end| end > now)) else {
            return Ok(change.and(denied(Reason::GrantEnded)));
        };
        let more = length_of(request.asked, &request.terms).unwrap_or_default();
        let ends_at = later(&row, more, request.terms.max, now);
        Ok(change
            .expect(&row)
            .and(self.own_draft(Event::RequestApproved { request: request.id, approvers: approved.approvers().to_vec() }))
            .and(self.own_draft(Event::GrantExtended { grant, request: request.id, ends_at })))
    }

    /// Live sessions of an extended grant learn of their later end.
    pub(crate) async fn apply_extension(&self, voted: &Voted) {
        if let (Some(_), Some(grant)) = (voted.request.extends, &voted.grant) {
            self.live.extend(grant.id, grant.ends_at);
        }
    }
}

/// The end that so much more time gives: counted from now, at most the path's longest time, never sooner than it was.
fn later(row: &GrantRow, more: Span, max: Span, now: Timestamp) -> Timestamp {
    more.min(max).after(now).max(row.ends_at.unwrap_or(now))
}
