//! The rows of every journaled noun, and how one of them is found, made and stepped on.

use std::collections::BTreeMap;

use crate::account::AccountRow;
use crate::approval::VoteRow;
use crate::bundle::BundleRow;
use crate::chat::ChatAccountRow;
use crate::directory::{DirectoryGroupRow, DirectoryMemberRow, DirectoryUserRow};
use crate::grant::GrantRow;
use crate::hold::HoldRow;
use crate::identity::{IdentityRow, KeyRow, PersonRow};
use crate::inventory::{FindingRow, LookRow, PathRow, SourceRow};
use crate::lock::LockRow;
use crate::request::RequestRow;
use crate::review::ReviewRow;
use crate::row::{Column, ColumnError, Row};
use crate::session::SessionRow;
use crate::transition::is_legal;

/// Which row: its table and key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// The table.
    pub table: &'static str,
    /// The key as text.
    pub key: String,
}

/// An event that doesn't fit the rows it finds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// It speaks of a row that isn't there.
    #[error("there is no {table} row `{key}`")]
    Missing {
        /// The table.
        table: &'static str,
        /// The key.
        key: String,
    },
    /// It makes a row that is already there.
    #[error("the {table} row `{key}` exists already")]
    Exists {
        /// The table.
        table: &'static str,
        /// The key.
        key: String,
    },
    /// It makes a step that doesn't exist.
    #[error("the {table} row `{key}` is {from} and cannot become {to}")]
    Illegal {
        /// The table.
        table: &'static str,
        /// The key.
        key: String,
        /// From which state.
        from: &'static str,
        /// To which.
        to: &'static str,
    },
}

macro_rules! tables {
    ($($field:ident: $row:ident,)*) => {
        /// Rows of every journaled noun, or the few that one event touches.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct Tables {
            $(
                #[doc = concat!("`", stringify!($field), "` by key.")]
                pub $field: BTreeMap<String, $row>,
            )*
        }

        impl Tables {
            /// Every journaled table and its columns.
            pub const SHAPES: &'static [(&'static str, &'static [&'static str])] = &[$(($row::TABLE, $row::COLUMNS)),*];

            /// Puts a row in from its columns.
            ///
            /// # Errors
            /// If a column doesn't hold what it should.
            pub fn load(&mut self, table: &str, columns: &[Column]) -> Result<(), ColumnError> {
                $(if table == $row::TABLE {
                    let row = $row::from_columns(columns)?;
                    self.$field.insert(row.key(), row);
                })*
                Ok(())
            }

            /// One row's columns.
            #[must_use]
            pub fn columns(&self, key: &RowKey) -> Option<Vec<Column>> {
                $(if key.table == $row::TABLE {
                    return self.$field.get(&key.key).map(Row::to_columns);
                })*
                None
            }

            /// Every row there is.
            #[must_use]
            pub fn keys(&self) -> Vec<RowKey> {
                let mut keys = Vec::new();
                $(keys.extend(self.$field.keys().map(|key| RowKey { table: $row::TABLE, key: key.clone() }));)*
                keys
            }
        }

        $(impl Slot for $row {
            fn slot(tables: &mut Tables) -> &mut BTreeMap<String, Self> {
                &mut tables.$field
            }
        })*
    };
}

pub(super) trait Slot: Row {
    fn slot(tables: &mut Tables) -> &mut BTreeMap<String, Self>;
}

tables! {
    people: PersonRow,
    keys: KeyRow,
    identities: IdentityRow,
    chat_accounts: ChatAccountRow,
    requests: RequestRow,
    votes: VoteRow,
    grants: GrantRow,
    sessions: SessionRow,
    locks: LockRow,
    holds: HoldRow,
    reviews: ReviewRow,
    bundles: BundleRow,
    accounts: AccountRow,
    directory_users: DirectoryUserRow,
    directory_groups: DirectoryGroupRow,
    directory_members: DirectoryMemberRow,
    inventory_sources: SourceRow,
    inventory_paths: PathRow,
    findings: FindingRow,
    drift_looks: LookRow,
}

pub(super) fn get<R: Slot>(tables: &mut Tables, key: impl ToString) -> Result<&mut R, FoldError> {
    let key = key.to_string();
    R::slot(tables).get_mut(&key).ok_or(FoldError::Missing { table: R::TABLE, key })
}

pub(super) fn add<R: Slot>(tables: &mut Tables, row: R) -> Result<(), FoldError> {
    let key = row.key();
    if R::slot(tables).contains_key(&key) {
        return Err(FoldError::Exists { table: R::TABLE, key });
    }
    R::slot(tables).insert(key, row);
    Ok(())
}

pub(super) fn step(table: &'static str, key: &impl ToString, from: &'static str, to: &'static str) -> Result<(), FoldError> {
    if is_legal(table, from, to) { Ok(()) } else { Err(FoldError::Illegal { table, key: key.to_string(), from, to }) }
}

pub(super) fn key_of<R: Row>(key: impl ToString) -> RowKey {
    RowKey { table: R::TABLE, key: key.to_string() }
}
