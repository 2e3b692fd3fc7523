//! Around every call: its id, its time limit, its fault border, and the headers of its answer.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use access::reason::{Reason, Refusal};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use tracing::Instrument as _;

use crate::problem::{Refused, written};
use crate::state::ApiState;

/// How long a call may take until its answer begins. Streams may last.
const PATIENCE: Duration = Duration::from_secs(60);

/// Under which the gate's log knows a call.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

/// The outermost layer.
pub(crate) async fn framed(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let id = format!("{:032x}", rand::random::<u128>());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "-".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!("call", request_id = %id);
    let began = Instant::now();

    let response = answered(request, next).instrument(span.clone()).await;
    let mut response = written(response, &id);
    dress(&state, &mut response, &id);

    let (status, took) = (response.status().as_u16(), began.elapsed());
    span.in_scope(|| tracing::info!(%method, route, status, ms = took.as_secs_f64() * 1e3, "answered"));
    response
}

async fn answered(request: Request, next: Next) -> Response {
    let reads = request.method().is_safe();
    let call = AssertUnwindSafe(async move { next.run(request).await }).catch_unwind();
    let outcome = if reads {
        tokio::time::timeout(PATIENCE, call).await.map(|done| done.map_err(drop))
    } else {
        // INVARIANT: a verb that was begun is finished, even if its caller hangs up between the entry and the cut.
        let call = tokio::spawn(call.in_current_span());
        tokio::time::timeout(PATIENCE, call).await.map(|done| done.map_err(drop).and_then(|done| done.map_err(drop)))
    };
    match outcome {
        Ok(Ok(response)) => response,
        Ok(Err(())) => {
            tracing::error!("a handler panicked");
            Refused::from(Reason::Internal).into_response()
        }
        Err(_) => Refused::from(Refusal::because(Reason::Internal, "it took too long; look before you try again")).into_response(),
    }
}

fn dress(state: &ApiState, response: &mut Response, id: &str) {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if state.facts.api.starts_with("https://") {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
}
