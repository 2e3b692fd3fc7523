//! How grants change.

use jiff::Timestamp;

use crate::event::{Entry, Event as E};
use crate::grant::{Approvers, GrantEnd, GrantRow, GrantState};
use crate::ids::GrantId;
use crate::row::Row;

use super::no_row;
use super::tables::{FoldError, Tables, add, get, step};

pub(super) fn apply(tables: &mut Tables, entry: &Entry) -> Result<(), FoldError> {
    let at = entry.at;
    match entry.event.clone() {
        E::GrantCreated {
            grant,
            request,
            person,
            resource,
            role,
            limits,
            terms,
            length,
            break_glass,
            bundle,
            policy,
            approvers,
            frozen,
            activate_by,
        } => add(
            tables,
            GrantRow {
                id: grant,
                request,
                person,
                resource,
                role,
                limits,
                terms,
                length,
                break_glass,
                bundle,
                policy,
                approvers: Approvers(approvers),
                frozen,
                state: GrantState::Ready,
                created_at: at,
                activate_by,
                starts_at: None,
                ends_at: None,
                ended_at: None,
                end: None,
                version: 1,
            },
        ),
        E::GrantActivated { grant, starts_at, ends_at } => {
            let row: &mut GrantRow = get(tables, grant)?;
            step(GrantRow::TABLE, &grant, row.state.code(), GrantState::Active.code())?;
            row.state = GrantState::Active;
            row.starts_at = Some(starts_at);
            row.ends_at = ends_at;
            row.version += 1;
            Ok(())
        }
        E::GrantExtended { grant, ends_at, .. } => {
            let row: &mut GrantRow = get(tables, grant)?;
            if row.state != GrantState::Active {
                return Err(FoldError::Illegal { table: GrantRow::TABLE, key: grant.to_string(), from: row.state.code(), to: "extended" });
            }
            row.ends_at = Some(ends_at);
            row.version += 1;
            Ok(())
        }
        E::GrantExpired { grant } => grant_end(tables, grant, GrantEnd::Expired, at),
        E::GrantRevoked { grant, .. } => grant_end(tables, grant, GrantEnd::Revoked, at),
        E::GrantReturned { grant } => grant_end(tables, grant, GrantEnd::Returned, at),
        E::GrantWithdrawn { grant, .. } => grant_end(tables, grant, GrantEnd::Withdrawn, at),
        E::GrantLapsed { grant } => grant_end(tables, grant, GrantEnd::Lapsed, at),
        E::GrantIdled { grant } => grant_end(tables, grant, GrantEnd::Idle, at),
        other => no_row(&other),
    }
}

fn grant_end(tables: &mut Tables, grant: GrantId, end: GrantEnd, at: Timestamp) -> Result<(), FoldError> {
    let row: &mut GrantRow = get(tables, grant)?;
    step(GrantRow::TABLE, &grant, row.state.code(), GrantState::Ended.code())?;
    row.state = GrantState::Ended;
    row.end = Some(end);
    row.ended_at = Some(at);
    row.version += 1;
    Ok(())
}
