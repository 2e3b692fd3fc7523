//! The listener: admits connections within limits, and keeps each one's faults to itself.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use access::ids::PrincipalId;
use access::names::{ResourceName, Selector};
use access::reason::{Reason, Refusal};
use futures::FutureExt;
use rustls::ServerConfig;
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use wire::mysql::capability::Capabilities;
use wire::mysql::handshake::Reply;

use super::ask::{self, Way};
use super::client::Client;
use super::greeting::{self, Met, Shown};
use super::kill::{Kills, Number};
use super::session;
use super::wanted::Wanted;
use crate::console::Known;
use crate::gatekeeper::{Gatekeeper, Knock, Offer, Proof};
use crate::guests::Guests;
use crate::strangers::{Stranger, Strangers};
use crate::threads::RelayThreads;

pub use crate::postgres::DoorLimits;

/// How long a wrong password is answered with silence.
const REJECTION: Duration = Duration::from_millis(300);
/// How long somebody who waited in vain may take to ask something that this can be said to.
const NEXT: Duration = Duration::from_secs(60);
/// Bytes on their way between a console and the door.
const IN_PROCESS: usize = 64 * 1024;
/// The longest version of a server's that is shown to clients, in bytes.
const LONGEST_VERSION: usize = 80;
/// What a gate that has not seen a server yet says it is.
const PLAUSIBLE: &str = "5.5.5-10.11.0-MariaDB";

/// The MySQL door of the gate.
pub struct MysqlDoor {
    pub(crate) gate: Arc<dyn Gatekeeper>,
    pub(crate) kills: Kills,
    limits: DoorLimits,
    tls: TlsAcceptor,
    strangers: Strangers,
    guests: Guests,
    /// The version of the server that was reached last. Clients are greeted with it, for they name where they want to only afterwards.
    version: Mutex<Arc<str>>,
}

