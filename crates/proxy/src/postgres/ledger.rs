//! What the client asked for and the server has not answered yet, in order: so that each answer is known for what it answers.
//!
//! The server answers in the order it was asked. After an error in the extended protocol it skips to the next `Sync`, and so does this.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use wire::postgres::back::Status;

use super::judge::{HiddenValues, Places};
use super::statement::{self, Outcome, Recorded, Values};

/// Questions without answer, at most; the client is not read beyond that.
pub(crate) const OUTSTANDING: usize = 65_536;
/// Cursors whose rows are counted, at most.
const FETCHED: usize = 65_536;

/// Something the server has been asked.
#[derive(Debug)]
pub(crate) enum Asked {
    /// `Query`: ends at `ReadyForQuery`.
    Simple(Running),
    /// `Execute`: ends at its `CommandComplete`.
    Execute(Running),
    /// `FunctionCall`: ends at `ReadyForQuery`.
    Function(Running),
    /// `Parse` or `Bind` of this text; `answer` is the letter that says it went well. A `Bind` opens a portal.
    Prepare { text: Option<Recorded>, answer: u8, portal: Option<Box<[u8]>> },
    /// `Describe` or `Close`.
    Small,
    /// The gate's own `Describe` of a portal that is about to run; these places of its rows are masked.
    OwnDescribe(Arc<BTreeSet<usize>>),
    /// `Sync`.
    Sync,
    /// The client has ended its copying in.
    CopyEnd,
    /// Something that makes the server fail, in the place of what was refused.
    Refused { instead: Vec<u8>, simple: bool },
}

/// A statement that runs, or waits to.
#[derive(Debug)]
pub(crate) struct Running {
    number: u64,
    since: Instant,
    outcome: Outcome,
    settled: bool,
    /// What is masked in the answers of its statements, and how many have been answered.
    masked: Places,
    answered: usize,
    /// What its statements do with cursors.
    cursors: Vec<Cursor>,
}

impl Running {
    pub(crate) fn new(number: u64, since: Instant) -> Self {
        Self::masking(number, since, Places::new())
    }

    pub(crate) fn masking(number: u64, since: Instant, masked: Places) -> Self {
        Self { number, since, outcome: Outcome::default(), settled: false, masked, answered: 0, cursors: Vec::new() }
    }

    /// The same, doing this with cursors, statement by statement.
    pub(crate) fn with_cursors(self, cursors: Vec<Cursor>) -> Self {
        Self { cursors, ..self }
    }

    /// What the statement that runs now does with a cursor.
    fn cursor(&self) -> &Cursor {
        self.cursors.get(self.answered).unwrap_or(&Cursor::None)
    }

    /// The activity that says what came of it; what follows under the same number counts anew.
    fn settle(&mut self, now: Instant) -> String {
        self.settled = true;
        self.answered += 1;
        let mut outcome = std::mem::take(&mut self.outcome);
        outcome.micros = u64::try_from(now.saturating_duration_since(self.since).as_micros()).unwrap_or(u64::MAX);
        statement::came_of(self.number, &outcome)
    }
}

/// The questions, and what there is to record of the answers.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    asked: VecDeque<Asked>,
    /// Whether the server reads nothing but a `Sync` now, since a question of the extended protocol failed (PostgreSQL documentation,
    /// "Extended Query"): not a `Query` either.
    skipping: bool,
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

impl Ledger {
    /// The next statement's number.
    pub(crate) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// What the server will not read is never answered, and stands in no queue.
    pub(crate) fn push(&mut self, asked: Asked) {
        if self.skipping && !matches!(asked, Asked::Sync) {
            return;
        }
        self.skipping = false;
        self.asked.push_back(asked);
    }

    /// Whether the server owes nothing.
    pub(crate) fn is_quiet(&self) -> bool {
        self.asked.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.asked.len() >= OUTSTANDING
    }

    /// The question that is being answered. The end of a copy that has failed already is none.
    fn front(&mut self) -> Option<&mut Asked> {
        while matches!(self.asked.front(), Some(Asked::CopyEnd)) {
            self.asked.pop_front();
        }
        self.asked.front_mut()
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
        match running.cursor() {
            Cursor::Fetches(name) => {
                let name = name.clone();
                rows + self.fetched.get(&name).copied().unwrap_or_default()
            }
            Cursor::None | Cursor::Opens(_) => rows,
        }
    }

