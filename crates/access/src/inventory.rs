//! Ways to targets that do not pass the gate, and what targets hold that the gate did not put there.
//!
//! A way that inventory found is no resource until the bundle names it. What is outside is a backlog: each way is taken in, closed or
//! accepted until a date, or is open.

use jiff::Timestamp;

use crate::ids::{FindingId, PathId, PrincipalId};
use crate::names::{GroupName, ResourceName};

codes! {
    /// What a list of ways is.
    SourceKind("kind of list") {
        /// `~/.ssh/config`.
        SshConfig = "ssh-config",
        /// `~/.ssh/known_hosts`.
        KnownHosts = "known-hosts",
        /// `authorized_keys` of an account of a target.
        AuthorizedKeys = "authorized-keys",
        /// `~/.kube/config`.
        Kubeconfig = "kubeconfig",
        /// Rows of `pg_roles`.
        PostgresRoles = "postgres-roles",
        /// Rows of `mysql.user`.
        MysqlUsers = "mysql-users",
        /// Names of secrets of a CI system.
        CiSecrets = "ci-secrets",
        /// Profiles of a VPN.
        Vpn = "vpn",
        /// A Terraform state.
        Terraform = "terraform",
        /// A table in the words of this program.
        Csv = "csv",
        /// Entered by hand.
        Entered = "entered",
    }
}

codes! {
    /// What a way speaks.
    Reach("reach") {
        /// SSH.
        Ssh = "ssh",
        /// PostgreSQL.
        Postgres = "postgres",
        /// MySQL or MariaDB.
        Mysql = "mysql",
        /// Kubernetes.
        Kubernetes = "kubernetes",
        /// HTTP.
        Web = "web",
        /// A VPN: whatever lies behind it.
        Vpn = "vpn",
        /// An account of a cloud.
        Cloud = "cloud",
        /// Something else.
        Other = "other",
    }
}

codes! {
    /// How the credentials of a way come about.
    Issuance("issuance") {
        /// A key that lasts until somebody removes it.
        Key = "key",
        /// A password.
        Password = "password",
        /// A token that lasts.
        Token = "token",
        /// A certificate.
        Certificate = "certificate",
        /// A sign-in at an identity provider.
        Sso = "sso",
        /// The gate, for one session.
        Gate = "gate",
        /// The list does not say.
        Unknown = "unknown",
    }
}

codes! {
    /// Whether what is done over a way can be told to be one person's.
    Attribution("attribution") {
        /// It is one person's, or one machine's.
        Person = "person",
        /// Several use the same account.
        Shared = "shared",
        /// The list does not say.
        Unknown = "unknown",
    }
}

codes! {
    /// What became of a way.
    PathState("state of a way") {
        /// It stands outside the gate: the backlog.
        Open = "open",
        /// A resource of the bundle is where it leads, or it goes through the gate.
        TakenIn = "taken_in",
        /// Somebody said why it stays, until a date.
        Accepted = "accepted",
        /// Somebody closed it.
        Closed = "closed",
        /// Its list does not name it any more.
        Gone = "gone",
    }
}

row! {
    /// A list that ways came from.
    SourceRow in "inventory_sources" {
        /// What it is called here.
        id: GroupName,
        /// What it is.
        kind: SourceKind,
        /// SHA-256 of what was read last, hex.
        digest: String,
        /// How many ways it named.
        paths: u64,
        /// When it was first read.
        first_at: Timestamp,
        /// When it was last read.
        imported_at: Timestamp,
        /// Counts changes.
        version: i64,
    }
}

