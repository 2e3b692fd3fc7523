//! `/requests`: asking, and deciding.

use access::approval::{Decision, missing};
use access::ids::RequestId;
use access::names::Selector;
use access::reason::{Reason, Refusal};
use access::request::{AccessRequest, IdentifiedRequest, RequestRow};
use access::time::Span;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::read::RequestFilter;
use workflow::seen::AsSeen;
use workflow::{Caller, Gate};

use crate::caller::{Asks, Reads, SignedIn};
use crate::extract::{Asked, Body, Id};
use crate::idempotency::ShownOnce;
use crate::listing::{Listing, listed, page};
use crate::problem::{Answer, Refused};
use crate::shown::{self, Shown};
use crate::state::ApiState;
use crate::types::list::Page;
use crate::types::passkeys::ToSign;
use crate::types::requests::{
    AnswerCode, NewRequest, NewVote, Request, RequestAnswer, RequestDetail, RequestEdit, RequestsOf, RequestsQuery, StageProgress, Verdict,
    Voted,
};
use crate::types::risk::Risk;
use crate::types::schema;
use crate::version::{IfMatch, etag};
use crate::worded::in_words;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(preview))
        .routes(routes!(show, edit))
        .routes(routes!(signature))
        .routes(routes!(approve))
        .routes(routes!(deny))
        .routes(routes!(cancel))
}

/// Asks for a role on a resource.
///
/// A pending request for the same is joined, not doubled.
#[utoipa::path(post, path = "/requests", tag = "requests", request_body = NewRequest, responses(
    (status = 201, description = "Permitted: the grant is there", body = RequestAnswer),
    (status = 202, description = "People are asked", body = RequestAnswer),
))]
async fn create(State(state): State<ApiState>, Asks(caller): Asks, Body(new): Body<NewRequest>) -> Answer<impl IntoResponse> {
    // 1. What is meant.
    let activate = new.activate;
    let ask = meant(&state.gate, &caller, new).await?;
    // 2. Ask; a no says which policies said it.
    let submitted = match state.gate.submit(&caller, ask.clone()).await {
        Ok(submitted) => submitted,
        Err(refusal) => {
            let verdict = state.gate.preview(&IdentifiedRequest::new(ask, caller.who.clone())).await;
            let answer = match verdict {
                Ok(verdict) if shown::answer_code(verdict.answer()) == AnswerCode::StepUp => AnswerCode::StepUp,
                _ => AnswerCode::Deny,
            };
            return Err(Refused::from(refusal).with_answer(answer));
        }
    };
    // 3. Start the clock, if that was asked and nobody has to agree.
    let (grant, not_activated) = match submitted.grant {
        Some(grant) if activate => match state.gate.activate(&caller, grant.id).await {
            Ok(active) => (Some(active), None),
            // It is theirs all the same, and they are told of it.
            Err(refusal) => (Some(grant), Some(refusal.to_string())),
        },
        other => (other, None),
    };
    // 4. Say what came of it.
    let (status, answer) =
        if grant.is_some() { (StatusCode::CREATED, AnswerCode::Permit) } else { (StatusCode::ACCEPTED, AnswerCode::NeedsApproval) };
    let policies = match &submitted.verdict {
        Some(verdict) => verdict.policies().to_vec(),
        None => vec![submitted.request.policy.clone()],
    };
    let why = submitted.verdict.as_ref().map(|verdict| shown::paths(verdict.paths())).unwrap_or_default();
    let joined = submitted.verdict.is_none();
    let mut show = Shown::new(&state.gate);
    let tag = etag(submitted.request.version);
    let (request, grant) = (show.request(submitted.request).await?, show.maybe_grant(grant).await?);
    Ok((status, tag, Json(RequestAnswer { answer, request, grant, not_activated, joined, policies, why })))
}

/// What would happen if one asked. Nothing is kept of the question.
#[utoipa::path(post, path = "/requests/preview", tag = "requests", request_body = NewRequest, responses((status = 200, body = Verdict)))]
async fn preview(State(state): State<ApiState>, Asks(caller): Asks, Body(new): Body<NewRequest>) -> Answer<Json<Verdict>> {
    let ask = meant(&state.gate, &caller, new).await?;
    let (resource, role) = (ask.resource.clone(), ask.role.clone());
    let access::risk::Assessment { risk, says } = state.gate.risk(&caller, &resource).await?;
    let verdict = state.gate.preview(&IdentifiedRequest::new(ask, caller.who)).await?;
    Ok(Json(Verdict { risk: Some(Risk::of(risk, says)), ..shown::verdict(&verdict, resource, role) }))
}

