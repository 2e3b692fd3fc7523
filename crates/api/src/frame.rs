//! Around every call: its id, its time limit, its fault border, and the headers of its answer.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
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
/// The same where the whole log or many recordings are gone through first: an export that can't be had is worth nothing.
const LONG_PATIENCE: Duration = Duration::from_secs(3600);

/// How long a call at this route may take.
fn patience(route: &str) -> Duration {
    match route {
        "/api/v1/evidence/export"
        | "/api/v1/audit/replay"
        | "/api/v1/audit/who-could"
        | "/api/v1/audit/who-did"
        | "/api/v1/sessions/search"
        | "/api/v1/users/{id}/erase" => LONG_PATIENCE,
        _ => PATIENCE,
    }
}

/// Under which the gate's log knows a call.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// As of which entry an answer is, for whoever is signed in: how busy a gate is, is nobody else's business.
pub(crate) const AS_OF: HeaderName = HeaderName::from_static("x-tidegate-as-of");

/// Where that is noted when somebody has proved who they are, and before anything is read for them.
#[derive(Debug, Clone, Default)]
pub(crate) struct AsOf(Arc<OnceLock<String>>);

impl AsOf {
    pub(crate) fn note(&self, state: &ApiState) {
        self.0.get_or_init(|| state.as_of());
    }
}

const HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

/// The outermost layer.
pub(crate) async fn framed(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let id = format!("{:032x}", rand::random::<u128>());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "-".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!("call", request_id = %id);
    let began = Instant::now();
    let as_of = AsOf::default();
    request.extensions_mut().insert(as_of.clone());

    let response = answered(request, next, patience(&route)).instrument(span.clone()).await;
    let mut response = written(response, &id);
    dress(&state, &mut response, &id);
    if let Some(as_of) = as_of.0.get()
        && let Ok(as_of) = HeaderValue::from_str(as_of)
    {
        response.headers_mut().entry(AS_OF).or_insert(as_of);
    }

    let (status, took) = (response.status().as_u16(), began.elapsed());
    span.in_scope(|| tracing::info!(%method, route, status, ms = took.as_secs_f64() * 1e3, "answered"));
    response
}

async fn answered(request: Request, next: Next, patience: Duration) -> Response {
    let reads = request.method().is_safe();
    let call = AssertUnwindSafe(async move { next.run(request).await }).catch_unwind();
    let outcome = if reads {
        tokio::time::timeout(patience, call).await.map(|done| done.map_err(drop))
    } else {
        // INVARIANT: a verb that was begun is finished, even if its caller hangs up between the entry and the cut.
        let call = tokio::spawn(call.in_current_span());
        tokio::time::timeout(patience, call).await.map(|done| done.map_err(drop).and_then(|done| done.map_err(drop)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::gate::GateFacts;
    use crate::types::problem::Problem;
    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::middleware::from_fn_with_state;
    use axum::routing::any;
    use testkit::gate::TestGate;
    use tokio::sync::oneshot;
    use tower::ServiceExt as _;

    async fn around(handler: Router<ApiState>) -> Router {
        let gate = TestGate::start().await.unwrap().gate.clone();
        let state = ApiState::new(gate, GateFacts::default());
        handler.layer(from_fn_with_state(state.clone(), framed)).with_state(state)
    }

    fn call(method: &str) -> Request {
        Request::builder().method(method).uri("/").body(Body::empty()).unwrap()
    }

    #[test]
    fn what_reads_the_whole_log_has_the_time_for_it() {
        let document = crate::openapi();
        let paths: Vec<&String> = document.paths.paths.keys().collect();
        let long: Vec<_> = paths.iter().filter(|path| patience(path) > PATIENCE).collect();
        // Each of them is a route that there is.
        assert_eq!(long.len(), 6, "{long:?}");
        assert_eq!(patience("/api/v1/requests"), PATIENCE);
    }

    // covers: E8 (api)
    #[tokio::test]
    async fn a_panic_is_one_calls_problem() {
        let router = around(Router::new().route(
            "/",
            any(|| async {
                if true {
                    panic!("a fault")
                }
            }),
        ))
        .await;
        for method in ["GET", "POST"] {
            let response = router.clone().oneshot(call(method)).await.unwrap();
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
            let problem: Problem = serde_json::from_slice(&body).unwrap();
            assert_eq!((problem.code, problem.detail), (Reason::Internal, None));
        }
    }

    #[tokio::test]
    async fn a_verb_that_was_begun_is_finished_though_its_caller_hangs_up() {
        let (begun, has_begun) = oneshot::channel();
        let (go_on, may_go_on) = oneshot::channel::<()>();
        let (done, is_done) = oneshot::channel();
        let parts = std::sync::Arc::new(std::sync::Mutex::new(Some((begun, may_go_on, done))));
        let handler = move || {
            let parts = parts.lock().unwrap().take();
            async move {
                let (begun, may_go_on, done) = parts.unwrap();
                begun.send(()).unwrap();
                may_go_on.await.unwrap();
                done.send(()).unwrap();
            }
        };
        let router = around(Router::new().route("/", any(handler))).await;
        let caller = tokio::spawn(router.oneshot(call("POST")));
        has_begun.await.unwrap();
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        go_on.send(()).unwrap();
        is_done.await.expect("the verb was finished");
    }
}
