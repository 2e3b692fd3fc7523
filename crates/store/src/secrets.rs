//! Sealed secrets and learned host keys: what sessions need besides their permit's grant.

use access::names::{ResourceName, SecretName};

use crate::committed::{HostKeyRow, SecretRow};
use crate::error::StoreError;
use crate::select::Select;
use crate::store::Store;

impl Store {
    /// A secret, sealed.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn secret(&self, name: &SecretName) -> Result<Option<SecretRow>, StoreError> {
        self.first(Select::all().is("name", name)).await
    }

    /// Every secret, sealed, by name.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn secrets(&self) -> Result<Vec<SecretRow>, StoreError> {
        self.select(Select::all().order("name")).await
    }

    /// The host key that was learned for a resource.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn host_key(&self, resource: &ResourceName) -> Result<Option<HostKeyRow>, StoreError> {
        self.first(Select::all().is("resource", resource)).await
    }
}
