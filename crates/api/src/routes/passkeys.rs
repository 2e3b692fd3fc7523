//! `/passkeys` and `/sign-in/passkey`: people add, name and remove passkeys, and sign in with them.

use access::identity::Via;
use access::ids::{PasskeyId, PrincipalId};
use access::reason::Reason;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use identity::passkeys::{ALGORITHMS, encode};
use policy::Noun;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::read::PasskeyRow;
use workflow::{Caller, Gate};

use crate::caller::{Administers, Peer, Reads};
use crate::extract::{Body, Id};
use crate::idempotency::ShownOnce;
use crate::listing::page;
use crate::problem::{Answer, Refused};
use crate::routes::keys::refuse_unseen;
use crate::shown::Shown;
use crate::state::ApiState;
use crate::types::list::Page;
use crate::types::passkeys::{NewPasskey, Passkey, PasskeyAnswer, PasskeyName, PasskeyToMake, PasskeyToUse};
use crate::types::schema;
use crate::types::web_sessions::SignedInBrowser;
use crate::version::Unversioned;
use crate::{cookie, own_page};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(of_user))
        .routes(routes!(to_make))
        .routes(routes!(rename, remove))
        .routes(routes!(sign_in))
        .routes(routes!(to_sign_in))
}

/// Lists the caller's passkeys, newest first.
#[utoipa::path(get, path = "/passkeys", tag = "passkeys", responses((status = 200, body = Page<Passkey>)))]
async fn list(State(state): State<ApiState>, Reads(caller): Reads) -> Answer<Json<Page<Passkey>>> {
    let current = current(&state.gate, &caller).await;
    let rows = state.gate.passkeys(&caller).await?;
    Ok(page(rows.into_iter().map(|row| shown(row, current)).collect(), None))
}

/// Lists somebody's passkeys, newest first: one's own, or, to who administers keys or reads the audit log, anybody's.
#[utoipa::path(get, path = "/users/{id}/passkeys", tag = "passkeys", params(("id" = schema::PrincipalId, Path)), responses((status = 200, body = Page<Passkey>)))]
async fn of_user(State(state): State<ApiState>, Reads(caller): Reads, Id(id): Id<PrincipalId>) -> Answer<Json<Page<Passkey>>> {
    refuse_unseen(&state.gate, &caller, id, Noun::Key).await?;
    let current = current(&state.gate, &caller).await;
    let rows = state.gate.store().passkeys_of(id).await?;
    Ok(page(rows.into_iter().map(|row| shown(row, current)).collect(), None))
}

/// Gives what a browser needs to make a passkey. Its person signed in a moment ago; who has a passkey already used one.
#[utoipa::path(post, path = "/passkeys/challenge", tag = "passkeys", responses((status = 201, body = PasskeyToMake)))]
async fn to_make(State(state): State<ApiState>, Administers(caller): Administers) -> Answer<impl IntoResponse> {
    let begun = state.gate.begin_passkey(&caller).await?;
    let body = PasskeyToMake {
        challenge: encode(&begun.challenge),
        party: party(&state.gate)?,
        user_handle: begun.user_handle,
        username: begun.username,
        display_name: begun.display_name,
        algorithms: ALGORITHMS.to_vec(),
        have: begun.have,
    };
    Ok((StatusCode::CREATED, Extension(ShownOnce), Json(body)))
}

/// Adds a passkey that the caller's browser made.
#[utoipa::path(post, path = "/passkeys", tag = "passkeys", request_body = NewPasskey, responses((status = 201, body = Passkey)))]
async fn create(State(state): State<ApiState>, Administers(caller): Administers, Body(new): Body<NewPasskey>) -> Answer<impl IntoResponse> {
    let row = state.gate.add_passkey(&caller, &new.client_data, &new.attestation_object, new.label).await?;
    Ok((StatusCode::CREATED, Extension(ShownOnce), Json(shown(row, None))))
}

/// Calls a passkey of one's own differently.
#[utoipa::path(patch, path = "/passkeys/{id}", tag = "passkeys", params(("id" = schema::PasskeyId, Path)), request_body = PasskeyName, responses((status = 200, body = Passkey)))]
async fn rename(
    State(state): State<ApiState>,
    Administers(caller): Administers,
    Id(id): Id<PasskeyId>,
    _: Unversioned,
    Body(name): Body<PasskeyName>,
) -> Answer<Json<Passkey>> {
    let current = current(&state.gate, &caller).await;
    Ok(Json(shown(state.gate.rename_passkey(&caller, id, name.label).await?, current)))
}

