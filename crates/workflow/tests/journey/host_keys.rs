//! Which machine a target is believed to be.

use testkit::gate::TestGate;

// covers: CRED-2 (ssh), G3 (ssh)
#[tokio::test]
async fn of_two_first_connections_at_the_same_moment_both_trust_the_same_key_and_no_other() {
    let t = TestGate::start().await.unwrap();
    let build = "build-1".parse().unwrap();
    let first = |key: &str| t.gate.trust_first_host_key(&build, format!("ssh-ed25519 {key}"), format!("SHA256:{key}"));
    let (one, two) = tokio::join!(first("AAAA"), first("AAAA"));
    assert!(one && two, "{one} {two}");
    assert!(!first("BBBB").await, "another key is not the first any more");
    assert_eq!(t.entries().await.unwrap().iter().filter(|name| *name == "host_key.learned").count(), 1);
    // Where the policy pins keys, none is learned.
    assert!(!t.gate.trust_first_host_key(&"db-1".parse().unwrap(), "ssh-ed25519 AAAA".into(), "SHA256:AAAA".into()).await);
}
