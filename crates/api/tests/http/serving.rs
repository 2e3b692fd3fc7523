//! What serves the API: TLS, and how it stops.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::Served;

async fn connect(address: std::net::SocketAddr, roots: rustls::RootCertStore, protocol: &[u8]) -> TlsStream<TcpStream> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await.unwrap()
}

/// A certificate for `localhost`, and what trusts it.
fn certified() -> (rustls::ServerConfig, rustls::RootCertStore) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = versions.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    (tls, roots)
}

// covers: G3 (api)
#[tokio::test]
async fn over_tls_both_versions_of_http_are_spoken_and_plain_text_is_not() {
    let served = Served::start().await;
    let (tls, roots) = certified();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let facts = tidegate_api::types::GateFacts { api: format!("https://{address}"), ..Default::default() };
    let router = tidegate_api::router(tidegate_api::ApiState::new(served.test.gate.clone(), facts));
    let stop = CancellationToken::new();
    let serving = tokio::spawn(tidegate_api::serve(listener, Some(tls), router, stop.clone()));

    let two = connect(address, roots.clone(), b"h2").await;
    assert_eq!(two.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let ask = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let mut one = connect(address, roots, b"http/1.1").await;
    one.write_all(ask).await.unwrap();
    let mut answer = String::new();
    one.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("strict-transport-security: max-age="), "{answer}");

    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(ask).await.unwrap();
    let mut nothing = Vec::new();
    let _reset = plain.read_to_end(&mut nothing).await;
    assert!(!nothing.starts_with(b"HTTP"), "{nothing:?}");

    drop(two);
    stop.cancel();
    serving.await.unwrap().unwrap();
}

// covers: E7 (api)
#[tokio::test]
async fn a_handshake_that_fails_leaves_its_place() {
    let served = Served::start().await;
    let (tls, roots) = certified();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = tidegate_api::router(tidegate_api::ApiState::new(served.test.gate.clone(), Default::default()));
    let stop = CancellationToken::new();
    let serving = tokio::spawn(tidegate_api::serve(listener, Some(tls), router, stop.clone()));

    // More than one address may have at a time, one after the other.
    for _ in 0..600 {
        let mut plain = TcpStream::connect(address).await.unwrap();
        let _reset = plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
        let mut nothing = Vec::new();
        let _reset = plain.read_to_end(&mut nothing).await;
    }
    let mut one = connect(address, roots, b"http/1.1").await;
    one.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    one.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    stop.cancel();
    serving.await.unwrap().unwrap();
}

// covers: E7 (api)
#[tokio::test]
async fn who_has_not_said_who_they_are_sends_little() {
    let served = Served::start().await;
    let large = |bytes: usize| serde_json::json!({ "code": "x".repeat(bytes) });
    let accept = |bytes: usize| served.call(Method::POST, "/api/v1/invitations/accept").json(&large(bytes)).send();
    assert_eq!(accept(1_000).await.unwrap().status(), reqwest::StatusCode::UNAUTHORIZED);
    assert_eq!(accept(65 * 1024).await.unwrap().status(), reqwest::StatusCode::PAYLOAD_TOO_LARGE);
    // Sixteen at a time from one address, each announced and never sent, are all that memory is held for.
    let address = served.url.strip_prefix("http://").unwrap().to_owned();
    let head =
        format!("POST /api/v1/sign-in HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{{", 64 * 1024);
    let mut slow = Vec::new();
    for _ in 0..16 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let refused = async {
        while !accept(1_000).await.unwrap().text().await.unwrap().contains("too much is on its way") {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), refused).await.is_ok(), "there is room for more");
    // Ana is not held up by it.
    let (status, body) = served.person("ana").await.post("/requests/preview", crate::wish()).await;
    assert_eq!(status, reqwest::StatusCode::OK, "{body}");
}

/// One frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

