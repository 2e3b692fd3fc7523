//! Somebody on the wire between two honest ends, who puts packets in, takes them out or sends them twice, as CVE-2023-48795 did: between a
//! client and the gate, and between the gate and its target.

use std::io;
use std::time::Duration;

use tidegate_proxy::ssh::DoorLimits;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::gate::Setup;
use crate::town::Town;

/// The one cipher that is spoken here: its packets say in clear how long they are, and end in a tag of 16 bytes (RFC 5647 §7).
const CIPHER: &str = "aes256-gcm@openssh.com";
const TAG: usize = 16;

const IGNORE: u8 = 2;
const NEWKEYS: u8 = 21;

/// What is done around the moment in which the keys are new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Nothing,
    /// A packet that means nothing, before.
    PutsIn,
    /// The first packet after.
    TakesOut,
    /// One for the other, so that the numbers of all that follow are right again.
    Exchanges,
    /// The first packet after.
    SendsTwice,
}

/// Who is lied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Server,
    Client,
}

const LIES: [(To, Deed); 8] = [
    (To::Client, Deed::PutsIn),
    (To::Client, Deed::TakesOut),
    (To::Client, Deed::Exchanges),
    (To::Client, Deed::SendsTwice),
    (To::Server, Deed::PutsIn),
    (To::Server, Deed::TakesOut),
    (To::Server, Deed::Exchanges),
    (To::Server, Deed::SendsTwice),
];

/// Stands before a server; the port that it listens on.
async fn meddler(server: u16, to: To, deed: Deed) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            let of = |whom: To| if to == whom { deed } else { Deed::Nothing };
            tokio::spawn(pass(from_client, to_server, of(To::Server)));
            tokio::spawn(pass(from_server, to_client, of(To::Client)));
        }
    });
    port
}

/// One direction.
async fn pass(from: OwnedReadHalf, mut to: OwnedWriteHalf, deed: Deed) -> io::Result<()> {
    let mut from = BufReader::new(from);
    let mut banner = Vec::new();
    from.read_until(b'\n', &mut banner).await?;
    to.write_all(&banner).await?;
    let mut in_clear = true;
    while in_clear {
        let packet = packet(&mut from, 0).await?;
        in_clear = packet.get(5) != Some(&NEWKEYS);
        if !in_clear && matches!(deed, Deed::PutsIn | Deed::Exchanges) {
            // Twelve bytes: five of an empty text that is to be ignored, and six of padding (RFC 4253 §6).
            to.write_all(&[0, 0, 0, 12, 6, IGNORE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await?;
        }
        to.write_all(&packet).await?;
    }
    let first = packet(&mut from, TAG).await?;
    let times = match deed {
        Deed::TakesOut | Deed::Exchanges => 0,
        Deed::Nothing | Deed::PutsIn => 1,
        Deed::SendsTwice => 2,
    };
    for _ in 0..times {
        to.write_all(&first).await?;
    }
    tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await
}

/// The next packet with its length, and the tag behind it.
async fn packet(from: &mut (impl AsyncRead + Unpin), tag: usize) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut packet = length.to_be_bytes().to_vec();
    packet.resize(4 + length as usize + tag, 0);
    from.read_exact(&mut packet[4..]).await?;
    Ok(packet)
}

// covers: A6 (ssh)
#[tokio::test]
async fn between_a_client_and_the_gate_nothing_is_put_in_taken_out_or_sent_twice() {
    // Whom a lie leaves waiting is let go soon.
    let door = DoorLimits { grace: Duration::from_secs(4), ..DoorLimits::default() };
    let town = Town::new(Setup { door, ..Setup::default() }).await;
    for (to, deed) in [(To::Server, Deed::Nothing)].into_iter().chain(LIES) {
        let port = meddler(town.port, to, deed).await.to_string();
        let mut ssh = town.tool("ssh", &["-c", CIPHER, "-p", &port, "db-1@127.0.0.1", "echo in"]);
        let out = tokio::time::timeout(Duration::from_secs(60), ssh.output()).await.expect("it goes on").unwrap();
        let honest = deed == Deed::Nothing;
        assert_eq!((out.status.success(), out.stdout == b"in\n"), (honest, honest), "{to:?} {deed:?}: {out:?}");
    }
    // Nobody but the first was let in.
    assert_eq!(town.gate.standings.lock().unwrap().len(), 1);
}

// covers: A6 (ssh)
#[tokio::test]
async fn between_the_gate_and_its_target_nothing_is_put_in_taken_out_or_sent_twice() {
    let sshd = vec![format!("Ciphers {CIPHER}"), "LogLevel DEBUG3".to_owned(), "LoginGraceTime 4".to_owned()];
    let town = Town::new(Setup { sshd, ..Setup::default() }).await;
    for (to, deed) in [(To::Server, Deed::Nothing)].into_iter().chain(LIES) {
        let port = meddler(town.target.port(), to, deed).await;
        town.gate.setup.lock().unwrap().instead = Some((port, town.target.host_key().to_owned()));
        let out = tokio::time::timeout(Duration::from_secs(120), town.ssh(&["echo in"]).output()).await.expect("it goes on").unwrap();
        let honest = deed == Deed::Nothing;
        assert_eq!((out.status.success(), out.stdout == b"in\n"), (honest, honest), "{to:?} {deed:?}: {out:?}");
    }
    // The gate asks its targets for strict key exchange, and they hear it.
    assert!(town.target.log().contains("will use strict KEX ordering"), "{}", town.target.log());
}
