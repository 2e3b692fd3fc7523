//! Servers that are not the right one, not there, or lie.

use access::session::{EndReason, Standing, TargetTls};
use sha2::{Digest, Sha256};
use testkit::postgres::Database;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::gate::{Setup, Town, errors_of, out_of};

// covers: G3 (psql)
#[tokio::test]
async fn a_server_with_another_certificate_is_not_believed() {
    let town = Town::open().await;
    let out = town.run("select 1").await;
    assert_eq!(out_of(&out), "1", "{}", errors_of(&out));
    let pin: String = Sha256::digest(server_certificate(town.target.port())).iter().map(|b| format!("{b:02x}")).collect();
    let pinned = |pin: String| Setup { tls: Some(TargetTls::Pinned(vec![pin])), ..Setup::default() };
    assert_eq!(out_of(&Town::with(pinned(pin)).await.run("select 1").await), "1");
    for setup in [
        pinned("00".repeat(32)),
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

// covers: GRANT-2 (postgres)
#[tokio::test]
async fn who_is_cut_while_the_server_says_nothing_is_not_said_to_be_gone_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = Setup { port: Some(listener.local_addr().unwrap().port()), tls: Some(TargetTls::Plain), ..Setup::default() };
    let town = Town::with(silent).await;
    let cutting = async {
        let (_held, _) = listener.accept().await.unwrap();
        town.gate.stand(&Standing::Cut(EndReason::Revoked));
        town.gate.ended(1).await
    };
    let (out, ended) = tokio::join!(town.run("select 1"), cutting);
    assert!(errors_of(&out).contains("Your grant was revoked"), "{}", errors_of(&out));
    assert_eq!((ended[0].end, ended[0].confirmed), (EndReason::Revoked, false));
}

/// The certificate a server shows, DER.
fn server_certificate(port: u16) -> Vec<u8> {
    let shown = std::process::Command::new("openssl")
        .args(["s_client", "-starttls", "postgres", "-connect", &format!("127.0.0.1:{port}")])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let mut reader = std::process::Command::new("openssl")
        .args(["x509", "-outform", "DER"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut reader.stdin.take().unwrap(), &shown.stdout).unwrap();
    reader.wait_with_output().unwrap().stdout
}

// covers: B6 (psql)
#[tokio::test]
async fn loopback_is_no_target_unless_it_is_named() {
    assert_eq!(out_of(&Town::open().await.run("select 1").await), "1");
    let town = Town::with(Setup { guarded_allowed: false, ..Setup::default() }).await;
    assert!(errors_of(&town.run("select 1").await).contains("the gate itself, link-local or a metadata service"));
}

#[tokio::test]
async fn a_resource_that_is_one_database_is_no_other() {
    let town = Town::open().await;
    let other = town.conninfo("").replace(&format!("dbname={}", town.target.name()), "dbname=postgres");
    let out = town.psql(&other, &["-c", "select 1"]).output().await.unwrap();
    assert!(errors_of(&out).contains("not `postgres`"), "{}", errors_of(&out));
    let any = Town::with(Setup { one_database: false, ..Setup::default() }).await;
    let other = any.conninfo("").replace(&format!("dbname={}", any.target.name()), "dbname=postgres");
    assert_eq!(out_of(&any.psql(&other, &["-c", "select current_database()"]).output().await.unwrap()), "postgres");
    let nowhere = any.conninfo("").replace(&format!("dbname={}", any.target.name()), "dbname=nowhere");
    let out = any.psql(&nowhere, &["-c", "select 1"]).output().await.unwrap();
    assert!(errors_of(&out).contains("\"nowhere\" does not exist (3D000)"), "{}", errors_of(&out));
    any.gate.ended(2).await;
    assert!(any.gate.entered().contains("3D000"), "{}", any.gate.entered());
}

/// A server that answers each connection with these bytes.
async fn liar(answers: &'static [&'static [u8]]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut read = [0; 1024];
                for answer in answers {
                    if stream.read(&mut read).await.unwrap_or(0) == 0 || stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
                while stream.read(&mut read).await.unwrap_or(0) > 0 {}
            });
        }
    });
    port
}

/// Signed in at once, and ready.
const READY: &[u8] = b"R\0\0\0\x08\0\0\0\0S\0\0\0\x18server_version\x0015.0\0K\0\0\0\x0c\0\0\0\x07\0\0\0\x09Z\0\0\0\x05I";

// covers: E6 (psql), E1 (psql)
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lies_ends_its_own_session_only() {
    let real = Town::open().await;
    let endless = [&b"R\0\0\0\x08\0\0\0\0"[..], &b"S\0\0\0\x06\0\0".repeat(40_000)].concat();
    let endless: &'static [u8] = Box::leak(endless.into_boxed_slice());
    let answers: [(&'static [&'static [u8]], &str); 10] = [
        (&[b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0", b"R\0\0\0\x08\0\0\0\0"], "does not go on with SCRAM"),
        (&[b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0", b"R\0\0\0\x20\0\0\0\x0br=x,s=c2FsdA==,i=999999999"], "SCRAM"),
        (&[b"R\0\0\0\x08\0\0\0\x03"], "the password in clear"),
        (&[b"R\xff\xff\xff\xff"], "does not speak PostgreSQL"),
        (&[b"R\0\0\0\0"], "does not speak PostgreSQL"),
        (&[b"HTTP/1.1 400 Bad Request"], "does not speak PostgreSQL"),
        (&[b"R\0\0\0\x08\0\0\0\x07"], "does not speak"),
        (&[READY, b"D\x80\0\0\0"], "broke the protocol"),
        (&[READY, b"Z\0\0\0\x05?"], "broke the protocol"),
        (Box::leak(Box::new([endless])), "more of itself than fits"),
    ];
    for (answers, told) in answers {
        let port = liar(answers).await;
        let town = Town::with(Setup { port: Some(port), tls: Some(TargetTls::Plain), ..Setup::default() }).await;
        let out = town.run("select 1").await;
        assert!(errors_of(&out).contains(told), "{told}: {}", errors_of(&out));
        assert_eq!(town.gate.ended(1).await[0].end, EndReason::Target, "{told}");
        assert!(town.gate.entered().starts_with("target: ") && town.gate.entered().contains(told), "{told}: {}", town.gate.entered());
    }
    assert_eq!(out_of(&real.run("select 1").await), "1");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_plainly() {
    let free = testkit::ports::free().unwrap().port();
    let town = Town::with(Setup { port: Some(free), ..Setup::default() }).await;
    let out = town.run("select 1").await;
    assert!(errors_of(&out).contains("FATAL:  The target could not be reached"), "{}", errors_of(&out));
    town.gate.ended(1).await;
    assert!(town.gate.entered().contains("refused"), "{}", town.gate.entered());
    assert!(Database::authority().is_ok());
}
