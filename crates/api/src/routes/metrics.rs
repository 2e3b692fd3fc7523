//! `/metrics`: the gate in numbers, in Prometheus' text format (version 0.0.4). For who may read the audit log: a scraper has a token.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use policy::{Act, Noun, Object};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Reads;
use crate::problem::Answer;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// Says how the gate is doing, in numbers.
///
/// Counters begin at zero when the process does.
#[utoipa::path(get, path = "/metrics", tag = "gate", responses((status = 200, body = String, content_type = "text/plain")))]
async fn metrics(State(state): State<ApiState>, Reads(caller): Reads) -> Answer<impl IntoResponse> {
    let gate = &state.gate;
    gate.authorize(&caller, Act::Administer(Noun::Audit), &Object::Nothing).await?;
    let mut text = String::new();
    let pending = gate.store().pending_requests().await?.len();
    let placed = gate.store().sequenced().await?;
    gauge(&mut text, "tidegate_sessions_live", "sessions that live on this node", gate.live().len() as u64);
    gauge(&mut text, "tidegate_requests_pending", "requests that people are asked about", pending as u64);
    gauge(&mut text, "tidegate_log_entries", "audit entries that have their place in the log", placed);
    gauge(&mut text, "tidegate_log_stuck", "1 while entries do not reach the signed log", gate.log_trouble().is_some().into());
    gauge(&mut text, "tidegate_clock_behind", "1 while the clock is behind the log and nothing opens", gate.clock_is_behind().into());
    head(&mut text, "tidegate_events_total", "what happened, by event and by the reason of a refusal or an end", "counter");
    for ((event, reason), count) in gate.counts().now() {
        // Names and codes are of this release: nothing in them has to be escaped.
        let _whole = writeln!(text, "tidegate_events_total{{event=\"{event}\",reason=\"{reason}\"}} {count}");
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

fn gauge(text: &mut String, name: &str, help: &str, value: u64) {
    head(text, name, help, "gauge");
    let _whole = writeln!(text, "{name} {value}");
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    let _whole = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
