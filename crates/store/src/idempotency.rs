//! Answers to POSTs that came under an idempotency key, so that a repeated one gets the answer of the first.

use access::ids::PrincipalId;
use access::row::{Column, Field};
use jiff::Timestamp;

use crate::error::StoreError;
use crate::store::Store;

/// What is known of an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is new and now taken: go on.
    Fresh,
    /// The first one under it still runs, or died before it had an answer.
    Running,
    /// The first one was answered like this.
    Done {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// It was used for something else.
    Other,
}

pub(crate) const FINISH: &str = "UPDATE idempotency_keys SET status = $2, body = $3 WHERE id = $1";

/// Keys of two people never meet.
pub(crate) fn id(person: PrincipalId, key: &str) -> Column {
    Column::Text(format!("{person} {key}"))
}

impl Store {
    /// Takes an idempotency key for a request with this digest.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn begin_idempotent(&self, person: PrincipalId, key: &str, digest: &str, at: Timestamp) -> Result<Begun, StoreError> {
        let insert = "INSERT INTO idempotency_keys (id, person, request_digest, at) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING";
        let args = vec![id(person, key), person.to_column(), Column::Text(digest.to_owned()), at.to_column()];
        if self.ephemeral(vec![(insert, args)]).await? == [1] {
            return Ok(Begun::Fresh);
        }
        let rows =
            self.query(&"SELECT request_digest, status, body FROM idempotency_keys WHERE id = $1".into(), &[id(person, key)]).await?;
        Ok(match rows.first().map(Vec::as_slice) {
            Some([Column::Text(first), ..]) if first != digest => Begun::Other,
            Some([_, Column::Int(status), Column::Text(body)]) => {
                Begun::Done { status: u16::try_from(*status).unwrap_or(500), body: body.clone() }
            }
            _ => Begun::Running,
        })
    }

    /// Keeps the answer; [`crate::Change::finish_idempotent`] does it together with the change.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn finish_idempotent(&self, person: PrincipalId, key: &str, status: u16, body: &str) -> Result<(), StoreError> {
        let args = vec![id(person, key), Column::Int(status.into()), Column::Text(body.to_owned())];
        self.ephemeral(vec![(FINISH, args)]).await.map(drop)
    }

    /// Gives a key back whose request came to nothing, so that it can be tried again.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn drop_idempotent(&self, person: PrincipalId, key: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM idempotency_keys WHERE id = $1 AND status IS NULL";
        self.ephemeral(vec![(sql, vec![id(person, key)])]).await.map(drop)
    }

    /// Forgets keys taken before this time.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn forget_idempotent(&self, before: Timestamp) -> Result<(), StoreError> {
        self.ephemeral(vec![("DELETE FROM idempotency_keys WHERE at < $1", vec![before.to_column()])]).await.map(drop)
    }
}
