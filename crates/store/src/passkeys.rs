//! Passkeys, by what their authenticators know them by.

use access::ids::{PasskeyId, PrincipalId};

use crate::committed::PasskeyRow;
use crate::error::StoreError;
use crate::select::Select;
use crate::store::Store;

impl Store {
    /// The passkey with this id of its authenticator's (base64url), removed or not.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn passkey_by_credential(&self, credential: &str) -> Result<Option<PasskeyRow>, StoreError> {
        self.first(Select::all().is("credential", &credential.to_owned())).await
    }

    /// One passkey.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn passkey(&self, id: PasskeyId) -> Result<Option<PasskeyRow>, StoreError> {
        self.first(Select::all().is("id", &id)).await
    }

    /// The passkeys that sign a person in, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn passkeys_of(&self, person: PrincipalId) -> Result<Vec<PasskeyRow>, StoreError> {
        self.select(Select::all().is("person", &person).so("removed_at IS NULL")).await
    }
}
