//! Rows as they are shown, with people by name.

use std::collections::HashMap;

use access::approval::VoteRow;
use access::grant::GrantRow;
use access::identity::{KeyRow, PersonRow};
use access::ids::PrincipalId;
use access::lock::{LockRow, LockScope};
use access::request::{Asked, RequestRow};
use access::review::ReviewRow;
use access::session::SessionRow;
use access::verdict::{Answer as Said, PathReport, Verdict};
use workflow::Gate;
use workflow::read::TokenRow;
use workflow::revoke::Cut;

use crate::problem::Answer;
use crate::types::requests::AnswerCode;
use crate::types::risk::Risk;
use crate::types::who::Who;
use crate::types::{grants, keys, locks, requests, reviews, sessions, tokens, users};

/// Shows rows; looks up each person once.
pub(crate) struct Shown<'g> {
    gate: &'g Gate,
    known: HashMap<PrincipalId, Who>,
}

impl<'g> Shown<'g> {
    pub(crate) fn new(gate: &'g Gate) -> Self {
        Self { gate, known: HashMap::new() }
    }

    pub(crate) async fn who(&mut self, id: PrincipalId) -> Answer<Who> {
        if let Some(who) = self.known.get(&id) {
            return Ok(who.clone());
        }
        let row = self.gate.store().person(id).await?;
        let who = match row {
            Some(row) => Who { id, username: Some(row.username), display_name: row.display_name },
            None => Who { id, username: None, display_name: None },
        };
        self.known.insert(id, who.clone());
        Ok(who)
    }

    pub(crate) async fn whos(&mut self, ids: Vec<PrincipalId>) -> Answer<Vec<Who>> {
        let mut out = Vec::with_capacity(ids.len());
        for id in ids {
            out.push(self.who(id).await?);
        }
        Ok(out)
    }

    /// What a resource speaks, if the policy in force names it.
    fn kind_of(&self, resource: &access::names::ResourceName) -> Option<String> {
        self.gate.bundle().resource(resource).map(|found| found.kind.to_string())
    }

    pub(crate) async fn user(&mut self, row: PersonRow) -> Answer<users::User> {
        let PersonRow { id, username, display_name, owner, groups, state, created_at, version } = row;
        let owner = match owner {
            Some(owner) => Some(self.who(owner.into()).await?),
            None => None,
        };
        let directory = self.gate.directory_that_brought(id).await?;
        Ok(users::User { id, username, display_name, owner, groups: groups.0, directory, state, created_at, version })
    }

    pub(crate) async fn request(&mut self, row: RequestRow) -> Answer<requests::Request> {
        let person = self.who(row.person).await?;
        let RequestRow {
            id,
            person: _,
            resource,
            role,
            asked,
            reason,
            ticket,
            limits,
            break_glass,
            extends,
            door,
            network,
            mfa,
            claims,
            terms,
            bundle,
            policy,
            risk,
            risk_says,
            state,
            revision,
            submitted_at,
            expires_at,
            decided_at,
            version,
        } = row;
        Ok(requests::Request {
            id,
            person,
            kind: self.kind_of(&resource),
            resource,
            role,
            duration: asked,
            reason,
            ticket_url: ticket.as_deref().and_then(|ticket| self.gate.page_of_ticket(ticket)),
            ticket,
            limits: limits.into(),
            break_glass,
            extends,
            door,
            network: network.map(|address| address.to_string()),
            mfa,
            job: claims.map(Into::into),
            terms: terms.into(),
            bundle,
            policy,
            risk: risk.map(|risk| Risk::of(risk, risk_says.iter().flat_map(|says| says.lines()).map(str::to_owned).collect())),
            state,
            revision,
            submitted_at,
            expires_at,
            decided_at,
            version,
        })
    }

    pub(crate) async fn vote(&mut self, row: VoteRow, of: (PrincipalId, i64)) -> Answer<requests::Vote> {
        let (asker, revision) = of;
        Ok(requests::Vote {
            id: row.id,
            voter: self.who(row.voter).await?,
            decision: row.decision,
            revision: row.revision,
            counts: row.revision == revision,
            signed: row.signature.is_some(),
            invited_by_asker: self.gate.invited(asker, row.voter).await?,
            note: row.note,
            at: row.at,
        })
    }

    pub(crate) async fn grant(&mut self, row: GrantRow) -> Answer<grants::Grant> {
        let person = self.who(row.person).await?;
        let GrantRow {
            id,
            request,
            person: _,
            resource,
            role,
            limits,
            terms,
            length,
            break_glass,
            bundle,
            policy,
            approvers,
            frozen,
            state,
            created_at,
            activate_by,
            starts_at,
            ends_at,
            ended_at,
            end,
            version,
        } = row;
        Ok(grants::Grant {
            id,
            request,
            person,
            kind: self.kind_of(&resource),
            resource,
            role,
            limits: limits.into(),
            terms: terms.into(),
            length: length.map_or(Asked::Standing, Asked::For),
            break_glass,
            bundle,
            policy,
            approvers: self.whos(approvers.0).await?,
            job: frozen.claims.map(Into::into),
            state,
            created_at,
            activate_by,
            starts_at,
            ends_at,
            ended_at,
            end,
            version,
        })
    }

    pub(crate) async fn maybe_grant(&mut self, row: Option<GrantRow>) -> Answer<Option<grants::Grant>> {
        match row {
            Some(row) => self.grant(row).await.map(Some),
            None => Ok(None),
        }
    }

