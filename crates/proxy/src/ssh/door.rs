//! The listener: admits connections within limits, and keeps each one's faults to itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use access::identity::VerifiedIdentity;
use access::reason::{Reason, Refusal};
use futures::FutureExt;
use russh::{MethodKind, MethodSet, SshId, server};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::algorithms;
use super::greeting;
use super::handler::{Refused, Visitor};
use super::host_keys::HostKeys;
use super::looks::Looks;
use super::session::lock;
use super::stage::Sessions;
use super::turns::Turns;
use super::{text, wire};
use crate::console::Known;
use crate::gatekeeper::Gatekeeper;
use crate::guests::{Guests, PER_PERSON};
use crate::strangers::{Stranger, Strangers};

/// Bytes a peer may send on a channel before what it sent has been forwarded.
pub(crate) const WINDOW: u32 = 2 * 1024 * 1024;
/// The largest data packet.
pub(crate) const PACKET: u32 = 32 * 1024;
/// Messages of one channel that wait for its relay, which takes them out as they come. What it cannot pass on it keeps, see [`super::backlog`].
pub(crate) const QUEUE: usize = 4096;

/// How much strangers may take of the gate.
#[derive(Debug, Clone)]
pub struct DoorLimits {
    /// Connections that have not signed in yet, all together.
    pub strangers: usize,
    /// The same from one IPv4 address or one IPv6 network of 64 bits. Who finds all places taken gets that of somebody who has lingered for
    /// three seconds, or of one from where most are.
    pub strangers_per_address: usize,
    /// Connections that one person may have.
    pub per_person: usize,
    /// How long a question in a terminal may stay unanswered.
    pub answers: Duration,
    /// How long somebody may take to say in a browser who stands before the door.
    pub in_browser: Duration,
    /// How long signing in may take otherwise, and then each channel to say what is to run on it.
    pub grace: Duration,
    /// Attempts at signing in on one connection.
    pub attempts: usize,
    /// Channels open at once on one connection.
    pub channels: u32,
    /// Silence after which a peer is asked whether it is still there; after three questions without answer it is not.
    pub keepalive: Duration,
}

impl Default for DoorLimits {
    fn default() -> Self {
        Self {
            strangers: 512,
            strangers_per_address: 128,
            per_person: PER_PERSON,
            answers: Duration::from_secs(15 * 60),
            in_browser: Duration::from_secs(5 * 60),
            grace: Duration::from_secs(30),
            attempts: 6,
            channels: 64,
            keepalive: Duration::from_secs(30),
        }
    }
}

/// The SSH door of the gate.
pub struct SshDoor {
    pub(crate) gate: Arc<dyn Gatekeeper>,
    pub(crate) limits: DoorLimits,
    manner: Mutex<Option<Arc<Manner>>>,
    strangers: Strangers,
    pub(crate) guests: Guests,
    /// What is live, for those who join.
    pub(crate) sessions: Sessions,
    /// Who goes first where many are cut at once.
    pub(crate) turns: Turns,
    /// Who waits for a look at what cut sessions left.
    pub(crate) looks: Looks,
}

/// How connections are met as long as the gate's host keys are these.
pub(crate) struct Manner {
    pub(crate) keys: Arc<HostKeys>,
    config: Arc<server::Config>,
    /// For clients that can speak AES-GCM, where it is fast.
    aes_gcm: Option<Arc<server::Config>>,
}

impl SshDoor {
    /// A door that shows the host keys which the gatekeeper has at each connection's beginning.
    #[must_use]
    pub fn new(gate: Arc<dyn Gatekeeper>, limits: DoorLimits) -> Arc<Self> {
        let strangers = Strangers::new(limits.strangers, limits.strangers_per_address);
        let guests = Guests::new(limits.per_person);
        Arc::new(Self {
            gate,
            strangers,
            guests,
            sessions: Sessions::default(),
            turns: Turns::default(),
            looks: Looks::default(),
            manner: Mutex::default(),
            limits,
        })
    }

    /// How a connection that begins now is met; `None`: the gate has no host key that it could show.
    fn manner(&self) -> Option<Arc<Manner>> {
        let keys = match self.gate.host_keys() {
            Ok(keys) => keys,
            Err(refusal) => {
                tracing::error!(%refusal, "no SSH connection can be met");
                return None;
            }
        };
        let mut manner = lock(&self.manner);
        if let Some(manner) = manner.as_ref().filter(|manner| manner.keys.are(&keys)) {
            return Some(manner.clone());
        }
        let made = Arc::new(Manner::with(keys, &self.limits));
        *manner = Some(made.clone());
        Some(made)
    }
}

impl Manner {
    fn with(keys: HostKeys, limits: &DoorLimits) -> Self {
        let mut methods = MethodSet::empty();
        methods.push(MethodKind::PublicKey);
        // Nothing that is typed lets anybody in: who has no key is asked about in a browser.
        methods.push(MethodKind::KeyboardInteractive);
        let config = |preferred| server::Config {
            server_id: SshId::Standard(greeting::VERSION.into()),
            methods: methods.clone(),
            auth_rejection_time: Duration::from_millis(300),
            auth_rejection_time_initial: Some(Duration::ZERO),
            keys: keys.shown().to_vec(),
            window_size: WINDOW,
            maximum_packet_size: PACKET,
            channel_buffer_size: QUEUE,
            event_buffer_size: 64,
            preferred,
            max_auth_attempts: limits.attempts,
            inactivity_timeout: None,
            keepalive_interval: Some(limits.keepalive),
            keepalive_max: 3,
            nodelay: true,
            manual_window: true,
            deferred_global_requests: true,
            ..server::Config::default()
        };
        Self {
            config: Arc::new(config(algorithms::preferred())),
            aes_gcm: algorithms::aes_gcm_only().map(|preferred| Arc::new(config(preferred))),
            keys: Arc::new(keys),
        }
    }
}

