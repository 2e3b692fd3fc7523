//! In which recordings it is worth looking for a text: an index of marks in a file of its own, SQLite with FTS5.
//!
//! Each session has a place, in the order of ids, and each document of its recording a number behind that place, so that the newest sessions are
//! found first without reading on. A session whose recording could not be looked through to its end, or that still lives, has no documents and is
//! worth looking into whatever is looked for.
//!
//! The index follows the log: what it holds is what follows from the log's entries up to [`ActivityIndex::next`], kept in one transaction with
//! that number. Whatever is wrong with the file, it is thrown away and made anew: there is nothing in it that is not in the recordings.

mod batch;
mod open;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::sqlite::{SqliteConnection, SqlitePool};

pub use batch::Batch;
pub use open::{Made, Sealer};

use crate::grams::{GramKey, Needle};

/// Which documents belong to which place: the low bits of a row's number are the document's, the others the session's place.
pub(crate) const BITS: u32 = 17;
pub(crate) const LAST: i64 = (1 << BITS) - 1;
/// How many documents one question finds, and how many sessions without any.
const FOUND: usize = 256;
const OPEN: usize = 64;
/// How many pages one step of tidying up writes.
const STEP: i64 = 1_000;

/// How a session stands in the index.
pub(crate) const WHOLE: i64 = 1;
pub(crate) const UNREAD: i64 = 0;

/// Why the index could not be asked or written.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The file is no index, or one that is broken, of another log or of another release.
    #[error("the search index cannot be used ({0}); it is made anew from the recordings")]
    Broken(String),
    /// The file cannot be reached.
    #[error("the search index cannot be reached: {0}; check that the gate's user can write `index/` in its data directory")]
    Io(String),
    /// The database failed.
    #[error("the search index did not answer")]
    Sql(#[source] sqlx::Error),
}

impl IndexError {
    /// Whether the file is to be thrown away.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::Broken(_))
    }
}

impl From<sqlx::Error> for IndexError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
        match code.map(|code| code & 0xff) {
            // SQLITE_ERROR with a table that is not there, SQLITE_CORRUPT, SQLITE_NOTADB.
            Some(11 | 26) => Self::Broken(error.to_string()),
            Some(1) if error.to_string().contains("no such table") => Self::Broken(error.to_string()),
            _ => Self::Sql(error),
        }
    }
}

/// The index of a node.
pub struct ActivityIndex {
    pub(crate) key: GramKey,
    readers: SqlitePool,
    pub(crate) writer: tokio::sync::Mutex<SqliteConnection>,
    pub(crate) next: AtomicU64,
}

impl std::fmt::Debug for ActivityIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActivityIndex").field("next", &self.next).finish_non_exhaustive()
    }
}

/// Sessions that are worth looking into, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidates {
    /// Their ids.
    pub sessions: Vec<String>,
    /// Down to which id these are all; `None`: there are no others.
    pub floor: Option<String>,
}

impl ActivityIndex {
    /// The entry of the log that comes next: what was entered before it is in the index.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// What is looked for, as this index is asked; `None` for a text that only reading tells.
    #[must_use]
    pub fn needle(&self, text: &str) -> Option<Needle> {
        Needle::new(&self.key, text)
    }

    /// Whether the index knows a session, so that it names it if it is worth looking into.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub async fn knows(&self, session: &str) -> Result<bool, IndexError> {
        let known: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM recordings WHERE session = ?1").bind(session).fetch_optional(&self.readers).await?;
        Ok(known.is_some())
    }

    /// Which sessions are worth looking into, from this id downwards: some of them, the newest.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub async fn candidates(&self, needle: &Needle, from: &str) -> Result<Candidates, IndexError> {
        // One unchanging view: a session that is read meanwhile stands in either half.
        let mut view = self.readers.begin().await?;
        let top = "SELECT place FROM recordings WHERE session <= ?1 AND place IS NOT NULL ORDER BY session DESC LIMIT 1";
        let top: Option<i64> = sqlx::query_scalar(top).bind(from).fetch_optional(&mut *view).await?;
        let mut sessions = BTreeSet::new();
        let mut floor: Option<String> = None;
        if let Some(top) = top {
            let hits = "SELECT rowid FROM marks WHERE marks MATCH ?1 AND rowid <= ?2 ORDER BY rowid DESC LIMIT ?3";
            let rows: Vec<i64> =
                sqlx::query_scalar(hits).bind(&needle.0).bind((top << BITS) | LAST).bind(FOUND as i64).fetch_all(&mut *view).await?;
            let limited = rows.len() == FOUND;
            let mut places: Vec<i64> = rows.into_iter().map(|row| row >> BITS).collect();
            places.dedup();
            let named = "SELECT session FROM recordings WHERE place = ?1";
            for place in places {
                let session: Option<String> = sqlx::query_scalar(named).bind(place).fetch_optional(&mut *view).await?;
                let session = session.ok_or_else(|| IndexError::Broken("marks of a session that it does not know".into()))?;
                if limited {
                    floor = Some(session.clone());
                }
                sessions.insert(session);
            }
        }
        let unread = "SELECT session FROM recordings WHERE state <> 1 AND session <= ?1 ORDER BY session DESC LIMIT ?2";
        let unread: Vec<String> = sqlx::query_scalar(unread).bind(from).bind(OPEN as i64).fetch_all(&mut *view).await?;
        if unread.len() == OPEN {
            floor = floor.max(unread.last().cloned());
        }
        sessions.extend(unread);
        let sessions = sessions.into_iter().rev().filter(|session| floor.as_ref().is_none_or(|floor| session >= floor)).collect();
        Ok(Candidates { sessions, floor })
    }

    /// How many sessions there are in it, and how many of them have to be read whatever is looked for.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub async fn counts(&self) -> Result<(u64, u64), IndexError> {
        let sql = "SELECT COUNT(*), COUNT(*) FILTER (WHERE state <> 1) FROM recordings";
        let (all, unread): (i64, i64) = sqlx::query_as(sql).fetch_one(&self.readers).await?;
        Ok((all.unsigned_abs(), unread.unsigned_abs()))
    }

    /// Brings what was removed off the disk: the marks are merged until none of it is left, then the journal is emptied. In steps, so that the index is
    /// written and asked in between. Whether there was anything to do.
    ///
    /// # Errors
    /// If the index cannot be written.
    pub async fn purge(&self) -> Result<bool, IndexError> {
        let removed = "SELECT value FROM meta WHERE name = 'removed'";
        let before: Option<String> = sqlx::query_scalar(removed).fetch_optional(&self.readers).await?;
        let Some(before) = before else { return Ok(false) };
        let mut pages = -STEP;
        loop {
            let mut writer = self.writer.lock().await;
            let changes = "SELECT total_changes()";
            let then: i64 = sqlx::query_scalar(changes).fetch_one(&mut *writer).await?;
            sqlx::query("INSERT INTO marks (marks, rank) VALUES ('merge', ?1)").bind(pages).execute(&mut *writer).await?;
            let now: i64 = sqlx::query_scalar(changes).fetch_one(&mut *writer).await?;
            pages = STEP;
            // SQLite's own measure: fewer than two rows changed, and nothing was left to merge.
            if now - then < 2 {
                let done = "DELETE FROM meta WHERE name = 'removed' AND value = ?1";
                sqlx::query(done).bind(&before).execute(&mut *writer).await?;
                let _journal = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_all(&mut *writer).await?;
                return Ok(true);
            }
        }
    }

    /// Closes the file.
    pub async fn close(self) {
        self.readers.close().await;
        let _closed = sqlx::Connection::close(self.writer.into_inner()).await;
    }
}
