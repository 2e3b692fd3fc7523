//! `/grants`: the bounded rights.

use access::grant::GrantRow;
use access::ids::GrantId;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::Gate;
use workflow::read::GrantFilter;
use workflow::revoke::Cut;

use crate::caller::{Asks, Reads, SignedIn};
use crate::extract::{Asked, Body, Id};
use crate::idempotency::ShownOnce;
use crate::listing::{Listing, listed, page};
use crate::problem::Answer;
use crate::shown::{self, Shown};
use crate::state::ApiState;
use crate::types::grants::{Because, EndedGrant, Extend, Grant, GrantsQuery};
use crate::types::list::Page;
use crate::types::requests::{AnswerCode, RequestAnswer};
use crate::types::schema;
use crate::types::tokens::{IssuedToken, NewConnectToken, Token};
use crate::version::{IfMatch, etag};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(activate))
        .routes(routes!(extend))
        .routes(routes!(revoke))
        .routes(routes!(give_back))
        .routes(routes!(connect_tokens, connect_token))
}

/// Lists grants, newest first.
#[utoipa::path(get, path = "/grants", tag = "grants", params(GrantsQuery), responses((status = 200, body = Page<Grant>)))]
async fn list(State(state): State<ApiState>, Reads(caller): Reads, Asked(query): Asked<GrantsQuery>) -> Answer<Json<Page<Grant>>> {
    let gate = &state.gate;
    let whose = if query.all { query.person } else { Some(caller.who.id()) };
    let filter = GrantFilter { person: whose, state: query.state, resource: query.resource, open: false };
    let mut listing = Listing::new::<GrantId>(query.limit, query.cursor.as_deref())?;
    listed!(listing, |page| gate.store().grants(&filter, &page), |row| {
        if query.all {
            gate.visible_grant(&caller, Some(row)).await.ok()
        } else {
            (row.frozen.claims.as_ref() == caller.who.claims()).then_some(row)
        }
    });
    let (rows, next) = listing.done();
    let mut show = Shown::new(gate);
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(show.grant(row).await?);
    }
    Ok(page(items, next))
}

/// Shows a grant.
#[utoipa::path(get, path = "/grants/{id}", tag = "grants", params(("id" = schema::GrantId, Path)), responses((status = 200, body = Grant)))]
async fn show(State(state): State<ApiState>, Reads(caller): Reads, Id(id): Id<GrantId>) -> Answer<impl IntoResponse> {
    let row = state.gate.store().grant(id).await?;
    let row = state.gate.visible_grant(&caller, row).await?;
    Ok((etag(row.version), Json(Shown::new(&state.gate).grant(row).await?)))
}

/// Starts the clock of a grant of one's own without connecting.
#[utoipa::path(post, path = "/grants/{id}/activate", tag = "grants", params(("id" = schema::GrantId, Path), schema::IfMatch), responses((status = 200, body = Grant)))]
async fn activate(State(state): State<ApiState>, Asks(caller): Asks, Id(id): Id<GrantId>, seen: IfMatch) -> Answer<impl IntoResponse> {
    let row = state.gate.activate(&caller, seen.of(id)).await?;
    Ok((etag(row.version), Json(Shown::new(&state.gate).grant(row).await?)))
}

/// Asks for more time on a grant of one's own; its sessions go on.
#[utoipa::path(post, path = "/grants/{id}/extend", tag = "grants", params(("id" = schema::GrantId, Path), schema::IfMatch), request_body = Extend, responses(
    (status = 201, description = "The end has moved", body = RequestAnswer),
    (status = 202, description = "People are asked", body = RequestAnswer),
))]
async fn extend(
    State(state): State<ApiState>,
    Asks(caller): Asks,
    Id(id): Id<GrantId>,
    seen: IfMatch,
    Body(more): Body<Extend>,
) -> Answer<impl IntoResponse> {
    let submitted = state.gate.extend(&caller, seen.of(id), more.duration, more.reason).await?;
    let (status, answer) = if submitted.grant.is_some() {
        (StatusCode::CREATED, AnswerCode::Permit)
    } else {
        (StatusCode::ACCEPTED, AnswerCode::NeedsApproval)
    };
    let joined = submitted.verdict.is_none();
    let (policies, why) = submitted.verdict.map(|verdict| (verdict.policies().to_vec(), shown::paths(verdict.paths()))).unwrap_or_default();
    let mut show = Shown::new(&state.gate);
    let (request, grant) = (show.request(submitted.request).await?, show.maybe_grant(submitted.grant).await?);
    Ok((status, Json(RequestAnswer { answer, request, grant, not_activated: None, joined, policies, why })))
}

/// Takes a grant away and cuts every session that stands on it.
#[utoipa::path(post, path = "/grants/{id}/revoke", tag = "grants", params(("id" = schema::GrantId, Path), schema::IfMatch), request_body = Because, responses((status = 200, body = EndedGrant)))]
async fn revoke(
    State(state): State<ApiState>,
    SignedIn(caller): SignedIn,
    Id(id): Id<GrantId>,
    seen: IfMatch,
    Body(why): Body<Because>,
) -> Answer<impl IntoResponse> {
    let ended = state.gate.revoke(&caller, seen.of(id), why.reason).await?;
    show_ended(&state.gate, ended).await
}

/// Gives a grant of one's own back.
#[utoipa::path(post, path = "/grants/{id}/return", tag = "grants", operation_id = "return", params(("id" = schema::GrantId, Path), schema::IfMatch), responses((status = 200, body = EndedGrant)))]
async fn give_back(State(state): State<ApiState>, Asks(caller): Asks, Id(id): Id<GrantId>, seen: IfMatch) -> Answer<impl IntoResponse> {
    let ended = state.gate.give_back(&caller, seen.of(id)).await?;
    show_ended(&state.gate, ended).await
}

/// Lists the connect tokens of a grant of one's own.
#[utoipa::path(get, path = "/grants/{id}/connect_tokens", tag = "grants", params(("id" = schema::GrantId, Path)), responses((status = 200, body = Page<Token>)))]
async fn connect_tokens(State(state): State<ApiState>, Reads(caller): Reads, Id(id): Id<GrantId>) -> Answer<Json<Page<Token>>> {
    let tokens = state.gate.connect_tokens(&caller, id).await?;
    Ok(page(tokens.into_iter().map(shown::token).collect(), None))
}

/// Makes a connect token for a grant of one's own: it stands for the password at a database, for as many connections as one likes, until
/// the grant ends. Shown once. It opens nothing else, and is no token of this API.
#[utoipa::path(post, path = "/grants/{id}/connect_tokens", tag = "grants", params(("id" = schema::GrantId, Path)), request_body = NewConnectToken, responses((status = 201, body = IssuedToken)))]
async fn connect_token(
    State(state): State<ApiState>,
    Asks(caller): Asks,
    Id(id): Id<GrantId>,
    Body(new): Body<NewConnectToken>,
) -> Answer<impl IntoResponse> {
    let issued = state.gate.issue_connect_token(&caller, id, new.duration, new.label).await?;
    Ok((StatusCode::CREATED, Extension(ShownOnce), Json(shown::issued(issued))))
}

async fn show_ended(gate: &Gate, (row, cut): (GrantRow, Cut)) -> Answer<impl IntoResponse + use<>> {
    Ok((etag(row.version), Json(EndedGrant { grant: Shown::new(gate).grant(row).await?, cut: shown::cut(cut) })))
}
