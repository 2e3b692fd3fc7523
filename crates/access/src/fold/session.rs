//! How sessions change.

use crate::event::{Entry, Event as E};
use crate::row::Row;
use crate::session::{SessionRow, SessionState};
use crate::threshold::{Alert, Alerts};

use super::no_row;
use super::tables::{FoldError, Tables, add, get, step};

pub(super) fn apply(tables: &mut Tables, entry: &Entry) -> Result<(), FoldError> {
    let at = entry.at;
    match entry.event.clone() {
        E::SessionOpened { session, grant, person, resource, role, protocol, recording, node, .. } => add(
            tables,
            SessionRow {
                id: session,
                grant,
                person,
                resource,
                role,
                protocol,
                recording,
                node,
                state: SessionState::Live,
                opened_at: at,
                ended_at: None,
                end: None,
                confirmed: None,
                bytes_up: 0,
                bytes_down: 0,
                recording_chunks: None,
                recording_digest: None,
                from: entry.text("from").and_then(|address| address.parse().ok()),
                steps: 0,
                alerts: Alerts::default(),
                version: 1,
            },
        ),
        E::SessionEnded { session, reason, confirmed, bytes_up, bytes_down, recording_chunks, recording_digest } => {
            let row: &mut SessionRow = get(tables, session)?;
            step(SessionRow::TABLE, &session, row.state.code(), SessionState::Ended.code())?;
            row.state = SessionState::Ended;
            row.ended_at = Some(at);
            row.end = Some(reason);
            row.confirmed = Some(confirmed);
            row.bytes_up = bytes_up;
            row.bytes_down = bytes_down;
            row.recording_chunks = recording_chunks;
            row.recording_digest = recording_digest;
            row.version += 1;
            Ok(())
        }
        E::SessionConfirmed { session } => {
            let row: &mut SessionRow = get(tables, session)?;
            if row.state != SessionState::Ended {
                return Err(FoldError::Illegal {
                    table: SessionRow::TABLE,
                    key: session.to_string(),
                    from: row.state.code(),
                    to: "confirmed",
                });
            }
            row.confirmed = Some(true);
            row.version += 1;
            Ok(())
        }
        E::SessionRehomed { session, to_grant, .. } => {
            let row: &mut SessionRow = get(tables, session)?;
            if row.state != SessionState::Live {
                return Err(FoldError::Illegal {
                    table: SessionRow::TABLE,
                    key: session.to_string(),
                    from: row.state.code(),
                    to: "rehomed",
                });
            }
            row.grant = to_grant;
            row.version += 1;
            Ok(())
        }
        E::SessionStepped { from_session: session, .. } | E::SessionOnward { session, .. } => {
            let row: &mut SessionRow = get(tables, session)?;
            row.steps += 1;
            row.version += 1;
            Ok(())
        }
        E::SessionAlerted { session, what, value, bound, then } => {
            let row: &mut SessionRow = get(tables, session)?;
            row.alerts.0.push(Alert { at, what, value, bound, then });
            row.version += 1;
            Ok(())
        }
        other => no_row(&other),
    }
}
