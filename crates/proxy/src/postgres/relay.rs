//! The relay: two directions that never wait for each other, each reading much at once, recording first and forwarding second.
//!
//! Rows and copied data are counted and passed on as they come. Statements are read whole, judged, recorded, and only then sent.

use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use access::reason::{Reason, Refusal};
use access::session::EndReason;
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use wire::Malformed;
use wire::postgres::back::{self, Severity, Writer};
use wire::postgres::front::{self, Named};
use wire::postgres::{Head, Side, head};

use super::Stream;
use super::client::sentence;
use super::judge::{Act, Judge, Verdict};
use super::ledger::{Asked, Failing, Names, Portal, Prepared, Running};
use super::session::Live;
use super::statement::{self, Text, Via};

/// What is read at once, at first, and when that was filled.
const READ: usize = 8 * 1024;
const READ_MUCH: usize = 64 * 1024;
/// The largest statement, with its values, that is taken.
const LARGEST_STATEMENT: usize = 256 * 1024 * 1024;
/// The largest error of a server's that is believed.
const LARGEST_ERROR: usize = 1024 * 1024;
/// Prepared statements and portals of one session, at most.
const NAMES: usize = 65_536;
/// A statement that no server takes: sent in the place of a refused one, so that its transaction fails there too.
const REFUSED: &str = "tidegate: refused";

/// Why a direction stopped.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) end: EndReason,
    /// What the client is told, if it is not simply the end.
    pub(crate) say: Option<Refusal>,
}

impl Stopped {
    pub(crate) fn by(end: EndReason) -> Self {
        Self { end, say: None }
    }

    fn nonsense(error: Malformed) -> Self {
        Self { end: EndReason::Client, say: Some(Refusal::because(Reason::Invalid, error.to_string())) }
    }

    fn liar(why: &str) -> Self {
        Self {
            end: EndReason::Target,
            say: Some(Refusal::because(Reason::TargetUnreachable, format!("the server broke the protocol: {why}"))),
        }
    }
}

impl From<crate::tape::TapeFailed> for Stopped {
    fn from(_: crate::tape::TapeFailed) -> Self {
        Self::by(EndReason::Recorder)
    }
}

/// Bytes on their way out. Dropping a half-done write loses nothing: what is still to go stays here.
pub(crate) struct Outgoing {
    pub(crate) writer: WriteHalf<Stream>,
    queue: VecDeque<Bytes>,
    /// What may go once it is recorded.
    staged: Vec<Bytes>,
    /// Whether what was released ends in the middle of a message.
    midway: bool,
    /// Bytes still to come of a message whose beginning is out already.
    pub(crate) left: usize,
}

impl Outgoing {
    pub(crate) fn new(writer: WriteHalf<Stream>) -> Self {
        Self { writer, queue: VecDeque::new(), staged: Vec::new(), midway: false, left: 0 }
    }

    pub(crate) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.queue.push_back(bytes);
        }
    }

    /// What goes only once it is recorded.
    fn stage(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.staged.push(bytes);
        }
    }

    /// It is recorded.
    fn release(&mut self) {
        self.queue.extend(self.staged.drain(..));
        self.midway = self.left > 0;
    }

    /// Nothing more goes out of what waited; says whether what is out ends with a whole message.
    pub(crate) fn abandon(&mut self) -> bool {
        let nothing_waited = self.queue.is_empty() && self.staged.is_empty();
        self.queue.clear();
        self.staged.clear();
        nothing_waited && self.left == 0
    }

    /// Drops what was not recorded; says whether that leaves a message without its end.
    pub(crate) fn forget_unrecorded(&mut self) -> bool {
        let forgotten = !self.staged.is_empty();
        self.staged.clear();
        let cut_off = forgotten && self.midway;
        if forgotten && !cut_off {
            self.left = 0;
        }
        cut_off
    }

    /// Writes everything and flushes once.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if self.queue.is_empty() {
            return Ok(());
        }
        while let Some(first) = self.queue.front_mut() {
            let written = self.writer.write(first).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            first.advance(written);
            if first.is_empty() {
                self.queue.pop_front();
            }
        }
        self.writer.flush().await
    }
}

/// What is read from one side.
struct Incoming {
    reader: ReadHalf<Stream>,
    unread: BytesMut,
    much: bool,
}

impl Incoming {
    /// Reads more. Dropping this loses nothing.
    async fn more(&mut self) -> io::Result<usize> {
        self.unread.reserve(if self.much { READ_MUCH } else { READ });
        let read = self.reader.read_buf(&mut self.unread).await?;
        self.much = read >= READ;
        Ok(read)
    }
}

