//! Small facts about the store itself, by name.

use access::row::{Column, Field};

use crate::error::StoreError;
use crate::store::Store;

impl Store {
    /// A fact, if it was ever kept.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn meta(&self, name: &str) -> Result<Option<String>, StoreError> {
        let rows = self.query(&"SELECT value FROM meta WHERE name = $1".into(), &[Column::Text(name.to_owned())]).await?;
        Ok(rows.first().and_then(|r| r.first()).and_then(String::from_column))
    }

    /// Keeps a fact in place of the one before.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn set_meta(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.ephemeral(vec![(sql, vec![Column::Text(name.to_owned()), Column::Text(value.to_owned())])]).await.map(drop)
    }
}
