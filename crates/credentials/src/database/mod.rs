//! Database accounts made for one grant: with exactly the rights of its role, and gone with it.
//!
//! The account is the first wall around a restricted role: the server itself refuses what was not granted, whatever a statement
//! looks like. An administrative account of the resource makes and drops them; its password is a sealed secret and never leaves the
//! gate. The account's own password is made here, kept in memory, and reaches the server only as a verifier.
//!
//! Where nothing is judged an account may be a member of the role's login instead: it may do what that may, and its sessions are told
//! apart from everybody else's. A server lets whoever is nobody special end the sessions of their own account alone.
//!
//! What a server gives to everybody (`PUBLIC`) the account has too: PostgreSQL lets everybody connect, make temporary tables and call
//! functions unless that was revoked. The judge of statements stands before that.

mod dial;
mod leftovers;
mod mariadb;
mod postgres;
mod powers;
#[cfg(test)]
mod server_tests;
mod survey;
#[cfg(test)]
mod survey_tests;
mod verifier;

use std::fmt;
use std::time::Duration;

use access::account::PREFIX;
use access::rights::DatabaseRights;
use access::secret::Secret;
use access::session::TargetTls;
use aws_lc_rs::rand;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::survey::{Held, Survey};

/// How long the server may take for one account.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// PostgreSQL 14 and later.
    Postgres,
    /// MariaDB 10.6 and later, or MySQL 8.0 and later.
    MariaDb,
}

/// A server, and the account that makes others there.
#[derive(Debug, Clone)]
pub struct Server {
    /// What it is.
    pub engine: Engine,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The database to work in; MariaDB's rights name theirs.
    pub database: Option<String>,
    /// How it proves to be the right one.
    pub tls: TargetTls,
    /// Whether a guarded address (loopback, link-local) may be dialled.
    pub guarded_allowed: bool,
    /// The administrative account.
    pub user: String,
    /// Its password.
    pub password: Secret<String>,
}

/// An account that is to be made.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Its name, see [`access::account::login_of`].
    pub name: String,
    /// Its password, see [`random_password`].
    pub password: Secret<String>,
    /// When it stops opening anything by itself; `None`: only when dropped. MariaDB and MySQL know no such time.
    pub until: Option<Timestamp>,
    /// How many connections it may have at once.
    pub connections: u32,
    /// Whose rights it has besides: in PostgreSQL a role that it acts as from the start, in MariaDB and MySQL a role that is its default.
    pub member_of: Option<String>,
}

/// Why an account cannot be made or dropped.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The server does not answer, or not in time.
    #[error(
        "cannot reach `{host}:{port}` to {act} the account `{name}`; look whether it runs and whether its administrative account still opens it"
    )]
    Unreachable {
        /// What was to be done.
        act: Act,
        /// With which account.
        name: String,
        /// Where.
        host: String,
        /// On which port.
        port: u16,
        /// What was said.
        source: Option<sqlx::Error>,
    },
    /// The server refused.
    #[error(
        "the server refused to {act} the account `{name}`: {message}; its administrative account has to own what the role names, or be a superuser"
    )]
    Refused {
        /// What was to be done.
        act: Act,
        /// With which account.
        name: String,
        /// What the server said.
        message: String,
    },
    /// What the role names is not there.
    #[error("the role names {0}, which the server does not have; correct `roles.toml`, or make it there")]
    NoSuchThing(String),
    /// The server's certificate is pinned, which this client cannot check.
    #[error(
        "accounts cannot be made behind a pinned certificate; give the resource `tls_ca` with the authority's certificate instead of `tls_pins`"
    )]
    Pinned,
    /// The address leads where no target may be.
    #[error("`{0}` leads to the gate's own machine or a metadata service; name the address itself in the resource if that is meant")]
    Guarded(String),
    /// The name is not one of ours.
    #[error("`{0}` is no account of the gate's; it is left alone")]
    NotOurs(String),
    /// No random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// What is done with an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Made.
    Make,
    /// Dropped.
    Drop,
    /// Given a later end.
    Prolong,
    /// Used, to look at what the server lets in.
    Survey,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Make => "make",
            Self::Drop => "drop",
            Self::Prolong => "prolong",
            Self::Survey => "look around with",
        })
    }
}

