//! The other side: dialling a server with what a permit gives, knowing that it is the right one, and making it stop.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use access::reason::{Reason, Refusal};
use access::secret::Secret;
use access::session::{DatabaseCredential, DatabaseDial};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use wire::postgres::auth::{end_point, md5};
use wire::postgres::back::{self, Authentication};
use wire::postgres::scram::{Binding, Keys, PLAIN, PLUS, Proven, Started};
use wire::postgres::startup::{CancelKey, ssl_request, startup_packet};
use wire::postgres::{Side, front};

use super::Stream;
use super::door::boxed;
use super::greeting::ALPN;
use super::judge::Row;
use super::keys::{At, Made, kept};
use super::messages::{self, Most};
use crate::database::CatalogRead;
use crate::database::place::{self, Place, reach, refused, unreachable};
use crate::ssh::text::inert_bytes;

/// How long reaching and convincing a server may take.
const DIAL: Duration = Duration::from_secs(15);
/// How long a cancel, or a termination, may take.
const STOP: Duration = Duration::from_secs(4);
/// The largest message before the session has begun.
const LARGEST: Most = Most(256 * 1024, "a message at the start is too large");

/// A server that the gate has signed in to.
pub(crate) struct Target {
    pub(crate) stream: Stream,
    pub(crate) unread: BytesMut,
    pub(crate) hold: Arc<Hold>,
    /// What it said about itself.
    pub(crate) parameters: Vec<(Vec<u8>, Vec<u8>)>,
    /// What it answered to the gate's own question.
    pub(crate) rows: Vec<Row>,
}

/// What is wanted of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// The database, if the client names one.
    pub(crate) database: Option<&'a str>,
    /// What the session starts with.
    pub(crate) settings: &'a [(&'a str, &'a str)],
    /// A statement that the gate asks first.
    pub(crate) query: Option<&'a str>,
}

/// What it takes to stop a session at its server: it is asked over connections of their own.
#[derive(Debug)]
pub(crate) struct Hold {
    place: Place,
    account: Account,
    key: Option<CancelKey>,
}

#[derive(Debug)]
struct Account {
    user: String,
    password: Secret<String>,
    database: String,
}

/// Dials, and signs in.
pub(crate) async fn dial(dial: DatabaseDial, call: Call<'_>) -> Result<Target, Refusal> {
    match timeout(DIAL, Box::pin(dial_slowly(dial, call))).await {
        Ok(dialled) => dialled,
        Err(_) => Err(unreachable("it did not answer in time")),
    }
}

async fn dial_slowly(dial: DatabaseDial, call: Call<'_>) -> Result<Target, Refusal> {
    let database = place::database(&dial, call.database)?;
    let database = database.ok_or_else(|| Refusal::because(Reason::Invalid, "name the database, as in `dbname=orders`"))?;
    let (place, stream) = reach(&dial, vec![ALPN.to_vec()], Place::connect).await?;
    let DatabaseCredential::Account { user, password } = dial.credential;
    let account = Account { user, password, database };
    let mut login = Login::new(&place, stream, &account);
    login.sign_in(&account, call.settings).await?;
    let rows = match call.query {
        Some(query) => login.read(query).await?,
        None => Vec::new(),
    };
    let Login { stream, unread, parameters, key, .. } = login;
    Ok(Target { stream, unread, parameters, rows, hold: Arc::new(Hold { place, account, key }) })
}

impl Place {
    /// A connection, and what its certificate can be bound by.
    async fn connect(&self) -> io::Result<(Stream, Option<Vec<u8>>)> {
        let mut stream = self.tcp().await?;
        let Some((config, name)) = &self.tls else { return Ok((boxed(stream), None)) };
        stream.write_all(&ssl_request()).await?;
        // One byte and no more: what follows is encrypted or a lie.
        let mut answer = [0];
        stream.read_exact(&mut answer).await?;
        if &answer != b"S" {
            return Err(io::Error::other("it does not speak TLS; turn on `ssl` there, or write `tls = \"plain\"` in its resource"));
        }
        let stream = TlsConnector::from(config.clone()).connect(name.clone(), stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let binding = certificate.and_then(|certificate| end_point(certificate));
        Ok((boxed(stream), binding))
    }
}

impl Hold {
    /// Has the server cancel what the session does.
    pub(crate) async fn cancel(&self) {
        let Some(key) = &self.key else { return };
        let asked = async {
            let (mut stream, _) = self.place.connect().await?;
            stream.write_all(&key.request()).await?;
            stream.flush().await?;
            // The server closes when it has passed it on.
            stream.read_to_end(&mut Vec::new()).await
        };
        if let Ok(Err(error)) = timeout(STOP, asked).await {
            tracing::debug!(%error, "a cancel request did not reach its server");
        }
    }

