//! Web sessions, by what verifies their cookie. Ephemeral: no entry of the log speaks of a row.

use access::ids::{PrincipalId, WebSessionId};
use access::row::{Field, Row};
use jiff::Timestamp;

use crate::committed::WebSessionRow;
use crate::error::StoreError;
use crate::select::Select;
use crate::store::Store;
use crate::table::insert_row;

impl Store {
    /// The web session with this verifier (SHA-256, hex), its time up or not.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn web_session_by_verifier(&self, verifier: &str) -> Result<Option<WebSessionRow>, StoreError> {
        self.first(Select::all().is("verifier", &verifier.to_owned())).await
    }

    /// One web session.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn web_session(&self, id: WebSessionId) -> Result<Option<WebSessionRow>, StoreError> {
        self.first(Select::all().is("id", &id)).await
    }

    /// All web sessions of a person, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn web_sessions_of(&self, person: PrincipalId) -> Result<Vec<WebSessionRow>, StoreError> {
        self.select(Select::all().is("person", &person)).await
    }

    /// Keeps a new web session, and forgets those whose time was up or that nobody used since `idle_since`.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn put_web_session(&self, row: &WebSessionRow, idle_since: Timestamp) -> Result<(), StoreError> {
        let insert = insert_row::<WebSessionRow>();
        let forget = "DELETE FROM web_sessions WHERE ends_at <= $1 OR seen_at <= $2";
        let args = vec![row.created_at.to_column(), idle_since.to_column()];
        self.ephemeral(vec![(forget, args), (&insert, row.to_columns())]).await.map(drop)
    }

    /// A web session was used at this time.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn web_session_seen(&self, id: WebSessionId, at: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE web_sessions SET seen_at = $2 WHERE id = $1 AND seen_at < $2";
        self.ephemeral(vec![(sql, vec![id.to_column(), at.to_column()])]).await.map(drop)
    }

    /// Ends a web session.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn end_web_session(&self, id: WebSessionId) -> Result<(), StoreError> {
        self.ephemeral(vec![("DELETE FROM web_sessions WHERE id = $1", vec![id.to_column()])]).await.map(drop)
    }

    /// Who signed in by a session at an identity provider, as long as anything that came of it may last: also once the browser is forgotten.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn identities_by_sid(&self, sid: &str) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT identity FROM provider_sessions WHERE sid = $1 ORDER BY identity";
        let rows = self.query(&sql.into(), &[sid.to_owned().to_column()]).await?;
        Ok(rows.into_iter().flatten().filter_map(|identity| String::from_column(&identity)).collect())
    }

    /// Ends every web session of a person; says how many there were.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn end_web_sessions_of(&self, person: PrincipalId) -> Result<u64, StoreError> {
        let ended = self.ephemeral(vec![("DELETE FROM web_sessions WHERE person = $1", vec![person.to_column()])]).await?;
        Ok(ended.into_iter().sum())
    }
}
