//! `/measures`: whether access is getting better. For who may read the audit log, from which every number follows.

use axum::Json;
use axum::extract::State;
use evidence::measures::{self as counted, Day, Durations};
use jiff::ToSpan as _;
use jiff::tz::TimeZone;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Reads;
use crate::extract::Asked;
use crate::problem::{Answer, Refused};
use crate::state::ApiState;
use crate::types::measures::{By, Done, Measures, MeasuresQuery, Period, Share, Waits};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(measures))
}

/// Says how long access takes to get, to end and to be proved, period by period.
#[utoipa::path(get, path = "/measures", tag = "measures", params(MeasuresQuery), responses((status = 200, body = Measures)))]
async fn measures(State(state): State<ApiState>, Reads(caller): Reads, Asked(query): Asked<MeasuresQuery>) -> Answer<Json<Measures>> {
    let by = query.by.unwrap_or_default();
    let today = TimeZone::UTC.to_datetime(state.gate.now()).date();
    let far = |_| Refused::invalid("`since` and `until` have to be days of this calendar");
    let until = query.until.map_or_else(|| today.tomorrow(), Ok).map_err(far)?;
    let usual = match by {
        By::Day => 31.days(),
        By::Week => 26.weeks(),
        By::Month => 12.months(),
    };
    let since = query.since.map_or_else(|| until.checked_sub(usual), Ok).map_err(far)?;
    let by_counted = match by {
        By::Day => counted::By::Day,
        By::Week => counted::By::Week,
        By::Month => counted::By::Month,
    };
    let found = state.gate.measures(&caller, since, until, by_counted).await?;
    let report = found.report;
    Ok(Json(Measures {
        entries: report.entries,
        waiting: found.waiting,
        by,
        total: period(report.total),
        periods: report.periods.into_iter().map(period).collect(),
    }))
}

fn period(counted::Period { from, until, sum, standing }: counted::Period) -> Period {
    let Day { request_to_session, at_once, emergencies, production, time_bound, ended, complete, orders, contained, .. } = sum;
    Period {
        from,
        until,
        request_to_session: Waits {
            count: request_to_session.count(),
            median_ms: request_to_session.median(),
            p90_ms: request_to_session.quantile(90),
        },
        at_once,
        emergencies,
        time_bound: share(time_bound, production),
        standing_privileged_roles: standing,
        complete_audit: share(complete, ended),
        containment: done(orders, &contained),
        lateral_steps: sum.lateral_steps,
        revocation_to_last_byte: done(sum.revoked, &sum.to_last_byte),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share of counts far below 2^52")]
fn share(part: u64, of: u64) -> Share {
    Share { part, of, share: (of > 0).then(|| part as f64 / of as f64) }
}

fn done(ordered: u64, took: &Durations) -> Done {
    Done { ordered, done: took.count(), median_ms: took.median(), p99_ms: took.quantile(99), longest_ms: took.longest() }
}
