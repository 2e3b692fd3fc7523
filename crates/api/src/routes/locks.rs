//! `/locks`: what is kept shut.

use access::ids::LockId;
use access::lock::{LockRow, LockScope, LockState};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use policy::Noun;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::{Reads, SignedIn};
use crate::extract::{Asked, Body, Id};
use crate::listing::{Listing, listed, page};
use crate::problem::Answer;
use crate::shown::{self, Shown};
use crate::sight::Sight;
use crate::state::ApiState;
use crate::types::list::Page;
use crate::types::locks::{Lock, Locked, LocksQuery, NewLock};
use crate::types::schema;
use crate::version::IfMatch;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(lift))
}

/// Lists locks, newest first: all to who administers them, else those that keep the caller out of what is open to them.
#[utoipa::path(get, path = "/locks", tag = "locks", params(LocksQuery), responses((status = 200, body = Page<Lock>)))]
async fn list(State(state): State<ApiState>, Reads(caller): Reads, Asked(query): Asked<LocksQuery>) -> Answer<Json<Page<Lock>>> {
    let gate = &state.gate;
    let sight = Sight::of(gate, &caller).await?;
    let all = sight.administers(Noun::Lock) || sight.audits();
    let wanted = (!query.all).then_some(LockState::Set);
    let mut listing = Listing::new::<LockId>(query.limit, query.cursor.as_deref())?;
    listed!(listing, |page| gate.store().locks(wanted, &page), |row| (all || concerns(&sight, &row)).then_some(row));
    let (rows, next) = listing.done();
    let mut show = Shown::new(gate);
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(show.lock(row).await?);
    }
    Ok(page(items, next))
}

fn concerns(sight: &Sight, row: &LockRow) -> bool {
    let open = |name| sight.bundle.open_roles(&sight.situation, name);
    match &row.scope {
        LockScope::Person(id) => *id == sight.situation.id,
        LockScope::Resource(name) => !open(name).is_empty(),
        LockScope::Network(network) => sight.situation.network.is_some_and(|from| network.contains(from)),
        LockScope::Role(role) => sight.bundle.resources().any(|resource| open(&resource.name).contains(role)),
    }
}

/// Locks a person or machine, role, resource or network, and cuts every live session in its scope.
#[utoipa::path(post, path = "/locks", tag = "locks", request_body = NewLock, responses((status = 201, body = Locked)))]
async fn create(State(state): State<ApiState>, SignedIn(caller): SignedIn, Body(new): Body<NewLock>) -> Answer<impl IntoResponse> {
    let (row, cut) = state.gate.lock(&caller, new.scope, new.duration, new.reason).await?;
    Ok((StatusCode::CREATED, Json(Locked { lock: Shown::new(&state.gate).lock(row).await?, cut: shown::cut(cut) })))
}

/// Lifts a lock.
#[utoipa::path(post, path = "/locks/{id}/lift", tag = "locks", params(("id" = schema::LockId, Path), schema::IfMatch), responses((status = 200, body = Lock)))]
async fn lift(State(state): State<ApiState>, SignedIn(caller): SignedIn, Id(id): Id<LockId>, seen: IfMatch) -> Answer<Json<Lock>> {
    let row = state.gate.lift(&caller, seen.of(id)).await?;
    Ok(Json(Shown::new(&state.gate).lock(row).await?))
}
