//! Reading the log: entries with the texts that are left of them.

use std::collections::{BTreeMap, BTreeSet};

use access::event::{Actor, Entry, SaltedText};
use access::ids::EntryId;
use access::row::{Column, Field};
use jiff::{SignedDuration, Timestamp};

use crate::error::StoreError;
use crate::mentions;
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
    /// Whose name starts like this: `grant.`, `session.opened`; or like one of several, with commas between.
    pub name: Option<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
}

impl EntryFilter {
    /// How the names begin that are wanted; none: any name.
    fn starts(&self) -> Vec<&str> {
        self.name.as_deref().unwrap_or_default().split(',').map(str::trim).filter(|start| !start.is_empty()).collect()
    }
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

/// How many entries are fetched by their numbers at once.
const AT_ONCE: usize = 64;

/// So many entries are gone through one by one.
const FEW: i64 = 512;

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
        if let Some(text) = filter.mentions.as_deref()
            && let Some(key) = mentions::key(text)
        {
            return self.entries_about(filter, (text, key), page).await;
        }
        let starts = filter.starts();
        if starts.is_empty() {
            return self.entries_named(filter, None, page).await;
        }
        let mut names = BTreeSet::new();
        for start in starts {
            names.extend(self.names_from(start).await?);
        }
        // Each name has its entries in order; of as many as there are, the first of all are the first of each.
        let mut found = Vec::new();
        for name in &names {
            found.extend(self.entries_named(filter, Some(name), page).await?);
        }
        found.sort_by_key(|one| if page.newest_first { -one.seq } else { one.seq });
        found.truncate(page.limit as usize);
        Ok(found)
    }

    /// The entries of one name that speak of any of these ids, in order. Two texts may share a key: there may be others among them.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn entries_about_any(&self, name: &str, ids: &[String]) -> Result<Vec<LoggedEntry>, StoreError> {
        let keys: Vec<i64> = ids.iter().filter_map(|id| mentions::key(id)).collect();
        // As many places each time, so that it stays one prepared statement.
        let places = (1..=AT_ONCE).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT seq FROM entry_mentions WHERE mention IN ({places})");
        let mut seqs = BTreeSet::new();
        for some in keys.chunks(AT_ONCE) {
            let mut args: Vec<Column> = some.iter().map(|key| Column::Int(*key)).collect();
            args.resize(AT_ONCE, Column::Int(some.last().copied().unwrap_or_default()));
            let rows = self.query(&sql.clone().into(), &args).await?;
            seqs.extend(rows.iter().filter_map(|row| row.first().and_then(i64::from_column)));
        }
        let seqs: Vec<i64> = seqs.into_iter().collect();
        let mut found = Vec::with_capacity(seqs.len());
        for some in seqs.chunks(AT_ONCE) {
            let mut padded = some.to_vec();
            padded.resize(AT_ONCE, some.last().copied().unwrap_or_default());
            found.extend(self.read_entries(Select::all().among("seq", &padded).is("name", &name.to_owned()), "seq").await?);
        }
        Ok(found)
    }

    /// Those that speak of something, by the table that says which do.
    async fn entries_about(&self, filter: &EntryFilter, about: (&str, i64), page: EntryPage) -> Result<Vec<LoggedEntry>, StoreError> {
        let (mut found, mut after) = (Vec::new(), page.after);
        let wanted = page.limit as usize;
        while found.len() < wanted {
            let seqs = self.numbers_about(filter, about.1, EntryPage { after, ..page }).await?;
            let Some(last) = seqs.last() else { break };
            after = Some(*last);
            let all = seqs.len() < wanted;
            for some in seqs.chunks(AT_ONCE) {
                // As many places as before, so that it stays one prepared statement.
                let mut padded = some.to_vec();
                padded.resize(AT_ONCE, some.last().copied().unwrap_or_default());
                let order = if page.newest_first { "seq DESC" } else { "seq" };
                let read = self.read_entries(Select::all().among("seq", &padded), order).await?;
                // Two texts may share a key.
                found.extend(read.into_iter().filter(|logged| mentions::speaks_of(&logged.leaf, about.0)));
            }
            if all {
                break;
            }
        }
        found.truncate(wanted);
        Ok(found)
    }

    /// Whether not many entries have names that begin like this.
    async fn are_few(&self, start: &str) -> Result<bool, StoreError> {
        let sql = format!(
            "SELECT COUNT(*) FROM (SELECT 1 FROM entries WHERE name >= $1 AND name < $2 ORDER BY name, seq LIMIT {}) AS few",
            FEW + 1
        );
        let args = [Column::Text(start.to_owned()), Column::Text(format!("{start}\u{10ffff}"))];
        let rows = self.query(&sql.into(), &args).await?;
        Ok(rows.first().and_then(|row| row.first()).and_then(i64::from_column).is_some_and(|some| some <= FEW))
    }

    /// The numbers of a page of entries with a key.
    async fn numbers_about(&self, filter: &EntryFilter, key: i64, page: EntryPage) -> Result<Vec<i64>, StoreError> {
        let starts = filter.starts();
        // What is said of something often may be said under names that are rare: then those of the names are gone through.
        let mut by_name = !starts.is_empty();
        for start in &starts {
            by_name = by_name && self.are_few(start).await?;
        }
        let seq = if by_name { "entries.seq" } else { "entry_mentions.seq" };
        let mut args = vec![Column::Int(key)];
        let mut conditions = Vec::new();
        let begins = starts.iter().map(|start| {
            args.extend([Column::Text((*start).to_owned()), Column::Text(format!("{start}\u{10ffff}"))]);
            format!("entries.name >= ${} AND entries.name < ${}", args.len() - 1, args.len())
        });
        let begins: Vec<String> = begins.collect();
        if !begins.is_empty() {
            conditions.push(format!("({})", begins.join(" OR ")));
        }
        let mut so = |condition: &str, value: Column| {
            args.push(value);
            conditions.push(condition.replace('?', &format!("${}", args.len())));
        };
        let (operator, order) = if page.newest_first { ("<", " DESC") } else { (">", "") };
        if let Some(after) = page.after {
            so(&format!("{seq} {operator} ?"), Column::Int(after));
        }
        if let Some(actor) = &filter.actor {
            so("entries.actor = ?", Column::Text(actor.to_string()));
        }
        if let Some(from) = &filter.from {
            so("entries.at >= ?", from.to_column());
        }
        if let Some(until) = &filter.until {
            so("entries.at < ?", until.to_column());
        }
        let join = if conditions.iter().any(|condition| condition.contains("entries.")) {
            " JOIN entries ON entries.seq = entry_mentions.seq"
        } else {
            ""
        };
        let conditions: String = conditions.into_iter().map(|condition| format!(" AND {condition}")).collect();
        args.push(Column::Int(page.limit.into()));
        let limit = args.len();
        let sql = if by_name {
            format!(
                "SELECT entries.seq FROM entries WHERE EXISTS (SELECT 1 FROM entry_mentions WHERE mention = $1 AND seq = entries.seq){conditions} \
                 ORDER BY +entries.seq{order} LIMIT ${limit}"
            )
        } else {
            format!(
                "SELECT entry_mentions.seq FROM entry_mentions{join} WHERE entry_mentions.mention = $1{conditions} \
                 ORDER BY entry_mentions.seq{order} LIMIT ${limit}"
            )
        };
        let rows = self.query(&sql.into(), &args).await?;
        Ok(rows.iter().filter_map(|row| row.first().and_then(i64::from_column)).collect())
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
