//! Sign-ins under way: what the gate remembers between sending a browser to a provider and its return.
//!
//! In memory, bounded, and each good for one return: losing them costs a second try. The state is bound to the browser by a cookie
//! of its own, so that nobody can make another's browser finish a sign-in that they began (RFC 9700 §4.7).

use std::net::IpAddr;

use access::ids::WebSessionId;
use access::reason::{Reason, Refusal};
use access::secret::Secret;
use access::time::Span;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::client::Metadata;
use super::provider::Provider;
use crate::opaque::{self, Issued, Verifier};
use crate::waiting::Waiting;

/// For so long somebody may take to sign in at the provider.
pub const VALID_FOR: Span = Span::minutes(10);
/// At most so many are under way …
const ROOM: usize = 4096;
/// … and so many from one source.
const EACH: usize = 256;
const STATE: &str = "tg_sta_";
const NONCE: &str = "tg_non_";
const BROWSER: &str = "tg_brw_";

/// A sign-in that came back.
#[derive(Debug)]
pub struct Returned {
    /// What the token has to carry.
    pub nonce: String,
    /// What the code is redeemed with.
    pub pkce: Secret<String>,
    /// Where in the portal the person was going.
    pub then: String,
    /// Who was signed in in this browser when it began: that sign-in ends with this one.
    pub former: Option<WebSessionId>,
}

#[derive(Debug)]
struct UnderWay {
    state: Verifier,
    browser: Verifier,
    provider: String,
    end: Timestamp,
    returned: Returned,
}

/// A new value of the cookie that binds sign-ins to a browser.
#[must_use]
pub fn browser() -> Issued {
    opaque::issue(BROWSER)
}

/// Reads that cookie.
#[must_use]
pub fn read_browser(cookie: &str) -> Option<Verifier> {
    cookie.strip_prefix(BROWSER).filter(|body| opaque::is_body(body)).map(|_| Verifier::of(cookie))
}

/// The sign-ins that are under way.
#[derive(Debug)]
pub struct SignIns(Waiting<UnderWay>);

impl Default for SignIns {
    fn default() -> Self {
        Self(Waiting::new(ROOM, EACH))
    }
}

impl SignIns {
    /// Begins one for a browser at an address, and gives the address to send it to. `redirect` is where it comes back, exactly as registered there.
    ///
    /// # Errors
    /// If the provider's address is none.
    pub fn begin(
        &mut self,
        provider: &Provider,
        metadata: &Metadata,
        redirect: &str,
        (from, browser): (IpAddr, &Verifier),
        (then, former): (&str, Option<WebSessionId>),
        now: Timestamp,
    ) -> Result<String, Refusal> {
        let mut url = reqwest::Url::parse(&metadata.authorization_endpoint)
            .map_err(|_| Refusal::because(Reason::NotSignedIn, "the identity provider's address is none"))?;
        let (state, nonce) = (opaque::issue(STATE), opaque::issue(NONCE));
        // RFC 7636 §4.1: 43 to 128 characters.
        let pkce = Secret::new(format!("{}{}", opaque::issue("").secret.expose(), opaque::issue("").secret.expose()));
        let scopes = std::iter::once("openid").chain(provider.scopes.iter().map(String::as_str).filter(|s| *s != "openid"));
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &provider.client_id)
            .append_pair("redirect_uri", redirect)
            .append_pair("scope", &scopes.collect::<Vec<_>>().join(" "))
            .append_pair("state", state.secret.expose())
            .append_pair("nonce", nonce.secret.expose())
            .append_pair("code_challenge", &URL_SAFE_NO_PAD.encode(Sha256::digest(pkce.expose().as_bytes())))
            .append_pair("code_challenge_method", "S256");
        let begun = UnderWay {
            state: state.verifier,
            browser: browser.clone(),
            provider: provider.name.clone(),
            end: VALID_FOR.after(now),
            returned: Returned { nonce: nonce.secret.expose().clone(), pkce, then: path_of_ours(then), former },
        };
        self.0.push(from, begun);
        Ok(url.into())
    }

    /// Whether a sign-in waits for this, in this browser.
    #[must_use]
    pub fn waits(&self, state: &str, browser: &Verifier) -> bool {
        let presented = Verifier::of(state);
        self.0.iter().any(|waiting| presented.matches(waiting.state.as_str()) && browser.matches(waiting.browser.as_str()))
    }

    /// A browser comes back from a provider. Its state is gone with that, whatever comes of it.
    ///
    /// # Errors
    /// [`Reason::CodeInvalid`] when no sign-in waits for this, in this browser, from this provider, now.
    pub fn returned(&mut self, provider: &str, state: &str, browser: Option<&Verifier>, now: Timestamp) -> Result<Returned, Refusal> {
        let presented = Verifier::of(state);
        match self.0.take(|waiting| presented.matches(waiting.state.as_str())) {
            Some(waiting)
                if now < waiting.end
                    && waiting.provider == provider
                    && browser.is_some_and(|browser| browser.matches(waiting.browser.as_str())) =>
            {
                Ok(waiting.returned)
            }
            _ => Err(Refusal::because(
                Reason::CodeInvalid,
                "this sign-in was not begun in this browser, was finished before, or took too long; sign in again",
            )),
        }
    }
}

