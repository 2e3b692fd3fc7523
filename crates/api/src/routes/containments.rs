//! `/containments`: everything of a person or resource shut in one go.

use access::ids::LockId;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::SignedIn;
use crate::extract::{Body, Id};
use crate::problem::Answer;
use crate::shown::{self, Shown};
use crate::state::ApiState;
use crate::types::containments::{Contained, Lifting, NewContainment};
use crate::types::locks::Lock;
use crate::types::schema;
use crate::version::IfMatch;

use super::passkeys;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(contain)).routes(routes!(lift))
}

/// Contains a person, machine or resource: locks it, cuts every session in its scope, denies what waits, revokes every grant, and takes away
/// a person's tokens, keys, browsers, chat accounts, mailboxes and invitations. Asked again, it takes away what is left over.
#[utoipa::path(post, path = "/containments", tag = "containments", request_body = NewContainment, responses(
    (status = 201, description = "It is contained", body = Contained),
    (status = 200, description = "It was contained before", body = Contained),
))]
async fn contain(State(state): State<ApiState>, SignedIn(caller): SignedIn, Body(new): Body<NewContainment>) -> Answer<impl IntoResponse> {
    let done = Box::pin(state.gate.contain(&caller, new.scope, &new.reason)).await?;
    let status = if done.already { StatusCode::OK } else { StatusCode::CREATED };
    let contained = Contained {
        lock: Shown::new(&state.gate).lock(done.lock).await?,
        already: done.already,
        cut: shown::cut(done.cut),
        requests: done.requests,
        grants: done.grants,
        credentials: done.credentials,
        passkeys: done.passkeys.into_iter().map(|row| passkeys::shown(row, None)).collect(),
        browsers: done.browsers,
        seconds: done.took.as_secs_f64(),
    };
    Ok((status, Json(contained)))
}

/// Lifts a containment. Nothing that was taken away comes back by that.
#[utoipa::path(post, path = "/containments/{id}/lift", tag = "containments", params(("id" = schema::LockId, Path), schema::IfMatch), request_body = Lifting, responses((status = 200, body = Lock)))]
async fn lift(
    State(state): State<ApiState>,
    SignedIn(caller): SignedIn,
    Id(id): Id<LockId>,
    seen: IfMatch,
    Body(why): Body<Lifting>,
) -> Answer<Json<Lock>> {
    let row = state.gate.release(&caller, seen.of(id), &why.reason).await?;
    Ok(Json(Shown::new(&state.gate).lock(row).await?))
}
