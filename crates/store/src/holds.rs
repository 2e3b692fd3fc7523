//! Legal holds.

use access::hold::{HoldRow, HoldState};
use access::ids::HoldId;

use crate::error::StoreError;
use crate::select::{Page, Select};
use crate::store::Store;

impl Store {
    /// One hold.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn hold(&self, id: HoldId) -> Result<Option<HoldRow>, StoreError> {
        self.first(Select::all().is("id", &id)).await
    }

    /// Every hold that is set.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn set_holds(&self) -> Result<Vec<HoldRow>, StoreError> {
        self.select(Select::all().so("state = 'set'").order("id")).await
    }

    /// A page of holds, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn holds(&self, state: Option<HoldState>, page: &Page) -> Result<Vec<HoldRow>, StoreError> {
        self.select(Select::all().maybe("state", state.as_ref()).page("id", page)).await
    }
}
