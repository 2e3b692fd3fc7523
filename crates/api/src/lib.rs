//! The HTTP API: routes in URL order under `/api/v1`, OpenAPI, and what serves them over TLS.
//!
//! It writes through `workflow` alone. Clients use [`types`], which knows of no web server. `proxy` never imports this crate.

pub mod types;
