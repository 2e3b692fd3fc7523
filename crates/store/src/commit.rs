//! One change inside an open transaction: check what is expected, fold the entries over the rows, write both.

use access::event::Entry;
use access::fold::{RowKey, Tables, apply};
use access::row::Column;

use crate::change::Prepared;
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
    Update(i64),
}

/// Writes the change, or says why not. The connection stands in a transaction; nothing is kept before that commits.
pub(crate) async fn perform(db: &mut Connection<'_>, change: &Prepared) -> Result<Committed, Failure> {
    let before = load(db, change).await?;
    expect(&before, change)?;
    let (after, rows) = fold(before, change)?;
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

fn fold<'k>(mut rows: Tables, change: &'k Prepared) -> Result<(Tables, Vec<Step<'k>>), Failure> {
    let mut steps = Vec::new();
    for line in &change.lines {
        let before: Vec<_> = line.touches.iter().map(|key| rows.columns(key)).collect();
        apply(&mut rows, &line.entry).map_err(|e| Failure::Change(e.into()))?;
        for (key, old) in line.touches.iter().zip(before) {
            match (old, rows.columns(key)) {
                (None, Some(new)) => steps.push((key, new, RowWrite::Insert)),
                (Some(old), Some(new)) if old != new => {
                    let version = version_of(key.table, &old).ok_or_else(|| conflict(key))?;
                    steps.push((key, new, RowWrite::Update(version)));
                }
                _ => {}
            }
        }
    }
    Ok((rows, steps))
}

async fn load(db: &mut Connection<'_>, change: &Prepared) -> Result<Tables, Failure> {
    let mut tables = Tables::default();
    for key in &change.rows {
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
                columns.push(Column::Int(version));
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
    for line in &change.lines {
        db.execute(&ENTRY, &line.columns).await?;
    }
    Ok(())
}

static ENTRY: std::sync::LazyLock<Sql> =
    std::sync::LazyLock::new(|| "INSERT INTO entries (id, at, actor, door, name, leaf, texts) VALUES ($1, $2, $3, $4, $5, $6, $7)".into());
