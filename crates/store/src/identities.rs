//! Who people are at identity providers.

use access::identity::IdentityRow;
use access::ids::PrincipalId;
use jiff::Timestamp;

use crate::error::StoreError;
use crate::select::Select;
use crate::store::Store;

impl Store {
    /// One identity that is somebody's, by what it is known: SHA-256 over issuer and subject, hex.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn identity(&self, id: &str) -> Result<Option<IdentityRow>, StoreError> {
        Ok(self.known_identity(id).await?.filter(|row| row.unlinked_at.is_none()))
    }

    /// The same, or one that was somebody's.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn known_identity(&self, id: &str) -> Result<Option<IdentityRow>, StoreError> {
        self.first(Select::all().is("id", &id.to_owned())).await
    }

    /// Who a person is at identity providers.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn identities_of(&self, person: PrincipalId) -> Result<Vec<IdentityRow>, StoreError> {
        self.select(Select::all().is("person", &person).so("unlinked_at IS NULL").order("id")).await
    }

    /// Whether anybody signed in at this issuer after one time and no later than another.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn proved_between(&self, issuer: &str, after: Timestamp, until: Timestamp) -> Result<bool, StoreError> {
        let select = Select::all().is("issuer", &issuer.to_owned()).compare("proved_at", ">", &after).compare("proved_at", "<=", &until);
        Ok(self.first::<IdentityRow>(select).await?.is_some())
    }
}
