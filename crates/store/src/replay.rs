//! The log told again: fold all of it into rows, and name every column in which the database says something else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use access::event::{Entry, Event};
use access::fold::{RowKey, Tables, apply};
use access::row::{Column, Row};

use crate::bundles::{BundleFile, are_of};
use crate::committed::{HostKeyRow, InvitationRow, PasskeyRow, SecretRow, TokenRow, digestible};
use crate::database::Connection;
use crate::entries::{self, LoggedEntry};
use crate::error::StoreError;
use crate::mentions;
use crate::select::Select;
use crate::store::Store;

/// One thing in which log and tables differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The table.
    pub table: &'static str,
    /// The row's key, or the entry's.
    pub key: String,
    /// The column; `None`: the whole row.
    pub column: Option<&'static str>,
    /// What follows from the log.
    pub log_says: String,
    /// What the table holds.
    pub table_says: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Some(column) => write!(f, "{} `{}`, {column}", self.table, self.key)?,
            None => write!(f, "{} `{}`", self.table, self.key)?,
        }
        write!(f, ": the log says {}, the table says {}", self.log_says, self.table_says)
    }
}

/// What came of telling the log again.
#[derive(Debug, Clone)]
pub struct Replay {
    /// Entries read.
    pub entries: u64,
    /// The rows as they follow from the log.
    pub tables: Tables,
    /// Everything in which the database differs; empty: nothing was changed behind the gate's back.
    pub differences: Vec<Difference>,
}

const ACT: &str = "replay the log";
const BATCH: u32 = 1000;

impl Store {
    /// Folds the whole log and compares the database with it, on one unchanging view of both.
    ///
    /// `is_digest` says whether a keyed digest, as an entry holds it, is of a committed row's bytes (see [`digestible`]): keys are
    /// replaced, so the same row may have more than one.
    ///
    /// # Errors
    /// If the store can't be read. What is merely wrong in it is a difference, not an error.
    pub async fn replay(&self, is_digest: impl Fn(&[u8], &str) -> bool) -> Result<Replay, StoreError> {
        self.snapshot(async |db| {
            let mut teller = Teller::default();
            teller.tell(db).await?;
            teller.compare_mentions(db).await?;
            teller.compare_journaled(db).await?;
            teller.compare_committed(db, &is_digest).await?;
            Ok(Replay { entries: teller.entries, tables: teller.tables, differences: teller.differences })
        })
        .await
    }
}

/// What the log says of committed rows.
#[derive(Default)]
struct Promises {
    /// The newest digest.
    tokens: BTreeMap<String, String>,
    passkeys: BTreeMap<String, String>,
    secrets: BTreeMap<String, String>,
    host_keys: BTreeMap<String, String>,
    /// The digests of policies that were in force.
    bundles: BTreeSet<String>,
    /// Of each person: every digest an invitation of theirs ever had.
    invitations: BTreeMap<String, BTreeSet<String>>,
    /// Of each person: how many were issued, how many used.
    invited: BTreeMap<String, (u64, u64)>,
}

#[derive(Default)]
struct Teller {
    entries: u64,
    tables: Tables,
    promises: Promises,
    /// What the entries speak of.
    mentions: mentions::Sum,
    differences: Vec<Difference>,
}

impl Teller {
    async fn tell(&mut self, db: &mut Connection<'_>) -> Result<(), StoreError> {
        let (mut after, mut places) = (0, BTreeSet::new());
        loop {
            let (sql, args) = Select::all().compare("seq", ">", &after).limit(BATCH).sql_of("entries", entries::COLUMNS, "seq");
            let rows = db.fetch(&sql, &args).await.map_err(|e| StoreError::from_sqlx(ACT, e))?;
            for row in &rows {
                let seq = match row.first() {
                    Some(Column::Int(seq)) => *seq,
                    _ => after + 1,
                };
                after = after.max(seq);
                self.entries += 1;
                if let Some(Column::Text(leaf)) = row.get(2) {
                    mentions::keys_of(leaf).into_iter().for_each(|mention| self.mentions.add(mention, seq));
                }
                match LoggedEntry::from_columns(row) {
                    Ok(logged) => {
                        places.extend(logged.index);
                        self.hear(&logged.entry);
                    }
                    Err(error) => {
                        if let Some(Column::Int(index)) = row.get(1) {
                            places.extend(u64::try_from(*index));
                        }
                        self.differ("entries", format!("number {seq}"), None, "an entry", error);
                    }
                }
            }
            if rows.len() < BATCH as usize {
                break;
            }
        }
        let mut expected = 0;
        for place in places {
            for missing in expected..place {
                self.differ("entries", format!("leaf {missing}"), None, "an entry", "nothing");
            }
            expected = place + 1;
        }
        Ok(())
    }

