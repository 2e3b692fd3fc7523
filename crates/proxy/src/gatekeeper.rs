//! The port at which every proxy knocks. Implemented over `workflow` by the binary; the proxies know nothing of policy, store or approvals.
//!
//! One connection goes through it like this:
//!
//! 1. [`Gatekeeper::is_known`] while the client only *offers* keys, [`Gatekeeper::identify`] once it has *proven* one.
//! 2. [`Gatekeeper::knock`] when the client first wants something of the target. The answer is an [`Opening`], or a [`Question`] that the
//!    proxy puts to the person in its own protocol and answers with [`Gatekeeper::submit`], or a [`Waiting`] whose news it shows until it
//!    knocks again, or a refusal.
//! 3. From the opening on the proxy holds the [`PermitWatch`]; it has no clock for deadlines of its own. [`Gatekeeper::refused`] for each
//!    thing the person tried inside that their rights don't cover.
//!    [`Gatekeeper::extend`] when the person asks for more time where they connect.
//! 4. [`Gatekeeper::ended`] exactly once for each opening, whatever happened, after both sides are closed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use access::identity::VerifiedIdentity;
use access::ids::{RequestId, SessionId};
use access::limits::Limits;
use access::names::Selector;
use access::reason::{Reason, Refusal};
use access::request::{Asked, RequestState};
use access::secret::Secret;
use access::session::{ClosedSession, EndReason, Ends, Onward, SessionPermit, Standing, Traffic};
use access::time::Span;
#[cfg(doc)]
use access::verdict::HostKeyRule;
use async_trait::async_trait;
use futures::future::BoxFuture;
use jiff::Timestamp;
use ssh_key::{Certificate, PublicKey};
use tokio::sync::watch;

use crate::ssh::HostKeys;
use crate::tape::Tape;

