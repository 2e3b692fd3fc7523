//! `/outbox`: messages to the outside. For who sees the gate's nodes.

use access::ids::DeliveryId;
use access::outbox::OutboxState;
use access::reason::Reason;
use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::read::{OutboxFilter, OutboxRow};

use crate::caller::{Reads, SignedIn};
use crate::extract::{Asked, Id};
use crate::listing::{Listing, listed, page};
use crate::problem::Answer;
use crate::state::ApiState;
use crate::types::list::Page;
use crate::types::outbox::{Message, MessagesQuery};
use crate::types::schema;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show)).routes(routes!(replay))
}

/// Lists messages to the outside, newest first.
#[utoipa::path(get, path = "/outbox", tag = "outbox", params(MessagesQuery), responses((status = 200, body = Page<Message>)))]
async fn list(State(state): State<ApiState>, Reads(caller): Reads, Asked(query): Asked<MessagesQuery>) -> Answer<Json<Page<Message>>> {
    state.gate.may_see_outbox(&caller).await?;
    let filter = OutboxFilter { state: query.state, destination: query.destination.clone() };
    let mut listing = Listing::new::<DeliveryId>(query.limit, query.cursor.as_deref())?;
    listed!(listing, |page| state.gate.store().outbox(&filter, &page), |row| Some(message(row)));
    let (items, next) = listing.done();
    Ok(page(items, next))
}

/// Shows one message to the outside.
#[utoipa::path(get, path = "/outbox/{id}", tag = "outbox", params(("id" = schema::DeliveryId, Path)), responses((status = 200, body = Message)))]
async fn show(State(state): State<ApiState>, Reads(caller): Reads, Id(id): Id<DeliveryId>) -> Answer<Json<Message>> {
    state.gate.may_see_outbox(&caller).await?;
    let row = state.gate.store().outbox_message(id).await?.ok_or(Reason::NotFound)?;
    Ok(Json(message(row)))
}

/// Sends a message that was given up, or that its receiver lost, again under the id it has.
#[utoipa::path(post, path = "/outbox/{id}/replay", tag = "outbox", params(("id" = schema::DeliveryId, Path)), responses((status = 200, body = Message)))]
async fn replay(State(state): State<ApiState>, SignedIn(caller): SignedIn, Id(id): Id<DeliveryId>) -> Answer<Json<Message>> {
    Ok(Json(message(state.gate.replay_message(&caller, id).await?)))
}

fn message(row: OutboxRow) -> Message {
    Message {
        id: row.id,
        destination: row.destination,
        event: row.event,
        entry: row.entry,
        state: row.state,
        attempts: row.attempts,
        due_at: (row.state == OutboxState::Waiting).then_some(row.due_at),
        error: row.error,
        created_at: row.created_at,
        done_at: row.done_at,
    }
}
