//! Syslog over TLS: messages of RFC 5424, framed by RFC 5425 (their length in ASCII, a space, the message).
//!
//! The protocol has no word for "taken". So each batch has a connection of its own that ends with this side's `close_notify`: the
//! collector has read all of the batch before it can read that, and its own `close_notify` after it is the answer. Only that one is
//! proved by TLS: anybody on the way, and a proxy whose collector died, can end the TCP connection. A connection that ends otherwise,
//! or whose collector took its leave before the gate did, is no answer, and the batch is sent again.

use std::future::{Future as _, poll_fn};
use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Batch, Line};
use crate::http::{Reach, ReachError, may_be_reached};
use crate::outcome::Outcome;

/// The port of syslog over TLS.
pub const PORT: u16 = 6514;
/// How long a connection, and then a batch on it, may take.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));
/// The facility "log audit" of RFC 5424.
const AUDIT: u8 = 13;
/// The longest `MSGID`.
const LONGEST_ID: usize = 32;

/// Why a collector cannot be sent to as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// The address is none.
    #[error("`{0}` is not a host and port like `logs.example.com:6514`")]
    NoAddress(String),
    /// It leads inside.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The gate's own certificate, or those it trusts, can't be used.
    #[error("{0}")]
    Certificate(String),
}

/// What proves the gate to a collector: a certificate chain and its key, PEM.
#[derive(Clone)]
pub struct ClientCertificate {
    /// The certificate and those above it.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: access::secret::Secret<Vec<u8>>,
}

/// A collector of syslog.
#[derive(Clone)]
pub struct Collector {
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    addresses: Vec<IpAddr>,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collector").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// A host, and the port or 6514.
///
/// # Errors
/// If it is no address, or one inside that is not named.
pub fn address(text: &str, addresses: &[IpAddr]) -> Result<(String, u16), CollectorError> {
    let none = || CollectorError::NoAddress(text.chars().filter(|c| !c.is_control()).take(200).collect());
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().map_err(|_| none())?),
        _ => (text, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host).map_err(|_| none())?;
    if let Ok(ip) = host.parse::<IpAddr>()
        && !may_be_reached(ip, addresses)
    {
        return Err(ReachError::Inside(ip).into());
    }
    Ok((host.to_owned(), port))
}

impl Collector {
    /// A collector at `host:port`.
    ///
    /// # Errors
    /// If it may not be reached, or certificates can't be used.
    pub fn new(at: &str, reach: &Reach, own: Option<&ClientCertificate>) -> Result<Self, CollectorError> {
        let (host, port) = address(at, &reach.addresses)?;
        let unusable = |what: &str, error: &dyn std::fmt::Display| CollectorError::Certificate(format!("{what} cannot be used: {error}"));
        let mut roots = RootCertStore::empty();
        match &reach.roots {
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    let certificate = certificate.map_err(|error| unusable("the CA", &error))?;
                    roots.add(certificate).map_err(|error| unusable("the CA", &error))?;
                }
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| CollectorError::Certificate(error.to_string()))?
            .with_root_certificates(roots);
        let tls = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let what = "the gate's certificate for it";
                let chain = CertificateDer::pem_slice_iter(&own.certificate).collect::<Result<Vec<_>, _>>();
                let chain = chain.map_err(|error| unusable(what, &error))?;
                let key = PrivateKeyDer::from_pem_slice(own.key.expose()).map_err(|error| unusable(what, &error))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| unusable(what, &error))?
            }
        };
        let name = ServerName::try_from(host.clone()).map_err(|_| CollectorError::NoAddress(host.clone()))?;
        Ok(Self { host, port, name, tls: Arc::new(tls), addresses: reach.addresses.clone() })
    }

    /// Sends a batch.
    pub async fn send(&self, batch: &Batch<'_>) -> Outcome<()> {
        let connected = match tokio::time::timeout(PATIENCE.0, self.connect()).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(why)) => return Outcome::later(why),
            Err(_) => return Outcome::later("it does not answer"),
        };
        match tokio::time::timeout(PATIENCE.1, hand_over(connected, frames(batch))).await {
            Ok(Ok(())) => Outcome::Taken(()),
            Ok(Err(error)) => Outcome::later(format!("the connection broke off: {error}")),
            Err(_) => Outcome::later("it did not take the batch in time"),
        }
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>, String> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await.map_err(|error| error.to_string())?;
        let found: Vec<SocketAddr> = found.collect();
        let open: Vec<SocketAddr> = found.iter().copied().filter(|at| may_be_reached(at.ip(), &self.addresses)).collect();
        if let (true, Some(inside)) = (open.is_empty(), found.first()) {
            return Err(format!("`{}` leads inside, to {}; name that in `addresses` if it is meant", self.host, inside.ip()));
        }
        let tcp = TcpStream::connect(open.as_slice()).await.map_err(|error| error.to_string())?;
        TlsConnector::from(Arc::clone(&self.tls)).connect(self.name.clone(), tcp).await.map_err(|error| error.to_string())
    }
}

