//! A server that answers or fails as it likes, and skips after a failure: whatever runs there, the ledger knew it when it was sent.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use proptest::prelude::*;
use wire::postgres::back::Status;

use super::super::ledger::{Asked, Kind, Ledger};
use super::super::running::Running;
use super::super::statement;
use super::*;

#[test]
fn names_are_compared_as_a_server_compares_them() {
    let long = [b'x'; 70];
    assert_eq!(looked_at(&long), looked_at(&long[..63]));
    assert_ne!(looked_at(&long[..62]), looked_at(&long[..63]));
    assert_eq!(looked_at(b""), Some(&b""[..]));
    assert_eq!(looked_at("größer".as_bytes()), Some("größer".as_bytes()));
    // How many bytes these are at the server hangs on its encoding.
    assert_eq!((looked_at("é".repeat(8).as_bytes()), looked_at("é".repeat(40).as_bytes())), (None, None));
}

#[test]
fn what_is_kept_is_weighed() {
    let mut kept = Kept::default();
    for (name, bytes) in [(b"a", 10), (b"b", 5), (b"a", 20)] {
        kept.change(0, name, Some(((), bytes)));
    }
    assert_eq!((kept.present_beside(b"a"), kept.present_beside(b"b"), kept.present_beside(b"c"), kept.held), (5, 20, 25, 10));
    kept.done();
    kept.done();
    assert_eq!((kept.present, kept.held), (25, 10));
    kept.take_back(0);
    assert_eq!((kept.present, kept.held, kept.slots.len()), (15, 0, 2));
    kept.change(1, b"b", None);
    kept.done();
    assert_eq!((kept.present, kept.held, kept.slots.len()), (10, 0, 1));
    kept.forget_named();
    assert_eq!((kept.present, kept.slots.len()), (0, 0));
}

#[test]
fn too_many_and_too_large_ones_have_no_room() {
    let mut names = Names::default();
    let portal = |bytes| Some((text_portal(bytes), bytes));
    names.portals.change(0, b"p", portal(PRESENT));
    assert!(names.have_room_for(None, Some(b"p")) && !names.have_room_for(None, Some(b"q")) && !names.hold_too_much());
    for _ in 0..4 {
        names.portals.change(0, b"p", portal(PRESENT));
    }
    assert!(names.hold_too_much());
    for _ in 0..2 {
        names.portals.done();
    }
    assert!(!names.hold_too_much());
}

fn text_portal(_: usize) -> Portal {
    let values = statement::list_without(&[], &HiddenValues::None);
    let text = Recorded::of(b"select", None);
    Portal { text, values, naming: Naming::None, number: 1, has_run: false, first: 1, masked: Arc::default() }
}

const STATEMENTS: [&str; 3] = ["", "a", "b"];
const PORTALS: [&str; 3] = ["", "p", "q"];

