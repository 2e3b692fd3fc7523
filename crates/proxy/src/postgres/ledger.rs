//! What the client asked for and the server has not answered yet, in order: so that each answer is known for what it answers.
//!
//! The server answers in the order it was asked. After an error in the extended protocol it skips to the next `Sync`, and so does this.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use sql::postgres::Form;
use wire::postgres::back::Status;

use super::names::{Name, Names, Naming, Portal, Prepared};
use super::running::Running;
use super::statement::{self, Outcome, Recorded};
use crate::database::live::Asked as Answers;

/// Questions without answer, at most; the client is not read beyond that.
pub(crate) const OUTSTANDING: usize = 65_536;
/// Cursors whose rows are counted, at most.
const FETCHED: usize = 65_536;

/// Something the server has been asked.
#[derive(Debug)]
pub(crate) enum Asked {
    /// `Query`, or the messages that copy in the place of one: ends at `ReadyForQuery`.
    Simple(Running),
    /// `Execute`: ends at its `CommandComplete`.
    Execute(Running),
    /// `FunctionCall`: ends at `ReadyForQuery`.
    Function(Running),
    /// `Parse` of this text, which is recorded under this number already if it has a name.
    Parse { text: Recorded, number: Option<u64>, unnamed: bool },
    /// `Bind` of a statement that is recorded under this number, to this portal.
    Bind { number: u64, portal: Name },
    /// `Close` of a statement or a portal.
    Close(Kind),
    /// `Describe`.
    Describe,
    /// The gate's own `Describe` of a portal that is about to run; these places of its rows are masked.
    OwnDescribe(Arc<BTreeSet<usize>>),
    /// `Sync`.
    Sync,
    /// The client has ended its copying in.
    CopyEnd,
    /// Something that makes the server fail, in the place of what was refused.
    Refused { instead: Vec<u8>, simple: bool },
}

impl Asked {
    /// Whether what is asked after it runs also if it fails.
    fn ends_segment(&self) -> bool {
        matches!(self, Self::Simple(_) | Self::Function(_) | Self::Sync | Self::Refused { simple: true, .. })
    }
}

/// What has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Statement,
    Portal,
}

/// The server answered what it was not asked, or not what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutOfStep;

/// What is said where nobody can tell any more which of the messages behind a failed copy the server reads.
pub(crate) const UNCLEAR: &str =
    "a `COPY` has failed; until the server is ready again nothing but `CopyData`, `CopyDone`, `CopyFail` and `Sync` may follow";

/// `Sync`s that a server may have read as part of a copy that failed. Those it does not answer.
#[derive(Debug, Default)]
struct Swallowed {
    /// How many `Sync`s there are at the front with nothing between: of none of them anybody knows which of them an answer is for.
    together: usize,
    /// How many of them may have no answer any more.
    perhaps: usize,
    /// Whether a `Sync` that is sent next stands among them.
    open: bool,
    /// Whether the server skips to a `Sync` unless it has read one meanwhile.
    may_skip: bool,
}

impl Swallowed {
    /// If one of them may have no answer, the first has none.
    fn one_less(&mut self) -> bool {
        let any = self.perhaps > 0;
        if any {
            self.perhaps -= 1;
            self.together = self.together.saturating_sub(1);
        }
        any
    }

    /// One of them is answered: the first, or one after it. The server skips nothing any more.
    fn one_answered(&mut self) {
        self.together = self.together.saturating_sub(1);
        self.perhaps = self.perhaps.min(self.together);
        self.open &= self.perhaps > 0;
        self.may_skip = false;
    }

    /// A `Sync` is sent, or something else.
    fn sent(&mut self, sync: bool) {
        self.together += usize::from(sync && self.open);
        self.open &= sync;
        self.may_skip = false;
    }
}

/// The questions, and what there is to record of the answers.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    asked: VecDeque<Asked>,
    /// How many segments have been sent whole, and how many answered.
    sent: u64,
    answered: u64,
    /// The `Sync`s at the front that the server may have read as part of a copy.
    swallowed: Swallowed,
    pub(crate) names: Names,
    /// Whether the server reads nothing but a `Sync` now, since a question of the extended protocol failed (PostgreSQL documentation,
    /// "Extended Query"): not a `Query` either.
    skipping: bool,
    /// Whether the client had the server send what it has to say to all of it.
    flushed: bool,
    last: u64,
    /// How many rows open cursors and portals have brought back, by their names. Kept where somebody counts.
    fetched: HashMap<Box<[u8]>, u64>,
    /// What is to be recorded before the answers are passed on.
    pub(crate) due: Vec<String>,
    /// Whether the session is in a transaction, as the server said last.
    pub(crate) status: Status,
}

