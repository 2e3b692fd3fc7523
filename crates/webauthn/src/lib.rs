//! What a passkey says, read and verified (Web Authentication Level 3, <https://www.w3.org/TR/webauthn-3/>).
//!
//! Pure: bytes, a challenge and a relying party in, a proof or a flaw out. `identity` signs people in with it while they are here;
//! `evidence` verifies with the same code, years later and offline, that an approval was signed. Who somebody is, which challenge is still
//! good and whose key it is, is for those who call it. No attestation is asked for, so none is looked at.

#[cfg(any(test, feature = "authenticator"))]
pub mod authenticator;
mod cbor;
mod client_data;
mod cose;
mod data;
mod verify;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use cose::{ALGORITHMS, PublicKey};
pub use verify::{Asserted, Assertion, Expected, Registered, verify_assertion, verify_registration};

/// Who asks for a passkey: a gate, by its name and the one address its page has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelyingParty {
    /// The name passkeys are bound to: the host without a port.
    pub id: String,
    /// The page's origin: scheme, host and port.
    pub origin: String,
}

impl RelyingParty {
    /// The relying party of a page. A passkey is bound to a name: of an address there is none, but a page on loopback is `localhost`.
    #[must_use]
    pub fn of_page(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']')?;
                (host, after.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let id = match host.parse::<std::net::IpAddr>() {
            Ok(address) if address.is_loopback() => "localhost".to_owned(),
            Ok(_) => return None,
            Err(_) => host.to_ascii_lowercase(),
        };
        // A browser gives passkeys to pages that came over TLS, and to those of its own machine.
        if id.is_empty() || (scheme != "https" && id != "localhost") {
            return None;
        }
        let port = port.filter(|port| !matches!((scheme, *port), ("https", "443") | ("http", "80")));
        let origin = match port {
            Some(port) => format!("{scheme}://{id}:{port}"),
            None => format!("{scheme}://{id}"),
        };
        Some(Self { id, origin })
    }
}

/// Why what a passkey said is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The bytes are not what they should be.
    #[error("{0} cannot be read")]
    Unreadable(&'static str),
    /// It was made for something else.
    #[error("it was made to {found}, not to {wanted}")]
    OtherPurpose {
        /// What it says.
        found: &'static str,
        /// What it should be for.
        wanted: &'static str,
    },
    /// Another challenge was answered.
    #[error("it answers another challenge")]
    OtherChallenge,
    /// It was made on another page.
    #[error("it was made on another page than the gate's own")]
    OtherOrigin,
    /// The page was shown inside another.
    #[error("it was made in a page inside another page")]
    CrossOrigin,
    /// It is for another relying party.
    #[error("it is bound to another name than the gate's")]
    OtherParty,
    /// Nobody touched it.
    #[error("nobody was there when it was made")]
    NobodyThere,
    /// It did not check who.
    #[error("the passkey did not check who it was: it wants a PIN, a fingerprint or a face")]
    NotVerified,
    /// The signature is wrong.
    #[error("its signature is wrong")]
    Signature,
    /// A key of a kind that is not taken.
    #[error("its key is of a kind that is not taken here")]
    Algorithm,
    /// The counter did not go up.
    #[error("its counter went back, so it may have been copied")]
    Counter,
}

/// Reads base64url without padding (RFC 4648 §5).
///
/// # Errors
/// [`Flaw::Unreadable`], naming `what`.
pub fn decode(text: &str, what: &'static str) -> Result<Vec<u8>, Flaw> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Flaw::Unreadable(what))
}

/// Writes base64url without padding.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passkey_is_bound_to_a_name() {
        let of = |url: &str| RelyingParty::of_page(url).map(|rp| (rp.id, rp.origin));
        let is = |id: &str, origin: &str| Some((id.to_owned(), origin.to_owned()));
        assert_eq!(of("https://Gate.example.com"), is("gate.example.com", "https://gate.example.com"));
        assert_eq!(of("https://gate.example.com:443/"), is("gate.example.com", "https://gate.example.com"));
        assert_eq!(of("https://gate.example.com:8443/x"), is("gate.example.com", "https://gate.example.com:8443"));
        assert_eq!(of("http://127.0.0.1:8443"), is("localhost", "http://localhost:8443"));
        assert_eq!(of("https://[::1]:8443"), is("localhost", "https://localhost:8443"));
        for none in ["https://192.0.2.1:8443", "http://gate.example.com", "https://", "gate", ""] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
