//! What happens, as it happens: server-sent events.
//!
//! Each event's `id` is the id of its entry, its `event` the entry's name, its `data` an [`AuditEntry`](super::audit::AuditEntry).
//! The header `x-tidegate-as-of` of an answer to somebody who is signed in changes with each entry, and says nothing else: a stream that
//! begins with the one that a list was answered with misses nothing that is not in the list.
//! An event `lagged` says that some were missed, so that the reader looks at the state afresh.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Only events whose name is this or begins with it: `session` or `session.opened`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

/// The data of a `lagged` event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lagged {
    /// How many were missed, of everybody's.
    pub missed: u64,
}