/// What to do with an error of the server's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failing {
    /// Pass it on.
    Genuine,
    /// It was provoked: this is passed on in its place.
    Provoked(Vec<u8>),
}

impl Answers for Ledger {
    /// Of what was asked without a `Sync` or `Flush` behind it nothing may come, and a copy waits for what the client has.
    fn is_owed(&self) -> bool {
        let takes_rows = matches!(self.asked.front(), Some(Asked::Simple(running) | Asked::Execute(running)) if running.copied_in())
            && !self.asked.iter().any(|asked| matches!(asked, Asked::CopyEnd));
        !takes_rows && !self.is_quiet() && (self.flushed || self.asked.iter().any(Asked::ends_segment))
    }
}

impl Ledger {
    /// The next statement's number.
    pub(crate) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// What the server will not read is never answered, and stands in no queue.
    pub(crate) fn push(&mut self, asked: Asked) {
        let sync = matches!(asked, Asked::Sync);
        // The end of a copy that has failed is read by nobody.
        if (self.skipping && !sync) || (self.swallowed.open && matches!(asked, Asked::CopyEnd)) {
            return;
        }
        self.skipping = false;
        self.flushed = false;
        self.swallowed.sent(sync);
        self.sent += u64::from(asked.ends_segment());
        self.asked.push_back(asked);
    }

    /// Forgets the oldest question.
    fn pop(&mut self) {
        let asked = self.asked.pop_front();
        self.answered += u64::from(asked.is_some_and(|asked| asked.ends_segment()));
    }

    /// `Parse`, of a text of this many bytes.
    pub(crate) fn parse(&mut self, name: &[u8], prepared: Prepared, bytes: usize) {
        if !self.skipping {
            let (text, number) = (prepared.text.clone(), prepared.recorded);
            self.names.statements.change(self.sent, name, Some((prepared, bytes)));
            self.push(Asked::Parse { text, number, unnamed: name.is_empty() });
        }
    }

    /// `Bind` to this portal.
    pub(crate) fn bind(&mut self, name: &[u8], portal: Portal) {
        if !self.skipping {
            // The text of the one without a name is that of a statement mostly, and is counted there.
            let text = if name.is_empty() { 0 } else { portal.text.text.len() };
            let (number, bytes) = (portal.number, portal.values.len() + text);
            self.names.portals.change(self.sent, name, Some((portal, bytes)));
            self.push(Asked::Bind { number, portal: name.into() });
        }
    }

    /// `Close`.
    pub(crate) fn close(&mut self, kind: Kind, name: &[u8]) {
        if !self.skipping {
            match kind {
                Kind::Statement => self.names.statements.change(self.sent, name, None),
                Kind::Portal => self.names.portals.change(self.sent, name, None),
            }
            self.push(Asked::Close(kind));
        }
    }

    /// `Query`: it takes away what is prepared under no name. A portal without a name it leaves, or it is gone for good: none comes by
    /// that name again but by a `Bind`.
    pub(crate) fn query(&mut self, mut running: Running) {
        if !self.skipping {
            running.drops_unnamed = self.names.statements.get(b"").is_some() || self.names.statements.is_unsure(b"", u64::MAX);
            if running.drops_unnamed {
                self.names.statements.change(self.sent, b"", None);
            }
            self.take_names(&running);
            self.push(Asked::Simple(running));
        }
    }

    /// A copy that runs as a query, which is prepared under no name and stays so; the server is read up to its `ReadyForQuery`.
    pub(crate) fn copy(&mut self, mut running: Running, prepared: Prepared, bytes: usize) {
        if !self.skipping {
            running.drops_unnamed = true;
            self.names.statements.change(self.sent, b"", Some((prepared, bytes)));
            self.push(Asked::Simple(running));
        }
    }

    /// Whether what is sent now begins something new: the server reads it, and a `Sync` behind it ends nothing else.
    pub(crate) fn begins_anew(&self) -> bool {
        let last = self.asked.iter().rev().find(|asked| !matches!(asked, Asked::CopyEnd));
        !self.skipping && last.is_none_or(Asked::ends_segment)
    }

    /// `Execute`.
    pub(crate) fn execute(&mut self, running: Running) {
        if !self.skipping {
            self.take_names(&running);
            self.push(Asked::Execute(running));
        }
    }

