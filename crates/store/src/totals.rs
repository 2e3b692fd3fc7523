//! How much there is of what: numbers for whoever has to show them.

use std::collections::BTreeMap;

use access::row::{Column, Field};
use jiff::Timestamp;

use crate::error::StoreError;
use crate::store::Store;

/// How many rows there are of each kind that an auditor asks about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// People who may sign in.
    pub people: u64,
    /// Machines that may sign in.
    pub machines: u64,
    /// People and machines that may not any more.
    pub disabled: u64,
    /// People with a passkey.
    pub with_passkey: u64,
    /// Sealed secrets.
    pub secrets: u64,
    /// Sessions that ended since then.
    pub ended: u64,
    /// Those of them whose recording is bound to the log by its digest.
    pub recorded: u64,
    /// Activations of policy since then.
    pub activations: u64,
    /// Reviews that are open.
    pub reviews_open: u64,
    /// Those of them that are overdue.
    pub reviews_overdue: u64,
}

impl Store {
    /// How many entries there are since a time, by event.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn entry_counts(&self, since: Timestamp) -> Result<BTreeMap<String, u64>, StoreError> {
        let sql = "SELECT name, COUNT(*) FROM entries WHERE at >= $1 GROUP BY name";
        let rows = self.query(&sql.into(), &[since.to_column()]).await?;
        let read = |row: &Vec<Column>| Some((String::from_column(row.first()?)?, u64::from_column(row.get(1)?)?));
        Ok(rows.iter().filter_map(read).collect())
    }

    /// How much there is of what, since a time where that matters.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn totals(&self, since: Timestamp, now: Timestamp) -> Result<Totals, StoreError> {
        let count = async |sql: &'static str, args: Vec<Column>| -> Result<u64, StoreError> {
            let rows = self.query(&sql.into(), &args).await?;
            let unreadable = || StoreError::said("count rows", "the answer is no number");
            rows.first().and_then(|row| row.first()).and_then(u64::from_column).ok_or_else(unreadable)
        };
        let since = || vec![since.to_column()];
        Ok(Totals {
            people: count("SELECT COUNT(*) FROM people WHERE state = 'active' AND owner IS NULL", Vec::new()).await?,
            machines: count("SELECT COUNT(*) FROM people WHERE state = 'active' AND owner IS NOT NULL", Vec::new()).await?,
            disabled: count("SELECT COUNT(*) FROM people WHERE state = 'disabled'", Vec::new()).await?,
            with_passkey: count("SELECT COUNT(DISTINCT person) FROM passkeys WHERE removed_at IS NULL", Vec::new()).await?,
            secrets: count("SELECT COUNT(*) FROM secrets", Vec::new()).await?,
            ended: count("SELECT COUNT(*) FROM sessions WHERE state = 'ended' AND opened_at >= $1", since()).await?,
            recorded: count(
                "SELECT COUNT(*) FROM sessions WHERE state = 'ended' AND opened_at >= $1 AND recording_digest IS NOT NULL",
                since(),
            )
            .await?,
            activations: count("SELECT COUNT(*) FROM bundles WHERE activated_at >= $1", since()).await?,
            reviews_open: count("SELECT COUNT(*) FROM reviews WHERE state = 'open'", Vec::new()).await?,
            reviews_overdue: count("SELECT COUNT(*) FROM reviews WHERE state = 'open' AND due_at <= $1", vec![now.to_column()]).await?,
        })
    }
}
