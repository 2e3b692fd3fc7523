//! How what a directory service says of people and groups changes.

use jiff::Timestamp;

use crate::directory::{DirectoryGroupRow, DirectoryMemberRow, DirectoryUserRow, member_id};
use crate::event::{Entry, Event as E};
use crate::ids::{DirectoryGroupId, PrincipalId};
use crate::row::Row;

use super::no_row;
use super::tables::{FoldError, Tables, add, get};

pub(super) fn apply(tables: &mut Tables, entry: &Entry) -> Result<(), FoldError> {
    let at = entry.at;
    let text = |name: &str| entry.text(name).map(str::to_owned);
    match entry.event.clone() {
        E::DirectoryUserAdded { directory, person, user_name_key, external_id_key, active, shut } => {
            let mut new = DirectoryUserRow {
                id: person,
                directory,
                user_name: text("user_name"),
                user_name_key,
                external_id: text("external_id"),
                external_id_key,
                profile: text("profile"),
                active,
                shut,
                created_at: at,
                changed_at: at,
                removed_at: None,
                version: 1,
            };
            // Whom a directory took out it can bring again.
            if let Ok(row) = get::<DirectoryUserRow>(tables, person)
                && !row.is_there()
            {
                new.version = row.version + 1;
                *row = new;
                return Ok(());
            }
            add(tables, new)
        }
        E::DirectoryUserChanged { person, user_name_key, external_id_key, active, shut } => {
            let row: &mut DirectoryUserRow = get(tables, person)?;
            there(DirectoryUserRow::TABLE, &person, row.removed_at)?;
            row.user_name = text("user_name");
            row.user_name_key = user_name_key;
            row.external_id = text("external_id");
            row.external_id_key = external_id_key;
            row.profile = text("profile");
            row.active = active;
            row.shut = shut;
            row.changed_at = at;
            row.version += 1;
            Ok(())
        }
        E::DirectoryUserRemoved { person, shut, groups } => {
            let row: &mut DirectoryUserRow = get(tables, person)?;
            there(DirectoryUserRow::TABLE, &person, row.removed_at)?;
            row.active = false;
            row.shut = shut;
            row.changed_at = at;
            row.removed_at = Some(at);
            row.version += 1;
            groups.into_iter().try_for_each(|group| membership(tables, group, person, false, at))
        }
        E::DirectoryUserHeld { person } => {
            let row: &mut DirectoryUserRow = get(tables, person)?;
            row.shut = false;
            row.version += 1;
            Ok(())
        }
        E::DirectoryGroupAdded { directory, group, name_key, external_id_key, members } => {
            add(
                tables,
                DirectoryGroupRow {
                    id: group,
                    directory,
                    display_name: text("display_name"),
                    name_key,
                    external_id: text("external_id"),
                    external_id_key,
                    created_at: at,
                    changed_at: at,
                    removed_at: None,
                    version: 1,
                },
            )?;
            members.into_iter().try_for_each(|person| membership(tables, group, person, true, at))
        }
        E::DirectoryGroupChanged { group, name_key, external_id_key, added, removed } => {
            let row: &mut DirectoryGroupRow = get(tables, group)?;
            there(DirectoryGroupRow::TABLE, &group, row.removed_at)?;
            // Who only comes or goes leaves a name that it was given meanwhile.
            if let Some(name_key) = name_key {
                row.display_name = text("display_name");
                row.name_key = name_key;
                row.external_id = text("external_id");
                row.external_id_key = external_id_key;
            }
            row.changed_at = at;
            row.version += 1;
            added.into_iter().try_for_each(|person| membership(tables, group, person, true, at))?;
            removed.into_iter().try_for_each(|person| membership(tables, group, person, false, at))
        }
        E::DirectoryGroupRemoved { group } => {
            let row: &mut DirectoryGroupRow = get(tables, group)?;
            there(DirectoryGroupRow::TABLE, &group, row.removed_at)?;
            row.changed_at = at;
            row.removed_at = Some(at);
            row.version += 1;
            Ok(())
        }
        other => no_row(&other),
    }
}

/// What a directory took out it can't change any more.
fn there(table: &'static str, key: &impl ToString, removed_at: Option<Timestamp>) -> Result<(), FoldError> {
    match removed_at {
        None => Ok(()),
        Some(_) => Err(FoldError::Illegal { table, key: key.to_string(), from: "removed", to: "changed" }),
    }
}

fn membership(tables: &mut Tables, group: DirectoryGroupId, person: PrincipalId, member: bool, at: Timestamp) -> Result<(), FoldError> {
    let id = member_id(group, person);
    if let Ok(row) = get::<DirectoryMemberRow>(tables, &id) {
        row.member = member;
        row.since = at;
        row.version += 1;
        return Ok(());
    }
    add(tables, DirectoryMemberRow { id, group, person, member, since: at, version: 1 })
}
