//! One change inside an open transaction: check what is expected, fold the entries over the rows, write both.

use std::collections::HashMap;
use std::sync::LazyLock;

use access::event::Entry;
use access::fold::{FoldError, RowKey, Tables, apply};
use access::row::{Column, Field};

use crate::change::{Line, Prepared};
use crate::database::{Connection, Sql};
use crate::error::{CommitError, StoreError, Unique, unique};
use crate::table::{TABLES, version_of};

/// What was kept.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The entries, with their ids and salts.
    pub entries: Vec<Entry>,
    /// The rows that the entries touch or the change expected, as they stand now.
    pub rows: Tables,
}

pub(crate) const ACT: &str = "keep the change";

/// A failure inside the transaction: the change's own, or one that says nothing about the change.
pub(crate) enum Failure {
    /// The change can't be kept as things stand. Nothing of it is left in the transaction.
    Change(CommitError),
    /// The database failed; the transaction is to be rolled back.
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

fn conflict(key: &RowKey) -> Failure {
    Failure::Change(CommitError::Conflict { table: key.table, key: key.key.clone() })
}

enum RowWrite {
    Insert,
    /// From this version.
    Update(Option<i64>),
}

/// Writes the change but for its entries, or says why not. The connection stands in a transaction; nothing is kept before
/// that commits, and it may only commit after [`log_entries`].
pub(crate) async fn perform(db: &mut Connection<'_>, change: &Prepared) -> Result<Committed, Failure> {
    let before = load(db, change).await?;
    expect(&before, change)?;
    let (after, rows) = fold(before, &change.lines).map_err(|e| Failure::Change(e.into()))?;
    // A statement that fails leaves nothing, so that a change which can only fail at its first one needs no savepoint.
    // PostgreSQL has a transaction for each change anyway.
    let savepoint = !db.is_postgres() && rows.len() + change.writes.len() > 1;
    if savepoint {
        db.execute(&"SAVEPOINT change".into(), &[]).await?;
    }
    let written = write(db, change, rows).await;
    if savepoint {
        if matches!(written, Err(Failure::Change(_))) {
            db.execute(&"ROLLBACK TO change".into(), &[]).await?;
        }
        if !matches!(written, Err(Failure::Database(_))) {
            db.execute(&"RELEASE change".into(), &[]).await?;
        }
    }
    written?;
    Ok(Committed { entries: change.lines.iter().map(|line| line.entry.clone()).collect(), rows: after })
}

/// A row as it is after one entry. Written step by step, so that the database checks each.
type Step<'k> = (&'k RowKey, Vec<Column>, RowWrite);

fn fold(mut rows: Tables, lines: &[Line]) -> Result<(Tables, Vec<Step<'_>>), FoldError> {
    let mut steps = Vec::new();
    for line in lines {
        let before: Vec<_> = line.touches.iter().map(|key| rows.columns(key)).collect();
        apply(&mut rows, &line.entry)?;
        for (key, old) in line.touches.iter().zip(before) {
            let Some(new) = rows.columns(key) else { continue };
            match old {
                None => steps.push((key, new, RowWrite::Insert)),
                Some(old) if old != new => steps.push((key, new, RowWrite::Update(version_of(key.table, &old)))),
                Some(_) => {}
            }
        }
    }
    Ok((rows, steps))
}

/// Whether the entries make only new rows, so that none has to be read; that they are new, their keys see to.
pub(crate) fn makes_only_new_rows(lines: &[Line]) -> bool {
    fold(Tables::default(), lines).is_ok()
}

async fn load(db: &mut Connection<'_>, change: &Prepared) -> Result<Tables, Failure> {
    let mut tables = Tables::default();
    for key in &change.load {
        let Some(table) = TABLES.get(key.table) else { continue };
        // On SQLite nobody else writes meanwhile.
        let sql = if db.is_postgres() { &table.load_locked } else { &table.load };
        for row in db.fetch(sql, &[Column::Text(key.key.clone())]).await? {
            tables.load(key.table, &row).map_err(|e| Failure::Change(StoreError::from(e).into()))?;
        }
    }
    Ok(tables)
}

