//! Locks.

use access::ids::LockId;
use access::lock::{LockRow, LockState};
use jiff::Timestamp;

use crate::error::StoreError;
use crate::select::{Page, Select};
use crate::store::Store;

impl Store {
    /// One lock.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn lock(&self, id: LockId) -> Result<Option<LockRow>, StoreError> {
        self.first(Select::all().is("id", &id)).await
    }

    /// Every lock that holds at `now`.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn holding_locks(&self, now: Timestamp) -> Result<Vec<LockRow>, StoreError> {
        self.select(Select::all().so("state = 'set'").that("(until IS NULL OR until > ?)", &now).order("id")).await
    }

    /// Locks that are set but whose time is up at `now`.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn due_locks(&self, now: Timestamp) -> Result<Vec<LockRow>, StoreError> {
        self.select(Select::all().so("state = 'set'").compare("until", "<=", &now).order("id")).await
    }

    /// A page of locks, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn locks(&self, state: Option<LockState>, page: &Page) -> Result<Vec<LockRow>, StoreError> {
        self.select(Select::all().maybe("state", state.as_ref()).page("id", page)).await
    }
}
