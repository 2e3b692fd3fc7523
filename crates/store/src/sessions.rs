//! Sessions.

use access::ids::{GrantId, PrincipalId, RecordingId, SessionId};
use access::names::{ResourceName, RoleName};
use access::session::{EndReason, Protocol, SessionRow, SessionState};
use jiff::Timestamp;

use crate::error::StoreError;
use crate::select::{Page, Select};
use crate::store::Store;

/// Which sessions. Empty: all.
#[derive(Debug, Clone, Default)]
pub struct SessionFilter {
    /// Of this person.
    pub person: Option<PrincipalId>,
    /// On this resource.
    pub resource: Option<ResourceName>,
    /// On this grant.
    pub grant: Option<GrantId>,
    /// As this role.
    pub role: Option<RoleName>,
    /// In this protocol.
    pub protocol: Option<Protocol>,
    /// That ended so.
    pub end: Option<EndReason>,
    /// In this state.
    pub state: Option<SessionState>,
    /// Opened not before.
    pub from: Option<Timestamp>,
    /// Opened before.
    pub until: Option<Timestamp>,
    /// On a grant that was asked for with this ticket.
    pub ticket: Option<String>,
}

const LIVE: &str = "state = 'live'";

impl Store {
    /// One session.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.first(Select::all().is("id", &id)).await
    }

    /// The session that left this recording.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn session_of_recording(&self, recording: RecordingId) -> Result<Option<SessionRow>, StoreError> {
        self.first(Select::all().is("recording", &recording)).await
    }

    /// A page of sessions, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn sessions(&self, filter: &SessionFilter, page: &Page) -> Result<Vec<SessionRow>, StoreError> {
        let mut select = Select::all()
            .maybe("person", filter.person.as_ref())
            .maybe("resource", filter.resource.as_ref())
            .maybe("role", filter.role.as_ref())
            .maybe("protocol", filter.protocol.as_ref())
            .maybe("end", filter.end.as_ref())
            .maybe("grant", filter.grant.as_ref())
            .in_state(filter.state.as_ref());
        if let Some(from) = &filter.from {
            select = select.compare("opened_at", ">=", from);
        }
        if let Some(until) = &filter.until {
            select = select.compare("opened_at", "<", until);
        }
        if let Some(ticket) = &filter.ticket {
            let asked = "\"grant\" IN (SELECT g.id FROM requests r JOIN grants g ON g.request = r.id WHERE r.ticket = ?)";
            select = select.that(asked, ticket);
        }
        self.select(select.page("id", page)).await
    }

    /// Every live session, oldest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn live_sessions(&self) -> Result<Vec<SessionRow>, StoreError> {
        self.select(Select::all().so(LIVE).order("id")).await
    }

    /// Every live session that stands on a grant.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn live_sessions_on(&self, grant: GrantId) -> Result<Vec<SessionRow>, StoreError> {
        self.select(Select::all().is("grant", &grant).so(LIVE).order("id")).await
    }

    /// Every live session of a node; after its crash these are the ones that died with it.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn live_sessions_of_node(&self, node: &str) -> Result<Vec<SessionRow>, StoreError> {
        self.select(Select::all().is("node", &node.to_owned()).so(LIVE).order("id")).await
    }
}