fn expect(rows: &Tables, change: &Prepared) -> Result<(), Failure> {
    for expectation in &change.expectations {
        let columns = rows.columns(&expectation.key).ok_or_else(|| conflict(&expectation.key))?;
        if version_of(expectation.key.table, &columns) != expectation.version {
            return Err(conflict(&expectation.key));
        }
    }
    Ok(())
}

async fn write(db: &mut Connection<'_>, change: &Prepared, rows: Vec<(&RowKey, Vec<Column>, RowWrite)>) -> Result<(), Failure> {
    for (key, mut columns, how) in rows {
        let Some(table) = TABLES.get(key.table) else { continue };
        let written = match how {
            RowWrite::Insert => db.execute(&table.insert, &columns).await,
            RowWrite::Update(version) => {
                columns.push(version.to_column());
                db.execute(&table.update, &columns).await
            }
        };
        match written {
            Ok(1) => {}
            Ok(_) => return Err(conflict(key)),
            Err(error) => {
                return Err(match unique(&error) {
                    // The only other uniqueness is the key's: somebody else made this very row.
                    Some(Unique::Other) => conflict(key),
                    Some(what) => Failure::Change(CommitError::Duplicate { what }),
                    None => Failure::Database(error),
                });
            }
        }
    }
    for write in &change.writes {
        match db.execute(&write.sql, &write.args).await {
            Ok(0) => {
                if let Some((table, key)) = &write.must {
                    return Err(Failure::Change(CommitError::Conflict { table, key: key.clone() }));
                }
            }
            Ok(_) => {}
            Err(error) => {
                return Err(match unique(&error) {
                    Some(what) => Failure::Change(CommitError::Duplicate { what }),
                    None => Failure::Database(error),
                });
            }
        }
    }
    Ok(())
}

/// How many entries one statement can add, from many to one; each is a statement that stays prepared.
const SIZES: [usize; 3] = [32, 8, 1];
/// The same for what they speak of: an entry by itself speaks of some five to ten ids and names.
const MENTIONS: [usize; 5] = [64, 8, 4, 2, 1];

static ENTRIES: LazyLock<[Sql; 3]> = LazyLock::new(|| {
    let head = "INSERT INTO entries (id, at, actor, door, name, leaf, texts)";
    SIZES.map(|size| format!("{head} VALUES {} RETURNING seq, id", places(size, 7)).into())
});

static MENTIONED: LazyLock<[Sql; 5]> = LazyLock::new(|| {
    let head = format!("INSERT INTO {} (mention, seq)", crate::mentions::TABLE);
    MENTIONS.map(|size| format!("{head} VALUES {}", places(size, 2)).into())
});

/// Places for so many rows of so many values.
fn places(rows: usize, values: usize) -> String {
    let row = |n: usize| (1..=values).map(|i| format!("${}", n * values + i)).collect::<Vec<_>>().join(", ");
    (0..rows).map(|n| format!("({})", row(n))).collect::<Vec<_>>().join(", ")
}

/// Writes the entries of changes that were performed in this transaction, in order, and what they speak of.
pub(crate) async fn log_entries(db: &mut Connection<'_>, lines: &[&Line]) -> Result<(), sqlx::Error> {
    let mut given = HashMap::with_capacity(lines.len());
    let mut left = lines;
    for (size, sql) in SIZES.into_iter().zip(ENTRIES.iter()) {
        while let Some((now, later)) = left.split_at_checked(size) {
            let args: Vec<Column> = now.iter().flat_map(|line| line.columns.iter().cloned()).collect();
            for row in db.fetch(sql, &args).await? {
                if let [Column::Int(seq), Column::Text(id)] = row.as_slice() {
                    given.insert(id.clone(), *seq);
                }
            }
            left = later;
        }
    }
    let mut pairs = Vec::new();
    for line in lines {
        let Some(seq) = given.get(&line.entry.id.to_string()) else {
            return Err(sqlx::Error::Protocol(format!("entry {} was written and has no number", line.entry.id)));
        };
        pairs.extend(line.mentions.iter().map(|mention| [Column::Int(*mention), Column::Int(*seq)]));
    }
    let mut left = pairs.as_slice();
    for (size, sql) in MENTIONS.into_iter().zip(MENTIONED.iter()) {
        while let Some((now, later)) = left.split_at_checked(size) {
            db.execute(sql, now.as_flattened()).await?;
            left = later;
        }
    }
    Ok(())
}
