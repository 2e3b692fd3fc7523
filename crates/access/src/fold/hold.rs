//! How legal holds change.

use crate::event::{Entry, Event as E};
use crate::hold::{HoldRow, HoldState};
use crate::row::Row;

use super::no_row;
use super::tables::{FoldError, Tables, add, get, step};

pub(super) fn apply(tables: &mut Tables, entry: &Entry) -> Result<(), FoldError> {
    match entry.event.clone() {
        E::HoldSet { hold, scope } => add(
            tables,
            HoldRow {
                id: hold,
                scope,
                reason: entry.text("reason").map(str::to_owned),
                state: HoldState::Set,
                set_at: entry.at,
                lifted_at: None,
                version: 1,
            },
        ),
        E::HoldLifted { hold } => {
            let row: &mut HoldRow = get(tables, hold)?;
            step(HoldRow::TABLE, &hold, row.state.code(), HoldState::Lifted.code())?;
            row.state = HoldState::Lifted;
            row.lifted_at = Some(entry.at);
            row.version += 1;
            Ok(())
        }
        other => no_row(&other),
    }
}
