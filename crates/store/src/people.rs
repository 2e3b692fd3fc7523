//! People and workloads.

use access::identity::{PersonRow, PersonState};
use access::ids::{PrincipalId, UserId};
use access::names::Username;

use crate::error::StoreError;
use crate::select::{Page, Select};
use crate::store::Store;

impl Store {
    /// One person or workload.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn person(&self, id: PrincipalId) -> Result<Option<PersonRow>, StoreError> {
        self.first(Select::all().is("id", &id)).await
    }

    /// Who signs in under this name, active or not.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn person_named(&self, username: &Username) -> Result<Option<PersonRow>, StoreError> {
        self.first(Select::all().is("username", username)).await
    }

    /// A page of people, those who came last first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn people(&self, state: Option<PersonState>, page: &Page) -> Result<Vec<PersonRow>, StoreError> {
        self.select(Select::all().maybe("state", state.as_ref()).page("id", page)).await
    }

    /// Every workload that a human answers for.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn workloads_of(&self, owner: UserId) -> Result<Vec<PersonRow>, StoreError> {
        self.select(Select::all().is("owner", &owner).order("id")).await
    }

    /// Whether nobody is known yet.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.first::<PersonRow>(Select::all()).await?.is_none())
    }
}