    /// Statements that give names take them from whatever has them now.
    fn take_names(&mut self, running: &Running) {
        for naming in &running.namings {
            match naming {
                Naming::None | Naming::Fetches(_) => {}
                Naming::Opens(name) => self.names.portals.change(self.sent, name, None),
                Naming::Prepares(name) => self.names.statements.change(self.sent, name, None),
            }
        }
    }

    /// Something that fails is sent in the place of what was refused; what is prepared under no name does not outlive it.
    pub(crate) fn refuse(&mut self, instead: Vec<u8>, simple: bool) {
        if !self.skipping {
            self.names.statements.change(self.sent, b"", None);
            self.push(Asked::Refused { instead, simple });
        }
    }

    /// Whether an answer is still to come that says what has this name.
    pub(crate) fn is_unsure(&self, kind: Kind, name: &[u8]) -> bool {
        match kind {
            Kind::Statement => self.names.statements.is_unsure(name, self.sent),
            Kind::Portal => self.names.portals.is_unsure(name, self.sent),
        }
    }

    /// Whether the server owes nothing.
    pub(crate) fn is_quiet(&self) -> bool {
        let left = self.asked.iter().filter(|asked| !matches!(asked, Asked::CopyEnd));
        // Those that the server may have read as part of a copy, and nothing else.
        left.zip(1..).all(|(asked, count)| matches!(asked, Asked::Sync) && count <= self.swallowed.perhaps)
    }

    /// `Flush`.
    pub(crate) fn flushes(&mut self) {
        self.flushed = true;
    }

    /// Whether nobody knows if the server reads what comes next: a copy has failed, and may have swallowed every `Sync` behind it. Only
    /// what is the same either way may be sent then.
    pub(crate) fn is_unclear(&self) -> bool {
        self.swallowed.may_skip
    }

    pub(crate) fn is_full(&self) -> bool {
        self.asked.len() >= OUTSTANDING
    }

    /// The question that is being answered by something else than `ReadyForQuery`. The end of a copy that has failed already is none.
    fn front(&mut self) -> Option<&mut Asked> {
        loop {
            match self.asked.front() {
                Some(Asked::CopyEnd) => self.pop(),
                Some(Asked::Sync) if self.swallowed.one_less() => self.pop(),
                _ => return self.asked.front_mut(),
            }
        }
    }

    fn running(&mut self) -> Option<&mut Running> {
        match self.front()? {
            Asked::Simple(running) | Asked::Execute(running) | Asked::Function(running) => Some(running),
            _ => None,
        }
    }

    /// A row, or copied data, of this many bytes came back. Says how many rows that makes.
    pub(crate) fn row(&mut self, bytes: usize, is_row: bool) -> u64 {
        let Some(running) = self.running() else { return 0 };
        running.outcome.rows += u64::from(is_row);
        running.outcome.bytes += bytes as u64;
        let rows = running.outcome.rows;
        match running.names() {
            Naming::Fetches(name) => {
                let name = name.clone();
                rows + self.fetched.get(&name).copied().unwrap_or_default()
            }
            Naming::None | Naming::Opens(_) | Naming::Prepares(_) => rows,
        }
    }

    /// So many rows came back, of so many bytes together, where nobody limits them.
    pub(crate) fn rows(&mut self, rows: usize, bytes: usize) {
        if let Some(running) = self.running() {
            running.outcome.rows += rows as u64;
            running.outcome.bytes += bytes as u64;
        }
    }

    /// The statement that ran is over: what it did with a name is done, and what it brought back of a cursor counts for the next that
    /// fetches there.
    fn has_named(&mut self) {
        let Some(running) = self.running() else { return };
        let (naming, rows) = (running.names().clone(), running.outcome.rows);
        match naming {
            Naming::None => {}
            Naming::Opens(name) => {
                self.names.portals.done();
                self.fetched.remove(&name);
            }
            Naming::Prepares(_) => self.names.statements.done(),
            Naming::Fetches(name) if self.fetched.len() < FETCHED || self.fetched.contains_key(&name) => {
                *self.fetched.entry(name).or_default() += rows;
            }
            // So many are open that they have to be forgotten.
            Naming::Fetches(_) => self.fetched.clear(),
        }
    }

    /// The first answer to a `Query`: what was prepared under no name is gone.
    fn has_dropped_unnamed(&mut self) {
        if self.running().is_some_and(|running| std::mem::take(&mut running.drops_unnamed)) {
            self.names.statements.begun();
            self.names.statements.done();
        }
    }

