//! Who speaks, what they send, and how they are answered: as SCIM says, and nothing as the rest of the API does.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Query as UrlQuery, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use identity::scim::ScimError;
use identity::scim::list::{LIST_URN, Query};
use serde_json::{Value, json};
use workflow::Caller;
use workflow::directory::SeenVersion;

use crate::caller::whoever;
use crate::extract::whole;
use crate::problem::Refused;
use crate::state::ApiState;

/// RFC 7644 §8.1.
const SCIM_JSON: &str = "application/scim+json";

/// An error on its way out.
pub(crate) struct Said(pub(crate) ScimError);

impl From<ScimError> for Said {
    fn from(error: ScimError) -> Self {
        Self(error)
    }
}

impl From<Refused> for Said {
    fn from(refused: Refused) -> Self {
        Self(ScimError::plain(refused.status().as_u16(), refused.refusal().to_string()))
    }
}

impl IntoResponse for Said {
    fn into_response(self) -> Response {
        let mut response = answered(self.0.status, self.0.body());
        match self.0.status {
            401 => drop(response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            429 | 503 => drop(response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("6"))),
            _ => {}
        }
        response
    }
}

/// Somebody who speaks for a directory that is configured.
pub(super) struct ByDirectory(pub(super) Caller);

impl FromRequestParts<ApiState> for ByDirectory {
    type Rejection = Said;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Said> {
        let caller = whoever(parts, state).await?;
        state.gate.directory_of(&caller)?;
        Ok(Self(caller))
    }
}

/// A body, which says that it is JSON.
pub(super) struct ScimBody(pub(super) Value);

impl FromRequest<ApiState> for ScimBody {
    type Rejection = Said;
    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Said> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/scim+json") && !kind.eq_ignore_ascii_case("application/json") {
            return Err(ScimError::plain(415, "the body has to be `application/scim+json`").into());
        }
        let bytes = whole(request, state).await?;
        let body = serde_json::from_slice(&bytes).map_err(|error| ScimError::syntax(format!("the body is no JSON: {error}")))?;
        Ok(Self(body))
    }
}

/// What stands behind the question mark.
pub(super) struct ScimQuery(pub(super) Query);

impl FromRequestParts<ApiState> for ScimQuery {
    type Rejection = Said;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Said> {
        let UrlQuery(pairs) = UrlQuery::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| ScimError::value(rejection.body_text()))?;
        Ok(Self(Query::of_parameters(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))?))
    }
}

/// What the caller has seen, as entity tags (RFC 7644 §3.14).
pub(super) struct Tags(HeaderMap);

impl FromRequestParts<ApiState> for Tags {
    type Rejection = Said;
    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Said> {
        Ok(Self(parts.headers.clone()))
    }
}

impl Tags {
    /// The version that is to be changed.
    pub(super) fn wanted(&self) -> SeenVersion {
        match self.0.get(header::IF_MATCH) {
            None => SeenVersion::default(),
            Some(tag) => version_in(tag.to_str().unwrap_or_default()),
        }
    }

    /// Whether they have this version already.
    pub(super) fn has_seen(&self, version: i64) -> bool {
        let tag = self.0.get(header::IF_NONE_MATCH).and_then(|tag| tag.to_str().ok());
        tag.is_some_and(|tag| version_in(tag) == SeenVersion(Some(version)))
    }
}

/// The version that a tag names; what names none is no version that there ever was.
pub(super) fn version_in(tag: &str) -> SeenVersion {
    match tag.trim() {
        "*" => SeenVersion::default(),
        tag => {
            let number = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"').parse();
            SeenVersion(Some(number.unwrap_or(-1)))
        }
    }
}

pub(super) fn answered(status: u16, body: Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, SCIM_JSON)], Json(body).into_response().into_body()).into_response()
}

/// A list that is always shown whole.
pub(super) fn listed(all: Vec<Value>) -> Response {
    let count = all.len();
    answered(200, json!({ "schemas": [LIST_URN], "totalResults": count, "startIndex": 1, "itemsPerPage": count, "Resources": all }))
}

pub(super) fn gone() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// A no of the rest of the API, such as a panic's, on its way out of here: said as SCIM says it.
pub(super) async fn dressed(State(_): State<ApiState>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    match response.extensions_mut().remove::<Refused>() {
        Some(refused) => Said::from(refused).into_response(),
        None => response,
    }
}
