//! `/rollout`: how far the gate has been taken up. For who keeps the inventory or reads the whole log.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::rollout as counted;

use crate::caller::Reads;
use crate::problem::Answer;
use crate::state::ApiState;
use crate::types::rollout::{ObservedTier, Phase, Progress, Rollout, Step};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(rollout))
}

/// Says how far the gate has been taken up, phase by phase: inventory, identity, policy, pipelines.
#[utoipa::path(get, path = "/rollout", tag = "rollout", responses((status = 200, body = Rollout)))]
async fn rollout(State(state): State<ApiState>, Reads(caller): Reads) -> Answer<Json<Rollout>> {
    let counted::Rollout { at, since, phases, observed, observed_sessions, standing } = state.gate.rollout(&caller).await?;
    let phases = phases.into_iter().map(|phase| Phase {
        name: phase.name.to_owned(),
        progress: match phase.progress() {
            counted::Progress::NotBegun => Progress::NotBegun,
            counted::Progress::UnderWay => Progress::UnderWay,
            counted::Progress::Done => Progress::Done,
        },
        steps: phase
            .steps
            .into_iter()
            .map(|step| Step { name: step.name.to_owned(), says: step.says, done: step.done, of: step.of })
            .collect(),
    });
    let observed =
        observed.into_iter().map(|one| ObservedTier { tier: one.tier, from: one.from, until: one.until, now: one.now }).collect();
    Ok(Json(Rollout { at, since, phases: phases.collect(), observed, observed_sessions, standing }))
}
