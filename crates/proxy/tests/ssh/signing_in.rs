//! Who gets as far as the door.

use std::sync::Arc;
use std::time::Duration;

use russh::client;
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use tidegate_proxy::gatekeeper::{Presence, Proof};
use tidegate_proxy::ssh::DoorLimits;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::gate::{Setup, everything};
use crate::town::Town;

struct Trusting;
impl client::Handler for Trusting {
    type Error = russh::Error;
    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

async fn connect(town: &Town) -> client::Handle<Trusting> {
    client::connect(Arc::default(), ("127.0.0.1", town.port), Trusting).await.unwrap()
}

fn key(path: &std::path::Path) -> PrivateKeyWithHashAlg {
    PrivateKeyWithHashAlg::new(Arc::new(PrivateKey::read_openssh_file(path).unwrap()), None)
}

// covers: A1 (ssh)
#[tokio::test]
async fn a_key_that_is_offered_signs_nobody_in_unless_it_also_signs() {
    let town = Town::open(everything()).await;
    assert!(connect(&town).await.authenticate_publickey("db-1", key(&town.ana)).await.unwrap().success());
    assert!(matches!(&town.gate.proofs.lock().unwrap()[0], Proof::Key { presence: Presence::Unknown, .. }));

    // Ana's public key with a signature by another's.
    let mut forged = connect(&town).await;
    let public = PrivateKey::read_openssh_file(&town.ana).unwrap().public_key().clone();
    struct Liar(PrivateKey);
    #[derive(Debug)]
    struct Failed;
    impl From<russh::SendError> for Failed {
        fn from(_: russh::SendError) -> Self {
            Self
        }
    }
    impl russh::Signer for Liar {
        type Error = Failed;
        async fn auth_sign(
            &mut self,
            _: &russh::keys::agent::AgentIdentity,
            _: Option<russh::keys::HashAlg>,
            to_sign: Vec<u8>,
        ) -> Result<Vec<u8>, Failed> {
            use russh::keys::signature::Signer as _;
            let signature: russh::keys::ssh_key::Signature = self.0.try_sign(&to_sign).unwrap();
            let mut packet = to_sign;
            let mut blob = Vec::new();
            russh::keys::ssh_encoding::Encode::encode(&signature, &mut blob).unwrap();
            packet.extend(u32::try_from(blob.len()).unwrap().to_be_bytes());
            packet.extend(blob);
            Ok(packet)
        }
    }
    let mut liar = Liar(PrivateKey::read_openssh_file(&town.stranger).unwrap());
    let answer = forged.authenticate_publickey_with("db-1", public.clone(), None, &mut liar).await;
    assert!(!answer.is_ok_and(|a| a.success()));
    assert_eq!(town.gate.proofs.lock().unwrap().len(), 1, "the gatekeeper is asked about proven keys only");
    // However often it is tried on one connection, it is told of once, when that is over; whoever signed in before is not told of.
    let answer = forged.authenticate_publickey_with("db-1", public, None, &mut liar).await;
    assert!(!answer.is_ok_and(|a| a.success()));
    assert!(town.gate.not_signed_in.borrow().is_empty());
    let mut told = town.gate.not_signed_in.subscribe();
    drop(forged);
    let told = told.wait_for(|all| !all.is_empty()).await.unwrap().clone();
    assert!(told.len() == 1 && told[0].contains("its signature was wrong, or never came"), "{told:?}");
}

// covers: A1 (ssh)
#[tokio::test]
async fn an_unknown_key_is_refused() {
    let town = Town::open(everything()).await;
    assert!(town.ssh(&["true"]).output().await.unwrap().status.success());
    let mut stranger = connect(&town).await;
    assert!(!stranger.authenticate_publickey("db-1", key(&town.stranger)).await.unwrap().success());
}

// covers: A1 (ssh), MAY-9 (ssh)
#[tokio::test]
async fn who_shows_several_keys_is_no_attack_if_one_is_theirs_and_one_at_most_if_none_is() {
    let town = Town::open(everything()).await;
    let keygen = |arguments: &[&str]| {
        let made = std::process::Command::new("ssh-keygen").current_dir(town.path("")).arg("-q").args(arguments).status().unwrap();
        assert!(made.success());
    };
    for name in ["one", "two", "another-ca"] {
        keygen(&["-t", "ed25519", "-N", "", "-f", name]);
    }
    // OpenSSH offers two keys that nobody knows, then her own.
    let keys = ["one", "two"].map(|name| format!("-oIdentityFile={}", town.path(name).display()));
    let own = format!("-oIdentityFile={}", town.ana.display());
    let options = ["-F/dev/null", "-v", &keys[0], &keys[1], &own, "-oIdentitiesOnly=yes", "-oIdentityAgent=none", "-oBatchMode=yes"];
    let trust = ["-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null"];
    let ssh = tokio::process::Command::new("ssh")
        .args(options)
        .args(trust)
        .args(["-p", &town.port.to_string(), "db-1@127.0.0.1", "true"])
        .output();
    let out = ssh.await.unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.matches("Offering public key").count() == 3, "{said}");

