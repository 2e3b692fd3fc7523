//! Who brings no key is asked about in a browser, and let in when somebody there says who it is.

use std::process::{Output, Stdio};
use std::time::Duration;

use tidegate_proxy::ssh::DoorLimits;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::gate::Setup;
use crate::town::Town;

/// `ssh` of somebody without a key.
fn ssh(town: &Town) -> Child {
    let known_hosts = format!("-oUserKnownHostsFile={}", town.dir.path().join("elsewhere").display());
    Command::new("ssh")
        .args(["-F/dev/null", "-oStrictHostKeyChecking=no", "-oIdentityAgent=none", "-oIdentitiesOnly=yes", "-i/dev/null"])
        .args([&known_hosts, "-p", &town.port.to_string(), "db-1+debug@127.0.0.1", "echo inside"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Waits until the link is shown.
async fn shown(ssh: &mut Child) -> String {
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains("by SSH-2.0-OpenSSH") {
        assert_ne!(ssh.stderr.as_mut().unwrap().read_buf(&mut said).await.unwrap(), 0, "{}", String::from_utf8_lossy(&said));
    }
    String::from_utf8(said).unwrap()
}

async fn end(ssh: Child) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = tokio::time::timeout(Duration::from_secs(60), ssh.wait_with_output()).await.unwrap().unwrap();
    (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

fn next(town: &Town) -> watch::Sender<Option<bool>> {
    let (sender, heard) = watch::channel(None);
    town.gate.browser.lock().unwrap().push(heard);
    sender
}

// covers: WHO-1 (ssh), A8 (ssh)
#[tokio::test]
async fn who_has_no_key_gets_in_by_a_yes_and_not_by_a_no_nor_by_waiting() {
    let door = DoorLimits { in_browser: Duration::from_secs(15), grace: Duration::from_secs(4), ..DoorLimits::default() };
    let town = Town::new(Setup { door, ..Setup::default() }).await;
    // Longer than signing in takes otherwise, and over several rounds.
    let yes = next(&town);
    let mut ana = ssh(&town);
    let said = shown(&mut ana).await;
    assert!(said.contains("https://gate/device") && said.contains("for db-1+debug"), "{said}");
    assert!(tokio::time::timeout(Duration::from_secs(6), ana.wait()).await.is_err(), "she is waited for");
    yes.send_replace(Some(true));
    let (status, said) = end(ana).await;
    assert_eq!((status, said.contains("inside")), (Some(0), true), "{said}");
    assert!(town.gate.proofs.lock().unwrap().is_empty(), "no key was shown");

    let no = next(&town);
    let mut refused = ssh(&town);
    shown(&mut refused).await;
    no.send_replace(Some(false));
    let (status, said) = end(refused).await;
    assert_eq!((status, said.contains("somebody said no")), (Some(255), true), "{said}");

    let _nobody = next(&town);
    let mut late = ssh(&town);
    shown(&mut late).await;
    let (status, said) = end(late).await;
    assert_eq!((status, said.contains("nobody said in a browser who you are")), (Some(255), true), "{said}");
    assert_eq!(town.gate.standings.lock().unwrap().len(), 1, "one session");
}

// covers: A8 (ssh), E7 (ssh)
#[tokio::test]
async fn nobody_is_asked_about_who_is_gone() {
    let town = Town::new(Setup::default()).await;
    let asked = next(&town);
    let mut gone = ssh(&town);
    shown(&mut gone).await;
    assert!(!asked.is_closed());
    gone.kill().await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), asked.closed()).await.expect("somebody is still asked about who is gone");
}
