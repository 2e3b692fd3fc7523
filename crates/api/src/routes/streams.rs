//! `/streams`: where the log goes as it grows, and how far it came. For who sees the gate's nodes.

use axum::Json;
use axum::extract::State;
use evidence::lines::Form;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::streams::StreamState;

use crate::caller::Reads;
use crate::problem::Answer;
use crate::state::ApiState;
use crate::types::list::Page;
use crate::types::streams::Stream;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Lists the streams of the log to collectors, in the order of the configuration; all of them.
#[utoipa::path(get, path = "/streams", tag = "streams", responses((status = 200, body = Page<Stream>)))]
async fn list(State(state): State<ApiState>, Reads(caller): Reads) -> Answer<Json<Page<Stream>>> {
    let items = state.gate.streams(&caller).await?.into_iter().map(shown).collect();
    Ok(Json(Page { items, next_cursor: None }))
}

fn shown(state: StreamState) -> Stream {
    let StreamState { row, kind, form, activity, waiting, oldest } = state;
    Stream {
        name: row.name,
        kind: kind.to_owned(),
        format: if form == Form::Ocsf { "ocsf" } else { "jsonl" }.to_owned(),
        activity,
        taken: row.next,
        waiting,
        oldest_waiting_at: oldest,
        taken_at: row.taken_at,
        failing_since: row.failing_since,
        due_at: row.due_at,
        error: row.error,
    }
}
