//! Against a vault that runs: every answer of its that is no secret, and how seldom it has to let the gate in.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tempfile::TempDir;
use testkit::vault::VaultServer;

use super::*;

const PLACE: &str = "corp/kv/data/network/router-1#password";

fn asking(server: &VaultServer, sign_in: SignIn) -> Vaults {
    asking_in(server, sign_in, None)
}

fn asking_in(server: &VaultServer, sign_in: SignIn, namespace: Option<&str>) -> Vaults {
    let settings = HashicorpSettings { address: server.url.parse().unwrap(), namespace: namespace.map(str::to_owned), sign_in };
    let settings = VaultSettings { name: "corp".parse().unwrap(), kind: VaultKind::Hashicorp(settings) };
    Vaults::new([(settings, Some(fs::read(server.ca_file()).unwrap()))]).unwrap()
}

fn approle(server: &VaultServer, dir: &Path) -> SignIn {
    let secret_id_file = dir.join("secret-id");
    fs::write(&secret_id_file, format!("{}\n", server.secret_id)).unwrap();
    SignIn::AppRole { role_id: server.role_id.clone(), secret_id_file, mount: "approle".to_owned() }
}

/// A vault with one password in it, and what asks it.
fn corp() -> (VaultServer, TempDir, Vaults) {
    let (server, dir) = (VaultServer::start().unwrap(), tempfile::tempdir().unwrap());
    server.put("kv/data/network/router-1", &json!({ "user": "root", "password": "swordfish" })).unwrap();
    let vaults = asking(&server, approle(&server, dir.path()));
    (server, dir, vaults)
}

async fn fetched(vaults: &Vaults, place: &str) -> Result<String, String> {
    let value = vaults.fetch(&place.parse().unwrap()).await;
    value.map(|value| value.expose().clone()).map_err(|error| error.to_string())
}

// covers: CRED-1
#[tokio::test]
async fn a_secret_is_what_it_is_now_and_nothing_else_is_given() {
    let (server, _dir, vaults) = corp();
    assert_eq!(fetched(&vaults, PLACE).await.unwrap(), "swordfish");
    server.put("kv/data/network/router-1", &json!({ "user": "root", "password": "halibut" })).unwrap();
    assert_eq!(fetched(&vaults, PLACE).await.unwrap(), "halibut");
    server.put("old/network/router-2", &json!({ "password": "plaice", "port": 22, "none": "" })).unwrap();
    assert_eq!(fetched(&vaults, "corp/old/network/router-2#password").await.unwrap(), "plaice");
    server.put("kv/data/network/long", &json!({ "key": "x".repeat(LONGEST + 1) })).unwrap();
    server.put("kv/data/others/x", &json!({ "password": "haddock" })).unwrap();
    server.put("kv/data/network/gone", &json!({ "password": "pike" })).unwrap();
    assert_eq!(fetched(&vaults, "corp/kv/data/network/gone#password").await.unwrap(), "pike");
    server.delete("kv/data/network/gone").unwrap();
    for (place, wanted) in [
        ("corp/kv/data/network/router-1#pass", "has no field `pass` in `kv/data/network/router-1`"),
        ("corp/kv/data/network/router-1", "without a field; write `#FIELD`"),
        ("corp/old/network/router-2#port", "that is no text"),
        ("corp/old/network/router-2#none", "has an empty secret"),
        ("corp/kv/data/network/long#key", "a secret of 65537 bytes"),
        ("corp/kv/data/network/gone#password", "or its newest version was deleted"),
        ("corp/kv/data/network/never#password", "has no secret at `kv/data/network/never`"),
        ("corp/kv/data/others/x#password", "its policy must allow `read` on that very path"),
        ("corp/kv/data/network%2F..%2Fothers/x#password", "its policy must allow `read`"),
        ("elsewhere/kv/data/network/router-1#password", "the vault `elsewhere` is not configured"),
    ] {
        let said = fetched(&vaults, place).await.unwrap_err();
        assert!(said.contains(wanted), "{place}: {said}");
        for never in ["halibut", "plaice", "haddock", "pike", server.secret_id.as_str(), "hvs."] {
            assert!(!said.contains(never) && !format!("{vaults:?}").contains(never), "{place}: {said}");
        }
    }
}

// covers: CRED-1
#[tokio::test]
async fn fifty_who_come_at_once_are_one_login_and_a_token_that_ended_is_one_more() {
    let (server, _dir, vaults) = corp();
    let vaults = Arc::new(vaults);
    for round in 1..=3 {
        let asked: Vec<_> = (0..50)
            .map(|_| {
                let vaults = Arc::clone(&vaults);
                tokio::spawn(async move { fetched(&vaults, PLACE).await })
            })
            .collect();
        for one in asked {
            assert_eq!(one.await.unwrap().unwrap(), "swordfish");
        }
        assert_eq!(server.counts().unwrap().0, round);
        server.end_tokens().unwrap();
    }
    // What a policy does not allow is one more login for each who asks, and not one after the other.
    for logins in 4..=5 {
        assert!(fetched(&vaults, "corp/kv/data/others/x#password").await.is_err());
        assert_eq!(server.counts().unwrap().0, logins);
    }
}

