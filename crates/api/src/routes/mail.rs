//! `/mail/…`: links in mails; and `/me/mailbox`: whose mailboxes are.
//!
//! Nothing is decided by a GET: programs that look after mailboxes open every link. A link's code stands behind a `#`, which no server
//! is sent and no log holds; the page sends it in a body.

use access::reason::{Reason, Refusal};
use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::Caller;

use crate::caller::{Administers, Peer, whoever};
use crate::extract::Body;
use crate::problem::{Answer, Refused};
use crate::routes::chat::account;
use crate::state::ApiState;
use crate::types::chat::ChatAccount;
use crate::types::mail::{Fact, MailAsking, MailCode, MailDecided, MailDecision, NamedMailbox};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(asking)).routes(routes!(decide)).routes(routes!(name)).routes(routes!(confirm))
}

/// Whoever is signed in, if anybody is.
struct Here(Option<Caller>);

impl FromRequestParts<ApiState> for Here {
    type Rejection = Refused;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refused> {
        match whoever(parts, state).await {
            Ok(caller) => Ok(Self(Some(caller))),
            Err(refused) if refused.refusal().reason == Reason::NotSignedIn => Ok(Self(None)),
            Err(refused) => Err(refused),
        }
    }
}

/// Shows what the link of a mail asks. It decides and spends nothing.
#[utoipa::path(post, path = "/mail/asking", tag = "mail", security(()), request_body = MailCode, responses((status = 200, body = MailAsking)))]
async fn asking(State(state): State<ApiState>, Peer(from): Peer, Here(here): Here, Body(new): Body<MailCode>) -> Answer<Json<MailAsking>> {
    let now = state.gate.now();
    state.may_try(from, now)?;
    let ask = Box::pin(state.gate.look_at_mail_link(&new.code, here.as_ref(), from)).await.inspect_err(|refusal| {
        if refusal.reason == Reason::CodeInvalid {
            state.failed(from, now);
        }
    })?;
    Ok(Json(MailAsking {
        person: ask.person,
        name: ask.name,
        request: ask.request.id,
        state: ask.request.state,
        asker: ask.card.who,
        resource: ask.card.resource,
        role: ask.card.role,
        facts: ask.card.facts.into_iter().map(|(name, value)| Fact { name: name.to_owned(), value }).collect(),
        reason: ask.card.reason,
        votes: ask.card.votes,
        outcome: ask.card.outcome,
        changed: ask.changed,
        needs_more: ask.needs_more.map(str::to_owned),
        expires_at: ask.expires_at,
    }))
}

/// Approves or denies by the link of a mail, once.
#[utoipa::path(post, path = "/mail/decisions", tag = "mail", security(()), request_body = MailDecision, responses((status = 200, body = MailDecided)))]
async fn decide(
    State(state): State<ApiState>,
    Peer(from): Peer,
    Here(here): Here,
    Body(new): Body<MailDecision>,
) -> Answer<Json<MailDecided>> {
    let now = state.gate.now();
    state.may_try(from, now)?;
    let note = new.note.map(|note| note.trim().to_owned()).filter(|note| !note.is_empty());
    if new.decision == access::approval::Decision::Deny && note.is_none() {
        return Err(Refusal::because(Reason::Invalid, "a no needs its reason, in `note`").into());
    }
    let decided = state.gate.decide_by_mail(&new.code, here.as_ref(), from, new.decision, note);
    let voted = Box::pin(decided).await.inspect_err(|refusal| {
        if refusal.reason == Reason::CodeInvalid {
            state.failed(from, now);
        }
    })?;
    let outcome = state.gate.how_it_ended(&voted.request).await?;
    Ok(Json(MailDecided { request: voted.request.id, state: voted.request.state, outcome }))
}

/// Names the caller's mailbox; a link is sent there, and it is theirs once they open that where they are signed in.
#[utoipa::path(post, path = "/me/mailbox", tag = "mail", request_body = NamedMailbox, responses((status = 202, description = "A link is on its way there")))]
async fn name(State(state): State<ApiState>, Administers(caller): Administers, Body(new): Body<NamedMailbox>) -> Answer<StatusCode> {
    state.gate.name_mailbox(&caller, &new.address).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Says, by the link that was sent there, that a mailbox is the caller's.
#[utoipa::path(post, path = "/me/mailbox/confirmation", tag = "mail", request_body = MailCode, responses((status = 201, body = ChatAccount)))]
async fn confirm(
    State(state): State<ApiState>,
    Peer(from): Peer,
    Administers(caller): Administers,
    Body(new): Body<MailCode>,
) -> Answer<impl IntoResponse> {
    let now = state.gate.now();
    state.may_try(from, now)?;
    let row = state.gate.confirm_mailbox(&caller, &new.code).await.inspect_err(|refusal| {
        if refusal.reason == Reason::CodeInvalid {
            state.failed(from, now);
        }
    })?;
    Ok((StatusCode::CREATED, Json(account(row))))
}
