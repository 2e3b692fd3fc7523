//! Projections: what was counted from the log so far, so that it need not be told again from its first entry. Losing one costs only that time.

use access::row::{Column, Field};

use crate::error::StoreError;
use crate::store::Store;

impl Store {
    /// What was kept under a name, if anything was.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn projection(&self, name: &str) -> Result<Option<String>, StoreError> {
        let rows = self.query(&"SELECT body FROM projections WHERE name = $1".into(), &[Column::Text(name.to_owned())]).await?;
        Ok(rows.first().and_then(|row| row.first()).and_then(String::from_column))
    }

    /// Keeps one that follows from so many entries, unless another node kept one that follows from more.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn keep_projection(&self, name: &str, version: u32, entries: u64, body: String) -> Result<(), StoreError> {
        let sql = "INSERT INTO projections (name, version, entries, body) VALUES ($1, $2, $3, $4)
            ON CONFLICT (name) DO UPDATE SET version = excluded.version, entries = excluded.entries, body = excluded.body
            WHERE projections.version <> excluded.version OR projections.entries < excluded.entries";
        let args = vec![Column::Text(name.to_owned()), Column::Int(version.into()), entries.to_column(), Column::Text(body)];
        self.ephemeral(vec![(sql, args)]).await.map(drop)
    }

    /// Forgets one, so that the log is told again.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn forget_projection(&self, name: &str) -> Result<(), StoreError> {
        self.ephemeral(vec![("DELETE FROM projections WHERE name = $1", vec![Column::Text(name.to_owned())])]).await.map(drop)
    }
}
