//! How people and workloads change.

use crate::event::{Entry, Event as E};
use crate::identity::{Groups, PersonRow, PersonState};
use crate::ids::PrincipalId;
use crate::row::Row;

use super::no_row;
use super::tables::{FoldError, Tables, add, get, step};

pub(super) fn apply(tables: &mut Tables, entry: &Entry) -> Result<(), FoldError> {
    let at = entry.at;
    let text = |name: &str| entry.text(name).map(str::to_owned);
    match entry.event.clone() {
        E::PersonCreated { person, username, owner, groups } => add(
            tables,
            PersonRow {
                id: person,
                username,
                display_name: text("display_name"),
                owner,
                groups: Groups(groups),
                state: PersonState::Active,
                created_at: at,
                version: 1,
            },
        ),
        E::WorkloadHandedOver { person, owner } => {
            let row: &mut PersonRow = get(tables, person)?;
            row.owner = Some(owner);
            row.version += 1;
            Ok(())
        }
        E::PersonRenamed { person } => {
            let row: &mut PersonRow = get(tables, person)?;
            row.display_name = text("display_name");
            row.version += 1;
            Ok(())
        }
        E::PersonDisabled { person } => person_state(tables, person, PersonState::Disabled),
        E::PersonEnabled { person } => person_state(tables, person, PersonState::Active),
        other => no_row(&other),
    }
}

fn person_state(tables: &mut Tables, person: PrincipalId, to: PersonState) -> Result<(), FoldError> {
    let row: &mut PersonRow = get(tables, person)?;
    step(PersonRow::TABLE, &person, row.state.code(), to.code())?;
    row.state = to;
    row.version += 1;
    Ok(())
}
