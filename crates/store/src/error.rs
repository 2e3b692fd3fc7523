//! What can go wrong with the store, and what to try then.

use std::sync::Arc;

use access::event::LeafError;
use access::fold::FoldError;
use access::row::ColumnError;
use sqlx::error::ErrorKind;

/// The store can't be read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It does not answer, is full, or answers with an error. Nothing of the act was kept.
    #[error("cannot {act}: {why}")]
    Unavailable {
        /// What was tried.
        act: &'static str,
        /// Why not, and what to try.
        why: String,
        /// What the database said.
        #[source]
        source: Option<Arc<sqlx::Error>>,
    },
    /// The connection broke while the database was being told to keep the change, so that nobody knows whether it did.
    #[error("the connection to the store broke at the end of a change; whether it was kept is unknown, so look before trying again")]
    Unknown {
        /// What the database said.
        #[source]
        source: Arc<sqlx::Error>,
    },
    /// It was written by a newer release.
    #[error("the store has schema {found}, and this release knows {known}; run the release that wrote it, or a newer one")]
    Newer {
        /// What it has.
        found: i64,
        /// What this release knows.
        known: i64,
    },
    /// A row holds what it never should.
    #[error("a row of the store can't be read; run `tidegate audit replay` to see what was changed")]
    Row(#[from] ColumnError),
    /// What was kept is not what the log says it is.
    #[error("{what} was changed behind the gate's back; run `tidegate audit replay` to see what else was, and restore it from a backup")]
    Altered {
        /// What.
        what: String,
    },
    /// A change is too large for the entry that would have to say it. Nothing was changed.
    #[error("the entry would have {bytes} bytes, and the log takes at most {} of one; do it in smaller parts", access::entry::LONGEST_LEAF)]
    TooLong {
        /// How many.
        bytes: usize,
    },
    /// An entry of the log holds what it never should.
    #[error("an entry of the log can't be read; run `tidegate audit verify` to see what was changed: {why}")]
    Leaf {
        /// What is wrong with it.
        why: String,
    },
}

impl From<LeafError> for StoreError {
    fn from(error: LeafError) -> Self {
        Self::Leaf { why: error.to_string() }
    }
}

impl StoreError {
    pub(crate) fn from_sqlx(act: &'static str, error: sqlx::Error) -> Self {
        Self::Unavailable { act, why: advice(&error), source: Some(Arc::new(error)) }
    }

    pub(crate) fn said(act: &'static str, why: impl Into<String>) -> Self {
        Self::Unavailable { act, why: why.into(), source: None }
    }
}

/// A change was not kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// Somebody else was faster: the row is not as it was read, or a single-use thing was used.
    #[error("the {table} row `{key}` changed in the meantime; look at it again and decide anew")]
    Conflict {
        /// The table.
        table: &'static str,
        /// The key.
        key: String,
    },
    /// There can be only one of it, and there is one.
    #[error("there is already {what}")]
    Duplicate {
        /// Of what.
        what: Unique,
    },
    /// The step doesn't exist.
    #[error(transparent)]
    Illegal(#[from] FoldError),
    /// The store can't be written.
    #[error(transparent)]
    Unavailable(#[from] StoreError),
}

/// What there can be only one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unique {
    /// A pending request of one person for one role on one resource.
    PendingRequest,
    /// A pending extension of one grant.
    PendingExtension,
    /// A vote of one person on one revision of a request.
    Vote,
    /// A username, for all time.
    Username,
    /// An active key with this fingerprint.
    Fingerprint,
    /// A trusted host key of a resource.
    HostKey,
    /// Somebody whom a directory has, by `userName` or `externalId`.
    DirectoryUser,
    /// A group that a directory has, by name or `externalId`.
    DirectoryGroup,
    /// A token of the gate for one of a CI system's own.
    Assertion,
    /// A mailbox that is somebody's.
    Mailbox,
    /// A thing that counts once.
    Once,
    /// Something else; a fault of the gate.
    Other,
}

