//! `/chat/slack/…` and `/chat/teams/…`: what Slack and Teams send, under their own signatures; and `/me/chat-accounts`: whose accounts there are.

use access::chat::ChatAccountRow;
use access::ids::PrincipalId;
use access::reason::{Reason, Refusal};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::chat::{ChatAsker, FromSlack, FromTeams, SlackCall, taking_long};

use crate::caller::{Administers, Peer, Reads, SignedIn};
use crate::extract::{Body, Id, whole};
use crate::listing::page;
use crate::problem::Answer;
use crate::state::ApiState;
use crate::types::chat::{AskingChatAccount, ChangedChatAccount, ChatAccount, ChatCode};
use crate::types::list::Page;
use crate::types::schema;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(interaction))
        .routes(routes!(command))
        .routes(routes!(teams))
        .routes(routes!(mine, link))
        .routes(routes!(theirs))
        .routes(routes!(asking))
        .routes(routes!(tell, remove))
}

/// Takes a button that was pressed in Slack, or a window that was sent off. The answer says that it was taken; what came of it is said in Slack.
#[utoipa::path(post, path = "/chat/slack/interactions", tag = "chat", security(()), request_body(content = String, content_type = "application/x-www-form-urlencoded"), responses((status = 200, description = "Taken")))]
async fn interaction(State(state): State<ApiState>, Peer(from): Peer, request: Request) -> Answer<StatusCode> {
    from_slack(state, from, SlackCall::Interaction, request).await
}

/// Takes a slash command that was typed in Slack. The answer says that it was taken; what came of it is said in Slack.
#[utoipa::path(post, path = "/chat/slack/commands", tag = "chat", security(()), request_body(content = String, content_type = "application/x-www-form-urlencoded"), responses((status = 200, description = "Taken")))]
async fn command(State(state): State<ApiState>, Peer(from): Peer, request: Request) -> Answer<StatusCode> {
    from_slack(state, from, SlackCall::Command, request).await
}

async fn from_slack(state: ApiState, from: std::net::IpAddr, call: SlackCall, request: Request) -> Answer<StatusCode> {
    let headers = request.headers().clone();
    if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") {
        return Err(Refusal::because(Reason::CrossSite, "Slack sends this itself, not from a browser").into());
    }
    let now = state.gate.now();
    let body = whole(request, &state).await?;
    let came = FromSlack {
        call,
        timestamp: one(&headers, "x-slack-request-timestamp"),
        signature: one(&headers, "x-slack-signature"),
        body: &body,
        from,
    };
    // Who guesses waits, and Slack does not wait for others behind the same address.
    if let Err(refusal) = state.may_try(from, now)
        && !state.gate.is_from_slack(came).await
    {
        return Err(refusal.into());
    }
    let taken = state.gate.take_from_slack(came).await.inspect_err(|refusal| {
        if refusal.reason == Reason::NotSignedIn {
            state.failed(from, now);
        }
    })?;
    if let Some(incoming) = taken {
        // Slack waits three seconds for the answer to this call; what is to be done may take longer.
        tokio::spawn(async move { Box::pin(state.gate.do_in_slack(incoming)).await });
    }
    Ok(StatusCode::OK)
}

/// For so long a button in Teams waits for its answer at most; Teams itself gives up a little later.
const TEAMS_WAITS: std::time::Duration = std::time::Duration::from_secs(8);

/// Takes an activity of Microsoft Teams. A button is answered with what came of it.
#[utoipa::path(post, path = "/chat/teams/messages", tag = "chat", security(()), request_body(content = serde_json::Value, content_type = "application/json"), responses((status = 200, description = "Taken", body = serde_json::Value)))]
async fn teams(State(state): State<ApiState>, Peer(from): Peer, request: Request) -> Answer<Json<serde_json::Value>> {
    let headers = request.headers().clone();
    if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") {
        return Err(Refusal::because(Reason::CrossSite, "Teams sends this itself, not from a browser").into());
    }
    let now = state.gate.now();
    let body = whole(request, &state).await?;
    let came = FromTeams { authorization: one(&headers, "authorization"), body: &body, from };
    // Who guesses waits, and Teams does not wait for others behind the same address.
    if let Err(refusal) = state.may_try(from, now)
        && !state.gate.is_from_teams(came).await
    {
        return Err(refusal.into());
    }
    let incoming = Box::pin(state.gate.take_from_teams(came)).await.inspect_err(|refusal| {
        // Everything that is refused before a token was found good.
        if matches!(refusal.reason, Reason::NotSignedIn | Reason::ChatUnreachable) {
            state.failed(from, now);
        }
    })?;
    // What was begun is done, whether Teams still waits or not.
    let doing = tokio::spawn(async move { Box::pin(state.gate.do_in_teams(incoming)).await });
    match tokio::time::timeout(TEAMS_WAITS, doing).await {
        Ok(Ok(answer)) => Ok(Json(answer)),
        Ok(Err(_)) => Err(Refusal::of(Reason::Internal).into()),
        Err(_) => Ok(Json(taking_long())),
    }
}