    /// Has the server end the session's process, whatever it does; by the same account, over another connection.
    pub(crate) async fn terminate(&self) {
        let Some(key) = &self.key else { return };
        let asked = async {
            let connected = self.place.connect().await.map_err(|e| unreachable(e.to_string()))?;
            let mut login = Login::new(&self.place, connected, &self.account);
            login.sign_in(&self.account, &[("application_name", "tidegate: ending a session")]).await?;
            // An account that acts as another role from the start may end what is its own, and not that one's.
            let end = format!("SET ROLE NONE; SELECT pg_catalog.pg_terminate_backend({})", key.pid.cast_signed());
            login.send(&front::query_message(&end)).await?;
            loop {
                match login.message().await? {
                    (b'Z', _) => return login.send(&front::message(b'X', &[])).await,
                    (b'E', body) => return Err(said(&body)),
                    _ => {}
                }
            }
        };
        match timeout(STOP, Box::pin(asked)).await {
            Ok(Err(refusal)) => tracing::warn!(%refusal, "a session's process could not be ended at its server"),
            Err(_) => tracing::warn!("a session's process could not be ended at its server in time"),
            Ok(Ok(())) => {}
        }
    }
}

/// A connection on which the gate signs in.
struct Login {
    stream: Stream,
    unread: BytesMut,
    binding: Option<Vec<u8>>,
    encrypted: bool,
    at: At,
    parameters: Vec<(Vec<u8>, Vec<u8>)>,
    key: Option<CancelKey>,
}

/// What the gate has answered to SCRAM's challenge: the server is still to show that it knows the password too.
struct Answered {
    proven: Proven,
    /// By these keys.
    keys: Keys,
    made: Made,
}

impl Login {
    fn new(place: &Place, (stream, binding): (Stream, Option<Vec<u8>>), account: &Account) -> Self {
        Self {
            stream,
            unread: BytesMut::new(),
            binding,
            encrypted: place.tls.is_some(),
            at: (place.address, account.user.clone()),
            parameters: Vec::new(),
            key: None,
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|e| unreachable(e.to_string()))
    }

