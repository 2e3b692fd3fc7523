//! A tap between a client and the gate: it speaks TLS with both, and keeps every byte that the client gets.

use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::gate::Town;

/// `SSLRequest`.
const SSL: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// What went to clients.
#[derive(Clone, Default)]
pub(crate) struct Tap(Arc<Mutex<Vec<u8>>>);

impl Tap {
    /// Listens before this gate; the port is where clients connect to in its place.
    pub(crate) async fn before(town: &Town) -> (Self, u16) {
        let tap = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut roots = RootCertStore::empty();
        let pem = std::fs::read(town.dir.path().join("ca.pem")).unwrap();
        roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let connector = TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
        let acceptor = TlsAcceptor::from(Arc::new(town.tls.clone()));
        let (gate, seen) = (town.port, tap.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, connector, seen) = (acceptor.clone(), connector.clone(), seen.clone());
                tokio::spawn(async move {
                    let _over = seen.pass(client, gate, acceptor, connector).await;
                });
            }
        });
        (tap, port)
    }

    async fn pass(&self, mut client: TcpStream, gate: u16, acceptor: TlsAcceptor, connector: TlsConnector) -> std::io::Result<()> {
        let mut asked = [0; 8];
        client.read_exact(&mut asked).await?;
        assert_eq!(asked, SSL, "clients of these tests ask for TLS first");
        client.write_all(b"S").await?;
        let client = acceptor.accept(client).await?;
        let mut gate = TcpStream::connect(("127.0.0.1", gate)).await?;
        gate.write_all(&SSL).await?;
        gate.read_exact(&mut [0]).await?;
        let gate = connector.connect(ServerName::try_from("localhost").unwrap(), gate).await?;
        let ((mut from_client, mut to_client), (mut from_gate, mut to_gate)) = (tokio::io::split(client), tokio::io::split(gate));
        let up = async {
            let _over = tokio::io::copy(&mut from_client, &mut to_gate).await;
            let _closed = to_gate.shutdown().await;
        };
        let down = async {
            let mut bytes = vec![0; 64 * 1024];
            while let Ok(read @ 1..) = from_gate.read(&mut bytes).await {
                self.0.lock().unwrap().extend_from_slice(&bytes[..read]);
                if to_client.write_all(&bytes[..read]).await.is_err() || to_client.flush().await.is_err() {
                    break;
                }
            }
            let _closed = to_client.shutdown().await;
        };
        tokio::join!(up, down);
        Ok(())
    }

    /// Every byte that clients got so far.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

/// The forms in which a value could be hidden among other bytes, each with a name.
pub(crate) fn forms(text: &str, binary: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut forms = vec![("text".to_owned(), text.as_bytes().to_vec()), ("binary".to_owned(), binary.to_vec())];
    for (what, bytes) in [("text", text.as_bytes()), ("binary", binary)] {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        forms.push((format!("{what} in hex"), hex.clone().into_bytes()));
        forms.push((format!("{what} in large hex"), hex.to_uppercase().into_bytes()));
        forms.push((format!("{what} reversed"), bytes.iter().rev().copied().collect()));
        // In base64 a text looks different by where it begins: the middle of it, for each beginning.
        for skip in 0..3 {
            let whole = base64(&[&[0; 3][..skip], bytes].concat());
            let middle = whole.trim_end_matches('=').as_bytes();
            let (from, to) = (if skip == 0 { 0 } else { 4 }, middle.len().saturating_sub(2));
            if to > from + 4 {
                forms.push((format!("{what} in base64, shifted by {skip}"), middle[from..to].to_vec()));
            }
        }
    }
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    forms.push(("text in UTF-16".to_owned(), wide));
    forms
}

/// Where one of these stands in the bytes, with a little of what is around.
pub(crate) fn found(bytes: &[u8], forms: &[(String, Vec<u8>)]) -> Vec<String> {
    let hit = |(name, form): &(String, Vec<u8>)| {
        let at = bytes.windows(form.len()).position(|window| window == form.as_slice())?;
        let around = &bytes[at.saturating_sub(60)..(at + form.len() + 60).min(bytes.len())];
        Some(format!("{name}: {}", String::from_utf8_lossy(around).escape_debug()))
    };
    forms.iter().filter_map(hit).collect()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let block = chunk.iter().chain(&[0, 0]).take(3).fold(0_u32, |block, byte| block << 8 | u32::from(*byte));
        for n in 0..4 {
            let letter = LETTERS[(block >> (18 - 6 * n) & 63) as usize];
            out.push(if n <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

// covers: E5 (postgres)
#[test]
fn a_value_is_found_in_each_of_its_forms() {
    let forms = forms("zq7-4111-unique", &[1, 2, 3, 4, 5, 6, 7, 8]);
    for hidden in ["..zq7-4111-unique..", "7a71372d343131312d756e69717565", "x enE3LTQxMTEtdW5pcXVl", "AAAAHpxNy00MTExLXVuaXF1ZQ=="] {
        assert!(!found(hidden.as_bytes(), &forms).is_empty(), "{hidden}");
    }
    assert_eq!(base64(b"zq7-4111-unique"), "enE3LTQxMTEtdW5pcXVl");
    assert!(found(&[0, 1, 2, 3, 4, 5, 6, 7, 8], &forms)[0].starts_with("binary"));
    assert!(found(b"nothing of it, nor zq7-4111-uniqu", &forms).is_empty());
}
