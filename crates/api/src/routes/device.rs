//! `/device`: a program or machine is signed in from a browser elsewhere (RFC 8628, in this API's words).

use std::net::IpAddr;

use access::reason::Reason;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use identity::device::Asker;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::{Asks, Peer, Reads};
use crate::extract::{Body, Id};
use crate::idempotency::ShownOnce;
use crate::problem::{Answer, Refused};
use crate::shown::{self, Shown};
use crate::state::ApiState;
use crate::types::device::{AnswerDevice, AskingDevice, BegunDevice, NewDevice, PollDevice};
use crate::types::users::Accepted;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(begin)).routes(routes!(poll)).routes(routes!(show, answer))
}

/// A device asks to be signed in: somebody has to agree at the link.
#[utoipa::path(post, path = "/device", tag = "device", security(()), request_body = NewDevice, responses((status = 201, body = BegunDevice)))]
async fn begin(State(state): State<ApiState>, Peer(from): Peer, Body(new): Body<NewDevice>) -> Answer<impl IntoResponse> {
    state.may_try(from, state.gate.now())?;
    let begun = state.gate.begin_device(from, &new.client, &new.purpose)?;
    let link = format!("{}/device", state.facts.api);
    let body = BegunDevice {
        device_code: begun.device_code.expose().clone(),
        verification_uri_complete: format!("{link}?code={}", begun.user_code),
        verification_uri: link,
        user_code: begun.user_code,
        expires_at: begun.expires_at,
        interval: identity::device::INTERVAL.as_seconds(),
    };
    Ok((StatusCode::CREATED, Extension(ShownOnce), Json(body)))
}

/// A device asks whether somebody agreed: then it gets a token, shown once. Before that it is `pending`.
#[utoipa::path(post, path = "/device/token", tag = "device", security(()), request_body = PollDevice, responses((status = 201, body = Accepted)))]
async fn poll(State(state): State<ApiState>, Peer(from): Peer, Body(body): Body<PollDevice>) -> Answer<impl IntoResponse> {
    let now = state.gate.now();
    state.may_try(from, now)?;
    let agreed = state.gate.poll_device(&body.device_code).await;
    let (who, issued) = agreed.inspect_err(|refusal| {
        // A code that ended is polled with once more by every device; only what never was one is a guess.
        if refusal.reason == Reason::CodeInvalid && !identity::device::is_device_code(&body.device_code) {
            state.failed(from, now);
        }
    })?;
    let row = state.gate.store().person(who.id()).await?.ok_or_else(Refused::not_found)?;
    let user = Shown::new(&state.gate).user(row).await?;
    Ok((StatusCode::CREATED, Extension(ShownOnce), Json(Accepted { user, token: shown::issued(issued) })))
}

/// Shows who asks under a code: from where, with what, for what.
#[utoipa::path(get, path = "/device/{code}", tag = "device", params(("code" = String, Path)), responses((status = 200, body = AskingDevice)))]
async fn show(State(state): State<ApiState>, Peer(from): Peer, Reads(_caller): Reads, Id(code): Id<String>) -> Answer<Json<AskingDevice>> {
    let now = state.gate.now();
    state.may_try(from, now)?;
    let asker = state.gate.device(&code).inspect_err(|_| state.failed(from, now))?;
    Ok(Json(shown_asker(asker, from)))
}

/// Somebody in a browser lets the device work for them, or does not.
#[utoipa::path(post, path = "/device/{code}", tag = "device", params(("code" = String, Path)), request_body = AnswerDevice, responses((status = 200, body = AskingDevice)))]
async fn answer(
    State(state): State<ApiState>,
    Peer(from): Peer,
    Asks(caller): Asks,
    Id(code): Id<String>,
    Body(body): Body<AnswerDevice>,
) -> Answer<Json<AskingDevice>> {
    let now = state.gate.now();
    state.may_try(from, now)?;
    let answered = state.gate.answer_device(&caller, &code, body.agree).await;
    let asker = answered.inspect_err(|refusal| {
        if refusal.reason == Reason::CodeInvalid {
            state.failed(from, now);
        }
    })?;
    Ok(Json(shown_asker(asker, from)))
}

fn shown_asker(asker: Asker, from: IpAddr) -> AskingDevice {
    AskingDevice {
        address: asker.from.to_string(),
        your_address: from.to_string(),
        client: asker.client,
        purpose: asker.purpose,
        connection: asker.connection.map(|to| to.to_string()),
        asked_at: asker.at,
    }
}