/// From the client to the server.
pub(crate) struct Up {
    from: Incoming,
    pub(crate) to: Outgoing,
    names: Names,
    judge: Box<dyn Judge>,
    /// What is to be recorded before anything is forwarded.
    due: Vec<String>,
}

/// From the server to the client.
pub(crate) struct Down {
    from: Incoming,
    pub(crate) to: Outgoing,
    notices: mpsc::Receiver<Bytes>,
}

/// What to do with one message.
enum Passing {
    /// Pass it on as it is.
    On,
    /// Pass these bytes on in its place.
    Instead(Bytes),
    /// The client is leaving.
    Leaves,
}

impl Up {
    pub(crate) fn new(reader: ReadHalf<Stream>, unread: BytesMut, writer: WriteHalf<Stream>, judge: Box<dyn Judge>) -> Self {
        let from = Incoming { reader, unread, much: false };
        Self { from, to: Outgoing::new(writer), names: Names::default(), judge, due: Vec::new() }
    }

    /// Relays until something ends it.
    pub(crate) async fn run(&mut self, live: &Live) -> Stopped {
        loop {
            match self.step(live).await {
                Ok(()) => {}
                Err(stopped) => return stopped,
            }
        }
    }

    async fn step(&mut self, live: &Live) -> Result<(), Stopped> {
        self.to.flush().await.map_err(|_| Stopped::by(EndReason::Target))?;
        live.room().await;
        // What the client sent before there was a session is here already.
        if !self.scan_once(live).await? {
            let read = self.from.more().await.map_err(|_| Stopped::by(EndReason::Client))?;
            if read == 0 {
                return Err(Stopped::by(EndReason::Client));
            }
            live.moved_up(read);
        }
        Ok(())
    }

    /// Takes what is whole; says whether there was anything.
    async fn scan_once(&mut self, live: &Live) -> Result<bool, Stopped> {
        let (anything, leaves) = self.scan(live)?;
        for said in std::mem::take(&mut self.due) {
            live.note(said).await?;
        }
        self.to.release();
        if leaves {
            let _ = self.to.flush().await;
            return Err(Stopped::by(EndReason::Client));
        }
        Ok(anything)
    }

    fn scan(&mut self, live: &Live) -> Result<(bool, bool), Stopped> {
        // Bytes at the start of what is unread that may go on.
        let mut pass = self.to.left.min(self.from.unread.len());
        self.to.left -= pass;
        let mut anything = pass > 0;
        while let Some(head) = head(&self.from.unread[pass..], Side::Front).map_err(Stopped::nonsense)? {
            let there = self.from.unread.len() - pass;
            if head.kind == b'd' {
                live.ledger().copied_in(head.total - 5);
                let now = head.total.min(there);
                self.to.left = head.total - now;
                pass += now;
                anything = true;
                continue;
            }
            if head.total > LARGEST_STATEMENT {
                let why = Refusal::because(Reason::Invalid, "the statement is larger than 256 MiB");
                return Err(Stopped { end: EndReason::Client, say: Some(why) });
            }
            if there < head.total {
                break;
            }
            anything = true;
            let message = self.from.unread.split_off(pass);
            let passed = self.message(live, head, &message[5..head.total]);
            self.from.unread.unsplit(message);
            match passed? {
                Passing::On => pass += head.total,
                Passing::Instead(bytes) => {
                    self.to.stage(self.from.unread.split_to(pass).freeze());
                    self.from.unread.advance(head.total);
                    self.to.stage(bytes);
                    pass = 0;
                }
                Passing::Leaves => {
                    self.to.stage(self.from.unread.split_to(pass).freeze());
                    return Ok((true, true));
                }
            }
        }
        self.to.stage(self.from.unread.split_to(pass).freeze());
        Ok((anything, false))
    }

