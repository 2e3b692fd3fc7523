//! What a request says: bodies, ids and questions, each unreadable one a problem.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use access::reason::{Reason, Refusal};
use access::source::source;
use axum::body::{Bytes, HttpBody as _};
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use bytes::BytesMut;
use futures::StreamExt as _;
use policy::{Act, Noun, Object};
use serde::de::DeserializeOwned;
use workflow::Caller;

use crate::problem::Refused;
use crate::state::ApiState;

/// The largest body that is read, in bytes …
pub(crate) const LARGEST_BODY: usize = 1024 * 1024;
/// … of a list of ways that is imported …
pub(crate) const LARGEST_LIST: usize = 8 * 1024 * 1024;
/// … of a policy directory, from who may put one in force …
pub(crate) const LARGEST_POLICY: usize = 32 * 1024 * 1024;
/// … and of somebody who has not said who they are.
pub(crate) const LARGEST_BODY_OF_STRANGERS: usize = 64 * 1024;

/// A JSON body, which says so: a web page can send others elsewhere without being asked. None at all is the same as `{}`.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<ApiState> for Body<T> {
    type Rejection = Refused;
    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Refused> {
        let is_json = request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| {
            let kind = kind.to_str().unwrap_or_default();
            kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
        });
        let bytes = whole(request, state).await?;
        if bytes.is_empty() {
            return parse(b"{}").map(Self);
        }
        if !is_json {
            return Err(Refused::invalid("the body has to be `application/json`").with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        parse(&bytes).map(Self)
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(bytes).map_err(|error| Refused::invalid(format!("the body: {error}")))
}

/// How long a body may take to come.
const BODY_WITHIN: Duration = Duration::from_secs(20);

/// All of a body, if it is not too large, comes in time, and not too much is on its way from the same caller.
pub(crate) async fn whole(request: Request, state: &ApiState) -> Result<Bytes, Refused> {
    // 1. Who sends it, and how much may it be?
    let signed_in = request.extensions().get::<Caller>().cloned();
    let caller = signed_in.as_ref().map(|caller| caller.who.id());
    let path = request.uri().path();
    let is_policy = path.ends_with("/policy/push") || path.ends_with("/policy/diff");
    let largest = match caller {
        Some(_) if path.ends_with("/inventory/import") => LARGEST_LIST,
        Some(_) if is_policy => LARGEST_POLICY,
        Some(_) => LARGEST_BODY,
        None => LARGEST_BODY_OF_STRANGERS,
    };
    let too_large = || {
        let instead = match is_policy {
            true => "; put the files into the policy directory at the gate itself, and send it SIGHUP",
            false => "",
        };
        Refused::invalid(format!("the body is larger than {largest} bytes{instead}")).with_status(StatusCode::PAYLOAD_TOO_LARGE)
    };
    let said = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let size = if request.body().is_end_stream() { 0 } else { said.unwrap_or(largest) };
    if size > largest {
        return Err(too_large());
    }
    // 2. Is there room for it? Memory is held for what is announced, until all of it has come.
    let too_much = || Refused::from(Refusal::because(Reason::TooMany, "too much is on its way from you already; send one after the other"));
    let (mut _person, mut _stranger) = (None, None);
    match caller {
        // So much is taken from nobody else, and of one at a time.
        Some(id) if is_policy && size > LARGEST_BODY => {
            if let Some(caller) = &signed_in {
                Box::pin(state.gate.authorize(caller, Act::Administer(Noun::Bundle), &Object::Nothing)).await?;
            }
            _person = Some(state.taken.policies.take(id, size).ok_or_else(too_much)?);
        }
        Some(caller) => _person = Some(state.taken.bodies.take(caller, size).ok_or_else(too_much)?),
        None => {
            let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| source(peer.0.ip()));
            let from = from.ok_or_else(|| Refusal::because(Reason::Internal, "the listener did not say who is connected"))?;
            _stranger = Some(state.taken.strangers_bodies.take(from, size).ok_or_else(too_much)?);
        }
    }
    // 3. Wait for it.
    let late = |_| Refused::invalid("the body did not come in time").with_status(StatusCode::REQUEST_TIMEOUT);
    let came = async {
        let (mut pieces, mut bytes) = (request.into_body().into_data_stream(), BytesMut::with_capacity(size));
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| Refused::invalid("the body broke off"))?;
            if bytes.len() + piece.len() > largest {
                return Err(too_large());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    };
    tokio::time::timeout(BODY_WITHIN, came).await.map_err(late)?
}

/// The id or name in a path.
pub(crate) struct Id<T>(pub(crate) T);

impl<S, T> FromRequestParts<S> for Id<T>
where
    S: Send + Sync,
    T: FromStr,
    T::Err: std::fmt::Display,
{
    type Rejection = Refused;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| Refused::not_found())?;
        text.parse().map(Self).map_err(|error: T::Err| Refused::invalid(error.to_string()))
    }
}

/// What stands behind the question mark.
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Refused;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(Refused::invalid(rejection.body_text())),
        }
    }
}
