//! Handing mails to a server: submission by RFC 6409 with AUTH (RFC 4954), over TLS from the first byte or after STARTTLS (RFC 8314,
//! RFC 3207). There is no falling back to plain text, and no certificate that is not verified.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use access::secret::Secret;
use lettre::address::Envelope;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters, TlsParametersBuilder};
use lettre::transport::smtp::{Error, extension::ClientId};
use tokio::io::BufReader;
use tokio::net::TcpStream;

use super::address::Address;
use super::line_by_line::LineByLine;
use crate::http::{ReachError, may_be_reached};
use crate::outcome::Outcome;

/// How long one mail may take, from the first byte to the last answer; shorter than a message is kept for who delivers it.
const PATIENCE: Duration = Duration::from_secs(40);
/// How much of what a server said is kept.
const LONGEST_WHY: usize = 300;

/// How a connection is kept from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte; usually port 465.
    Tls,
    /// TLS after `STARTTLS`, without which nothing is sent; usually port 587.
    StartTls,
    /// None; for a server on this machine alone.
    Plain,
}

impl Security {
    /// The port that is usual.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Tls => 465,
            Self::StartTls => 587,
            Self::Plain => 25,
        }
    }
}

impl std::str::FromStr for Security {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "tls" => Ok(Self::Tls),
            "starttls" => Ok(Self::StartTls),
            "none" => Ok(Self::Plain),
            _ => Err(()),
        }
    }
}

/// What the configuration says of mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailSettings {
    /// The server, as its certificate names it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept from others.
    pub security: Security,
    /// As whom the gate signs in there; `None`: it does not.
    pub user: Option<String>,
    /// Whom mails are from.
    pub from: Address,
    /// Who is told of emergencies besides those who have a mailbox here.
    pub alerts: Vec<Address>,
    /// Addresses inside that may be called all the same.
    pub addresses: Vec<IpAddr>,
}

/// Hands mails to one server.
#[derive(Clone)]
pub struct MailClient {
    settings: MailSettings,
    tls: Option<TlsParameters>,
    hello: ClientId,
}

impl std::fmt::Debug for MailClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailClient").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl MailClient {
    /// A client; `roots` are PEM and alone are trusted, `None`: the machine's.
    ///
    /// # Errors
    /// If the server may not be called, or TLS can't be set up.
    pub fn new(settings: &MailSettings, roots: Option<Vec<u8>>) -> Result<Self, ReachError> {
        let failed = |error: Error| ReachError::Tls(said(&error));
        // Somebody in this process may have done so already.
        let _once = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let literal = settings.host.parse::<IpAddr>().ok();
        if let Some(ip) = literal
            && !may_be_reached(ip, &settings.addresses)
        {
            return Err(ReachError::Inside(ip));
        }
        let tls = match settings.security {
            Security::Plain if literal.is_some_and(|ip| ip.to_canonical().is_loopback()) => None,
            Security::Plain => return Err(ReachError::PlainText(settings.host.clone())),
            Security::Tls | Security::StartTls => {
                let mut builder = TlsParametersBuilder::new(settings.host.clone());
                if let Some(pem) = roots {
                    let roots = Certificate::from_pem(&pem).map_err(failed)?;
                    builder = builder.certificate_store(CertificateStore::None).add_root_certificate(roots);
                }
                Some(builder.build().map_err(failed)?)
            }
        };
        Ok(Self { settings: settings.clone(), tls, hello: ClientId::Domain(settings.from.domain().to_owned()) })
    }

    /// Hands over one mail. What the server refuses with 4xx, or before it was asked to take this very mail, may be taken later; what it
    /// refuses with 5xx will not be.
    pub async fn send(&self, password: Option<&Secret<String>>, to: &Address, mail: &[u8]) -> Outcome<()> {
        match tokio::time::timeout(PATIENCE, self.hand_over(password, to, mail)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::later("the mail server did not answer in time"),
        }
    }

    async fn hand_over(&self, password: Option<&Secret<String>>, to: &Address, mail: &[u8]) -> Outcome<()> {
        let address = |address: &Address| address.as_str().parse::<lettre::Address>();
        let envelope = match (address(&self.settings.from), address(to)) {
            (Ok(from), Ok(to)) => Envelope::new(Some(from), vec![to]),
            (Err(error), _) | (_, Err(error)) => return Outcome::Never { why: error.to_string() },
        };
        let envelope = match envelope {
            Ok(envelope) => envelope,
            Err(error) => return Outcome::Never { why: error.to_string() },
        };
        let mut connection = match self.signed_in(password).await {
            Ok(connection) => connection,
            Err(why) => return Outcome::later(why),
        };
        match connection.send(&envelope, mail).await {
            Ok(_) => {
                // It has it; how it says goodbye changes nothing.
                let _goodbye = connection.quit().await;
                Outcome::Taken(())
            }
            Err(error) => refused(&error),
        }
    }

    /// Whether the server would take a mail from the gate: it answers, over TLS, and lets it in.
    ///
    /// # Errors
    /// What is wrong, as a sentence without a full stop.
    pub async fn look(&self, password: Option<&Secret<String>>) -> Result<(), String> {
        let looked = async {
            let mut connection = self.signed_in(password).await?;
            let _goodbye = connection.quit().await;
            Ok(())
        };
        tokio::time::timeout(PATIENCE, looked).await.unwrap_or_else(|_| Err("the mail server did not answer in time".to_owned()))
    }

    async fn signed_in(&self, password: Option<&Secret<String>>) -> Result<AsyncSmtpConnection, String> {
        let addresses = self.reachable().await?;
        let connected = if self.settings.security == Security::StartTls {
            let stream = TcpStream::connect(addresses.as_slice()).await;
            let stream = stream.map_err(|error| format!("the mail server cannot be reached: {error}"))?;
            AsyncSmtpConnection::connect_with_transport(Box::new(LineByLine(BufReader::new(stream))), &self.hello).await
        } else {
            AsyncSmtpConnection::connect_tokio1(addresses.as_slice(), Some(PATIENCE), &self.hello, self.tls.clone(), None).await
        };
        let mut connection = connected.map_err(|error| format!("the mail server cannot be reached: {}", said(&error)))?;
        if self.settings.security == Security::StartTls
            && let Some(tls) = self.tls.clone()
        {
            connection.starttls(tls, &self.hello).await.map_err(|error| format!("the mail server begins no TLS: {}", said(&error)))?;
        }
        // INVARIANT: neither password nor mail goes over a wire that others read.
        if self.tls.is_some() && !connection.is_encrypted() {
            return Err("the connection to the mail server is not encrypted".to_owned());
        }
        match (&self.settings.user, password) {
            (None, _) => Ok(connection),
            (Some(_), None) => Err("the password for the mail server is not set".to_owned()),
            (Some(user), Some(password)) => {
                let credentials = Credentials::new(user.clone(), password.expose().clone());
                match connection.auth(DEFAULT_MECHANISMS, &credentials).await {
                    Ok(_) => Ok(connection),
                    Err(error) => Err(format!("the mail server does not let `{user}` in: {}", said(&error))),
                }
            }
        }
    }

    /// The server's addresses, but for those inside that are not named.
    async fn reachable(&self) -> Result<Vec<SocketAddr>, String> {
        let (host, port) = (self.settings.host.as_str(), self.settings.port);
        let found = tokio::net::lookup_host((host, port)).await.map_err(|error| format!("`{host}` cannot be looked up: {error}"))?;
        let found: Vec<SocketAddr> = found.collect();
        let open: Vec<SocketAddr> =
            found.iter().copied().filter(|address| may_be_reached(address.ip(), &self.settings.addresses)).collect();
        match (open.is_empty(), found.first()) {
            (false, _) => Ok(open),
            (true, Some(inside)) => Err(format!("`{host}` leads inside, to {}; name that in `addresses` if it is meant", inside.ip())),
            (true, None) => Err(format!("`{host}` has no address")),
        }
    }
}

