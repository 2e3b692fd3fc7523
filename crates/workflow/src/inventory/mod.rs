//! Ways to production that do not pass the gate: imported, entered, and worked off.
//!
//! *Takes* lists of ways, and what somebody says of one. *Proves* that they may keep the inventory. *Hands to* the log what was found, what is
//! gone, and what became of each: open, taken in by a resource of the bundle, accepted until a date, closed.

mod backlog;
mod import;
mod matching;

use access::event::{EntryDraft, Event};
use access::ids::PathId;
use access::inventory::{Attribution, Issuance, PathRow, PathState, Reach};
use access::reason::{Reason, Refusal};
use access::time::Span;
use jiff::Timestamp;
use policy::{Act, Noun, Object};
use store::Change;

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::seen::AsSeen;

pub use ::inventory::About;
pub use backlog::{Backlog, Week};
pub use import::{Imported, List};

/// The longest time for which something may be accepted.
pub(crate) const LONGEST_ACCEPTANCE: Span = Span::hours(366 * 24);
/// The longest reason, in characters.
const LONGEST_REASON: usize = 1_000;

/// A way that somebody enters by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPath {
    /// What it speaks.
    pub reach: Reach,
    /// What it leads to.
    pub target: String,
    /// The account there.
    pub account: Option<String>,
    /// Who can use it.
    pub holder: Option<String>,
    /// How its credentials come about.
    pub issuance: Issuance,
    /// Whether what is done over it is one person's.
    pub attribution: Attribution,
    /// What else is worth knowing.
    pub note: Option<String>,
}

impl Gate {
    /// Whether somebody may see the inventory: who keeps it, and who reads the whole log.
    ///
    /// # Errors
    /// If they may not.
    pub async fn may_see_inventory(&self, caller: &Caller) -> Result<(), Refusal> {
        if self.allowed(caller, Act::Administer(Noun::Audit), &Object::Nothing).await.is_ok() {
            return Ok(());
        }
        self.authorize(caller, Act::Administer(Noun::Inventory), &Object::Nothing).await
    }

    pub(crate) async fn may_keep_inventory(&self, caller: &Caller) -> Result<(), Refusal> {
        self.authorize(caller, Act::Administer(Noun::Inventory), &Object::Nothing).await
    }

    /// Somebody says why a way stays, until a date.
    ///
    /// # Errors
    /// If they may not keep the inventory, give no reason or no date that will do, or the way is not outside.
    pub async fn accept_path(
        &self,
        caller: &Caller,
        path: impl Into<AsSeen<PathId>>,
        until: Timestamp,
        reason: &str,
    ) -> Result<PathRow, Refusal> {
        let (now, reason) = (self.now(), said(reason)?);
        check_until(until, now)?;
        self.decide_path(caller, path.into(), PathState::Accepted, |path| Event::PathAccepted { path, until }, Some(reason)).await
    }

    /// Somebody closed a way and says so.
    ///
    /// # Errors
    /// If they may not keep the inventory, give no reason, or the way is not outside.
    pub async fn close_path(&self, caller: &Caller, path: impl Into<AsSeen<PathId>>, reason: &str) -> Result<PathRow, Refusal> {
        let reason = said(reason)?;
        self.decide_path(caller, path.into(), PathState::Closed, |path| Event::PathClosed { path }, Some(reason)).await
    }

    /// Somebody takes back that a way was closed or accepted.
    ///
    /// # Errors
    /// If they may not keep the inventory, or it was neither.
    pub async fn reopen_path(&self, caller: &Caller, path: impl Into<AsSeen<PathId>>) -> Result<PathRow, Refusal> {
        self.decide_path(caller, path.into(), PathState::Open, |path| Event::PathReopened { path }, None).await
    }

