//! One connection, of whichever kind: SQL text and columns in, columns out.
//!
//! The same text runs on both databases: `$1` placeholders, every value a number, a text or nothing.

use std::sync::Arc;

use access::row::Column;
use futures::TryStreamExt;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgConnection, PgRow, PgTypeInfo, Postgres};
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Column as _, Encode, Row as _, Type, TypeInfo, ValueRef};

/// SQL made of constants: texts in this crate, and table and column names of `access`. Values are always bound.
#[derive(Debug, Clone)]
pub(crate) struct Sql(Arc<str>);

impl From<&str> for Sql {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Sql {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl Sql {
    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    fn safe(&self) -> AssertSqlSafe<Arc<str>> {
        AssertSqlSafe(Arc::clone(&self.0))
    }
}

/// A connection, inside a transaction or not.
pub(crate) enum Connection<'c> {
    /// To the file.
    Sqlite(&'c mut SqliteConnection),
    /// To the server.
    Postgres(&'c mut PgConnection),
}

impl Connection<'_> {
    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// All rows of the answer.
    pub(crate) async fn fetch(&mut self, sql: &Sql, args: &[Column]) -> Result<Vec<Vec<Column>>, sqlx::Error> {
        match self {
            Self::Sqlite(db) => {
                let mut rows = sqlx::query_with(sql.safe(), sqlite_arguments(args)?).fetch(&mut **db);
                let mut out = Vec::new();
                while let Some(row) = rows.try_next().await? {
                    out.push(sqlite_columns(&row)?);
                }
                Ok(out)
            }
            Self::Postgres(db) => {
                let mut rows = sqlx::query_with(sql.safe(), postgres_arguments(args)?).fetch(&mut **db);
                let mut out = Vec::new();
                while let Some(row) = rows.try_next().await? {
                    out.push(postgres_columns(&row)?);
                }
                Ok(out)
            }
        }
    }

    /// How many rows it changed.
    pub(crate) async fn execute(&mut self, sql: &Sql, args: &[Column]) -> Result<u64, sqlx::Error> {
        match self {
            Self::Sqlite(db) => Ok(sqlx::query_with(sql.safe(), sqlite_arguments(args)?).execute(&mut **db).await?.rows_affected()),
            Self::Postgres(db) => Ok(sqlx::query_with(sql.safe(), postgres_arguments(args)?).execute(&mut **db).await?.rows_affected()),
        }
    }

    /// Several statements without arguments.
    pub(crate) async fn script(&mut self, text: &str) -> Result<(), sqlx::Error> {
        let sql = sqlx::raw_sql(AssertSqlSafe(text));
        match self {
            Self::Sqlite(db) => sql.execute(&mut **db).await.map(drop),
            Self::Postgres(db) => sql.execute(&mut **db).await.map(drop),
        }
    }
}

fn sqlite_arguments(args: &[Column]) -> Result<SqliteArguments, sqlx::Error> {
    let mut out = SqliteArguments::default();
    for arg in args {
        match arg {
            Column::Null => Arguments::add(&mut out, None::<i64>),
            Column::Int(n) => Arguments::add(&mut out, *n),
            Column::Text(t) => Arguments::add(&mut out, t.clone()),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(out)
}

fn postgres_arguments(args: &[Column]) -> Result<PgArguments, sqlx::Error> {
    let mut out = PgArguments::default();
    for arg in args {
        match arg {
            Column::Null => Arguments::add(&mut out, Untyped),
            Column::Int(n) => Arguments::add(&mut out, *n),
            Column::Text(t) => Arguments::add(&mut out, t.as_str()),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(out)
}

/// A NULL whose type the server finds by itself: object id 0 in a Parse message means just that.
struct Untyped;

impl Type<Postgres> for Untyped {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Untyped {
    fn encode_by_ref(&self, _buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}

fn sqlite_columns(row: &SqliteRow) -> Result<Vec<Column>, sqlx::Error> {
    (0..row.len())
        .map(|i| {
            let value = row.try_get_raw(i)?;
            if value.is_null() {
                Ok(Column::Null)
            } else if value.type_info().name() == "INTEGER" {
                row.try_get_unchecked(i).map(Column::Int)
            } else {
                row.try_get_unchecked(i).map(Column::Text)
            }
        })
        .collect()
}

fn postgres_columns(row: &PgRow) -> Result<Vec<Column>, sqlx::Error> {
    row.columns()
        .iter()
        .enumerate()
        .map(|(i, column)| {
            if row.try_get_raw(i)?.is_null() {
                return Ok(Column::Null);
            }
            match column.type_info().name() {
                "INT8" => row.try_get_unchecked(i).map(Column::Int),
                "INT4" => row.try_get_unchecked::<i32, _>(i).map(|n| Column::Int(n.into())),
                _ => row.try_get_unchecked(i).map(Column::Text),
            }
        })
        .collect()
}