/// What the server's no to a mail means (RFC 5321 §4.2.1).
fn refused(error: &Error) -> Outcome<()> {
    let why = format!("the mail server refused it: {}", said(error));
    // It wants a better sign-in, or another one: that is not about this mail (RFC 4954 §6).
    let about_the_gate = error.status().is_some_and(|code| matches!(code.to_string().as_str(), "530" | "534" | "535" | "538"));
    if error.is_permanent() && !about_the_gate { Outcome::Never { why } } else { Outcome::later(why) }
}

/// What went wrong, without what could break a line.
fn said(error: &Error) -> String {
    crate::text::short(&error.to_string(), LONGEST_WHY)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn settings(host: &str, security: Security) -> MailSettings {
        MailSettings {
            host: host.into(),
            port: security.port(),
            security,
            user: None,
            from: "gate@example.com".parse().unwrap(),
            alerts: Vec::new(),
            addresses: vec!["127.0.0.1".parse().unwrap()],
        }
    }

    #[test]
    fn plain_text_goes_nowhere_but_to_this_machine() {
        assert!(MailClient::new(&settings("127.0.0.1", Security::Plain), None).is_ok());
        assert!(MailClient::new(&settings("mail.example.com", Security::StartTls), None).is_ok());
        for plain in ["mail.example.com", "localhost", "203.0.113.7"] {
            assert!(matches!(MailClient::new(&settings(plain, Security::Plain), None), Err(ReachError::PlainText(_))), "{plain}");
        }
        assert!(matches!(MailClient::new(&settings("10.0.0.1", Security::Tls), None), Err(ReachError::Inside(_))));
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_called() {
        let mut inside = settings("localhost", Security::Tls);
        inside.addresses.clear();
        let why = MailClient::new(&inside, None).unwrap().look(None).await.unwrap_err();
        assert!(why.contains("leads inside"), "{why}");
    }

    // covers: E2 (mail)
    #[tokio::test]
    async fn what_comes_before_tls_is_no_answer_after_it() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            stream.write_all(b"220 mail.example.com\r\n").await.unwrap();
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            stream.write_all(b"250-mail.example.com\r\n250 STARTTLS\r\n").await.unwrap();
            stream.read_line(&mut line).await.unwrap();
            // What somebody on the way would put after the server's own line.
            stream.write_all(b"220 ready\r\n250-mail.example.com\r\n250 AUTH PLAIN\r\n").await.unwrap();
            let mut rest = Vec::new();
            let _ends = stream.read_to_end(&mut rest).await;
            line
        });
        let settings = MailSettings { port, ..settings("127.0.0.1", Security::StartTls) };
        let why = MailClient::new(&settings, None).unwrap().look(None).await.unwrap_err();
        assert!(why.contains("begins no TLS"), "{why}");
        assert!(server.await.unwrap().ends_with("STARTTLS\r\n"));
    }
}
