//! Resources that people pinned. Ephemeral: no entry of the log speaks of a row, and losing one takes nothing away but comfort.

use access::ids::PrincipalId;
use access::names::ResourceName;
use access::row::Field;

use crate::error::StoreError;
use crate::store::Store;

impl Store {
    /// What a person pinned, by name.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn pins(&self, person: PrincipalId) -> Result<Vec<ResourceName>, StoreError> {
        let sql = "SELECT resource FROM pins WHERE person = $1 ORDER BY resource";
        let rows = self.query(&sql.into(), &[person.to_column()]).await?;
        // What can't be read is as good as lost.
        Ok(rows.iter().filter_map(|row| ResourceName::from_column(row.first()?)).collect())
    }

    /// Pins a resource; one that is pinned stays so.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn pin(&self, person: PrincipalId, resource: &ResourceName) -> Result<(), StoreError> {
        let sql = "INSERT INTO pins (person, resource) VALUES ($1, $2) ON CONFLICT (person, resource) DO NOTHING";
        self.ephemeral(vec![(sql, vec![person.to_column(), resource.to_column()])]).await.map(drop)
    }

    /// Unpins a resource, if it is pinned.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn unpin(&self, person: PrincipalId, resource: &ResourceName) -> Result<(), StoreError> {
        let sql = "DELETE FROM pins WHERE person = $1 AND resource = $2";
        self.ephemeral(vec![(sql, vec![person.to_column(), resource.to_column()])]).await.map(drop)
    }

    /// Unpins all that a person pinned.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn forget_pins(&self, person: PrincipalId) -> Result<(), StoreError> {
        self.ephemeral(vec![("DELETE FROM pins WHERE person = $1", vec![person.to_column()])]).await.map(drop)
    }
}