/// Takes a passkey away: one of one's own that is not the only way in, or, by who administers keys, anybody's.
#[utoipa::path(delete, path = "/passkeys/{id}", tag = "passkeys", params(("id" = schema::PasskeyId, Path)), responses((status = 200, body = Passkey)))]
async fn remove(
    State(state): State<ApiState>,
    Administers(caller): Administers,
    Id(id): Id<PasskeyId>,
    _: Unversioned,
) -> Answer<Json<Passkey>> {
    Ok(Json(shown(state.gate.remove_passkey(&caller, id).await?, None)))
}

/// Gives what a browser needs to sign in with a passkey.
#[utoipa::path(post, path = "/sign-in/passkey/challenge", tag = "passkeys", security(()), responses((status = 201, body = PasskeyToUse)))]
async fn to_sign_in(State(state): State<ApiState>, Peer(from): Peer) -> Answer<impl IntoResponse> {
    state.may_try(from, state.gate.now())?;
    let challenge = encode(&state.gate.begin_passkey_sign_in(from)?);
    let body = PasskeyToUse { challenge, party: party(&state.gate)?, credentials: Vec::new() };
    Ok((StatusCode::CREATED, Extension(ShownOnce), Json(body)))
}

/// Signs a browser in with a passkey; the answer gives it its cookie.
#[utoipa::path(post, path = "/sign-in/passkey", tag = "passkeys", security(()), request_body = PasskeyAnswer, responses((status = 201, body = SignedInBrowser)))]
async fn sign_in(
    State(state): State<ApiState>,
    Peer(from): Peer,
    parts: Parts,
    Body(answer): Body<PasskeyAnswer>,
) -> Answer<impl IntoResponse> {
    // 1. Another page can't sign somebody in, and guessing is slow.
    own_page::refuse_others(&parts, &state.facts.api)?;
    let now = state.gate.now();
    state.may_try(from, now)?;
    // 2. Who is it?
    let agent = parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).map(str::to_owned);
    let handle = answer.user_handle.clone();
    let opened = state.gate.sign_in_with_passkey(&answer.assertion(), handle.as_deref(), from, agent).await;
    let opened = opened.inspect_err(|refusal| {
        if matches!(refusal.reason, Reason::CodeInvalid | Reason::NotSignedIn) {
            state.failed(from, now);
        }
    })?;
    // 3. Give the cookie in the place of the one before.
    state.gate.end_former_web_session(cookie::former(&state.gate, &parts.headers).await).await?;
    let row = state.gate.store().person(opened.who.id()).await?.ok_or_else(Refused::not_found)?;
    let user = Shown::new(&state.gate).user(row).await?;
    let session = super::web_sessions::shown(opened.row.clone(), Some(opened.row.id));
    let set = [(header::SET_COOKIE, cookie::given(&opened.cookie))];
    Ok((StatusCode::CREATED, Extension(ShownOnce), set, Json(SignedInBrowser { user, session })))
}

/// The name that passkeys are bound to here.
pub(super) fn party(gate: &Gate) -> Answer<String> {
    Ok(gate.relying_party().map(|party| party.id.clone()).ok_or(Reason::Internal)?)
}

/// The passkey that the caller's browser was signed in with.
async fn current(gate: &Gate, caller: &Caller) -> Option<PasskeyId> {
    let Via::WebSession(id) = caller.who.via() else { return None };
    gate.store().web_session(*id).await.ok()??.passkey
}

pub(super) fn shown(row: PasskeyRow, current: Option<PasskeyId>) -> Passkey {
    let PasskeyRow {
        id,
        person,
        credential,
        public_key: _,
        label,
        aaguid,
        backed_up,
        counter: _,
        version: _,
        added_at,
        used_at,
        removed_at: _,
    } = row;
    Passkey { id, person, credential, label, aaguid: uuid(&aaguid), backed_up, added_at, used_at, current: current == Some(id) }
}

/// 32 hex digits as a UUID is written.
fn uuid(hex: &str) -> String {
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}
