//! A grant ends before its time: revoked by somebody who may, given back by its holder, or its session killed.
//!
//! *Takes* a grant or session and the proof of who ends it. *Proves* that they may. *Hands to* live sessions the cut, and says
//! of each whether its end was seen at the target.

use std::time::Duration;

use access::event::Event;
use access::grant::{GrantRow, GrantState};
use access::identity::Scope;
use access::ids::{GrantId, SessionId};
use access::reason::{Reason, Refusal};
use access::session::{EndReason, SessionState};
use policy::{Act, Noun, Object};
use serde::Serialize;
use store::Change;

use crate::Caller;
use crate::gate::{Gate, unavailable};
use crate::live::Gone;
use crate::seen::AsSeen;
use crate::submit::{LONGEST_TEXT, fits};

/// How long a report of a cut waits for the targets to confirm.
const CONFIRM_WITHIN: Duration = Duration::from_secs(5);

/// What a cut did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// Sessions that are gone, seen at the target.
    pub confirmed: Vec<SessionId>,
    /// Sessions that are cut off from their user, whose end at the target was not seen yet.
    pub unconfirmed: Vec<SessionId>,
    /// Sessions that went on, because another grant of the same person, role and resource covers them.
    pub rehomed: Vec<SessionId>,
    /// Grants that still open the same door to the same person.
    pub still_open: Vec<GrantId>,
}

impl Gate {
    /// Takes a grant away and cuts every session that stands on it.
    ///
    /// # Errors
    /// If the caller may not, or it has ended already.
    pub async fn revoke(
        &self,
        caller: &Caller,
        grant: impl Into<AsSeen<GrantId>>,
        reason: Option<String>,
    ) -> Result<(GrantRow, Cut), Refusal> {
        let AsSeen { id: grant, seen } = grant.into();
        let found = self.store.grant(grant).await.map_err(unavailable)?;
        let row = self.visible_grant(caller, found).await?;
        // Who may end a session of this access may end the access.
        let on = Object::Session(self.about_grant(&row).await?);
        if self.allowed(caller, Act::Terminate, &on).await.is_err() {
            self.authorize(caller, Act::Administer(Noun::Grant), &Object::Nothing).await?;
        }
        fits("a reason", reason.as_deref(), LONGEST_TEXT)?;
        seen.is(row.version)?;
        if row.state == GrantState::Ended {
            // Nothing should stand on it any more; if something does, it ends here.
            self.live.cut(EndReason::Revoked, |live| live.grant == grant);
            return Err(Refusal::of(Reason::GrantEnded));
        }
        let still_open = self.others_open(&row).await?;
        // INVARIANT: unless the caller says so, the cut does not depend on the version read; a grant that changed meanwhile is
        // revoked as it is now.
        let draft = self.draft(caller, Event::GrantRevoked { grant, still_open: still_open.clone() }).text("reason", reason);
        let committed = self.commit_seen(Change::new(draft), &row, &seen).await?;
        let gone = self.live.cut(EndReason::Revoked, |live| live.grant == grant);
        let mut cut = confirm(gone).await;
        cut.still_open = still_open;
        let row = committed.rows.grants.into_values().next().unwrap_or(row);
        Ok((row, cut))
    }

    /// The holder gives a grant back. Its sessions go on if another grant of theirs covers them, else they end.
    ///
    /// # Errors
    /// If it is not theirs, or it has ended already.
    pub async fn give_back(&self, caller: &Caller, grant: impl Into<AsSeen<GrantId>>) -> Result<(GrantRow, Cut), Refusal> {
        let AsSeen { id: grant, seen } = grant.into();
        let row = self.own_grant(caller, grant).await?;
        seen.is(row.version)?;
        if row.state == GrantState::Ended {
            return Err(Refusal::of(Reason::GrantEnded));
        }
        // Read before, so that nothing stands between the entry and the cut.
        let still_open = self.others_open(&row).await?;
        let change = Change::new(self.draft(caller, Event::GrantReturned { grant }));
        let committed = self.commit_seen(change, &row, &seen).await?;
        let mut cut = Cut { still_open, ..Cut::default() };
        let mut gone = Vec::new();
        for session in self.live.of_grant(grant) {
            if self.rehome(session, &row).await {
                cut.rehomed.push(session);
            } else {
                gone.extend(self.live.cut(EndReason::Expired, |live| live.session == session));
            }
        }
        let closed = confirm(gone).await;
        cut.confirmed = closed.confirmed;
        cut.unconfirmed = closed.unconfirmed;
        let row = committed.rows.grants.into_values().next().unwrap_or(row);
        Ok((row, cut))
    }