    fn message(&mut self, live: &Live, head: Head, body: &[u8]) -> Result<Passing, Stopped> {
        let mut ledger = live.ledger();
        match head.kind {
            b'Q' => {
                let text = front::query(body).map_err(Stopped::nonsense)?;
                if let Verdict::Refuse(why) = self.judge.judge(Act::Query(text)) {
                    drop(ledger);
                    return Ok(self.refuse(live, text, &why, true));
                }
                let number = ledger.number();
                self.due.push(statement::going_out(number, Via::Simple, text, None, None));
                ledger.push(Asked::Simple(Running::new(number, Instant::now())));
                // `Query` closes the unnamed statement and portal.
                self.names.statements.remove(&b""[..]);
                self.names.portals.remove(&b""[..]);
            }
            b'P' => {
                let parse = front::parse(body).map_err(Stopped::nonsense)?;
                if let Verdict::Refuse(why) = self.judge.judge(Act::Parse { name: parse.name, text: parse.text }) {
                    drop(ledger);
                    return Ok(self.refuse(live, parse.text, &why, false));
                }
                let text = Text::from(parse.text);
                ledger.push(Asked::Prepare { text: Some(text.clone()), answer: b'1' });
                self.too_many_names()?;
                self.names.statements.insert(parse.name.into(), Prepared { text, recorded: None });
            }
            b'B' => {
                let bind = front::bind(body).map_err(Stopped::nonsense)?;
                let text = self.names.statements.get(bind.statement).map(|s| s.text.clone());
                if let Verdict::Refuse(why) = self.judge.judge(Act::Bind { text: text.as_deref(), bind: &bind }) {
                    drop(ledger);
                    return Ok(self.refuse(live, text.as_deref().unwrap_or_default(), &why, false));
                }
                ledger.push(Asked::Prepare { text: text.clone(), answer: b'2' });
                self.too_many_names()?;
                let portal = Portal { statement: bind.statement.into(), text, values: statement::values(&bind) };
                self.names.portals.insert(bind.portal.into(), portal);
            }
            b'E' => {
                let (name, _) = front::execute(body).map_err(Stopped::nonsense)?;
                let number = ledger.number();
                let going_out = self.executing(number, name);
                self.due.push(going_out);
                ledger.push(Asked::Execute(Running::new(number, Instant::now())));
            }
            b'F' => {
                let (oid, values) = front::function_call(body).map_err(Stopped::nonsense)?;
                if let Verdict::Refuse(why) = self.judge.judge(Act::FunctionCall(oid)) {
                    drop(ledger);
                    return Ok(self.refuse(live, format!("function call {oid}").as_bytes(), &why, true));
                }
                let number = ledger.number();
                self.due.push(statement::calling(number, oid, &statement::list(&values)));
                ledger.push(Asked::Function(Running::new(number, Instant::now())));
            }
            b'C' => {
                match front::named(body).map_err(Stopped::nonsense)? {
                    Named::Statement(name) => drop(self.names.statements.remove(name)),
                    Named::Portal(name) => drop(self.names.portals.remove(name)),
                }
                ledger.push(Asked::Small);
            }
            b'D' => {
                front::named(body).map_err(Stopped::nonsense)?;
                ledger.push(Asked::Small);
            }
            b'S' => ledger.push(Asked::Sync),
            b'c' | b'f' => ledger.push(Asked::CopyEnd),
            b'H' => {}
            b'X' => return Ok(Passing::Leaves),
            _ => return Err(Stopped::nonsense(Malformed("such a message has no place in a session"))),
        }
        Ok(Passing::On)
    }

    /// The activity for a portal that is about to run.
    fn executing(&mut self, number: u64, name: &[u8]) -> String {
        match self.names.portals.get(name) {
            Some(Portal { statement, text: Some(text), values }) => {
                let prepared = self.names.statements.get_mut(statement).filter(|p| p.text == *text);
                let first = prepared.and_then(|p| p.recorded.replace(p.recorded.unwrap_or(number)));
                statement::going_out(number, Via::Extended, text, Some(values), first)
            }
            Some(Portal { values, text: None, statement }) => {
                // Prepared by `PREPARE`, whose text is recorded there.
                let text = [b"EXECUTE ", &statement[..]].concat();
                statement::going_out(number, Via::Extended, &text, Some(values), None)
            }
            // Opened by `DECLARE`, whose text is recorded there.
            None => statement::going_out(number, Via::Extended, &[b"FETCH ", name].concat(), None, None),
        }
    }

    /// Sends something that fails in the place of what was refused: the server aborts its transaction, skips to the next `Sync`, and
    /// answers in its turn; the client gets the refusal instead of that answer.
    fn refuse(&mut self, live: &Live, text: &[u8], why: &Refusal, simple: bool) -> Passing {
        let mut ledger = live.ledger();
        let number = ledger.number();
        self.due.push(statement::refused(number, text, &why.to_string()));
        let mut writer = Writer::default();
        writer.say(Severity::Error, why.reason.sqlstate(), &sentence(why), Some(why.reason.hint()));
        ledger.push(Asked::Refused { instead: writer.into_bytes(), simple });
        drop(ledger);
        live.refused(text, why);
        let failing = if simple {
            front::query_message(REFUSED)
        } else {
            let mut body = vec![0];
            body.extend_from_slice(REFUSED.as_bytes());
            body.extend_from_slice(&[0, 0, 0]);
            front::message(b'P', &body)
        };
        Passing::Instead(failing.into())
    }

