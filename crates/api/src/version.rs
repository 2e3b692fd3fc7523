//! `ETag` and `If-Match` (RFC 9110 §8.8.3, §13.1.1): a row's version, so that nobody changes what they have not seen.
//!
//! What the caller has seen goes with the call into the workflow, and is compared in the transaction that makes the change.

use access::reason::{Reason, Refusal};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use workflow::seen::{AsSeen, Seen};

use crate::problem::Refused;

/// A version as a header.
pub(crate) fn etag(version: impl std::fmt::Display) -> [(HeaderName, HeaderValue); 1] {
    let value = HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""));
    [(header::ETAG, value)]
}

/// What the caller has seen of what they change, if they say.
pub(crate) struct IfMatch(Seen);

impl IfMatch {
    /// This thing, in a version that was seen.
    pub(crate) fn of<I>(self, id: I) -> AsSeen<I> {
        self.0.of(id)
    }

    fn in_headers(headers: &HeaderMap) -> Result<Self, Refused> {
        if !headers.contains_key(header::IF_MATCH) {
            return Ok(Self(Seen::default()));
        }
        let mut versions = Vec::new();
        for value in headers.get_all(header::IF_MATCH) {
            let text = value.to_str().map_err(|_| Refused::invalid("`If-Match` has to be the `ETag` as it was given"))?;
            for tag in text.split(',').map(str::trim) {
                if tag == "*" {
                    return Ok(Self(Seen::default()));
                }
                // A weak tag, or none at all, never matches.
                versions.extend(tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).map(str::to_owned));
            }
        }
        Ok(Self(Seen::one_of(versions)))
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Refused;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        Self::in_headers(&parts.headers)
    }
}

/// A change to something that has no version: who says that they have seen one is not heard as if they had not.
pub(crate) struct Unversioned;

impl<S: Sync> FromRequestParts<S> for Unversioned {
    type Rejection = Refused;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        match IfMatch::in_headers(&parts.headers)? {
            IfMatch(seen) if seen == Seen::default() => Ok(Self),
            _ => Err(Refusal::because(Reason::Stale, "this has no version to compare with; leave `If-Match` away").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(value: Option<&'static str>) -> Seen {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(header::IF_MATCH, HeaderValue::from_static(value));
        }
        IfMatch::in_headers(&headers).map(|seen| seen.0).unwrap_or(Seen::one_of([]))
    }

    #[test]
    fn a_version_that_was_not_seen_is_stale() {
        for good in [None, Some("\"3\""), Some("*"), Some("\"2\", \"3\"")] {
            assert!(seen(good).is(3).is_ok(), "{good:?}");
        }
        for old in ["\"2\"", "3", "W/\"3\"", ""] {
            assert_eq!(seen(Some(old)).is(3).err().map(|e| e.reason), Some(Reason::Stale), "{old}");
        }
        assert_eq!(etag(3)[0].1, "\"3\"");
    }
}
