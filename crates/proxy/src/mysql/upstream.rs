//! A connection to a server on which the gate signs in and asks, and what it takes to stop a session there.

use std::io;
use std::time::Duration;

use access::reason::Refusal;
use access::secret::Secret;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use wire::mysql::answer::{Answers, Awaited, Step, error};
use wire::mysql::auth::{self, Next};
use wire::mysql::capability::Capabilities;
use wire::mysql::handshake::{Greeting, Login, NONCE, tls_request};
use wire::mysql::{packet, row};

use crate::database::place::{Place, refused, unreachable};
use crate::database::{CatalogRead, LARGEST_CATALOG, Stream};
use crate::ssh::text::{inert, inert_bytes};

/// How long one attempt to stop a session may take.
const STOP: Duration = Duration::from_secs(4);
/// How often it is looked whether a session is gone.
const LOOK: Duration = Duration::from_millis(10);
/// The largest message before the session has begun.
const LARGEST: usize = 256 * 1024;
/// The largest packet the gate says it takes: what servers allow at most.
const MAX_PACKET: u32 = 1 << 30;
/// Ways of signing in that a server may ask for, one after the other.
const SWITCHES: usize = 3;

/// A row as text; `None` is NULL.
pub(crate) type Row = Vec<Option<String>>;

/// Who signs in.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) user: String,
    pub(crate) password: Secret<String>,
}

/// What a session begins with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beginning {
    pub(crate) capabilities: Capabilities,
    pub(crate) charset: u8,
    pub(crate) database: Option<String>,
    pub(crate) attributes: Vec<(String, String)>,
}

/// A connection that the gate has signed in on.
pub(crate) struct Upstream {
    pub(crate) stream: Stream,
    pub(crate) unread: BytesMut,
    pub(crate) capabilities: Capabilities,
    pub(crate) version: String,
    /// Its number there.
    pub(crate) connection: u32,
    /// Its status flags, as last heard.
    pub(crate) status: u16,
    sequence: u8,
    encrypted: bool,
}

/// What it takes to stop a session at its server: it is asked over connections of their own, by the same account.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) place: Place,
    pub(crate) account: Account,
    pub(crate) connection: u32,
}

impl Hold {
    /// The session's number at its server.
    pub(crate) fn connection(&self) -> u32 {
        self.connection
    }

    /// Has the server end what the session does.
    pub(crate) async fn cancel(&self) {
        let asked = async {
            let mut other = self.connect().await?;
            other.ask(&format!("KILL QUERY {}", self.connection)).await
        };
        self.said(timeout(STOP, Box::pin(asked)).await.ok(), "a statement could not be ended at its server");
    }

