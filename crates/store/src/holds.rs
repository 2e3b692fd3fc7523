//! Legal holds.
//!
//! INVARIANT: no node destroys what another one was told is held: how often a hold was set stands in one row, which setting one changes and
//! every deletion asks for in its own transaction.

use access::hold::{HoldRow, HoldState};
use access::ids::HoldId;
use access::row::Column;

use crate::change::Change;
use crate::error::StoreError;
use crate::select::{Page, Select};
use crate::store::Store;

/// How often a hold was set, among the facts about the store.
const COUNT: &str = "holds";

/// The holds that were set at one moment, and that this was all.
#[derive(Debug, Clone)]
pub struct Holds {
    /// They.
    pub set: Vec<HoldRow>,
    /// How often one was set until then.
    count: String,
}

impl Change {
    /// With a hold set: what was to be deleted because nothing held it is not deleted any more.
    pub fn set_hold(self) -> Self {
        let sql = "INSERT INTO meta (name, value) VALUES ($1, '1') \
                   ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(meta.value AS BIGINT) + 1 AS TEXT)";
        self.write(sql, vec![Column::Text(COUNT.to_owned())], None)
    }

    /// Only if no hold was set since these were read, on whichever node.
    pub fn held_as(self, holds: &Holds) -> Self {
        // Also where it changes nothing, it waits for who sets one at this moment.
        let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) \
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE meta.value = excluded.value";
        let args = vec![Column::Text(COUNT.to_owned()), Column::Text(holds.count.clone())];
        self.write(sql, args, Some((<HoldRow as access::row::Row>::TABLE, "that was set".to_owned())))
    }
}

impl Store {
    /// Every hold that is set, to be handed to [`Change::held_as`].
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn holds_now(&self) -> Result<Holds, StoreError> {
        // The count first: a hold that comes in between is counted too little, and so refused.
        let count = self.meta(COUNT).await?.unwrap_or_else(|| "0".to_owned());
        Ok(Holds { set: self.set_holds().await?, count })
    }

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