    // Her key certified by somebody else, as by another gate, and then the key itself.
    let public = std::fs::read(town.ana.with_extension("pub")).unwrap();
    std::fs::write(town.path("theirs.pub"), public).unwrap();
    keygen(&["-s", "another-ca", "-I", "another gate", "-n", "ana", "theirs.pub"]);
    let certificate = russh::keys::load_openssh_certificate(town.path("theirs-cert.pub")).unwrap();
    let private = Arc::new(PrivateKey::read_openssh_file(&town.ana).unwrap());
    let mut both = connect(&town).await;
    assert!(!both.authenticate_openssh_cert("db-1", private.clone(), certificate.clone()).await.unwrap().success());
    assert!(both.authenticate_publickey("db-1", key(&town.ana)).await.unwrap().success());
    drop(both);

    // Whoever has nothing that is good is told of once, when they go. The connections before are over by then.
    let mut neither = connect(&town).await;
    for _ in 0..2 {
        assert!(!neither.authenticate_openssh_cert("db-1", private.clone(), certificate.clone()).await.unwrap().success());
    }
    assert!(town.gate.not_signed_in.borrow().is_empty());
    drop(neither);
    let mut told = town.gate.not_signed_in.subscribe();
    let told = told.wait_for(|all| !all.is_empty()).await.unwrap().clone();
    assert!(told.len() == 1 && !told[0].contains("never came"), "{told:?}");
    assert_eq!(town.gate.proofs.lock().unwrap().len(), 5);
}

// covers: A10 (ssh)
#[tokio::test]
async fn the_user_name_is_a_resource_in_its_one_spelling() {
    let town = Town::open(everything()).await;
    for (name, enters) in
        [("db-1", true), ("db-1+debug", true), ("DB-1", false), ("db\u{2010}1", false), ("db-1 ", false), ("", false), ("db-1+a+b", false)]
    {
        let answer = connect(&town).await.authenticate_publickey(name, key(&town.ana)).await.unwrap();
        assert_eq!(answer.success(), enters, "{name:?}");
    }
}

#[tokio::test]
async fn there_are_no_passwords() {
    let town = Town::open(everything()).await;
    assert!(!connect(&town).await.authenticate_password("db-1", "secret").await.unwrap().success());
    let out = tokio::process::Command::new("ssh")
        .args([
            "-v",
            "-F/dev/null",
            "-oStrictHostKeyChecking=no",
            "-oUserKnownHostsFile=/dev/null",
            "-oPreferredAuthentications=none",
            "-oBatchMode=yes",
        ])
        .args(["-p", &town.port.to_string(), "db-1@127.0.0.1"])
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("Authentications that can continue: publickey,keyboard-interactive\r\n"), "{said}");
}

