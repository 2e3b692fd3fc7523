//! `/web-sessions` and `/sign-out`: browsers that are signed in.

use access::identity::Via;
use access::ids::WebSessionId;
use access::reason::Reason;
use axum::extract::{FromRequestParts as _, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::read::WebSessionRow;

use access::identity::Scope;

use crate::caller::{Peer, Reads, SignedIn, require};
use crate::extract::{Body, Id};
use crate::idempotency::ShownOnce;
use crate::listing::page;
use crate::problem::{Answer, Refused};
use crate::shown::Shown;
use crate::state::ApiState;
use crate::types::list::Page;
use crate::types::schema;
use crate::types::web_sessions::{NewWebSession, SignedInBrowser, WebSession};
use crate::{cookie, own_page};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(sign_out)).routes(routes!(list, create)).routes(routes!(end))
}

/// Signs a browser in with an invitation or a token; the answer gives it its cookie.
#[utoipa::path(post, path = "/web-sessions", tag = "web-sessions", security(()), request_body = NewWebSession, responses((status = 201, body = SignedInBrowser)))]
async fn create(
    State(state): State<ApiState>,
    Peer(from): Peer,
    parts: Parts,
    Body(proof): Body<NewWebSession>,
) -> Answer<impl IntoResponse> {
    // 1. Another page can't sign somebody in, as somebody else perhaps; and guessing is slow.
    own_page::refuse_others(&parts, &state.facts.api)?;
    let now = state.gate.now();
    state.may_try(from, now)?;
    // 2. Who is it?
    let agent = parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).map(str::to_owned);
    let opened = match (proof.code, proof.token) {
        (Some(code), None) => state.gate.accept_invitation_in_browser(&code, from, agent).await,
        (None, Some(token)) => state.gate.sign_in_browser(token.trim(), from, agent).await,
        _ => return Err(Refused::invalid("give either the `code` of an invitation or a `token`")),
    };
    let opened = opened.inspect_err(|refusal| {
        if matches!(refusal.reason, Reason::CodeInvalid | Reason::NotSignedIn) {
            state.failed(from, now);
        }
    })?;
    // 3. Give the cookie in the place of the one before.
    state.gate.end_former_web_session(cookie::former(&state.gate, &parts.headers).await).await?;
    let row = state.gate.store().person(opened.who.id()).await?.ok_or_else(Refused::not_found)?;
    let user = Shown::new(&state.gate).user(row).await?;
    let session = shown(opened.row.clone(), Some(opened.row.id));
    let set = [(header::SET_COOKIE, cookie::given(&opened.cookie))];
    Ok((StatusCode::CREATED, Extension(ShownOnce), set, Json(SignedInBrowser { user, session })))
}

/// Lists the browsers the caller is signed in with, newest first.
#[utoipa::path(get, path = "/web-sessions", tag = "web-sessions", responses((status = 200, body = Page<WebSession>)))]
async fn list(State(state): State<ApiState>, Reads(caller): Reads) -> Answer<Json<Page<WebSession>>> {
    let current = match caller.who.via() {
        Via::WebSession(id) => Some(*id),
        _ => None,
    };
    let rows = state.gate.web_sessions(&caller).await?;
    Ok(page(rows.into_iter().map(|row| shown(row, current)).collect(), None))
}

/// Signs out another browser of the caller's, or this one.
#[utoipa::path(delete, path = "/web-sessions/{id}", tag = "web-sessions", params(("id" = schema::WebSessionId, Path)), responses((status = 200, body = WebSession)))]
async fn end(State(state): State<ApiState>, SignedIn(caller): SignedIn, Id(id): Id<WebSessionId>) -> Answer<impl IntoResponse> {
    let own = *caller.who.via() == Via::WebSession(id);
    if !own {
        require(&caller, Scope::Administer)?;
    }
    let ended = shown(state.gate.end_web_session(&caller, id).await?, own.then_some(id));
    let forget = own.then(|| [(header::SET_COOKIE, cookie::taken())]);
    Ok((forget.into_iter().flatten().collect::<axum::http::HeaderMap>(), Json(ended)))
}

/// Signs this browser out: its session ends and its cookie is taken away. Without a session it is no error.
#[utoipa::path(post, path = "/sign-out", tag = "web-sessions", security(()), responses((status = 204)))]
async fn sign_out(State(state): State<ApiState>, mut parts: Parts) -> Answer<impl IntoResponse> {
    own_page::refuse_others(&parts, &state.facts.api)?;
    if let Ok(SignedIn(caller)) = SignedIn::from_request_parts(&mut parts, &state).await
        && let Via::WebSession(id) = *caller.who.via()
    {
        state.gate.end_web_session(&caller, id).await?;
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie::taken())]))
}

pub(super) fn shown(row: WebSessionRow, current: Option<WebSessionId>) -> WebSession {
    WebSession {
        id: row.id,
        current: current == Some(row.id),
        token: row.token,
        passkey: row.passkey,
        scopes: row.scopes.0,
        mfa: row.mfa,
        address: row.address,
        agent: row.agent,
        created_at: row.created_at,
        seen_at: row.seen_at,
        idle_ends_at: identity::web_session::IDLE.after(row.seen_at).min(row.ends_at),
        ends_at: row.ends_at,
    }
}
