//! `/oncall`: who is on call, and how fresh that is.

use access::names::GroupName;
use access::reason::{Reason, Refusal};
use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Reads;
use crate::extract::Id;
use crate::problem::Answer;
use crate::state::ApiState;
use crate::types::on_call::{Duties, Duty};
use crate::types::schema;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show))
}

/// Says who is on call for every schedule of the policy; a contractor is told of none.
#[utoipa::path(get, path = "/oncall", tag = "oncall", responses((status = 200, body = Duties)))]
async fn list(State(state): State<ApiState>, Reads(caller): Reads) -> Answer<Json<Duties>> {
    let items = state.gate.duties(&caller).await?.into_iter().map(Duty::from).collect();
    Ok(Json(Duties { items }))
}

/// Says who is on call for one schedule of the policy.
#[utoipa::path(get, path = "/oncall/{schedule}", tag = "oncall", params(("schedule" = schema::GroupName, Path)), responses((status = 200, body = Duty)))]
async fn show(State(state): State<ApiState>, Reads(caller): Reads, Id(schedule): Id<GroupName>) -> Answer<Json<Duty>> {
    let found = state.gate.duties(&caller).await?.into_iter().find(|duty| duty.schedule == schedule);
    let unknown = || Refusal::because(Reason::NotFound, format!("no on-call schedule is called `{schedule}`"));
    Ok(Json(found.ok_or_else(unknown)?.into()))
}
