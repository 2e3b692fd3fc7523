//! Where the store is: `sqlite:PATH` or `postgres://…`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

/// Where the store is. Never prints a password.
#[derive(Debug, Clone)]
pub enum StoreUrl {
    /// A file on this machine, for one node.
    Sqlite(PathBuf),
    /// A server, for many nodes.
    Postgres(Box<PgConnectOptions>),
}

/// A text that says of no store where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store's URL is not understood ({0}); write `sqlite:PATH` or `postgres://USER@HOST/DATABASE`")]
pub struct StoreUrlError(String);

impl FromStr for StoreUrl {
    type Err = StoreUrlError;
    fn from_str(text: &str) -> Result<Self, StoreUrlError> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return match text.parse::<PgConnectOptions>() {
                Ok(options) => Ok(Self::Postgres(Box::new(options))),
                // The parser's own words may hold the password.
                Err(_) => Err(StoreUrlError("it starts like PostgreSQL's, but the rest is no URL".into())),
            };
        }
        match text.strip_prefix("sqlite:") {
            Some(path) if !path.trim_start_matches('/').is_empty() => {
                let path = path.strip_prefix("//").unwrap_or(path);
                Ok(Self::Sqlite(path.into()))
            }
            Some(_) => Err(StoreUrlError("`sqlite:` wants a path behind it".into())),
            None => Err(StoreUrlError("it starts with neither `sqlite:` nor `postgres://`".into())),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(options) => {
                write!(f, "postgres://{}@{}:{}/", options.get_username(), options.get_host(), options.get_port())?;
                f.write_str(options.get_database().unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_keeps_its_password() {
        assert_eq!("sqlite:/var/lib/tidegate/store.db".parse::<StoreUrl>().unwrap().to_string(), "sqlite:/var/lib/tidegate/store.db");
        assert_eq!("sqlite://data/store.db".parse::<StoreUrl>().unwrap().to_string(), "sqlite:data/store.db");
        let url: StoreUrl = "postgres://tide:hunter2@db.example:5433/gate".parse().unwrap();
        assert_eq!(url.to_string(), "postgres://tide@db.example:5433/gate");
        for wrong in ["", "sqlite:", "sqlite:///", "mysql://x", "/var/lib/store.db"] {
            assert!(wrong.parse::<StoreUrl>().is_err(), "{wrong:?} was taken for a store");
        }
        let error = "postgres://tide:hunter2@db.example:port/gate".parse::<StoreUrl>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
