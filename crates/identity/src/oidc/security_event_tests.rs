//! A transmitter that signs with a key of its own, and everything that it or somebody else could say wrongly.

use super::*;
use crate::account::people::noon;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::json;

const ISSUER: &str = "https://idp.example/tenant/";
const LOGIN: &str = "https://login.example";
const GATE: &str = "https://gate.example";

fn transmitter() -> Transmitter {
    Transmitter { name: "corp".parse().unwrap(), issuer: ISSUER.into(), audience: GATE.into(), jwks_uri: None, subjects: LOGIN.into() }
}

fn key_of(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn keys() -> Keys {
    let x = URL_SAFE_NO_PAD.encode(key_of(1).verifying_key().as_bytes());
    Keys::parse(&json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "one", "x": x }] }).to_string())
        .unwrap()
}

fn token(seed: u8, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(key_of(seed).sign(message.as_bytes()).to_bytes()))
}

fn header() -> Value {
    json!({ "alg": "EdDSA", "kid": "one", "typ": "secevent+jwt" })
}

/// Good claims with these changed; what becomes null is left out.
fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": GATE, "jti": "s-1", "iat": noon().as_second(),
        "sub_id": { "format": "iss_sub", "iss": LOGIN, "sub": "ana-1" },
        "events": { format!("{CAEP}session-revoked"): { "reason_admin": { "de": "Gerät weg", "en": "lost\u{1b}[2J laptop" }, "reason_user": { "en": "Call us." } } },
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

fn changed(changes: &Value) -> Result<SecurityEvent, SetError> {
    verify(&transmitter(), &keys(), &token(1, &header(), &claims(changes)), noon())
}

fn event(name: &str, event: Value) -> SignalKind {
    changed(&json!({ "events": { name: event } })).unwrap().kind
}

#[test]
fn a_signal_says_what_happened_to_whom_and_why() {
    let good = changed(&json!({})).unwrap();
    assert_eq!((good.kind, good.subject), (SignalKind::SessionRevoked, Ok(key(LOGIN, "ana-1"))));
    assert_eq!(good.reason.unwrap(), "lost\\u{1b}[2J laptop / Call us.", "nothing in it acts");
    assert_ne!(changed(&json!({ "jti": "s-2" })).unwrap().id, good.id);
    assert_eq!(changed(&json!({ "aud": ["https://other.example", GATE] })).unwrap().id, good.id);
    let whole = json!({
        "format": "complex", "user": { "format": "iss_sub", "iss": LOGIN, "sub": "ana-1" }, "session": { "format": "opaque", "id": "x" },
    });
    assert_eq!(changed(&json!({ "sub_id": whole })).unwrap().subject, Ok(key(LOGIN, "ana-1")));
    assert_eq!(transmitter().metadata_url().unwrap(), "https://idp.example/.well-known/ssf-configuration/tenant");
    let bare = Transmitter { issuer: LOGIN.into(), ..transmitter() };
    assert_eq!(bare.metadata_url().unwrap(), "https://login.example/.well-known/ssf-configuration");
}

#[test]
fn what_locks_is_a_short_list() {
    for (name, locks) in [
        (format!("{CAEP}session-revoked"), true),
        (format!("{RISC}sessions-revoked"), true),
        (format!("{RISC}account-disabled"), true),
        (format!("{RISC}account-purged"), true),
        (format!("{RISC}account-enabled"), false),
        (format!("{CAEP}credential-change"), false),
        (format!("{CAEP}assurance-level-change"), false),
        (format!("{CAEP}session-established"), false),
        ("https://other.example/session-revoked".to_owned(), false),
        (VERIFICATION.to_owned(), false),
    ] {
        assert_eq!(event(&name, json!({})).locks(), locks, "{name}");
    }
    let device = format!("{CAEP}device-compliance-change");
    assert_eq!(event(&device, json!({ "previous_status": "not-compliant", "current_status": "compliant" })), SignalKind::Other);
    for status in [json!("not-compliant"), json!("unheard-of"), Value::Null] {
        assert_eq!(event(&device, json!({ "current_status": status })), SignalKind::DeviceNotCompliant, "{status}");
    }
    // Told in two ways, it is what locks.
    let both = json!({ format!("{CAEP}credential-change"): {}, format!("{RISC}account-disabled"): {} });
    assert_eq!(changed(&json!({ "events": both })).unwrap().kind, SignalKind::AccountDisabled);
}

