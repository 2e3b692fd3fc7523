//! What is kept of somebody that says what is usual for them: see [`access::risk`].

use std::net::IpAddr;

use access::ids::PrincipalId;
use access::names::{ResourceName, RoleName};
use access::risk::Act;
use access::row::{Column, ColumnError, Field};
use jiff::Timestamp;

use crate::entries::{COLUMNS, LoggedEntry};
use crate::error::StoreError;
use crate::select::Select;
use crate::store::Store;

/// A session that took much out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargeSession {
    /// From where.
    pub resource: ResourceName,
    /// As what.
    pub role: RoleName,
    /// Bytes from the target.
    pub bytes: u64,
}

fn field<F: Field>(table: &'static str, column: &'static str, value: Option<&Column>) -> Result<F, StoreError> {
    let value = value.unwrap_or(&Column::Null);
    let unfit = || ColumnError { table, column, found: value.to_string(), wanted: std::any::type_name::<F>() };
    Ok(F::from_column(value).ok_or_else(unfit)?)
}

impl Store {
    /// When, from where and for what somebody asked since then; the newest so many.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn asked_since(&self, person: PrincipalId, since: Timestamp, limit: u32) -> Result<Vec<Act>, StoreError> {
        let select = Select::all().is("person", &person).compare("submitted_at", ">=", &since).limit(limit);
        let (sql, args) = select.sql_of("requests", &["submitted_at", "network", "resource"], "submitted_at DESC");
        self.acts("requests", (&sql, &args), false).await
    }

    /// When, from where and to what somebody opened sessions since then; the newest so many.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn opened_since(&self, person: PrincipalId, since: Timestamp, limit: u32) -> Result<Vec<Act>, StoreError> {
        let select = Select::all().is("person", &person).compare("opened_at", ">=", &since).limit(limit);
        let (sql, args) = select.sql_of("sessions", &["opened_at", "from", "resource"], "opened_at DESC");
        self.acts("sessions", (&sql, &args), true).await
    }

    /// The same of a time that is over: from `since` on, and before `until`.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn opened_between(
        &self,
        person: PrincipalId,
        (since, until): (Timestamp, Timestamp),
        limit: u32,
    ) -> Result<Vec<Act>, StoreError> {
        let select = Select::all().is("person", &person).compare("opened_at", ">=", &since).compare("opened_at", "<", &until).limit(limit);
        let (sql, args) = select.sql_of("sessions", &["opened_at", "from", "resource"], "opened_at DESC");
        self.acts("sessions", (&sql, &args), true).await
    }

    async fn acts(
        &self,
        table: &'static str,
        (sql, args): (&crate::database::Sql, &[Column]),
        session: bool,
    ) -> Result<Vec<Act>, StoreError> {
        let read = |columns: &Vec<Column>| {
            Ok(Act {
                at: field(table, "at", columns.first())?,
                from: field::<Option<IpAddr>>(table, "from", columns.get(1))?,
                resource: field(table, "resource", columns.get(2))?,
                session,
            })
        };
        self.query(sql, args).await?.iter().map(read).collect()
    }

    /// Somebody's sessions that ended since then and took more than so much out; the newest so many.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn large_sessions_since(
        &self,
        person: PrincipalId,
        since: Timestamp,
        over: u64,
        limit: u32,
    ) -> Result<Vec<LargeSession>, StoreError> {
        let select = Select::all().is("person", &person).compare("ended_at", ">=", &since).compare("bytes_down", ">", &over).limit(limit);
        let (sql, args) = select.sql_of("sessions", &["resource", "role", "bytes_down"], "ended_at DESC");
        let read = |columns: &Vec<Column>| {
            Ok(LargeSession {
                resource: field("sessions", "resource", columns.first())?,
                role: field("sessions", "role", columns.get(1))?,
                bytes: field("sessions", "bytes_down", columns.get(2))?,
            })
        };
        self.query(&sql, &args).await?.iter().map(read).collect()
    }

    /// What the newest so many sessions of a role on a resource took out, that ended in that time: somebody's, or everybody's.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn taken_by(
        &self,
        person: Option<PrincipalId>,
        (resource, role): (&ResourceName, &RoleName),
        (since, until): (Timestamp, Timestamp),
        limit: u32,
    ) -> Result<Vec<u64>, StoreError> {
        let select = Select::all()
            .maybe("person", person.as_ref())
            .is("resource", resource)
            .is("role", role)
            .compare("ended_at", ">=", &since)
            .compare("ended_at", "<", &until)
            .limit(limit);
        let (sql, args) = select.sql_of("sessions", &["bytes_down"], "ended_at DESC");
        self.query(&sql, &args).await?.iter().map(|columns| field("sessions", "bytes_down", columns.first())).collect()
    }

    /// Sign-ins that were refused since then, with the texts that are left of them; the newest so many.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn refused_sign_ins_since(&self, since: Timestamp, limit: u32) -> Result<Vec<LoggedEntry>, StoreError> {
        // The name stands in the text, as it does in the index that holds these alone.
        let select = Select::all().that("name = 'signin.refused' AND at >= ?", &since).limit(limit);
        let (sql, args) = select.sql_of("entries", COLUMNS, "at DESC");
        self.query(&sql, &args).await?.iter().map(|columns| LoggedEntry::from_columns(columns)).collect()
    }
}
