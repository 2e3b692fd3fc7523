//! The listener: admits connections within limits, and keeps each one's faults to itself.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use access::reason::{Reason, Refusal};
use futures::FutureExt;
use rustls::ServerConfig;
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use wire::postgres::startup::Startup;

use super::ask::{self, Way};
use super::cancel::Cancels;
use super::client::Client;
use super::greeting::{self, Begun, Greeted};
use super::judge::MakeJudge;
use super::parameters::Wanted;
use super::{Stream, session};
use crate::console::Known;
use crate::database::misread;
use crate::gatekeeper::{Gatekeeper, Knock, Offer, Proof};
use crate::guests::{Guests, PER_PERSON};
use crate::strangers::{Stranger, Strangers};
use crate::threads::RelayThreads;

/// How long a wrong password is answered with silence.
const REJECTION: Duration = Duration::from_millis(300);

/// Bytes on their way between a console and the door.
const IN_PROCESS: usize = 64 * 1024;

/// How much strangers may take of the gate.
#[derive(Debug, Clone)]
pub struct DoorLimits {
    /// Connections that have not signed in yet, all together.
    pub strangers: usize,
    /// The same from one address.
    pub strangers_per_address: usize,
    /// Connections that one person may have.
    pub per_person: usize,
    /// How long signing in may take.
    pub grace: Duration,
}

impl Default for DoorLimits {
    fn default() -> Self {
        Self { strangers: 512, strangers_per_address: 128, per_person: PER_PERSON, grace: Duration::from_secs(30) }
    }
}

/// The PostgreSQL door of the gate.
pub struct PostgresDoor {
    pub(crate) gate: Arc<dyn Gatekeeper>,
    pub(crate) judge: MakeJudge,
    pub(crate) cancels: Cancels,
    limits: DoorLimits,
    tls: TlsAcceptor,
    strangers: Strangers,
    guests: Guests,
}

impl PostgresDoor {
    /// A door that shows this certificate, and has statements judged by what `judge` makes for each session.
    #[must_use]
    pub fn new(gate: Arc<dyn Gatekeeper>, mut tls: ServerConfig, judge: MakeJudge, limits: DoorLimits) -> Arc<Self> {
        tls.alpn_protocols = vec![greeting::ALPN.to_vec()];
        // Nothing is taken up again: each connection is signed in by itself.
        tls.send_tls13_tickets = 0;
        Arc::new(Self {
            gate,
            judge,
            cancels: Cancels::default(),
            strangers: Strangers::new(limits.strangers, limits.strangers_per_address),
            guests: Guests::new(limits.per_person),
            tls: TlsAcceptor::from(Arc::new(tls)),
            limits,
        })
    }

