//! Every no of the API: the one place where a refusal becomes an RFC 9457 problem.
//!
//! A handler answers with a [`Refused`]; the outermost layer, which knows the id of the call, writes its body
//! ([`written`]). So unknown routes, unreadable bodies and panics look like everything else.

use access::reason::{Reason, Refusal};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::types::problem::Problem;
use crate::types::requests::AnswerCode;
use crate::types::signals::SetRefused;

/// What a handler answers.
pub(crate) type Answer<T> = Result<T, Refused>;

/// A refusal on its way out.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    refusal: Refusal,
    status: StatusCode,
    answer: Option<AnswerCode>,
    tongue: Option<Tongue>,
}

/// How another protocol says no, and under which of its codes.
#[derive(Debug, Clone, Copy)]
enum Tongue {
    /// OAuth 2.0 (RFC 6749 §5.2).
    OAuth(&'static str),
    /// Delivery of security event tokens by push (RFC 8935 §2.3).
    SecurityEvent(&'static str),
}

impl Refused {
    /// The input cannot be understood.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Refusal::because(Reason::Invalid, detail).into()
    }

    /// There is no such thing, or none that the caller may see.
    pub(crate) fn not_found() -> Self {
        Refusal::of(Reason::NotFound).into()
    }

    /// With another status than its reason's own.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// With what policy answered to somebody who asked.
    pub(crate) fn with_answer(self, answer: AnswerCode) -> Self {
        Self { answer: Some(answer), ..self }
    }

    /// As OAuth 2.0 says it (RFC 6749 §5.2), besides: under this code.
    pub(crate) fn with_oauth(self, error: &'static str) -> Self {
        Self { tongue: Some(Tongue::OAuth(error)), ..self }
    }

    /// As who delivers security event tokens is told (RFC 8935 §2.4): under this code, and nothing besides.
    pub(crate) fn with_set_error(self, err: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, tongue: Some(Tongue::SecurityEvent(err)), ..self }
    }

    /// Its status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// What it says.
    pub(crate) fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// What it says, where another protocol says it its own way.
    pub(crate) fn into_refusal(self) -> Refusal {
        self.refusal
    }

    #[cfg(test)]
    pub(crate) fn reason(&self) -> Reason {
        self.refusal.reason
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.reason.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { refusal, status, answer: None, tongue: None }
    }
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Refusal::of(reason).into()
    }
}

impl From<workflow::read::StoreError> for Refused {
    fn from(error: workflow::read::StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the store did not answer");
        Reason::StoreUnavailable.into()
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of a refusal, if the response is one.
pub(crate) fn written(mut response: Response, request_id: &str) -> Response {
    let Some(refused) = response.extensions_mut().remove::<Refused>() else { return response };
    let mut problem = Problem::new(&refused.refusal, request_id);
    problem.status = refused.status.as_u16();
    problem.answer = refused.answer;
    let (body, kind) = match refused.tongue {
        None => (serde_json::to_vec(&problem), "application/problem+json"),
        Some(Tongue::OAuth(error)) => {
            (serde_json::to_vec(&OAuthProblem { error, error_description: described(&refused.refusal), problem }), "application/json")
        }
        Some(Tongue::SecurityEvent(err)) => {
            let description = refused.refusal.detail.unwrap_or_else(|| refused.refusal.reason.to_string());
            (serde_json::to_vec(&SetRefused { err: err.to_owned(), description }), "application/json")
        }
    };
    let body = body.unwrap_or_default();
    let mut response = (refused.status, [(header::CONTENT_TYPE, kind)], body).into_response();
    let headers = response.headers_mut();
    if matches!(refused.tongue, Some(Tongue::SecurityEvent(_))) {
        headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static("en"));
    }
    if refused.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    // What was not there a moment ago is looked for again after as long.
    let again = match refused.status {
        StatusCode::TOO_MANY_REQUESTS => Some("6"),
        StatusCode::SERVICE_UNAVAILABLE => Some("10"),
        _ => None,
    };
    if let Some(again) = again {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(again));
    }
    response
}

/// A refusal for who speaks OAuth 2.0, and for who speaks as the rest of this API does.
#[derive(serde::Serialize)]
struct OAuthProblem {
    error: &'static str,
    error_description: String,
    #[serde(flatten)]
    problem: Problem,
}

/// A refusal in the letters that OAuth 2.0 allows (RFC 6749 §5.2).
fn described(refusal: &Refusal) -> String {
    let plain = |c: char| match c {
        '"' | '\\' => '\'',
        ' '..='~' => c,
        _ => '?',
    };
    refusal.to_string().chars().map(plain).collect()
}

/// Where no route leads.
pub(crate) async fn no_route() -> Refused {
    Refusal::because(Reason::NotFound, "no route of this API has this path").into()
}

/// Where a route leads, but not by this method.
pub(crate) async fn no_method() -> Refused {
    Refused::invalid("this path does not take this method").with_status(StatusCode::METHOD_NOT_ALLOWED)
}
