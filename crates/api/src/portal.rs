//! The portal: a web page that does nothing the API can't.
//!
//! `scripts/portal build` makes it in `portal/dist`, and the build script of this crate puts its files into the program, each also
//! compressed. What the page begins with stands in it, let in by its digest. Files whose name carries a digest of their content may be kept
//! for a year; the page itself never. Where it was not built, a plain page says how to.

use std::fmt::Write as _;
use std::sync::LazyLock;

use access::reason::{Reason, Refusal};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use crate::problem::{Refused, no_route};

/// A file of the portal.
struct File {
    path: &'static str,
    plain: &'static [u8],
    gzip: Option<&'static [u8]>,
    brotli: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/portal.rs"));

const PAGE: &str = "index.html";
/// Where Vite puts what carries a digest in its name.
const HASHED: &str = "assets/";

/// Nothing from elsewhere, nothing inline but what the build put into the page, nothing embedded, and no page around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; \
                      manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types svelte-trusted-html";

/// The same for the page.
static OF_PAGE: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let page = FILES.iter().find(|file| file.path == PAGE)?;
    HeaderValue::from_str(&with_digests(std::str::from_utf8(page.plain).ok()?)).ok()
});

/// The policy, with the digests of the scripts and styles that stand in a page (CSP level 3, §2.3.1).
fn with_digests(page: &str) -> String {
    let mut policy = POLICY.to_owned();
    for element in ["script", "style"] {
        let (opens, closes) = (format!("<{element}>"), format!("</{element}>"));
        let plain = format!("{element}-src 'self'");
        let mut digests = plain.clone();
        for (text, _) in page.split(&opens).skip(1).filter_map(|rest| rest.split_once(&closes)) {
            let _whole = write!(digests, " 'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)));
        }
        policy = policy.replacen(&plain, &digests, 1);
    }
    policy
}

const DRESS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("permissions-policy"),
        "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), hid=(), magnetometer=(), microphone=(), midi=(), \
         payment=(), serial=(), usb=(), clipboard-write=(self), publickey-credentials-create=(self), publickey-credentials-get=(self)",
    ),
];

/// Where no route of the API leads: a file of the portal, or its page for whoever wants a page.
pub(crate) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    let reads = matches!(method, Method::GET | Method::HEAD);
    if !reads || path == "api" || path.starts_with("api/") {
        return no_route().await.into_response();
    }
    if let Some(file) = FILES.iter().find(|file| file.path == path && path != PAGE) {
        return dressed(sent(file, &headers));
    }
    let wants_page = headers.get(header::ACCEPT).and_then(|kinds| kinds.to_str().ok()).is_some_and(|kinds| kinds.contains("text/html"));
    if !wants_page || path.starts_with(HASHED) {
        return Refused::from(Refusal::because(Reason::NotFound, "there is no page or route at this path")).into_response();
    }
    match FILES.iter().find(|file| file.path == PAGE) {
        Some(page) => {
            let mut response = dressed(sent(page, &headers));
            if let Some(policy) = OF_PAGE.as_ref() {
                response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy.clone());
            }
            response
        }
        None => dressed((StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], NOT_BUILT).into_response()),
    }
}

const NOT_BUILT: &str =
    "This gate was built without its portal. Run `scripts/portal build` and build it again; the API and SSH work without.\n";

fn sent(file: &'static File, headers: &HeaderMap) -> Response {
    let takes = |coding: &str| {
        let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|all| all.to_str().ok()).unwrap_or_default();
        accepted.split(',').any(|one| one.split(';').next().is_some_and(|one| one.trim().eq_ignore_ascii_case(coding)))
    };
    let (body, coding) = match (file.brotli, file.gzip) {
        (Some(body), _) if takes("br") => (body, Some("br")),
        (_, Some(body)) if takes("gzip") => (body, Some("gzip")),
        _ => (file.plain, None),
    };
    let kept = if file.path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-store" };
    let mut response =
        ([(header::CONTENT_TYPE, kind(file.path)), (header::CACHE_CONTROL, kept), (header::VARY, "Accept-Encoding")], body).into_response();
    if let Some(coding) = coding {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    response
}

fn dressed(mut response: Response) -> Response {
    for (name, value) in DRESS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn kind(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "webmanifest" => "application/manifest+json",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_built_that_nobody_loads() {
        // What the gate's own pages load, see `routes/providers.rs`.
        let own = ["theme.js", "refused.css"];
        for file in FILES.iter().filter(|file| file.path != PAGE && !own.contains(&file.path)) {
            let name = file.path.rsplit('/').next().unwrap_or(file.path);
            let loads = |other: &File| other.path != file.path && String::from_utf8_lossy(other.plain).contains(name);
            assert!(FILES.iter().any(loads), "{} is named by no other file", file.path);
        }
    }

    #[test]
    fn what_stands_in_the_page_is_let_in_by_its_digest_and_nothing_else_is() {
        assert_eq!(with_digests("<script src=\"/a.js\"></script><link rel=\"stylesheet\" href=\"/a.css\">"), POLICY);
        let policy = with_digests("<style>a{}</style><script>1</script><script type=\"module\" src=\"/a.js\"></script>");
        let script = "script-src 'self' 'sha256-a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s=';";
        let style = "style-src 'self' 'sha256-X1RutGBrXCt9KkSaXMK7tHftWiRscFHOhxsS8tv8hBk=';";
        assert!(policy.contains(script) && policy.contains(style), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}
