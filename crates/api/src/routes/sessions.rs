//! `/sessions`: what is and was connected.

use access::ids::SessionId;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::read::SessionFilter;

use crate::caller::{Reads, SignedIn};
use crate::extract::{Asked, Body, Id};
use crate::listing::{self, Listing, cursor_of, key_in, listed, page};
use crate::problem::Answer;
use crate::shown::{self, Shown};
use crate::state::{ApiState, Long};
use crate::types::grants::{Because, Cut};
use crate::types::list::Page;
use crate::types::schema;
use crate::types::sessions::{FoundSession, Passage, SearchQuery, Session, SessionsQuery};
use crate::version::{IfMatch, etag};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(search)).routes(routes!(show)).routes(routes!(kill))
}

/// Lists sessions, newest first.
#[utoipa::path(get, path = "/sessions", tag = "sessions", params(SessionsQuery), responses((status = 200, body = Page<Session>)))]
async fn list(State(state): State<ApiState>, Reads(caller): Reads, Asked(query): Asked<SessionsQuery>) -> Answer<Json<Page<Session>>> {
    let gate = &state.gate;
    let whose = if query.all { query.person } else { Some(caller.who.id()) };
    let filter = SessionFilter { person: whose, resource: query.resource, state: query.state, ..SessionFilter::default() };
    let mut listing = Listing::new::<SessionId>(query.limit, query.cursor.as_deref())?;
    listed!(listing, |page| gate.store().sessions(&filter, &page), |row| {
        if query.all {
            gate.visible_session(&caller, Some(row)).await.ok()
        } else {
            gate.is_own_session(&caller, &row).await?.then_some(row)
        }
    });
    let (rows, next) = listing.done();
    let mut show = Shown::new(gate);
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(show.session(row).await?);
    }
    Ok(page(items, next))
}

/// Looks for sessions: among those that the caller may see, and by text only in recordings that they may read.
///
/// A search by text leaves an entry in the audit log.
#[utoipa::path(get, path = "/sessions/search", tag = "sessions", params(SearchQuery), responses((status = 200, body = Page<FoundSession>)))]
async fn search(State(state): State<ApiState>, Reads(caller): Reads, Asked(query): Asked<SearchQuery>) -> Answer<Json<Page<FoundSession>>> {
    let SearchQuery { person, resource, role, protocol, state: in_state, end, since, until, ticket, text, limit, cursor } = query;
    let filter = SessionFilter { person, resource, role, protocol, state: in_state, end, from: since, until, ticket, grant: None };
    let after = cursor.as_deref().map(key_in::<SessionId>).transpose()?.map(|id| id.to_string());
    let wanted = workflow::read::Page { limit: listing::limit(limit)?, after };
    let _share = state.long(caller.who.id(), Long::Search)?;
    let searched = state.gate.search_sessions(&caller, &filter, text.as_deref(), &wanted).await?;
    let mut show = Shown::new(&state.gate);
    let mut items = Vec::with_capacity(searched.found.len());
    for found in searched.found {
        let passages = found.passages.into_iter();
        let passages = passages.map(|p| Passage { at_us: p.at_us, channel: p.channel, activity: p.activity }).collect();
        items.push(FoundSession { session: show.session(found.session).await?, passages, whole: found.whole });
    }
    Ok(page(items, searched.last.map(cursor_of)))
}

/// Shows a session.
#[utoipa::path(get, path = "/sessions/{id}", tag = "sessions", params(("id" = schema::SessionId, Path)), responses((status = 200, body = Session)))]
async fn show(State(state): State<ApiState>, Reads(caller): Reads, Id(id): Id<SessionId>) -> Answer<impl IntoResponse> {
    let row = state.gate.store().session(id).await?;
    let row = state.gate.visible_session(&caller, row).await?;
    Ok((etag(row.version), Json(Shown::new(&state.gate).session(row).await?)))
}

/// Ends a session by hand; its grant stays.
#[utoipa::path(post, path = "/sessions/{id}/kill", tag = "sessions", params(("id" = schema::SessionId, Path), schema::IfMatch), request_body = Because, responses((status = 200, body = Cut)))]
async fn kill(
    State(state): State<ApiState>,
    SignedIn(caller): SignedIn,
    Id(id): Id<SessionId>,
    seen: IfMatch,
    Body(why): Body<Because>,
) -> Answer<Json<Cut>> {
    Ok(Json(shown::cut(state.gate.kill(&caller, seen.of(id), why.reason).await?)))
}
