//! `tidegate connect`: a port on this machine that a graphical tool connects to; TLS and the token are added here.
//!
//! Anybody on this machine can reach the port, so it wants a password of its own, made for this run alone. It closes when the grant
//! ends.

mod mysql;
mod postgres;

use std::sync::Arc;
use std::time::Duration;

use access::grant::GrantState;
use access::names::Selector;
use access::secret::Secret;
use anyhow::{Context as _, bail};
use api::types::grants::Grant;
use clap::Args;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{Client, Reply};
use crate::output::time::now;
use crate::output::{Tone, note};

use super::Context;
use super::database::{self, Pass, Spoken};
use super::exit::Exit;
use super::way_in::Said;

/// Under which name a tool signs in at the port; any other does as well.
const LOCAL_USER: &str = "tidegate";
/// Bytes that are passed on at once.
pub(super) const BUFFER: usize = 64 * 1024;
/// How often it is looked whether the grant still stands, if nothing says so before.
const LOOK: Duration = Duration::from_secs(15);

/// What to connect to.
#[derive(Debug, Args)]
pub struct Connect {
    /// Where to: `RESOURCE` or `RESOURCE+ROLE`
    #[arg(value_name = "RESOURCE")]
    to: Selector,
    /// The port on this machine; without it any free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    #[command(flatten)]
    said: Said,
}

/// What each connection through the port needs.
pub(super) struct Way {
    host: String,
    port: u16,
    tls: TlsConnector,
    name: ServerName<'static>,
    /// Who signs in at the gate.
    pub(super) user: String,
    /// With what.
    pub(super) token: Secret<String>,
    /// What a tool has to say at this port.
    pub(super) password: Secret<String>,
}

impl Way {
    fn new(pass: &Pass) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        match &pass.ca {
            Some(pem) => roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).context("the gate's root certificate is none")?)?,
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        let name = ServerName::try_from(pass.door.host.clone()).with_context(|| format!("`{}` is no host name", pass.door.host))?;
        let random: u128 = rand::random();
        Ok(Self {
            host: pass.door.host.clone(),
            port: pass.door.port,
            tls: TlsConnector::from(Arc::new(config)),
            name,
            user: pass.user(),
            token: Secret::new(pass.token.expose().clone()),
            password: Secret::new(format!("{random:032x}")),
        })
    }

    pub(super) async fn dial(&self) -> anyhow::Result<TcpStream> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.with_context(|| format!("cannot reach the gate at {}:{}", self.host, self.port))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    pub(super) async fn encrypt(&self, stream: TcpStream) -> anyhow::Result<TlsStream<TcpStream>> {
        self.tls.connect(self.name.clone(), stream).await.context("cannot begin TLS with the gate")
    }

    /// Whether this is the port's password; takes the same time wherever they differ.
    pub(super) fn is_password(&self, given: &[u8]) -> bool {
        let known = self.password.expose().as_bytes();
        given.len() == known.len() && given.iter().zip(known).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }
}

impl Connect {
    /// Does it, until the grant ends or somebody leaves.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        let (spoken, pass) = match database::pass(&client, &self.to, &self.said, None).await? {
            Ok(pass) => pass,
            Err(exit) => return Ok(exit),
        };
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.with_context(|| format!("cannot listen on port {}", self.port))?;
        let port = listener.local_addr()?.port();
        let way = Arc::new(Way::new(&pass)?);
        // With a session or without: the clock of a grant that was made for this starts now, so that its end is known.
        let grant = if pass.grant.state == GrantState::Ready {
            super::grant::activate(&client, pass.grant.id).await?.value
        } else {
            pass.grant.clone()
        };
        say(context, spoken, &way, port, &grant)?;
        let ended = tokio::select! {
            never = serve(listener, spoken, way) => never,
            why = end_of(&client, &grant) => { note(why?); Ok(Exit::Done) },
            stop = crate::serve::stop_asked_for() => stop.map(|()| Exit::Done),
        };
        pass.give_back(&client).await;
        ended
    }
}

fn say(context: &Context, spoken: Spoken, way: &Way, port: u16, grant: &Grant) -> anyhow::Result<()> {
    let password = way.password.expose();
    let (scheme, rest) = match spoken {
        Spoken::Postgres => ("postgresql", "/?sslmode=disable"),
        Spoken::Mysql => ("mysql", "/"),
    };
    let uri = format!("{scheme}://{LOCAL_USER}:{password}@127.0.0.1:{port}{rest}");
    let output = &context.output;
    if output.is_json() {
        output.json(&json!({
            "uri": uri, "host": "127.0.0.1", "port": port, "user": LOCAL_USER, "password": password, "kind": spoken.kind(),
            "grant": grant.id, "ends_at": grant.ends_at,
        }))?;
        return Ok(());
    }
    let until = grant.ends_at.map_or_else(|| "without an end".to_owned(), |end| format!("until {}", output.at(end)));
    output.toned(format!("{} is open {until} on this machine alone. Ctrl-C ends it.", way.user), Tone::Good)?;
    output.facts(&[
        ("connect to", uri),
        ("host", "127.0.0.1".to_owned()),
        ("port", port.to_string()),
        ("user", LOCAL_USER.to_owned()),
        ("password", password.clone()),
        ("TLS", "off: it never leaves this machine in clear".to_owned()),
    ])?;
    Ok(())
}

async fn serve(listener: TcpListener, spoken: Spoken, way: Arc<Way>) -> anyhow::Result<Exit> {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("cannot accept a connection")?;
                stream.set_nodelay(true)?;
                let way = Arc::clone(&way);
                connections.spawn(async move {
                    let ended = match spoken {
                        Spoken::Postgres => postgres::relay(stream, &way).await,
                        Spoken::Mysql => mysql::relay(stream, &way).await,
                    };
                    if let Err(error) = ended {
                        note(format!("{error:#}"));
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Resolves when the grant has ended, and says so.
async fn end_of(client: &Client, grant: &Grant) -> anyhow::Result<String> {
    let mut events = client.events("/events", &[("event", "grant")]).await.ok();
    loop {
        let reply: Reply<Grant> = client.get(&format!("/grants/{}", grant.id), &()).await?;
        let ended = reply.value.state == GrantState::Ended || reply.value.ends_at.is_some_and(|end| end <= now());
        if ended {
            let why = reply.value.end.map_or_else(|| "its time is up".to_owned(), |end| format!("it is {end}"));
            return Ok(format!("{} has ended ({why}); the port is closed.", grant.id));
        }
        let left = reply.value.ends_at.and_then(|end| Duration::try_from(now().until(end).ok()?).ok()).unwrap_or(LOOK);
        let patience = tokio::time::sleep(left.min(LOOK));
        match &mut events {
            Some(stream) => tokio::select! {
                event = stream.next() => if !matches!(event, Ok(Some(_))) { events = None; },
                () = patience => {}
            },
            None => patience.await,
        }
    }
}

/// What comes of somebody at the port who does not know its password.
pub(super) fn stranger<T>() -> anyhow::Result<T> {
    bail!("somebody connected to the port without its password, and was turned away")
}
