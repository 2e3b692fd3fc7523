//! How the accounts that the gate makes in databases change.

use crate::account::{AccountRow, AccountState};
use crate::event::{Entry, Event as E};
use crate::row::Row;

use super::no_row;
use super::tables::{FoldError, Tables, add, get, step};

pub(super) fn apply(tables: &mut Tables, entry: &Entry) -> Result<(), FoldError> {
    let at = entry.at;
    match entry.event.clone() {
        E::AccountCreated { account, grant, resource, node } => add(
            tables,
            AccountRow { id: account, grant, resource, node, state: AccountState::Made, created_at: at, dropped_at: None, version: 1 },
        ),
        E::AccountDropped { account } => {
            let row: &mut AccountRow = get(tables, account)?;
            step(AccountRow::TABLE, &account, row.state.code(), AccountState::Dropped.code())?;
            row.state = AccountState::Dropped;
            row.dropped_at = Some(at);
            row.version += 1;
            Ok(())
        }
        other => no_row(&other),
    }
}
