//! `/holds`: legal holds. For who may set them, and for who reads the log.

use access::hold::{HoldRow, HoldScope, HoldState};
use access::ids::HoldId;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::{Reads, SignedIn};
use crate::extract::{Asked, Body, Id};
use crate::listing::{Listing, listed, page};
use crate::problem::Answer;
use crate::shown::Shown;
use crate::state::ApiState;
use crate::types::holds::{Hold, HoldsQuery, LiftHold, NewHold};
use crate::types::list::Page;
use crate::types::schema;
use crate::version::Unversioned;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(lift))
}

/// Lists legal holds, newest first.
#[utoipa::path(get, path = "/holds", tag = "holds", params(HoldsQuery), responses((status = 200, body = Page<Hold>)))]
async fn list(State(state): State<ApiState>, Reads(caller): Reads, Asked(query): Asked<HoldsQuery>) -> Answer<Json<Page<Hold>>> {
    let gate = &state.gate;
    gate.may_see_holds(&caller).await?;
    let wanted = (!query.all).then_some(HoldState::Set);
    let mut listing = Listing::new::<HoldId>(query.limit, query.cursor.as_deref())?;
    listed!(listing, |page| gate.store().holds(wanted, &page), |row| Some(row));
    let (rows, next) = listing.done();
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(shown(&state, row).await?);
    }
    Ok(page(items, next))
}

/// Keeps everything of a person, at a resource or of a session: nothing of it is erased or goes by its age until the hold is lifted.
#[utoipa::path(post, path = "/holds", tag = "holds", request_body = NewHold, responses((status = 201, body = Hold)))]
async fn create(State(state): State<ApiState>, SignedIn(caller): SignedIn, Body(new): Body<NewHold>) -> Answer<impl IntoResponse> {
    let row = state.gate.set_hold(&caller, new.scope, &new.reason).await?;
    Ok((StatusCode::CREATED, Json(shown(&state, row).await?)))
}

/// Lifts a legal hold: from now on age and erasure count again.
#[utoipa::path(post, path = "/holds/{id}/lift", tag = "holds", params(("id" = schema::HoldId, Path)), request_body = LiftHold, responses((status = 200, body = Hold)))]
async fn lift(
    State(state): State<ApiState>,
    SignedIn(caller): SignedIn,
    Id(id): Id<HoldId>,
    _: Unversioned,
    Body(body): Body<LiftHold>,
) -> Answer<Json<Hold>> {
    let row = state.gate.lift_hold(&caller, id, &body.reason).await?;
    Ok(Json(shown(&state, row).await?))
}

async fn shown(state: &ApiState, row: HoldRow) -> Answer<Hold> {
    let HoldRow { id, scope, reason, state: holds, set_at, lifted_at, .. } = row;
    let person = match &scope {
        HoldScope::Person(id) => Some(Shown::new(&state.gate).who(*id).await?),
        HoldScope::Resource(_) | HoldScope::Session(_) => None,
    };
    Ok(Hold { id, scope, person, reason, state: holds, set_at, lifted_at })
}