    /// The statement that ran is over: what it brought back of a cursor counts for the next that fetches there.
    fn count_fetched(&mut self) {
        let Some(running) = self.running() else { return };
        let (cursor, rows) = (running.cursor().clone(), running.outcome.rows);
        match cursor {
            Cursor::None => {}
            Cursor::Opens(name) => drop(self.fetched.remove(&name)),
            Cursor::Fetches(name) if self.fetched.len() < FETCHED || self.fetched.contains_key(&name) => {
                *self.fetched.entry(name).or_default() += rows;
            }
            // So many are open that they have to be forgotten.
            Cursor::Fetches(_) => self.fetched.clear(),
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
        self.asked.pop_front();
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

    /// Copied data went there.
    pub(crate) fn copied_in(&mut self, bytes: usize) {
        if let Some(running) = self.running() {
            running.outcome.copied_in += bytes as u64;
        }
    }

    /// The server began to copy.
    pub(crate) fn copies(&mut self, how: &'static str) {
        if let Some(running) = self.running() {
            running.outcome.copy = Some(how);
        }
    }

    /// `ParseComplete`, `BindComplete`, `CloseComplete`, `ParameterDescription`, `NoData`, `RowDescription`.
    pub(crate) fn small(&mut self, answer: u8) {
        let mut opened = None;
        let done = match self.front() {
            Some(Asked::Prepare { answer: wanted, portal, .. }) => {
                opened = portal.take().filter(|_| *wanted == answer);
                *wanted == answer
            }
            // A `Describe` of a statement is answered by `t` and then `T` or `n`.
            Some(Asked::Small) => matches!(answer, b'3' | b'n' | b'T'),
            _ => false,
        };
        if let Some(name) = opened {
            self.fetched.remove(&name);
        }
        if done {
            self.asked.pop_front();
        }
    }

    /// `CommandComplete`, `EmptyQueryResponse`, `PortalSuspended`.
    pub(crate) fn complete(&mut self, tag: Option<&[u8]>, suspended: bool, now: Instant) {
        self.count_fetched();
        let Some(running) = self.running() else { return };
        running.outcome.tag = tag.map(<[u8]>::to_vec);
        running.outcome.suspended = suspended;
        let copied_in = matches!(running.outcome.copy, Some("copy_in" | "copy_both"));
        let said = running.settle(now);
        running.since = now;
        self.due.push(said);
        if matches!(self.asked.front(), Some(Asked::Execute(_))) {
            self.asked.pop_front();
            if copied_in {
                // What was asked while it copied was ignored by the server, a `Sync` too.
                if let Some(end) = self.asked.iter().position(|a| matches!(a, Asked::CopyEnd)) {
                    self.asked.drain(..=end);
                }
            }
        } else if copied_in {
            self.asked.retain(|a| !matches!(a, Asked::CopyEnd));
        }
    }

    /// `ErrorResponse`.
    pub(crate) fn failed(&mut self, sqlstate: Option<&[u8]>, now: Instant) -> Failing {
        let sqlstate = sqlstate.map(<[u8]>::to_vec);
        let mut failing = Failing::Genuine;
        let mut skips = true;
        if matches!(self.front(), Some(Asked::OwnDescribe(_))) {
            // It is what was to run that failed.
            self.asked.pop_front();
        }
        match self.front() {
            Some(Asked::Simple(running) | Asked::Function(running)) => {
                running.outcome.sqlstate = sqlstate;
                let said = running.settle(now);
                self.due.push(said);
                self.asked.retain(|a| !matches!(a, Asked::CopyEnd));
                skips = false;
            }
            Some(Asked::Execute(running)) => {
                running.outcome.sqlstate = sqlstate;
                let copied_in = matches!(running.outcome.copy, Some("copy_in" | "copy_both"));
                let said = running.settle(now);
                self.due.push(said);
                if copied_in {
                    // Whatever was asked while it copied was ignored, a `Sync` too.
                    let end = self.asked.iter().position(|a| matches!(a, Asked::CopyEnd)).map_or(self.asked.len(), |end| end + 1);
                    self.asked.drain(..end);
                }
            }
            Some(Asked::Prepare { text: Some(text), .. }) => {
                let text = text.clone();
                let number = self.number();
                self.due.push(statement::going_out_without(number, statement::Via::Extended, &text, None, None));
                self.due.push(statement::came_of(number, &Outcome { sqlstate, ..Outcome::default() }));
            }
            Some(Asked::Refused { instead, simple }) => {
                failing = Failing::Provoked(std::mem::take(instead));
                skips = !*simple;
            }
            _ => {}
        }
        if skips {
            while self.asked.front().is_some_and(|a| !matches!(a, Asked::Sync)) {
                self.asked.pop_front();
            }
            self.skipping = self.asked.is_empty();
        }
        failing
    }

    /// `ReadyForQuery`.
    pub(crate) fn ready(&mut self, now: Instant) {
        while let Some(mut asked) = self.asked.pop_front() {
            if let Asked::Function(running) = &mut asked
                && !running.settled
            {
                let said = running.settle(now);
                self.due.push(said);
            }
            if matches!(asked, Asked::Simple(_) | Asked::Function(_) | Asked::Sync | Asked::Refused { simple: true, .. }) {
                return;
            }
        }
    }
}

/// What a statement does with a cursor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Cursor {
    /// Nothing.
    #[default]
    None,
    /// It opens the one of this name.
    Opens(Box<[u8]>),
    /// It fetches from it.
    Fetches(Box<[u8]>),
}

/// A prepared statement.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// Its text as it is recorded.
    pub(crate) text: Recorded,
    /// Which of its values are not.
    pub(crate) hidden: HiddenValues,
    /// What it does with a cursor.
    pub(crate) cursor: Cursor,
    /// The number under which its text was recorded first.
    pub(crate) recorded: Option<u64>,
    /// The places of its output that are masked.
    pub(crate) masked: Arc<BTreeSet<usize>>,
}

