//! An issuer that signs with a key of its own, and everything that it or somebody else could say wrongly of a job.

use super::*;
use crate::account::people::{desk, noon, person, workload};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::json;

const ISSUER: &str = "https://ci.example";
const GATE: &str = "https://gate.example";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn keys() -> Keys {
    let x = URL_SAFE_NO_PAD.encode(key(1).verifying_key().as_bytes());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "one", "x": x });
    Keys::parse(&json!({ "keys": [jwk] }).to_string()).unwrap()
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn token(seed: u8, header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(key(seed).sign(message.as_bytes()).to_bytes()))
}

fn header() -> Value {
    json!({ "alg": "EdDSA", "kid": "one", "typ": "JWT" })
}

fn claims(changes: &Value) -> Value {
    let now = noon().as_second();
    let mut claims = json!({
        "iss": ISSUER, "aud": GATE, "sub": "repo:acme/shop:ref:refs/heads/main", "jti": "j-1", "iat": now, "nbf": now, "exp": now + 300,
        "repository": "acme/shop", "repository_id": 4711, "ref": "refs/heads/main", "ref_protected": true, "actor": "ana", "run_id": "7",
        "team": "payments", "secret": "x", "list": ["a"],
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn judged_with(algorithms: &[SignatureAlgorithm], text: &str) -> Result<JobToken, OidcError> {
    let (algorithms, kept) = (algorithms.iter().copied().collect(), ["team", "list"].into());
    let expected = Expected { issuer: ISSUER, audience: GATE, algorithms: &algorithms, kept: &kept };
    verify(expected, &keys(), text, noon())
}

fn judged(text: &str) -> Result<JobToken, OidcError> {
    judged_with(SignatureAlgorithm::ALL, text)
}

fn changed(changes: &Value) -> Result<JobToken, OidcError> {
    judged(&token(1, &header(), &claims(changes)))
}

// covers: WHO-6, A7
#[test]
fn a_job_is_known_by_its_pipeline_and_not_by_its_run() {
    let job = changed(&json!({})).unwrap();
    assert_eq!(job.claims.issuer, ISSUER);
    assert_eq!(job.claims.get("repository_id"), Some("4711"), "a number is a text");
    assert_eq!(job.claims.get("ref_protected"), Some("true"));
    assert_eq!(job.claims.get("team"), Some("payments"), "a condition is about it");
    for other in ["actor", "run_id", "secret", "list", "iss", "aud", "jti", "exp"] {
        assert_eq!(job.claims.get(other), None, "{other}");
    }
    assert_eq!(job.run, "run_id 7, actor ana");
    let again = changed(&json!({ "run_id": "8", "jti": "j-2" })).unwrap();
    assert_eq!(again.claims, job.claims);
    assert_ne!(again.assertion, job.assertion);
}

// covers: WHO-6, D8, A7
#[test]
fn a_token_is_known_again_by_its_id_or_by_what_was_signed() {
    let one = changed(&json!({})).unwrap();
    assert_eq!(changed(&json!({ "run_id": "9" })).unwrap().assertion, one.assertion, "the same id");
    let bare = changed(&json!({ "jti": null })).unwrap();
    assert_eq!(changed(&json!({ "jti": null })).unwrap().assertion, bare.assertion);
    assert_ne!(changed(&json!({ "jti": null, "run_id": "9" })).unwrap().assertion, bare.assertion);
    for wrong in [json!(""), json!(7), json!("x".repeat(513))] {
        assert!(changed(&json!({ "jti": wrong })).is_err());
    }
}

// covers: WHO-6, A7
#[test]
fn a_token_for_another_gate_time_or_of_another_issuer_is_none() {
    let now = noon().as_second();
    assert!(changed(&json!({ "exp": now - 29, "iat": now - 400 })).is_ok(), "clocks differ a little");
    assert!(changed(&json!({ "nbf": now + 30, "iat": now + 30 })).is_ok());
    assert!(changed(&json!({ "exp": now as f64 + 300.5 })).is_ok());
    assert!(changed(&json!({ "aud": [GATE] })).is_ok());
    for wrong in [
        json!({ "aud": "https://other.example" }),
        json!({ "aud": [GATE, "https://other.example"] }),
        json!({ "aud": [] }),
        json!({ "aud": null }),
        json!({ "aud": format!("{GATE}/") }),
        json!({ "iss": "https://evil.example" }),
        json!({ "iss": format!("{ISSUER}/") }),
        json!({ "exp": now - 30 }),
        json!({ "exp": null }),
        json!({ "exp": "tomorrow" }),
        json!({ "exp": 1e300 }),
        json!({ "nbf": now + 31 }),
        json!({ "nbf": "now" }),
        json!({ "iat": now + 31 }),
        json!({ "iat": null }),
        json!({ "iat": now - 24 * 3600 - 1 }),
    ] {
        assert!(matches!(changed(&wrong), Err(OidcError::Token(_))), "{wrong}");
    }
}

// covers: WHO-6, A7
#[test]
fn only_the_issuers_own_key_by_a_trusted_algorithm_signs() {
    let good = claims(&json!({}));
    let honest = token(1, &header(), &good);
    assert!(judged(&honest).is_ok());
    assert!(matches!(judged(&token(2, &header(), &good)), Err(OidcError::Token(_))), "another's key under the same id");
    let unknown = json!({ "alg": "EdDSA", "kid": "two" });
    assert!(matches!(judged(&token(2, &unknown, &good)), Err(OidcError::UnknownKey)));
    for alg in ["none", "None", "HS256", "RS256", "ES256"] {
        let head = json!({ "alg": alg, "kid": "one" });
        let message = format!("{}.{}", part(&head), part(&good));
        for text in [format!("{message}."), message.clone(), token(1, &head, &good)] {
            assert!(judged(&text).is_err(), "{text}");
        }
    }
    assert!(judged_with(&[SignatureAlgorithm::Rs256], &honest).is_err(), "an algorithm that is not listed");
    assert!(judged(&token(1, &json!({ "alg": "EdDSA", "kid": "one", "typ": "logout+jwt" }), &good)).is_err());
    assert!(judged(&token(1, &json!({ "alg": "EdDSA", "kid": "one", "crit": ["b64"], "b64": false }), &good)).is_err());
    let mut parts: Vec<&str> = honest.split('.').collect();
    let other = part(&claims(&json!({ "repository_id": 1 })));
    parts[1] = &other;
    assert!(judged(&parts.join(".")).is_err());
    for odd in ["", "a.b", "a.b.c", "....", &"x".repeat(70_000)] {
        assert!(judged(odd).is_err() && issuer_of(odd).is_err());
    }
    assert_eq!(issuer_of(&honest).unwrap(), ISSUER);
}

// covers: WHO-4, C1
#[test]
fn a_job_is_a_machine_whose_owner_is_there_and_decides_nothing() {
    let (job, ana) = (changed(&json!({})).unwrap(), person("ana"));
    let build = workload("build", &ana);
    let who = sign_in(&job, Account::workload(&build, &ana), desk(), noon()).unwrap();
    assert_eq!(who.claims(), Some(&job.claims));
    assert!(who.may(Scope::Ask) && who.may(Scope::Read) && !who.may(Scope::Approve) && !who.may(Scope::Administer));
    assert_eq!(sign_in(&job, Account::human(&ana), desk(), noon()).unwrap_err().reason, Reason::NotSignedIn);
    let gone = access::identity::PersonRow { state: access::identity::PersonState::Disabled, ..ana.clone() };
    assert_eq!(sign_in(&job, Account::workload(&build, &gone), desk(), noon()).unwrap_err().reason, Reason::Disabled);
}