    /// Admits connections until `stop`, each on one of the threads. Sessions that live then are ended by the gate, through their watches.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, threads: RelayThreads, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => self.clone().admit(&threads, stream, from),
                Err(error) => {
                    // Out of descriptors, most likely: those that are open must get the chance to close.
                    tracing::warn!(%error, "cannot accept a connection; check the limit of open files");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Starts one connection, or drops it when there are too many strangers already and none of them has to go for it.
    fn admit(self: Arc<Self>, threads: &RelayThreads, stream: TcpStream, from: SocketAddr) {
        let Some(stranger) = self.strangers.admit(from.ip(), tokio::time::Instant::now()) else {
            tracing::debug!(%from, "too many connections that have not signed in");
            return;
        };
        let attended = threads.run(stream, move |stream| async move {
            // A fault in one session ends that session.
            if AssertUnwindSafe(Box::pin(self.attend(stream, from, stranger))).catch_unwind().await.is_err() {
                tracing::error!(%from, "a connection ended by a fault of the gate");
            }
        });
        if let Err(error) = attended {
            tracing::warn!(%error, %from, "a connection could not be taken up; check the limit of open files");
        }
    }

    async fn attend(self: Arc<Self>, stream: TcpStream, from: SocketAddr, stranger: Stranger) {
        let _ = stream.set_nodelay(true);
        let shown_out = stranger.shown_out();
        let signed_in = tokio::select! {
            signed_in = tokio::time::timeout(self.limits.grace, self.sign_in(stream, from)) => signed_in,
            () = shown_out.cancelled() => return tracing::debug!(%from, "had to go for somebody else before signing in"),
        };
        drop(stranger);
        let Ok(Some((client, knock, wanted))) = signed_in else { return };
        self.receive(client, knock, wanted).await;
    }

    /// Meets somebody whom this process knows already: a console. Gives their end of the connection, which no byte leaves the process on.
    ///
    /// # Errors
    /// If there is no place for one more.
    pub(crate) fn receive_known(self: &Arc<Self>, known: Known) -> Result<DuplexStream, Refusal> {
        let place = self.strangers.admit(known.from.ip(), tokio::time::Instant::now());
        let place = place.ok_or_else(|| Refusal::because(Reason::TooMany, "too many connections that have not signed in"))?;
        let (theirs, ours) = tokio::io::duplex(IN_PROCESS);
        let (door, from) = (self.clone(), known.from);
        let attending = async move {
            let met = tokio::time::timeout(door.limits.grace, door.meet(ours, known)).await;
            drop(place);
            if let Ok(Some((client, knock, wanted))) = met {
                door.receive(client, knock, wanted).await;
            }
        };
        tokio::spawn(async move {
            if AssertUnwindSafe(Box::pin(attending)).catch_unwind().await.is_err() {
                tracing::error!(%from, "a connection ended by a fault of the gate");
            }
        });
        Ok(theirs)
    }

    /// What somebody who is known wants; `None` if it came to nothing, which they have been told.
    async fn meet(&self, stream: DuplexStream, known: Known) -> Option<(Client, Knock, Wanted)> {
        let (stream, startup) = greeting::greet_in_process(stream).await.ok()?;
        let mut client = Client::new(stream);
        client.speaks(startup.spoken());
        let wanted = match Wanted::of(&startup) {
            Ok(wanted) => wanted,
            Err(refusal) => {
                client.refuse(&refusal).await;
                return None;
            }
        };
        client.write(|w| w.authentication_ok()).await.ok()?;
        Some((client, wanted.knock(known.who, known.from), wanted))
    }

    /// From the first byte to somebody who is known; `None` if it came to nothing, which the client has been told.
    async fn sign_in(&self, stream: TcpStream, from: SocketAddr) -> Option<(Client, Knock, Wanted)> {
        let Begun { stream, startup, certificate } = match greeting::greet(stream, &self.tls).await {
            Ok(Greeted::Starts(begun)) => begun,
            Ok(Greeted::Cancels(key, mut stream)) => {
                self.cancels.cancel(&key).await;
                // In order, as TLS has it: some clients take anything else for a failure.
                let _ = tokio::time::timeout(greeting::FAREWELL, stream.shutdown()).await;
                return None;
            }
            Err(error) => {
                tracing::debug!(%from, %error, "no PostgreSQL");
                return None;
            }
        };
        let mut client = Client::new(stream);
        match self.identify(&mut client, &startup, certificate, from).await {
            Ok((knock, wanted)) => Some((client, knock, wanted)),
            Err(NotIn::Gone) => None,
            Err(NotIn::Misread(refusal)) => {
                client.refuse_as(&refusal, greeting::PROTOCOL_VIOLATION).await;
                None
            }
            Err(NotIn::Refused(refusal)) => {
                client.refuse(&refusal).await;
                None
            }
        }
    }

    async fn identify(
        &self,
        client: &mut Client,
        startup: &Startup,
        certificate: Option<Vec<u8>>,
        from: SocketAddr,
    ) -> Result<(Knock, Wanted), NotIn> {
        client.speaks(startup.spoken());
        if let Some((version, unknown)) = startup.negotiate() {
            client.write(|w| w.negotiate(version, &unknown)).await?;
        }
        let wanted = Wanted::of(startup)?;
        let proof = match certificate {
            // Somebody else's certificate says nothing here, for or against.
            Some(der) if self.gate.is_known(Offer::ClientCertificate(&der)).await => Proof::ClientCertificate { der },
            _ => {
                client.write(|w| w.ask_password()).await?;
                Proof::Token(client.password().await?)
            }
        };
        let by_token = matches!(proof, Proof::Token(_));
        match self.gate.identify(proof, from).await {
            Ok(who) => {
                client.write(|w| w.authentication_ok()).await?;
                Ok((wanted.knock(who, from), wanted))
            }
            Err(refusal) => {
                tracing::debug!(%from, %refusal, "not signed in");
                tokio::time::sleep(REJECTION).await;
                // Why exactly is for the log; what to do about it is for everybody.
                let told = match refusal.reason {
                    Reason::StoreUnavailable | Reason::Disabled => refusal,
                    // Whoever showed it holds its key, and is told what to do.
                    _ if !by_token => refusal,
                    _ => Refusal::because(Reason::NotSignedIn, "the password is a token of yours, and this is none that is valid"),
                };
                Err(NotIn::Refused(told))
            }
        }
    }

    /// Somebody who is known: knocks, asks, waits, and runs the session.
    async fn receive(self: Arc<Self>, mut client: Client, knock: Knock, wanted: Wanted) {
        let _place = match self.guests.admit(knock.who.id()) {
            Ok(place) => place,
            Err(refusal) => return client.refuse(&refusal).await,
        };
        match ask::enter(&self, &mut client, &knock, &wanted).await {
            Way::In { opening, in_lobby } => session::run(&self, client, *opening, &knock, &wanted, in_lobby).await,
            Way::Refused(refusal) => client.refuse(&refusal).await,
            Way::Gone => {}
        }
    }
}

/// Why somebody did not get in.
pub(crate) enum NotIn {
    /// They left.
    Gone,
    /// What they sent is no message; to be told.
    Misread(Refusal),
    /// Refused; to be told.
    Refused(Refusal),
}

impl From<std::io::Error> for NotIn {
    fn from(error: std::io::Error) -> Self {
        misread(&error).map_or(Self::Gone, Self::Misread)
    }
}

impl From<Refusal> for NotIn {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Boxed, so that a connection's task is small.
pub(crate) fn boxed(stream: impl super::Duplex + 'static) -> Stream {
    Box::new(stream)
}