/// A portal: what it runs, with which values.
#[derive(Debug, Clone)]
pub(crate) struct Portal {
    pub(crate) statement: Box<[u8]>,
    pub(crate) text: Option<Recorded>,
    pub(crate) values: Values,
    pub(crate) cursor: Cursor,
    /// The places of its output that are masked.
    pub(crate) masked: Arc<BTreeSet<usize>>,
}

/// Statements and portals by name, as the client has named them.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) statements: Kept<Prepared>,
    pub(crate) portals: Kept<Portal>,
}

/// Things by name, with what their texts and values take in memory.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    all: HashMap<Box<[u8]>, (T, usize)>,
    bytes: usize,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { all: HashMap::new(), bytes: 0 }
    }
}

impl<T> Kept<T> {
    pub(crate) fn get(&self, name: &[u8]) -> Option<&T> {
        self.all.get(name).map(|(kept, _)| kept)
    }

    pub(crate) fn get_mut(&mut self, name: &[u8]) -> Option<&mut T> {
        self.all.get_mut(name).map(|(kept, _)| kept)
    }

    /// Keeps it, of this many bytes, in the place of what had the name.
    pub(crate) fn insert(&mut self, name: Box<[u8]>, kept: T, bytes: usize) {
        self.remove(&name);
        self.bytes += bytes;
        self.all.insert(name, (kept, bytes));
    }

