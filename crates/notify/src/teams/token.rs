//! What says that a call is the Bot Connector's: a JWT, signed by one of the keys it publishes, for this bot
//! (<https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-authentication>, "connector to bot").
//!
//! The token does not cover the body, so the channel's TLS does; the gate takes each activity once and soon besides.

use access::time::Span;
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;

/// Who signs.
pub const ISSUER: &str = "https://api.botframework.com";
/// Where it says what it signs with.
pub const METADATA: &str = "https://login.botframework.com/v1/.well-known/openidconfiguration";
/// How far clocks may be apart, and how old an activity may be.
const WINDOW: Span = Span::minutes(5);
/// The longest token that is looked at.
const LONGEST: usize = 16 * 1024;

/// Why a call is not taken as Teams'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It carries none.
    #[error("it carries no token; `Authorization: Bearer` and the Bot Connector's token have to be there")]
    Missing,
    /// It is no JWT as the Bot Connector makes them.
    #[error("its token is not one as the Bot Connector makes them")]
    Unreadable,
    /// No published key signed it.
    #[error("its token is signed by none of the keys that the Bot Connector publishes")]
    UnknownKey,
    /// The signature is wrong.
    #[error("its token is not signed by the Bot Connector")]
    Wrong,
    /// Somebody else made it.
    #[error("its token was made by somebody else than the Bot Connector")]
    Issuer,
    /// It is for another bot.
    #[error("its token is for another bot")]
    Audience,
    /// Too old, or not yet good.
    #[error("its token is not good now")]
    Late,
    /// It is for another service than the one that the activity names.
    #[error("its token is for another service than the one the activity says it comes from")]
    ServiceUrl,
    /// The key may not speak for this channel.
    #[error("its token's key does not speak for Teams")]
    Endorsement,
    /// The activity is too old, or its time cannot be read.
    #[error("its time is more than five minutes from the gate's")]
    Time,
}

/// The keys that the Bot Connector publishes.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Keys {
    keys: Vec<Key>,
}

#[derive(Debug, Clone, Deserialize)]
struct Key {
    #[serde(default)]
    kty: String,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    /// The channels it may speak for.
    #[serde(default)]
    endorsements: Vec<String>,
}

impl Keys {
    /// Whether a key with this id is among them.
    #[must_use]
    pub fn knows(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid == kid)
    }
}

/// Where the keys are, out of the metadata document.
#[derive(Debug, Clone, Deserialize)]
pub struct Metadata {
    /// Who signs.
    pub issuer: String,
    /// Where the keys are.
    pub jwks_uri: String,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    x5t: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default, alias = "serviceUrl")]
    serviceurl: Option<String>,
}

/// What a token has to be good for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The bot.
    pub app: &'a str,
    /// Who signs: [`ISSUER`] but for clouds of their own.
    pub issuer: &'a str,
    /// The service that the activity names.
    pub service: &'a str,
    /// The channel that the activity names.
    pub channel: &'a str,
}

/// The token of a header.
///
/// # Errors
/// If there is none.
pub fn bearer(authorization: Option<&str>) -> Result<&str, TokenError> {
    let (scheme, token) = authorization.and_then(|text| text.split_once(' ')).ok_or(TokenError::Missing)?;
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= LONGEST { Ok(token) } else { Err(TokenError::Missing) }
}

/// The id of the key that a token says it is signed with; proves nothing.
///
/// # Errors
/// If it is no JWT, or says none.
pub fn key_id(token: &str) -> Result<String, TokenError> {
    let header: Header = part(token, 0)?;
    // Nothing else is published for these keys.
    if header.alg != "RS256" {
        return Err(TokenError::Unreadable);
    }
    header.kid.or(header.x5t).ok_or(TokenError::Unreadable)
}

/// Verifies a token whole: signature, signer, bot, time, service and channel.
///
/// # Errors
/// What is wrong with it.
pub fn verify(token: &str, keys: &Keys, wanted: &Wanted<'_>, now: Timestamp) -> Result<(), TokenError> {
    let kid = key_id(token)?;
    let mut named = keys.keys.iter().filter(|key| key.kid == kid && key.kty == "RSA");
    let (Some(key), None) = (named.next(), named.next()) else { return Err(TokenError::UnknownKey) };
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Unreadable)?;
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Unreadable)?;
    let bytes = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| TokenError::UnknownKey);
    let public = RsaPublicKeyComponents { n: bytes(&key.n)?, e: bytes(&key.e)? };
    public.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature).map_err(|_| TokenError::Wrong)?;
    // INVARIANT: nothing of it is looked at before its signature is good.
    let claims: Claims = part(token, 1)?;
    if claims.iss != wanted.issuer {
        return Err(TokenError::Issuer);
    }
    if claims.aud != wanted.app {
        return Err(TokenError::Audience);
    }
    let at = |seconds: i64| Timestamp::from_second(seconds).map_err(|_| TokenError::Unreadable);
    if WINDOW.after(at(claims.exp)?) < now || claims.nbf.map(at).transpose()?.is_some_and(|begin| WINDOW.after(now) < begin) {
        return Err(TokenError::Late);
    }
    if claims.serviceurl.as_deref() != Some(wanted.service) {
        return Err(TokenError::ServiceUrl);
    }
    if !key.endorsements.iter().any(|channel| channel == wanted.channel) {
        return Err(TokenError::Endorsement);
    }
    Ok(())
}

