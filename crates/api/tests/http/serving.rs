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

// covers: G3 (api)
#[tokio::test]
async fn over_tls_both_versions_of_http_are_spoken_and_plain_text_is_not() {
    let served = Served::start().await;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = versions.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();

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

#[tokio::test]
async fn a_stop_ends_streams_and_lets_the_server_go() {
    let served = Served::start().await;
    let ana = served.person("ana").await;
    let mut stream = ana.call(Method::GET, "/events").send().await.unwrap();
    served.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), async { while stream.chunk().await.unwrap().is_some() {} }).await;
    assert!(ended.is_ok(), "the stream goes on");
    let refused = tokio::time::timeout(Duration::from_secs(5), async {
        while served.call(Method::GET, "/healthz").send().await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    assert!(refused.await.is_ok(), "it still answers");
}
