//! Servers that are not the right one, not there, or lie; and each way of signing in to one.

use access::rights::DatabaseRights;
use access::session::{EndReason, Standing, TargetTls};
use testkit::mariadb::Proof as Proves;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wire::mysql::answer::{AUTOCOMMIT, write_ok, write_rows};
use wire::mysql::capability::Capabilities;
use wire::mysql::handshake::Greeting;
use wire::mysql::row::text_column;
use wire::mysql::{auth, packet};

use super::gate::{Setup, Town, errors_of, out_of};

// covers: MY-1 (mysql)
#[tokio::test]
async fn servers_are_signed_in_to_by_the_way_they_want() {
    for proof in [Proves::Native, Proves::Ed25519] {
        let town = Town::with(Setup { proof, ..Setup::default() }).await;
        assert_eq!(out_of(&town.run("select 'in'").await), "in", "{proof:?}");
        let wrong = Town::with(Setup { proof, password: "wrong", ..Setup::default() }).await;
        let out = wrong.run("select 'in'").await;
        assert!(errors_of(&out).contains("Access denied"), "{proof:?}: {}", errors_of(&out));
    }
}

// covers: G3 (mysql)
#[tokio::test]
async fn a_server_with_another_certificate_is_not_believed() {
    assert_eq!(out_of(&Town::open().await.run("select 1").await), "1");
    for setup in [
        Setup { tls: Some(TargetTls::Pinned(vec!["00".repeat(32)])), ..Setup::default() },
        // Signed by an authority that this machine does not trust.
        Setup { tls: Some(TargetTls::Public), ..Setup::default() },
        // Its certificate is for 127.0.0.1.
        Setup { host: "localhost", ..Setup::default() },
    ] {
        let town = Town::with(setup).await;
        let out = town.run("select 1").await;
        assert!(errors_of(&out).contains("could not be reached") && errors_of(&out).contains("certificate"), "{}", errors_of(&out));
        assert_eq!(town.gate.ended(1).await[0].end, EndReason::Target);
        assert!(
            town.gate.entered().contains("target: target_unreachable: ") && town.gate.entered().contains("certificate"),
            "{}",
            town.gate.entered()
        );
        assert_eq!(town.gate.of_kind("target.refused")[0]["reason"], "target_unreachable");
    }
    let plain = Town::with(Setup { tls: Some(TargetTls::Plain), ..Setup::default() }).await;
    assert_eq!(out_of(&plain.run("select 1").await), "1");
    plain.gate.ended(1).await;
    assert_eq!(plain.gate.entered(), "");
}

// covers: GRANT-2 (mysql)
#[tokio::test]
async fn who_is_cut_while_the_server_says_nothing_is_not_said_to_be_gone_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let town = before(listener.local_addr().unwrap().port()).await;
    let cutting = async {
        let (_held, _) = listener.accept().await.unwrap();
        town.gate.stand(&Standing::Cut(EndReason::Revoked));
        town.gate.ended(1).await
    };
    let (out, ended) = tokio::join!(town.run("select 1"), cutting);
    assert!(errors_of(&out).contains("Your grant was revoked"), "{}", errors_of(&out));
    assert_eq!((ended[0].end, ended[0].confirmed), (EndReason::Revoked, false));
}

// covers: B6 (mysql)
#[tokio::test]
async fn loopback_is_no_target_unless_it_is_named() {
    assert_eq!(out_of(&Town::open().await.run("select 1").await), "1");
    let town = Town::with(Setup { guarded_allowed: false, ..Setup::default() }).await;
    assert!(errors_of(&town.run("select 1").await).contains("the gate itself, link-local or a metadata service"));
}

