//! Signatures of a provider's tokens: JSON Web Signature (RFC 7515) under its published keys, by asymmetric algorithms alone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreJsonWebKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use openidconnect::{JsonWebKey as _, JsonWebKeyId, JsonWebKeyUse as _};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::OidcError;

/// What a provider may sign with. Neither `none` nor a shared secret: whoever holds the public key could make those.
pub(super) const ALLOWED: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];
/// The longest token that is looked at.
pub(super) const LONGEST: usize = 64 * 1024;

/// The keys a provider publishes.
#[derive(Debug, Clone)]
pub struct Keys(pub(super) CoreJsonWebKeySet);

impl Keys {
    /// Reads a JSON Web Key Set (RFC 7517 §5). Keys of kinds unknown here are left out.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, OidcError> {
        serde_json::from_str(text).map(Self).map_err(|_| OidcError::Answer("its keys are no JSON Web Key Set".into()))
    }
}

#[derive(Deserialize)]
struct Header {
    alg: CoreJwsSigningAlgorithm,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// A token's header, by its own account; `None`: it has none that can be read.
pub(super) fn header(token: &str) -> Option<Map<String, Value>> {
    let head = token.split('.').next().filter(|head| head.len() <= LONGEST)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).ok()?).ok()
}

/// What a token says, if one of these keys signed it.
pub(super) fn signed(keys: &Keys, token: &str, types: &[&str]) -> Result<Map<String, Value>, OidcError> {
    let no = |why: &str| OidcError::Token(why.to_owned());
    if token.len() > LONGEST {
        return Err(no("it is too long"));
    }
    let mut parts = token.split('.');
    let (Some(head), Some(body), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(no("it is no signed token"));
    };
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| no("it is no signed token"));
    let header: Header = serde_json::from_slice(&decoded(head)?).map_err(|_| no("its header cannot be read"))?;
    if !ALLOWED.contains(&header.alg) {
        return Err(no("it is not signed by an algorithm that proves anything here"));
    }
    if header.crit.is_some() || !header.typ.is_none_or(|typ| types.iter().any(|t| t.eq_ignore_ascii_case(&typ))) {
        return Err(no("it is a token of another kind"));
    }
    let signature = decoded(signature)?;
    let message = format!("{head}.{body}");
    let kid = header.kid.map(JsonWebKeyId::new);
    let fits = |key: &&CoreJsonWebKey| {
        key.key_use().is_none_or(|purpose| purpose.allows_signature()) && (kid.is_none() || key.key_id() == kid.as_ref())
    };
    let mut tried = false;
    for key in keys.0.keys().iter().filter(fits) {
        tried = true;
        if key.verify_signature(&header.alg, message.as_bytes(), &signature).is_ok() {
            return serde_json::from_slice(&decoded(body)?).map_err(|_| no("its claims cannot be read"));
        }
    }
    Err(if tried { no("its signature is wrong") } else { OidcError::UnknownKey })
}
