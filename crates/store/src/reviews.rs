//! Reviews: looks back that somebody owes.

use access::ids::{GrantId, PrincipalId, ReviewId};
use access::review::{ReviewKind, ReviewRow, ReviewState};
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

    /// The review that an emergency owes; `None`: the grant is none.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn review_of_emergency(&self, grant: GrantId) -> Result<Option<ReviewRow>, StoreError> {
        self.first(Select::all().is("grant", &grant).is("kind", &ReviewKind::BreakGlass)).await
    }

    /// All reviews of emergencies that are overdue, whoever they are about.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn overdue_reviews(&self, now: Timestamp) -> Result<Vec<ReviewRow>, StoreError> {
        let overdue = Select::all().so("state = 'open'").is("kind", &ReviewKind::BreakGlass).compare("due_at", "<=", &now);
        self.select(overdue.order("id")).await
    }

    /// All reviews of a kind that are not answered, oldest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn open_reviews_of(&self, kind: ReviewKind) -> Result<Vec<ReviewRow>, StoreError> {
        self.select(Select::all().so("state = 'open'").is("kind", &kind).order("id")).await
    }

    /// Reviews with which time has to do something: those that are overdue and not escalated, or decided by being so; and those of
    /// which nobody was reminded in the last quarter of their time.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn reviews_to_move(&self, now: Timestamp) -> Result<Vec<ReviewRow>, StoreError> {
        let due = "((due_at <= ? AND (escalated_to IS NULL OR kind = 'standing')) \
                    OR (reminded_at IS NULL AND due_at > ? AND due_at - (due_at - opened_at) / 4 <= ?))";
        self.select(Select::all().so("state = 'open'").that(due, &now).order("id").limit(500)).await
    }

    /// A page of reviews, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn reviews(&self, state: Option<ReviewState>, kind: Option<ReviewKind>, page: &Page) -> Result<Vec<ReviewRow>, StoreError> {
        self.select(Select::all().maybe("state", state.as_ref()).maybe("kind", kind.as_ref()).page("id", page)).await
    }
}
