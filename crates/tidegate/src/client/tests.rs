use std::sync::Arc;
use std::time::Duration;

use api::types::gate::GateFacts;
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::settings::{Given, Settings};
use super::{Client, ClientError};

/// A server with a certificate that nobody knows: its address, and the certificate in PEM.
async fn server() -> (String, String) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key.into()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust the certificate leaves here.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0u8; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            let body = serde_json::to_string(&GateFacts { version: "0".into(), ..GateFacts::default() }).unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _ = stream.shutdown().await;
        }
    });
    (url, own.cert.pem())
}

// covers: G3 (cli)
#[tokio::test]
async fn a_gate_with_a_certificate_nobody_vouches_for_is_refused() {
    let (url, pem) = server().await;
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, pem).unwrap();

    let trusting = Given { url: Some(url.clone()), token: None, ca_file: Some(ca_file) };
    let client = Client::new(&Settings::resolve(&trusting, None).unwrap()).unwrap();
    client.get::<GateFacts>("/gate", &()).await.unwrap();

    let unknowing = Given { ca_file: None, ..trusting };
    let client = Client::new(&Settings::resolve(&unknowing, None).unwrap()).unwrap();
    let refused = client.get::<GateFacts>("/gate", &()).await.unwrap_err();
    assert!(matches!(refused, ClientError::Untrusted { .. }), "{refused:?}");
    assert!(refused.to_string().contains("--ca-file"), "{refused}");
}

#[tokio::test]
async fn nobody_listening_is_one_sentence() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let free = testkit::ports::free().unwrap();
    let given = Given { url: Some(format!("http://{free}")), ..Given::default() };
    let client = Client::new(&Settings::resolve(&given, None).unwrap()).unwrap();
    let error = client.get::<GateFacts>("/gate", &()).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot reach the gate at http://127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn what_takes_long_is_waited_for_and_nothing_else_is() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let given = Given { url: Some(format!("http://{}", listener.local_addr().unwrap())), ..Given::default() };
    let silence = Duration::from_millis(100);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0u8; 4096];
                let _ = stream.read(&mut request).await.unwrap();
                tokio::time::sleep(silence * 5).await;
                // Who waited no longer is gone.
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").await;
            });
        }
    });
    let client = Client::with_silence(&Settings::resolve(&given, None).unwrap(), silence).unwrap();
    let body = serde_json::json!({});
    let gave_up = client.post::<serde_json::Value>("/users/usr_1/erase", &body).await.unwrap_err();
    assert!(matches!(gave_up, ClientError::Unreachable { .. }), "{gave_up:?}");
    let reply = client.post_at_length::<serde_json::Value>("/users/usr_1/erase", &body).await.unwrap();
    assert_eq!(reply.json, body);
}
