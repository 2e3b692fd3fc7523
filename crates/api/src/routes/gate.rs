//! `/gate`, `/healthz`, `/readyz` and `/openapi.json`: what everybody may know.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::ApiState;
use crate::types::gate::{GateFacts, Readiness};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(facts)).route("/openapi.json", axum::routing::get(document))
}

/// Routes beside the API itself.
pub(super) fn beside() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz))
}

/// Says where the gate is and by which keys it is known.
#[utoipa::path(get, path = "/gate", tag = "gate", security(()), responses((status = 200, body = GateFacts)))]
async fn facts(State(state): State<ApiState>) -> Json<GateFacts> {
    Json(state.facts_now())
}

/// Says that the process answers.
#[utoipa::path(get, path = "/healthz", tag = "gate", security(()), responses((status = 200, body = String, content_type = "text/plain")))]
async fn healthz() -> &'static str {
    "ok\n"
}

/// Says whether the gate can serve.
#[utoipa::path(get, path = "/readyz", tag = "gate", security(()), responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
async fn readyz(State(state): State<ApiState>) -> impl IntoResponse {
    let store = state.gate.store().is_empty().await.is_ok();
    let clock = !state.gate.clock_is_behind();
    let log = state.gate.log_trouble().is_none();
    let sweep = state.gate.is_swept();
    let ready = store && clock && log && sweep;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, store, clock, log, sweep }))
}

async fn document() -> impl IntoResponse {
    let text = crate::openapi().to_json().unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "public, max-age=300")], text)
}