// covers: A7, A9
#[test]
fn what_is_wrong_with_a_signal_is_said() {
    let now = noon().as_second();
    let month = 31 * 24 * 3600;
    for (change, wanted) in [
        (json!({ "iss": LOGIN }), SetError::Issuer),
        (json!({ "iss": null }), SetError::Issuer),
        (json!({ "aud": "https://other.example" }), SetError::Audience),
        (json!({ "aud": [] }), SetError::Audience),
    ] {
        assert_eq!(changed(&change), Err(wanted), "{change}");
    }
    for (change, wanted) in [
        (json!({ "iat": now + 61 }), "from the future"),
        (json!({ "iat": now - month }), "too long ago"),
        (json!({ "iat": null }), "when it was made"),
        (json!({ "jti": null }), "`jti`"),
        (json!({ "jti": "" }), "`jti`"),
        (json!({ "events": null }), "no `events`"),
        (json!({ "events": {} }), "no `events`"),
        (json!({ "events": { "x": 1 } }), "`events` is none"),
    ] {
        let Err(SetError::Request(why)) = changed(&change) else { panic!("{change}") };
        assert!(why.contains(wanted), "{change}: {why}");
    }
    // A minute of difference, three weeks of being sent again, and an end that means nothing.
    for good in [json!({ "iat": now + 59 }), json!({ "iat": now - 21 * 24 * 3600 }), json!({ "exp": now - 5 })] {
        assert!(changed(&good).is_ok(), "{good}");
    }
    for wrong in [
        json!({ "format": "email", "email": "ana@example.com" }),
        json!({ "format": "complex", "user": { "format": "email", "email": "ana@example.com" } }),
        json!({ "format": "complex", "session": { "format": "opaque", "id": "x" } }),
        json!({ "format": "iss_sub", "iss": "https://other.example", "sub": "ana-1" }),
        json!({ "format": "iss_sub", "iss": LOGIN }),
        json!({ "iss": LOGIN, "sub": "ana-1" }),
        json!("ana-1"),
        Value::Null,
    ] {
        assert!(changed(&json!({ "sub_id": wrong })).unwrap().subject.is_err(), "{wrong}");
    }
}

// covers: A7
#[test]
fn nobody_else_speaks_for_a_transmitter() {
    let said = |seed: u8, header: &Value| verify(&transmitter(), &keys(), &token(seed, header, &claims(&json!({}))), noon());
    assert!(said(1, &header()).is_ok());
    assert!(matches!(said(2, &header()), Err(SetError::Key(_))), "another key under this one's name");
    assert_eq!(said(1, &json!({ "alg": "EdDSA", "kid": "two", "typ": "secevent+jwt" })), Err(SetError::UnknownKey));
    for alg in ["none", "HS256"] {
        assert!(matches!(said(1, &json!({ "alg": alg, "kid": "one", "typ": "secevent+jwt" })), Err(SetError::Key(_))), "{alg}");
    }
    for kind in [json!("JWT"), json!("logout+jwt"), json!(""), Value::Null] {
        assert!(matches!(said(1, &json!({ "alg": "EdDSA", "kid": "one", "typ": kind })), Err(SetError::Request(_))), "{kind}");
    }
    assert!(matches!(said(1, &json!({ "alg": "EdDSA", "kid": "one" })), Err(SetError::Request(_))), "of no kind");
    for text in ["", "a", "a.b.c", "e30.e30.", "🌊.🌊.🌊"] {
        assert!(verify(&transmitter(), &keys(), text, noon()).is_err(), "{text}");
    }
}
