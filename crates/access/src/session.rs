//! The session: the permit that alone can dial a target, what ends it, and what is kept of it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{GrantId, PrincipalId, RecordingId, SessionId};
use crate::limits::Limits;
use crate::names::{ResourceName, RoleName, TierName, Username};
use crate::rights::Rights;
use crate::secret::Secret;
use crate::threshold::Alerts;
use crate::time::Span;
use crate::verdict::{Durability, HostKeyRule, RecordLevel};

codes! {
    /// What a session speaks.
    Protocol("protocol") {
        /// RFC 4251 and its family.
        Ssh = "ssh",
        /// The PostgreSQL front-end/back-end protocol, version 3.
        Postgres = "postgres",
        /// The client/server protocol of MySQL and MariaDB, version 10.
        Mysql = "mysql",
    }
}

codes! {
    /// How somebody went on from a session's target.
    Onward("way onward") {
        /// By a connection that their client forwards through it.
        Forward = "forward",
        /// With their agent, which something on the target used.
        Agent = "agent",
    }
}

codes! {
    /// Whether a session lives.
    SessionState("session state") {
        /// It does.
        Live = "live",
        /// It is over.
        Ended = "ended",
    }
}

codes! {
    /// What ended a session.
    EndReason("session end") {
        /// Its user left.
        Client = "client",
        /// The target closed, refused or could not be reached.
        Target = "target",
        /// The grant's time was up.
        Expired = "expired",
        /// The grant was revoked.
        Revoked = "revoked",
        /// The person, role or resource was locked, or the person disabled.
        Locked = "locked",
        /// Policy no longer allows it.
        Withdrawn = "withdrawn",
        /// Nothing moved for the tier's idle time.
        Idle = "idle",
        /// It could no longer be recorded.
        Recorder = "recorder",
        /// Somebody who may ended it by hand.
        Killed = "killed",
        /// It went over a threshold that its tier watches.
        Threshold = "threshold",
        /// The gate's node could no longer prove that it may run sessions.
        Lease = "lease",
        /// The gate's node stopped, or died and said so afterwards.
        Node = "node",
        /// A fault of the gate in this session.
        Error = "error",
    }
}

impl EndReason {
    /// Whether the gate ended it against its user's will.
    #[must_use]
    pub fn is_cut(self) -> bool {
        !matches!(self, Self::Client | Self::Target)
    }

    /// Whether the right to be there is over with it. Then nothing of the session stays at its target, what left its process group neither.
    #[must_use]
    pub fn ends_the_right(self) -> bool {
        matches!(self, Self::Expired | Self::Revoked | Self::Locked | Self::Withdrawn | Self::Killed | Self::Threshold)
    }

    /// What its user is told.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Client => "The session ended.",
            Self::Target => "The target closed the connection.",
            Self::Expired => "Your grant's time is up.",
            Self::Revoked => "Your grant was revoked.",
            Self::Locked => "You, this role or this resource has been locked.",
            Self::Withdrawn => "Policy no longer allows this access.",
            Self::Idle => "Nothing happened here for the idle time of this resource.",
            Self::Recorder => "The session could no longer be recorded.",
            Self::Killed => "An administrator ended this session.",
            Self::Threshold => "The session went over a threshold of its tier, and the gate ended it.",
            Self::Lease => "This gate node lost its lease and ends its sessions.",
            Self::Node => "This gate node is stopping.",
            Self::Error => "The gate had a fault in this session; its administrator finds it under the session's id.",
        }
    }
}