/// Until when an activity could come again; its time has to be near.
///
/// # Errors
/// If it is not.
pub fn soon(timestamp: Option<&str>, now: Timestamp) -> Result<Timestamp, TokenError> {
    let at: Timestamp = timestamp.and_then(|text| text.parse().ok()).ok_or(TokenError::Time)?;
    if WINDOW.after(at) < now || WINDOW.after(now) < at { Err(TokenError::Time) } else { Ok(WINDOW.after(at)) }
}

fn part<T: for<'de> Deserialize<'de>>(token: &str, place: usize) -> Result<T, TokenError> {
    let parts: Vec<&str> = token.split('.').collect();
    let (3, Some(part)) = (parts.len(), parts.get(place)) else { return Err(TokenError::Unreadable) };
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Unreadable)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Unreadable)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
    use serde_json::{Value, json};

    use super::*;

    const APP: &str = "11111111-2222-3333-4444-555555555555";
    const SERVICE: &str = "https://smba.trafficmanager.net/emea/";

    struct Connector(KeyPair);

    impl Connector {
        fn new() -> Self {
            Self(KeyPair::generate(KeySize::Rsa2048).unwrap())
        }

        fn keys(&self, kid: &str, endorsements: &[&str]) -> Keys {
            let public = self.0.public_key();
            let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
            let n = text(public.modulus().big_endian_without_leading_zero());
            let e = text(public.exponent().big_endian_without_leading_zero());
            let keys = json!({ "keys": [{ "kty": "RSA", "kid": kid, "n": n, "e": e, "endorsements": endorsements }] });
            serde_json::from_value(keys).unwrap()
        }

        fn sign(&self, header: &Value, claims: &Value) -> String {
            let text = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!("{}.{}", text(header), text(claims));
            let mut signature = vec![0; self.0.public_modulus_len()];
            self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
            format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    // covers: C4 (teams)
    #[test]
    fn a_token_is_the_connectors_for_this_bot_service_and_channel_or_it_is_none() {
        let (connector, other) = (Connector::new(), Connector::new());
        let keys = connector.keys("k1", &["msteams", "webchat"]);
        let wanted = Wanted { app: APP, issuer: ISSUER, service: SERVICE, channel: "msteams" };
        let header = json!({ "typ": "JWT", "alg": "RS256", "kid": "k1", "x5t": "k1" });
        let claims = json!({ "serviceurl": SERVICE, "nbf": 1_800_000_000, "exp": 1_800_003_600, "iss": ISSUER, "aud": APP });
        let now = at(1_800_000_100);
        let good = connector.sign(&header, &claims);
        assert_eq!(verify(&good, &keys, &wanted, now), Ok(()));
        assert_eq!(verify(&good, &keys, &wanted, at(1_800_003_900)), Ok(()), "clocks may be five minutes apart");
        let with = |name: &str, value: Value| {
            let mut changed = claims.clone();
            changed[name] = value;
            connector.sign(&header, &changed)
        };
        let none = format!("{}.{}.", BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"k1"}"#), good.split('.').nth(1).unwrap());
        for (what, token, wrong) in [
            ("signed by another", other.sign(&header, &claims), TokenError::Wrong),
            ("unsigned", none, TokenError::Unreadable),
            ("another algorithm", connector.sign(&json!({ "alg": "HS256", "kid": "k1" }), &claims), TokenError::Unreadable),
            ("an unknown key", connector.sign(&json!({ "alg": "RS256", "kid": "k2" }), &claims), TokenError::UnknownKey),
            ("another issuer", with("iss", json!("https://sts.windows.net/x/")), TokenError::Issuer),
            ("another bot", with("aud", json!("99999999-2222-3333-4444-555555555555")), TokenError::Audience),
            ("another service", with("serviceurl", json!("https://evil.example/")), TokenError::ServiceUrl),
            ("no service", with("serviceurl", Value::Null), TokenError::ServiceUrl),
            ("too early", with("nbf", json!(1_800_000_500)), TokenError::Late),
            ("too late", with("exp", json!(1_799_999_799)), TokenError::Late),
            ("nothing", String::new(), TokenError::Unreadable),
        ] {
            assert_eq!(verify(&token, &keys, &wanted, now), Err(wrong), "{what}");
        }
        let unendorsed = connector.keys("k1", &["webchat"]);
        assert_eq!(verify(&good, &unendorsed, &wanted, now), Err(TokenError::Endorsement));
        assert_eq!(bearer(Some("bearer abc")), Ok("abc"));
        for wrong in [None, Some("abc"), Some("Basic abc"), Some("Bearer ")] {
            assert_eq!(bearer(wrong), Err(TokenError::Missing));
        }
    }

    #[test]
    fn an_activity_is_taken_within_five_minutes() {
        let now: Timestamp = "2026-03-02T12:00:00Z".parse().unwrap();
        assert_eq!(soon(Some("2026-03-02T11:55:00.000Z"), now), Ok(now));
        for wrong in [Some("2026-03-02T11:54:59Z"), Some("2026-03-02T12:05:01Z"), Some("yesterday"), None] {
            assert_eq!(soon(wrong, now), Err(TokenError::Time), "{wrong:?}");
        }
    }
}
