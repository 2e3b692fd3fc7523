//! `/oauth/token`: a CI job exchanges its own token for one of the gate's (RFC 8693).

use access::identity::Scope;
use access::reason::{Reason, Refusal};
use access::time::Span;
use axum::extract::{Form, FromRequest as _, Request, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Peer;
use crate::extract::whole;
use crate::idempotency::ShownOnce;
use crate::problem::{Answer, Refused};
use crate::state::ApiState;
use crate::types::Problem;
use crate::types::oauth::{ACCESS_TOKEN, ExchangeForm, ExchangeRefused, Exchanged, ID_TOKEN, JWT, TOKEN_EXCHANGE};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(exchange))
}

/// Gives a CI job a token of the gate's for the OIDC token that its CI system issued to it. Each of those does once.
#[utoipa::path(post, path = "/oauth/token", tag = "sign-in", security(()), request_body(content = ExchangeForm, content_type = "application/x-www-form-urlencoded"), responses(
    (status = 200, body = Exchanged),
    (status = 400, description = "The token proves nothing here, or the request is none", content((ExchangeRefused = "application/json"), (Problem = "application/problem+json"))),
))]
async fn exchange(State(state): State<ApiState>, Peer(from): Peer, request: Request) -> Answer<impl IntoResponse> {
    // 1. Guessing is slow.
    let now = state.gate.now();
    state.may_try(from, now).map_err(Refused::from)?;
    // 2. What is asked? No parameter stands there twice (RFC 6749 §3.2).
    let (parts, body) = request.into_parts();
    let bytes = whole(Request::from_parts(parts.clone(), body), &state).await?;
    let form = Form::<ExchangeForm>::from_request(Request::from_parts(parts, bytes.into()), &()).await;
    let Form(form) = form.map_err(|rejection| invalid("invalid_request", format!("the form: {}", rejection.body_text())))?;
    let scopes = asked(&form, &state.facts.api)?;
    // 3. Who is the job?
    let exchanged = Box::pin(state.gate.exchange(form.subject_token.trim(), &scopes, from)).await;
    let (caller, issued) = exchanged.map_err(|refusal| {
        if refusal.reason == Reason::NotSignedIn {
            state.failed(from, now);
        }
        let (error, status) = match refusal.reason {
            Reason::IssuerUnreachable | Reason::StoreUnavailable | Reason::TooMany | Reason::Internal | Reason::AlreadyDecided => {
                ("temporarily_unavailable", StatusCode::SERVICE_UNAVAILABLE)
            }
            // RFC 8693 §2.2.2: so is a token that is no good, for whatever reason.
            _ => ("invalid_request", StatusCode::BAD_REQUEST),
        };
        Refused::from(refusal).with_status(status).with_oauth(error)
    })?;
    // 4. Show the token, once.
    let exchanged = Exchanged {
        access_token: issued.token.expose().clone(),
        issued_token_type: ACCESS_TOKEN.to_owned(),
        token_type: "Bearer".to_owned(),
        expires_in: Span::between(issued.row.created_at, issued.row.expires_at).as_seconds(),
        scope: scopes.iter().map(|scope| scope.code()).collect::<Vec<_>>().join(" "),
        token_id: issued.row.id,
        workload: caller.who.username().to_string(),
    };
    Ok(([(header::PRAGMA, "no-cache")], Extension(ShownOnce), Json(exchanged)))
}

/// The scopes that are asked for, if the request is one that can be answered.
fn asked(form: &ExchangeForm, gate: &str) -> Answer<Vec<Scope>> {
    if form.grant_type != TOKEN_EXCHANGE {
        return Err(invalid("unsupported_grant_type", format!("the only grant type here is `{TOKEN_EXCHANGE}`")));
    }
    if ![JWT, ID_TOKEN].contains(&form.subject_token_type.as_str()) {
        return Err(invalid("invalid_request", format!("`subject_token_type` is `{JWT}` or `{ID_TOKEN}`")));
    }
    if form.requested_token_type.as_deref().is_some_and(|wanted| wanted != ACCESS_TOKEN) {
        return Err(invalid("invalid_request", format!("the only type of token given here is `{ACCESS_TOKEN}`")));
    }
    if form.actor_token.is_some() {
        return Err(invalid("invalid_request", "nobody acts for a job here; leave `actor_token` out"));
    }
    if [&form.audience, &form.resource].into_iter().flatten().any(|target| target.trim_end_matches('/') != gate.trim_end_matches('/')) {
        return Err(invalid("invalid_target", format!("a token of this gate is for this gate: `{gate}`")));
    }
    let Some(scope) = &form.scope else { return Ok(vec![Scope::Read, Scope::Ask]) };
    let mut scopes = Vec::new();
    for word in scope.split(' ').filter(|word| !word.is_empty()) {
        match word.parse() {
            Ok(scope @ (Scope::Read | Scope::Ask)) if !scopes.contains(&scope) => scopes.push(scope),
            Ok(Scope::Read | Scope::Ask) => {}
            _ => return Err(invalid("invalid_scope", "a job may `read` and `ask`, and nothing else")),
        }
    }
    if scopes.is_empty() { Err(invalid("invalid_scope", "a token for nothing is none; leave `scope` out")) } else { Ok(scopes) }
}

fn invalid(error: &'static str, why: impl Into<String>) -> Refused {
    Refused::from(Refusal::because(Reason::Invalid, why)).with_status(StatusCode::BAD_REQUEST).with_oauth(error)
}
