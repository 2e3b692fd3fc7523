//! Reading the log: entries with the texts that are left of them.

use std::collections::BTreeMap;

use access::event::{Actor, Entry, SaltedText};
use access::ids::EntryId;
use access::row::{Column, Field};
use jiff::Timestamp;

use crate::error::StoreError;
use crate::select::Select;
use crate::store::Store;

/// An entry as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedEntry {
    /// Counts entries as they were written; it may have gaps.
    pub seq: i64,
    /// Its place in the tree, if it has one yet.
    pub index: Option<u64>,
    /// The entry with the texts that are left.
    pub entry: Entry,
    /// The leaf, to the byte.
    pub leaf: Vec<u8>,
}

/// Which entries. Empty: all.
#[derive(Debug, Clone, Default)]
pub struct EntryFilter {
    /// That speak of this id.
    pub mentions: Option<String>,
    /// Of what this one did.
    pub actor: Option<Actor>,
    /// Whose name starts like this: `grant.`, `session.opened`.
    pub name: Option<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
}

/// A part of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryPage {
    /// How many at most.
    pub limit: u32,
    /// The `seq` of the last entry of the part before.
    pub after: Option<i64>,
    /// In which direction.
    pub newest_first: bool,
}

pub(crate) const COLUMNS: &[&str] = &["seq", "leaf_index", "leaf", "texts"];

impl LoggedEntry {
    pub(crate) fn from_columns(columns: &[Column]) -> Result<Self, StoreError> {
        let unreadable = || StoreError::Leaf { why: "its columns hold something else than an entry's".into() };
        let [Column::Int(seq), index, Column::Text(leaf), Column::Text(texts)] = columns else { return Err(unreadable()) };
        let texts: BTreeMap<String, SaltedText> = serde_json::from_str(texts).map_err(|_| unreadable())?;
        let index = Option::<u64>::from_column(index).ok_or_else(unreadable)?;
        Ok(Self { seq: *seq, index, entry: Entry::from_leaf(leaf.as_bytes(), texts)?, leaf: leaf.clone().into_bytes() })
    }
}

/// Escapes what LIKE would take for a pattern.
fn literal(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

impl Store {
    /// One entry.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn entry(&self, id: EntryId) -> Result<Option<LoggedEntry>, StoreError> {
        Ok(self.read_entries(Select::all().compare("id", "=", &id.to_string()), "seq").await?.into_iter().next())
    }

    /// Entries from this place in the tree on, in order.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn entries_from(&self, index: u64, limit: u32) -> Result<Vec<LoggedEntry>, StoreError> {
        self.read_entries(Select::all().compare("leaf_index", ">=", &index).limit(limit), "leaf_index").await
    }

    /// A page of the entries that a filter lets through.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn entries(&self, filter: &EntryFilter, page: EntryPage) -> Result<Vec<LoggedEntry>, StoreError> {
        let mut select = Select::all();
        if let Some(id) = &filter.mentions {
            // Ids stand in leaves as whole JSON strings, or behind a colon.
            let (whole, behind) = (format!("%\"{}\"%", literal(id)), format!("%:{}\"%", literal(id)));
            select = select.either("leaf LIKE ? ESCAPE '\\'", &whole, "leaf LIKE ? ESCAPE '\\'", &behind);
        }
        if let Some(actor) = &filter.actor {
            select = select.is("actor", &actor.to_string());
        }
        if let Some(name) = &filter.name {
            select = select.that("name LIKE ? ESCAPE '\\'", &format!("{}%", literal(name)));
        }
        if let Some(from) = &filter.from {
            select = select.compare("at", ">=", from);
        }
        if let Some(until) = &filter.until {
            select = select.compare("at", "<", until);
        }
        let (operator, order) = if page.newest_first { ("<", "seq DESC") } else { (">", "seq") };
        if let Some(after) = &page.after {
            select = select.compare("seq", operator, after);
        }
        self.read_entries(select.limit(page.limit), order).await
    }

    async fn read_entries(&self, select: Select, order: &str) -> Result<Vec<LoggedEntry>, StoreError> {
        let (sql, args) = select.sql_of("entries", COLUMNS, order);
        self.query(&sql, &args).await?.iter().map(|columns| LoggedEntry::from_columns(columns)).collect()
    }
}