    /// Whether entries are found by what they speak of. Where the log itself is not whole, that says nothing more.
    async fn compare_mentions(&mut self, db: &mut Connection<'_>) -> Result<(), StoreError> {
        if !self.differences.is_empty() {
            return Ok(());
        }
        let (mut found, mut after) = (mentions::Sum::default(), (i64::MIN, i64::MIN));
        let sql = "SELECT mention, seq FROM entry_mentions WHERE (mention, seq) > ($1, $2) ORDER BY mention, seq LIMIT 10000".into();
        loop {
            let rows = db.fetch(&sql, &[Column::Int(after.0), Column::Int(after.1)]).await.map_err(|e| StoreError::from_sqlx(ACT, e))?;
            for (mention, seq) in rows.iter().filter_map(|row| mentions::pair(row)) {
                found.add(mention, seq);
                after = (mention, seq);
            }
            if rows.len() < 10_000 {
                break;
            }
        }
        if found != self.mentions {
            let (log, table) = (self.mentions.rows(), found.rows());
            let table = if log == table { format!("{table} others") } else { table.to_string() };
            self.differ(mentions::TABLE, "all of them".to_owned(), None, log, table);
        }
        Ok(())
    }

    fn hear(&mut self, entry: &Entry) {
        if let Err(error) = apply(&mut self.tables, entry) {
            self.differ(
                "entries",
                entry.id.to_string(),
                None,
                "an entry that fits those before it",
                format!("{} ({error})", entry.event.name()),
            );
        }
        let promises = &mut self.promises;
        match &entry.event {
            Event::TokenIssued { token, row_digest, .. }
            | Event::TokenRenamed { token, row_digest, .. }
            | Event::TokenRevoked { token, row_digest } => {
                promises.tokens.insert(token.to_string(), row_digest.clone());
            }
            Event::PasskeyAdded { passkey, row_digest, .. }
            | Event::PasskeyUsed { passkey, row_digest, .. }
            | Event::PasskeyRenamed { passkey, row_digest }
            | Event::PasskeyRemoved { passkey, row_digest, .. } => {
                promises.passkeys.insert(passkey.to_string(), row_digest.clone());
            }
            Event::InvitationIssued { person, row_digest, .. } => {
                promises.invitations.entry(person.to_string()).or_default().insert(row_digest.clone());
                promises.invited.entry(person.to_string()).or_default().0 += 1;
            }
            Event::InvitationUsed { person, row_digest } | Event::InvitationVoided { person, row_digest } => {
                promises.invitations.entry(person.to_string()).or_default().insert(row_digest.clone());
                promises.invited.entry(person.to_string()).or_default().1 += 1;
            }
            Event::SecretSet { secret, row_digest } => {
                promises.secrets.insert(secret.to_string(), row_digest.clone());
            }
            Event::SecretRemoved { secret } => {
                promises.secrets.remove(secret.as_str());
            }
            Event::BundleActivated { digest, .. } => {
                promises.bundles.insert(digest.clone());
            }
            Event::HostKeyLearned { resource, fingerprint } => {
                promises.host_keys.insert(resource.to_string(), fingerprint.clone());
            }
            _ => {}
        }
    }

    fn differ(&mut self, table: &'static str, key: String, column: Option<&'static str>, log: impl ToString, found: impl ToString) {
        self.differences.push(Difference { table, key, column, log_says: log.to_string(), table_says: found.to_string() });
    }

    async fn compare_journaled(&mut self, db: &mut Connection<'_>) -> Result<(), StoreError> {
        for (table, columns) in Tables::SHAPES.iter().copied() {
            let mut told: BTreeSet<String> = self.tables.keys().into_iter().filter(|key| key.table == table).map(|key| key.key).collect();
            let mut after = String::new();
            loop {
                let key = columns.first().copied().unwrap_or_default();
                let select = Select::all().compare(key, ">", &after).limit(BATCH);
                let (sql, args) = select.sql_of(table, columns, &format!("\"{key}\""));
                let rows = db.fetch(&sql, &args).await.map_err(|e| StoreError::from_sqlx(ACT, e))?;
                for row in &rows {
                    let key = row.first().map(plain).unwrap_or_default();
                    told.remove(&key);
                    self.compare_row(table, columns, &key, row);
                    after = key;
                }
                if rows.len() < BATCH as usize {
                    break;
                }
            }
            for key in told {
                self.differ(table, key, None, "a row", "nothing");
            }
        }
        Ok(())
    }

