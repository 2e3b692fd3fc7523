//! Reviews: looks back that somebody owes.

use access::ids::{PrincipalId, ReviewId};
use access::review::{ReviewRow, ReviewState};
use jiff::Timestamp;

use crate::error::StoreError;
use crate::select::{Page, Select};
use crate::store::Store;

impl Store {
    /// One review.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn review(&self, id: ReviewId) -> Result<Option<ReviewRow>, StoreError> {
        self.first(Select::all().is("id", &id)).await
    }

    /// Reviews about a person that are not answered, oldest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn open_reviews_about(&self, person: PrincipalId) -> Result<Vec<ReviewRow>, StoreError> {
        self.select(Select::all().is("person", &person).so("state = 'open'").order("id")).await
    }

    /// All reviews that are overdue, whoever they are about.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn overdue_reviews(&self, now: Timestamp) -> Result<Vec<ReviewRow>, StoreError> {
        self.select(Select::all().so("state = 'open'").compare("due_at", "<=", &now).order("id")).await
    }

    /// A page of reviews, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn reviews(&self, state: Option<ReviewState>, page: &Page) -> Result<Vec<ReviewRow>, StoreError> {
        self.select(Select::all().maybe("state", state.as_ref()).page("id", page)).await
    }
}