row! {
    /// A way as it is kept.
    PathRow in "inventory_paths" {
        /// `pth_…`.
        id: PathId,
        /// The list it came from.
        source: GroupName,
        /// By what it is known again there: a digest.
        key: String,
        /// What it speaks.
        reach: Reach,
        /// What it leads to; `None`: erased.
        target: Option<String>,
        /// The account there, if that is known.
        account: Option<String>,
        /// Who can use it, in the words of the list.
        holder: Option<String>,
        /// Who that is here, if they are known.
        person: Option<PrincipalId>,
        /// How its credentials come about.
        issuance: Issuance,
        /// Whether what is done over it is one person's.
        attribution: Attribution,
        /// What else is known, one thing per line.
        detail: Option<String>,
        /// What became of it.
        state: PathState,
        /// The resource that is where it leads.
        resource: Option<ResourceName>,
        /// Until when it is accepted.
        accepted_until: Option<Timestamp>,
        /// Who closed or accepted it.
        decided_by: Option<PrincipalId>,
        /// Why.
        reason: Option<String>,
        /// When it was found.
        found_at: Timestamp,
        /// Since when its state is what it is.
        since: Timestamp,
        /// Counts changes.
        version: i64,
    }
}

codes! {
    /// What a target holds that the gate did not put there.
    FindingKind("kind of finding") {
        /// A key that lets somebody into an account.
        AuthorizedKey = "authorized_key",
        /// An account that somebody can sign in to.
        LocalAccount = "local_account",
        /// An authority whose certificates are trusted.
        TrustedAuthority = "trusted_authority",
        /// A setting of the SSH server that opens ways beside the gate.
        ServerSetting = "server_setting",
        /// An account of a database.
        DatabaseAccount = "database_account",
        /// A right of such an account, or of everybody.
        DatabaseGrant = "database_grant",
        /// Something that could not be looked at.
        Unseen = "unseen",
    }
}

codes! {
    /// What became of a finding.
    FindingState("state of a finding") {
        /// It is there.
        Open = "open",
        /// Somebody said why it may stay, maybe until a date.
        Accepted = "accepted",
        /// It is not there any more.
        Mended = "mended",
    }
}

row! {
    /// Something on a target that the gate did not put there.
    FindingRow in "findings" {
        /// `fnd_…`.
        id: FindingId,
        /// Where.
        resource: ResourceName,
        /// What.
        kind: FindingKind,
        /// By what it is known again: a digest.
        key: String,
        /// Which one: the account, the setting; `None`: erased.
        subject: Option<String>,
        /// What it is, in words.
        detail: Option<String>,
        /// What became of it.
        state: FindingState,
        /// Until when it is accepted; `None`: until it is mended.
        accepted_until: Option<Timestamp>,
        /// Who accepted it.
        decided_by: Option<PrincipalId>,
        /// Why.
        reason: Option<String>,
        /// When it was found.
        found_at: Timestamp,
        /// Since when its state is what it is.
        since: Timestamp,
        /// Counts changes.
        version: i64,
    }
}

row! {
    /// When a target was last looked at.
    LookRow in "drift_looks" {
        /// Which resource.
        id: ResourceName,
        /// When somebody last tried.
        tried_at: Timestamp,
        /// When it was last seen whole, or as far as the gate may see.
        seen_at: Option<Timestamp>,
        /// Whether the last try came to nothing.
        failed: bool,
        /// Why.
        detail: Option<String>,
        /// How many findings there were then.
        findings: u64,
        /// Counts changes.
        version: i64,
    }
}

impl PathState {
    /// Whether a way in this state stands outside the gate and has no answer.
    #[must_use]
    pub fn is_backlog(self) -> bool {
        self == Self::Open
    }
}

impl PathRow {
    /// Whether somebody's word that it may stay has run out.
    #[must_use]
    pub fn acceptance_is_over(&self, now: Timestamp) -> bool {
        self.state == PathState::Accepted && self.accepted_until.is_none_or(|until| until <= now)
    }
}

impl FindingRow {
    /// Whether somebody's word that it may stay has run out.
    #[must_use]
    pub fn acceptance_is_over(&self, now: Timestamp) -> bool {
        self.state == FindingState::Accepted && self.accepted_until.is_some_and(|until| until <= now)
    }
}
