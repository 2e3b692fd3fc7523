//! Messages to the outside: what waits, what was delivered, what was given up.

use access::ids::{DeliveryId, EntryId};
use access::outbox::OutboxState;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::schema;

/// A message to the outside. What it says is made from its entry whenever it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// Its id: the same however often it is sent; a webhook's `webhook-id`.
    #[schema(value_type = schema::DeliveryId)]
    pub id: DeliveryId,
    /// Where to: `webhook:NAME`, `slack`, `teams`, `mail`.
    pub destination: String,
    /// The event it tells of.
    pub event: String,
    /// That event's audit entry.
    #[schema(value_type = schema::EntryId)]
    pub entry: EntryId,
    /// How far it has come.
    #[schema(value_type = schema::OutboxState)]
    pub state: OutboxState,
    /// How often it was tried.
    pub attempts: i64,
    /// When it is tried next; null: it is over.
    #[schema(value_type = Option<schema::Time>)]
    pub due_at: Option<Timestamp>,
    /// Why it was not delivered the last time.
    pub error: Option<String>,
    /// Since when it waits.
    #[schema(value_type = schema::Time)]
    pub created_at: Timestamp,
    /// When it was delivered or given up.
    #[schema(value_type = Option<schema::Time>)]
    pub done_at: Option<Timestamp>,
}

/// Which messages to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MessagesQuery {
    /// In this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<schema::OutboxState>)]
    pub state: Option<OutboxState>,
    /// To this destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// How many at most: 1 to 500; 50 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
    /// `next_cursor` of the part before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
