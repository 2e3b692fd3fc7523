//! `/metrics`: the gate in numbers, in Prometheus' text format (version 0.0.4). For who may read the audit log: a scraper has a token.

use std::fmt::Write as _;

use access::outbox::OutboxState;
use access::time::Span;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use evidence::measures::{Durations, Period};
use jiff::Timestamp;
use policy::{Act, Noun, Object};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::read::OutboxCount;
use workflow::streams::StreamState;
use workflow::timings::Histogram;

use crate::caller::Reads;
use crate::problem::Answer;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// Says how the gate is doing, in numbers.
///
/// Counters begin at zero when the process does, but for the measures: those are of the whole log, and a restart takes nothing from them.
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
    let stopped = gate.retention_is_stopped().into();
    gauge(&mut text, "tidegate_retention_stopped", "1 while no recording goes by age, because the clock may be wrong", stopped);
    let outbox = gate.store().outbox_counts().await?;
    head(&mut text, "tidegate_outbox_messages", "messages to the outside that wait or were given up", "gauge");
    for OutboxCount { destination, state, count, .. } in &outbox {
        // Destinations are names of the configuration: nothing in them has to be escaped.
        let _whole = writeln!(text, "tidegate_outbox_messages{{destination=\"{destination}\",state=\"{state}\"}} {count}");
    }
    head(&mut text, "tidegate_outbox_oldest_seconds", "how long the oldest message waits", "gauge");
    for OutboxCount { destination, oldest, .. } in outbox.iter().filter(|counted| counted.state == OutboxState::Waiting) {
        let waits = Span::between(*oldest, gate.now()).as_seconds();
        let _whole = writeln!(text, "tidegate_outbox_oldest_seconds{{destination=\"{destination}\"}} {waits}");
    }
    streams(&mut text, &gate.stream_states().await?, gate.now());
    let index = gate.index_state().await?;
    gauge(&mut text, "tidegate_search_waiting_entries", "entries of the log that the search index does not have yet", index.waiting);
    gauge(&mut text, "tidegate_search_sessions", "sessions that the search index knows", index.sessions);
    gauge(&mut text, "tidegate_search_unread_sessions", "those of them that are read whatever is looked for", index.unread);
    gauge(&mut text, "tidegate_search_stuck", "1 while the search index cannot be written", index.trouble.is_some().into());
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
    histogram(
        &mut text,
        "tidegate_contain_seconds",
        "time from the call to contain somebody or something to the last end of a session that was seen at its target",
        &timings.containments(),
    );
    let measured = gate.measured_so_far().await;
    gauge(&mut text, "tidegate_measures_stuck", "1 while the log cannot be counted for the measures", measured.is_err().into());
    match measured {
        Ok((period, entries)) => measures(&mut text, &period, entries),
        Err(refusal) => tracing::error!(%refusal, "the measures cannot be counted"),
    }
    head(&mut text, "tidegate_events_total", "what happened, by event and by the reason of a refusal or an end", "counter");
    for ((event, reason), count) in gate.counts().now() {
        // Names and codes are of this release: nothing in them has to be escaped.
        let _whole = writeln!(text, "tidegate_events_total{{event=\"{event}\",reason=\"{reason}\"}} {count}");
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

/// How far each stream of the log came.
fn streams(text: &mut String, states: &[StreamState], now: Timestamp) {
    // Names are of the configuration: nothing in them has to be escaped.
    head(text, "tidegate_stream_waiting_entries", "entries of the log that a stream's collector did not take yet", "gauge");
    for state in states {
        let _whole = writeln!(text, "tidegate_stream_waiting_entries{{stream=\"{}\"}} {}", state.row.name, state.waiting);
    }
    head(text, "tidegate_stream_lag_seconds", "how long the oldest of them waits", "gauge");
    for state in states {
        let waits = state.oldest.map_or(0, |oldest| Span::between(oldest, now).as_seconds());
        let _whole = writeln!(text, "tidegate_stream_lag_seconds{{stream=\"{}\"}} {waits}", state.row.name);
    }
    head(text, "tidegate_stream_failing", "1 while a stream's collector takes nothing", "gauge");
    for state in states {
        let fails = u8::from(state.row.failing_since.is_some());
        let _whole = writeln!(text, "tidegate_stream_failing{{stream=\"{}\"}} {fails}", state.row.name);
    }
}

/// Upper bounds in milliseconds, for what waits for people and for what the gate does by itself.
const PATIENT: [u64; 10] = [10_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000, 14_400_000, 86_400_000];
const PROMPT: [u64; 11] = [10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 60_000, 3_600_000];

/// The measures of the whole log.
fn measures(text: &mut String, period: &Period, entries: u64) {
    let sum = &period.sum;
    gauge(text, "tidegate_measures_log_entries", "entries of the log that the measures follow from", entries);
    let waited = "time from a request that people agreed to, to the first session on what came of it";
    counted(text, "tidegate_request_to_session_seconds", waited, &sum.request_to_session, &PATIENT);
    let production = [("time_bound", sum.time_bound), ("standing", sum.production - sum.time_bound)];
    split(
        text,
        "tidegate_production_sessions_total",
        "sessions opened on production, by whether their right has an end",
        "right",
        production,
    );
    gauge(text, "tidegate_standing_privileged_roles", "rights on production without an end that are active", period.standing);
    let audited = [("complete", sum.complete), ("incomplete", sum.ended - sum.complete)];
    split(text, "tidegate_sessions_ended_total", "sessions that ended, by whether everything of them stands in the log", "audit", audited);
    total(text, "tidegate_containment_orders_total", "orders to contain that found something open", sum.orders);
    let contained = "time from an order to contain to the last confirmed close in its scope";
    counted(text, "tidegate_containment_seconds", contained, &sum.contained, &PROMPT);
    total(text, "tidegate_lateral_steps_total", "sessions opened from the machine of another session", sum.lateral_steps);
    total(text, "tidegate_revoked_sessions_total", "sessions that were open when what they stood on was taken away", sum.revoked);
    let closed = "time from that to the confirmed close";
    counted(text, "tidegate_revocation_to_last_byte_seconds", closed, &sum.to_last_byte, &PROMPT);
}

fn total(text: &mut String, name: &str, help: &str, value: u64) {
    head(text, name, help, "counter");
    let _whole = writeln!(text, "{name} {value}");
}

fn split(text: &mut String, name: &str, help: &str, label: &str, parts: [(&str, u64); 2]) {
    head(text, name, help, "counter");
    for (part, value) in parts {
        let _whole = writeln!(text, "{name}{{{label}=\"{part}\"}} {value}");
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds far below 2^52")]
fn counted(text: &mut String, name: &str, help: &str, took: &Durations, bounds: &[u64]) {
    let seconds = |millis: u64| millis as f64 / 1_000.0;
    let buckets = bounds.iter().map(|bound| (seconds(*bound), took.within(*bound))).collect();
    histogram(text, name, help, &Histogram { buckets, sum: seconds(took.sum()), count: took.count() });
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

#[cfg(test)]
mod tests {
    use evidence::measures::Day;
    use jiff::civil::date;
    use jiff::{SignedDuration, Timestamp};

    use super::*;

    /// A year in which people wait less from week to week: 30 sessions a week, one of them on a right without an end, one cut by an order.
    fn year() -> Period {
        let begin: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut sum = Day::default();
        for week in 0..52_i64 {
            let mut day = Day { production: 30, time_bound: 29, ended: 30, complete: 29, orders: 1, revoked: 2, ..Day::default() };
            let took = |millis: i64| begin.checked_add(SignedDuration::from_millis(millis)).unwrap();
            for n in 0..30_i64 {
                day.request_to_session.measured(begin, took((55 - week) * n * 2_000 + 4_000));
            }
            day.contained.measured(begin, took(180 + 20 * week));
            for cut in [90, 180 + 20 * week] {
                day.to_last_byte.measured(begin, took(cut));
            }
            day.lateral_steps = u64::from(week % 13 == 0);
            sum.add(&day);
        }
        Period { from: date(2026, 1, 1), until: date(2027, 1, 1), sum, standing: 3 }
    }

    // covers: BACK-5 (api)
    #[test]
    fn a_year_as_prometheus_reads_it() {
        let mut text = String::new();
        measures(&mut text, &year(), 12_345);
        insta::assert_snapshot!(text);
    }
}
