//! Sign-in at identity providers: OpenID Connect Core 1.0, authorization code with PKCE (RFC 7636).
//!
//! [`provider`] is what the configuration says of a provider, [`flow`] what the gate remembers between sending a browser there
//! and its return, [`client`] the calls the gate makes itself, [`id_token`] and [`logout`] what a signed statement of the
//! provider proves, [`job_token`] what one of a CI system does, [`security_event`] what
//! a transmitter of signals says, and [`account`] whose it is. An account is known by issuer and subject and by nothing else: an e-mail address
//! is whatever somebody at the provider could make it.

pub mod account;
pub mod client;
pub mod flow;
pub mod id_token;
pub mod job_token;
pub mod logout;
pub mod provider;
pub mod security_event;

mod jws;

pub use client::{Metadata, ProviderClient, Redeemed};
pub use flow::SignIns;
pub use id_token::Claims;
pub use jws::Keys;
pub use provider::{ClientSecret, GroupsFrom, Provider};

use access::reason::{Reason, Refusal};

/// Why a sign-in at a provider came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// The provider could not be asked.
    #[error("the identity provider did not answer: {0}; check that the gate reaches it, or try again")]
    Unreachable(String),
    /// It answered what it must not.
    #[error("the identity provider's answer is not one that can be used: {0}")]
    Answer(String),
    /// It does not take the code: used before, too old, or another's.
    #[error("the identity provider did not take the code: {0}; sign in again")]
    Code(String),
    /// What it signed does not prove what it has to.
    #[error("the identity provider's token is no proof of who is here: {0}")]
    Token(String),
    /// No key of the provider's is the one that signed.
    #[error("the identity provider's token is no proof of who is here: none of its keys signed it")]
    UnknownKey,
}

impl From<OidcError> for Refusal {
    fn from(error: OidcError) -> Self {
        Self::because(Reason::NotSignedIn, error.to_string())
    }
}

/// Foreign text for a message: short, and without anything but printable ASCII.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().take(120).map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}