/// Lists requests, newest first.
#[utoipa::path(get, path = "/requests", tag = "requests", params(RequestsQuery), responses((status = 200, body = Page<Request>)))]
async fn list(State(state): State<ApiState>, Reads(caller): Reads, Asked(query): Asked<RequestsQuery>) -> Answer<Json<Page<Request>>> {
    let gate = &state.gate;
    let whose = if query.of == RequestsOf::Mine { Some(caller.who.id()) } else { query.person };
    let filter = RequestFilter { person: whose, state: query.state, resource: query.resource };
    let mut listing = Listing::new::<RequestId>(query.limit, query.cursor.as_deref())?;
    listed!(listing, |page| gate.store().requests(&filter, &page), |row| match query.of {
        // What another job of the same workload asked is not this one's.
        RequestsOf::Mine => (row.claims.as_ref() == caller.who.claims()).then_some(row),
        RequestsOf::Inbox => gate.can_decide(&caller, &row).await?.then_some(row),
        RequestsOf::All => gate.visible_request(&caller, Some(row)).await.ok(),
    });
    let (rows, next) = listing.done();
    let mut show = Shown::new(gate);
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(show.request(row).await?);
    }
    Ok(page(items, next))
}

/// Shows a request: who was asked, who answered, what is missing.
#[utoipa::path(get, path = "/requests/{id}", tag = "requests", params(("id" = schema::RequestId, Path)), responses((status = 200, body = RequestDetail)))]
async fn show(State(state): State<ApiState>, Reads(caller): Reads, Id(id): Id<RequestId>) -> Answer<impl IntoResponse> {
    let row = visible(&state.gate, &caller, id).await?;
    let tag = etag(row.version);
    Ok((tag, Json(detail(&state.gate, &caller, row).await?)))
}

/// Changes a pending request of one's own. Votes given so far no longer count.
#[utoipa::path(patch, path = "/requests/{id}", tag = "requests", params(("id" = schema::RequestId, Path), schema::IfMatch), request_body = RequestEdit, responses((status = 200, body = Request)))]
async fn edit(
    State(state): State<ApiState>,
    Asks(caller): Asks,
    Id(id): Id<RequestId>,
    seen: IfMatch,
    Body(edit): Body<RequestEdit>,
) -> Answer<impl IntoResponse> {
    // 1. What it is.
    let row = visible(&state.gate, &caller, id).await?;
    // 2. What it becomes; what is not mentioned stays.
    let replaced = |new: Option<String>, old: Option<String>| new.or(old).filter(|text| !text.is_empty());
    let ask = AccessRequest {
        resource: row.resource,
        role: row.role,
        asked: edit.duration.unwrap_or(row.asked),
        reason: replaced(edit.reason, row.reason),
        ticket: replaced(edit.ticket, row.ticket),
        limits: edit.limits.map_or(row.limits, Into::into),
        break_glass: row.break_glass,
        door: caller.door,
    };
    let row = state.gate.edit(&caller, seen.of(id), ask).await?;
    // 3. Show it.
    let tag = etag(row.version);
    Ok((tag, Json(Shown::new(&state.gate).request(row).await?)))
}

/// Gives what an approver signs: the request as it stands now, in one form that can be compared with what is shown.
#[utoipa::path(post, path = "/requests/{id}/signature", tag = "requests", params(("id" = schema::RequestId, Path)), responses((status = 201, body = ToSign)))]
async fn signature(State(state): State<ApiState>, SignedIn(caller): SignedIn, Id(id): Id<RequestId>) -> Answer<impl IntoResponse> {
    visible(&state.gate, &caller, id).await?;
    let begun = state.gate.begin_signature(&caller, id).await?;
    let body = ToSign { statement: begun.statement, party: super::passkeys::party(&state.gate)?, credentials: begun.credentials };
    Ok((StatusCode::CREATED, Extension(ShownOnce), Json(body)))
}

/// Says yes to a request.
#[utoipa::path(post, path = "/requests/{id}/approve", tag = "requests", params(("id" = schema::RequestId, Path), schema::IfMatch), request_body = NewVote, responses((status = 200, body = Voted)))]
async fn approve(
    State(state): State<ApiState>,
    SignedIn(caller): SignedIn,
    Id(id): Id<RequestId>,
    seen: IfMatch,
    Body(vote): Body<NewVote>,
) -> Answer<impl IntoResponse> {
    Box::pin(decide(&state.gate, &caller, seen.of(id), Decision::Approve, vote)).await
}

/// Says no to a request.
#[utoipa::path(post, path = "/requests/{id}/deny", tag = "requests", params(("id" = schema::RequestId, Path), schema::IfMatch), request_body = NewVote, responses((status = 200, body = Voted)))]
async fn deny(
    State(state): State<ApiState>,
    SignedIn(caller): SignedIn,
    Id(id): Id<RequestId>,
    seen: IfMatch,
    Body(vote): Body<NewVote>,
) -> Answer<impl IntoResponse> {
    Box::pin(decide(&state.gate, &caller, seen.of(id), Decision::Deny, vote)).await
}

