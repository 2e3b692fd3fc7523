//! What an ID token proves: OpenID Connect Core 1.0 §3.1.3.7.

use std::str::FromStr as _;

use access::time::Span;
use chrono::{DateTime, Utc};
use jiff::Timestamp;
use openidconnect::core::{CoreGenderClaim, CoreIdTokenVerifier, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm};
use openidconnect::{AdditionalClaims, ClaimsVerificationError, ClientId, IdToken, IssuerUrl, Nonce, SignatureVerificationError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::jws::{ALLOWED, Keys, LONGEST};
use super::provider::Provider;
use super::{OidcError, printable};

/// How far a provider's clock may be from the gate's.
pub const SKEW: Span = Span::seconds(60);
/// The oldest token that is taken: it was made a moment ago, for this very sign-in.
pub const OLDEST: Span = Span::minutes(10);
/// At most so many groups are looked at.
const GROUPS: usize = 2000;

/// What a provider says of whoever signed in there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Who says so.
    pub issuer: String,
    /// Of whom: never given to anybody else there.
    pub subject: String,
    /// Their session there.
    pub sid: Option<String>,
    /// How they are called.
    pub name: Option<String>,
    /// The name they go by; good for a suggestion and for nothing else.
    pub preferred_username: Option<String>,
    /// Their groups, as the provider calls them.
    pub groups: Vec<String>,
}

/// Every claim that the library does not know.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct More(Map<String, Value>);
impl AdditionalClaims for More {}

type Token = IdToken<More, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;

/// What an ID token says, if this provider made it for this gate, for this sign-in, now.
///
/// # Errors
/// [`OidcError::UnknownKey`] when none of the keys can have signed it (the provider may have new ones); [`OidcError::Token`] for
/// everything else.
pub fn verify(provider: &Provider, keys: &Keys, token: &str, nonce: &str, now: Timestamp) -> Result<Claims, OidcError> {
    let no = |why: &str| OidcError::Token(why.to_owned());
    if token.len() > LONGEST {
        return Err(no("it is too long"));
    }
    let token = Token::from_str(token).map_err(|_| no("it is no ID token"))?;
    let issuer = IssuerUrl::new(provider.issuer.clone()).map_err(|_| no("the issuer is no URL"))?;
    let at = |time: Timestamp| DateTime::<Utc>::from_timestamp(time.as_second(), 0).unwrap_or_default();
    let lenient = at(now.checked_sub(SKEW.as_std()).unwrap_or(Timestamp::MIN));
    let (oldest, newest) = (at(now.checked_sub(OLDEST.as_std()).unwrap_or(Timestamp::MIN)), at(SKEW.after(now)));
    let verifier = CoreIdTokenVerifier::new_public_client(ClientId::new(provider.client_id.clone()), issuer, keys.0.clone())
        .set_allowed_algs(ALLOWED)
        .set_other_audience_verifier_fn(|_| false)
        .set_time_fn(move || lenient)
        .set_issue_time_verifier_fn(move |issued| {
            if issued < oldest {
                Err("it is too old".to_owned())
            } else if issued > newest {
                Err("it is from the future; check the clocks of the gate and of the identity provider".to_owned())
            } else {
                Ok(())
            }
        });
    let claims = token.claims(&verifier, &Nonce::new(nonce.to_owned())).map_err(|error| match error {
        ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey) => OidcError::UnknownKey,
        other => no(&printable(&chain(&other))),
    })?;
    let subject = claims.subject().to_string();
    if !is_subject(&subject) {
        return Err(no("its subject is none"));
    }
    // OpenID Connect Core 1.0 §3.1.3.7, 5: made for another client that passed it on.
    if claims.authorized_party().is_some_and(|party| party.as_str() != provider.client_id) {
        return Err(no("it was made for another client"));
    }
    let more = &claims.additional_claims().0;
    Ok(Claims {
        issuer: claims.issuer().to_string(),
        subject,
        sid: more.get("sid").and_then(Value::as_str).map(str::to_owned),
        name: claims.name().and_then(|name| name.get(None)).map(|name| name.chars().filter(|c| !c.is_control()).take(200).collect()),
        preferred_username: claims.preferred_username().map(|name| name.to_string()),
        groups: groups(more.get(&provider.groups_claim)),
    })
}

impl Claims {
    /// With the groups that stand elsewhere than in the token.
    #[must_use]
    pub fn with_groups_of(self, provider: &Provider, said: &Map<String, Value>) -> Self {
        Self { groups: groups(said.get(&provider.groups_claim)), ..self }
    }
}

/// OpenID Connect Core 1.0 §2: at most 255 ASCII characters.
pub(super) fn is_subject(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| (0x20..0x7f).contains(&b))
}

/// A list of texts, or one text alone; anything else is no group.
fn groups(claim: Option<&Value>) -> Vec<String> {
    match claim {
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).take(GROUPS).map(str::to_owned).collect(),
        Some(Value::String(one)) => vec![one.clone()],
        _ => Vec::new(),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
#[path = "id_token_tests.rs"]
pub(crate) mod tests;
