//! Accounts made in databases.

use access::account::AccountRow;
use access::ids::GrantId;
use access::names::ResourceName;

use crate::error::StoreError;
use crate::select::Select;
use crate::store::Store;

impl Store {
    /// Every account of a node that may still be at its target.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn made_accounts(&self, node: &str) -> Result<Vec<AccountRow>, StoreError> {
        self.select(Select::all().so("state = 'made'").is("node", &node.to_owned()).order("id")).await
    }

    /// Every account of a resource that may still be at its target, whichever node made it.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn made_accounts_on(&self, resource: &ResourceName) -> Result<Vec<AccountRow>, StoreError> {
        self.select(Select::all().so("state = 'made'").is("resource", resource).order("id")).await
    }

    /// The accounts made for a grant, in order.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn accounts_of(&self, grant: GrantId) -> Result<Vec<AccountRow>, StoreError> {
        self.select(Select::all().is("grant", &grant).order("id")).await
    }
}