/// How long names are.
const NAME: usize = PREFIX.len() + 26;

/// A fresh password of over 200 bits.
///
/// # Errors
/// If the system gives no random bytes.
pub fn random_password() -> Result<Secret<String>, AccountError> {
    Ok(Secret::new(random_letters(44)?))
}

fn random_letters(count: usize) -> Result<String, AccountError> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = vec![0; count];
    rand::fill(&mut bytes).map_err(|_| AccountError::NoRandomness)?;
    Ok(bytes.into_iter().map(|byte| char::from(LETTERS[usize::from(byte & 31)])).collect())
}

/// Whether a name has the shape of the gate's own.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    name.len() == NAME && name.strip_prefix(PREFIX).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

impl Server {
    /// Makes an account that may do just what these rights say. Nothing is left behind if that fails.
    ///
    /// # Errors
    /// If the server can't be reached or refuses.
    pub async fn make(&self, account: &NewAccount, rights: &DatabaseRights) -> Result<(), AccountError> {
        let making = async {
            match self.engine {
                Engine::Postgres => postgres::make(self, account, rights).await,
                Engine::MariaDb => mariadb::make(self, account, rights).await,
            }
        };
        self.in_time(Act::Make, &account.name, making).await
    }

    /// Ends the account's connections and drops it. What runs of what it made goes with it; its tables stay, and belong to a role
    /// without any right. One that is gone already is fine.
    ///
    /// # Errors
    /// If the server can't be reached or refuses.
    pub async fn drop(&self, name: &str) -> Result<(), AccountError> {
        if !is_ours(name) {
            return Err(AccountError::NotOurs(name.to_owned()));
        }
        let dropping = async {
            match self.engine {
                Engine::Postgres => postgres::drop(self, name).await,
                Engine::MariaDb => mariadb::drop(self, name).await,
            }
        };
        self.in_time(Act::Drop, name, dropping).await
    }

    /// Lets an account open until then. One that knows no end is left as it is.
    ///
    /// # Errors
    /// If the server can't be reached or refuses.
    pub async fn prolong(&self, name: &str, until: Timestamp) -> Result<(), AccountError> {
        if !is_ours(name) {
            return Err(AccountError::NotOurs(name.to_owned()));
        }
        match self.engine {
            Engine::Postgres => self.in_time(Act::Prolong, name, postgres::prolong(self, name, until)).await,
            Engine::MariaDb => Ok(()),
        }
    }

    async fn in_time<T>(&self, act: Act, name: &str, doing: impl Future<Output = Result<T, AccountError>>) -> Result<T, AccountError> {
        match tokio::time::timeout(PATIENCE, doing).await {
            Ok(done) => done,
            Err(_) => Err(self.unreachable(act, name, None)),
        }
    }

    fn unreachable(&self, act: Act, name: &str, source: Option<sqlx::Error>) -> AccountError {
        AccountError::Unreachable { act, name: name.to_owned(), host: self.host.clone(), port: self.port, source }
    }

    fn failed(&self, act: Act, name: &str) -> impl Fn(sqlx::Error) -> AccountError {
        move |error| match error {
            sqlx::Error::Database(said) => AccountError::Refused { act, name: name.to_owned(), message: said.message().to_owned() },
            other => self.unreachable(act, name, Some(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_accounts_are_ours() {
        let id = access::ids::AccountId::generate(jiff::Timestamp::UNIX_EPOCH);
        let name = access::account::login_of(id);
        assert!(is_ours(&name) && name.len() <= 32, "{name}");
        for foreign in ["postgres", "tg_admin", "tg_", "root", "tg_ABCDEFGHIJKLMNOPQRSTUVWXYZ", &name[1..]] {
            assert!(!is_ours(foreign), "{foreign}");
        }
        assert_ne!(random_password().unwrap(), random_password().unwrap());
    }
}
