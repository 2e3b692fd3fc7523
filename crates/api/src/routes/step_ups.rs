//! `/step-up` and `/step-ups`: people prove freshly that it is them, for their browser or for a terminal that waits.

use std::net::IpAddr;

use access::names::Selector;
use access::reason::{Reason, Refusal};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use identity::passkeys::{Asking, StepUpAsker, encode};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::{Caller, Gate};

use super::passkeys::party;
use super::requests::still_signed_in;
use crate::caller::{Peer, SignedIn};
use crate::extract::{Body, Id};
use crate::idempotency::ShownOnce;
use crate::problem::{Answer, Refused};
use crate::state::ApiState;
use crate::types::passkeys::{AskingStepUp, BegunStepUp, NewProof, NewStepUp, PasskeyToUse, Proof, ProofFor, StepUpProgress, StepUpState};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(prove))
        .routes(routes!(to_prove))
        .routes(routes!(begin))
        .routes(routes!(progress))
        .routes(routes!(show))
        .routes(routes!(refuse))
}

/// Does what somebody may try only so often; these refusals count as tries.
async fn counted<T>(
    state: &ApiState,
    from: IpAddr,
    guesses: &[Reason],
    doing: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let now = state.gate.now();
    state.may_try(from, now)?;
    doing.await.inspect_err(|refusal| {
        if guesses.contains(&refusal.reason) {
            state.failed(from, now);
        }
    })
}

/// Gives what a browser needs to use one of the caller's passkeys.
#[utoipa::path(post, path = "/step-up/challenge", tag = "step-up", request_body = ProofFor, responses((status = 201, body = PasskeyToUse)))]
async fn to_prove(
    State(state): State<ApiState>,
    Peer(from): Peer,
    SignedIn(caller): SignedIn,
    Body(what): Body<ProofFor>,
) -> Answer<impl IntoResponse> {
    let begun = state.gate.begin_proof(&caller, what.code.as_deref());
    let begun = counted(&state, from, &[Reason::CodeInvalid], begun).await?;
    let body = PasskeyToUse { challenge: encode(&begun.challenge), party: party(&state.gate)?, credentials: begun.credentials };
    Ok((StatusCode::CREATED, Extension(ShownOnce), Json(body)))
}

/// Takes a passkey's answer: from now on this browser's sign-in, or the terminal that waits under the code, counts as verified.
#[utoipa::path(post, path = "/step-up", tag = "step-up", request_body = NewProof, responses((status = 201, body = Proof)))]
async fn prove(
    State(state): State<ApiState>,
    Peer(from): Peer,
    SignedIn(caller): SignedIn,
    Body(new): Body<NewProof>,
) -> Answer<impl IntoResponse> {
    let assertion = new.answer.assertion();
    let proved = state.gate.prove_again(&caller, &assertion, new.code.as_deref());
    let guesses = [Reason::CodeInvalid, Reason::NotSignedIn, Reason::NotAllowed];
    let proved_at = Box::pin(counted(&state, from, &guesses, proved)).await.map_err(still_signed_in)?;
    Ok((StatusCode::CREATED, Extension(ShownOnce), Json(Proof { proved_at })))
}

/// A program says what it wants to do; its owner proves at the link that it is them. The same question has the same code.
#[utoipa::path(post, path = "/step-ups", tag = "step-up", request_body = NewStepUp, responses((status = 201, body = BegunStepUp)))]
async fn begin(State(state): State<ApiState>, SignedIn(caller): SignedIn, Body(new): Body<NewStepUp>) -> Answer<impl IntoResponse> {
    let client = if new.client.trim().is_empty() { "a program".to_owned() } else { new.client.clone() };
    let asking = asking(&state.gate, &caller, new).await?;
    let begun = state.gate.begin_step_up(&caller, asking, &client).await?;
    let interval = identity::passkeys::INTERVAL.as_seconds();
    let body = BegunStepUp { link: begun.link, user_code: begun.user_code, expires_at: begun.expires_at, interval };
    Ok((StatusCode::CREATED, Extension(ShownOnce), Json(body)))
}

/// Says how it goes with what a program asked with the same words.
#[utoipa::path(post, path = "/step-ups/progress", tag = "step-up", request_body = NewStepUp, responses((status = 200, body = StepUpProgress)))]
async fn progress(State(state): State<ApiState>, SignedIn(caller): SignedIn, Body(new): Body<NewStepUp>) -> Answer<Json<StepUpProgress>> {
    let asking = asking(&state.gate, &caller, new).await?;
    let progress = match state.gate.step_up_answer(&caller, &asking) {
        None => StepUpState::Open,
        Some(true) => StepUpState::Proved,
        Some(false) => StepUpState::Refused,
    };
    Ok(Json(StepUpProgress { state: progress }))
}

/// Shows who waits under a code, from where and for what; to its owner alone.
#[utoipa::path(get, path = "/step-ups/{code}", tag = "step-up", params(("code" = String, Path)), responses((status = 200, body = AskingStepUp)))]
async fn show(
    State(state): State<ApiState>,
    Peer(from): Peer,
    SignedIn(caller): SignedIn,
    Id(code): Id<String>,
) -> Answer<Json<AskingStepUp>> {
    let now = state.gate.now();
    state.may_try(from, now)?;
    let asker = state.gate.step_up_asker(&caller, &code).inspect_err(|_| state.failed(from, now))?;
    Ok(Json(shown(asker)))
}

/// Says that it is not oneself who waits: it goes no further.
#[utoipa::path(post, path = "/step-ups/{code}/refuse", tag = "step-up", params(("code" = String, Path)), responses((status = 200, body = AskingStepUp)))]
async fn refuse(
    State(state): State<ApiState>,
    Peer(from): Peer,
    SignedIn(caller): SignedIn,
    Id(code): Id<String>,
) -> Answer<Json<AskingStepUp>> {
    let now = state.gate.now();
    state.may_try(from, now)?;
    let asker = state.gate.refuse_step_up(&caller, &code).await.inspect_err(|refusal| {
        if refusal.reason == Reason::CodeInvalid {
            state.failed(from, now);
        }
    })?;
    Ok(Json(shown(asker)))
}

async fn asking(gate: &Gate, caller: &Caller, new: NewStepUp) -> Answer<Asking> {
    match (new.request, new.resource) {
        (Some(request), None) => Ok(Asking::Decide(request)),
        (None, Some(resource)) => {
            let (resource, role) = gate.resolve(caller, &Selector { resource, role: new.role }).await?;
            Ok(Asking::Access { resource, role, break_glass: new.break_glass })
        }
        _ => Err(Refused::invalid("name either the `resource` to ask for or the `request` to decide on")),
    }
}

fn shown(asker: StepUpAsker) -> AskingStepUp {
    let StepUpAsker { client, from, asking, at, .. } = asker;
    let address = from.map(|ip| ip.to_string());
    let none = AskingStepUp { client, address, resource: None, role: None, break_glass: false, request: None, asked_at: at };
    match asking {
        Asking::Access { resource, role, break_glass } => AskingStepUp { resource: Some(resource), role: Some(role), break_glass, ..none },
        Asking::Decide(request) => AskingStepUp { request: Some(request), ..none },
    }
}
