//! `/compliance`: controls of SOC 2 and ISO/IEC 27001, each with the live queries that show it. For who may read the audit log.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::compliance::CONTROLS;

use crate::caller::Reads;
use crate::problem::Answer;
use crate::state::ApiState;
use crate::types::compliance::{Compliance, Control, ControlEvidence};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(show))
}

/// Shows every control with the queries that show it, and what they answer now.
#[utoipa::path(get, path = "/compliance", tag = "compliance", responses((status = 200, body = Compliance)))]
async fn show(State(state): State<ApiState>, Reads(caller): Reads) -> Answer<Json<Compliance>> {
    let found = state.gate.compliance(&caller).await?;
    let since = found.since.to_string();
    let controls = CONTROLS.iter().map(|control| Control {
        framework: control.framework.name().to_owned(),
        id: control.id.to_owned(),
        title: control.title.to_owned(),
        says: control.says.to_owned(),
        evidence: control
            .queries
            .iter()
            .filter_map(|query| found.answers.get(query))
            .map(|answered| ControlEvidence {
                query: answered.query.code().to_owned(),
                path: format!("/api/v1{}", answered.query.path().replace("{since}", &since)),
                command: answered.query.command().replace("{since}", &since),
                count: answered.count,
                says: answered.says.clone(),
                attention: answered.attention,
            })
            .collect(),
    });
    Ok(Json(Compliance { at: found.at, since: found.since, controls: controls.collect() }))
}
