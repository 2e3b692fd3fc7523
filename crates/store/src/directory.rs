//! Who and which groups directories say there are.

use std::collections::BTreeSet;

use access::directory::{DirectoryGroupRow, DirectoryMemberRow, DirectoryUserRow};
use access::ids::{DirectoryGroupId, PrincipalId};
use access::names::Username;
use access::row::{Column, Field, Row};

use crate::database::Sql;
use crate::error::StoreError;
use crate::select::Select;
use crate::store::Store;

const THERE: &str = "removed_at IS NULL";
/// How many ids one question names at most.
const AT_ONCE: usize = 200;

/// How much a directory has brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DirectoryCounts {
    /// People it has now.
    pub people: u64,
    /// Those of them whom it lets sign in.
    pub active: u64,
    /// Groups it has now.
    pub groups: u64,
}

impl Store {
    /// Somebody as a directory knows, or knew, them.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn directory_user(&self, person: PrincipalId) -> Result<Option<DirectoryUserRow>, StoreError> {
        self.first(Select::all().is("id", &person)).await
    }

    /// Whom a directory has under a `userName`, by its key.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn directory_user_named(&self, directory: &Username, user_name_key: &str) -> Result<Option<DirectoryUserRow>, StoreError> {
        self.first(Select::all().is("directory", directory).is("user_name_key", &user_name_key.to_owned()).so(THERE)).await
    }

    /// Whom a directory has, or had, under an `externalId`, by its key: those it has first, then those it had last.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn directory_users_called(&self, directory: &Username, external_id_key: &str) -> Result<Vec<DirectoryUserRow>, StoreError> {
        let select = Select::all().is("directory", directory).is("external_id_key", &external_id_key.to_owned());
        self.select(select.order("removed_at IS NOT NULL, removed_at DESC")).await
    }

    /// So many of the people a directory has, by id, after leaving out as many.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn directory_users(&self, directory: &Username, skip: u32, limit: u32) -> Result<Vec<DirectoryUserRow>, StoreError> {
        self.select(Select::all().is("directory", directory).so(THERE).order("id").limit(limit).skip(skip)).await
    }

    /// Which of these people a directory has.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn known_to_directory(&self, directory: &Username, people: &[PrincipalId]) -> Result<BTreeSet<PrincipalId>, StoreError> {
        let mut known = BTreeSet::new();
        for some in people.chunks(AT_ONCE) {
            let rows: Vec<DirectoryUserRow> =
                self.select(Select::all().is("directory", directory).so(THERE).among("id", some).order("id")).await?;
            known.extend(rows.into_iter().map(|row| row.id));
        }
        Ok(known)
    }

    /// One group, there or not.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn directory_group(&self, id: DirectoryGroupId) -> Result<Option<DirectoryGroupRow>, StoreError> {
        self.first(Select::all().is("id", &id)).await
    }

    /// The group that a directory has under a name, by its key.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn directory_group_named(&self, directory: &Username, name_key: &str) -> Result<Option<DirectoryGroupRow>, StoreError> {
        self.first(Select::all().is("directory", directory).is("name_key", &name_key.to_owned()).so(THERE)).await
    }

    /// So many of the groups a directory has, by id, after leaving out as many.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn directory_groups(&self, directory: &Username, skip: u32, limit: u32) -> Result<Vec<DirectoryGroupRow>, StoreError> {
        self.select(Select::all().is("directory", directory).so(THERE).order("id").limit(limit).skip(skip)).await
    }

    /// The groups that somebody is in now.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn directory_groups_of(&self, person: PrincipalId) -> Result<Vec<DirectoryGroupRow>, StoreError> {
        let theirs = "id IN (SELECT \"group\" FROM directory_members WHERE person = ? AND member = 1)";
        self.select(Select::all().so(THERE).that(theirs, &person).order("id")).await
    }

    /// Who is in a group now.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn directory_members(&self, group: DirectoryGroupId) -> Result<Vec<PrincipalId>, StoreError> {
        let rows: Vec<DirectoryMemberRow> = self.select(Select::all().is("group", &group).so("member = 1").order("id")).await?;
        Ok(rows.into_iter().map(|row| row.person).collect())
    }

    /// Which of these people are in a group now.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn directory_members_among(
        &self,
        group: DirectoryGroupId,
        people: &[PrincipalId],
    ) -> Result<BTreeSet<PrincipalId>, StoreError> {
        let mut members = BTreeSet::new();
        for some in people.chunks(AT_ONCE) {
            let select = Select::all().is("group", &group).so("member = 1").among("person", some).order("id");
            let rows: Vec<DirectoryMemberRow> = self.select(select).await?;
            members.extend(rows.into_iter().map(|row| row.person));
        }
        Ok(members)
    }

    /// How much a directory has brought.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn directory_counts(&self, directory: &Username) -> Result<DirectoryCounts, StoreError> {
        let people = self.count_of(DirectoryUserRow::TABLE, THERE, directory).await?;
        let active = self.count_of(DirectoryUserRow::TABLE, "removed_at IS NULL AND active = 1", directory).await?;
        let groups = self.count_of(DirectoryGroupRow::TABLE, THERE, directory).await?;
        Ok(DirectoryCounts { people, active, groups })
    }

    async fn count_of(&self, table: &str, which: &str, directory: &Username) -> Result<u64, StoreError> {
        let sql: Sql = format!("SELECT COUNT(*) FROM {table} WHERE directory = $1 AND {which}").into();
        let rows = self.query(&sql, &[directory.to_column()]).await?;
        Ok(match rows.first().map(Vec::as_slice) {
            Some([Column::Int(count)]) => u64::try_from(*count).unwrap_or_default(),
            _ => 0,
        })
    }
}