/// What opens, asks, waits and refuses.
///
/// All methods may be called at the same time from many connections. Dropping a returned future must leave nothing half done.
#[async_trait]
pub trait Gatekeeper: Send + Sync + 'static {
    /// Whether a key that a client offers could sign somebody in: a registered key, or a certificate of a login CA.
    ///
    /// Nothing is proven yet; this only spares the client a signature, so a wrong yes costs nothing. It must not reveal whose key it is.
    async fn is_known(&self, offer: Offer<'_>) -> bool;

    /// Who proves by signature to hold a key.
    ///
    /// The signature and, for a certificate, its CA's signature and its validity by the wall clock are verified already. All else is the
    /// gatekeeper's: whether the CA is a login CA, certificate type, principals, critical options (unknown: refused), `source-address`
    /// against `from`, validity by the gate's own clock, revocation, the person's state, and what the key's [`Presence`] is worth.
    ///
    /// # Errors
    /// Refused. The client learns nothing but that; the refusal is for the log: where a connection may try several proofs, of which one may
    /// be good, by [`Gatekeeper::not_signed_in`].
    async fn identify(&self, proof: Proof, from: SocketAddr) -> Result<VerifiedIdentity, Refusal>;

    /// An SSH connection is over, and nobody signed in on it, though somebody proved something that was refused. Once a connection, for the
    /// log: a client that has several keys and certificates shows one after the other, and that is no attack.
    async fn not_signed_in(&self, _refusal: Refusal, _from: SocketAddr) {}

    /// Somebody proves nothing, and may be signed in from a browser elsewhere, for this connection alone (RFC 8628). `None`: not here, or
    /// not now; then they are told [`Gatekeeper::how_to_sign_in`].
    async fn ask_in_browser(&self, _to: &Selector, _client: &str, _from: SocketAddr) -> Option<InBrowser> {
        None
    }

    /// What keeps everybody from signing in just now, if anything does: that the store is away. Told before anybody proves
    /// anything, since a protocol may have no word for it later.
    async fn trouble(&self) -> Option<Refusal> {
        None
    }

    /// What somebody is told who proves nothing: how people sign in here, in a few lines of plain text. It reveals nothing but that.
    async fn how_to_sign_in(&self, from: SocketAddr) -> String;

    /// The keys by which the gate shows who it is over SSH, as they are at this moment.
    ///
    /// # Errors
    /// There is none; no connection is met.
    fn host_keys(&self) -> Result<HostKeys, Refusal> {
        Err(Refusal::because(Reason::Internal, "this gate has no host keys for SSH"))
    }

    /// Somebody stands at the door of a resource. Called once when a connection first needs its target, and again after each news of a
    /// request that is waited for.
    ///
    /// An [`Opening`] has its entry in the audit log and its recording begun. From then on it is a live session: [`Gatekeeper::ended`] follows.
    async fn knock(&self, knock: &Knock) -> Knocked;

    /// The person answered a [`Question`]. Joins a pending request for the same resource and role if there is one.
    async fn submit(&self, knock: &Knock, answer: Answer) -> Knocked;

    /// The person asks for more time on what they have open at `knock.to`; without a time for the usual one. Sessions go on meanwhile,
    /// and are told through their [`PermitWatch`] how it goes.
    async fn extend(&self, knock: &Knock, more: Option<Span>, reason: Option<String>) -> Extended;

    /// Whether somebody whose session `own` is open may join the terminal of another: they may watch it, and it is to the same resource as
    /// the same role.
    ///
    /// # Errors
    /// They may not, or it is over. That of somebody they may not see is as one that does not exist.
    async fn may_join(&self, _knock: &Knock, _own: SessionId, _host: SessionId) -> Result<(), Refusal> {
        Err(Refusal::because(Reason::NotFound, "sessions are not joined here"))
    }

    /// They do: in the log before anything is shown to them.
    ///
    /// # Errors
    /// As [`Gatekeeper::may_join`], or it cannot be entered; then they do not.
    async fn joined(&self, knock: &Knock, own: SessionId, host: SessionId) -> Result<(), Refusal> {
        self.may_join(knock, own, host).await
    }

    /// A target showed a host key that its resource doesn't name, and its rule is [`HostKeyRule::FirstUse`]: whether to trust it. The first
    /// key seen for a resource is pinned (and entered in the audit log) by this; any other is not trusted.
    async fn trust_first_host_key(&self, session: SessionId, key: &PublicKey) -> bool;

    /// A target was reached by this connection, and nothing was started there yet. What still runs there if the gate dies is known by it.
    async fn reached(&self, _session: SessionId, _ends: Ends) {}

    /// Through a session somebody goes on from its target: to somewhere behind it, or with their agent. Text of theirs, made inert.
    async fn onward(&self, session: SessionId, how: Onward, to: &str);

    /// Something in a session was refused because the rights of its role don't cover it. For the audit log.
    async fn refused(&self, session: SessionId, what: Denied);

    /// A session is over and both of its sides are closed; its recording is closed too. Called exactly once for each opening.
    async fn ended(&self, closed: ClosedSession);
}

