//! The cookie `__Host-tide` by which a browser stays signed in.
//!
//! The prefix `__Host-` makes browsers refuse it unless it is `Secure`, for the whole host and for this host alone, so that no
//! neighbour under the same domain can plant one (RFC 6265bis §4.1.3.2). Browsers count `localhost` and 127.0.0.1 as secure.

use access::ids::WebSessionId;
use access::reason::{Reason, Refusal};
use access::secret::Secret;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use workflow::Gate;

const NAME: &str = "__Host-tide";

/// Sent by a page with what it fetches by itself, so that an open page that nobody sits at keeps no session from ending.
pub(crate) const BACKGROUND: HeaderName = HeaderName::from_static("x-tidegate-background");

/// The cookie that binds a sign-in at an identity provider to the browser where it began. `Lax`, since the provider sends it back.
const SIGN_IN: &str = "__Host-tide-sign-in";

/// The cookie that binds sign-ins to a browser, if there is exactly one.
pub(crate) fn sign_in(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut found =
        lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('=')).filter(|(name, _)| *name == SIGN_IN);
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Some(value),
        _ => None,
    }
}

/// What gives a browser that cookie.
pub(crate) fn sign_in_given(value: &str) -> HeaderValue {
    let text = format!("{SIGN_IN}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600");
    HeaderValue::from_str(&text).map_or_else(
        |_| taken(),
        |mut value| {
            value.set_sensitive(true);
            value
        },
    )
}

/// The cookie a request carries.
///
/// # Errors
/// If there are two that differ: one of them was planted.
pub(crate) fn in_headers(headers: &HeaderMap) -> Result<Option<Secret<String>>, Refusal> {
    let mut found: Option<&str> = None;
    for line in headers.get_all(header::COOKIE) {
        for pair in line.to_str().unwrap_or_default().split(';') {
            let Some((name, value)) = pair.trim().split_once('=') else { continue };
            if name != NAME {
                continue;
            }
            if found.is_some_and(|first| first != value) {
                return Err(Refusal::because(
                    Reason::NotSignedIn,
                    format!("there are two cookies `{NAME}`; close the browser and sign in"),
                ));
            }
            found = Some(value);
        }
    }
    Ok(found.map(|value| Secret::new(value.to_owned())))
}

/// Who is signed in in the browser of a request already: whoever signs in there now ends that.
pub(crate) async fn former(gate: &Gate, headers: &HeaderMap) -> Option<WebSessionId> {
    gate.known_web_session(in_headers(headers).ok()??.expose()).await
}

/// What gives a browser its cookie. It is gone when the browser closes, or earlier when the session ends.
pub(crate) fn given(secret: &Secret<String>) -> HeaderValue {
    let text = format!("{NAME}={}; Path=/; Secure; HttpOnly; SameSite=Strict", secret.expose());
    HeaderValue::from_str(&text).map_or_else(
        |_| taken(),
        |mut value| {
            value.set_sensitive(true);
            value
        },
    )
}

/// What takes it away.
pub(crate) fn taken() -> HeaderValue {
    HeaderValue::from_static("__Host-tide=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&'static str]) -> Result<Option<String>, Refusal> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_static(line));
        }
        Ok(in_headers(&headers)?.map(|secret| secret.expose().clone()))
    }

    #[test]
    fn one_cookie_is_read_and_two_are_refused() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["tide=x; __Host-tide=abc"]), Ok(Some("abc".to_owned())));
        assert_eq!(read(&["a=b", "__Host-tide=abc; __Host-tide=abc"]), Ok(Some("abc".to_owned())));
        assert!(read(&["__Host-tide=abc", "__Host-tide=abd"]).is_err());
        assert_eq!(read(&["__host-tide=abc"]), Ok(None));
    }
}
