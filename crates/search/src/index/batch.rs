//! What follows from some entries of the log, written in one transaction with how far the log was read.

use std::io::Read;
use std::sync::atomic::Ordering;

use evidence::recording::RecordingReader;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{MutexGuard, mpsc};

use super::{ActivityIndex, BITS, IndexError, UNREAD, WHOLE};
use crate::pieces::{MOST, documents, is_within_reach};

/// How far apart places are, so that sessions can come between, and where the first one is.
const GAP: i64 = 1 << 18;
const FIRST: i64 = 1 << 44;
/// Documents that wait to be written while a recording is read.
const QUEUE: usize = 64;

/// A transaction. Dropped, it leaves nothing.
#[derive(Debug)]
pub struct Batch<'i> {
    index: &'i ActivityIndex,
    writer: MutexGuard<'i, SqliteConnection>,
    documents: usize,
}

impl ActivityIndex {
    /// Begins to write.
    ///
    /// # Errors
    /// If the index cannot be written.
    pub async fn begin(&self) -> Result<Batch<'_>, IndexError> {
        let mut writer = self.writer.lock().await;
        // One that was dropped in the middle is still open.
        let _dropped = sqlx::query("ROLLBACK").execute(&mut *writer).await;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *writer).await?;
        Ok(Batch { index: self, writer, documents: 0 })
    }
}

impl Batch<'_> {
    /// How many documents were written in it.
    #[must_use]
    pub fn documents(&self) -> usize {
        self.documents
    }

    /// A session was opened: it is worth looking into until its recording was read.
    ///
    /// # Errors
    /// If the index cannot be written.
    pub async fn opened(&mut self, session: &str) -> Result<(), IndexError> {
        if self.place(session).await?.is_some() {
            return Ok(());
        }
        let below = "SELECT place FROM recordings WHERE session < ?1 AND place IS NOT NULL ORDER BY session DESC LIMIT 1";
        let above = "SELECT place FROM recordings WHERE session > ?1 AND place IS NOT NULL ORDER BY session LIMIT 1";
        let below: Option<i64> = sqlx::query_scalar(below).bind(session).fetch_optional(&mut *self.writer).await?;
        let above: Option<i64> = sqlx::query_scalar(above).bind(session).fetch_optional(&mut *self.writer).await?;
        let place = match (below, above) {
            (None, None) => Some(FIRST),
            (Some(below), None) => Some(below + GAP),
            (None, Some(above)) => Some(above - GAP),
            (Some(below), Some(above)) => Some(below + (above - below) / 2).filter(|place| *place != below),
        };
        // Row numbers have 63 bits.
        let place = place.filter(|place| (1..1 << (63 - BITS)).contains(place));
        let insert = "INSERT INTO recordings (session, place, state, documents) VALUES (?1, ?2, ?3, 0)";
        sqlx::query(insert).bind(session).bind(place).bind(UNREAD).execute(&mut *self.writer).await?;
        Ok(())
    }

    /// A session's recording is over: its marks are taken in, if it can be looked through to its end. Whether it could. It is read twice: marks cost
    /// much more than reading, so none are made of what is too large.
    ///
    /// # Errors
    /// If the index cannot be written.
    pub async fn take<R: Read + Send + 'static>(&mut self, session: &str, readers: [RecordingReader<R>; 2]) -> Result<bool, IndexError> {
        self.opened(session).await?;
        self.forget(session).await?;
        let Some((Some(place), _)) = self.place(session).await? else { return Ok(false) };
        let (give, mut given) = mpsc::channel::<String>(QUEUE);
        let key = self.index.key.clone();
        let [first, second] = readers;
        let reading = tokio::task::spawn_blocking(move || {
            is_within_reach(first) && documents(second, key, |document| give.blocking_send(document).is_ok())
        });
        let insert = "INSERT INTO marks (rowid, gram) VALUES (?1, ?2)";
        let mut count = 0;
        while let Some(document) = given.recv().await {
            sqlx::query(insert).bind((place << BITS) | count).bind(document).execute(&mut *self.writer).await?;
            count += 1;
        }
        let whole = reading.await.unwrap_or(false);
        self.documents += usize::try_from(count).unwrap_or(MOST);
        let state = if whole { WHOLE } else { UNREAD };
        let update = "UPDATE recordings SET state = ?2, documents = ?3 WHERE session = ?1";
        sqlx::query(update).bind(session).bind(state).bind(count).execute(&mut *self.writer).await?;
        if !whole {
            self.forget(session).await?;
        }
        Ok(whole)
    }

    /// A recording cannot be read any more, or never could: what was taken of it goes.
    ///
    /// # Errors
    /// If the index cannot be written.
    pub async fn forget(&mut self, session: &str) -> Result<(), IndexError> {
        let Some((place, count)) = self.place(session).await? else { return Ok(()) };
        if let Some(place) = place.filter(|_| count > 0) {
            for document in 0..count {
                sqlx::query("DELETE FROM marks WHERE rowid = ?1").bind((place << BITS) | document).execute(&mut *self.writer).await?;
            }
            let removed = "INSERT INTO meta (name, value) VALUES ('removed', '1') ON CONFLICT (name) DO UPDATE SET value = CAST(value AS INTEGER) + 1";
            sqlx::query(removed).execute(&mut *self.writer).await?;
        }
        let update = "UPDATE recordings SET state = ?2, documents = 0 WHERE session = ?1";
        sqlx::query(update).bind(session).bind(UNREAD).execute(&mut *self.writer).await?;
        Ok(())
    }

    /// Keeps it all: the log was read up to `next`.
    ///
    /// # Errors
    /// If the index cannot be written; then nothing is kept.
    pub async fn commit(mut self, next: u64) -> Result<(), IndexError> {
        let update = "UPDATE meta SET value = ?1 WHERE name = 'next'";
        sqlx::query(update).bind(next.to_string()).execute(&mut *self.writer).await?;
        sqlx::query("COMMIT").execute(&mut *self.writer).await?;
        self.index.next.store(next, Ordering::Release);
        Ok(())
    }

    /// A session's place, and how many documents it has there.
    async fn place(&mut self, session: &str) -> Result<Option<(Option<i64>, i64)>, IndexError> {
        let sql = "SELECT place, documents FROM recordings WHERE session = ?1";
        Ok(sqlx::query_as(sql).bind(session).fetch_optional(&mut *self.writer).await?)
    }
}
