//! Who gets in, by what, and what the others are told.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::gate::{Setup, TOKEN, Town, errors_of, out_of};

// covers: MY-1 (mariadb), E2 (mysql)
#[tokio::test]
async fn without_tls_nobody_gets_in_and_is_told_why() {
    let town = Town::open().await;
    assert_eq!(out_of(&town.run("select 1").await), "1");
    let mut plain = tokio::process::Command::new("mariadb");
    plain.args(["--no-defaults", "--skip-ssl", "-h", "127.0.0.1", "-P", &town.port.to_string(), "-u", "orders-db+readwrite"]);
    let out = plain.arg(format!("-p{TOKEN}")).args(["-e", "select 1"]).output().await.unwrap();
    assert!(errors_of(&out).contains("ERROR 3159 (08004): this gate speaks MySQL's protocol over TLS only"), "{}", errors_of(&out));
}

#[tokio::test]
async fn a_wrong_token_and_a_wrong_name_are_told_apart_from_nothing_else() {
    let town = Town::open().await;
    let said = town
        .python(
            r"import pymysql
for more in ({'password': 'tg_pat_bens'}, {'password': ''}, {'user': 'Orders DB'}, {'user': 'other-db'}, {'database': 'mysql'}, {}):
    try: connect(**more); print('in')
    except pymysql.Error as e: print(e.args[0], e.args[1][:90])
",
        )
        .await;
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("1045 ") && lines[0].contains("this is none that is valid"), "{said}");
    assert!(lines[1].starts_with("1045 "), "{said}");
    assert!(lines[2].starts_with("1049 ") && lines[3].starts_with("1049 ") && lines[4].starts_with("1049 "), "{said}");
    assert_eq!(lines[5], "in");
}

// covers: E1 (mysql)
#[tokio::test]
async fn what_is_no_sign_in_is_answered_by_an_error_that_says_so() {
    let town = Town::open().await;
    let said = town
        .python(
            r"import pymysql, socket, ssl, struct
for password in (token, b'tg_\xff\xfe'):
    try: connect(password=password); print('in')
    except pymysql.Error as e: print(e.args)
def raw(tls, message):
    s = socket.create_connection(('localhost', port)); s.settimeout(20)
    greeting = s.recv(4096)
    if tls:
        # A wish for TLS: CLIENT_PROTOCOL_41, CLIENT_SSL, CLIENT_SECURE_CONNECTION, CLIENT_PLUGIN_AUTH.
        s.sendall(b'\x20\0\0\x01' + struct.pack('<IIB', 0x88a00, 1 << 24, 45) + bytes(23))
        s = ssl.create_default_context(cafile=ca).wrap_socket(s, server_hostname='localhost')
    s.sendall(struct.pack('<I', len(message))[:3] + (b'\x02' if tls else b'\x01') + message)
    seen = b''
    try:
        while more := s.recv(4096): seen += more
    except OSError: pass
    print(seen[3:].hex()[:4], struct.unpack('<H', seen[5:7])[0], seen[7:])
login = struct.pack('<IIB', 0x88a00, 1 << 24, 45) + bytes(23)
raw(True, login[:5]); raw(True, login + b'caf\xe9\0' + b'\0'); raw(True, login); raw(False, login[:5])
",
        )
        .await;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "in", "{said}");
    assert!(lines[1].starts_with("(1043, ") && lines[1].contains("the password is not UTF-8"), "{said}");
    for (line, sequence) in lines[2..].iter().zip(["03ff", "03ff", "03ff", "02ff"]) {
        assert!(line.starts_with(&format!("{sequence} 1043 b'#08S01")), "{said}");
    }
    assert!(lines[3].contains("UTF-8") && lines[4].contains("encryption within encryption") && lines.len() == 6, "{said}");
}

// covers: MY-1 (mysql)
#[tokio::test]
async fn every_way_of_sending_the_token_works() {
    let town = Town::open().await;
    for plugin in ["caching_sha2_password", "mysql_native_password", "mysql_clear_password"] {
        let out = town.client(&[&format!("--default-auth={plugin}"), "-e", "select 1"]).output().await.unwrap();
        assert_eq!(out_of(&out), "1", "{plugin}: {}", errors_of(&out));
    }
    let out = town.client(&["-e", "select 1"]).output().await.unwrap();
    assert_eq!(out_of(&out), "1");
}

// covers: E2 (mysql)
#[tokio::test]
async fn bytes_sent_in_clear_behind_the_wish_for_tls_count_for_nothing() {
    use wire::mysql::answer::error;
    use wire::mysql::capability::Capabilities;
    use wire::mysql::handshake::tls_request;
    use wire::mysql::packet;
    let town = Town::open().await;
    let mut stream = TcpStream::connect(("127.0.0.1", town.port)).await.unwrap();
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.unwrap();
    let mut greeting = vec![0; packet::Head::read(&head).unwrap().length];
    stream.read_exact(&mut greeting).await.unwrap();
    let mut out = Vec::new();
    let next = packet::write(&mut out, 1, &tls_request(Capabilities::RELAYED, 1 << 24, 45));
    // A whole command, as somebody in the middle would inject it.
    packet::write(&mut out, next, b"\x03create table injected (n int)");
    stream.write_all(&out).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok() && error(&answer).is_err() || !answer.starts_with(&[0xff]), "{answer:?}");
    assert!(town.gate.texts().is_empty() && town.gate.ended.borrow().is_empty());
}

// covers: E1 (mysql)
#[tokio::test]
async fn garbage_and_absurd_lengths_end_a_connection_and_no_other() {
    let town = Town::with(Setup::default()).await;
    for garbage in [
        &b"\xff\xff\xff\x01"[..],
        b"\x00\x00\x00\x01",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0x20, 0, 0, 1, 0, 0, 0, 0],
        &[5, 0, 0, 1, 1, 2, 3, 4, 5],
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", town.port)).await.unwrap();
        let _ = stream.write_all(garbage).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "{garbage:?}");
    }
    assert_eq!(out_of(&town.run("select 1").await), "1");
}
