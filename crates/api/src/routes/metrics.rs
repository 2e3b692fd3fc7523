//! `/metrics`: the gate in numbers, in Prometheus' text format (version 0.0.4). For who may read the audit log: a scraper has a token.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use policy::{Act, Noun, Object};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::timings::Histogram;

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
    let open = gate.store().open_grants().await?;
    let standing = open.iter().filter(|grant| grant.length.is_none()).count();
    let placed = gate.store().sequenced().await?;
    gauge(&mut text, "tidegate_sessions_live", "sessions that live on this node", gate.live().len() as u64);
    gauge(&mut text, "tidegate_requests_pending", "requests that people are asked about", pending as u64);
    gauge(&mut text, "tidegate_grants_open", "grants that are ready or active", open.len() as u64);
    gauge(&mut text, "tidegate_grants_standing", "those of them that have no end", standing as u64);
    gauge(&mut text, "tidegate_log_entries", "audit entries that have their place in the log", placed);
    gauge(&mut text, "tidegate_log_stuck", "1 while entries do not reach the signed log", gate.log_trouble().is_some().into());
    gauge(&mut text, "tidegate_sweep_stuck", "1 while nobody looks at the ends of sessions", (!gate.is_swept()).into());
    gauge(&mut text, "tidegate_clock_behind", "1 while the clock is behind the log and nothing opens", gate.clock_is_behind().into());
    let timings = gate.timings();
    head(&mut text, "tidegate_audit_waiting_seconds", "how long the oldest entry waits that no published checkpoint commits to", "gauge");
    let _whole = writeln!(text, "tidegate_audit_waiting_seconds {}", timings.audit_waiting().as_secs_f64());
    histogram(&mut text, "tidegate_decision_seconds", "time policy takes to decide a request", &timings.decisions());
    histogram(
        &mut text,
        "tidegate_audit_lag_seconds",
        "time from an entry to the published checkpoint that commits to it; of those that one takes, the oldest",
        &timings.audit_lag(),
    );
    histogram(
        &mut text,
        "tidegate_cut_seconds",
        "time from a revocation or another cut to both sides of the session closed",
        &timings.cuts(),
    );
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

fn histogram(text: &mut String, name: &str, help: &str, measured: &Histogram) {
    head(text, name, help, "histogram");
    for (bound, within) in &measured.buckets {
        let _whole = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {within}");
    }
    let _whole = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {0}\n{name}_sum {1}\n{name}_count {0}", measured.count, measured.sum);
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    let _whole = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
