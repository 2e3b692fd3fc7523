//! Which state may follow which: one table, held here by the fold and in the database by a trigger.

use crate::account::AccountState;
use crate::grant::GrantState;
use crate::hold::HoldState;
use crate::identity::{KeyState, PersonState};
use crate::inventory::{FindingState, PathState};
use crate::lock::LockState;
use crate::request::RequestState;
use crate::review::ReviewState;
use crate::session::SessionState;

/// `(table, from, to)` for every step there is. A row that is made starts from `""`.
pub const TRANSITIONS: &[(&str, &str, &str)] = &[
    ("people", "", PersonState::Active.code()),
    ("people", PersonState::Active.code(), PersonState::Disabled.code()),
    ("people", PersonState::Disabled.code(), PersonState::Active.code()),
    ("keys", "", KeyState::Active.code()),
    ("keys", KeyState::Active.code(), KeyState::Removed.code()),
    ("requests", "", RequestState::Pending.code()),
    ("requests", RequestState::Pending.code(), RequestState::Approved.code()),
    ("requests", RequestState::Pending.code(), RequestState::Denied.code()),
    ("requests", RequestState::Pending.code(), RequestState::Cancelled.code()),
    ("requests", RequestState::Pending.code(), RequestState::Expired.code()),
    ("grants", "", GrantState::Ready.code()),
    ("grants", GrantState::Ready.code(), GrantState::Active.code()),
    ("grants", GrantState::Ready.code(), GrantState::Ended.code()),
    ("grants", GrantState::Active.code(), GrantState::Ended.code()),
    ("sessions", "", SessionState::Live.code()),
    ("sessions", SessionState::Live.code(), SessionState::Ended.code()),
    ("locks", "", LockState::Set.code()),
    ("locks", LockState::Set.code(), LockState::Lifted.code()),
    ("holds", "", HoldState::Set.code()),
    ("holds", HoldState::Set.code(), HoldState::Lifted.code()),
    ("reviews", "", ReviewState::Open.code()),
    ("reviews", ReviewState::Open.code(), ReviewState::Done.code()),
    ("accounts", "", AccountState::Made.code()),
    ("accounts", AccountState::Made.code(), AccountState::Dropped.code()),
    ("inventory_paths", "", PathState::Open.code()),
    ("inventory_paths", PathState::Open.code(), PathState::TakenIn.code()),
    ("inventory_paths", PathState::Open.code(), PathState::Accepted.code()),
    ("inventory_paths", PathState::Open.code(), PathState::Closed.code()),
    ("inventory_paths", PathState::Open.code(), PathState::Gone.code()),
    ("inventory_paths", PathState::TakenIn.code(), PathState::Open.code()),
    ("inventory_paths", PathState::TakenIn.code(), PathState::TakenIn.code()),
    ("inventory_paths", PathState::TakenIn.code(), PathState::Gone.code()),
    ("inventory_paths", PathState::Accepted.code(), PathState::Open.code()),
    ("inventory_paths", PathState::Accepted.code(), PathState::Accepted.code()),
    ("inventory_paths", PathState::Accepted.code(), PathState::TakenIn.code()),
    ("inventory_paths", PathState::Accepted.code(), PathState::Closed.code()),
    ("inventory_paths", PathState::Accepted.code(), PathState::Gone.code()),
    ("inventory_paths", PathState::Closed.code(), PathState::Open.code()),
    ("inventory_paths", PathState::Closed.code(), PathState::TakenIn.code()),
    ("inventory_paths", PathState::Closed.code(), PathState::Gone.code()),
    ("inventory_paths", PathState::Gone.code(), PathState::Open.code()),
    ("findings", "", FindingState::Open.code()),
    ("findings", FindingState::Open.code(), FindingState::Accepted.code()),
    ("findings", FindingState::Open.code(), FindingState::Mended.code()),
    ("findings", FindingState::Accepted.code(), FindingState::Open.code()),
    ("findings", FindingState::Accepted.code(), FindingState::Accepted.code()),
    ("findings", FindingState::Accepted.code(), FindingState::Mended.code()),
    ("findings", FindingState::Mended.code(), FindingState::Open.code()),
];

/// Whether one state may follow another.
#[must_use]
pub fn is_legal(table: &str, from: &str, to: &str) -> bool {
    TRANSITIONS.contains(&(table, from, to))
}
