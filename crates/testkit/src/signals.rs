//! A transmitter of signals (OpenID Shared Signals): it publishes what it signs with, and signs whatever it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::Result;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::web::{Reply, serve};

/// The session of somebody's at the provider was revoked.
pub const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
/// What a device of somebody's is, compared to what it has to be.
pub const DEVICE_COMPLIANCE: &str = "https://schemas.openid.net/secevent/caep/event-type/device-compliance-change";
/// Their account at the provider is disabled.
pub const ACCOUNT_DISABLED: &str = "https://schemas.openid.net/secevent/risc/event-type/account-disabled";
/// Their account at the provider is not disabled any more.
pub const ACCOUNT_ENABLED: &str = "https://schemas.openid.net/secevent/risc/event-type/account-enabled";
/// Whether signals come.
pub const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";

/// How a signal is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// By the transmitter's own key.
    Own,
    /// By a key that nobody published, under the name of one that somebody did.
    Stranger,
    /// Not at all, as `alg: none`.
    Nobody,
    /// As HS256, with the public key for a secret.
    PublicKey,
}

/// A transmitter that runs until the test's process ends.
pub struct Transmitter {
    /// Its issuer.
    pub issuer: String,
    /// Whose people it speaks of.
    pub subjects: String,
    /// Whom it speaks to.
    pub audience: String,
    key: Ed25519KeyPair,
    away: Arc<AtomicBool>,
    made: AtomicU64,
}

impl std::fmt::Debug for Transmitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transmitter").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Transmitter {
    /// One that speaks of a provider's people to an audience.
    ///
    /// # Errors
    /// If nothing can be listened on, or no key can be made.
    pub fn start(subjects: &str, audience: &str) -> Result<Self> {
        let key = Ed25519KeyPair::generate().map_err(|_| anyhow::anyhow!("no key can be made"))?;
        let public = BASE64_URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
        let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "one", "x": public }] });
        let away = Arc::new(AtomicBool::new(false));
        let gone = Arc::clone(&away);
        let address = serve(move |call| {
            let issuer = format!("http://{}", call.headers.get("host").map(String::as_str).unwrap_or_default());
            match call.path.as_str() {
                _ if gone.load(Ordering::Relaxed) => Reply::status(502),
                "/.well-known/ssf-configuration" => Reply::json(&json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") })),
                "/keys" => Reply::json(&keys),
                _ => Reply::status(404),
            }
        })?;
        Ok(Self {
            issuer: format!("http://{address}"),
            subjects: subjects.to_owned(),
            audience: audience.to_owned(),
            key,
            away,
            made: AtomicU64::new(0),
        })
    }

    /// What stands of it in `tidegate.toml`.
    #[must_use]
    pub fn settings(&self, name: &str, provider: &str) -> String {
        let (issuer, audience) = (&self.issuer, &self.audience);
        format!("[[signals]]\nname = \"{name}\"\nissuer = \"{issuer}\"\naudience = \"{audience}\"\nidentity_provider = \"{provider}\"\n")
    }

    /// It does not answer from now on, or does again.
    pub fn go_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    /// What it says of somebody at the provider, at a time in seconds: a new signal each time.
    pub fn says(&self, event: &str, of: &str, now: i64) -> Value {
        let n = self.made.fetch_add(1, Ordering::Relaxed);
        json!({
            "iss": self.issuer, "aud": self.audience, "iat": now, "jti": format!("signal-{n}"),
            "sub_id": { "format": "iss_sub", "iss": self.subjects, "sub": of },
            "events": { event: { "event_timestamp": now, "reason_admin": { "en": "seen from two places" } } },
        })
    }

    /// The same, signed.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(claims, Signed::Own, &json!("secevent+jwt"))
    }

    /// Claims under a signature, with a type.
    #[must_use]
    pub fn sign_as(&self, claims: &Value, how: Signed, kind: &Value) -> String {
        let alg = match how {
            Signed::Own | Signed::Stranger => "EdDSA",
            Signed::Nobody => "none",
            Signed::PublicKey => "HS256",
        };
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&json!({ "alg": alg, "kid": "one", "typ": kind })), part(claims));
        let signature = match how {
            Signed::Own => self.key.sign(message.as_bytes()).as_ref().to_vec(),
            Signed::Stranger => {
                Ed25519KeyPair::generate().map_or_else(|_| Vec::new(), |key| key.sign(message.as_bytes()).as_ref().to_vec())
            }
            Signed::Nobody => Vec::new(),
            Signed::PublicKey => {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, self.key.public_key().as_ref()), message.as_bytes()).as_ref().to_vec()
            }
        };
        format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}
