//! `ETag` and `If-Match`: a row's version, so that nobody changes what they have not seen.

use access::reason::{Reason, Refusal};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};

use crate::problem::Refused;

/// The version of a row as a header.
pub(crate) fn etag(version: i64) -> [(header::HeaderName, HeaderValue); 1] {
    let value = HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""));
    [(header::ETAG, value)]
}

/// What the caller believes the version to be, if they say.
pub(crate) struct Seen(Option<Vec<String>>);

impl<S: Sync> FromRequestParts<S> for Seen {
    type Rejection = Refused;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        Self::in_headers(&parts.headers)
    }
}

impl Seen {
    fn in_headers(headers: &HeaderMap) -> Result<Self, Refused> {
        let Some(value) = headers.get(header::IF_MATCH) else { return Ok(Self(None)) };
        let text = value.to_str().map_err(|_| Refused::invalid("`If-Match` has to be the `ETag` as it was given"))?;
        Ok(Self(Some(text.split(',').map(|tag| tag.trim().to_owned()).collect())))
    }

    /// Whether it still is as they saw it.
    pub(crate) fn is(&self, version: i64) -> Result<(), Refused> {
        let Some(tags) = &self.0 else { return Ok(()) };
        let now = format!("\"{version}\"");
        if tags.iter().any(|tag| tag == "*" || *tag == now) {
            return Ok(());
        }
        Err(Refusal::because(Reason::Stale, format!("it is version {now} now")).into())
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
        Seen::in_headers(&headers).unwrap_or(Seen(Some(Vec::new())))
    }

    #[test]
    fn a_version_that_was_not_seen_is_stale() {
        for good in [None, Some("\"3\""), Some("*"), Some("\"2\", \"3\"")] {
            assert!(seen(good).is(3).is_ok(), "{good:?}");
        }
        for old in ["\"2\"", "3", "W/\"3\"", ""] {
            assert_eq!(seen(Some(old)).is(3).err().map(|e| e.reason()), Some(Reason::Stale), "{old}");
        }
        assert_eq!(etag(3)[0].1, "\"3\"");
    }
}
