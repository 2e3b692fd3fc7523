//! `/me/pins`: resources that somebody wants to see first. `/me` says which these are.

use access::names::ResourceName;
use axum::extract::State;
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Reads;
use crate::extract::Id;
use crate::problem::Answer;
use crate::state::ApiState;
use crate::types::schema;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(pin, unpin))
}

/// Pins a resource for the caller; one that is pinned stays so.
#[utoipa::path(put, path = "/me/pins/{name}", tag = "pins", params(("name" = schema::ResourceName, Path)), responses((status = 204)))]
async fn pin(State(state): State<ApiState>, Reads(caller): Reads, Id(name): Id<ResourceName>) -> Answer<StatusCode> {
    state.gate.pin(&caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Unpins a resource of the caller's; one that is not pinned stays so.
#[utoipa::path(delete, path = "/me/pins/{name}", tag = "pins", params(("name" = schema::ResourceName, Path)), responses((status = 204)))]
async fn unpin(State(state): State<ApiState>, Reads(caller): Reads, Id(name): Id<ResourceName>) -> Answer<StatusCode> {
    state.gate.unpin(&caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