/// A path of the portal's, or its first page: never the address of anything else.
fn path_of_ours(then: &str) -> String {
    let plain = then.len() <= 500 && then.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let ours = plain && then.starts_with('/') && !then.starts_with("//") && !then.starts_with("/api/");
    if ours { then.to_owned() } else { "/".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::people::{desk, noon};
    use crate::oidc::id_token::tests::provider;

    fn metadata() -> Metadata {
        Metadata {
            issuer: "https://login.example".into(),
            authorization_endpoint: "https://login.example/auth?tenant=7".into(),
            token_endpoint: "https://login.example/token".into(),
            jwks_uri: "https://login.example/keys".into(),
            userinfo_endpoint: None,
            authorization_response_iss_parameter_supported: true,
            token_endpoint_auth_methods_supported: None,
        }
    }

    fn begin(sign_ins: &mut SignIns, browser: &Verifier, then: &str) -> (String, reqwest::Url) {
        let url = sign_ins.begin(&provider(), &metadata(), "https://gate.example/back", (desk(), browser), (then, None), noon()).unwrap();
        let url = reqwest::Url::parse(&url).unwrap();
        let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        (state, url)
    }

    // covers: A7, A9
    #[test]
    fn a_sign_in_ends_once_in_the_browser_where_it_began() {
        let (mut sign_ins, desk, other) = (SignIns::default(), browser().verifier, browser().verifier);
        let (state, url) = begin(&mut sign_ins, &desk, "/requests");
        let asked = |name: &str| url.query_pairs().find(|(n, _)| n == name).map(|(_, v)| v.into_owned());
        assert_eq!(asked("tenant").as_deref(), Some("7"));
        assert_eq!(asked("redirect_uri").as_deref(), Some("https://gate.example/back"));
        assert_eq!(asked("scope").as_deref(), Some("openid profile groups"));
        let back = sign_ins.returned("corp", &state, Some(&desk), noon()).unwrap();
        assert_eq!(back.then, "/requests");
        assert_eq!(asked("nonce").unwrap(), back.nonce);
        assert_eq!(asked("code_challenge").unwrap(), URL_SAFE_NO_PAD.encode(Sha256::digest(back.pkce.expose())));
        assert!(back.pkce.expose().len() >= 43);
        let reason = |r: Result<Returned, Refusal>| r.unwrap_err().reason;
        assert_eq!(reason(sign_ins.returned("corp", &state, Some(&desk), noon())), Reason::CodeInvalid, "twice");

        for (provider, browser, at) in [
            ("corp", Some(&other), noon()),
            ("corp", None, noon()),
            ("elsewhere", Some(&desk), noon()),
            ("corp", Some(&desk), VALID_FOR.after(noon())),
        ] {
            let (state, _) = begin(&mut sign_ins, &desk, "/");
            assert_eq!(reason(sign_ins.returned(provider, &state, browser, at)), Reason::CodeInvalid);
            assert_eq!(reason(sign_ins.returned("corp", &state, Some(&desk), noon())), Reason::CodeInvalid, "a wrong return is a return");
        }
    }

    // covers: A8
    #[test]
    fn after_signing_in_one_stays_at_the_gate() {
        for ours in ["/", "/requests/req_1?x=1", "/device#CODE"] {
            assert_eq!(path_of_ours(ours), ours);
        }
        for foreign in ["//evil.example", "https://evil.example", "/\\evil.example", "", "evil", "/a b", "/\u{202e}", "/api/v1/sign-out"] {
            assert_eq!(path_of_ours(foreign), "/", "{foreign}");
        }
    }

    // covers: E7
    #[test]
    fn whoever_begins_many_pushes_out_nobody_elses() {
        let (mut sign_ins, hers, theirs) = (SignIns::default(), browser().verifier, browser().verifier);
        let (state, _) = begin(&mut sign_ins, &hers, "/");
        for n in 0..2 * u32::try_from(ROOM).unwrap() {
            let from = IpAddr::from(std::net::Ipv4Addr::from(0xC633_6400 + n % 32));
            sign_ins.begin(&provider(), &metadata(), "https://gate.example/back", (from, &theirs), ("/", None), noon()).unwrap();
        }
        assert_eq!(sign_ins.0.iter().count(), ROOM);
        assert!(sign_ins.waits(&state, &hers));
        assert!(sign_ins.returned("corp", &state, Some(&hers), noon()).is_ok());
    }
}