async fn decide(
    gate: &Gate,
    caller: &Caller,
    id: AsSeen<RequestId>,
    decision: Decision,
    vote: NewVote,
) -> Answer<impl IntoResponse + use<>> {
    let voted = match (decision, vote.signature) {
        (Decision::Approve, Some(answer)) => {
            gate.approve_signed(caller, id, vote.note, &answer.assertion()).await.map_err(still_signed_in)?
        }
        (Decision::Deny, Some(_)) => return Err(Refused::invalid("a no is not signed")),
        (_, None) => gate.vote(caller, id, decision, vote.note).await?,
    };
    let mut show = Shown::new(gate);
    let tag = etag(voted.request.version);
    Ok((tag, Json(Voted { request: show.request(voted.request).await?, grant: show.maybe_grant(voted.grant).await? })))
}

/// A passkey that is no good does not sign anybody out.
pub(super) fn still_signed_in(refusal: Refusal) -> Refused {
    match refusal.reason {
        Reason::NotSignedIn => Refusal { reason: Reason::NotAllowed, ..refusal }.into(),
        _ => refusal.into(),
    }
}

/// Takes a pending request of one's own back.
#[utoipa::path(post, path = "/requests/{id}/cancel", tag = "requests", params(("id" = schema::RequestId, Path), schema::IfMatch), responses((status = 200, body = Request)))]
async fn cancel(State(state): State<ApiState>, Asks(caller): Asks, Id(id): Id<RequestId>, seen: IfMatch) -> Answer<impl IntoResponse> {
    visible(&state.gate, &caller, id).await?;
    let row = state.gate.cancel(&caller, seen.of(id)).await?;
    Ok((etag(row.version), Json(Shown::new(&state.gate).request(row).await?)))
}

/// What a body asks for: the role is found if none is named.
pub(super) async fn meant(gate: &Gate, caller: &Caller, new: NewRequest) -> Answer<AccessRequest> {
    let NewRequest { resource, role, duration, reason, ticket, limits, break_glass, activate: _ } = new;
    let (resource, role) = gate.resolve(caller, &Selector { resource, role }).await?;
    let asked = duration.unwrap_or_default();
    Ok(AccessRequest { resource, role, asked, reason, ticket, limits: limits.into(), break_glass, door: caller.door })
}

async fn visible(gate: &Gate, caller: &Caller, id: RequestId) -> Answer<RequestRow> {
    let row = gate.store().request(id).await?;
    Ok(gate.visible_request(caller, row).await?)
}

async fn detail(gate: &Gate, caller: &Caller, row: RequestRow) -> Answer<RequestDetail> {
    let can_decide = gate.can_decide(caller, &row).await?;
    let votes = gate.store().votes(row.id).await?;
    let counts: Vec<u32> = row.terms.approvals.iter().flat_map(|plan| &plan.stages).map(|stage| stage.count).collect();
    let fills: Vec<Vec<usize>> = votes
        .iter()
        .filter(|vote| vote.revision == row.revision && vote.decision == Decision::Approve)
        .map(|vote| vote.fills(row.terms.approvals.iter().flat_map(|plan| &plan.stages)))
        .collect();
    let voters: Vec<&[usize]> = fills.iter().map(Vec::as_slice).collect();
    let since = Span::between(row.asked_since(), gate.now());
    let stages = row
        .terms
        .approvals
        .iter()
        .flat_map(|plan| plan.stages.iter().map(|stage| (&plan.name, stage)))
        .zip(missing(&counts, &voters))
        .map(|((plan, stage), missing)| {
            let waits = stage.timeout.filter(|timeout| since < *timeout && stage.escalate_to.is_some());
            StageProgress {
                plan: plan.clone(),
                asked: stage.seats_after(since).cloned().collect(),
                count: stage.count,
                missing,
                signed: stage.signed,
                escalates_at: waits.map(|timeout| timeout.after(row.asked_since())),
                escalate_to: stage.escalate_to.clone().filter(|_| waits.is_some()),
            }
        })
        .collect();
    let mut show = Shown::new(gate);
    let grant = match gate.store().grant_of(row.id).await? {
        Some(grant) => gate.visible_grant(caller, Some(grant)).await.ok(),
        None => None,
    };
    let mut said = Vec::with_capacity(votes.len());
    for vote in votes {
        said.push(show.vote(vote, (row.person, row.revision)).await?);
    }
    let on_call = gate.duties_for(caller, &row).await?.into_iter().map(Into::into).collect();
    let may = may(gate, &row).await?;
    let (grant, request) = (show.maybe_grant(grant).await?, show.request(row).await?);
    Ok(RequestDetail { stages, votes: said, may, can_decide, on_call, grant, request })
}

/// What the asker may do with it, as policy stands now: what is forbidden just them counts, and what they renounce.
async fn may(gate: &Gate, row: &RequestRow) -> Answer<Vec<String>> {
    let Some(person) = gate.store().person(row.person).await? else { return Ok(Vec::new()) };
    let mut situation = super::policy::situation_of(gate, &person.username).await?;
    (situation.mfa, situation.network) = (row.mfa, row.network);
    situation.claims.clone_from(&row.claims);
    let rights = gate.bundle().rights(&situation, &row.role, &row.resource);
    Ok(rights.map(|rights| in_words(&row.limits.narrow(rights))).unwrap_or_default())
}
