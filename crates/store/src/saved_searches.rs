//! Filters of searches that people keep. Ephemeral: no entry of the log speaks of a row, and losing one takes nothing away but comfort.

use access::ids::{PrincipalId, SavedSearchId};
use access::row::{Column, Field};
use jiff::Timestamp;

use crate::error::StoreError;
use crate::store::Store;

/// Filters somebody keeps under a name of theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedSearch {
    /// `sav_…`
    pub id: SavedSearchId,
    /// What they call it; of one person's no two are called the same.
    pub name: String,
    /// The filters, as JSON.
    pub filters: String,
    /// Since when they are these.
    pub saved_at: Timestamp,
}

impl Store {
    /// Everything a person keeps, by name.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn saved_searches(&self, person: PrincipalId) -> Result<Vec<SavedSearch>, StoreError> {
        let sql = "SELECT id, name, filters, saved_at FROM saved_searches WHERE person = $1 ORDER BY name";
        let rows = self.query(&sql.into(), &[person.to_column()]).await?;
        let read = |row: &Vec<Column>| match row.as_slice() {
            [id, Column::Text(name), Column::Text(filters), at] => {
                let (id, saved_at) = (SavedSearchId::from_column(id)?, Timestamp::from_column(at)?);
                Some(SavedSearch { id, name: name.clone(), filters: filters.clone(), saved_at })
            }
            _ => None,
        };
        // What can't be read is as good as lost.
        Ok(rows.iter().filter_map(read).collect())
    }

    /// Keeps a search, in the place of the person's one that has its name: that one's id stays.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn save_search(&self, person: PrincipalId, search: &SavedSearch) -> Result<(), StoreError> {
        let sql = "INSERT INTO saved_searches (id, person, name, filters, saved_at) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT (person, name) DO UPDATE SET filters = excluded.filters, saved_at = excluded.saved_at";
        let args = vec![
            search.id.to_column(),
            person.to_column(),
            search.name.to_column(),
            search.filters.to_column(),
            search.saved_at.to_column(),
        ];
        self.ephemeral(vec![(sql, args)]).await.map(drop)
    }

    /// Forgets a search of this person's; says whether there was one.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn forget_search(&self, person: PrincipalId, id: SavedSearchId) -> Result<bool, StoreError> {
        let sql = "DELETE FROM saved_searches WHERE id = $1 AND person = $2";
        Ok(self.ephemeral(vec![(sql, vec![id.to_column(), person.to_column()])]).await? == [1])
    }
}
