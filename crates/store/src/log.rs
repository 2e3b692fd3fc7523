//! The log's order: places in the tree, given by one sequencer in batches, and the newest time there is.

use access::ids::EntryId;
use access::row::{Column, Field};
use jiff::Timestamp;

use crate::commit::Failure;
use crate::database::Connection;
use crate::error::{CommitError, StoreError};
use crate::store::{Done, Store, Work};

/// An entry with its place in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequenced {
    /// Its place, from 0, without gaps.
    pub index: u64,
    /// Which entry.
    pub entry: EntryId,
    /// What is hashed.
    pub leaf: Vec<u8>,
}

fn unreadable() -> StoreError {
    StoreError::Leaf { why: "an entry has no id, no leaf, or a place below 0".into() }
}

impl Sequenced {
    fn from_columns(columns: &[Column]) -> Result<Self, StoreError> {
        match columns {
            [Column::Int(index), Column::Text(id), Column::Text(leaf)] => Ok(Self {
                index: u64::try_from(*index).map_err(|_| unreadable())?,
                entry: id.parse().map_err(|_| unreadable())?,
                leaf: leaf.clone().into_bytes(),
            }),
            _ => Err(unreadable()),
        }
    }
}

/// Gives places to entries in the order in which they were written, within the transaction.
pub(crate) async fn sequence(db: &mut Connection<'_>, limit: i64) -> Result<Vec<Sequenced>, Failure> {
    if db.is_postgres() {
        // The lock is this number everywhere and stands for "giving places in the log".
        db.fetch(&"SELECT 1::bigint FROM pg_advisory_xact_lock(7310030)".into(), &[]).await?;
    }
    let sql = "UPDATE entries SET leaf_index = next.base + next.nth FROM (
            SELECT seq, ROW_NUMBER() OVER (ORDER BY seq) - 1 AS nth,
                (SELECT COALESCE(MAX(leaf_index), -1) + 1 FROM entries WHERE leaf_index IS NOT NULL) AS base
            FROM entries WHERE leaf_index IS NULL ORDER BY seq LIMIT $1
        ) AS next WHERE entries.seq = next.seq RETURNING leaf_index, id, leaf";
    let rows = db.fetch(&sql.into(), &[Column::Int(limit)]).await?;
    let mut sequenced = rows
        .iter()
        .map(|columns| Sequenced::from_columns(columns))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| Failure::Change(e.into()))?;
    sequenced.sort_by_key(|s| s.index);
    Ok(sequenced)
}

impl Store {
    /// Gives their place in the tree to at most `limit` entries that have none, and returns just those, in order.
    ///
    /// Two at once never give one place twice. After a crash between this and the tree's growing, the tree catches up by
    /// [`Self::sequenced_from`].
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn sequence(&self, limit: u32) -> Result<Vec<Sequenced>, StoreError> {
        match self.work(Work::Sequence(limit.into())).await {
            Ok(Done::Sequence(sequenced)) => Ok(sequenced),
            Ok(_) => Err(StoreError::said("order the log", "the writer answered something else")),
            Err(CommitError::Unavailable(error)) => Err(error),
            Err(other) => Err(StoreError::said("order the log", other.to_string())),
        }
    }

    /// Entries that have a place, from this one on, in order.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn sequenced_from(&self, index: u64, limit: u32) -> Result<Vec<Sequenced>, StoreError> {
        let sql = "SELECT leaf_index, id, leaf FROM entries WHERE leaf_index >= $1 ORDER BY leaf_index LIMIT $2";
        let rows = self.query(&sql.into(), &[index.to_column(), Column::Int(limit.into())]).await?;
        rows.iter().map(|columns| Sequenced::from_columns(columns)).collect()
    }

    /// How many entries have a place.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn sequenced(&self) -> Result<u64, StoreError> {
        let sql = "SELECT COALESCE(MAX(leaf_index), -1) + 1 FROM entries WHERE leaf_index IS NOT NULL";
        let rows = self.query(&sql.into(), &[]).await?;
        let next = rows.first().and_then(|r| r.first()).and_then(u64::from_column);
        next.ok_or_else(unreadable)
    }

    /// The newest time the store knows: of an entry, or as [`Self::raise_high_water`] said. It never goes back, but where somebody said
    /// that it had run ahead: of what was entered before that, nothing counts.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn high_water(&self) -> Result<Option<Timestamp>, StoreError> {
        let newest = self.query(&NEWEST.into(), &[]).await?;
        let newest = newest.first().and_then(|r| r.first()).and_then(Timestamp::from_column);
        let kept = self.meta(HIGH_WATER).await?.and_then(|text| text.parse().ok()).and_then(|n| Timestamp::from_microsecond(n).ok());
        Ok(newest.max(kept))
    }

    /// Says that it is at least `now`, for times in which nothing is logged.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn raise_high_water(&self, now: Timestamp) -> Result<(), StoreError> {
        let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value
            WHERE CAST(meta.value AS BIGINT) < CAST(excluded.value AS BIGINT)";
        let args = vec![Column::Text(HIGH_WATER.into()), Column::Text(now.as_microsecond().to_string())];
        self.ephemeral(vec![(sql, args)]).await.map(drop)
    }

    /// Brings what was erased off the disk for good: answers that are kept for repeated calls may hold it, and a SQLite store's
    /// journal of writes does until then.
    ///
    /// # Errors
    /// If the store can't be reached.
    pub async fn scrub(&self) -> Result<(), StoreError> {
        let answers = "UPDATE idempotency_keys SET body = '{}' WHERE status IS NOT NULL AND body <> '{}'";
        self.ephemeral(vec![(answers, Vec::new())]).await?;
        if self.is_postgres() {
            // Vacuum does it in its own time; the server's own journal is the business of who runs it.
            return Ok(());
        }
        for _ in 0..SCRUBS {
            let done = self.query(&"PRAGMA wal_checkpoint(TRUNCATE)".into(), &[]).await?;
            if matches!(done.first().and_then(|row| row.first()), Some(Column::Int(0))) {
                return Ok(());
            }
        }
        // Somebody kept reading; the journal is overwritten as the store goes on.
        tracing::warn!("an erased text stays in the store's journal until it is overwritten; restart the gate to make sure");
        Ok(())
    }

    /// Takes or renews a lease; `false`: somebody else holds it at `now`.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn take_lease(&self, name: &str, holder: &str, now: Timestamp, until: Timestamp) -> Result<bool, StoreError> {
        let sql = "INSERT INTO leases (name, holder, until) VALUES ($1, $2, $3)
            ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
            WHERE leases.holder = excluded.holder OR leases.until <= $4";
        let args = vec![Column::Text(name.into()), Column::Text(holder.into()), until.to_column(), now.to_column()];
        Ok(self.ephemeral(vec![(sql, args)]).await? == [1])
    }
}

/// How often the journal's end is waited for, each time as long as for a locked file.
const SCRUBS: u32 = 3;
pub(crate) const HIGH_WATER: &str = "high_water";
const NEWEST: &str = "SELECT MAX(at) FROM entries WHERE seq >= COALESCE((SELECT MAX(seq) FROM entries WHERE name = 'clock.accepted'), 0)";
