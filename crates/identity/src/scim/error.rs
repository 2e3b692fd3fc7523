//! Every no of the SCIM server: status, `scimType` and a sentence (RFC 7644 §3.12).

use access::reason::Refusal;
use serde_json::{Value, json};

/// The schema of an error.
pub const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// What kind of mistake it is, where the RFC names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScimType {
    /// The filter cannot be read.
    InvalidFilter,
    /// More than the server gives at once.
    TooMany,
    /// Another has this value that only one can have.
    Uniqueness,
    /// What is read-only, or given once, was to be changed.
    Mutability,
    /// The body cannot be read.
    InvalidSyntax,
    /// The path cannot be read, or names nothing that there is.
    InvalidPath,
    /// The path leads to no value that could be changed.
    NoTarget,
    /// A value is missing, or is none that this attribute can have.
    InvalidValue,
}

impl ScimType {
    /// As it is written.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidFilter => "invalidFilter",
            Self::TooMany => "tooMany",
            Self::Uniqueness => "uniqueness",
            Self::Mutability => "mutability",
            Self::InvalidSyntax => "invalidSyntax",
            Self::InvalidPath => "invalidPath",
            Self::NoTarget => "noTarget",
            Self::InvalidValue => "invalidValue",
        }
    }
}

/// Why a directory is not answered as it wished.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct ScimError {
    /// HTTP status.
    pub status: u16,
    /// What kind of mistake.
    pub kind: Option<ScimType>,
    /// What exactly, and what to do.
    pub detail: String,
}

impl ScimError {
    /// A body that cannot be read.
    pub fn syntax(detail: impl Into<String>) -> Self {
        Self::bad(ScimType::InvalidSyntax, detail)
    }

    /// A value that is missing or wrong.
    pub fn value(detail: impl Into<String>) -> Self {
        Self::bad(ScimType::InvalidValue, detail)
    }

    /// A filter that cannot be read.
    pub fn filter(detail: impl Into<String>) -> Self {
        Self::bad(ScimType::InvalidFilter, detail)
    }

    /// A path that cannot be read or leads nowhere.
    pub fn path(detail: impl Into<String>) -> Self {
        Self::bad(ScimType::InvalidPath, detail)
    }

    /// A path that leads to nothing that could be changed.
    pub fn no_target(detail: impl Into<String>) -> Self {
        Self::bad(ScimType::NoTarget, detail)
    }

    /// What must stay as it is.
    pub fn mutability(detail: impl Into<String>) -> Self {
        Self::bad(ScimType::Mutability, detail)
    }

    /// Another has it.
    pub fn taken(detail: impl Into<String>) -> Self {
        Self { status: 409, kind: Some(ScimType::Uniqueness), detail: detail.into() }
    }

    /// There is no such thing in this directory.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::plain(404, detail)
    }

    /// Without a kind.
    pub fn plain(status: u16, detail: impl Into<String>) -> Self {
        Self { status, kind: None, detail: detail.into() }
    }

    fn bad(kind: ScimType, detail: impl Into<String>) -> Self {
        Self { status: 400, kind: Some(kind), detail: detail.into() }
    }

    /// As it is sent.
    #[must_use]
    pub fn body(&self) -> Value {
        let mut body = json!({ "schemas": [ERROR], "status": self.status.to_string(), "detail": self.detail });
        if let (Some(kind), Some(object)) = (self.kind, body.as_object_mut()) {
            object.insert("scimType".to_owned(), kind.code().into());
        }
        body
    }
}

impl From<Refusal> for ScimError {
    fn from(refusal: Refusal) -> Self {
        Self::plain(refusal.reason.http(), refusal.to_string())
    }
}

/// A text of somebody else's in a sentence: short, and without what moves a terminal's cursor.
#[must_use]
pub fn quoted(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_what_the_rfc_shows() {
        let error = ScimError::mutability("`id` is given by the gate");
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
            "status": "400",
            "scimType": "mutability",
            "detail": "`id` is given by the gate"
        });
        assert_eq!(error.body(), body);
        assert!(ScimError::not_found("nobody").body().get("scimType").is_none());
        assert_eq!(quoted("a\u{1b}[2J"), "a\\u{1b}[2J");
    }
}