/// What a client offers to sign in with.
#[derive(Debug, Clone, Copy)]
pub enum Offer<'a> {
    /// A plain key.
    Key(&'a PublicKey),
    /// An OpenSSH certificate.
    Certificate(&'a Certificate),
    /// An X.509 certificate, DER; its key has signed the TLS handshake already.
    ClientCertificate(&'a [u8]),
}

/// What a client has proven by signature to hold.
#[derive(Debug, Clone)]
pub enum Proof {
    /// A plain key.
    Key {
        /// The key that signed.
        key: PublicKey,
        /// Whether a person was there when it signed.
        presence: Presence,
    },
    /// The key that an OpenSSH certificate certifies.
    Certificate {
        /// The certificate.
        certificate: Box<Certificate>,
        /// Whether a person was there when its key signed.
        presence: Presence,
    },
    /// The key of an X.509 certificate, in the TLS handshake.
    ClientCertificate {
        /// The certificate, DER. Only that its key signed has been verified.
        der: Vec<u8>,
    },
    /// A token, given where the protocol asks for a password.
    Token(Secret<String>),
}

/// What a signature says about a person being there (OpenSSH `PROTOCOL.u2f`: the flags byte of a security key's signature).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// An ordinary key: it says nothing.
    Unknown,
    /// A security key.
    SecurityKey {
        /// Somebody touched it.
        touched: bool,
        /// It verified who did, by PIN or fingerprint.
        verified: bool,
    },
}

/// Somebody who stands before a door without proof, and is asked about in a browser. Dropped: they are gone, and no yes counts any more.
pub struct InBrowser {
    /// What to tell them, in lines of plain text: the link is among them.
    pub told: String,
    /// Who they are, once somebody said so in the browser.
    pub answer: BoxFuture<'static, Result<VerifiedIdentity, Refusal>>,
}

/// Somebody at the door of a resource.
#[derive(Debug, Clone)]
pub struct Knock {
    /// Who, proven.
    pub who: VerifiedIdentity,
    /// Where to, and as what.
    pub to: Selector,
    /// From where.
    pub from: SocketAddr,
    /// What the client software calls itself; made inert, at most 255 characters.
    pub client: String,
    /// What they renounce for this session, if anything.
    pub limits: Limits,
    /// What they said beforehand: why, for how long, by which ticket. Never an emergency.
    pub sent: Answer,
}

/// The answer to who asks for more time.
#[derive(Debug)]
pub enum Extended {
    /// It is there.
    Until(Timestamp),
    /// People have been asked.
    Waiting(Waiting),
    /// No, and why.
    Refused(Refusal),
}

/// The answer to a knock.
#[derive(Debug)]
pub enum Knocked {
    /// Come in.
    Open(Box<Opening>),
    /// No grant and no pending request; the person may ask.
    Ask(Question),
    /// People have been asked.
    Waiting(Waiting),
    /// Nothing is missing but a fresh proof that it is them.
    Prove(Prove),
    /// No, and why.
    Refused(Refusal),
}

/// Where a person proves freshly that it is them. Once they did, knock again, or submit again what was answered.
#[derive(Debug)]
pub struct Prove {
    /// What to tell them, in lines of plain text: the link is among them.
    pub told: String,
    /// What is said to who does not wait.
    pub refusal: Refusal,
    /// `Some(true)` once it was proved, `Some(false)` if they said that it is not them; the sender gone: it took too long.
    pub answered: watch::Receiver<Option<bool>>,
    /// How long a connection waits at the door.
    pub patience: Duration,
}

impl Prove {
    /// Waits until it was proved; `false` if it was not.
    pub async fn proved(&mut self) -> bool {
        self.answered.wait_for(Option::is_some).await.is_ok_and(|said| *said == Some(true))
    }
}

/// What a person is told and asked when they have no grant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Question {
    /// What is missing, in one or more lines of plain text: `db-1 as debug needs the agreement of 1 of dba.`
    pub missing: String,
    /// Whether a reason has to be given.
    pub reason: bool,
    /// Whether a ticket has to be named.
    pub ticket: bool,
    /// The time if none is asked, and the longest time, as shown: `30m, at most 2h`.
    pub times: String,
    /// Why it cannot be asked for in the ordinary way; then there is only the emergency.
    pub refused: Option<Refusal>,
    /// What follows if they declare an emergency, in plain text; `None`: they may not.
    pub emergency: Option<String>,
}

/// A person's answer to a [`Question`].
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Why, in their own words. Text of theirs: not yet made inert.
    pub reason: Option<String>,
    /// For how long.
    pub asked: Asked,
    /// The ticket they name.
    pub ticket: Option<String>,
    /// Whether they declare an emergency.
    pub break_glass: bool,
}

/// A request that people are deciding.
#[derive(Debug)]
pub struct Waiting {
    /// Which.
    pub request: RequestId,
    /// How it goes. Once it is decided, knock again; also when the sender is gone.
    pub news: watch::Receiver<News>,
    /// What it is limited to, as shown; empty: to nothing less than the role.
    pub limits: String,
    /// How long a connection waits at the door.
    pub patience: Duration,
}

/// How a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// How far it has come.
    pub state: RequestState,
    /// Who has been asked, as shown: names, groups, `on-call:dba`.
    pub asked: Vec<String>,
    /// What was answered, oldest first, one line each: `Ben approved: go ahead`. Only ever grows.
    pub answers: Vec<String>,
}