    pub(crate) async fn session(&mut self, row: SessionRow) -> Answer<sessions::Session> {
        let person = self.who(row.person).await?;
        let SessionRow {
            id,
            grant,
            person: _,
            resource,
            role,
            protocol,
            recording,
            node,
            state,
            opened_at,
            ended_at,
            end,
            confirmed,
            bytes_up,
            bytes_down,
            recording_chunks,
            recording_digest,
            from: _,
            steps,
            alerts,
            version,
        } = row;
        Ok(sessions::Session {
            id,
            grant,
            person,
            resource,
            role,
            protocol,
            recording,
            node,
            state,
            opened_at,
            ended_at,
            end,
            confirmed,
            bytes_up,
            bytes_down,
            recording_chunks,
            recording_digest,
            steps,
            alerts: alerts.0.into_iter().map(Into::into).collect(),
            version,
        })
    }

    pub(crate) async fn lock(&mut self, row: LockRow) -> Answer<locks::Lock> {
        let LockRow { id, scope, reason, state, set_at, until, lifted_at, contains, transmitter, version } = row;
        let person = match &scope {
            LockScope::Person(id) => Some(self.who(*id).await?),
            LockScope::Role(_) | LockScope::Resource(_) | LockScope::Network(_) => None,
        };
        Ok(locks::Lock { id, scope, person, reason, state, set_at, until, lifted_at, contains, transmitter, version })
    }

    pub(crate) async fn review(&mut self, row: ReviewRow) -> Answer<reviews::Review> {
        let person = self.who(row.person).await?;
        let done_by = match row.done_by {
            Some(id) => Some(self.who(id).await?),
            None => None,
        };
        let overdue = row.is_overdue(self.gate.now());
        let ReviewRow { id, kind, grant, session, person: _, reviewers, due_at, state, outcome, .. } = row;
        let ReviewRow { note, follow_ups, reminded_at, escalated_to, opened_at, done_at, version, .. } = row;
        let held = self.gate.store().grant(grant).await?;
        let (resource, role) = held.map_or((None, None), |held| (Some(held.resource), Some(held.role)));
        let follow_ups = follow_ups.iter().flat_map(|lines| lines.lines()).map(str::to_owned).collect();
        Ok(reviews::Review {
            id,
            kind,
            grant,
            session,
            resource,
            role,
            person,
            reviewers,
            due_at,
            overdue,
            state,
            outcome,
            done_by,
            note,
            follow_ups,
            reminded_at,
            escalated_to,
            opened_at,
            done_at,
            version,
        })
    }
}

/// A key, as it is shown.
pub(crate) fn key(row: KeyRow) -> keys::Key {
    let KeyRow { id, person, kind, fingerprint, public_key, label, state, added_at, expires_at, claims: _, version } = row;
    keys::Key { id, person, kind, fingerprint, public_key, label, state, added_at, expires_at, version }
}

/// A token, without what verifies it.
pub(crate) fn token(row: TokenRow) -> tokens::Token {
    let TokenRow {
        id,
        person,
        made_by: _,
        verifier: _,
        scopes,
        grant,
        mfa,
        claims: _,
        assertion: _,
        identity: _,
        sid: _,
        label,
        created_at,
        expires_at,
        revoked_at,
    } = row;
    tokens::Token { id, person, scopes: scopes.0, grant, mfa, label, created_at, expires_at, revoked_at }
}

/// A token just made, with its secret.
pub(crate) fn issued(issued: workflow::tokens::IssuedToken) -> tokens::IssuedToken {
    tokens::IssuedToken { token: token(issued.row), secret: issued.token.expose().clone() }
}

/// What a cut did, as it is shown.
pub(crate) fn cut(cut: Cut) -> grants::Cut {
    let Cut { confirmed, unconfirmed, rehomed, still_open } = cut;
    grants::Cut { confirmed, unconfirmed, rehomed, still_open }
}

/// The four words.
pub(crate) fn answer_code(said: &Said) -> AnswerCode {
    match said {
        Said::Permit { .. } => AnswerCode::Permit,
        Said::NeedsApproval { .. } => AnswerCode::NeedsApproval,
        Said::StepUp { .. } => AnswerCode::StepUp,
        Said::Deny { .. } => AnswerCode::Deny,
    }
}

/// What policy says about one access.
pub(crate) fn verdict(verdict: &Verdict, resource: access::names::ResourceName, role: access::names::RoleName) -> requests::Verdict {
    let mut out = requests::Verdict {
        answer: answer_code(verdict.answer()),
        resource,
        role,
        reason: None,
        detail: None,
        needs: None,
        terms: None,
        bundle: verdict.bundle().to_owned(),
        policies: verdict.policies().to_vec(),
        why: paths(verdict.paths()),
        risk: None,
    };
    match verdict.answer() {
        Said::Permit { terms } | Said::NeedsApproval { terms } => out.terms = Some(terms.clone().into()),
        Said::StepUp { needs, terms } => {
            out.needs = Some(requests::StepUp { mfa: needs.mfa, ticket: needs.ticket });
            out.terms = Some(terms.clone().into());
        }
        Said::Deny { reason, detail } => {
            out.reason = Some(*reason);
            out.detail = Some(detail.clone());
        }
    }
    out
}

/// Every path that was looked at.
pub(crate) fn paths(paths: &[PathReport]) -> Vec<requests::PathReport> {
    paths.iter().map(|p| requests::PathReport { policy: p.policy.clone(), outcome: p.outcome.clone(), chosen: p.chosen }).collect()
}
