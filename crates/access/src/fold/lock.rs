//! How locks change.

use crate::event::{Entry, Event as E};
use crate::lock::{LockRow, LockState};
use crate::row::Row;

use super::no_row;
use super::tables::{FoldError, Tables, add, get, step};

pub(super) fn apply(tables: &mut Tables, entry: &Entry) -> Result<(), FoldError> {
    let at = entry.at;
    let text = |name: &str| entry.text(name).map(str::to_owned);
    match entry.event.clone() {
        E::LockSet { lock, scope, until, contains, transmitter, sessions: _ } => add(
            tables,
            LockRow {
                id: lock,
                scope,
                reason: text("reason"),
                state: LockState::Set,
                set_at: at,
                until,
                lifted_at: None,
                contains,
                transmitter,
                version: 1,
            },
        ),
        E::LockLifted { lock } => {
            let row: &mut LockRow = get(tables, lock)?;
            step(LockRow::TABLE, &lock, row.state.code(), LockState::Lifted.code())?;
            row.state = LockState::Lifted;
            row.lifted_at = Some(at);
            row.version += 1;
            Ok(())
        }
        other => no_row(&other),
    }
}
