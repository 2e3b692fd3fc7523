//! Whose accounts at chat services are.

use access::chat::{ChatAccountRow, ChatService};
use access::ids::PrincipalId;

use crate::error::StoreError;
use crate::select::Select;
use crate::store::Store;

impl Store {
    /// One account, by [`access::chat::key`], its owner's still or not.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn chat_account(&self, id: &str) -> Result<Option<ChatAccountRow>, StoreError> {
        self.first(Select::all().is("id", &id.to_owned())).await
    }

    /// The accounts that count as a person's.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn chat_accounts_of(&self, person: PrincipalId) -> Result<Vec<ChatAccountRow>, StoreError> {
        self.select(Select::all().is("person", &person).so("removed_at IS NULL").order("id")).await
    }

    /// Everybody's accounts of one workspace that count.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn chat_accounts_at(&self, service: ChatService, team: &str) -> Result<Vec<ChatAccountRow>, StoreError> {
        let select = Select::all().is("service", &service).is("team", &team.to_owned()).so("removed_at IS NULL");
        self.select(select.order("id")).await
    }

    /// Everybody's mailboxes that count.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn mailboxes(&self) -> Result<Vec<ChatAccountRow>, StoreError> {
        let select = Select::all().is("service", &ChatService::Mail).so("removed_at IS NULL").so("address IS NOT NULL");
        self.select(select.order("id")).await
    }
}
