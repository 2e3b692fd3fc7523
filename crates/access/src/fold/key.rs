//! How keys change.

use crate::event::{Entry, Event as E};
use crate::identity::{KeyRow, KeyState};
use crate::row::Row;

use super::no_row;
use super::tables::{FoldError, Tables, add, get, step};

pub(super) fn apply(tables: &mut Tables, entry: &Entry) -> Result<(), FoldError> {
    let at = entry.at;
    let text = |name: &str| entry.text(name).map(str::to_owned);
    match entry.event.clone() {
        E::KeyAdded { key, person, kind, fingerprint, public_key, expires_at, with: _, claims } => add(
            tables,
            KeyRow {
                id: key,
                person,
                kind,
                fingerprint,
                public_key,
                label: text("label"),
                state: KeyState::Active,
                added_at: at,
                expires_at,
                claims,
                version: 1,
            },
        ),
        E::KeyRemoved { key } => {
            let row: &mut KeyRow = get(tables, key)?;
            step(KeyRow::TABLE, &key, row.state.code(), KeyState::Removed.code())?;
            row.state = KeyState::Removed;
            row.version += 1;
            Ok(())
        }
        other => no_row(&other),
    }
}
