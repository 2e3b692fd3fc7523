//! `/tokens` and `/invitations/accept`: how programs sign in, and how people do for the first time.

use access::identity::Via;
use access::ids::{PrincipalId, TokenId};
use access::reason::Reason;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use policy::Noun;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::read::TokenRow;
use workflow::{Caller, Gate};

use access::identity::Scope;

use crate::caller::{Administers, Peer, Reads, SignedIn, require};
use crate::extract::{Asked, Body, Id};
use crate::idempotency::ShownOnce;
use crate::listing::{Listing, listed, page};
use crate::problem::{Answer, Refused};
use crate::routes::keys::refuse_unseen;
use crate::shown::{self, Shown};
use crate::state::ApiState;
use crate::types::list::{Page, PageQuery};
use crate::types::schema;
use crate::types::tokens::{IssuedToken, NewToken, Token};
use crate::types::users::{AcceptInvitation, Accepted, AnswerChallenge, Challenge};
use crate::version::Unversioned;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(accept))
        .routes(routes!(challenge))
        .routes(routes!(sign_in))
        .routes(routes!(list, create))
        .routes(routes!(of_user))
        .routes(routes!(revoke))
}

/// Spends an invitation: who holds its code gets their first token, shown once.
#[utoipa::path(post, path = "/invitations/accept", tag = "tokens", security(()), request_body = AcceptInvitation, responses((status = 201, body = Accepted)))]
async fn accept(State(state): State<ApiState>, Peer(from): Peer, Body(body): Body<AcceptInvitation>) -> Answer<impl IntoResponse> {
    // 1. Guessing is slow.
    let now = state.gate.now();
    state.may_try(from, now)?;
    // 2. Spend it.
    let accepted = state.gate.accept_invitation(&body.code, from).await;
    let (who, issued) = accepted.inspect_err(|refusal| {
        if refusal.reason == Reason::CodeInvalid {
            state.failed(from, now);
        }
    })?;
    // 3. Show the token.
    let row = state.gate.store().person(who.id()).await?.ok_or_else(Refused::not_found)?;
    let user = Shown::new(&state.gate).user(row).await?;
    Ok((StatusCode::CREATED, Extension(ShownOnce), Json(Accepted { user, token: shown::issued(issued) })))
}

/// Gives a challenge for signing in with a registered SSH key.
#[utoipa::path(post, path = "/sign-in/challenge", tag = "tokens", security(()), responses((status = 201, body = Challenge)))]
async fn challenge(State(state): State<ApiState>, Peer(from): Peer) -> Answer<impl IntoResponse> {
    state.may_try(from, state.gate.now())?;
    let nonce = state.gate.challenge(from);
    let text = identity::challenge::text(&state.facts.api, &nonce);
    let namespace = identity::challenge::NAMESPACE.to_owned();
    Ok((StatusCode::CREATED, Extension(ShownOnce), Json(Challenge { nonce, text, namespace })))
}

/// Signs in with the answer to a challenge: who holds a registered key gets a token, shown once.
#[utoipa::path(post, path = "/sign-in", tag = "tokens", security(()), request_body = AnswerChallenge, responses((status = 201, body = Accepted)))]
async fn sign_in(State(state): State<ApiState>, Peer(from): Peer, Body(body): Body<AnswerChallenge>) -> Answer<impl IntoResponse> {
    // 1. Guessing is slow.
    let now = state.gate.now();
    state.may_try(from, now)?;
    // 2. Who signed?
    let signed = state.gate.sign_in_with_key(&state.facts.api, &body.nonce, &body.signature, from).await;
    let (who, issued) = signed.inspect_err(|refusal| {
        if matches!(refusal.reason, Reason::CodeInvalid | Reason::NotSignedIn) {
            state.failed(from, now);
        }
    })?;
    // 3. Show the token.
    let row = state.gate.store().person(who.id()).await?.ok_or_else(Refused::not_found)?;
    let user = Shown::new(&state.gate).user(row).await?;
    Ok((StatusCode::CREATED, Extension(ShownOnce), Json(Accepted { user, token: shown::issued(issued) })))
}

/// Lists the caller's tokens, newest first.
#[utoipa::path(get, path = "/tokens", tag = "tokens", params(PageQuery), responses((status = 200, body = Page<Token>)))]
async fn list(State(state): State<ApiState>, Reads(caller): Reads, Asked(query): Asked<PageQuery>) -> Answer<Json<Page<Token>>> {
    tokens_of(&state.gate, &caller, caller.who.id(), &query).await
}

/// Lists somebody's tokens, newest first: one's own, those of a machine one answers for, or, to who administers tokens or reads the audit log,
/// anybody's.
#[utoipa::path(get, path = "/users/{id}/tokens", tag = "tokens", params(("id" = schema::PrincipalId, Path), PageQuery), responses((status = 200, body = Page<Token>)))]
async fn of_user(
    State(state): State<ApiState>,
    Reads(caller): Reads,
    Id(id): Id<PrincipalId>,
    Asked(query): Asked<PageQuery>,
) -> Answer<Json<Page<Token>>> {
    refuse_unseen(&state.gate, &caller, id, Noun::Token).await?;
    tokens_of(&state.gate, &caller, id, &query).await
}

async fn tokens_of(gate: &Gate, caller: &Caller, person: PrincipalId, query: &PageQuery) -> Answer<Json<Page<Token>>> {
    let mut listing = Listing::new::<TokenId>(query.limit, query.cursor.as_deref())?;
    // What another job of the same workload has is not this one's.
    let seen = |token: &TokenRow| token.person != caller.who.id() || token.claims.as_ref() == caller.who.claims();
    listed!(listing, |page| gate.store().tokens_page(person, &page), |row| seen(&row).then(|| shown::token(row)));
    let (items, next) = listing.done();
    Ok(page(items, next))
}

/// Makes a token: for oneself with at most the scopes one has, or, by who administers tokens, for a machine. Shown once.
///
/// A token can outlive the one it was made with, so that one needs the scope `administer`.
#[utoipa::path(post, path = "/tokens", tag = "tokens", request_body = NewToken, responses((status = 201, body = IssuedToken)))]
async fn create(State(state): State<ApiState>, Administers(caller): Administers, Body(new): Body<NewToken>) -> Answer<impl IntoResponse> {
    let person = new.person.unwrap_or_else(|| caller.who.id());
    let issued = state.gate.issue_token(&caller, person, new.scopes, new.duration, new.label).await?;
    Ok((StatusCode::CREATED, Extension(ShownOnce), Json(shown::issued(issued))))
}

/// Takes a token away. Any token may take away itself.
#[utoipa::path(delete, path = "/tokens/{id}", tag = "tokens", params(("id" = schema::TokenId, Path)), responses((status = 200, body = Token)))]
async fn revoke(State(state): State<ApiState>, SignedIn(caller): SignedIn, Id(id): Id<TokenId>, _: Unversioned) -> Answer<Json<Token>> {
    if *caller.who.via() != Via::Token(id) {
        // Who may make a connect token of their own may take it away.
        let row = state.gate.store().token(id).await?;
        let connects = row.is_some_and(|row| row.grant.is_some() && row.person == caller.who.id());
        require(&caller, if connects { Scope::Ask } else { Scope::Administer })?;
    }
    Ok(Json(shown::token(state.gate.revoke_token(&caller, id).await?)))
}