    fn compare_row(&mut self, table: &'static str, columns: &'static [&'static str], key: &str, found: &[Column]) {
        let Some(told) = self.tables.columns(&RowKey { table, key: key.to_owned() }) else {
            return self.differ(table, key.to_owned(), None, "nothing", "a row");
        };
        for ((column, log), table_says) in columns.iter().zip(&told).zip(found) {
            if log != table_says {
                self.differ(table, key.to_owned(), Some(column), log, table_says);
            }
        }
    }

    async fn compare_committed(&mut self, db: &mut Connection<'_>, is_digest: &impl Fn(&[u8], &str) -> bool) -> Result<(), StoreError> {
        let promises = std::mem::take(&mut self.promises);

        let tokens = self.rows::<TokenRow>(db).await?;
        self.compare_digests(&tokens, promises.tokens, is_digest);
        let passkeys = self.rows::<PasskeyRow>(db).await?;
        self.compare_digests(&passkeys, promises.passkeys, is_digest);
        let secrets = self.rows::<SecretRow>(db).await?;
        self.compare_digests(&secrets, promises.secrets, is_digest);

        let mut host_keys = promises.host_keys;
        for row in self.rows::<HostKeyRow>(db).await? {
            match host_keys.remove(&row.key()) {
                None => self.differ(HostKeyRow::TABLE, row.key(), None, "nothing", "a row"),
                Some(told) if told != row.fingerprint => {
                    self.differ(HostKeyRow::TABLE, row.key(), Some("fingerprint"), told, &row.fingerprint);
                }
                Some(told) if !row.is_consistent() => {
                    self.differ(HostKeyRow::TABLE, row.key(), Some("public_key"), format!("the key with {told}"), "another key");
                }
                Some(_) => {}
            }
        }
        for key in host_keys.into_keys() {
            self.differ(HostKeyRow::TABLE, key, None, "a row", "nothing");
        }

        let mut kept: BTreeMap<String, Vec<BundleFile>> = promises.bundles.into_iter().map(|digest| (digest, Vec::new())).collect();
        for file in self.rows::<BundleFile>(db).await? {
            match kept.get_mut(&file.digest) {
                Some(files) => files.push(file),
                None => self.differ(BundleFile::TABLE, format!("{} {}", file.digest, file.path), None, "nothing", "a row"),
            }
        }
        for (digest, files) in kept {
            if files.is_empty() {
                self.differ(BundleFile::TABLE, digest, None, "the files of a policy", "nothing");
            } else if !are_of(&files, &digest) {
                self.differ(BundleFile::TABLE, digest, None, "the files of this digest", "other files");
            }
        }

        let (mut invited, none) = (promises.invited, BTreeSet::new());
        for row in self.rows::<InvitationRow>(db).await? {
            let person = row.person.to_string();
            let (issued, used) = invited.entry(person.clone()).or_default();
            *issued = issued.wrapping_sub(1);
            *used = used.wrapping_sub(row.used_at.is_some().into());
            let bytes = digestible(&row);
            if !promises.invitations.get(&person).unwrap_or(&none).iter().any(|told| is_digest(&bytes, told)) {
                self.differ(InvitationRow::TABLE, row.key(), None, "no row like this", "a row");
            }
        }
        for (person, rest) in invited {
            if rest != (0, 0) {
                let key = format!("of {person}");
                self.differ(InvitationRow::TABLE, key, None, "as many as were issued, as many used", "more or fewer");
            }
        }
        Ok(())
    }

    fn compare_digests<R: Row>(&mut self, rows: &[R], mut told: BTreeMap<String, String>, is_digest: &impl Fn(&[u8], &str) -> bool) {
        for row in rows {
            match told.remove(&row.key()) {
                None => self.differ(R::TABLE, row.key(), None, "nothing", "a row"),
                Some(log) if !is_digest(&digestible(row), &log) => {
                    self.differ(R::TABLE, row.key(), None, format!("a row with the digest {log}"), "another row");
                }
                Some(_) => {}
            }
        }
        for key in told.into_keys() {
            self.differ(R::TABLE, key, None, "a row", "nothing");
        }
    }

    /// All rows of a committed table; one that can't be read is a difference.
    async fn rows<R: Row>(&mut self, db: &mut Connection<'_>) -> Result<Vec<R>, StoreError> {
        let (sql, args) = Select::all().sql::<R>();
        let mut rows = Vec::new();
        for columns in db.fetch(&sql, &args).await.map_err(|e| StoreError::from_sqlx(ACT, e))? {
            match R::from_columns(&columns) {
                Ok(row) => rows.push(row),
                Err(error) => {
                    let key = columns.first().map(plain).unwrap_or_default();
                    self.differ(R::TABLE, key, Some(error.column), error.wanted, error.found);
                }
            }
        }
        Ok(rows)
    }
}

fn plain(column: &Column) -> String {
    match column {
        Column::Text(text) => text.clone(),
        other => other.to_string(),
    }
}
