//! The file: taken up if it is the one of this log and this release, and made anew if it is anything else.

use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};
use zeroize::Zeroizing;

use super::{ActivityIndex, IndexError};
use crate::grams::GramKey;

/// What the file says of itself. Another one is thrown away.
const VERSION: &str = "1";
const READERS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(30);

/// `removed` in `meta` counts what was removed and still stands in merged pages.
const SCHEMA: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
-- `place` is empty where none was free between its neighbours. state: 0 to be read whatever is looked for, 1 its marks are there.
CREATE TABLE recordings (session TEXT PRIMARY KEY, place INTEGER UNIQUE, state INTEGER NOT NULL, documents INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX recordings_unread ON recordings (session) WHERE state <> 1;
CREATE VIRTUAL TABLE marks USING fts5(gram, content='', contentless_delete=1, detail=none, tokenize='ascii');
INSERT INTO marks (marks, rank) VALUES ('hashsize', 33554432);
";

/// Who keeps the index's key: it lies sealed in the file.
pub trait Sealer {
    /// Seals a new key.
    ///
    /// # Errors
    /// Why it can't.
    fn seal(&self, key: &[u8; 32]) -> Result<String, String>;
    /// Opens one; `None`: it is no longer one of this gate's.
    fn open(&self, sealed: &str) -> Option<Zeroizing<[u8; 32]>>;
}

/// How an index came to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// It was there.
    TakenUp,
    /// It was not.
    New,
    /// What was there could not be used, and is gone.
    Anew(String),
}

impl ActivityIndex {
    /// Takes the index of a log up, or makes one. `log` names the log: its first entry; `placed` is how many entries of it have a place.
    ///
    /// # Errors
    /// If the file cannot be made or removed.
    pub async fn open(path: &Path, log: &str, placed: u64, sealer: &impl Sealer) -> Result<(Self, Made), IndexError> {
        let there = path.try_exists().map_err(io)?;
        if there {
            match Self::take_up(path, log, placed, sealer).await {
                Ok(index) => return Ok((index, Made::TakenUp)),
                Err(IndexError::Broken(why)) => {
                    throw_away(path)?;
                    return Ok((Self::make(path, log, sealer).await?, Made::Anew(why)));
                }
                Err(error) => return Err(error),
            }
        }
        throw_away(path)?;
        Ok((Self::make(path, log, sealer).await?, Made::New))
    }

    /// Throws the file away, whatever it holds.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn discard(path: &Path) -> Result<(), IndexError> {
        throw_away(path)
    }

    async fn take_up(path: &Path, log: &str, placed: u64, sealer: &impl Sealer) -> Result<Self, IndexError> {
        let broken = |why: &str| IndexError::Broken(why.to_owned());
        let mut writer = connect(path).await?;
        let sound: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut writer).await?;
        if sound != "ok" {
            return Err(IndexError::Broken(sound));
        }
        if meta(&mut writer, "version").await?.as_deref() != Some(VERSION) {
            return Err(broken("it is of another release"));
        }
        if meta(&mut writer, "log").await?.as_deref() != Some(log) {
            return Err(broken("it is of another log"));
        }
        let next = meta(&mut writer, "next").await?.and_then(|next| next.parse().ok()).unwrap_or(u64::MAX);
        if next > placed {
            return Err(broken("it has more of the log than there is"));
        }
        let key = meta(&mut writer, "key").await?.and_then(|sealed| sealer.open(&sealed)).ok_or_else(|| broken("its key does not open"))?;
        Self::of(path, writer, GramKey::new(&key), next).await
    }

    async fn make(path: &Path, log: &str, sealer: &impl Sealer) -> Result<Self, IndexError> {
        if let Some(dir) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
        }
        std::fs::File::options().create_new(true).write(true).mode(0o600).open(path).map_err(io)?;
        let mut key = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(key.as_mut_slice()).map_err(|_| IndexError::Io("the system gives no randomness".into()))?;
        let sealed = sealer.seal(&key).map_err(IndexError::Io)?;
        let mut writer = connect(path).await?;
        // INVARIANT: a file with a version has all of the rest.
        let mut made = writer.begin().await?;
        sqlx::raw_sql(SCHEMA).execute(&mut *made).await?;
        for (name, value) in [("key", sealed.as_str()), ("log", log), ("next", "0"), ("version", VERSION)] {
            sqlx::query("INSERT INTO meta (name, value) VALUES (?1, ?2)").bind(name).bind(value).execute(&mut *made).await?;
        }
        made.commit().await?;
        Self::of(path, writer, GramKey::new(&key), 0).await
    }

    async fn of(path: &Path, writer: SqliteConnection, key: GramKey, next: u64) -> Result<Self, IndexError> {
        let readers = SqlitePoolOptions::new().max_connections(READERS).acquire_timeout(PATIENCE);
        let readers = readers.connect_with(options(path).pragma("query_only", "on")).await?;
        Ok(Self { key, readers, writer: tokio::sync::Mutex::new(writer), next: AtomicU64::new(next) })
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        // What a crash of the machine takes from it is taken from the log's number, too.
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(PATIENCE)
        .pragma("cache_size", "-16384")
        // What is removed is overwritten, not only let go.
        .pragma("secure_delete", "on")
        .disable_statement_logging()
}

async fn connect(path: &Path) -> Result<SqliteConnection, IndexError> {
    Ok(options(path).connect().await?)
}

async fn meta(db: &mut SqliteConnection, name: &str) -> Result<Option<String>, IndexError> {
    Ok(sqlx::query_scalar("SELECT value FROM meta WHERE name = ?1").bind(name).fetch_optional(db).await?)
}

fn throw_away(path: &Path) -> Result<(), IndexError> {
    let beside = |end: &str| PathBuf::from(format!("{}{end}", path.display()));
    for file in [path.to_owned(), beside("-wal"), beside("-shm")] {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
    }
    Ok(())
}

fn io(error: std::io::Error) -> IndexError {
    IndexError::Io(error.to_string())
}