impl SshDoor {
    /// Admits connections until `stop`. Sessions that live then are ended by the gate, through their watches.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => self.clone().admit(stream, from),
                Err(error) => {
                    // Out of descriptors, most likely: those that are open must get the chance to close.
                    tracing::warn!(%error, "cannot accept a connection; check the limit of open files");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Starts one connection, or drops it when there are too many strangers already and none of them has to go for it.
    fn admit(self: Arc<Self>, stream: TcpStream, from: SocketAddr) {
        let Some(stranger) = self.strangers.admit(from.ip(), tokio::time::Instant::now()) else {
            tracing::debug!(%from, "too many connections that have not signed in");
            return;
        };
        self.begin(stream, from, stranger, None);
    }

    /// Meets somebody whom this process knows already: a console. Gives their end of the connection.
    ///
    /// # Errors
    /// If there is no place for one more, or no socket.
    pub(crate) async fn receive_known(self: &Arc<Self>, known: Known) -> Result<TcpStream, Refusal> {
        let no = |error: std::io::Error| Refusal::because(Reason::Internal, format!("no connection to the door: {error}"));
        let place = self.strangers.admit(known.from.ip(), tokio::time::Instant::now());
        let place = place.ok_or_else(|| Refusal::because(Reason::TooMany, "too many connections that have not signed in"))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(no)?;
        let theirs = TcpStream::connect(listener.local_addr().map_err(no)?).await.map_err(no)?;
        let itself = theirs.local_addr().map_err(no)?;
        let ours = loop {
            let (ours, peer) = listener.accept().await.map_err(no)?;
            // INVARIANT: nobody else's connection is taken for theirs.
            if peer == itself {
                break ours;
            }
        };
        Arc::clone(self).begin(ours, known.from, place, Some(known.who));
        Ok(theirs)
    }

    fn begin(self: Arc<Self>, stream: TcpStream, from: SocketAddr, stranger: Stranger, known: Option<VerifiedIdentity>) {
        tokio::spawn(async move {
            // A fault in one session ends that session.
            if AssertUnwindSafe(self.attend(stream, from, stranger, known)).catch_unwind().await.is_err() {
                tracing::error!(%from, "a connection ended by a fault of the gate");
            }
        });
    }

    async fn attend(self: Arc<Self>, stream: TcpStream, from: SocketAddr, stranger: Stranger, who: Option<VerifiedIdentity>) {
        let (known, refused) = (CancellationToken::new(), Refused::default());
        Box::pin(self.clone().meet(stream, from, (stranger, refused.clone()), who, known.clone())).await;
        if let Some(refusal) = refused.take().filter(|_| !known.is_cancelled()) {
            self.gate.not_signed_in(refusal, from).await;
        }
    }

    async fn meet(
        self: Arc<Self>,
        mut stream: TcpStream,
        from: SocketAddr,
        (stranger, refused): (Stranger, Refused),
        who: Option<VerifiedIdentity>,
        known: CancellationToken,
    ) {
        let _ = stream.set_nodelay(true);
        let deadline = tokio::time::Instant::now() + self.limits.grace;
        let shown_out = stranger.shown_out();
        let heard = tokio::select! {
            heard = greeting::listen(&mut stream) => heard,
            () = shown_out.cancelled() => return,
        };
        let Some(manner) = self.manner() else { return };
        let config = manner.aes_gcm.as_ref().filter(|_| heard.speaks_aes_gcm).unwrap_or(&manner.config).clone();
        let (wire, shears) = wire::severable(stream);
        let software = text::inert_bytes(heard.software(), 100);
        let wire = wire.after_greeting(heard.bytes, greeting::VERSION.len() + 2);
        let [asked, gone] = [(); 2].map(|()| CancellationToken::new());
        let _gone = gone.clone().drop_guard();
        let signals = (known.clone(), asked.clone(), gone.clone());
        let visitor = Visitor::new(self.clone(), manner.keys.clone(), from, shears.clone(), signals, (stranger, software, refused), who);
        let greeted = tokio::select! {
            greeted = tokio::time::timeout_at(deadline, server::run_stream(config, wire, visitor)) => greeted,
            () = shown_out.cancelled() => return shears.sever(),
        };
        let session = match greeted {
            Ok(Ok(session)) => session,
            Ok(Err(error)) => return tracing::debug!(%from, %error, "no SSH"),
            Err(_) => return shears.sever(),
        };
        tokio::pin!(session);
        tokio::select! {
            ended = &mut session => return tracing::debug!(%from, ?ended, "left before signing in"),
            () = known.cancelled() => {}
            () = shown_out.cancelled() => {
                tracing::debug!(%from, "had to go for somebody else before signing in");
                shears.sever();
            }
            () = self.too_late(deadline, &asked) => {
                tracing::debug!(%from, "took too long to sign in");
                shears.sever();
            }
        }
        if let Err(error) = session.await {
            tracing::debug!(%from, %error, "connection ended");
        }
        shears.sever();
    }

    /// Waits until somebody who has not signed in has to go. Who is asked about in a browser has longer, and is told when that is over.
    async fn too_late(&self, deadline: tokio::time::Instant, asked: &CancellationToken) {
        tokio::time::sleep_until(deadline).await;
        if asked.is_cancelled() {
            tokio::time::sleep(self.limits.in_browser).await;
        }
    }
}