    pub(crate) fn remove(&mut self, name: &[u8]) {
        if let Some((_, bytes)) = self.all.remove(name) {
            self.bytes -= bytes;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The bytes of all but this one.
    pub(crate) fn bytes_beside(&self, name: &[u8]) -> usize {
        self.bytes - self.all.get(name).map_or(0, |(_, bytes)| *bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execute(ledger: &mut Ledger, at: Instant) {
        let number = ledger.number();
        ledger.push(Asked::Execute(Running::new(number, at)));
    }

    fn numbers(ledger: &mut Ledger) -> Vec<(u64, String)> {
        ledger
            .due
            .drain(..)
            .map(|said| serde_json::from_str::<serde_json::Value>(&said).unwrap())
            .map(|v| (v["n"].as_u64().unwrap(), v["tag"].as_str().or(v["sqlstate"].as_str()).unwrap_or_default().to_owned()))
            .collect()
    }

    #[test]
    fn what_is_kept_is_weighed() {
        let mut kept = Kept::default();
        kept.insert((*b"a").into(), 1, 10);
        kept.insert((*b"b").into(), 2, 5);
        kept.insert((*b"a").into(), 3, 20);
        assert_eq!((kept.get(b"a"), kept.len()), (Some(&3), 2));
        assert_eq!((kept.bytes_beside(b"a"), kept.bytes_beside(b"b"), kept.bytes_beside(b"c")), (5, 20, 25));
        kept.remove(b"b");
        kept.remove(b"b");
        assert_eq!(kept.bytes_beside(b""), 20);
    }

    #[test]
    fn what_is_sent_between_an_error_and_its_sync_is_answered_by_nothing() {
        let (mut ledger, at) = (Ledger::default(), Instant::now());
        ledger.push(Asked::Prepare { text: None, answer: b'1', portal: None });
        ledger.failed(Some(b"42601"), at);
        // The server reads none of this: neither a `Query` nor what comes behind it.
        let number = ledger.number();
        ledger.push(Asked::Simple(Running::new(number, at)));
        ledger.push(Asked::Prepare { text: None, answer: b'2', portal: None });
        ledger.push(Asked::OwnDescribe(Arc::default()));
        execute(&mut ledger, at);
        assert!(ledger.is_quiet());
        ledger.push(Asked::Sync);
        ledger.ready(at);
        assert!(ledger.is_quiet());
        // Afterwards every answer meets its own question again.
        ledger.push(Asked::OwnDescribe(Arc::default()));
        execute(&mut ledger, at);
        ledger.push(Asked::Sync);
        assert!(ledger.describes_for_the_gate().is_some() && ledger.runs().is_some());
    }

    #[test]
    fn answers_find_their_questions_in_a_pipeline_with_an_error() {
        let (mut ledger, at) = (Ledger::default(), Instant::now());
        for _ in 0..3 {
            ledger.push(Asked::Prepare { text: None, answer: b'1', portal: None });
            ledger.push(Asked::Prepare { text: None, answer: b'2', portal: None });
            execute(&mut ledger, at);
        }
        ledger.push(Asked::Sync);
        execute(&mut ledger, at);
        ledger.push(Asked::Sync);
        for answer in [b'1', b'2'] {
            ledger.small(answer);
        }
        assert_eq!(ledger.row(10, true), 1);
        ledger.complete(Some(b"SELECT 1"), false, at);
        for answer in [b'1', b'2'] {
            ledger.small(answer);
        }
        assert_eq!(ledger.failed(Some(b"23505"), at), Failing::Genuine);
        ledger.ready(at);
        ledger.complete(Some(b"SELECT 4"), false, at);
        ledger.ready(at);
        assert!(ledger.is_quiet());
        assert_eq!(numbers(&mut ledger), [(1, "SELECT 1".into()), (2, "23505".into()), (4, "SELECT 4".into())]);
    }

    #[test]
    fn a_batch_of_statements_is_one_question_with_several_answers() {
        let (mut ledger, at) = (Ledger::default(), Instant::now());
        let number = ledger.number();
        ledger.push(Asked::Simple(Running::new(number, at)));
        ledger.complete(Some(b"INSERT 0 1"), false, at);
        ledger.failed(Some(b"42601"), at);
        assert!(!ledger.is_quiet());
        ledger.ready(at);
        assert!(ledger.is_quiet());
        assert_eq!(numbers(&mut ledger), [(1, "INSERT 0 1".into()), (1, "42601".into())]);
    }

    #[test]
    fn a_sync_sent_into_a_copy_is_not_waited_for() {
        let (mut ledger, at) = (Ledger::default(), Instant::now());
        execute(&mut ledger, at);
        ledger.push(Asked::Sync);
        ledger.copies("copy_in");
        ledger.copied_in(100);
        ledger.push(Asked::CopyEnd);
        ledger.push(Asked::Sync);
        ledger.complete(Some(b"COPY 5"), false, at);
        ledger.ready(at);
        assert!(ledger.is_quiet());
    }

    // covers: D10 (psql)
    #[test]
    fn what_was_refused_is_answered_in_its_place() {
        let (mut ledger, at) = (Ledger::default(), Instant::now());
        ledger.push(Asked::Refused { instead: b"no".to_vec(), simple: false });
        ledger.push(Asked::Prepare { text: None, answer: b'2', portal: None });
        execute(&mut ledger, at);
        ledger.push(Asked::Sync);
        ledger.push(Asked::Refused { instead: b"no again".to_vec(), simple: true });
        assert_eq!(ledger.failed(Some(b"42601"), at), Failing::Provoked(b"no".to_vec()));
        ledger.ready(at);
        assert_eq!(ledger.failed(Some(b"42601"), at), Failing::Provoked(b"no again".to_vec()));
        ledger.ready(at);
        assert!(ledger.is_quiet() && ledger.due.is_empty());
    }
}
