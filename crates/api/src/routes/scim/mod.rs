//! `/scim/v2`: what a directory says of people and groups (SCIM 2.0, RFC 7644).
//!
//! It describes itself (`/Schemas`, `/ResourceTypes`, `/ServiceProviderConfig`), so it stands beside the OpenAPI document. Only a directory's
//! own token is good here, and it is good nowhere else.

mod answers;
mod bulk;
mod kinds;
mod search;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use identity::scim::ScimError;
use identity::scim::list::Query;
use identity::scim::schema::{self, GROUP, USER};

use crate::state::ApiState;
use answers::{ByDirectory, Said, ScimBody, ScimQuery, Tags, answered, gone, listed};
use kinds::{How, Kind};

/// Where it is.
pub(crate) const AT: &str = "/scim/v2";

type Answer = Result<Response, Said>;

pub(crate) fn router(state: ApiState) -> Router<ApiState> {
    let mut routes = Router::new()
        .route("/ServiceProviderConfig", get(config))
        .route("/ResourceTypes", get(types))
        .route("/ResourceTypes/{id}", get(one_type))
        .route("/Schemas", get(schemas))
        .route("/Schemas/{id}", get(one_schema))
        .route("/Bulk", post(bulk::all))
        .route("/.search", post(search::everything))
        .route("/Me", get(me).post(me).put(me).patch(me).delete(me));
    for kind in [Kind::User, Kind::Group] {
        let at = kind.schema().endpoint;
        routes = routes
            .route(at, get(move |s, b, q| search::list(s, b, q, kind)).post(move |s, b, q, body| create(s, b, q, body, kind)))
            .route(&format!("{at}/.search"), post(move |s, b, body| search::posted(s, b, body, kind)))
            .route(
                &format!("{at}/{{id}}"),
                get(move |s, b, q, t, id| show(s, b, q, t, id, kind))
                    .put(move |s, b, q, t, id, body| write(s, b, q, t, id, body, (kind, How::Whole)))
                    .patch(move |s, b, q, t, id, body| write(s, b, q, t, id, body, (kind, How::Steps)))
                    .delete(move |s, b, t, id| take_out(s, b, t, id, kind)),
            );
    }
    routes.fallback(nothing_here).method_not_allowed_fallback(not_so).layer(axum::middleware::from_fn_with_state(state, answers::dressed))
}

/// Where everything of it is, as others are told.
fn base(state: &ApiState) -> String {
    format!("{}{AT}", state.facts.api)
}

async fn config(State(state): State<ApiState>, _: ByDirectory, ScimQuery(query): ScimQuery) -> Answer {
    not_filtered(&query)?;
    Ok(answered(200, schema::service_provider_config(&base(&state))))
}

async fn types(State(state): State<ApiState>, _: ByDirectory, ScimQuery(query): ScimQuery) -> Answer {
    not_filtered(&query)?;
    let base = base(&state);
    Ok(listed([&USER, &GROUP].map(|schema| schema.type_body(&base)).to_vec()))
}

async fn one_type(State(state): State<ApiState>, _: ByDirectory, Path(id): Path<String>) -> Answer {
    let found = [&USER, &GROUP].into_iter().find(|schema| schema.name == id);
    found
        .map(|schema| answered(200, schema.type_body(&base(&state))))
        .ok_or_else(|| ScimError::not_found("there is no such resource type").into())
}

async fn schemas(State(state): State<ApiState>, _: ByDirectory, ScimQuery(query): ScimQuery) -> Answer {
    not_filtered(&query)?;
    let base = base(&state);
    Ok(listed(schema::schemas().map(|schema| schema.body(&base)).collect()))
}

async fn one_schema(State(state): State<ApiState>, _: ByDirectory, Path(id): Path<String>) -> Answer {
    let found = schema::schemas().find(|schema| schema.urn.eq_ignore_ascii_case(&id));
    found.map(|schema| answered(200, schema.body(&base(&state)))).ok_or_else(|| ScimError::not_found("there is no such schema").into())
}

/// RFC 7644 §4: what the gate says of itself is not searched.
fn not_filtered(query: &Query) -> Result<(), ScimError> {
    if query.filter.is_none() { Ok(()) } else { Err(ScimError::plain(403, "what the gate says of itself cannot be filtered")) }
}

/// RFC 7644 §3.11: a directory is nobody among its own people.
async fn me(_: ByDirectory) -> Answer {
    Err(ScimError::plain(501, "a directory is none of its users; ask for them at `/Users`").into())
}

async fn nothing_here(_: ByDirectory) -> Answer {
    Err(ScimError::not_found("there is nothing at this path").into())
}

async fn not_so(_: ByDirectory) -> Answer {
    Err(ScimError::plain(405, "this path does not take this method").into())
}

async fn create(
    State(state): State<ApiState>,
    ByDirectory(caller): ByDirectory,
    ScimQuery(query): ScimQuery,
    ScimBody(body): ScimBody,
    kind: Kind,
) -> Answer {
    let made = kind.create(&state, &caller, &body).await?;
    let shown = made.shown(&state, &query.shown).await?;
    Ok(made.answer(201, &base(&state), Some(shown)))
}

async fn show(
    State(state): State<ApiState>,
    ByDirectory(caller): ByDirectory,
    ScimQuery(query): ScimQuery,
    tags: Tags,
    Path(id): Path<String>,
    kind: Kind,
) -> Answer {
    let found = kind.find(&state, &caller, &id).await?;
    if tags.has_seen(found.version()) {
        return Ok(found.answer(304, &base(&state), None));
    }
    let shown = found.shown(&state, &query.shown).await?;
    Ok(found.answer(200, &base(&state), Some(shown)))
}

async fn write(
    State(state): State<ApiState>,
    ByDirectory(caller): ByDirectory,
    ScimQuery(query): ScimQuery,
    tags: Tags,
    Path(id): Path<String>,
    ScimBody(body): ScimBody,
    (kind, how): (Kind, How),
) -> Answer {
    let now = kind.write(&state, &caller, (&id, tags.wanted()), how, &body).await?;
    // A group may be large, and who changes one of its members knows the others (RFC 7644 §3.5.2: 204).
    if (kind, how) == (Kind::Group, How::Steps) && query.shown == Default::default() {
        return Ok(now.answer(204, &base(&state), None));
    }
    let shown = now.shown(&state, &query.shown).await?;
    Ok(now.answer(200, &base(&state), Some(shown)))
}

async fn take_out(
    State(state): State<ApiState>,
    ByDirectory(caller): ByDirectory,
    tags: Tags,
    Path(id): Path<String>,
    kind: Kind,
) -> Answer {
    kind.take_out(&state, &caller, &id, tags.wanted()).await?;
    Ok(gone())
}
