//! Users and groups: what is done to one of them, alone or among many.

use access::directory::{DirectoryGroupRow, DirectoryUserRow};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use identity::scim::list::Shown;
use identity::scim::schema::{GROUP, Schema, USER};
use identity::scim::user::{User, etag};
use identity::scim::{ScimError, group, patch};
use serde_json::Value;
use workflow::Caller;
use workflow::directory::SeenVersion;

use super::answers::answered;
use super::base;
use crate::problem::Refused;
use crate::state::ApiState;

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Group,
}

/// One of them, as it is kept.
#[derive(Debug, Clone)]
pub(super) enum Kept {
    User(Box<DirectoryUserRow>),
    Group(Box<DirectoryGroupRow>),
}

impl From<DirectoryUserRow> for Kept {
    fn from(row: DirectoryUserRow) -> Self {
        Self::User(Box::new(row))
    }
}

impl From<DirectoryGroupRow> for Kept {
    fn from(row: DirectoryGroupRow) -> Self {
        Self::Group(Box::new(row))
    }
}

/// How a body says what something is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// All of it: PUT.
    Whole,
    /// What is to be other: PATCH.
    Steps,
}

impl Kind {
    pub(super) fn schema(self) -> &'static Schema {
        match self {
            Self::User => &USER,
            Self::Group => &GROUP,
        }
    }

    pub(super) async fn find(self, state: &ApiState, caller: &Caller, id: &str) -> Result<Kept, ScimError> {
        let directory = state.gate.directory_of(caller)?;
        match self {
            Self::User => state.gate.directory_user(directory, id).await.map(Kept::from),
            Self::Group => state.gate.directory_group(directory, id).await.map(Kept::from),
        }
    }

    pub(super) async fn create(self, state: &ApiState, caller: &Caller, body: &Value) -> Result<Kept, ScimError> {
        match self {
            Self::User => state.gate.bring_user(caller, &User::read(body)?).await.map(Kept::from),
            Self::Group => state.gate.bring_group(caller, &group::Group::read(body)?).await.map(Kept::from),
        }
    }

    pub(super) async fn write(
        self,
        state: &ApiState,
        caller: &Caller,
        (id, seen): (&str, SeenVersion),
        how: How,
        body: &Value,
    ) -> Result<Kept, ScimError> {
        match (self, how) {
            (Self::User, How::Whole) => {
                let new = User::read(body)?;
                state.gate.change_user(caller, id, seen, |_| Ok(new.clone())).await.map(Kept::from)
            }
            (Self::User, How::Steps) => {
                let operations = patch::read(body)?;
                state.gate.change_user(caller, id, seen, |user| user.changed(&operations)).await.map(Kept::from)
            }
            (Self::Group, how) => {
                let steps = match how {
                    How::Whole => group::Group::read(body)?.steps(),
                    How::Steps => group::steps(&patch::read(body)?)?,
                };
                state.gate.change_group(caller, id, seen, &steps).await.map(Kept::from)
            }
        }
    }

    pub(super) async fn take_out(self, state: &ApiState, caller: &Caller, id: &str, seen: SeenVersion) -> Result<(), ScimError> {
        match self {
            Self::User => state.gate.take_out_user(caller, id, seen).await,
            Self::Group => state.gate.take_out_group(caller, id, seen).await,
        }
    }
}

impl Kept {
    pub(super) fn id(&self) -> String {
        match self {
            Self::User(row) => row.id.to_string(),
            Self::Group(row) => row.id.to_string(),
        }
    }

    pub(super) fn version(&self) -> i64 {
        match self {
            Self::User(row) => row.version,
            Self::Group(row) => row.version,
        }
    }

    pub(super) fn location(&self, base: &str) -> String {
        let endpoint = match self {
            Self::User(_) => USER.endpoint,
            Self::Group(_) => GROUP.endpoint,
        };
        format!("{base}{endpoint}/{}", self.id())
    }

    /// All of it that `wants` names; what has to be looked up for it only if it is wanted.
    pub(super) async fn body(&self, state: &ApiState, wants: impl Fn(&str) -> bool) -> Result<Value, ScimError> {
        let (gate, base) = (&state.gate, base(state));
        let away = |error: workflow::read::StoreError| ScimError::from(Refused::from(error).into_refusal());
        match self {
            Self::User(row) => {
                let active = if wants("active") { gate.is_active(row).await? } else { row.active };
                let groups = if wants("groups") { gate.store().directory_groups_of(row.id).await.map_err(away)? } else { Vec::new() };
                Ok(User::shown(row, active, &groups, &base))
            }
            Self::Group(row) => {
                let members = if wants("members") { Some(gate.store().directory_members(row.id).await.map_err(away)?) } else { None };
                Ok(group::Group::shown(row, members.as_deref(), &base))
            }
        }
    }

    /// What of it is to be shown.
    pub(super) async fn shown(&self, state: &ApiState, shown: &Shown) -> Result<Value, ScimError> {
        Ok(shown.of_resource(self.body(state, |name| shown.shows(name)).await?))
    }

    /// The answer, with where it is and its version.
    pub(super) fn answer(&self, status: u16, base: &str, body: Option<Value>) -> Response {
        let mut response = match body {
            Some(body) => answered(status, body),
            None => axum::http::StatusCode::from_u16(status).unwrap_or(axum::http::StatusCode::NO_CONTENT).into_response(),
        };
        for (name, value) in [(header::ETAG, etag(self.version())), (header::LOCATION, self.location(base))] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
