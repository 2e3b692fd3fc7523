//! `/me/searches`: filters of searches that somebody keeps for themselves.

use access::ids::SavedSearchId;
use access::reason::{Reason, Refusal};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Reads;
use crate::extract::{Body, Id};
use crate::listing::page;
use crate::problem::{Answer, Refused};
use crate::state::ApiState;
use crate::types::list::Page;
use crate::types::saved_searches::{NewSavedSearch, SavedSearch};
use crate::types::schema;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, save)).routes(routes!(forget))
}

/// Lists the filters of searches that the caller keeps, by name.
#[utoipa::path(get, path = "/me/searches", tag = "saved-searches", responses((status = 200, body = Page<SavedSearch>)))]
async fn list(State(state): State<ApiState>, Reads(caller): Reads) -> Answer<Json<Page<SavedSearch>>> {
    let kept = state.gate.saved_searches(&caller).await?.into_iter();
    // What an older release kept and this one does not know is not shown.
    Ok(page(kept.filter_map(|row| shown(row).ok()).collect(), None))
}

/// Keeps filters of a search under a name, in the place of those that had it. Who may search may keep what they search for.
#[utoipa::path(post, path = "/me/searches", tag = "saved-searches", request_body = NewSavedSearch, responses((status = 201, body = SavedSearch)))]
async fn save(State(state): State<ApiState>, Reads(caller): Reads, Body(new): Body<NewSavedSearch>) -> Answer<impl IntoResponse> {
    if new.filters.text.as_ref().is_some_and(|text| text.chars().count() > 200) {
        return Err(Refused::invalid("`filters.text` has at most 200 characters"));
    }
    if new.filters.ticket.as_ref().is_some_and(|ticket| ticket.chars().count() > 4_000) {
        return Err(Refused::invalid("`filters.ticket` has at most 4000 characters"));
    }
    let filters = serde_json::to_string(&new.filters).map_err(|_| Refusal::of(Reason::Internal))?;
    let kept = state.gate.save_search(&caller, &new.name, filters).await?;
    Ok((StatusCode::CREATED, Json(shown(kept)?)))
}

/// Forgets filters that the caller keeps.
#[utoipa::path(delete, path = "/me/searches/{id}", tag = "saved-searches", params(("id" = schema::SavedSearchId, Path)), responses((status = 200, body = SavedSearch)))]
async fn forget(State(state): State<ApiState>, Reads(caller): Reads, Id(id): Id<SavedSearchId>) -> Answer<Json<SavedSearch>> {
    Ok(Json(shown(state.gate.forget_search(&caller, id).await?)?))
}

fn shown(row: workflow::read::SavedSearch) -> Result<SavedSearch, Refusal> {
    let filters = serde_json::from_str(&row.filters).map_err(|_| Refusal::of(Reason::Internal))?;
    Ok(SavedSearch { id: row.id, name: row.name, filters, saved_at: row.saved_at })
}
