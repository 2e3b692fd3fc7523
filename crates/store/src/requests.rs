//! Requests.

use access::ids::{GrantId, PrincipalId, RequestId};
use access::names::{ResourceName, RoleName};
use access::request::{RequestRow, RequestState};
use jiff::Timestamp;

use crate::error::StoreError;
use crate::select::{Page, Select};
use crate::store::Store;

/// Which requests. Empty: all.
#[derive(Debug, Clone, Default)]
pub struct RequestFilter {
    /// Of this person.
    pub person: Option<PrincipalId>,
    /// That have come this far.
    pub state: Option<RequestState>,
    /// For this resource.
    pub resource: Option<ResourceName>,
}

impl Store {
    /// One request.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn request(&self, id: RequestId) -> Result<Option<RequestRow>, StoreError> {
        self.first(Select::all().is("id", &id)).await
    }

    /// A page of requests, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn requests(&self, filter: &RequestFilter, page: &Page) -> Result<Vec<RequestRow>, StoreError> {
        self.select(
            Select::all()
                .maybe("person", filter.person.as_ref())
                .in_state(filter.state.as_ref())
                .maybe("resource", filter.resource.as_ref())
                .page("id", page),
        )
        .await
    }

    /// Every request that people are asked about.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn pending_requests(&self) -> Result<Vec<RequestRow>, StoreError> {
        self.select(Select::all().so("state = 'pending'").order("id")).await
    }

    /// Pending requests whose time is up at `now`.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn overdue_requests(&self, now: Timestamp, limit: u32) -> Result<Vec<RequestRow>, StoreError> {
        self.select(Select::all().so("state = 'pending'").compare("expires_at", "<=", &now).order("expires_at").limit(limit)).await
    }

    /// The pending request of one person for one role on one resource; extensions are not meant.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn pending_request(
        &self,
        person: PrincipalId,
        resource: &ResourceName,
        role: &RoleName,
    ) -> Result<Option<RequestRow>, StoreError> {
        self.first(
            Select::all().is("person", &person).is("resource", resource).is("role", role).so("state = 'pending'").so("extends IS NULL"),
        )
        .await
    }

    /// The pending request to make a grant longer; there is at most one.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn pending_extension(&self, grant: GrantId) -> Result<Option<RequestRow>, StoreError> {
        self.first(Select::all().is("extends", &grant).so("state = 'pending'")).await
    }
}