    fn too_many_names(&self) -> Result<(), Stopped> {
        if self.names.statements.len() < NAMES && self.names.portals.len() < NAMES {
            return Ok(());
        }
        let why = Refusal::because(Reason::TooMany, "there are too many prepared statements or cursors; deallocate some");
        Err(Stopped { end: EndReason::Client, say: Some(why) })
    }
}

impl Down {
    pub(crate) fn new(reader: ReadHalf<Stream>, unread: BytesMut, writer: WriteHalf<Stream>, notices: mpsc::Receiver<Bytes>) -> Self {
        Self { from: Incoming { reader, unread, much: false }, to: Outgoing::new(writer), notices }
    }

    /// Relays until something ends it.
    pub(crate) async fn run(&mut self, live: &Live) -> Stopped {
        loop {
            if self.to.flush().await.is_err() {
                return Stopped::by(EndReason::Client);
            }
            let read = tokio::select! {
                biased;
                // Between two messages only.
                Some(notice) = self.notices.recv(), if self.to.left == 0 => {
                    self.to.push(notice);
                    continue;
                }
                read = self.from.more() => read,
            };
            match read {
                Ok(0) | Err(_) => return Stopped::by(EndReason::Target),
                Ok(read) => live.moved_down(read),
            }
            if let Err(stopped) = self.pass(live).await {
                return stopped;
            }
        }
    }

    /// Records what arrived whole, and hands it on.
    async fn pass(&mut self, live: &Live) -> Result<(), Stopped> {
        let left = self.to.left;
        let scanned = self.scan(live);
        if scanned.is_err() {
            // What was scanned last goes nowhere.
            self.to.left = left;
        }
        for said in live.take_due() {
            live.note(said).await?;
        }
        if live.keeps_results() {
            for bytes in &self.to.staged {
                live.result(bytes.clone()).await?;
            }
        }
        self.to.release();
        scanned
    }

    fn scan(&mut self, live: &Live) -> Result<(), Stopped> {
        let mut ledger = live.ledger();
        let mut pass = self.to.left.min(self.from.unread.len());
        self.to.left -= pass;
        while let Some(head) = head(&self.from.unread[pass..], Side::Back).map_err(|e| Stopped::liar(e.0))? {
            let there = self.from.unread.len() - pass;
            // These may be large and say nothing that has to be known: passed on as they come.
            if matches!(head.kind, b'D' | b'd' | b'T' | b'V' | b'A' | b'N') {
                match head.kind {
                    b'D' | b'd' => ledger.row(head.total - 5, head.kind == b'D'),
                    b'T' => ledger.small(b'T'),
                    _ => {}
                }
                let now = head.total.min(there);
                self.to.left = head.total - now;
                pass += now;
                continue;
            }
            if head.total > LARGEST_ERROR {
                return Err(Stopped::liar("a message is absurdly large"));
            }
            let Some(body) = self.from.unread.get(pass + 5..pass + head.total) else { break };
            match head.kind {
                b'C' => {
                    let tag = back::command_complete(body).map_err(|e| Stopped::liar(e.0))?;
                    ledger.complete(Some(tag), false, Instant::now());
                }
                b'I' => ledger.complete(None, false, Instant::now()),
                b's' => ledger.complete(None, true, Instant::now()),
                b'G' => ledger.copies("copy_in"),
                b'H' => ledger.copies("copy_out"),
                b'W' => ledger.copies("copy_both"),
                b'1' | b'2' | b'3' | b'n' | b't' => ledger.small(head.kind),
                b'Z' => {
                    back::ready(body).map_err(|e| Stopped::liar(e.0))?;
                    ledger.ready(Instant::now());
                }
                b'S' | b'c' => {}
                b'E' => {
                    let sqlstate = back::error_field(body, b'C').map_err(|e| Stopped::liar(e.0))?;
                    if let Failing::Provoked(instead) = ledger.failed(sqlstate, Instant::now()) {
                        self.to.stage(self.from.unread.split_to(pass).freeze());
                        self.from.unread.advance(head.total);
                        self.to.stage(instead.into());
                        pass = 0;
                        continue;
                    }
                }
                _ => return Err(Stopped::liar("a message that has no place in a session")),
            }
            pass += head.total;
        }
        drop(ledger);
        live.has_room();
        self.to.stage(self.from.unread.split_to(pass).freeze());
        Ok(())
    }

    /// Reads, and throws away, until the server closes; says whether it did.
    pub(crate) async fn drain(&mut self) -> bool {
        loop {
            self.from.unread.clear();
            match self.from.more().await {
                Ok(0) => return true,
                Ok(_) => {}
                Err(_) => return true,
            }
        }
    }
}
