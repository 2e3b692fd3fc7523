//! A provider that signs with a key of its own, and everything it or somebody else could say wrongly.

use super::super::logout;
use super::*;
use crate::account::people::noon;
use crate::oidc::provider::{ClientSecret, GroupsFrom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::json;
use sha2::{Digest as _, Sha256};

pub(crate) fn provider() -> Provider {
    Provider {
        name: "corp".into(),
        title: "Corp".into(),
        issuer: "https://login.example".into(),
        client_id: "tidegate".into(),
        client_secret: ClientSecret::Public,
        scopes: vec!["profile".into(), "groups".into()],
        groups_claim: "groups".into(),
        groups_from: GroupsFrom::IdToken,
        groups: [("Platform Team".to_owned(), "platform".parse().unwrap())].into(),
        groups_last: Span::hours(12),
        provision: false,
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn jwk(seed: u8, kid: &str) -> Value {
    let x = URL_SAFE_NO_PAD.encode(key(seed).verifying_key().as_bytes());
    json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": x })
}

fn keys() -> Keys {
    Keys::parse(&json!({ "keys": [jwk(1, "one")] }).to_string()).unwrap()
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn signed_by(seed: u8, header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = key(seed).sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

fn header() -> Value {
    json!({ "alg": "EdDSA", "kid": "one", "typ": "JWT" })
}

fn good() -> Value {
    let now = noon().as_second();
    json!({
        "iss": "https://login.example", "aud": "tidegate", "sub": "ana-1", "nonce": "n-1", "iat": now, "exp": now + 300,
        "sid": "s-1", "name": "Ana", "preferred_username": "ana", "email": "ben@example.com", "groups": ["Platform Team", "Cooks"],
    })
}

fn with(changes: &Value) -> Value {
    let mut claims = good();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn judged(token: &str) -> Result<Claims, OidcError> {
    verify(&provider(), &keys(), token, "n-1", noon())
}

/// HMAC-SHA-256 (RFC 2104), as a forger would use it with the public key for a secret.
fn hmac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0u8; 64];
    let secret = if secret.len() > 64 { Sha256::digest(secret).to_vec() } else { secret.to_vec() };
    block[..secret.len()].copy_from_slice(&secret);
    let inner = Sha256::digest([&block.map(|b| b ^ 0x36), message].concat());
    Sha256::digest([block.map(|b| b ^ 0x5c).as_slice(), inner.as_slice()].concat()).to_vec()
}

// covers: A7
#[test]
fn a_token_of_this_provider_for_this_gate_and_sign_in_says_who_is_here() {
    let claims = judged(&signed_by(1, &header(), &good())).unwrap();
    assert_eq!((claims.issuer.as_str(), claims.subject.as_str()), ("https://login.example", "ana-1"));
    assert_eq!((claims.sid.as_deref(), claims.preferred_username.as_deref()), (Some("s-1"), Some("ana")));
    assert_eq!(provider().local_groups(&claims.groups), ["platform".parse().unwrap()]);
    // A list of one audience is that audience, and clocks may differ a little.
    let now = noon().as_second();
    for fine in [json!({ "aud": ["tidegate"] }), json!({ "iat": now + 30 }), json!({ "exp": now - 30 }), json!({ "azp": "tidegate" })] {
        judged(&signed_by(1, &header(), &with(&fine))).unwrap();
    }
}

// covers: A7
#[test]
fn a_token_for_something_else_proves_nothing() {
    judged(&signed_by(1, &header(), &good())).unwrap();
    let now = noon().as_second();
    for wrong in [
        json!({ "aud": "other" }),
        json!({ "aud": ["tidegate", "other"] }),
        json!({ "aud": null }),
        json!({ "azp": "other" }),
        json!({ "iss": "https://evil.example" }),
        json!({ "iss": "https://login.example/" }),
        json!({ "nonce": "n-2" }),
        json!({ "nonce": null }),
        json!({ "exp": now - 61 }),
        json!({ "exp": null }),
        json!({ "iat": now - 601 }),
        json!({ "iat": now + 61 }),
        json!({ "sub": "" }),
        json!({ "sub": "\u{430}na" }),
        json!({ "sub": null }),
    ] {
        let judged = judged(&signed_by(1, &header(), &with(&wrong)));
        assert!(matches!(judged, Err(OidcError::Token(_))), "{wrong}: {judged:?}");
    }
}

// covers: A7
#[test]
fn only_the_providers_own_key_signs_and_only_asymmetrically() {
    judged(&signed_by(1, &header(), &good())).unwrap();
    // Another key under the same name, and one under no known name.
    assert!(matches!(judged(&signed_by(2, &header(), &good())), Err(OidcError::Token(_))));
    let unknown = json!({ "alg": "EdDSA", "kid": "two" });
    assert!(matches!(judged(&signed_by(2, &unknown, &good())), Err(OidcError::UnknownKey)));
    // Unsigned, with and without a signature that nobody looks at.
    for alg in ["none", "None", "NONE"] {
        let none = json!({ "alg": alg, "kid": "one" });
        let message = format!("{}.{}", part(&none), part(&good()));
        for token in [format!("{message}."), message.clone(), signed_by(1, &none, &good())] {
            assert!(judged(&token).is_err(), "{token}");
        }
    }
    // HS256 with what everybody knows: the public key as bytes, as base64url, as JWK.
    let public = key(1).verifying_key();
    let hs = json!({ "alg": "HS256", "kid": "one" });
    let message = format!("{}.{}", part(&hs), part(&good()));
    for secret in
        [public.as_bytes().to_vec(), URL_SAFE_NO_PAD.encode(public.as_bytes()).into_bytes(), jwk(1, "one").to_string().into_bytes()]
    {
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(hmac(&secret, message.as_bytes())));
        assert!(judged(&token).is_err());
    }
    // What was signed and then changed.
    let honest = signed_by(1, &header(), &good());
    let mut parts: Vec<&str> = honest.split('.').collect();
    let changed = part(&with(&json!({ "sub": "ben-1" })));
    parts[1] = &changed;
    assert!(judged(&parts.join(".")).is_err());
    // A header that has to be understood and is not; a token of another kind.
    for odd in [
        json!({ "alg": "EdDSA", "kid": "one", "crit": ["b64"], "b64": false }),
        json!({ "alg": "EdDSA", "kid": "one", "typ": "logout+jwt" }),
    ] {
        assert!(judged(&signed_by(1, &odd, &good())).is_err(), "{odd}");
    }
}

#[test]
fn groups_are_a_list_of_texts() {
    for (claim, wanted) in
        [(json!("Platform Team"), 1), (json!(["Platform Team", 7, null]), 1), (json!({ "a": 1 }), 0), (json!(null), 0), (json!([]), 0)]
    {
        let claims = judged(&signed_by(1, &header(), &with(&json!({ "groups": claim })))).unwrap();
        assert_eq!(provider().local_groups(&claims.groups).len(), wanted, "{claim}");
    }
}

fn logout_claims(changes: &Value) -> Value {
    let now = noon().as_second();
    let event = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    let mut claims = json!({ "iss": "https://login.example", "aud": "tidegate", "sub": "ana-1", "sid": "s-1", "iat": now, "exp": now + 120, "jti": "j-1", "events": event });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

// covers: A7
#[test]
fn a_logout_token_is_one_and_nothing_else_is() {
    let kind = json!({ "alg": "EdDSA", "kid": "one", "typ": "logout+jwt" });
    let judged = |token: &str| logout::verify(&provider(), &keys(), token, noon());
    let said = judged(&signed_by(1, &kind, &logout_claims(&json!({})))).unwrap();
    assert_eq!((said.subject.as_deref(), said.sid.as_deref()), (Some("ana-1"), Some("s-1")));
    assert_eq!(judged(&signed_by(1, &header(), &logout_claims(&json!({ "sid": null })))).unwrap().sid, None);
    let now = noon().as_second();
    for wrong in [
        json!({ "aud": "other" }),
        json!({ "aud": ["tidegate", "other"] }),
        json!({ "iss": "https://evil.example" }),
        json!({ "iat": now - 601 }),
        json!({ "iat": now + 61 }),
        json!({ "iat": null }),
        json!({ "exp": now - 61 }),
        json!({ "exp": "soon" }),
        json!({ "events": {} }),
        json!({ "events": null }),
        json!({ "jti": null }),
        json!({ "nonce": "n-1" }),
        json!({ "sub": null, "sid": null }),
    ] {
        assert!(judged(&signed_by(1, &kind, &logout_claims(&wrong))).is_err(), "{wrong}");
    }
    assert!(judged(&signed_by(2, &kind, &logout_claims(&json!({})))).is_err());
    assert!(judged(&signed_by(1, &json!({ "alg": "none" }), &logout_claims(&json!({})))).is_err());
    assert!(judged(&signed_by(1, &header(), &good())).is_err(), "an ID token ends no session");
}