/// A statement, told from others by its number.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sql {
    Plain(u32),
    Prepares(&'static str, u32),
    Deallocates(&'static str),
    Declares(&'static str, u32),
    Closes(&'static str),
    Begins,
    Commits,
    /// `COPY … FROM STDIN`; `true`: it fails before it reads anything of it.
    Copies(bool),
}

impl Sql {
    fn naming(&self) -> Naming {
        match self {
            Self::Prepares(name, _) => Naming::Prepares(name.as_bytes().into()),
            Self::Declares(name, _) => Naming::Opens(name.as_bytes().into()),
            _ => Naming::None,
        }
    }
}

#[derive(Debug, Clone)]
enum Message {
    Parse {
        name: &'static str,
        sql: Sql,
        fails: bool,
        refused: bool,
    },
    Bind {
        portal: &'static str,
        statement: &'static str,
        fails: bool,
    },
    Execute {
        portal: &'static str,
        fails: bool,
    },
    Close(bool, &'static str),
    Query {
        all: Vec<Sql>,
        fails: bool,
        refused: bool,
    },
    Sync,
    /// `CopyData`, good or bad; `CopyDone`; `CopyFail`.
    Data(bool),
    CopyDone,
    CopyFail,
}

impl Message {
    /// Whether it may be sent while nobody knows what the server reads.
    fn goes_into_a_failed_copy(&self) -> bool {
        matches!(self, Self::Sync | Self::Data(_) | Self::CopyDone | Self::CopyFail)
    }
}

fn sql() -> impl Strategy<Value = Sql> {
    let (statement, portal) = (prop::sample::select(&STATEMENTS[1..]), prop::sample::select(&PORTALS[1..]));
    prop_oneof![
        6 => any::<u32>().prop_map(Sql::Plain),
        2 => (statement.clone(), any::<u32>()).prop_map(|(name, n)| Sql::Prepares(name, n)),
        1 => statement.prop_map(Sql::Deallocates),
        2 => (portal.clone(), any::<u32>()).prop_map(|(name, n)| Sql::Declares(name, n)),
        1 => portal.prop_map(Sql::Closes),
        2 => Just(Sql::Begins),
        1 => Just(Sql::Commits),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let (statement, portal) = (prop::sample::select(&STATEMENTS[..]), prop::sample::select(&PORTALS[..]));
    let fails = || prop::bool::weighted(0.15);
    prop_oneof![
        5 => (statement.clone(), sql(), fails(), fails()).prop_map(|(name, sql, fails, refused)| Message::Parse { name, sql, fails, refused }),
        6 => (portal.clone(), statement.clone(), fails()).prop_map(|(portal, statement, fails)| Message::Bind { portal, statement, fails }),
        6 => (portal.clone(), fails()).prop_map(|(portal, fails)| Message::Execute { portal, fails }),
        1 => statement.prop_map(|name| Message::Close(true, name)),
        1 => portal.prop_map(|name| Message::Close(false, name)),
        3 => (prop::collection::vec(sql(), 0..3), fails(), fails()).prop_map(|(all, fails, refused)| Message::Query { all, fails, refused }),
        4 => Just(Message::Sync),
    ]
}

/// The same where much is copied.
fn message_of_a_copy() -> impl Strategy<Value = Message> {
    let statement = prop::sample::select(&STATEMENTS[..]);
    let copies = || any::<bool>().prop_map(Sql::Copies);
    prop_oneof![
        8 => message(),
        2 => (statement, copies()).prop_map(|(name, sql)| Message::Parse { name, sql, fails: false, refused: false }),
        1 => copies().prop_map(|sql| Message::Query { all: vec![sql], fails: false, refused: false }),
        4 => prop::bool::weighted(0.6).prop_map(Message::Data),
        4 => Just(Message::CopyDone),
        1 => Just(Message::CopyFail),
        4 => Just(Message::Sync),
    ]
}

/// A copy in one go, and what may come of it.
fn copy() -> impl Strategy<Value = Vec<Message>> {
    let (name, portal) = (prop::sample::select(&STATEMENTS[..]), prop::sample::select(&PORTALS[..]));
    let begins = (name, portal, any::<bool>()).prop_map(|(name, portal, early)| {
        vec![
            Message::Parse { name, sql: Sql::Copies(early), fails: false, refused: false },
            Message::Bind { portal, statement: name, fails: false },
            Message::Execute { portal, fails: false },
            Message::Sync,
        ]
    });
    let goes_on = prop::collection::vec(message_of_a_copy(), 0..4);
    (begins, goes_on).prop_map(|(begins, goes_on)| begins.into_iter().chain(goes_on).collect())
}

/// What somebody prepared: by a message, or by `PREPARE` or `DECLARE`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Made {
    sql: Sql,
    by_message: bool,
}

/// The server.
#[derive(Debug, Default)]
struct Model {
    unread: VecDeque<(Message, Option<Sql>)>,
    statements: HashMap<&'static str, Made>,
    portals: HashMap<&'static str, Made>,
    skips: bool,
    /// Whether it copies in, and whether by `Execute`.
    copies: Option<bool>,
    /// Whether the session has ended: the client sent what no server takes there, or what nobody can tell whether it reads.
    over: bool,
    in_transaction: bool,
    /// Whether portals outlive an error, as they do that of a savepoint below them.
    savepoints: bool,
}

impl Model {
    /// Reads one message, and tells the ledger. Whatever runs has to be what was known when it was sent.
    fn step(&mut self, ledger: &mut Ledger) -> Result<(), TestCaseError> {
        if self.over {
            return Ok(());
        }
        let Some((message, known)) = self.unread.pop_front() else { return Ok(()) };
        let at = Instant::now();
        match (message, self.copies) {
            (message, Some(extended)) => match message {
                Message::Sync | Message::Data(true) => {}
                Message::CopyDone => {
                    self.copies = None;
                    ledger.complete(Some(b"COPY 1"), false, at);
                    if !extended {
                        self.ready(ledger);
                    }
                }
                Message::Data(false) | Message::CopyFail => self.copy_fails(ledger, extended),
                _ => self.over = true,
            },
            (message, None) => return self.read(ledger, message, known),
        }
        Ok(())
    }

    fn read(&mut self, ledger: &mut Ledger, message: Message, known: Option<Sql>) -> Result<(), TestCaseError> {
        let at = Instant::now();
        let made = |sql: &Sql| Made { sql: sql.clone(), by_message: true };
        match message {
            Message::Sync => {
                self.skips = false;
                self.ready(ledger);
            }
            Message::Data(_) | Message::CopyDone | Message::CopyFail => {}
            _ if self.skips => {}
            Message::Parse { name, sql, fails, refused } => {
                let name = if refused { "" } else { name };
                if name.is_empty() {
                    self.statements.remove("");
                }
                if fails || refused || self.statements.contains_key(name) {
                    self.fail(ledger, true);
                } else {
                    self.statements.insert(name, made(&sql));
                    ledger.small(b'1');
                }
            }
            Message::Bind { portal, statement, fails } => match self.statements.get(statement).cloned() {
                Some(found) if !fails && (portal.is_empty() || !self.portals.contains_key(portal)) => {
                    prop_assert_eq!(known, found.by_message.then_some(found.sql.clone()), "bound {:?}", statement);
                    self.portals.insert(portal, Made { by_message: true, ..found });
                    ledger.small(b'2');
                }
                _ => self.fail(ledger, true),
            },
            Message::Execute { portal, fails } => match self.portals.get(portal).cloned() {
                Some(found) if !fails => {
                    // A portal of a statement that `PREPARE` made is known as the portal of somebody's.
                    let by_name = known.is_none();
                    prop_assert!(by_name || known == Some(found.sql.clone()), "executed {portal:?}: {known:?}, not {found:?}");
                    match found.sql {
                        Sql::Copies(early) => self.copy(ledger, early, true),
                        sql if self.run(&sql) => ledger.complete(Some(b"X"), false, at),
                        _ => self.fail(ledger, true),
                    }
                }
                _ => self.fail(ledger, true),
            },
            Message::Close(statement, name) => {
                if statement {
                    self.statements.remove(name)
                } else {
                    self.portals.remove(name)
                };
                ledger.small(b'3');
            }
            Message::Query { all, fails, refused } => {
                self.statements.remove("");
                let mut failed = fails || refused;
                if !failed && all.is_empty() {
                    ledger.complete(None, false, at);
                } else if !failed && let [Sql::Copies(early)] = all[..] {
                    self.portals.remove("");
                    self.copy(ledger, early, false);
                    return Ok(());
                } else if !failed {
                    self.portals.remove("");
                    for sql in all {
                        if !self.run(&sql) {
                            failed = true;
                            break;
                        }
                        ledger.complete(Some(b"X"), false, at);
                    }
                }
                if failed {
                    self.fail(ledger, false);
                }
                self.ready(ledger);
            }
        }
        Ok(())
    }

    fn run(&mut self, sql: &Sql) -> bool {
        let made = |sql: &Sql| Made { sql: sql.clone(), by_message: false };
        match sql {
            Sql::Plain(_) | Sql::Copies(_) => true,
            Sql::Prepares(name, _) if self.statements.contains_key(name) => false,
            Sql::Prepares(name, _) => self.statements.insert(name, made(sql)).is_none(),
            Sql::Deallocates(name) => self.statements.remove(name).is_some(),
            Sql::Declares(name, _) if self.portals.contains_key(name) => false,
            Sql::Declares(name, _) => self.portals.insert(name, made(sql)).is_none(),
            Sql::Closes(name) => self.portals.remove(name).is_some(),
            Sql::Begins => !std::mem::replace(&mut self.in_transaction, true),
            Sql::Commits => {
                self.portals.clear();
                std::mem::take(&mut self.in_transaction)
            }
        }
    }

    fn fail(&mut self, ledger: &mut Ledger, skips: bool) {
        self.skips = skips;
        if !(self.savepoints && self.in_transaction) {
            self.portals.clear();
            self.in_transaction = false;
        }
        // Who cannot tell what follows ends the session.
        self.over |= ledger.failed(Some(b"X"), Instant::now()).is_err();
    }

    fn copy(&mut self, ledger: &mut Ledger, early: bool, extended: bool) {
        ledger.copies("copy_in");
        if early { self.copy_fails(ledger, extended) } else { self.copies = Some(extended) }
    }

    fn copy_fails(&mut self, ledger: &mut Ledger, extended: bool) {
        self.copies = None;
        self.fail(ledger, extended);
        if !extended && !self.over {
            self.ready(ledger);
        }
    }

    fn ready(&mut self, ledger: &mut Ledger) {
        if !self.in_transaction {
            self.portals.clear();
        }
        let status = if self.in_transaction { Status::Transaction } else { Status::Idle };
        ledger.ready(status, Instant::now()).expect("it answers in step");
    }
}

/// Sends a message as the relay does, and says what is recorded to run by it.
fn send(ledger: &mut Ledger, texts: &mut Vec<Sql>, message: &Message) -> Option<Sql> {
    let number = ledger.number();
    let mut text_of = |sql: &Sql| {
        texts.push(sql.clone());
        Recorded::of(&(texts.len() as u64 - 1).to_be_bytes(), None)
    };
    match message {
        Message::Sync => ledger.push(Asked::Sync),
        Message::Data(_) => ledger.copied_in(1),
        Message::CopyDone | Message::CopyFail => ledger.push(Asked::CopyEnd),
        Message::Parse { refused: true, .. } => ledger.refuse(Vec::new(), false),
        Message::Parse { name, sql, .. } => {
            let (text, hidden, naming, masked) = (text_of(sql), HiddenValues::None, sql.naming(), Arc::default());
            ledger.parse(name.as_bytes(), Prepared { text, hidden, naming, recorded: None, masked }, 8);
        }
        Message::Bind { portal, statement, .. } => {
            let found = ledger.names.statements.get(statement.as_bytes());
            let known = found.map(|prepared| (prepared.text.clone(), prepared.naming.clone()));
            let values = statement::list_without(&[], &HiddenValues::None);
            let (text, naming) = known.clone().unwrap_or((Recorded::of(b"EXECUTE", None), Naming::None));
            let bound = Portal { text, values, naming, number, has_run: false, first: number, masked: Arc::default() };
            ledger.bind(portal.as_bytes(), bound);
            return known.map(|(text, _)| sql_of(texts, &text));
        }
        Message::Execute { portal, .. } => {
            let found = ledger.names.portals.get(portal.as_bytes()).cloned();
            let naming = found.as_ref().map(|portal| portal.naming.clone()).unwrap_or_default();
            ledger.execute(Running::new(number, Instant::now()).naming(vec![naming]));
            return found.filter(|portal| *portal.text.text != *b"EXECUTE").map(|portal| sql_of(texts, &portal.text));
        }
        Message::Close(statement, name) => ledger.close(if *statement { Kind::Statement } else { Kind::Portal }, name.as_bytes()),
        Message::Query { refused: true, .. } => ledger.refuse(Vec::new(), true),
        Message::Query { all, .. } => {
            ledger.query(Running::new(number, Instant::now()).naming(all.iter().map(Sql::naming).collect()));
        }
    }
    None
}

fn sql_of(texts: &[Sql], text: &Recorded) -> Sql {
    texts[usize::try_from(u64::from_be_bytes((*text.text).try_into().unwrap())).unwrap()].clone()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    // covers: F2 (postgres), PG-2 (postgres)
    #[test]
    fn what_runs_is_what_was_known_to_run(
        script in prop::collection::vec((message(), 0..4_usize), 1..50), savepoints: bool
    ) {
        prop_assert!(play(script, savepoints)?, "it ends before its end");
    }

    // covers: F2 (postgres), D10 (postgres)
    #[test]
    fn what_runs_behind_a_copy_is_what_was_known_to_run(
        before in prop::collection::vec((message_of_a_copy(), 0..4_usize), 0..12),
        copies in prop::collection::vec(copy(), 1..4),
        lags in prop::collection::vec(0..5_usize, 64),
        savepoints: bool
    ) {
        let copied = copies.into_iter().flatten().zip(lags);
        play(before.into_iter().chain(copied).collect(), savepoints)?;
    }

    // covers: D10 (postgres)
    #[test]
    fn a_client_that_ends_its_copies_is_never_turned_away(
        early: bool, good: bool, done: bool, sync_first: bool, lags in prop::collection::vec(0..7_usize, 20), rounds in 1..3_usize
    ) {
        let mut script = Vec::new();
        for round in 0..rounds {
            let name = STATEMENTS[round % STATEMENTS.len()];
            script.extend([
                Message::Close(true, name),
                Message::Parse { name, sql: Sql::Copies(early), fails: false, refused: false },
                Message::Bind { portal: "", statement: name, fails: false },
                Message::Execute { portal: "", fails: false },
            ]);
            script.extend(sync_first.then_some(Message::Sync));
            script.extend([Message::Data(good), if done { Message::CopyDone } else { Message::CopyFail }, Message::Sync]);
            script.push(Message::Query { all: vec![Sql::Plain(7)], fails: false, refused: false });
        }
        prop_assert!(play(script.into_iter().zip(lags.into_iter().cycle()).collect(), false)?, "it ends before its end");
    }
}

/// Plays a script; says whether the session lived through it.
fn play(script: Vec<(Message, usize)>, savepoints: bool) -> Result<bool, TestCaseError> {
    let (mut ledger, mut texts) = (Ledger::default(), Vec::new());
    let mut model = Model { savepoints, ..Model::default() };
    for (message, lag) in script.into_iter().chain([(Message::CopyFail, 0), (Message::Sync, 0)]) {
        let unsure = |ledger: &Ledger| match &message {
            Message::Bind { statement, .. } => ledger.is_unsure(Kind::Statement, statement.as_bytes()),
            Message::Execute { portal, .. } => ledger.is_unsure(Kind::Portal, portal.as_bytes()),
            _ => false,
        };
        while unsure(&ledger) && !model.over && model.copies.is_none() {
            prop_assert!(!model.unread.is_empty(), "it waits for an answer that nobody owes");
            model.step(&mut ledger)?;
        }
        // A client that waits for an answer into its own copy waits for ever; one that sends what may not be read is shown out.
        if model.over || unsure(&ledger) || (ledger.is_unclear() && !message.goes_into_a_failed_copy()) {
            return Ok(false);
        }
        let known = send(&mut ledger, &mut texts, &message);
        model.unread.push_back((message, known));
        for _ in 0..lag {
            model.step(&mut ledger)?;
        }
    }
    while !model.unread.is_empty() && !model.over {
        model.step(&mut ledger)?;
    }
    if model.over {
        return Ok(false);
    }
    prop_assert!(ledger.is_quiet());
    let names = &ledger.names;
    prop_assert_eq!((names.statements.held, names.statements.changes.len(), names.portals.held, names.portals.changes.len()), (0, 0, 0, 0));
    for name in STATEMENTS {
        let known = names.statements.get(name.as_bytes()).map(|prepared| sql_of(&texts, &prepared.text));
        match model.statements.get(name) {
            Some(made) => prop_assert_eq!(known, made.by_message.then_some(made.sql.clone()), "{}", name),
            // It may have been deallocated; nothing has the name then.
            None => prop_assert!(!name.is_empty() || known.is_none()),
        }
    }
    let present: usize = names.statements.slots.values().map(|slot| bytes(slot.now.as_ref())).sum();
    prop_assert_eq!(present, names.statements.present);
    Ok(true)
}