#[tokio::test]
async fn a_database_that_is_not_there_is_said_plainly() {
    let town = Town::with(Setup { one_database: false, ..Setup::default() }).await;
    let there = town.client(&[town.target.name(), "-e", "select database()"]).output().await.unwrap();
    assert_eq!(out_of(&there), town.target.name(), "{}", errors_of(&there));
    let nowhere = town.client(&["nowhere", "-e", "select 1"]).output().await.unwrap();
    assert!(errors_of(&nowhere).contains("'nowhere'"), "{}", errors_of(&nowhere));
    town.gate.ended(2).await;
    assert!(town.gate.entered().contains("nowhere"), "{}", town.gate.entered());
}

#[tokio::test]
async fn the_version_of_the_server_is_mirrored() {
    let town = Town::open().await;
    let version = town.target.query("select version()").unwrap();
    let said = town.python("for _ in range(2): print(connect().get_server_info())\n").await;
    assert!(said.lines().last().unwrap().ends_with(&version), "{said}");
}

/// What a server of our own says to whoever signed in, in answer to each command.
type Answers = fn(&[u8]) -> Vec<Vec<u8>>;

fn greeting(plugin: &str) -> Vec<u8> {
    Greeting {
        version: "8.0.36".into(),
        connection: 7,
        nonce: *b"abcdefghijklmnopqrst",
        capabilities: Capabilities(Capabilities::RELAYED.0),
        charset: 45,
        status: AUTOCOMMIT,
        plugin: plugin.into(),
    }
    .write()
}

/// A server without TLS that greets with this plugin and lets everybody in.
async fn server(plugin: &'static str, answers: Answers) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut out = Vec::new();
                packet::write(&mut out, 0, &greeting(plugin));
                stream.write_all(&out).await.ok()?;
                let mut unread = Vec::new();
                let mut first = true;
                loop {
                    let (message, last, took) = loop {
                        if let Some((message, last, took)) = packet::message(&unread, 1 << 24).ok()? {
                            break (message.into_owned(), last, took);
                        }
                        if stream.read_buf(&mut unread).await.ok()? == 0 {
                            return None::<()>;
                        }
                    };
                    unread.drain(..took);
                    let replies = if first {
                        if plugin == auth::CACHING_SHA2 {
                            let expected = auth::caching_sha2(b"right", b"abcdefghijklmnopqrst");
                            assert!(message.windows(expected.len()).any(|w| w == expected));
                            vec![auth::more(auth::FAST_OK), write_ok(Capabilities::RELAYED, AUTOCOMMIT, "")]
                        } else {
                            vec![write_ok(Capabilities::RELAYED, AUTOCOMMIT, "")]
                        }
                    } else {
                        answers(&message)
                    };
                    first = false;
                    let (mut out, mut sequence) = (Vec::new(), last.wrapping_add(1));
                    for reply in replies {
                        sequence = packet::write(&mut out, sequence, &reply);
                    }
                    stream.write_all(&out).await.ok()?;
                }
            });
        }
    });
    port
}

async fn before(port: u16) -> Town {
    Town::with(Setup { tls: Some(TargetTls::Plain), port: Some(port), ..Setup::default() }).await
}

const ASK: &str = "import pymysql\ntry:\n    c = connect(local_infile=True); k = c.cursor(); k.execute('select 1'); print(k.fetchall())\nexcept Exception as e: print(e.args)\n";

fn honest(message: &[u8]) -> Vec<Vec<u8>> {
    if message.starts_with(b"\x03select 1") {
        // As the client asked for it: with EOF packets.
        return write_rows(Capabilities(Capabilities::RELAYED.0 & !Capabilities::DEPRECATE_EOF.0), &["1"], &[vec!["1"]], AUTOCOMMIT);
    }
    vec![write_ok(Capabilities::RELAYED, AUTOCOMMIT, "")]
}

// covers: MY-1 (mysql)
#[tokio::test]
async fn a_server_that_knows_the_password_already_is_signed_in_to_fast() {
    let town = before(server(auth::CACHING_SHA2, honest).await).await;
    assert_eq!(town.python(ASK).await, "((1,),)".replace('1', "'1'"));
}