    /// The row that was counted last is not whole yet: it is counted when it is.
    pub(crate) fn row_was_not_whole(&mut self, bytes: usize) {
        if let Some(running) = self.running() {
            running.outcome.rows = running.outcome.rows.saturating_sub(1);
            running.outcome.bytes = running.outcome.bytes.saturating_sub(bytes as u64);
        }
    }

    /// The number of what runs.
    pub(crate) fn runs(&mut self) -> Option<u64> {
        self.running().map(|running| running.number)
    }

    /// If the server answers the gate's own `Describe`: what is masked besides. That is answered then.
    pub(crate) fn describes_for_the_gate(&mut self) -> Option<Arc<BTreeSet<usize>>> {
        let Some(Asked::OwnDescribe(places)) = self.front() else { return None };
        let places = places.clone();
        self.pop();
        Some(places)
    }

    /// If a `RowDescription` announces rows of a `Query`: what is masked in them besides.
    pub(crate) fn announces(&mut self) -> Option<&BTreeSet<usize>> {
        static NOTHING: BTreeSet<usize> = BTreeSet::new();
        match self.front()? {
            Asked::Simple(running) => Some(running.masked.get(running.answered).unwrap_or(&NOTHING)),
            _ => None,
        }
    }

    /// If what runs is a copy that runs as a query: how its rows are written.
    pub(crate) fn forms(&mut self) -> Option<Arc<Form>> {
        self.running()?.form.clone()
    }

    /// Whether what runs is a query of the gate's own: what an error says of a place in it is nowhere in what was sent.
    pub(crate) fn copies_table(&mut self) -> bool {
        self.running().is_some_and(|running| running.of_table)
    }

    /// Copied data went there. It says nothing about what is answered.
    pub(crate) fn copied_in(&mut self, bytes: usize) {
        if let Some(Asked::Simple(running) | Asked::Execute(running)) = self.asked.front_mut() {
            running.outcome.copied_in += bytes as u64;
        }
    }

    /// The server began to copy.
    pub(crate) fn copies(&mut self, how: &'static str) {
        if let Some(running) = self.running() {
            running.outcome.copy = Some(how);
        }
    }

    /// `ParseComplete`, `BindComplete`, `CloseComplete`, `ParameterDescription`, `NoData`, `RowDescription`; what else is no answer to a
    /// `Sync` is counted there too, as `FunctionCallResponse`.
    pub(crate) fn small(&mut self, answer: u8) {
        match (self.front(), answer) {
            (Some(Asked::Parse { number, .. }), b'1') => {
                let prepared = Outcome { tag: Some(b"PREPARE".to_vec()), ..Outcome::default() };
                let said = number.map(|number| statement::came_of(number, &prepared));
                self.due.extend(said);
                self.names.statements.done();
            }
            (Some(Asked::Bind { portal, .. }), b'2') => {
                let portal = std::mem::take(portal);
                self.names.portals.done();
                if !self.fetched.is_empty() {
                    self.fetched.remove(&portal);
                }
            }
            (Some(Asked::Close(Kind::Statement)), b'3') => self.names.statements.done(),
            (Some(Asked::Close(Kind::Portal)), b'3') => self.names.portals.done(),
            // A `Describe` of a statement is answered by `t` and then `T` or `n`.
            (Some(Asked::Describe), b'n' | b'T') => {}
            _ => return,
        }
        self.pop();
    }

    /// `CommandComplete`, `EmptyQueryResponse`, `PortalSuspended`.
    pub(crate) fn complete(&mut self, tag: Option<&[u8]>, suspended: bool, now: Instant) {
        self.has_dropped_unnamed();
        self.has_named();
        let Some(running) = self.running() else { return };
        running.outcome.tag = tag.map(<[u8]>::to_vec);
        running.outcome.suspended = suspended;
        let copied_in = running.copied_in();
        let said = running.settle(now);
        running.since = now;
        self.due.push(said);
        let simple = !matches!(self.asked.front(), Some(Asked::Execute(_)));
        if !simple {
            self.pop();
        }
        // What was asked while it copied the server has ignored, a `Sync` too.
        if copied_in && let Some(end) = self.asked.iter().position(|asked| matches!(asked, Asked::CopyEnd)) {
            let ignored = self.asked.drain(usize::from(simple)..=end).filter(Asked::ends_segment).count();
            self.answered += ignored as u64;
        }
    }

