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
//! 4. [`Gatekeeper::ended`] exactly once for each opening, whatever happened, after both sides are closed.

use std::net::SocketAddr;

use access::identity::VerifiedIdentity;
use access::ids::{RequestId, SessionId};
use access::names::Selector;
use access::reason::Refusal;
use access::request::{Asked, RequestState};
use access::session::{ClosedSession, EndReason, SessionPermit, Standing};
#[cfg(doc)]
use access::verdict::HostKeyRule;
use async_trait::async_trait;
use ssh_key::{Certificate, PublicKey};
use tokio::sync::watch;

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
    /// Refused. The client learns nothing but that; the refusal is for the log.
    async fn identify(&self, proof: Proof, from: SocketAddr) -> Result<VerifiedIdentity, Refusal>;

    /// Somebody stands at the door of a resource. Called once when a connection first needs its target, and again after each news of a
    /// request that is waited for.
    ///
    /// An [`Opening`] has its entry in the audit log and its recording begun. From then on it is a live session: [`Gatekeeper::ended`] follows.
    async fn knock(&self, knock: &Knock) -> Knocked;

    /// The person answered a [`Question`]. Joins a pending request for the same resource and role if there is one.
    async fn submit(&self, knock: &Knock, answer: Answer) -> Knocked;

    /// A target showed a host key that its resource doesn't name, and its rule is [`HostKeyRule::FirstUse`]: whether to trust it. The first
    /// key seen for a resource is pinned (and entered in the audit log) by this; any other is not trusted.
    async fn trust_first_host_key(&self, session: SessionId, key: &PublicKey) -> bool;

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
    /// No, and why.
    Refused(Refusal),
}

/// What a person is told and asked when they have no grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What is missing, in one or more lines of plain text: `db-1 as debug needs the agreement of 1 of dba.`
    pub missing: String,
    /// Whether a reason has to be given.
    pub reason: bool,
    /// Whether a ticket has to be named.
    pub ticket: bool,
    /// The time if none is asked, and the longest time, as shown: `30m, at most 2h`.
    pub times: String,
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
}

/// A request that people are deciding.
#[derive(Debug)]
pub struct Waiting {
    /// Which.
    pub request: RequestId,
    /// How it goes. Once it is decided, knock again; also when the sender is gone.
    pub news: watch::Receiver<News>,
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
pub struct PermitWatch(watch::Receiver<Standing>);

impl PermitWatch {
    /// Watches what the gate's scheduler says.
    #[must_use]
    pub fn new(standing: watch::Receiver<Standing>) -> Self {
        Self(standing)
    }

    /// How it stands now. The scheduler gone is a cut: nobody is left who would end the session.
    #[must_use]
    pub fn now(&self) -> Standing {
        if self.0.has_changed().is_err() && !matches!(*self.0.borrow(), Standing::Cut(_)) {
            return Standing::Cut(EndReason::Node);
        }
        self.0.borrow().clone()
    }

    /// Waits until it stands differently than it was last seen, and says how.
    pub async fn changed(&mut self) -> Standing {
        match self.0.changed().await {
            Ok(()) => self.0.borrow_and_update().clone(),
            Err(_) => match &*self.0.borrow() {
                Standing::Cut(end) => Standing::Cut(*end),
                Standing::Open { .. } | Standing::Warned { .. } => Standing::Cut(EndReason::Node),
            },
        }
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