impl MysqlDoor {
    /// A door that shows this certificate.
    #[must_use]
    pub fn new(gate: Arc<dyn Gatekeeper>, mut tls: ServerConfig, limits: DoorLimits) -> Arc<Self> {
        tls.alpn_protocols = Vec::new();
        // Nothing is taken up again: each connection is signed in by itself.
        tls.send_tls13_tickets = 0;
        Arc::new(Self {
            gate,
            kills: Kills::default(),
            strangers: Strangers::new(limits.strangers, limits.strangers_per_address),
            guests: Guests::new(limits.per_person),
            tls: TlsAcceptor::from(Arc::new(tls)),
            limits,
            version: Mutex::new(PLAUSIBLE.into()),
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

    /// A server of this version was reached.
    pub(crate) fn seen(&self, version: &str) {
        // INVARIANT: what one server says reaches the clients of others only if it is a version and nothing else.
        if !is_version(version) {
            return;
        }
        let mut known = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        if **known != *version {
            *known = version.into();
        }
    }

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
        let number = self.kills.number();
        let shown_out = stranger.shown_out();
        let signed_in = tokio::select! {
            signed_in = tokio::time::timeout(self.limits.grace, self.sign_in(stream, from, &number)) => signed_in.ok().flatten(),
            () = shown_out.cancelled() => None,
        };
        drop(stranger);
        let Some((client, knock, wanted)) = signed_in else { return };
        self.receive(client, knock, wanted, &number).await;
    }

    /// Meets somebody whom this process knows already: a console. Gives their end of the connection, which no byte leaves the process on,
    /// and what stops a statement there.
    ///
    /// # Errors
    /// If there is no place for one more.
    pub(crate) fn receive_known(self: Arc<Self>, known: Known, to: &Selector) -> Result<(DuplexStream, Stops), Refusal> {
        let place = self.strangers.admit(known.from.ip(), tokio::time::Instant::now());
        let place = place.ok_or_else(|| Refusal::because(Reason::TooMany, "too many connections that have not signed in"))?;
        let (theirs, ours) = tokio::io::duplex(IN_PROCESS);
        let number = self.kills.number();
        let stops = Stops { kills: self.kills.clone(), number: number.get(), person: known.who.id(), resource: to.resource.clone() };
        let from = known.from;
        let attending = async move {
            let met = tokio::time::timeout(self.limits.grace, meet(ours, known)).await;
            drop(place);
            if let Ok(Some((client, knock, wanted))) = met {
                self.receive(client, knock, wanted, &number).await;
            }
        };
        tokio::spawn(async move {
            if AssertUnwindSafe(Box::pin(attending)).catch_unwind().await.is_err() {
                tracing::error!(%from, "a connection ended by a fault of the gate");
            }
        });
        Ok((theirs, stops))
    }

    /// From the first byte to somebody who is known; `None` if it came to nothing, which the client has been told.
    async fn sign_in(&self, stream: TcpStream, from: SocketAddr, number: &Number) -> Option<(Client, Knock, Wanted)> {
        let version = self.version.lock().unwrap_or_else(PoisonError::into_inner).to_string();
        let mut met = match greeting::greet(stream, &self.tls, Shown { version, connection: number.get() }).await {
            Ok(met) => met,
            Err(error) => {
                tracing::debug!(%from, %error, "no MySQL");
                return None;
            }
        };
        let wanted = match Wanted::of(&met.login) {
            Ok(wanted) => wanted,
            Err(refusal) => {
                met.client.refuse(&refusal).await;
                return None;
            }
        };
        let proof = match met.certificate.take() {
            // Somebody else's certificate says nothing here, for or against.
            Some(der) if self.gate.is_known(Offer::ClientCertificate(&der)).await => {
                met.without_password().await.map(|()| Proof::ClientCertificate { der })
            }
            _ => met.password().await.map(Proof::Token),
        };
        let proof = match proof {
            Ok(proof) => proof,
            Err(error) => {
                tracing::debug!(%from, %error, "left while signing in");
                met.client.refuse_misread(&error).await;
                return None;
            }
        };
        let Met { mut client, .. } = met;
        let by_token = matches!(proof, Proof::Token(_));
        match self.gate.identify(proof, from).await {
            Ok(who) => Some((client, wanted.knock(who, from), wanted)),
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
                client.refuse(&told).await;
                None
            }
        }
    }

    /// Somebody who is known: knocks, asks, waits, and runs the session.
    async fn receive(self: Arc<Self>, mut client: Client, knock: Knock, wanted: Wanted, number: &Number) {
        let _place = match self.guests.admit(knock.who.id()) {
            Ok(place) => place,
            Err(refusal) => return client.refuse(&refusal).await,
        };
        match ask::enter(&self, &mut client, &knock, &wanted).await {
            Way::In { opening, entry } => session::run(&self, client, *opening, (knock, wanted), number, entry).await,
            Way::Refused(refusal) => client.refuse(&refusal).await,
            Way::RefusedNext(refusal) => {
                if let Ok(Ok(_)) = tokio::time::timeout(NEXT, client.message()).await {
                    client.refuse(&refusal).await;
                }
            }
            Way::Gone => {}
        }
    }
}

/// What somebody who is known wants; `None` if it came to nothing, which they have been told.
async fn meet(stream: DuplexStream, known: Known) -> Option<(Client, Knock, Wanted)> {
    let mut client = Client::new(Box::new(stream), 0);
    let Ok(Reply::Login(login)) = Reply::read(&client.message().await.ok()?) else { return None };
    client.capabilities = login.capabilities & Capabilities::RELAYED;
    match Wanted::of(&login) {
        Ok(wanted) => Some((client, wanted.knock(known.who, known.from), wanted)),
        Err(refusal) => {
            client.refuse(&refusal).await;
            None
        }
    }
}

/// Stops what a console runs, and nothing else.
#[derive(Debug)]
pub(crate) struct Stops {
    kills: Kills,
    number: u32,
    person: PrincipalId,
    resource: ResourceName,
}

impl Stops {
    /// Has the server end the statement that runs, if there is a session.
    pub(crate) async fn stop(&self) {
        if let Some(hold) = self.kills.find(self.number.into(), self.person, &self.resource) {
            hold.cancel().await;
        }
    }
}

/// Whether a text is a version and no more, as in `5.5.5-10.6.12-MariaDB-1:10.6.12+maria~ubu2204-log`.
fn is_version(text: &str) -> bool {
    text.len() <= LONGEST_VERSION && text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: E6 (mysql), E9 (mysql)
    #[test]
    fn what_a_server_calls_itself_is_handed_to_others_only_if_it_is_a_version() {
        for version in [PLAUSIBLE, "8.0.36", "8.0.mysql_aurora.3.05.2", "5.5.5-10.6.12-MariaDB-1:10.6.12+maria~ubu2204-log", "9.7.4-2"] {
            assert!(is_version(version), "{version}");
        }
        let long = format!("8.0.{}", "1".repeat(LONGEST_VERSION));
        for other in ["", "MariaDB", "8.0.36\x1b[31m", "8.0.36\nlog in at", "8.0.36 or so", "8.0.é", &long] {
            assert!(!is_version(other), "{other}");
        }
    }
}
