//! How reviews change.

use crate::event::{Actor, Entry, Event as E};
use crate::ids::ReviewId;
use crate::review::{ReviewRow, ReviewState};
use crate::row::Row;

use super::no_row;
use super::tables::{FoldError, Tables, add, get, step};

pub(super) fn apply(tables: &mut Tables, entry: &Entry) -> Result<(), FoldError> {
    let at = entry.at;
    let text = |name: &str| entry.text(name).map(str::to_owned);
    match entry.event.clone() {
        E::ReviewOpened { review, kind, grant, session, person, reviewers, due_at } => add(
            tables,
            ReviewRow {
                id: review,
                kind,
                grant,
                session,
                person,
                reviewers,
                due_at,
                state: ReviewState::Open,
                outcome: None,
                done_by: None,
                note: None,
                follow_ups: None,
                reminded_at: None,
                escalated_to: None,
                opened_at: at,
                done_at: None,
                version: 1,
            },
        ),
        E::ReviewReminded { review } => {
            open_review(tables, review, "reminded")?.reminded_at = Some(at);
            Ok(())
        }
        E::ReviewEscalated { review, to } => {
            open_review(tables, review, "escalated")?.escalated_to = Some(to);
            Ok(())
        }
        E::ReviewCompleted { review, outcome } => {
            let done_by = match entry.actor {
                Actor::Principal(id) => Some(id),
                _ => None,
            };
            let row: &mut ReviewRow = get(tables, review)?;
            step(ReviewRow::TABLE, &review, row.state.code(), ReviewState::Done.code())?;
            row.state = ReviewState::Done;
            row.outcome = Some(outcome);
            row.done_by = done_by;
            row.note = text("note");
            row.follow_ups = text("follow_ups");
            row.done_at = Some(at);
            row.version += 1;
            Ok(())
        }
        other => no_row(&other),
    }
}

/// A review that something happens to while it is open; counts the change.
fn open_review<'t>(tables: &'t mut Tables, review: ReviewId, to: &'static str) -> Result<&'t mut ReviewRow, FoldError> {
    let row: &mut ReviewRow = get(tables, review)?;
    if row.state != ReviewState::Open {
        return Err(FoldError::Illegal { table: ReviewRow::TABLE, key: review.to_string(), from: row.state.code(), to });
    }
    row.version += 1;
    Ok(row)
}
