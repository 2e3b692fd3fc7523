//! Who gets in, by which token, over what.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use testkit::postgres::Proof;

use super::gate::{Setup, Town, errors_of, out_of};

// covers: PG-1 (psql), WHO-4 (psql)
#[tokio::test]
async fn ana_gets_in_with_her_token_and_with_no_other() {
    let town = Town::open().await;
    assert_eq!(out_of(&town.run("select 41 + 1").await), "42");
    let wrong = town.conninfo("").replace("tg_pat_anas", "tg_pat_eves");
    let out = town.psql(&wrong, &["-c", "select 1"]).output().await.unwrap();
    assert!(errors_of(&out).contains("FATAL:  You are not signed in: the password is a token of yours"), "{}", errors_of(&out));
    assert_eq!(out.status.code(), Some(2));
}

// covers: E2 (psql)
#[tokio::test]
async fn nobody_gets_in_without_tls() {
    let town = Town::open().await;
    assert_eq!(out_of(&town.run("select 1").await), "1");
    let plain = town.conninfo("").replace("sslmode=verify-full", "sslmode=disable");
    let out = town.psql(&plain, &["-c", "select 1"]).output().await.unwrap();
    assert!(errors_of(&out).contains("speaks PostgreSQL over TLS only; connect with `sslmode=require`"), "{}", errors_of(&out));
}

fn raw(port: u16, sent: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(sent).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

// covers: E1 (psql), E2 (psql)
#[tokio::test(flavor = "multi_thread")]
async fn bytes_in_clear_and_absurd_lengths_end_the_connection() {
    let town = Town::open().await;
    let port = town.port;
    let ssl = wire::postgres::startup::ssl_request();
    let startup = wire::postgres::startup::startup_packet([("user", "orders-db")]);
    // Asked for properly there is an answer, and the connection stays.
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(&ssl).unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"S");
    // What is sent in clear after it never counts.
    let answer = raw(port, &[&ssl[..], &startup].concat());
    assert!(!answer.windows(1).any(|w| w == b"R") && answer.len() < 16, "{answer:?}");
    for length in [0u32, 1, 7, 10_001, 0x8000_0000, u32::MAX] {
        assert_eq!(raw(port, &[&length.to_be_bytes()[..], &[0, 3, 0, 0]].concat()), b"", "{length}");
    }
    // GSSAPI is declined, and TLS may be asked for then.
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 48]).unwrap();
    let mut declined = [0];
    stream.read_exact(&mut declined).unwrap();
    assert_eq!(&declined, b"N");
    stream.write_all(&ssl).unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"S");
    assert_eq!(out_of(&town.run("select 1").await), "1");
}

// covers: E1 (postgres), E3 (postgres)
#[tokio::test]
async fn what_is_no_start_or_password_is_answered_by_an_error_that_says_so() {
    let town = Town::open().await;
    let said = town
        .python(
            r"import socket, ssl, struct
def start(*parameters):
    body = struct.pack('!I', 196608) + b''.join(x + b'\0' for x in (b'user', user.encode(), b'database', database.encode()) + parameters) + b'\0'
    return struct.pack('!I', len(body) + 4) + body
def message(kind, body): return kind + struct.pack('!I', len(body) + 4) + body
def said(*sent):
    s = socket.create_connection(('localhost', port)); s.settimeout(20)
    s.sendall(struct.pack('!II', 8, 80877103)); assert s.recv(1) == b'S'
    s = ssl.create_default_context(cafile=ca).wrap_socket(s, server_hostname='localhost')
    for one in sent: s.sendall(one)
    s.sendall(message(b'X', b''))
    seen = b''
    try:
        while more := s.recv(65536): seen += more
    except OSError: pass
    kinds, why = '', 'in'
    while seen:
        kind, length = seen[:1].decode(), struct.unpack('!I', seen[1:5])[0]
        if kind == 'E': why = [x[1:].decode() for x in seen[5:length].split(b'\0') if x and x[:1] in b'CM']
        kinds += kind; seen = seen[length + 1:]
    print(kinds[:1], why)
password = message(b'p', token.encode() + b'\0')
said(start(), password)
said(start(b'user', b'other'), password)
said(start(b'application_name', b'caf\xe9'), password)
said(start(b'application_name', b'x' * 20000), password)
said(struct.pack('!II', 8, 80877103))
said(start(), message(b'p', b'tg_\xff\0'))
said(start(), message(b'Q', b'select 1\0'))
",
        )
        .await;
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("R in"), "{said}");
    for (line, (begins, why)) in lines[1..].iter().zip([
        ("E", "a start-up parameter is there twice"),
        ("E", "UTF-8"),
        ("E", "between 8 and 10,000"),
        ("E", "encryption within encryption"),
        ("R", "UTF-8"),
        ("R", "a password was asked for, and this is none"),
    ]) {
        assert!(line.starts_with(&format!("{begins} ['08P01'")) && line.contains(why), "{why}: {said}");
    }
    assert_eq!(lines.len(), 7, "{said}");
}

