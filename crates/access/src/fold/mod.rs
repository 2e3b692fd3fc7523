//! The fold: how each event changes rows. The store applies it to commit, `audit replay` applies it to the whole log,
//! and both must arrive at the same rows, column by column.
//!
//! What an event of a noun does stands in that noun's file.

mod account;
mod bundle;
mod directory;
mod grant;
mod hold;
mod identity;
mod inventory;
mod key;
mod lock;
mod person;
mod request;
mod review;
mod session;
mod tables;
mod touches;

use crate::event::{Entry, Event, Noun};

pub use self::tables::{FoldError, RowKey, Tables};
pub use self::touches::touches;

/// Changes the rows as the entry says.
///
/// # Errors
/// If the entry doesn't fit the rows; then nothing of it is applied to the row it failed at.
pub fn apply(tables: &mut Tables, entry: &Entry) -> Result<(), FoldError> {
    match entry.event.noun() {
        Noun::Person => person::apply(tables, entry),
        Noun::Identity => identity::apply(tables, entry),
        Noun::Directory => directory::apply(tables, entry),
        Noun::Key => key::apply(tables, entry),
        Noun::Request => request::apply(tables, entry),
        Noun::Grant => grant::apply(tables, entry),
        Noun::Session => session::apply(tables, entry),
        Noun::Hold => hold::apply(tables, entry),
        Noun::Bundle => bundle::apply(tables, entry),
        Noun::Lock => lock::apply(tables, entry),
        Noun::Account => account::apply(tables, entry),
        Noun::Review => review::apply(tables, entry),
        Noun::Inventory => inventory::apply(tables, entry),
        Noun::Node | Noun::Recording | Noun::Secret | Noun::Outside => no_row(&entry.event),
    }
}

/// What leaves no journaled row.
fn no_row(event: &Event) -> Result<(), FoldError> {
    debug_assert!(touches(event).is_empty(), "an event that touches rows has an arm in its noun's file");
    Ok(())
}