// covers: CRED-1
#[tokio::test]
async fn whoever_cannot_answer_says_so_and_is_asked_again() {
    let (server, _dir, vaults) = corp();
    assert_eq!(fetched(&vaults, PLACE).await.unwrap(), "swordfish");
    for (what, value, as_before, wanted) in [
        ("sealed", json!(true), json!(false), "the vault `corp` is sealed; whoever holds its unseal keys"),
        ("initialized", json!(false), json!(true), "is sealed"),
        ("standby", json!(true), json!(false), "answers as a standby"),
        ("odd", json!("<html>welcome</html>"), json!(null), "no answer of a vault"),
        ("odd", json!(format!("{{\"x\":\"{}\"}}", "x".repeat(1024 * 1024))), json!(null), "more than a mebibyte"),
        ("slow", json!(30), json!(0), "did not answer within 5 seconds"),
    ] {
        server.set(what, value).unwrap();
        let began = Instant::now();
        let said = fetched(&vaults, PLACE).await.unwrap_err();
        assert!(said.contains(wanted), "{what}: {said}");
        assert!(began.elapsed() < PATIENCE * 2, "{what}: {:?}", began.elapsed());
        server.set(what, as_before).unwrap();
        assert_eq!(fetched(&vaults, PLACE).await.unwrap(), "swordfish", "{what}");
    }
    // Somebody who has another certificate, and nobody.
    let stranger = VaultServer::start().unwrap();
    let sign_in = SignIn::Jwt { role: "tidegate".to_owned(), jwt_file: server.ca_file(), mount: "kubernetes".to_owned() };
    let settings = HashicorpSettings { address: stranger.url.parse().unwrap(), namespace: None, sign_in };
    let settings = VaultSettings { name: "corp".parse().unwrap(), kind: VaultKind::Hashicorp(settings) };
    let deceived = Vaults::new([(settings, Some(fs::read(server.ca_file()).unwrap()))]).unwrap();
    let said = fetched(&deceived, PLACE).await.unwrap_err();
    assert!(said.contains("shows a certificate that is not trusted"), "{said}");
    drop(server);
    let said = fetched(&vaults, PLACE).await.unwrap_err();
    assert!(said.contains("cannot be reached"), "{said}");
}

// covers: CRED-1
#[tokio::test]
async fn the_gate_signs_in_by_a_role_by_a_signed_token_or_by_a_file() {
    let (server, dir, vaults) = corp();
    let corp: VaultName = "corp".parse().unwrap();
    vaults.look(&corp).await.unwrap();
    // By the token of its account in a cluster.
    let jwt_file = dir.path().join("jwt");
    fs::write(&jwt_file, &server.jwt).unwrap();
    let jwt =
        |mount: &str| asking(&server, SignIn::Jwt { role: "tidegate".to_owned(), jwt_file: jwt_file.clone(), mount: mount.to_owned() });
    assert_eq!(fetched(&jwt("kubernetes"), PLACE).await.unwrap(), "swordfish");
    assert!(fetched(&jwt("jwt"), PLACE).await.unwrap_err().contains("did not let the gate sign in (HTTP 403)"));
    fs::write(&jwt_file, "eyJ.of.somebody-else").unwrap();
    let said = fetched(&jwt("kubernetes"), PLACE).await.unwrap_err();
    assert!(said.contains("did not let the gate sign in (HTTP 400)") && !said.contains("somebody-else"), "{said}");
    // By what an agent keeps fresh.
    let file = dir.path().join("token");
    let by_file = asking(&server, SignIn::TokenFile(file.clone()));
    assert!(by_file.look(&corp).await.unwrap_err().to_string().contains("token` cannot be read"));
    fs::write(&file, "\n").unwrap();
    assert!(fetched(&by_file, PLACE).await.unwrap_err().contains("token` is empty"));
    fs::write(&file, format!("{}\n", server.token().unwrap())).unwrap();
    by_file.look(&corp).await.unwrap();
    assert_eq!(fetched(&by_file, PLACE).await.unwrap(), "swordfish");
    server.end_tokens().unwrap();
    assert!(fetched(&by_file, PLACE).await.unwrap_err().contains("the gate's token must still be good"));
    assert!(by_file.look(&corp).await.unwrap_err().to_string().contains("the token in `token_file` has ended"));
    fs::write(&file, server.token().unwrap()).unwrap();
    assert_eq!(fetched(&by_file, PLACE).await.unwrap(), "swordfish");
    // In a namespace, where other secrets are.
    server.put("kv/data/network/router-1", &json!({ "password": "halibut" })).unwrap();
    let inside = asking_in(&server, approle(&server, dir.path()), Some("ops"));
    assert!(fetched(&inside, PLACE).await.unwrap_err().contains("has no secret at"));
    // A secret id that somebody replaced: there, and then in the gate's file.
    assert_eq!(fetched(&vaults, PLACE).await.unwrap(), "halibut");
    server.replace_secret_id("another-secret-id").unwrap();
    server.end_tokens().unwrap();
    let said = fetched(&vaults, PLACE).await.unwrap_err();
    assert!(said.contains("the secret id in `secret_id_file`") && !said.contains(&server.secret_id), "{said}");
    fs::write(dir.path().join("secret-id"), "another-secret-id").unwrap();
    assert_eq!(fetched(&vaults, PLACE).await.unwrap(), "halibut");
}
