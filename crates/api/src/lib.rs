//! The HTTP API: routes in URL order under `/api/v1`, OpenAPI, and what serves them over TLS.
//!
//! It writes through `workflow` alone and reads through the gate. Clients use [`types`], which knows of no web server. The
//! way of a call: `frame` gives it an id and a border, `idempotency` lets a POST with a key through once, `caller` says who it
//! is (a token, or the cookie of a browser), a handler in `routes` calls a verb of the gate and shows what came of it, and `problem` writes every no.

pub mod serve;
pub mod types;

mod caller;
pub mod console;
mod cookie;
mod extract;
mod frame;
mod idempotency;
mod listing;
mod own_page;
mod places;
mod portal;
mod problem;
mod routes;
mod shares;
mod shown;
mod sight;
mod stand;
mod state;
mod version;
mod worded;

pub use routes::{openapi, router};
pub use serve::serve;
pub use state::ApiState;
