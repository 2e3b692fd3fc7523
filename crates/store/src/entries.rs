//! Reading the log: entries with the texts that are left of them.

use std::collections::BTreeMap;

use access::event::{Actor, Entry, SaltedText};
use access::ids::EntryId;
use access::row::{Column, Field};
use jiff::{SignedDuration, Timestamp};

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
        let Some(start) = filter.name.as_deref().filter(|start| !start.is_empty()) else {
            return self.entries_named(filter, None, page).await;
        };
        // Each name has its entries in order; of as many as there are, the first of all are the first of each.
        let mut found = Vec::new();
        for name in self.names_from(start).await? {
            found.extend(self.entries_named(filter, Some(&name), page).await?);
        }
        found.sort_by_key(|one| if page.newest_first { -one.seq } else { one.seq });
        found.truncate(page.limit as usize);
        Ok(found)
    }

    /// The names of entries that begin like this: there are few, and each is found by one step in the index.
    async fn names_from(&self, start: &str) -> Result<Vec<String>, StoreError> {
        let sql = "WITH RECURSIVE known(name) AS (SELECT MIN(name) FROM entries WHERE name >= $1 AND name < $2 \
                   UNION ALL SELECT (SELECT MIN(name) FROM entries WHERE name > known.name AND name < $2) FROM known WHERE known.name IS NOT NULL) \
                   SELECT name FROM known WHERE name IS NOT NULL";
        let args = [Column::Text(start.to_owned()), Column::Text(format!("{start}\u{10ffff}"))];
        let rows = self.query(&sql.into(), &args).await?;
        Ok(rows.into_iter().filter_map(|row| row.first().and_then(String::from_column)).collect())
    }

    async fn entries_named(&self, filter: &EntryFilter, name: Option<&String>, page: EntryPage) -> Result<Vec<LoggedEntry>, StoreError> {
        let mut select = Select::all().maybe("name", name);
        if let Some(id) = &filter.mentions {
            // Ids stand in leaves as whole JSON strings, or behind a colon.
            let (whole, behind) = (format!("%\"{}\"%", literal(id)), format!("%:{}\"%", literal(id)));
            // Nothing speaks of it before it was made; nodes' clocks are closer than a day to each other.
            if let Some(made) = access::ids::made_at(id) {
                let before = made.checked_sub(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN);
                select = select.that("seq >= (SELECT seq FROM entries WHERE at >= ? ORDER BY at, seq LIMIT 1)", &before);
            }
            select = select.either("leaf LIKE ? ESCAPE '\\'", &whole, "leaf LIKE ? ESCAPE '\\'", &behind);
        }
        if let Some(actor) = &filter.actor {
            select = select.is("actor", &actor.to_string());
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
