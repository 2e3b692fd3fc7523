//! The gate's own host keys: a stock client learns the next one before it is shown.

use std::process::Stdio;
use std::time::Duration;

use russh::keys::PrivateKey;
use testkit::sshd;
use tidegate_proxy::ssh::HostKeys;
use tokio::io::AsyncWriteExt as _;

use crate::gate::everything;
use crate::town::Town;

/// What Ana's client knows of the gate: one line for each key.
fn known(town: &Town) -> Vec<String> {
    let mut lines: Vec<String> = std::fs::read_to_string(town.path("known_hosts")).unwrap_or_default().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Connects, and stays until the client knows this many keys.
async fn learns(town: &Town, count: usize) {
    let mut ssh = town.ssh_with(&["-oUpdateHostKeys=yes"], &["read line; echo $line"]);
    let mut ssh = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let learning = async {
        while known(town).len() != count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), learning).await.unwrap_or_else(|_| panic!("it knows {:?}", known(town)));
    ssh.stdin.take().unwrap().write_all(b"in\n").await.unwrap();
    assert_eq!(ssh.wait_with_output().await.unwrap().stdout, b"in\n");
}

// covers: CRED-6 (ssh)
#[tokio::test]
async fn a_client_learns_the_next_host_key_and_forgets_the_one_before() {
    let town = Town::open(everything()).await;
    let next = PrivateKey::read_openssh_file(sshd::keypair(town.dir.path(), "next_host").unwrap()).unwrap();
    let now = PrivateKey::read_openssh_file(town.path("gate_host")).unwrap();
    let is = |line: &str, key: &PrivateKey| line.contains(&key.public_key().to_openssh().unwrap().split(' ').nth(1).unwrap().to_owned());
    learns(&town, 1).await;
    assert!(is(&known(&town)[0], &now));
    // Somebody who comes only now and then does not learn of it.
    std::fs::copy(town.path("known_hosts"), town.path("seldom")).unwrap();

    *town.gate.host_keys.lock().unwrap() = Some(HostKeys::new(vec![now.clone()]).announcing(vec![next.clone()]));
    learns(&town, 2).await;
    *town.gate.host_keys.lock().unwrap() = Some(HostKeys::new(vec![next.clone()]));
    learns(&town, 1).await;
    assert!(is(&known(&town)[0], &next), "the old one is forgotten");

    std::fs::copy(town.path("seldom"), town.path("known_hosts")).unwrap();
    let refused = town.ssh(&["echo in"]).output().await.unwrap();
    assert!(!refused.status.success() && refused.stdout.is_empty(), "a key that nobody announced to it is refused: {refused:?}");
}
