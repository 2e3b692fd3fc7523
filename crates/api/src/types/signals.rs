//! Signals of identity providers: what their transmitters are answered.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a security event token is not taken (RFC 8935 §2.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SetRefused {
    /// `invalid_request`, `invalid_issuer`, `invalid_audience` or `authentication_failed`.
    pub err: String,
    /// Why, in words.
    pub description: String,
}