// covers: E7 (api)
#[tokio::test]
async fn who_opens_streams_only_to_reset_them_is_shown_out() {
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const GOAWAY: u8 = 7;
    let served = Served::start().await;
    let address = served.url.strip_prefix("http://").unwrap();
    let mut rapid = TcpStream::connect(address).await.unwrap();
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    flood.extend(frame(SETTINGS, 0, 0, &[]));
    // `GET http://x/healthz`, each cancelled at once (CVE-2023-44487).
    let head = [&[0x82, 0x86, 0x04, 8][..], b"/healthz", &[0x01, 1], b"x"].concat();
    for n in 0..5_000 {
        flood.extend(frame(HEADERS, 0x5, 2 * n + 1, &head));
        flood.extend(frame(RST_STREAM, 0, 2 * n + 1, &8_u32.to_be_bytes()));
    }
    let (mut from, mut to) = rapid.split();
    let mut said = Vec::new();
    let shown_out = tokio::time::timeout(Duration::from_secs(60), async {
        let _cut_off = tokio::join!(to.write_all(&flood), from.read_to_end(&mut said));
    });
    assert!(shown_out.await.is_ok(), "the connection stays open");
    let mut rest = &said[..];
    let mut kinds = Vec::new();
    while rest.len() >= 9 {
        let length = usize::from(rest[0]) << 16 | usize::from(rest[1]) << 8 | usize::from(rest[2]);
        kinds.push((rest[3], rest.get(13..17).map(|code| u32::from_be_bytes(code.try_into().unwrap()))));
        rest = rest.get(9 + length..).unwrap_or_default();
    }
    assert!(kinds.contains(&(GOAWAY, Some(11))), "no ENHANCE_YOUR_CALM among {} frames", kinds.len());
    let healthy = served.call(Method::GET, "/healthz").send().await.unwrap();
    assert_eq!(healthy.status(), reqwest::StatusCode::OK);
}

// covers: E7 (api)
#[tokio::test]
async fn one_address_cannot_take_all_places() {
    let served = Served::start().await;
    let address: std::net::SocketAddr = served.url.strip_prefix("http://").unwrap().parse().unwrap();
    let mut held = Vec::new();
    for _ in 0..512 {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    let mut one_more = TcpStream::connect(address).await.unwrap();
    let mut nothing = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(8), one_more.read_to_end(&mut nothing)).await;
    assert!(closed.is_ok() && nothing.is_empty(), "it got a place");
    let elsewhere = tokio::net::TcpSocket::new_v4().unwrap();
    elsewhere.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = elsewhere.connect(address).await.unwrap();
    other.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    other.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

// covers: E7 (api)
#[tokio::test]
async fn a_body_that_never_comes_is_not_waited_for() {
    let served = Served::start().await;
    let token = served.person("ana").await.token;
    let mut slow = TcpStream::connect(served.url.strip_prefix("http://").unwrap()).await.unwrap();
    let head = format!(
        "POST /api/v1/requests HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    let answered = tokio::time::timeout(Duration::from_secs(60), slow.read_exact(&mut answer)).await;
    answered.expect("it waits for ever").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}

// covers: G2 (api)
#[tokio::test]
async fn the_gate_in_numbers_is_for_who_may_read_the_log() {
    let served = Served::start().await;
    let (ana, eve) = (served.person("ana").await, served.person("eve").await);
    ana.post("/requests", crate::wish()).await;
    let (status, _) = ana.get("/metrics").await;
    assert_eq!(status, reqwest::StatusCode::FORBIDDEN);
    let answer = eve.call(Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text().await.unwrap();
    for line in [
        "tidegate_sessions_live 0",
        "tidegate_requests_pending 1",
        "tidegate_clock_behind 0",
        "tidegate_retention_stopped 0",
        "tidegate_events_total{event=\"request.submitted\",reason=\"\"} 1",
        "tidegate_events_total{event=\"action.refused\",reason=\"not_allowed\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
    }
    for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).filter_map(|line| line.split(' ').next()) {
        assert!(name.starts_with("tidegate_") && text.contains(&format!("# HELP {name} ")), "{name}");
    }
    // As `promtool check metrics` wants them: counters end in _total, what is measured in seconds says so, buckets only grow, and the last is all.
    let number = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        if kind != "histogram" {
            continue;
        }
        assert!(name.ends_with("_seconds"), "{line}");
        let buckets: Vec<f64> = text.lines().filter(|line| line.starts_with(&format!("{name}_bucket{{le="))).map(number).collect();
        let count = number(text.lines().find(|line| line.starts_with(&format!("{name}_count "))).unwrap());
        assert!(buckets.is_sorted() && buckets.last() == Some(&count), "{name}: {buckets:?} {count}");
        assert!(text.contains(&format!("{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum ")), "{name}");
    }
    let counted = |name: &str| number(text.lines().find(|line| line.starts_with(&format!("tidegate_{name}_count "))).unwrap());
    assert!(counted("decision_seconds") >= 1.0, "she asked once");
}

#[tokio::test]
async fn a_stop_ends_streams_and_lets_the_server_go() {
    let served = Served::start().await;
    let ana = served.person("ana").await;
    let mut stream = ana.call(Method::GET, "/events").send().await.unwrap();
    served.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(8), async { while stream.chunk().await.unwrap().is_some() {} }).await;
    assert!(ended.is_ok(), "the stream goes on");
    let refused = tokio::time::timeout(Duration::from_secs(8), async {
        while served.call(Method::GET, "/healthz").send().await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    assert!(refused.await.is_ok(), "it still answers");
}