// covers: E7 (ssh), A9 (ssh)
#[tokio::test]
async fn who_does_not_sign_in_is_shown_out_and_cannot_fill_the_door() {
    let door = DoorLimits { strangers_per_address: 3, grace: Duration::from_secs(5), ..DoorLimits::default() };
    let town = Town::new(Setup { door, ..Setup::default() }).await;
    assert!(town.ssh(&["true"]).output().await.unwrap().status.success());
    let mut lingering = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(("127.0.0.1", town.port)).await.unwrap();
        let mut start = [0; 4];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"SSH-");
        lingering.push(stream);
    }
    let mut one_more = TcpStream::connect(("127.0.0.1", town.port)).await.unwrap();
    assert!(!matches!(one_more.read(&mut [0; 4]).await, Ok(1..)), "the fourth stranger is not greeted");
    for mut stream in lingering {
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut rest))
            .await
            .expect("still connected after the grace time");
    }
    assert!(town.ssh(&["true"]).output().await.unwrap().status.success());
}

// covers: E7 (ssh)
#[tokio::test]
async fn channels_are_counted() {
    let door = DoorLimits { channels: 4, ..DoorLimits::default() };
    let town = Town::new(Setup { door, ..Setup::default() }).await;
    let mut ana = connect(&town).await;
    assert!(ana.authenticate_publickey("db-1", key(&town.ana)).await.unwrap().success());
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(ana.channel_open_session().await.unwrap());
    }
    assert!(ana.channel_open_session().await.is_err());
    drop(open);
}

// covers: E7 (ssh)
#[tokio::test]
async fn nobody_takes_the_places_of_others() {
    let door = DoorLimits { per_person: 2, grace: Duration::from_secs(5), ..DoorLimits::default() };
    let town = Town::new(Setup { door, ..Setup::default() }).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut ana = connect(&town).await;
        assert!(ana.authenticate_publickey("db-1", key(&town.ana)).await.unwrap().success());
        open.push(ana);
    }
    let one_too_many = town.ssh(&["true"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&one_too_many.stderr).into_owned();
    assert_eq!(one_too_many.status.code(), Some(75), "{said}");
    assert!(said.contains("you have 2 connections to this door open"), "{said}");
    // One that only lingers is closed.
    let mut lingering = connect(&town).await;
    assert!(lingering.authenticate_publickey("db-1", key(&town.ana)).await.unwrap().success());
    tokio::time::timeout(Duration::from_secs(60), &mut lingering).await.expect("still connected after the grace time").ok();
    // Those that had a place keep it, and one that is given back is somebody's again.
    let kept = open.pop().unwrap();
    kept.channel_open_session().await.unwrap().exec(true, "true").await.unwrap();
    kept.disconnect(russh::Disconnect::ByApplication, "", "").await.unwrap();
    kept.await.ok();
    let mut last = String::new();
    for _ in 0..200 {
        let out = town.ssh(&["true"]).output().await.unwrap();
        if out.status.success() {
            return;
        }
        last = String::from_utf8_lossy(&out.stderr).into_owned();
    }
    panic!("the place was not given back: {last}");
}

// covers: SSH-1 (ssh)
#[tokio::test]
async fn many_channels_share_one_session() {
    let town = Town::open(everything()).await;
    let mut ana = connect(&town).await;
    assert!(ana.authenticate_publickey("db-1", key(&town.ana)).await.unwrap().success());
    let mut channels = Vec::new();
    for n in 0..20 {
        let channel = ana.channel_open_session().await.unwrap();
        channel.exec(true, format!("echo {n}")).await.unwrap();
        channels.push(channel);
    }
    for (n, mut channel) in channels.into_iter().enumerate() {
        let mut shown = Vec::new();
        while let Some(message) = channel.wait().await {
            if let russh::ChannelMsg::Data { data } = message {
                shown.extend_from_slice(&data);
            }
        }
        assert_eq!(shown, format!("{n}\n").as_bytes());
    }
    assert_eq!(town.gate.standings.lock().unwrap().len(), 1, "one session");
}

// covers: A6 (ssh)
#[tokio::test]
async fn key_exchange_is_strict() {
    let town = Town::open(everything()).await;
    let out = town.ssh_with(&["-vvv", "-oLogLevel=DEBUG3"], &["true"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("will use strict KEX ordering"), "{said}");
}