    /// Has the server end the session, whatever it does, and waits until it is gone there; says whether it is.
    pub(crate) async fn terminate(&self) -> bool {
        let asked = async {
            let mut other = self.connect().await?;
            // It may be gone already.
            let killed = other.ask(&format!("KILL {}", self.connection)).await;
            let look = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {}", self.connection);
            loop {
                let rows = other.ask(&look).await?;
                if rows.first().and_then(|row| row.first()).is_some_and(|count| count.as_deref() == Some("0")) {
                    return Ok(());
                }
                if killed.is_err() {
                    return killed.map(drop);
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let asked = timeout(STOP, Box::pin(asked)).await.ok();
        let gone = matches!(asked, Some(Ok(())));
        self.said(asked, "a session could not be ended at its server");
        gone
    }

    async fn connect(&self) -> Result<Upstream, Refusal> {
        self.place.sign_in(&self.account, &Beginning { charset: row::UTF8MB4 as u8, ..Beginning::default() }).await
    }

    fn said<T>(&self, asked: Option<Result<T, Refusal>>, what: &str) {
        match asked {
            Some(Ok(_)) => {}
            Some(Err(refusal)) => tracing::warn!(%refusal, connection = self.connection, "{what}"),
            None => tracing::warn!(connection = self.connection, "{what} in time"),
        }
    }
}

impl Place {
    /// Connects and signs in.
    pub(crate) async fn sign_in(&self, account: &Account, beginning: &Beginning) -> Result<Upstream, Refusal> {
        let tcp = self.tcp().await.map_err(|e| unreachable(inert(&e.to_string(), 512)))?;
        self.sign_in_over(tcp, account, beginning).await
    }

    /// Signs in over a connection that has just been made.
    pub(crate) async fn sign_in_over(&self, mut tcp: TcpStream, account: &Account, beginning: &Beginning) -> Result<Upstream, Refusal> {
        let (greeting, sequence) = first(&mut tcp).await?;
        let greeting = read_greeting(&greeting)?;
        let mut capabilities = Capabilities::NEEDED
            | Capabilities::PLUGIN_AUTH_LENENC
            | Capabilities::CONNECT_ATTRS
            | Capabilities::LONG_FLAG
            | Capabilities::LONG_PASSWORD
            | (beginning.capabilities & Capabilities::SHARED);
        if beginning.database.is_some() {
            capabilities = capabilities | Capabilities::CONNECT_WITH_DB;
        }
        let missing = capabilities.without(greeting.capabilities);
        if missing.has(Capabilities::DEPRECATE_EOF) || missing.has(Capabilities::SESSION_TRACK) || missing.0 & Capabilities::NEEDED.0 != 0 {
            return Err(unreachable(format!("it is too old for this client: version {}", inert(&greeting.version, 64))));
        }
        capabilities = capabilities & greeting.capabilities;
        let mut sequence = sequence.wrapping_add(1);
        let (stream, encrypted): (Stream, bool) = match &self.tls {
            None => (Box::new(tcp), false),
            Some((config, name)) => {
                if !greeting.capabilities.has(Capabilities::SSL) {
                    return Err(unreachable("it does not speak TLS; turn it on there, or write `tls = \"plain\"` in its resource"));
                }
                let mut out = Vec::new();
                sequence = packet::write(&mut out, sequence, &tls_request(capabilities, MAX_PACKET, beginning.charset));
                tcp.write_all(&out).await.map_err(gone)?;
                let stream = TlsConnector::from(config.clone()).connect(name.clone(), tcp).await;
                (Box::new(stream.map_err(|e| unreachable(inert(&e.to_string(), 512)))?), true)
            }
        };
        if encrypted {
            capabilities = capabilities | Capabilities::SSL;
        }
        let mut upstream = Upstream {
            stream,
            unread: BytesMut::new(),
            capabilities,
            version: greeting.version.clone(),
            connection: greeting.connection,
            status: greeting.status,
            sequence,
            encrypted,
        };
        upstream.authenticate(&greeting, account, beginning).await?;
        Ok(upstream)
    }
}

/// The server's first packet, and not a byte more: what follows may be TLS.
async fn first(tcp: &mut TcpStream) -> Result<(Vec<u8>, u8), Refusal> {
    let mut head = [0; packet::HEAD];
    tcp.read_exact(&mut head).await.map_err(gone)?;
    let head = packet::Head::read(&head).ok_or_else(|| nonsense("a packet has no head"))?;
    if head.length == 0 || head.length > LARGEST {
        return Err(nonsense("its first packet has a length that none has"));
    }
    let mut body = vec![0; head.length];
    tcp.read_exact(&mut body).await.map_err(gone)?;
    Ok((body, head.sequence))
}

fn read_greeting(message: &[u8]) -> Result<Greeting, Refusal> {
    if message.first() == Some(&0xff) {
        return Err(said(message));
    }
    Greeting::read(message).map_err(|e| nonsense(e.0))
}

impl Upstream {
    async fn send(&mut self, message: &[u8]) -> Result<(), Refusal> {
        let mut out = Vec::with_capacity(message.len() + packet::HEAD);
        self.sequence = packet::write(&mut out, self.sequence, message);
        let sent = async {
            self.stream.write_all(&out).await?;
            self.stream.flush().await
        };
        sent.await.map_err(gone)
    }

    async fn message(&mut self, most: usize) -> Result<Vec<u8>, Refusal> {
        loop {
            if let Some((message, last, took)) = packet::message(&self.unread, most).map_err(|e| nonsense(e.0))? {
                let message = message.into_owned();
                let _ = self.unread.split_to(took);
                self.sequence = last.wrapping_add(1);
                return Ok(message);
            }
            match self.stream.read_buf(&mut self.unread).await {
                Ok(0) => return Err(unreachable("it closed the connection")),
                Ok(_) => {}
                Err(error) => return Err(gone(error)),
            }
        }
    }

    async fn authenticate(&mut self, greeting: &Greeting, account: &Account, beginning: &Beginning) -> Result<(), Refusal> {
        let password = account.password.expose().as_bytes();
        let mut plugin = greeting.plugin.clone();
        let mut nonce = greeting.nonce.to_vec();
        // A proposal that is not spoken here is answered in the way every server knows; it says then what it really wants.
        if self.prove(&plugin, password, &nonce).is_err() {
            plugin = auth::NATIVE.to_owned();
        }
        let answer = self.prove(&plugin, password, &nonce)?;
        let login = Login {
            capabilities: self.capabilities,
            max_packet: MAX_PACKET,
            charset: beginning.charset,
            user: account.user.clone(),
            answer,
            database: beginning.database.clone(),
            plugin: plugin.clone(),
            attributes: beginning.attributes.clone(),
        };
        self.send(&login.write()).await?;
        let mut switches = 0;
        loop {
            let message = self.message(LARGEST).await?;
            match Next::read(&message).map_err(|e| refused(e.0))? {
                Next::Ok => {
                    self.status = wire::mysql::answer::ok(&message).map_err(|e| nonsense(e.0))?.status;
                    return Ok(());
                }
                Next::Error(message) => return Err(said(message)),
                Next::Switch { plugin: wanted, data } => {
                    switches += 1;
                    if switches > SWITCHES {
                        return Err(refused("it wants to be signed in to over and over"));
                    }
                    (plugin, nonce) = (wanted.to_owned(), data.to_vec());
                    let answer = self.prove(&plugin, password, &nonce)?;
                    self.send(&answer).await?;
                }
                Next::More(auth::FAST_OK) if plugin == auth::CACHING_SHA2 => {}
                Next::More(auth::FULL) if plugin == auth::CACHING_SHA2 && self.encrypted => self.send(&auth::clear(password)).await?,
                Next::More(auth::FULL) if plugin == auth::CACHING_SHA2 => {
                    return Err(refused("it wants the whole password, and there is no TLS; turn TLS on for its resource"));
                }
                Next::More(_) => return Err(refused("it goes on signing in in a way that is unknown here")),
            }
        }
    }

    fn prove(&self, plugin: &str, password: &[u8], nonce: &[u8]) -> Result<Vec<u8>, Refusal> {
        let twenty = nonce.get(..NONCE).unwrap_or(nonce);
        Ok(match plugin {
            auth::NATIVE => auth::native(password, twenty),
            auth::CACHING_SHA2 => auth::caching_sha2(password, twenty),
            auth::ED25519 => auth::ed25519(password, nonce),
            auth::CLEAR if self.encrypted => auth::clear(password).to_vec(),
            auth::CLEAR => return Err(refused("it wants the password in clear, without TLS")),
            other => {
                let why = format!(
                    "it wants to be signed in to by `{}`, which the gate does not speak; give the account `caching_sha2_password`, `ed25519` or `mysql_native_password`",
                    inert(other, 64)
                );
                return Err(refused(why));
            }
        })
    }

    /// What one statement of the gate's gives.
    pub(crate) async fn ask(&mut self, sql: &str) -> Result<Vec<Row>, Refusal> {
        self.sequence = 0;
        self.send(&[&[3][..], sql.as_bytes()].concat()).await?;
        let mut answers = Answers::new(self.capabilities);
        answers.sent(Awaited::Results { binary: false }).map_err(|e| nonsense(e.0))?;
        let (mut rows, mut columns, mut read) = (Vec::new(), 0, CatalogRead::default());
        while answers.waiting() > 0 {
            let message = self.message(LARGEST_CATALOG).await?;
            let step = answers.received(&message, message.len()).map_err(|e| nonsense(e.0))?;
            read.message(message.len(), if matches!(step, Step::Row { .. }) { columns } else { 0 })?;
            match step {
                Step::Count(count) => columns = usize::try_from(count).unwrap_or(usize::MAX),
                Step::Row { .. } => {
                    let values = row::read_text_row(&message, columns).map_err(|e| nonsense(e.0))?;
                    rows.push(values.into_iter().map(|value| value.map(|text| String::from_utf8_lossy(text).into_owned())).collect());
                }
                Step::Done { done, .. } => self.status = done.status,
                Step::Failed(_) => return Err(said(&message)),
                Step::File(_) => return Err(nonsense("it asks for a file in answer to the gate's own question")),
                _ => {}
            }
        }
        Ok(rows)
    }
}

fn gone(error: io::Error) -> Refusal {
    unreachable(inert(&error.to_string(), 512))
}

fn nonsense(why: &str) -> Refusal {
    unreachable(format!("it does not speak MySQL's protocol: {why}"))
}

/// A server's own no.
fn said(message: &[u8]) -> Refusal {
    match error(message) {
        Ok(failed) => refused(format!("the server says: {} ({})", inert_bytes(failed.message, 512), failed.code)),
        Err(malformed) => nonsense(malformed.0),
    }
}