/// Writes everything, says that this is the end, and waits until the other side has read that and says so.
async fn hand_over(mut stream: TlsStream<TcpStream>, frames: Vec<u8>) -> std::io::Result<()> {
    stream.write_all(&frames).await?;
    stream.flush().await?;
    if has_ended(&mut stream).await? {
        return Err(Error::new(ErrorKind::ConnectionAborted, "the collector took its leave before it was told that the batch is whole"));
    }
    stream.shutdown().await?;
    // A collector has nothing to say.
    while read(&mut stream).await? > 0 {}
    // A socket that is closed with something unread in it is reset.
    let (mut tcp, _) = stream.into_inner();
    let mut rest = [0; 1024];
    while tcp.read(&mut rest).await? > 0 {}
    Ok(())
}

/// Whether the other side's `close_notify` is here already, as far as can be seen without waiting.
async fn has_ended(stream: &mut TlsStream<TcpStream>) -> std::io::Result<bool> {
    // What the network brought meanwhile is seen then.
    tokio::task::yield_now().await;
    loop {
        match poll_fn(|context| Poll::Ready(pin!(read(stream)).poll(context))).await {
            Poll::Pending => return Ok(false),
            Poll::Ready(read) => {
                if read? == 0 {
                    return Ok(true);
                }
            }
        }
    }
}

/// Reads; 0 is the other side's `close_notify`, and nothing else is.
async fn read(stream: &mut TlsStream<TcpStream>) -> std::io::Result<usize> {
    let mut said = [0; 1024];
    match stream.read(&mut said).await {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Err(Error::new(ErrorKind::UnexpectedEof, "it was closed without TLS's `close_notify`, which anybody on the way can do"))
        }
        read => read,
    }
}

fn frames(batch: &Batch<'_>) -> Vec<u8> {
    let mut frames = Vec::with_capacity(batch.lines.iter().map(|line| line.json.len() + 160).sum());
    for line in batch.lines {
        let message = message(batch.node, line);
        frames.extend_from_slice(format!("{} ", message.len()).as_bytes());
        frames.extend_from_slice(message.as_bytes());
    }
    frames
}

/// `<PRI>1 TIMESTAMP HOSTNAME APP-NAME - MSGID - MSG`.
fn message(node: &str, line: &Line) -> String {
    let severity = match line.severity {
        0 | 1 => 6,
        2 => 5,
        3 => 4,
        _ => 2,
    };
    let id: String = line.event.chars().filter(char::is_ascii_graphic).take(LONGEST_ID).collect();
    let id = if id.is_empty() { "-" } else { &id };
    format!("<{}>1 {} {node} tidegate - {id} - {}", AUDIT * 8 + severity, line.at, line.json)
}

#[cfg(test)]
mod tests {
    use super::super::{example, example_line};
    use super::*;

    #[test]
    fn a_message_is_framed_by_its_length() {
        let lines = [example_line("session.opened", 1, "{\"a\":1}"), example_line("lock.set", 3, "{}")];
        assert_eq!(
            String::from_utf8(frames(&example(&lines))).unwrap(),
            "77 <110>1 2026-03-02T12:00:00.123456Z gate-1 tidegate - session.opened - {\"a\":1}\
             66 <108>1 2026-03-02T12:00:00.123456Z gate-1 tidegate - lock.set - {}"
        );
    }

