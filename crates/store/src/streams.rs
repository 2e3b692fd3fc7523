//! How far each stream to the outside has come. Losing a row sends the log again from its beginning.

use access::row::{Column, Field};
use jiff::Timestamp;

use crate::error::StoreError;
use crate::store::Store;

/// How far a stream has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamRow {
    /// Its name.
    pub name: String,
    /// The place in the log of the entry that is to be sent next.
    pub next: u64,
    /// How many of that entry's lines were taken already.
    pub line: u64,
    /// What those lines come to, and nothing if there are none: if they come to something else now, that entry is sent anew.
    pub mark: String,
    /// When something was taken the last time.
    pub taken_at: Option<Timestamp>,
    /// Since when nothing is taken.
    pub failing_since: Option<Timestamp>,
    /// When it is tried again.
    pub due_at: Option<Timestamp>,
    /// Why not the last time.
    pub error: Option<String>,
}

const COLUMNS: &str = "SELECT name, next, line, mark, taken_at, failing_since, due_at, error FROM streams";

impl StreamRow {
    fn from_columns(columns: &[Column]) -> Result<Self, StoreError> {
        let read = || {
            let [name, next, line, mark, taken_at, failing_since, due_at, error] = columns else { return None };
            Some(Self {
                name: String::from_column(name)?,
                next: u64::from_column(next)?,
                line: u64::from_column(line)?,
                mark: String::from_column(mark)?,
                taken_at: Option::from_column(taken_at)?,
                failing_since: Option::from_column(failing_since)?,
                due_at: Option::from_column(due_at)?,
                error: Option::from_column(error)?,
            })
        };
        read().ok_or_else(|| StoreError::said("read how far a stream has come", "its row holds something else"))
    }
}

impl Store {
    /// How far a stream has come, if it ever began.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn stream(&self, name: &str) -> Result<Option<StreamRow>, StoreError> {
        let sql = format!("{COLUMNS} WHERE name = $1");
        let rows = self.query(&sql.into(), &[Column::Text(name.to_owned())]).await?;
        rows.first().map(|columns| StreamRow::from_columns(columns)).transpose()
    }

    /// How far all have come, by name.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn streams(&self) -> Result<Vec<StreamRow>, StoreError> {
        let sql = format!("{COLUMNS} ORDER BY name");
        self.query(&sql.into(), &[]).await?.iter().map(|columns| StreamRow::from_columns(columns)).collect()
    }

    /// Moves a stream on, to a place and a line there, if it still is where `from` says; `false`: it is elsewhere.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn move_stream(&self, from: &StreamRow, mark: &str, to: (u64, u64), now: Timestamp) -> Result<bool, StoreError> {
        let sql = "INSERT INTO streams (name, next, line, mark, taken_at) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (name) DO UPDATE SET next = excluded.next, line = excluded.line, mark = excluded.mark, taken_at = excluded.taken_at,
                failing_since = NULL, due_at = NULL, error = NULL
            WHERE streams.next = $6 AND streams.line = $7 AND streams.mark = $8";
        let args = vec![
            Column::Text(from.name.clone()),
            to.0.to_column(),
            to.1.to_column(),
            Column::Text(mark.to_owned()),
            now.to_column(),
            from.next.to_column(),
            from.line.to_column(),
            Column::Text(from.mark.clone()),
        ];
        Ok(self.ephemeral(vec![(sql, args)]).await? == [1])
    }

    /// Notes that nothing was taken, why, and when it is tried again.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn stream_failed(&self, name: &str, why: &str, now: Timestamp, due: Timestamp) -> Result<(), StoreError> {
        let sql = "INSERT INTO streams (name, next, line, mark, failing_since, due_at, error) VALUES ($1, 0, 0, '', $2, $3, $4)
            ON CONFLICT (name) DO UPDATE SET failing_since = COALESCE(streams.failing_since, excluded.failing_since),
                due_at = excluded.due_at, error = excluded.error";
        let args = vec![Column::Text(name.to_owned()), now.to_column(), due.to_column(), Column::Text(why.to_owned())];
        self.ephemeral(vec![(sql, args)]).await.map(drop)
    }
}