row! {
    /// A session as it is kept.
    SessionRow in "sessions" {
        /// `ses_…`.
        id: SessionId,
        /// The grant it stands on.
        grant: GrantId,
        /// Whose.
        person: PrincipalId,
        /// Where to.
        resource: ResourceName,
        /// As what.
        role: RoleName,
        /// In which protocol.
        protocol: Protocol,
        /// Its recording.
        recording: RecordingId,
        /// The node it runs on.
        node: String,
        /// Whether it lives.
        state: SessionState,
        /// When it began.
        opened_at: Timestamp,
        /// When it ended.
        ended_at: Option<Timestamp>,
        /// What ended it.
        end: Option<EndReason>,
        /// Whether the target's end was seen to close.
        confirmed: Option<bool>,
        /// Bytes from the client.
        bytes_up: i64,
        /// Bytes from the target.
        bytes_down: i64,
        /// Whole chunks in its recording.
        recording_chunks: Option<i64>,
        /// The digest that closes its recording's chain, hex.
        recording_digest: Option<String>,
        /// From which address its client came; `None` once erased, and where there is none.
        from: Option<IpAddr>,
        /// How many steps were made onward from its target.
        steps: i64,
        /// The thresholds it went over.
        alerts: Alerts,
        /// Counts changes.
        version: i64,
    }
}

/// How many bytes a live session has moved so far. Its relay counts; whoever watches it reads.
#[derive(Debug, Default)]
pub struct Traffic {
    up: AtomicU64,
    down: AtomicU64,
}

impl Traffic {
    /// So many more from the client.
    pub fn moved_up(&self, bytes: u64) {
        self.up.fetch_add(bytes, Ordering::Relaxed);
    }
    /// So many more from the target.
    pub fn moved_down(&self, bytes: u64) {
        self.down.fetch_add(bytes, Ordering::Relaxed);
    }
    /// Bytes from the client.
    #[must_use]
    pub fn up(&self) -> u64 {
        self.up.load(Ordering::Relaxed)
    }
    /// Bytes from the target.
    #[must_use]
    pub fn down(&self) -> u64 {
        self.down.load(Ordering::Relaxed)
    }
}

/// What a live session's watch says; it only ever gets worse or, by extension, moves the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Open.
    Open {
        /// Until then; `None`: standing.
        ends_at: Option<Timestamp>,
    },
    /// Open, and its user should be told how long still.
    Warned {
        /// Until then.
        ends_at: Timestamp,
        /// This much is left.
        left: Span,
    },
    /// Over. Both sides are to be closed now.
    Cut(EndReason),
}

/// How to reach a target.
#[derive(Debug)]
pub enum Dial {
    /// Over SSH.
    Ssh(SshDial),
    /// A PostgreSQL server.
    Postgres(DatabaseDial),
    /// A MySQL or MariaDB server.
    Mysql(DatabaseDial),
}

/// How to reach a database server.
#[derive(Debug)]
pub struct DatabaseDial {
    /// Host name or address; see [`DatabaseDial::allows_address`].
    pub host: String,
    /// Port.
    pub port: u16,
    /// The database, if the resource names the one it is; else the client names it.
    pub database: Option<String>,
    /// How the server proves to be the right one.
    pub tls: TargetTls,
    /// What opens it.
    pub credential: DatabaseCredential,
    /// Whether the bundle names a guarded address (loopback, link-local) for this resource literally, so that it may be dialled.
    pub guarded_allowed: bool,
}

impl DatabaseDial {
    /// Whether a resolved address may be dialled: never the gate's own machine, link-local or metadata unless named literally.
    #[must_use]
    pub fn allows_address(&self, ip: IpAddr) -> bool {
        self.guarded_allowed || !crate::rights::is_guarded_address(ip)
    }
}

/// How a target that speaks TLS inside its own protocol proves to be the right one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetTls {
    /// A certificate for the target's host name under the machine's own trusted roots.
    Public,
    /// The same under this authority, PEM.
    Authority(String),
    /// Exactly one of these certificates: SHA-256 of their DER, lower-case hex.
    Pinned(Vec<String>),
    /// None: what passes can be read and changed on the way.
    Plain,
}

/// What opens a database.
#[derive(Debug)]
pub enum DatabaseCredential {
    /// An account that is there already, its password sealed.
    Account {
        /// Its name.
        user: String,
        /// Its password.
        password: Secret<String>,
    },
}