impl std::fmt::Display for Unique {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::PendingRequest => "a pending request of this person for this role on this resource",
            Self::PendingExtension => "a pending extension of this grant",
            Self::Vote => "a vote of this person on this request as it stands now",
            Self::Username => "somebody with this username; names are never given twice",
            Self::Fingerprint => "an active key with this fingerprint",
            Self::HostKey => "a trusted host key of this resource",
            Self::DirectoryUser => "somebody of this directory with this userName or externalId",
            Self::DirectoryGroup => "a group of this directory with this displayName or externalId",
            Self::Assertion => "a token that was given for this token of a CI system",
            Self::Mailbox => "somebody with this mailbox",
            Self::Once => "a use of what counts once",
            Self::Other => "a row like this",
        })
    }
}

/// Which uniqueness an error is about, if it is.
pub(crate) fn unique(error: &sqlx::Error) -> Option<Unique> {
    let database = error.as_database_error()?;
    if database.kind() != ErrorKind::UniqueViolation {
        return None;
    }
    // PostgreSQL names the index, SQLite the columns.
    let (index, text) = (database.constraint().unwrap_or_default(), database.message());
    let is = |name: &str, columns: &str| index == name || text.ends_with(columns);
    Some(if is("requests_one_pending", "requests.person, requests.resource, requests.role") {
        Unique::PendingRequest
    } else if is("requests_one_extension", "requests.extends") {
        Unique::PendingExtension
    } else if is("votes_one_each", "votes.request, votes.revision, votes.voter") {
        Unique::Vote
    } else if is("people_username", "people.username") {
        Unique::Username
    } else if is("keys_active_fingerprint", "keys.fingerprint") {
        Unique::Fingerprint
    } else if is("tokens_assertion", "tokens.assertion") {
        Unique::Assertion
    } else if is("host_keys_pkey", "host_keys.resource") {
        Unique::HostKey
    } else if is("directory_users_named", "directory_users.user_name_key")
        || is("directory_users_called", "directory_users.external_id_key")
    {
        Unique::DirectoryUser
    } else if is("directory_groups_named", "directory_groups.name_key") || is("directory_groups_called", "directory_groups.external_id_key")
    {
        Unique::DirectoryGroup
    } else if is("chat_accounts_address", "chat_accounts.address") {
        Unique::Mailbox
    } else if is("once_pkey", "once.id") {
        Unique::Once
    } else {
        Unique::Other
    })
}

/// Whether the same act may well succeed if it is simply done again (PostgreSQL's serialisation failure and deadlock).
pub(crate) fn is_transient(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|e| e.code().map(|code| code == "40001" || code == "40P01")).unwrap_or(false)
}

fn advice(error: &sqlx::Error) -> String {
    const SERVER: &str = "the PostgreSQL server does not answer; check that it runs and that the store's URL is right";
    match error {
        sqlx::Error::Database(said) => match said.code().as_deref() {
            Some("53100") => "the disk of the PostgreSQL server is full; free some space there and try again".into(),
            Some("57P01" | "57P02" | "57P03") => "the PostgreSQL server is stopping or starting; try again in a moment".into(),
            Some("28000" | "28P01") => "the PostgreSQL server did not accept the user or password in the store's URL".into(),
            Some("3D000") => "the database in the store's URL does not exist; create it first".into(),
            Some(code) if code.len() < 5 => match code.parse::<i32>().unwrap_or(0) & 0xff {
                5 | 6 => "another process holds the store's file; stop it and try again".into(),
                8 => "the store's file can't be written; check its owner, its mode and its file system".into(),
                10 => "the disk that holds the store is full or fails; `df` and the system's log say which".into(),
                11 | 26 => "the store's file is damaged; restore it from a backup and run `tidegate audit verify`".into(),
                13 => "the disk that holds the store is full; free some space and try again".into(),
                14 => "the store's file can't be opened; check that its directory exists and can be written".into(),
                _ => format!("the database answers: {}", said.message()),
            },
            _ => format!("the database answers: {}", said.message()),
        },
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => SERVER.into(),
        sqlx::Error::PoolTimedOut => "no connection to the store became free in time; check its load and that it answers".into(),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => "the store is closed; start the gate again".into(),
        other => format!("the database driver says: {other}"),
    }
}
