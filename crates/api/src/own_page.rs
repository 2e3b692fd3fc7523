//! Whether a browser's call comes from the gate's own page.
//!
//! Cookies ride along with whatever any page makes a browser send; so what changes something has to say, by headers a page can't
//! forge (`Origin`, RFC 6454 §7, and `Sec-Fetch-Site`), that it comes from here. `SameSite=Strict` says so a second time, and that
//! bodies are JSON a third.

use access::reason::{Reason, Refusal};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

/// Refuses what another page sent.
///
/// # Errors
/// [`Reason::CrossSite`], with what gave it away.
pub(crate) fn refuse_others(parts: &Parts, api: &str) -> Result<(), Refusal> {
    let no = |why: &str| Err(Refusal::because(Reason::CrossSite, why.to_owned()));
    let reads = parts.method.is_safe();
    match one(&parts.headers, "sec-fetch-site") {
        One::None | One::Is("same-origin") => {}
        // Somebody typed the address, or follows a bookmark.
        One::Is("none") if reads => {}
        _ => return no("`Sec-Fetch-Site` does not say `same-origin`"),
    }
    let host = parts.uri.authority().map(|authority| authority.as_str()).or_else(|| match one(&parts.headers, header::HOST.as_str()) {
        One::Is(host) => Some(host),
        _ => None,
    });
    let scheme = if api.starts_with("https://") { "https" } else { "http" };
    let own = host.map(|host| format!("{scheme}://{host}"));
    match (one(&parts.headers, header::ORIGIN.as_str()), own) {
        (One::Is(origin), Some(own)) if origin.eq_ignore_ascii_case(&own) => Ok(()),
        (One::None, _) if reads => Ok(()),
        (One::None, _) => no("there is no `Origin`, which every browser sends with this"),
        _ => no("`Origin` names another page"),
    }
}

enum One<'h> {
    None,
    Is(&'h str),
    Unclear,
}

fn one<'h>(headers: &'h HeaderMap, name: &str) -> One<'h> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (None, _) => One::None,
        (Some(Ok(value)), None) => One::Is(value),
        _ => One::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn asked(method: &str, api: &str, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let mut request = Request::builder().method(method).uri("/api/v1/requests").header("host", "gate.example.com:8443");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        refuse_others(&request.body(()).unwrap().into_parts().0, api)
    }

    // covers: G4
    #[test]
    fn only_the_gates_own_page_may_use_a_cookie() {
        const API: &str = "https://gate.example.com:8443";
        let (origin, same) = (("origin", API), ("sec-fetch-site", "same-origin"));
        for good in [
            asked("POST", API, &[origin, same]),
            asked("POST", API, &[origin]),
            asked("GET", API, &[]),
            asked("GET", API, &[same]),
            asked("GET", API, &[("sec-fetch-site", "none")]),
        ] {
            assert_eq!(good, Ok(()));
        }
        for (method, headers) in [
            ("POST", vec![]),
            ("POST", vec![same]),
            ("POST", vec![("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")]),
            ("POST", vec![("origin", "http://gate.example.com:8443")]),
            ("POST", vec![("origin", "https://gate.example.com")]),
            ("POST", vec![("origin", "null")]),
            ("POST", vec![origin, ("sec-fetch-site", "same-site")]),
            ("POST", vec![origin, ("sec-fetch-site", "none")]),
            ("POST", vec![origin, ("origin", "https://evil.example")]),
            ("DELETE", vec![("origin", "https://evil.example")]),
            ("GET", vec![("sec-fetch-site", "cross-site")]),
            ("GET", vec![("sec-fetch-site", "same-site")]),
            ("GET", vec![("origin", "https://evil.example")]),
        ] {
            let refused = asked(method, API, &headers).expect_err(&format!("{method} {headers:?}"));
            assert_eq!(refused.reason, Reason::CrossSite);
        }
    }
}
