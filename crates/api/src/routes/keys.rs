//! `/me/keys`, `/users/{id}/keys`, `/keys/{id}`, `/certificates`: what signs people in over SSH.

use access::identity::KeyRow;
use access::ids::{KeyId, PrincipalId};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use policy::Noun;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::{Caller, Gate};

use crate::caller::{Administers, Asks, Reads};
use crate::extract::{Asked, Body, Id};
use crate::listing::{Listing, listed, page};
use crate::problem::{Answer, Refused};
use crate::shown;
use crate::sight::Sight;
use crate::state::ApiState;
use crate::types::keys::{IssuedCertificate, IssuedClientCertificate, Key, NewCertificate, NewKey};
use crate::types::list::{Page, PageQuery};
use crate::types::schema;
use crate::version::IfMatch;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(mine, add_mine)).routes(routes!(of_user, add)).routes(routes!(remove)).routes(routes!(certify))
}

/// Lists the caller's keys, newest first.
#[utoipa::path(get, path = "/me/keys", tag = "keys", params(PageQuery), responses((status = 200, body = Page<Key>)))]
async fn mine(State(state): State<ApiState>, Reads(caller): Reads, Asked(query): Asked<PageQuery>) -> Answer<Json<Page<Key>>> {
    list(&state.gate, &caller, caller.who.id(), &query).await
}

/// Lists somebody's keys, newest first: one's own, those of a machine one answers for, or, to who administers keys or reads the audit log,
/// anybody's.
#[utoipa::path(get, path = "/users/{id}/keys", tag = "keys", params(("id" = schema::PrincipalId, Path), PageQuery), responses((status = 200, body = Page<Key>)))]
async fn of_user(
    State(state): State<ApiState>,
    Reads(caller): Reads,
    Id(id): Id<PrincipalId>,
    Asked(query): Asked<PageQuery>,
) -> Answer<Json<Page<Key>>> {
    refuse_unseen(&state.gate, &caller, id, Noun::Key).await?;
    list(&state.gate, &caller, id, &query).await
}

/// Refused unless the caller may see what of this kind signs somebody in: them, a machine they answer for, or, administering that kind or
/// reading the audit log, anybody.
pub(super) async fn refuse_unseen(gate: &Gate, caller: &Caller, id: PrincipalId, kind: Noun) -> Answer<()> {
    let sight = Sight::of(gate, caller).await?;
    let row = gate.store().person(id).await?.ok_or_else(Refused::not_found)?;
    let own = id == caller.who.id() || row.owner.map(PrincipalId::User) == Some(caller.who.id());
    if own || sight.administers(kind) || sight.audits() { Ok(()) } else { Err(Refused::not_found()) }
}

async fn list(gate: &Gate, caller: &Caller, person: PrincipalId, query: &PageQuery) -> Answer<Json<Page<Key>>> {
    let mut listing = Listing::new::<KeyId>(query.limit, query.cursor.as_deref())?;
    // What another job of the same workload has is not this one's.
    let seen = |key: &KeyRow| key.person != caller.who.id() || key.claims.as_ref() == caller.who.claims();
    listed!(listing, |page| gate.store().keys_page(person, &page), |row| seen(&row).then(|| shown::key(row)));
    let (items, next) = listing.done();
    Ok(page(items, next))
}

/// Registers a key of the caller's own.
///
/// A key outlives the token it was registered with, so the token needs the scope `administer`.
#[utoipa::path(post, path = "/me/keys", tag = "keys", request_body = NewKey, responses((status = 201, body = Key)))]
async fn add_mine(State(state): State<ApiState>, Administers(caller): Administers, Body(new): Body<NewKey>) -> Answer<impl IntoResponse> {
    let row = state.gate.add_key(&caller, caller.who.id(), &new.public_key, new.label).await?;
    Ok((StatusCode::CREATED, Json(shown::key(row))))
}

/// Registers a key: of the caller's own, or, by who administers keys, of a machine.
#[utoipa::path(post, path = "/users/{id}/keys", tag = "keys", params(("id" = schema::PrincipalId, Path)), request_body = NewKey, responses((status = 201, body = Key)))]
async fn add(
    State(state): State<ApiState>,
    Administers(caller): Administers,
    Id(id): Id<PrincipalId>,
    Body(new): Body<NewKey>,
) -> Answer<impl IntoResponse> {
    let row = state.gate.add_key(&caller, id, &new.public_key, new.label).await?;
    Ok((StatusCode::CREATED, Json(shown::key(row))))
}

/// Takes a key away: it signs nobody in any more.
#[utoipa::path(delete, path = "/keys/{id}", tag = "keys", params(("id" = schema::KeyId, Path), schema::IfMatch), responses((status = 200, body = Key)))]
async fn remove(State(state): State<ApiState>, Administers(caller): Administers, Id(id): Id<KeyId>, seen: IfMatch) -> Answer<Json<Key>> {
    Ok(Json(shown::key(state.gate.remove_key(&caller, seen.of(id)).await?)))
}

/// Signs a public key for a short time: what `tidegate login` leaves on a laptop.
#[utoipa::path(post, path = "/certificates", tag = "keys", request_body = NewCertificate, responses((status = 201, body = IssuedCertificate)))]
async fn certify(State(state): State<ApiState>, Asks(caller): Asks, Body(new): Body<NewCertificate>) -> Answer<impl IntoResponse> {
    let (row, certificate) = state.gate.issue_certificate(&caller, &new.public_key, new.duration).await?;
    let client = match &new.client_key {
        Some(key) => {
            let (row, certificate) = state.gate.issue_client_certificate(&caller, key, new.duration).await?;
            Some(IssuedClientCertificate { key: shown::key(row), certificate })
        }
        None => None,
    };
    Ok((StatusCode::CREATED, Json(IssuedCertificate { key: shown::key(row), certificate, client })))
}
