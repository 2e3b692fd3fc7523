//! Bearer tokens, by what verifies them.

use access::ids::{GrantId, PrincipalId, TokenId};
use jiff::Timestamp;

use crate::committed::TokenRow;
use crate::error::StoreError;
use crate::select::{Page, Select};
use crate::store::Store;

impl Store {
    /// The token with this verifier (SHA-256, hex), revoked or not, run out or not.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn token_by_verifier(&self, verifier: &str) -> Result<Option<TokenRow>, StoreError> {
        self.first(Select::all().is("verifier", &verifier.to_owned())).await
    }

    /// One token.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn token(&self, id: TokenId) -> Result<Option<TokenRow>, StoreError> {
        self.first(Select::all().is("id", &id)).await
    }

    /// All tokens of a person, revoked ones too, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn tokens_of(&self, person: PrincipalId) -> Result<Vec<TokenRow>, StoreError> {
        self.select(Select::all().is("person", &person)).await
    }

    /// A page of them.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn tokens_page(&self, person: PrincipalId, page: &Page) -> Result<Vec<TokenRow>, StoreError> {
        self.select(Select::all().is("person", &person).page("id", page)).await
    }

    /// The tokens that were made after a time and not revoked, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn tokens_made_after(&self, at: Timestamp) -> Result<Vec<TokenRow>, StoreError> {
        self.select(Select::all().that("created_at > ?", &at).so("revoked_at IS NULL")).await
    }

    /// All connect tokens of a grant, revoked ones too, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn tokens_of_grant(&self, grant: GrantId) -> Result<Vec<TokenRow>, StoreError> {
        self.select(Select::all().is("grant", &grant)).await
    }
}
