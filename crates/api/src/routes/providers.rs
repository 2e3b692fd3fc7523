//! `/sign-in/oidc/…` and `/users/{id}/identities`: sign-in at identity providers.

use access::identity::IdentityRow;
use access::ids::PrincipalId;
use access::reason::{Reason, Refusal};
use axum::extract::{Form, FromRequest as _, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use policy::Noun;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::providers::CameBack;

use crate::caller::{Administers, Peer, Reads};
use crate::extract::{Asked, Body, Id, whole};
use crate::idempotency::ShownOnce;
use crate::problem::{Answer, Refused};
use crate::routes::keys::refuse_unseen;
use crate::state::ApiState;
use crate::types::Problem;
use crate::types::list::Page;
use crate::types::providers::{BackFromProvider, Identity, LogoutForm, NewIdentity, ToProvider, UnlinkQuery};
use crate::types::schema;
use crate::version::Unversioned;
use crate::{cookie, listing};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(begin))
        .routes(routes!(finish))
        .routes(routes!(log_out))
        .routes(routes!(linked, link))
        .routes(routes!(unlink))
}

/// Where a browser comes back from a provider, exactly as it is registered there.
fn redirect(state: &ApiState, provider: &str) -> String {
    format!("{}/api/v1/sign-in/oidc/{provider}/callback", state.facts.api)
}

/// Sends a browser to an identity provider to sign in.
#[utoipa::path(get, path = "/sign-in/oidc/{provider}", tag = "sign-in", security(()), params(("provider" = String, Path), ToProvider), responses(
    (status = 303, description = "To the provider"),
    (status = "default", description = "A page that says why not", content((String = "text/html"), (Problem = "application/problem+json"))),
))]
async fn begin(
    State(state): State<ApiState>,
    Peer(from): Peer,
    Id(provider): Id<String>,
    Asked(to): Asked<ToProvider>,
    headers: HeaderMap,
) -> Response {
    let began = async {
        // One cookie for all sign-ins of a browser, so that two tabs do not spoil each other's.
        let kept =
            cookie::sign_in(&headers).and_then(|cookie| identity::oidc::flow::read_browser(cookie).map(|it| (cookie.to_owned(), it)));
        let (text, browser) = kept.unwrap_or_else(|| {
            let fresh = identity::oidc::flow::browser();
            (fresh.secret.expose().clone(), fresh.verifier)
        });
        // The cookie of whoever is signed in is not there when the provider sends the browser back.
        let then = (to.then.as_deref().unwrap_or("/"), cookie::former(&state.gate, &headers).await);
        let url = state.gate.begin_sign_in(&provider, &redirect(&state, &provider), (from, &browser), then).await?;
        Ok::<_, Refusal>((cookie::sign_in_given(&text), url))
    };
    match began.await {
        Ok((set, url)) => seen_other(&url, vec![set]),
        Err(refusal) => page(&refusal),
    }
}

/// A browser comes back from an identity provider: it is signed in, or told why not.
#[utoipa::path(get, path = "/sign-in/oidc/{provider}/callback", tag = "sign-in", security(()), params(("provider" = String, Path), BackFromProvider), responses(
    (status = 303, description = "To the portal, with the cookie of a web session"),
    (status = "default", description = "A page that says why not", content((String = "text/html"), (Problem = "application/problem+json"))),
))]
async fn finish(
    State(state): State<ApiState>,
    Peer(from): Peer,
    Id(provider): Id<String>,
    Asked(back): Asked<BackFromProvider>,
    headers: HeaderMap,
) -> Response {
    // Without the cookie nothing was begun in this browser, and nobody guesses: any page can make a browser ask for this.
    let Some(browser) = cookie::sign_in(&headers).and_then(identity::oidc::flow::read_browser) else {
        return page(&Refusal::because(Reason::CodeInvalid, "this sign-in was not begun in this browser; sign in again"));
    };
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).map(str::to_owned);
    let back = CameBack { state: back.state.unwrap_or_default(), code: back.code, error: back.error, iss: back.iss };
    let now = state.gate.now();
    if let Err(refusal) = state.may_try(from, now)
        && !state.gate.waits_for(&back, &browser)
    {
        return page(&refusal);
    }
    let uri = redirect(&state, &provider);
    let done = Box::pin(state.gate.finish_sign_in(&provider, back, &uri, Some(&browser), from, agent));
    match done.await {
        Ok((opened, then)) => {
            let mut response = seen_other(&then, vec![cookie::given(&opened.cookie)]);
            response.extensions_mut().insert(ShownOnce);
            response
        }
        Err(refusal) => {
            if matches!(refusal.reason, Reason::CodeInvalid | Reason::NotSignedIn) {
                state.failed(from, now);
            }
            page(&refusal)
        }
    }
}

