//! `/signals/{name}`: where transmitters of signals deliver security event tokens (RFC 8935).

use access::names::Username;
use access::reason::{Reason, Refusal};
use access::signal::SignalOutcome;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use identity::oidc::security_event::SetError;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::signals::NoSignal;

use crate::caller::Peer;
use crate::extract::{Id, whole};
use crate::problem::{Answer, Refused};
use crate::state::ApiState;
use crate::types::signals::SetRefused;

const SECEVENT: &str = "application/secevent+jwt";
const NOT_PROVED: &str = "no transmitter of this name has signed this and sent it with what its calls have to carry; compare the end of the address, \
                          the keys and the `Authorization` with `[[signals]]`; the gate's audit log says which of them it is (`signal.refused`)";

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(hear))
}

/// Takes what an identity provider says of the security of somebody's account there (OpenID Shared Signals, CAEP, RISC).
#[utoipa::path(post, path = "/signals/{name}", tag = "signals", security(()), params(("name" = String, Path)), request_body(content = String, content_type = "application/secevent+jwt"), responses(
    (status = 202, description = "Taken, for the first time or again"),
    (status = 400, description = "It proves nothing, or does not say of whom it is", body = SetRefused),
))]
async fn hear(State(state): State<ApiState>, Peer(from): Peer, Id(name): Id<Username>, request: Request) -> Answer<StatusCode> {
    let headers = request.headers().clone();
    if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") {
        return Err(Refusal::because(Reason::CrossSite, "a transmitter sends this itself, not from a browser").into());
    }
    // 1. Is it a signal at all?
    let now = state.gate.now();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(SECEVENT)) {
        return Err(Refused::invalid(format!("the body has to be `{SECEVENT}`")).with_set_error("invalid_request"));
    }
    let body = whole(request, &state).await?;
    let token = std::str::from_utf8(&body).unwrap_or_default().trim();
    // 2. Whose? Who guesses waits, and the transmitter does not wait for others behind the same address.
    let authorization = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let signal = match state.gate.read_signal(name.as_str(), token, authorization).await {
        Ok(signal) => signal,
        Err(why) => {
            state.may_try(from, now)?;
            state.failed(from, now);
            state.gate.enter_refused_signal(&name, &why, from).await;
            return Err(told(&why));
        }
    };
    // 3. What it wants is done, and what it can't mean is said: a signal that shuts nobody out is not to pass for one that did.
    match state.gate.take_signal(&name, &signal, from).await? {
        SignalOutcome::NotUnderstood => {
            let why = signal.subject.err().unwrap_or_default();
            Err(Refused::invalid(format!("nobody is locked by this: {why}")).with_set_error("invalid_request"))
        }
        SignalOutcome::Locked | SignalOutcome::StillLocked | SignalOutcome::UnknownSubject | SignalOutcome::Ignored => {
            Ok(StatusCode::ACCEPTED)
        }
    }
}

/// What is told to whoever proves nothing (RFC 8935 §2.4), or cannot be looked at now: to send it again, since who is told 400 never does.
///
/// INVARIANT: nobody learns where keys are read, nor, but while those cannot be had, which names there are. Which of these it was stands in the
/// log.
fn told(why: &NoSignal) -> Refused {
    let (code, description) = match why {
        NoSignal::Later(refusal) => return refusal.reason.into(),
        NoSignal::Nobody | NoSignal::Authorization | NoSignal::Token(SetError::Key(_) | SetError::UnknownKey) => {
            ("authentication_failed", NOT_PROVED.to_owned())
        }
        NoSignal::Token(SetError::Issuer) => ("invalid_issuer", why.to_string()),
        NoSignal::Token(SetError::Audience) => ("invalid_audience", why.to_string()),
        NoSignal::Token(SetError::Request(_)) => ("invalid_request", why.to_string()),
    };
    Refused::invalid(description).with_set_error(code)
}
