//! Keys that sign people in.

use access::identity::KeyRow;
use access::ids::{KeyId, PrincipalId};
use jiff::Timestamp;

use crate::error::StoreError;
use crate::select::{Page, Select};
use crate::store::Store;

impl Store {
    /// One key.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn key(&self, id: KeyId) -> Result<Option<KeyRow>, StoreError> {
        self.first(Select::all().is("id", &id)).await
    }

    /// The active key with this fingerprint (`SHA256:…`). Whether a certificate has run out is for the caller to see.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn active_key(&self, fingerprint: &str) -> Result<Option<KeyRow>, StoreError> {
        self.first(Select::all().is("fingerprint", &fingerprint.to_owned()).so("state = 'active'")).await
    }

    /// The certificates that were made after a time and still sign somebody in, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn certificates_made_after(&self, at: Timestamp) -> Result<Vec<KeyRow>, StoreError> {
        self.select(Select::all().that("added_at > ?", &at).so("expires_at IS NOT NULL").so("state = 'active'")).await
    }

    /// All keys of a person, removed ones too, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn keys_of(&self, person: PrincipalId) -> Result<Vec<KeyRow>, StoreError> {
        self.select(Select::all().is("person", &person)).await
    }

    /// A page of them.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn keys_page(&self, person: PrincipalId, page: &Page) -> Result<Vec<KeyRow>, StoreError> {
        self.select(Select::all().is("person", &person).page("id", page)).await
    }
}