    /// A copy failed. A `Sync` that the server read while it still copied it has swallowed; if it failed before, it has not. In the
    /// extended protocol it skips to a `Sync` then: whatever stands before the first is not read, and whatever stands behind the first
    /// that is certain to be answered is.
    ///
    /// # Errors
    /// If something stands between of which nobody knows whether the server reads it.
    fn copy_failed(&mut self, skips: bool) -> Result<(), OutOfStep> {
        let mut swallowed = Swallowed { open: true, may_skip: skips, ..Swallowed::default() };
        let mut over = false;
        for asked in self.asked.iter().skip(1) {
            match asked {
                Asked::Sync => {
                    swallowed.together += 1;
                    swallowed.perhaps += usize::from(!over);
                    swallowed.may_skip &= !over;
                }
                Asked::CopyEnd => over = true,
                // Behind a `Sync` that is certain to be answered.
                _ if swallowed.together > swallowed.perhaps => {
                    swallowed.open = false;
                    break;
                }
                // No server reads this and copies on.
                _ if swallowed.perhaps == 0 => over = true,
                _ => return Err(OutOfStep),
            }
        }
        self.swallowed = if swallowed.perhaps > 0 { swallowed } else { Swallowed::default() };
        Ok(())
    }

    /// `ErrorResponse`.
    ///
    /// # Errors
    /// If a copy failed while other things had been sent into it, so that nobody can tell which of them the server reads.
    pub(crate) fn failed(&mut self, sqlstate: Option<&[u8]>, now: Instant) -> Result<Failing, OutOfStep> {
        let sqlstate = sqlstate.map(<[u8]>::to_vec);
        let mut failing = Failing::Genuine;
        let mut skips = true;
        if matches!(self.front(), Some(Asked::OwnDescribe(_))) {
            // It is what was to run that failed.
            self.pop();
        }
        self.has_dropped_unnamed();
        match self.front() {
            Some(asked @ (Asked::Simple(_) | Asked::Function(_) | Asked::Execute(_))) => {
                skips = matches!(asked, Asked::Execute(_));
                let (Asked::Simple(running) | Asked::Function(running) | Asked::Execute(running)) = asked else {
                    return Ok(failing);
                };
                running.outcome.sqlstate = sqlstate;
                let copied_in = running.copied_in();
                let said = running.settle(now);
                self.due.push(said);
                if copied_in {
                    self.copy_failed(skips)?;
                }
            }
            Some(Asked::Parse { text, number, unnamed }) => {
                let (text, number, unnamed) = (text.clone(), *number, *unnamed);
                if unnamed {
                    self.names.statements.begun();
                }
                let number = number.unwrap_or_else(|| {
                    let number = self.number();
                    self.due.push(statement::going_out_without(number, statement::Via::Extended, &text, None, None));
                    number
                });
                self.due.push(statement::came_of(number, &Outcome { sqlstate, ..Outcome::default() }));
            }
            Some(Asked::Bind { number, .. }) => {
                let said = statement::came_of(*number, &Outcome { sqlstate, ..Outcome::default() });
                self.due.push(said);
            }
            Some(Asked::Refused { instead, simple }) => {
                failing = Failing::Provoked(std::mem::take(instead));
                skips = !*simple;
                self.names.statements.begun();
            }
            _ => {}
        }
        if skips {
            while self.asked.front().is_some_and(|a| !matches!(a, Asked::Sync)) {
                self.pop();
            }
            self.skipping = self.asked.is_empty();
        }
        self.names.take_back(self.answered);
        Ok(failing)
    }

    /// `ReadyForQuery`.
    ///
    /// # Errors
    /// If the server has left something before it without an answer, or nobody waits for it.
    pub(crate) fn ready(&mut self, status: Status, now: Instant) -> Result<(), OutOfStep> {
        self.status = status;
        while matches!(self.asked.front(), Some(Asked::CopyEnd)) {
            self.pop();
        }
        let segment = self.answered;
        match self.asked.front_mut() {
            Some(Asked::Function(running)) if !running.settled => {
                let said = running.settle(now);
                self.due.push(said);
            }
            Some(asked) if asked.ends_segment() => {}
            _ => return Err(OutOfStep),
        }
        if matches!(self.asked.front(), Some(Asked::Sync)) {
            self.swallowed.one_answered();
        }
        self.pop();
        self.names.take_back(segment);
        if status == Status::Idle {
            // No portal outlives its transaction.
            self.names.portals.over();
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
