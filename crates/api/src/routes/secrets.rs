//! `/secrets` and `/keys/rotate`: what opens targets, and the gate's own keys.

use access::names::SecretName;
use access::secret::Secret;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use policy::{Act, Noun, Object};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::keys::{GateKey, Replaced};

use crate::caller::SignedIn;
use crate::extract::{Body, Id};
use crate::listing::page;
use crate::problem::{Answer, Refused};
use crate::state::ApiState;
use crate::types::list::Page;
use crate::types::schema;
use crate::types::secrets::{ActivateKey, RotateKey, RotatedKey, SealedSecret, SecretValue};
use crate::version::Unversioned;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(set, remove)).routes(routes!(rotate)).routes(routes!(activate))
}

/// Lists the names of sealed secrets. No value is ever shown.
#[utoipa::path(get, path = "/secrets", tag = "secrets", responses((status = 200, body = Page<SealedSecret>)))]
async fn list(State(state): State<ApiState>, SignedIn(caller): SignedIn) -> Answer<Json<Page<SealedSecret>>> {
    state.gate.authorize(&caller, Act::Administer(Noun::Secret), &Object::Nothing).await?;
    let rows = state.gate.store().secrets().await?;
    Ok(page(rows.into_iter().map(|row| SealedSecret { name: row.name, set_at: row.set_at, key_id: row.key_id }).collect(), None))
}

/// Sets a sealed secret, in place of the one of its name.
#[utoipa::path(put, path = "/secrets/{name}", tag = "secrets", params(("name" = schema::SecretName, Path)), request_body = SecretValue, responses((status = 204)))]
async fn set(
    State(state): State<ApiState>,
    SignedIn(caller): SignedIn,
    Id(name): Id<SecretName>,
    _: Unversioned,
    Body(body): Body<SecretValue>,
) -> Answer<StatusCode> {
    state.gate.set_secret(&caller, name, Secret::new(body.value)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a sealed secret.
#[utoipa::path(delete, path = "/secrets/{name}", tag = "secrets", params(("name" = schema::SecretName, Path)), responses((status = 204)))]
async fn remove(State(state): State<ApiState>, SignedIn(caller): SignedIn, Id(name): Id<SecretName>, _: Unversioned) -> Answer<StatusCode> {
    state.gate.remove_secret(&caller, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replaces one of the gate's own keys; the old one still verifies what it signed. A target CA is only announced by this.
#[utoipa::path(post, path = "/keys/rotate", tag = "secrets", request_body = RotateKey, responses((status = 200, body = RotatedKey)))]
async fn rotate(
    State(state): State<ApiState>,
    SignedIn(caller): SignedIn,
    _: Unversioned,
    Body(which): Body<RotateKey>,
) -> Answer<Json<RotatedKey>> {
    let key: GateKey = which.kind.parse().map_err(|error| Refused::invalid(problem(&error)))?;
    Ok(Json(shown(state.gate.rotate_key(&caller, key).await?)))
}

/// Puts the announced target CA in use; targets go on trusting the old one for a while.
#[utoipa::path(post, path = "/keys/activate", tag = "secrets", request_body = ActivateKey, responses((status = 200, body = RotatedKey)))]
async fn activate(
    State(state): State<ApiState>,
    SignedIn(caller): SignedIn,
    _: Unversioned,
    Body(which): Body<ActivateKey>,
) -> Answer<Json<RotatedKey>> {
    let key: GateKey = which.kind.parse().map_err(|error| Refused::invalid(problem(&error)))?;
    let GateKey::Of(kind) = key else {
        return Err(Refused::invalid("the sealing key is used from its rotation on; only `target_ca` is announced first"));
    };
    Ok(Json(shown(state.gate.activate_key(&caller, kind, which.keep).await?)))
}

fn shown(replaced: Replaced) -> RotatedKey {
    RotatedKey {
        kind: replaced.key.to_string(),
        old: replaced.old,
        new: replaced.new,
        public_key: replaced.public,
        in_use: replaced.in_use,
        trusted_until: replaced.trusted_until,
    }
}

fn problem(error: &dyn std::error::Error) -> String {
    error.to_string()
}
