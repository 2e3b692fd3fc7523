//! Invitations, by what verifies them.

use access::ids::PrincipalId;

use crate::committed::InvitationRow;
use crate::error::StoreError;
use crate::select::Select;
use crate::store::Store;

impl Store {
    /// The invitation with this verifier (SHA-256, hex), used or not, run out or not.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn invitation_by_verifier(&self, verifier: &str) -> Result<Option<InvitationRow>, StoreError> {
        self.first(Select::all().is("verifier", &verifier.to_owned())).await
    }

    /// All invitations of a person, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn invitations_of(&self, person: PrincipalId) -> Result<Vec<InvitationRow>, StoreError> {
        self.select(Select::all().is("person", &person)).await
    }
}
