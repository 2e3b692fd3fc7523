//! A whole copy of a store that is a file, made while somebody writes it.

use std::path::Path;

use access::row::Column;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use crate::StoreError;
use crate::database::Connection;
use crate::store::private;

const ACT: &str = "copy the store";

/// Writes the store as it is at one moment into a new file that only its owner may read (SQLite's `VACUUM INTO`).
///
/// # Errors
/// If it can't be read, or the copy can't be written.
pub async fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let failed = |error| StoreError::from_sqlx(ACT, error);
    let text = to.to_str().ok_or_else(|| StoreError::said(ACT, "its path is not UTF-8"))?;
    private(to)?;
    let file = SqliteConnectOptions::new().filename(from).create_if_missing(false).disable_statement_logging();
    let mut connection = file.connect().await.map_err(failed)?;
    Connection::Sqlite(&mut connection).execute(&"VACUUM INTO $1".into(), &[Column::Text(text.to_owned())]).await.map_err(failed)?;
    connection.close().await.map_err(failed)?;
    std::fs::File::open(to).and_then(|file| file.sync_all()).map_err(|error| StoreError::said(ACT, error.to_string()))
}
