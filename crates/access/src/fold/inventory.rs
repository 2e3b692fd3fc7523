//! How ways beside the gate, and findings on targets, change.

use crate::event::{Actor, Entry, Event as E};
use crate::inventory::{FindingRow, FindingState, LookRow, PathRow, PathState, SourceRow};
use crate::row::Row;

use super::no_row;
use super::tables::{FoldError, Tables, add, get, step};

pub(super) fn apply(tables: &mut Tables, entry: &Entry) -> Result<(), FoldError> {
    let at = entry.at;
    let text = |name: &str| entry.text(name).map(str::to_owned);
    let by = match entry.actor {
        Actor::Principal(id) => Some(id),
        Actor::Gate | Actor::Unknown => None,
    };
    match entry.event.clone() {
        E::InventoryImported { source, kind, digest, paths } => {
            if let Ok(row) = get::<SourceRow>(tables, &source) {
                (row.kind, row.digest, row.paths, row.imported_at) = (kind, digest, paths, at);
                row.version += 1;
                return Ok(());
            }
            add(tables, SourceRow { id: source, kind, digest, paths, first_at: at, imported_at: at, version: 1 })
        }
        E::PathFound { path, source, key, reach, person, issuance, attribution } => add(
            tables,
            PathRow {
                id: path,
                source,
                key,
                reach,
                target: text("target"),
                account: text("account"),
                holder: text("holder"),
                person,
                issuance,
                attribution,
                detail: text("detail"),
                state: PathState::Open,
                resource: None,
                accepted_until: None,
                decided_by: None,
                reason: None,
                found_at: at,
                since: at,
                version: 1,
            },
        ),
        E::PathChanged { path, person, issuance, attribution } => {
            let row: &mut PathRow = get(tables, path)?;
            (row.target, row.account, row.holder, row.detail) = (text("target"), text("account"), text("holder"), text("detail"));
            (row.person, row.issuance, row.attribution) = (person, issuance, attribution);
            row.version += 1;
            Ok(())
        }
        E::PathTakenIn { path, resource } => {
            let row = path_state(tables, path, PathState::TakenIn, at)?;
            row.resource = resource;
            Ok(())
        }
        E::PathReopened { path } => path_state(tables, path, PathState::Open, at).map(|_| ()),
        E::PathAccepted { path, until } => {
            let row = path_state(tables, path, PathState::Accepted, at)?;
            (row.accepted_until, row.decided_by, row.reason) = (Some(until), by, text("reason"));
            Ok(())
        }
        E::PathClosed { path } => {
            let row = path_state(tables, path, PathState::Closed, at)?;
            (row.decided_by, row.reason) = (by, text("reason"));
            Ok(())
        }
        E::PathGone { path } => path_state(tables, path, PathState::Gone, at).map(|_| ()),
        E::DriftLooked { resource, findings } => {
            let row = look(tables, resource, at)?;
            (row.seen_at, row.failed, row.detail, row.findings) = (Some(at), false, text("detail"), findings);
            Ok(())
        }
        E::DriftFailed { resource, .. } => {
            let row = look(tables, resource, at)?;
            (row.failed, row.detail) = (true, text("detail"));
            Ok(())
        }
        E::FindingOpened { finding, resource, kind, key } => add(
            tables,
            FindingRow {
                id: finding,
                resource,
                kind,
                key,
                subject: text("subject"),
                detail: text("detail"),
                state: FindingState::Open,
                accepted_until: None,
                decided_by: None,
                reason: None,
                found_at: at,
                since: at,
                version: 1,
            },
        ),
        E::FindingReopened { finding } => finding_state(tables, finding, FindingState::Open, at).map(|_| ()),
        E::FindingAccepted { finding, until } => {
            let row = finding_state(tables, finding, FindingState::Accepted, at)?;
            (row.accepted_until, row.decided_by, row.reason) = (until, by, text("reason"));
            Ok(())
        }
        E::FindingMended { finding } => finding_state(tables, finding, FindingState::Mended, at).map(|_| ()),
        other => no_row(&other),
    }
}

/// What was said of the state before says nothing of the next.
fn path_state(tables: &mut Tables, path: crate::ids::PathId, to: PathState, at: jiff::Timestamp) -> Result<&mut PathRow, FoldError> {
    let row: &mut PathRow = get(tables, path)?;
    step(PathRow::TABLE, &path, row.state.code(), to.code())?;
    (row.resource, row.accepted_until, row.decided_by, row.reason) = (None, None, None, None);
    (row.state, row.since) = (to, at);
    row.version += 1;
    Ok(row)
}

fn finding_state(
    tables: &mut Tables,
    finding: crate::ids::FindingId,
    to: FindingState,
    at: jiff::Timestamp,
) -> Result<&mut FindingRow, FoldError> {
    let row: &mut FindingRow = get(tables, finding)?;
    step(FindingRow::TABLE, &finding, row.state.code(), to.code())?;
    (row.accepted_until, row.decided_by, row.reason) = (None, None, None);
    (row.state, row.since) = (to, at);
    row.version += 1;
    Ok(row)
}

/// The row of a target that was looked at, or that somebody tried to look at.
fn look(tables: &mut Tables, resource: crate::names::ResourceName, at: jiff::Timestamp) -> Result<&mut LookRow, FoldError> {
    if get::<LookRow>(tables, &resource).is_err() {
        add(tables, LookRow { id: resource.clone(), tried_at: at, seen_at: None, failed: false, detail: None, findings: 0, version: 0 })?;
    }
    let row: &mut LookRow = get(tables, &resource)?;
    row.tried_at = at;
    row.version += 1;
    Ok(row)
}