/// A header that is there once.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Lists the caller's accounts at chat services.
#[utoipa::path(get, path = "/me/chat-accounts", tag = "chat", responses((status = 200, body = Page<ChatAccount>)))]
async fn mine(State(state): State<ApiState>, Reads(caller): Reads) -> Answer<Json<Page<ChatAccount>>> {
    Ok(page(state.gate.chat_accounts(&caller).await?.into_iter().map(account).collect(), None))
}

/// Lists somebody's accounts at chat services: one's own, or anybody's for who administers people.
#[utoipa::path(get, path = "/users/{id}/chat-accounts", tag = "chat", params(("id" = schema::PrincipalId, Path)), responses((status = 200, body = Page<ChatAccount>)))]
async fn theirs(State(state): State<ApiState>, Reads(caller): Reads, Id(id): Id<PrincipalId>) -> Answer<Json<Page<ChatAccount>>> {
    Ok(page(state.gate.chat_accounts_of(&caller, id).await?.into_iter().map(account).collect(), None))
}

/// Says that the account which asks with a code is the caller's: from now on what is done with it counts as theirs.
#[utoipa::path(post, path = "/me/chat-accounts", tag = "chat", request_body = ChatCode, responses((status = 201, body = ChatAccount)))]
async fn link(
    State(state): State<ApiState>,
    Peer(from): Peer,
    Administers(caller): Administers,
    Body(new): Body<ChatCode>,
) -> Answer<impl IntoResponse> {
    let now = state.gate.now();
    state.may_try(from, now)?;
    let row = state.gate.link_chat_account(&caller, &new.code).await.inspect_err(|refusal| {
        if refusal.reason == Reason::CodeInvalid {
            state.failed(from, now);
        }
    })?;
    Ok((StatusCode::CREATED, Json(account(row))))
}

/// Shows which account asks with a code.
#[utoipa::path(post, path = "/chat/asking", tag = "chat", request_body = ChatCode, responses((status = 200, body = AskingChatAccount)))]
async fn asking(
    State(state): State<ApiState>,
    Peer(from): Peer,
    SignedIn(_anybody): SignedIn,
    Body(new): Body<ChatCode>,
) -> Answer<Json<AskingChatAccount>> {
    let now = state.gate.now();
    state.may_try(from, now)?;
    let ChatAsker { service, team, account, name, expires_at } =
        state.gate.chat_asker(&new.code).await.inspect_err(|_| state.failed(from, now))?;
    Ok(Json(AskingChatAccount { service, team, account, name, expires_at }))
}

/// Chooses what the caller is told at an account of theirs.
#[utoipa::path(patch, path = "/chat-accounts/{id}", tag = "chat", params(("id" = String, Path)), request_body = ChangedChatAccount, responses((status = 200, body = ChatAccount)))]
async fn tell(
    State(state): State<ApiState>,
    Administers(caller): Administers,
    Id(id): Id<String>,
    Body(new): Body<ChangedChatAccount>,
) -> Answer<Json<ChatAccount>> {
    Ok(Json(account(state.gate.choose_what_is_told(&caller, &id, new.told).await?)))
}

/// Takes an account at a chat service from its owner: their own, or anybody's by who administers people.
#[utoipa::path(delete, path = "/chat-accounts/{id}", tag = "chat", params(("id" = String, Path)), responses((status = 200, body = ChatAccount)))]
async fn remove(State(state): State<ApiState>, Administers(caller): Administers, Id(id): Id<String>) -> Answer<Json<ChatAccount>> {
    Ok(Json(account(state.gate.remove_chat_account(&caller, &id).await?)))
}

pub(super) fn account(row: ChatAccountRow) -> ChatAccount {
    ChatAccount {
        id: row.id,
        person: row.person,
        service: row.service,
        team: row.team,
        account: row.address.unwrap_or(row.account),
        told: row.told,
        linked_at: row.linked_at,
    }
}