    async fn decide_path(
        &self,
        caller: &Caller,
        AsSeen { id, seen }: AsSeen<PathId>,
        to: PathState,
        event: impl FnOnce(PathId) -> Event,
        reason: Option<String>,
    ) -> Result<PathRow, Refusal> {
        self.may_keep_inventory(caller).await?;
        let row = self.store.inventory_path(id).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        seen.is(row.version)?;
        if !access::transition::is_legal("inventory_paths", row.state.code(), to.code()) || row.state == PathState::Gone {
            let hint = match row.state {
                PathState::TakenIn => "a resource of the policy covers it already",
                PathState::Gone => "its list does not name it any more",
                _ => "it is that already",
            };
            return Err(Refusal::because(Reason::AlreadyDecided, format!("it is `{}`: {hint}", row.state)));
        }
        let draft = self.draft(caller, event(id)).text("reason", reason);
        let committed = self.commit_seen(Change::new(draft).expect(&row), &row, &seen).await?;
        committed.rows.inventory_paths.into_values().next().ok_or_else(|| Refusal::of(Reason::NotFound))
    }

    /// Somebody enters a way that no list names.
    ///
    /// # Errors
    /// If they may not keep the inventory, or it is there already.
    pub async fn add_path(&self, caller: &Caller, new: NewPath) -> Result<PathRow, Refusal> {
        self.may_keep_inventory(caller).await?;
        let found = inventory::Found {
            line: 0,
            reach: new.reach,
            target: inventory::target(new.reach, &new.target),
            account: text(new.account),
            holder: text(new.holder),
            fingerprint: None,
            issuance: new.issuance,
            attribution: new.attribution,
            detail: text(new.note).into_iter().collect(),
        };
        if found.target.is_empty() {
            return Err(Refusal::because(Reason::Invalid, "say what it leads to, as `db-1.internal:5432`"));
        }
        let source = import::entered().ok_or_else(|| Refusal::of(Reason::Internal))?;
        let there = self.store.inventory_paths_from(&source).await.map_err(unavailable)?;
        let key = found.key();
        if let Some(row) = there.into_iter().find(|row| row.key == key) {
            return match row.state {
                PathState::Closed | PathState::Gone => self.back(caller, row).await,
                state => Err(Refusal::because(Reason::AlreadyAsked, format!("it is there as {}, `{state}`", row.id))),
            };
        }
        let id = PathId::generate(self.now());
        let mut drafts = vec![self.found_draft(caller, id, &source, &found).await?];
        drafts.extend(self.placed(&self.bundle(), id, PathState::Open, None, &found.reach, &found.target, None, found.issuance));
        self.commit_path(drafts).await
    }

    async fn back(&self, caller: &Caller, row: PathRow) -> Result<PathRow, Refusal> {
        let draft = self.draft(caller, Event::PathReopened { path: row.id });
        let committed = self.commit(Change::new(draft).expect(&row)).await.map_err(refused)?;
        committed.rows.inventory_paths.into_values().next().ok_or_else(|| Refusal::of(Reason::NotFound))
    }

    async fn commit_path(&self, drafts: Vec<EntryDraft>) -> Result<PathRow, Refusal> {
        let mut drafts = drafts.into_iter();
        let first = drafts.next().ok_or_else(|| Refusal::of(Reason::Internal))?;
        let committed = self.commit(Change::new(first).and_all(drafts)).await.map_err(refused)?;
        committed.rows.inventory_paths.into_values().next().ok_or_else(|| Refusal::of(Reason::NotFound))
    }
}

/// A reason, if it is one.
pub(crate) fn said(reason: &str) -> Result<String, Refusal> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(Refusal::because(Reason::Invalid, "say why, in a sentence that somebody understands next year"));
    }
    if reason.chars().count() > LONGEST_REASON {
        return Err(Refusal::because(Reason::Invalid, format!("a reason has at most {LONGEST_REASON} characters")));
    }
    Ok(reason.to_owned())
}

/// Whether something may be accepted until then.
pub(crate) fn check_until(until: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    if until <= now {
        return Err(Refusal::because(Reason::Invalid, format!("{until} is over; give a date to come")));
    }
    if until > LONGEST_ACCEPTANCE.after(now) {
        return Err(Refusal::because(Reason::Invalid, "at most a year can be accepted at a time; give a date within it"));
    }
    Ok(())
}

fn text(text: Option<String>) -> Option<String> {
    text.map(|text| inventory::clean(&text)).filter(|text| !text.is_empty())
}