    async fn message(&mut self) -> Result<(u8, BytesMut), Refusal> {
        messages::next(&mut self.stream, &mut self.unread, Side::Back, LARGEST).await.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => unreachable(format!("it does not speak PostgreSQL: {error}")),
            io::ErrorKind::UnexpectedEof => unreachable("it closed the connection"),
            _ => unreachable(error.to_string()),
        })
    }

    /// Signs in and waits until the server is ready.
    async fn sign_in(&mut self, account: &Account, settings: &[(&str, &str)]) -> Result<(), Refusal> {
        let who = [("user", account.user.as_str()), ("database", account.database.as_str())];
        self.send(&startup_packet(who.into_iter().chain(settings.iter().copied()))).await?;
        self.authenticate(account).await?;
        let mut told = 0;
        loop {
            let (kind, body) = self.message().await?;
            match kind {
                b'S' => {
                    told += 5 + body.len();
                    if told > LARGEST.0 {
                        return Err(unreachable("it says more of itself than fits before a session"));
                    }
                    let (name, value) = back::parameter(&body).map_err(broken)?;
                    self.parameters.push((name.to_vec(), value.to_vec()));
                }
                b'K' => self.key = Some(back::key_data(&body).map_err(broken)?),
                b'N' => {}
                b'Z' => return Ok(()),
                b'E' => return Err(said(&body)),
                _ => return Err(unreachable("it does not speak PostgreSQL: an unexpected message at the start")),
            }
        }
    }

    /// What one statement of the gate's gives.
    async fn read(&mut self, query: &str) -> Result<Vec<Row>, Refusal> {
        self.send(&front::query_message(query)).await?;
        let (mut rows, mut columns, mut read) = (Vec::new(), 0, CatalogRead::default());
        loop {
            let (kind, body) = self.message().await?;
            match kind {
                b'T' => columns = back::row_description(&body).map_err(broken)?.len(),
                b'D' => {
                    read.message(body.len(), columns)?;
                    let values = back::data_row(&body, columns).map_err(broken)?;
                    rows.push(values.into_iter().map(|value| value.map(|text| String::from_utf8_lossy(text).into_owned())).collect());
                }
                b'E' => return Err(said(&body)),
                b'Z' => return Ok(rows),
                b'C' | b'N' | b'S' | b'A' => {}
                _ => return Err(unreachable("it does not speak PostgreSQL: an unexpected answer to the gate's own question")),
            }
        }
    }

    async fn authenticate(&mut self, account: &Account) -> Result<(), Refusal> {
        let mut answered: Option<Answered> = None;
        let mut owes_proof = false;
        loop {
            let (kind, body) = self.message().await?;
            match kind {
                b'E' => {
                    if owes_proof {
                        kept().forget(&self.at);
                    }
                    return Err(said(&body));
                }
                b'N' => continue,
                b'R' => {}
                _ => return Err(unreachable("it does not speak PostgreSQL: an unexpected message at sign-in")),
            }
            match back::authentication(&body).map_err(broken)? {
                Authentication::Ok if owes_proof => return Err(refused("it did not prove that it knows the password")),
                Authentication::Ok => return Ok(()),
                Authentication::Cleartext if !self.encrypted => return Err(refused("it wants the password in clear, without TLS")),
                Authentication::Cleartext => self.answer(account.password.expose()).await?,
                Authentication::Md5(salt) => self.answer(&md5(&account.user, account.password.expose(), salt)).await?,
                Authentication::Sasl(offered) => {
                    if owes_proof {
                        return Err(refused("it starts SCRAM twice"));
                    }
                    owes_proof = true;
                    answered = Some(self.scram(&offered.iter().map(|m| (*m).to_owned()).collect::<Vec<_>>(), account).await?);
                }
                Authentication::SaslFinal(last) => {
                    let Answered { proven, keys, made } = answered.take().ok_or_else(|| refused("it ends SCRAM before it began"))?;
                    proven.check(last).map_err(|e| refused(e.to_string()))?;
                    kept().keep(self.at.clone(), made, keys, Instant::now());
                    owes_proof = false;
                }
                Authentication::SaslContinue(_) | Authentication::Other(_) => {
                    return Err(refused("it wants a way of signing in that the gate does not speak; set `scram-sha-256` in `pg_hba.conf`"));
                }
            }
        }
    }

    async fn answer(&mut self, password: &str) -> Result<(), Refusal> {
        let mut body = password.as_bytes().to_vec();
        body.push(0);
        self.send(&front::message(b'p', &body)).await
    }

    /// SCRAM, bound to the server's certificate where both sides can.
    async fn scram(&mut self, offered: &[String], account: &Account) -> Result<Answered, Refusal> {
        let offers = |mechanism: &str| offered.iter().any(|o| o == mechanism);
        let binding = match self.binding.take() {
            Some(data) if offers(PLUS) => Binding::EndPoint(data),
            Some(_) => Binding::NotOffered,
            None => Binding::None,
        };
        if !offers(binding.mechanism()) {
            return Err(refused(format!("it offers no `{PLAIN}`")));
        }
        let mechanism = binding.mechanism();
        let started = Started::new(binding, nonce());
        let first = started.first();
        let mut body = mechanism.as_bytes().to_vec();
        body.push(0);
        body.extend_from_slice(&(first.len() as u32).to_be_bytes());
        body.extend_from_slice(first.as_bytes());
        self.send(&front::message(b'p', &body)).await?;
        let (kind, body) = self.message().await?;
        if kind == b'E' {
            return Err(said(&body));
        }
        let Authentication::SaslContinue(server_first) = back::authentication(&body).map_err(broken)? else {
            return Err(refused("it does not go on with SCRAM"));
        };
        let challenged = started.challenged(server_first).map_err(|e| refused(e.to_string()))?;
        let (made, found) = {
            let mut kept = kept();
            let made = kept.made_of(account.password.expose(), challenged.salted_with());
            (made, kept.find(&self.at, made, Instant::now()))
        };
        let (challenged, keys) = match found {
            Some(keys) => (challenged, keys),
            None => {
                let password = account.password.clone();
                // It computes for milliseconds, or as long as the server likes up to a bound.
                let computing = tokio::task::spawn_blocking(move || {
                    let keys = challenged.keys(password.expose());
                    (challenged, keys)
                });
                computing.await.map_err(|_| Refusal::of(Reason::Internal))?
            }
        };
        let (proven, answer) = challenged.answer(&keys);
        self.send(&front::message(b'p', answer.as_bytes())).await?;
        Ok(Answered { proven, keys, made })
    }
}

/// 24 printable characters out of 144 random bits.
fn nonce() -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    rand::random::<[u8; 24]>().iter().map(|byte| char::from(LETTERS[usize::from(byte & 63)])).collect()
}

fn broken(error: wire::Malformed) -> Refusal {
    unreachable(format!("it does not speak PostgreSQL: {error}"))
}

/// A server's own no.
fn said(body: &[u8]) -> Refusal {
    let field = |code| back::error_field(body, code).ok().flatten().map(|text| inert_bytes(text, 512)).unwrap_or_default();
    refused(format!("the server says: {} ({})", field(b'M'), field(b'C')))
}