/// An open door: what a session is made from.
#[derive(Debug)]
pub struct Opening {
    /// The right to dial the target, once.
    pub permit: SessionPermit,
    /// Says when the session is to be warned and when it is to be cut.
    pub watch: PermitWatch,
    /// Where everything is recorded before it is forwarded.
    pub tape: Box<dyn Tape>,
}

/// What a live session watches all the time beside its bytes.
///
/// INVARIANT: whoever relays bytes holds one of these and acts on it before it acts on the bytes.
#[derive(Debug, Clone)]
pub struct PermitWatch {
    standing: watch::Receiver<Standing>,
    told: Told,
    traffic: Arc<Traffic>,
    may_last_longer: bool,
}

impl PermitWatch {
    /// Watches what the gate's scheduler says.
    #[must_use]
    pub fn new(standing: watch::Receiver<Standing>) -> Self {
        Self { standing, told: Told(None), traffic: Arc::default(), may_last_longer: true }
    }

    /// Also hears what the session's user is to be told.
    #[must_use]
    pub fn hearing(self, told: watch::Receiver<Option<Arc<str>>>) -> Self {
        Self { told: Told(Some(told)), ..self }
    }

    /// What the session moves is counted there.
    #[must_use]
    pub fn counting(self, traffic: Arc<Traffic>) -> Self {
        Self { traffic, ..self }
    }

    /// Where its relay counts what it moves.
    #[must_use]
    pub fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    /// The session stands on a grant that cannot be made longer: an emergency, or one without an end.
    #[must_use]
    pub fn at_most_this_long(self) -> Self {
        Self { may_last_longer: false, ..self }
    }

    /// Whether its user may ask for more time.
    #[must_use]
    pub fn may_last_longer(&self) -> bool {
        self.may_last_longer
    }

    /// What its user is to be told from now on.
    #[must_use]
    pub fn told(&self) -> Told {
        self.told.clone()
    }

    /// How it stands now. The scheduler gone is a cut: nobody is left who would end the session.
    #[must_use]
    pub fn now(&self) -> Standing {
        if self.standing.has_changed().is_err() && !matches!(*self.standing.borrow(), Standing::Cut(_)) {
            return Standing::Cut(EndReason::Node);
        }
        self.standing.borrow().clone()
    }

    /// Waits until it stands differently than it was last seen, and says how.
    pub async fn changed(&mut self) -> Standing {
        match self.standing.changed().await {
            Ok(()) => self.standing.borrow_and_update().clone(),
            Err(_) => match &*self.standing.borrow() {
                Standing::Cut(end) => Standing::Cut(*end),
                Standing::Open { .. } | Standing::Warned { .. } => Standing::Cut(EndReason::Node),
            },
        }
    }
}

/// What a session's user is to be told beside warnings: how their request for more time goes.
#[derive(Debug, Clone)]
pub struct Told(Option<watch::Receiver<Option<Arc<str>>>>);

impl Told {
    /// Why a session was ended that went over a threshold, if that was said: the newest thing there is to say then.
    #[must_use]
    pub fn why(&self, end: EndReason) -> Option<Arc<str>> {
        let told = self.0.as_ref().filter(|_| end == EndReason::Threshold)?;
        told.borrow().clone()
    }

    /// The next thing to say. Text of others may be in it: not yet made inert. Of what follows too fast only the newest is said.
    pub async fn next(&mut self) -> Arc<str> {
        if let Some(told) = &mut self.0 {
            while told.changed().await.is_ok() {
                if let Some(text) = told.borrow_and_update().clone() {
                    return text;
                }
            }
        }
        std::future::pending().await
    }
}

/// What somebody tried in a session and may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// What kind of thing, as in [`access::rights::SshRights`]: `shell`, `exec`, `sftp`, `local_forward`, `x11` ….
    pub what: &'static str,
    /// Which one: the command, the destination, the path. Text of theirs, made inert, at most 1,024 characters.
    pub detail: String,
}