    /// Ends one session by hand; its grant stays.
    ///
    /// # Errors
    /// If the caller may not, or it has ended already.
    pub async fn kill(&self, caller: &Caller, session: impl Into<AsSeen<SessionId>>, reason: Option<String>) -> Result<Cut, Refusal> {
        let AsSeen { id: session, seen } = session.into();
        let row = self.store.session(session).await.map_err(unavailable)?;
        let row = self.visible_session(caller, row).await?;
        if !self.is_own_session(caller, &row).await? {
            self.authorize(caller, Act::Terminate, &Object::Session(self.about_session(&row).await?)).await?;
        } else if !caller.who.may(Scope::Ask) {
            // As giving a grant back.
            let refusal = Refusal::because(Reason::ScopeMissing, "the token lacks the scope `ask`");
            return Err(self.enter_action_refused(caller, "terminate", session.to_string(), refusal).await);
        }
        fits("a reason", reason.as_deref(), LONGEST_TEXT)?;
        seen.is(row.version)?;
        if row.state == SessionState::Ended {
            return Err(Refusal::of(Reason::SessionEnded));
        }
        let draft = self.draft(caller, Event::SessionKilled { session }).text("reason", reason);
        self.commit_seen(Change::new(draft), &row, &seen).await?;
        Ok(confirm(self.live.cut(EndReason::Killed, |live| live.session == session)).await)
    }

    /// Other grants that open the same door to the same person; for a workload, to the same job of it.
    pub(crate) async fn others_open(&self, row: &GrantRow) -> Result<Vec<GrantId>, Refusal> {
        let open = self.store.open_grants_for(row.person, &row.resource, &row.role).await.map_err(unavailable)?;
        Ok(open.into_iter().filter(|g| g.id != row.id && g.frozen.claims == row.frozen.claims).map(|g| g.id).collect())
    }

    /// Stands a session on another active grant that is at least as wide; false if there is none.
    pub(crate) async fn rehome(&self, session: SessionId, from: &GrantRow) -> bool {
        // INVARIANT: what a connect token opened ends with the grant the token is for.
        if self.live.is_bound(session) {
            return false;
        }
        let Ok(open) = self.store.open_grants_for(from.person, &from.resource, &from.role).await else { return false };
        let now = self.now();
        let wide_enough = |g: &GrantRow| {
            g.id != from.id
                // INVARIANT: what one job of a workload was given, no other job of it uses.
                && g.frozen.claims == from.frozen.claims
                && g.state == GrantState::Active
                && g.ends_at.is_none_or(|end| end > now)
                && from.limits.within(&g.limits)
                // What it is recorded with must be enough for the grant it moves to.
                && g.terms.record <= from.terms.record
                && g.terms.durability <= from.terms.durability
        };
        // Rather on one that people agreed to than on one that a tier merely let through.
        let Some(to) = open.into_iter().filter(wide_enough).min_by_key(|g| g.terms.observed_until.is_some()) else { return false };
        let mut change = Change::new(self.own_draft(Event::SessionRehomed { session, from_grant: from.id, to_grant: to.id }));
        if let Some(until) = to.terms.observed_until {
            change = change.and(self.own_draft(Event::SessionObserved { session, tier: to.terms.tier.clone(), until }));
        }
        // INVARIANT: found under the new grant before that is entered, so that a revocation right behind it cuts.
        self.live.stand_on(session, to.id);
        if self.commit(change.expect(&to)).await.is_err() {
            self.live.stand_on(session, from.id);
            return false;
        }
        self.live.rehome(session, to.id, to.ends_at);
        true
    }
}

/// Waits, for a bounded time, until each cut session is gone.
pub(crate) async fn confirm(gone: Vec<(SessionId, Gone)>) -> Cut {
    let deadline = tokio::time::Instant::now() + CONFIRM_WITHIN;
    let mut cut = Cut::default();
    for (session, mut gone) in gone {
        let seen = tokio::time::timeout_at(deadline, gone.wait_for(Option::is_some)).await;
        match seen {
            Ok(Ok(confirmed)) if *confirmed == Some(true) => cut.confirmed.push(session),
            _ => cut.unconfirmed.push(session),
        }
    }
    cut
}