// covers: E6 (mysql)
#[tokio::test]
async fn a_server_that_lies_ends_its_own_session_and_the_client_is_told() {
    let lies: [(&str, Answers); 5] = [
        ("asks for a file nobody named", |m| if m.starts_with(b"\x03select 1") { vec![b"\xfb/etc/passwd".to_vec()] } else { honest(m) }),
        ("answers twice", |m| {
            if m.starts_with(b"\x03select 1") {
                vec![write_ok(Capabilities::RELAYED, 2, ""), write_ok(Capabilities::RELAYED, 2, "")]
            } else {
                honest(m)
            }
        }),
        ("counts columns that cannot be", |m| {
            if m.starts_with(b"\x03select 1") { vec![b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff".to_vec()] } else { honest(m) }
        }),
        ("sends an empty packet", |m| if m.starts_with(b"\x03select 1") { vec![vec![]] } else { honest(m) }),
        ("sends an OK without its fields", |m| if m.starts_with(b"\x03select 1") { vec![vec![0]] } else { honest(m) }),
    ];
    for (what, lie) in lies {
        let town = before(server(auth::NATIVE, lie).await).await;
        let said = town.python(ASK).await;
        let ended = town.gate.ended(1).await[0].clone();
        if what == "answers twice" {
            // What it was asked it answered; the rest is a lie that ends the session.
            assert_eq!(ended.end, EndReason::Target, "{what}: {said}");
            continue;
        }
        assert!(said.contains("broke the protocol") && said.starts_with("(1429"), "{what}: {said}");
        assert!(
            town.gate.entered().contains("target: target_unreachable: the server broke the protocol"),
            "{what}: {}",
            town.gate.entered()
        );
        assert_eq!(ended.end, EndReason::Target, "{what}");
        assert!(!said.contains("root:"), "{what}");
    }
    // The honest one is believed.
    assert_eq!(before(server(auth::NATIVE, honest).await).await.python(ASK).await, "(('1',),)");
}

// covers: E6 (mysql)
#[tokio::test]
async fn a_server_that_wants_the_password_in_the_open_does_not_get_it() {
    for plugin in [auth::CLEAR, "sha256_password", "authentication_gssapi_client"] {
        let town = before(server(plugin, honest).await).await;
        let said = town.python(ASK).await;
        // The proposal is answered in the way every server knows; a server that takes any answer is another matter.
        assert!(said.contains("'1'") || said.contains("1429"), "{plugin}: {said}");
    }
}

/// A catalog of rows that are nothing: five megabytes of it take a hundred in memory.
fn nothing_without_end(message: &[u8]) -> Vec<Vec<u8>> {
    const COLUMNS: u16 = 60_000;
    if !message.to_ascii_uppercase().starts_with(b"\x03SELECT") {
        return honest(message);
    }
    let [low, high] = COLUMNS.to_le_bytes();
    let mut out = vec![vec![0xfc, low, high]];
    out.extend((0..COLUMNS).map(|_| text_column("c")));
    out.push(vec![0xfe, 0, 0, 2, 0]);
    out.extend((0..100).map(|_| vec![0xfb; COLUMNS.into()]));
    out.push(vec![0xfe, 0, 0, 2, 0]);
    out
}

// covers: E6 (mysql)
#[tokio::test]
async fn a_server_whose_catalog_has_no_end_is_not_read_to_it() {
    let port = server(auth::NATIVE, nothing_without_end).await;
    let judged = Setup { tls: Some(TargetTls::Plain), port: Some(port), rights: DatabaseRights::default(), ..Setup::default() };
    let town = Town::with(judged).await;
    let said = town.python(ASK).await;
    assert!(said.starts_with("(1429") && said.contains("larger than the gate reads"), "{said}");
    assert_eq!(town.gate.ended(1).await[0].end, EndReason::Target);
}