// covers: PG-1 (psql)
#[tokio::test]
async fn tls_may_begin_at_once() {
    let town = Town::open().await;
    let said = town
        .python(
            r#"import psycopg, ssl, socket
with psycopg.connect(dsn + ' sslnegotiation=direct') as c: print(c.execute('select 7').fetchone()[0])
x = ssl.create_default_context(cafile=ca)
s = socket.create_connection(('127.0.0.1', port))
try:
    t = x.wrap_socket(s, server_hostname='localhost'); t.send(b'x' * 8); print(len(t.recv(9)))
except Exception as e: print('refused')
"#,
        )
        .await;
    assert!(said == "7\n0" || said == "7\nrefused", "{said}");
}

// covers: A10 (psql)
#[tokio::test]
async fn a_user_name_that_is_no_place_is_refused_with_what_to_write() {
    let town = Town::open().await;
    for user in ["Orders-DB", "ana@orders-db", "other-db"] {
        let conninfo = town.conninfo("").replace("orders-db+readwrite", user);
        let out = town.psql(&conninfo, &["-c", "select 1"]).output().await.unwrap();
        assert!(errors_of(&out).contains("There is no such resource"), "{user}: {}", errors_of(&out));
    }
}

// covers: E3 (psql)
#[tokio::test]
async fn settings_at_the_start_are_those_on_the_list() {
    let town = Town::open().await;
    let out = town.psql(&town.conninfo("options='-c timezone=Asia/Tokyo -c search_path=pg_catalog'"), &["-c", "show timezone"]);
    assert_eq!(out_of(&{ out }.output().await.unwrap()), "Asia/Tokyo");
    for (wrong, why) in [
        ("options='-c role=postgres'", "`role` cannot be given"),
        ("options='-c session_authorization=postgres'", "`session_authorization` cannot be given"),
        ("replication=database", "replication is not granted"),
    ] {
        let out = town.psql(&town.conninfo(wrong), &["-c", "select 1"]).output().await.unwrap();
        assert!(errors_of(&out).contains(why), "{wrong}: {}", errors_of(&out));
    }
}

// covers: PG-1 (psql)
#[tokio::test]
async fn the_gate_signs_in_in_every_way_a_server_asks_for() {
    for proof in [Proof::Trust, Proof::Scram, Proof::Md5, Proof::Password] {
        let town = Town::with(Setup { proof, ..Setup::default() }).await;
        let out = town.run("select current_user, ssl from pg_stat_ssl where pid = pg_backend_pid()").await;
        assert!(out_of(&out).starts_with("app_") && out_of(&out).ends_with("|t"), "{proof:?}: {} {}", out_of(&out), errors_of(&out));
        if proof != Proof::Trust {
            let town = Town::with(Setup { proof, password: "wrong", ..Setup::default() }).await;
            let out = town.run("select 1").await;
            assert!(errors_of(&out).contains("did not accept the gate's credential"), "{proof:?}: {}", errors_of(&out));
            assert_eq!(town.gate.ended(1).await.len(), 1);
        }
    }
}

// covers: E7 (psql)
#[tokio::test(flavor = "multi_thread")]
async fn strangers_take_no_place_from_others() {
    let town = Town::with(Setup {
        door: tidegate_proxy::postgres::DoorLimits {
            strangers: 8,
            strangers_per_address: 4,
            grace: Duration::from_secs(5),
            ..Default::default()
        },
        ..Setup::default()
    })
    .await;
    let silent: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(("127.0.0.1", town.port)).unwrap()).collect();
    // Those who say nothing are gone after the grace, and somebody who speaks gets in.
    let mut last = String::new();
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        let out = town.run("select 1").await;
        last = errors_of(&out);
        if out_of(&out) == "1" {
            drop(silent);
            return;
        }
    }
    panic!("nobody gets in: {last}");
}