/// An identity provider signs somebody out (OpenID Connect Back-Channel Logout 1.0).
#[utoipa::path(post, path = "/sign-in/oidc/{provider}/logout", tag = "sign-in", security(()), params(("provider" = String, Path)), request_body(content = LogoutForm, content_type = "application/x-www-form-urlencoded"), responses((status = 200, description = "They are signed out")))]
async fn log_out(State(state): State<ApiState>, Peer(from): Peer, Id(provider): Id<String>, request: Request) -> Answer<impl IntoResponse> {
    // A provider is no browser; and a page that has one send this must not use up its visitor's attempts.
    let (parts, body) = request.into_parts();
    if parts.headers.contains_key(header::ORIGIN) || parts.headers.contains_key("sec-fetch-site") {
        return Err(Refusal::because(Reason::CrossSite, "an identity provider sends this itself, not from a browser").into());
    }
    state.may_try(from, state.gate.now())?;
    let bytes = whole(Request::from_parts(parts.clone(), body), &state).await?;
    let form = Form::<LogoutForm>::from_request(Request::from_parts(parts, bytes.into()), &()).await;
    let Form(form) = form.map_err(|_| Refused::invalid("a form with a `logout_token` is wanted"))?;
    state.gate.signed_out_by_provider(&provider, &form.logout_token, from).await.inspect_err(|refusal| {
        if refusal.reason == Reason::Invalid {
            state.failed(from, state.gate.now());
        }
    })?;
    Ok((StatusCode::OK, Extension(ShownOnce)))
}

/// Lists the accounts at identity providers that sign somebody in: one's own, or, to who administers people or reads the audit log,
/// anybody's.
#[utoipa::path(get, path = "/users/{id}/identities", tag = "users", params(("id" = schema::PrincipalId, Path)), responses((status = 200, body = Page<Identity>)))]
async fn linked(State(state): State<ApiState>, Reads(caller): Reads, Id(id): Id<PrincipalId>) -> Answer<Json<Page<Identity>>> {
    refuse_unseen(&state.gate, &caller, id, Noun::Person).await?;
    let rows = state.gate.store().identities_of(id).await?;
    Ok(listing::page(rows.into_iter().map(shown).collect(), None))
}

fn shown(row: IdentityRow) -> Identity {
    let IdentityRow { id, person, issuer, subject, groups: _, proved_at, linked_at, unlinked_at: _, version: _ } = row;
    Identity { id, person, issuer, subject, linked_at, proved_at }
}

/// Says who somebody at an identity provider is here. Takes that account from whoever it was before.
#[utoipa::path(post, path = "/users/{id}/identities", tag = "users", params(("id" = schema::PrincipalId, Path)), request_body = NewIdentity, responses((status = 201, body = Identity)))]
async fn link(
    State(state): State<ApiState>,
    Administers(caller): Administers,
    Id(id): Id<PrincipalId>,
    Body(new): Body<NewIdentity>,
) -> Answer<impl IntoResponse> {
    let row = state.gate.link_identity(&caller, id, &new.provider, &new.subject).await?;
    Ok((StatusCode::CREATED, Json(shown(row))))
}

/// Takes an account at an identity provider from whoever it signs in; what it opened ends. One's own, proved freshly, or, by who
/// administers people, anybody's.
#[utoipa::path(delete, path = "/identities/{id}", tag = "users", params(("id" = String, Path), UnlinkQuery), responses((status = 200, body = Identity)))]
async fn unlink(
    State(state): State<ApiState>,
    Administers(caller): Administers,
    Id(id): Id<String>,
    Asked(query): Asked<UnlinkQuery>,
    _: Unversioned,
) -> Answer<Json<Identity>> {
    let row = Box::pin(state.gate.unlink_identity(&caller, &id, query.last)).await?;
    Ok(Json(shown(row)))
}

fn seen_other(to: &str, cookies: Vec<HeaderValue>) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/")));
    for cookie in cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
    response
}

/// The portal's own style and theme, and nothing else.
const PAGE_POLICY: &str =
    "default-src 'none'; script-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A refusal as a page, since it is a person in a browser who reads it.
fn page(refusal: &Refusal) -> Response {
    let text = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let detail = refusal.detail.as_deref().map(|detail| format!("<p>{}.</p>", text(detail))).unwrap_or_default();
    // Signing in again helps who is not signed in, and makes the rest no better.
    let next = match refusal.reason {
        Reason::NotSignedIn | Reason::CodeInvalid => "<p><a href=\"/\">Sign in again</a></p>".to_owned(),
        other => format!("<p>{}</p>", text(other.hint())),
    };
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>Not signed in · Tidegate</title>\
         <script src=\"/theme.js\"></script><link rel=\"stylesheet\" href=\"/refused.css\"><main><h1>{}</h1>{detail}{next}</main></html>",
        text(refusal.reason.sentence())
    );
    let status = StatusCode::from_u16(refusal.reason.http()).unwrap_or(StatusCode::UNAUTHORIZED);
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, PAGE_POLICY)];
    (status, headers, body).into_response()
}