    #[test]
    fn an_address_has_a_host_and_perhaps_a_port() {
        let at = |text: &str| address(text, &["10.0.0.7".parse().unwrap(), "::1".parse().unwrap()]);
        assert_eq!(at("logs.example.com").unwrap(), ("logs.example.com".to_owned(), 6514));
        assert_eq!(at("logs.example.com:10514").unwrap(), ("logs.example.com".to_owned(), 10514));
        assert_eq!(at("10.0.0.7:6514").unwrap(), ("10.0.0.7".to_owned(), 6514));
        assert_eq!(at("[::1]:6514").unwrap(), ("::1".to_owned(), 6514));
        assert!(matches!(at("10.0.0.8"), Err(CollectorError::Reach(ReachError::Inside(_)))));
        assert!(matches!(at("169.254.169.254:6514"), Err(CollectorError::Reach(ReachError::Inside(_)))));
        for none in ["", "logs example", "logs.example.com:port", "https://logs.example.com"] {
            assert!(matches!(at(none), Err(CollectorError::NoAddress(_))), "{none}");
        }
    }

    /// What a collector does with its connection.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Ends {
        /// Reads to the gate's `close_notify` and answers with its own.
        AsItShould,
        /// Reads to the gate's `close_notify`, and just closes the socket.
        WithoutAWord,
        /// Reads nothing at all; the socket's other half is shut, as by somebody on the way.
        Unread,
        /// Says goodbye first, and reads the batch then.
        Early,
    }

    async fn collect(ends: Ends, frames: Vec<u8>) -> std::io::Result<()> {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap())
            .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let serving = async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut stream = tokio_rustls::TlsAcceptor::from(Arc::new(tls)).accept(tcp).await.unwrap();
            let mut rest = Vec::new();
            match ends {
                Ends::AsItShould => {
                    stream.read_to_end(&mut rest).await.unwrap();
                    stream.shutdown().await.unwrap();
                    None
                }
                Ends::WithoutAWord => {
                    stream.read_to_end(&mut rest).await.unwrap();
                    stream.into_inner().0.shutdown().await.unwrap();
                    None
                }
                Ends::Unread => {
                    let mut tcp = stream.into_inner().0;
                    tcp.shutdown().await.unwrap();
                    // Still open, or it would be reset.
                    Some(tcp)
                }
                Ends::Early => {
                    let (tcp, session) = stream.get_mut();
                    session.send_close_notify();
                    let mut told = Vec::new();
                    session.write_tls(&mut told).unwrap();
                    tcp.write_all(&told).await.unwrap();
                    stream.read_to_end(&mut rest).await.ok();
                    stream.into_inner().0.shutdown().await.ok();
                    None
                }
            }
        };
        let reach = Reach { addresses: vec![at.ip()], roots: Some(certificate.pem().into_bytes()) };
        let collector = Collector::new(&at.to_string(), &reach, None).unwrap();
        let sending = async { hand_over(collector.connect().await.unwrap(), frames).await };
        let (sent, _open) = tokio::join!(sending, serving);
        sent
    }

    // covers: D4 (syslog), EV-6 (syslog)
    #[tokio::test]
    async fn a_batch_is_taken_only_if_the_collector_says_so_after_all_of_it() {
        let (small, large) = (vec![b'x'; 100], vec![b'x'; 32 << 20]);
        collect(Ends::AsItShould, small.clone()).await.unwrap();
        collect(Ends::AsItShould, large.clone()).await.unwrap();
        for ends in [Ends::WithoutAWord, Ends::Unread] {
            let error = collect(ends, small.clone()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{ends:?}");
            assert!(error.to_string().contains("close_notify"), "{error}");
        }
        // So much that it is read, and its goodbye is here, before the end is told.
        assert_eq!(collect(Ends::Early, large).await.unwrap_err().kind(), ErrorKind::ConnectionAborted);
    }
}
