//! How links to identity providers and to accounts in chat change.

use crate::chat::{ChatAccountRow, Told};
use crate::event::{Entry, Event as E};
use crate::identity::{Groups, IdentityRow};
use crate::row::Row;

use super::no_row;
use super::tables::{FoldError, Tables, add, get};

pub(super) fn apply(tables: &mut Tables, entry: &Entry) -> Result<(), FoldError> {
    let at = entry.at;
    let text = |name: &str| entry.text(name).map(str::to_owned);
    match entry.event.clone() {
        E::IdentityLinked { identity, person, issuer } => {
            // Linked before to somebody else: whoever they are now, the provider has not said anything of them as that.
            if let Ok(row) = get::<IdentityRow>(tables, &identity) {
                row.person = person;
                row.groups = Groups::default();
                row.proved_at = None;
                row.linked_at = at;
                row.unlinked_at = None;
                row.version += 1;
                return Ok(());
            }
            let subject = text("subject");
            let groups = Groups::default();
            let (proved_at, unlinked_at) = (None, None);
            add(tables, IdentityRow { id: identity, person, issuer, subject, groups, proved_at, linked_at: at, unlinked_at, version: 1 })
        }
        E::IdentityProved { identity, groups, .. } => {
            let row = theirs(tables, &identity, "used")?;
            row.groups = Groups(groups);
            row.proved_at = Some(at);
            row.version += 1;
            Ok(())
        }
        E::IdentityUnlinked { identity, .. } => {
            let row = theirs(tables, &identity, "unlinked")?;
            row.groups = Groups::default();
            row.proved_at = None;
            row.unlinked_at = Some(at);
            row.version += 1;
            Ok(())
        }
        E::ChatAccountLinked { chat_account, person, service, team, account } => {
            // Somebody's before: they gave it up, or it is theirs again.
            if let Ok(row) = get::<ChatAccountRow>(tables, &chat_account) {
                if row.person != person {
                    row.told = Told::All;
                }
                row.person = person;
                row.address = text("address");
                row.linked_at = at;
                row.removed_at = None;
                row.version += 1;
                return Ok(());
            }
            let (address, told) = (text("address"), Told::All);
            let row = ChatAccountRow {
                id: chat_account,
                person,
                service,
                team,
                account,
                address,
                told,
                linked_at: at,
                removed_at: None,
                version: 1,
            };
            add(tables, row)
        }
        E::ChatAccountTold { chat_account, told, .. } => {
            let row: &mut ChatAccountRow = get(tables, chat_account)?;
            row.told = told;
            row.version += 1;
            Ok(())
        }
        E::ChatAccountRemoved { chat_account, .. } => {
            let row: &mut ChatAccountRow = get(tables, chat_account)?;
            row.removed_at = Some(at);
            row.version += 1;
            Ok(())
        }
        other => no_row(&other),
    }
}

/// An account that is somebody's: one that was taken from them signs nobody in.
fn theirs<'t>(tables: &'t mut Tables, identity: &str, to: &'static str) -> Result<&'t mut IdentityRow, FoldError> {
    let row: &mut IdentityRow = get(tables, identity)?;
    match row.unlinked_at {
        None => Ok(row),
        Some(_) => Err(FoldError::Illegal { table: IdentityRow::TABLE, key: identity.to_owned(), from: "unlinked", to }),
    }
}
