//! Grants. *Open* means ready or active: not ended.

use access::grant::{GrantRow, GrantState};
use access::ids::{GrantId, PrincipalId, RequestId};
use access::names::{ResourceName, RoleName};
use jiff::Timestamp;

use crate::error::StoreError;
use crate::select::{Page, Select};
use crate::store::Store;

/// Which grants. Empty: all.
#[derive(Debug, Clone, Default)]
pub struct GrantFilter {
    /// Of this person.
    pub person: Option<PrincipalId>,
    /// In this state.
    pub state: Option<GrantState>,
    /// For this resource.
    pub resource: Option<ResourceName>,
    /// Only ready and active ones.
    pub open: bool,
}

const OPEN: &str = "state <> 'ended'";

impl Store {
    /// One grant.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn grant(&self, id: GrantId) -> Result<Option<GrantRow>, StoreError> {
        self.first(Select::all().is("id", &id)).await
    }

    /// The grant that came from a request.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn grant_of(&self, request: RequestId) -> Result<Option<GrantRow>, StoreError> {
        self.first(Select::all().is("request", &request)).await
    }

    /// A page of grants, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn grants(&self, filter: &GrantFilter, page: &Page) -> Result<Vec<GrantRow>, StoreError> {
        let mut select = Select::all()
            .maybe("person", filter.person.as_ref())
            .in_state(filter.state.as_ref())
            .maybe("resource", filter.resource.as_ref())
            .page("id", page);
        // What is ready or active is open: said, so that the index of what is open will do.
        if filter.open || filter.state.is_some_and(|state| state != GrantState::Ended) {
            select = select.so(OPEN);
        }
        self.select(select).await
    }

    /// Every open grant, oldest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn open_grants(&self) -> Result<Vec<GrantRow>, StoreError> {
        self.select(Select::all().so(OPEN).order("id")).await
    }

    /// Every open grant of a person, oldest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn open_grants_of(&self, person: PrincipalId) -> Result<Vec<GrantRow>, StoreError> {
        self.select(Select::all().is("person", &person).so(OPEN).order("id")).await
    }

    /// Every open grant of a person for a role on a resource, oldest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn open_grants_for(
        &self,
        person: PrincipalId,
        resource: &ResourceName,
        role: &RoleName,
    ) -> Result<Vec<GrantRow>, StoreError> {
        self.select(Select::all().is("person", &person).is("resource", resource).is("role", role).so(OPEN).order("id")).await
    }

    /// Grants that end by themselves at `now`: ready ones not activated in time, active ones whose time is up.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn due_grants(&self, now: Timestamp, limit: u32) -> Result<Vec<GrantRow>, StoreError> {
        let due = "((state = 'ready' AND activate_by <= ?) OR (state = 'active' AND ends_at <= ?))";
        self.select(Select::all().so(OPEN).that(due, &now).order("id").limit(limit)).await
    }
}