/// How to reach an SSH target.
#[derive(Debug)]
pub struct SshDial {
    /// Host name or address. The address it resolves to is checked by [`SshDial::allows_address`] before connecting.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The account on the target.
    pub login: String,
    /// Public host keys in OpenSSH's format that are trusted; `@cert-authority KEY` trusts a host CA.
    pub host_keys: Vec<String>,
    /// What to do about a host key that is not among them.
    pub host_key_rule: HostKeyRule,
    /// What opens the target.
    pub credential: SshCredential,
    /// Whether the bundle names a guarded address (loopback, link-local) for this resource literally, so that it may be dialled.
    pub guarded_allowed: bool,
}

impl SshDial {
    /// Whether a resolved address may be dialled: never the gate's own machine, link-local or metadata unless named literally.
    #[must_use]
    pub fn allows_address(&self, ip: IpAddr) -> bool {
        self.guarded_allowed || !crate::rights::is_guarded_address(ip)
    }
}

/// What opens an SSH target.
#[derive(Debug)]
pub enum SshCredential {
    /// A key pair made for this session and a certificate of the target CA over it.
    Certificate {
        /// The private key, OpenSSH format.
        private_key: Secret<String>,
        /// The certificate, OpenSSH format, one line.
        certificate: String,
    },
    /// A private key, OpenSSH format.
    Key(Secret<String>),
    /// A password.
    Password(Secret<String>),
}

/// What of the session is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingTerms {
    /// The recording's id.
    pub id: RecordingId,
    /// How much is kept.
    pub level: RecordLevel,
    /// When it is safe.
    pub durability: Durability,
}

/// The right to dial one target once. Made in `workflow` alone, not to be copied; see [`crate::mint`].
#[derive(Debug)]
pub struct SessionPermit {
    pub(crate) facts: SessionFacts,
    pub(crate) dial: Dial,
}

/// What a session is about; no secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionFacts {
    /// `ses_…`.
    pub session: SessionId,
    /// The grant it stands on.
    pub grant: GrantId,
    /// Whose.
    pub person: PrincipalId,
    /// Under which name.
    pub username: Username,
    /// Where to.
    pub resource: ResourceName,
    /// As what.
    pub role: RoleName,
    /// The resource's tier.
    pub tier: TierName,
    /// In which protocol.
    pub protocol: Protocol,
    /// What may be done inside: the role's rights within the request's limits.
    pub rights: Rights,
    /// The limits themselves, for messages.
    pub limits: Limits,
    /// What is recorded.
    pub recording: RecordingTerms,
    /// Silence after which it ends.
    pub idle: Option<Span>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When its grant ends; `None`: standing.
    pub ends_at: Option<Timestamp>,
    /// The digest of the bundle in force.
    pub bundle: String,
}

/// Both ends of a connection to a target, as the gate sees them.
///
/// An SSH server tells them to what it starts (`SSH_CONNECTION`), by which it can be told from whatever else runs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ends {
    /// The gate's.
    pub gate: std::net::SocketAddr,
    /// The target's.
    pub target: std::net::SocketAddr,
}

impl Ends {
    /// As an SSH server says it: address and port of its client, then its own.
    #[must_use]
    pub fn as_told(&self) -> String {
        let end = |at: &std::net::SocketAddr| format!("{} {}", at.ip().to_canonical(), at.port());
        format!("{} {}", end(&self.gate), end(&self.target))
    }
}

impl SessionPermit {
    /// What the session is about.
    #[must_use]
    pub fn facts(&self) -> &SessionFacts {
        &self.facts
    }
    /// Spends the permit on one dialling.
    #[must_use]
    pub fn spend(self) -> (SessionFacts, Dial) {
        (self.facts, self.dial)
    }
}

/// What a session leaves behind when it closes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedSession {
    /// Which.
    pub session: SessionId,
    /// What ended it.
    pub end: EndReason,
    /// Whether the target's end was seen to close, and, if it was cut, nothing to run on there.
    pub confirmed: bool,
    /// Bytes from the client.
    pub bytes_up: u64,
    /// Bytes from the target.
    pub bytes_down: u64,
    /// Whole chunks of the recording and the digest that closes its chain, hex; `None` if it could not be closed.
    pub recording: Option<(u64, String)>,
}
