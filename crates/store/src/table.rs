//! SQL made from a row's column list, so that no column is named twice.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use access::fold::Tables;
use access::row::{Column, Row};

use crate::database::Sql;

/// The statements that read and write whole rows of one table.
pub(crate) struct Table {
    pub(crate) load: Sql,
    pub(crate) load_locked: Sql,
    pub(crate) insert: Sql,
    pub(crate) update: Sql,
    /// Where its `version` stands; rows without one are never changed.
    pub(crate) version: Option<usize>,
}

/// Every journaled table.
pub(crate) static TABLES: LazyLock<BTreeMap<&'static str, Table>> =
    LazyLock::new(|| Tables::SHAPES.iter().map(|(name, columns)| (*name, Table::new(name, columns))).collect());

/// `"a", "b"`: quoted, since `end` and `grant` are words of SQL.
pub(crate) fn names(columns: &[&str]) -> String {
    columns.iter().map(|c| format!("\"{c}\"")).collect::<Vec<_>>().join(", ")
}

fn insert(table: &str, columns: &[&str]) -> String {
    let values = (1..=columns.len()).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ");
    format!("INSERT INTO {table} ({}) VALUES ({values})", names(columns))
}

impl Table {
    fn new(name: &str, columns: &[&str]) -> Self {
        let key = columns.first().copied().unwrap_or_default();
        let load = format!("SELECT {} FROM {name} WHERE \"{key}\" = $1", names(columns));
        let set = columns.iter().enumerate().skip(1).map(|(i, c)| format!("\"{c}\" = ${}", i + 1)).collect::<Vec<_>>().join(", ");
        let version = columns.iter().position(|c| *c == "version");
        Self {
            load_locked: format!("{load} FOR UPDATE").into(),
            load: load.into(),
            insert: insert(name, columns).into(),
            update: format!("UPDATE {name} SET {set} WHERE \"{key}\" = $1 AND version = ${}", columns.len() + 1).into(),
            version,
        }
    }
}

/// Adds one row of a kind.
pub(crate) fn insert_row<R: Row>() -> String {
    insert(R::TABLE, R::COLUMNS)
}

/// Adds one row of a kind, in place of the one with its key.
pub(crate) fn upsert_row<R: Row>() -> String {
    let key = R::COLUMNS.first().copied().unwrap_or_default();
    let set = R::COLUMNS.iter().skip(1).map(|c| format!("\"{c}\" = excluded.\"{c}\"")).collect::<Vec<_>>().join(", ");
    format!("{} ON CONFLICT (\"{key}\") DO UPDATE SET {set}", insert_row::<R>())
}

/// The version among a row's columns.
pub(crate) fn version_of(table: &str, columns: &[Column]) -> Option<i64> {
    let place = TABLES.get(table)?.version?;
    match columns.get(place) {
        Some(Column::Int(version)) => Some(*version),
        _ => None,
    }
}
