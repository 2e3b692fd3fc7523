//! From the client to the server: statements are read whole, judged, recorded, and only then sent. Copied data is counted and passed on.

use std::sync::Arc;
use std::time::Instant;

use access::reason::{Reason, Refusal};
use access::session::EndReason;
use access::time::Span;
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use wire::Malformed;
use wire::postgres::back::{Severity, Status, Writer};
use wire::postgres::front::{self, Named};
use wire::postgres::{Head, Side, head};

use super::Stream;
use super::client::sentence;
use super::judge::{Act, HiddenValues, Judge, Refused, Verdict};
use super::ledger::{Asked, Cursor, Names, Portal, Prepared, Running};
use super::relay::{Incoming, Outgoing, Stopped};
use super::session::Live;
use super::statement::{self, Recorded, Via};
use super::veil::Withheld;
use crate::database::live::clock;
use crate::database::lobby::{asked, extension};
use crate::gatekeeper::{Extended, Gatekeeper, Knock};

/// The largest statement, with its values, that is taken.
const LARGEST_STATEMENT: usize = 256 * 1024 * 1024;
/// Prepared statements and portals of one session, at most.
const NAMES: usize = 65_536;
/// What their texts and values may take, but for the last.
const NAMED_BYTES: usize = 64 * 1024 * 1024;
/// A statement that no server takes: sent in the place of a refused one, so that its transaction fails there too.
const REFUSED: &str = "tidegate: refused";

/// From the client to the server.
pub(crate) struct Up {
    from: Incoming,
    pub(crate) to: Outgoing,
    names: Names,
    judge: Box<dyn Judge>,
    /// Whether it has to be known of each row which columns it has, because some are masked.
    describes: bool,
    /// Whether rows are counted, so that it has to be known which cursor they come from.
    counts: bool,
    /// What is to be recorded before anything is forwarded.
    due: Vec<String>,
    asking: Asking,
    /// What is to be asked for once everything before it has gone.
    more: Option<More>,
}

/// How a person asks for more time from inside a session: `extend 30m 'why'`, in the place of a statement.
pub(crate) struct Asking {
    pub(crate) gate: Arc<dyn Gatekeeper>,
    pub(crate) knock: Knock,
    /// Where answers go that are the gate's own.
    pub(crate) say: mpsc::Sender<Bytes>,
}

/// More time that is asked for.
type More = Result<(Option<Span>, Option<String>), String>;

/// What to do with one message.
enum Passing {
    /// Pass it on as it is.
    On,
    /// Pass these bytes on in its place.
    Instead(Bytes),
    /// Pass these bytes on, and then it.
    After(Bytes),
    /// The gate itself answers it, and nothing after it is looked at before.
    Asks(More),
    /// The client is leaving.
    Leaves,
}

impl Up {
    pub(crate) fn new(
        reader: ReadHalf<Stream>,
        unread: BytesMut,
        writer: WriteHalf<Stream>,
        judge: Box<dyn Judge>,
        withheld: &Withheld,
        asking: Asking,
    ) -> Self {
        let (from, to) = (Incoming::new(reader, unread), Outgoing::new(writer));
        let (describes, counts) = (withheld.shown.is_some(), withheld.rows.is_some());
        Self { from, to, names: Names::default(), judge, describes, counts, due: Vec::new(), asking, more: None }
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
        if let Some(more) = self.more.take() {
            self.ask(live, more).await;
        }
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
                Passing::After(bytes) => {
                    self.to.stage(self.from.unread.split_to(pass).freeze());
                    self.to.stage(bytes);
                    pass = head.total;
                }
                Passing::Asks(more) => {
                    self.to.stage(self.from.unread.split_to(pass).freeze());
                    self.from.unread.advance(head.total);
                    self.more = Some(more);
                    return Ok((true, false));
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
        match head.kind {
            b'Q' => {
                let text = front::query(body).map_err(Stopped::nonsense)?;
                // No statement begins like that, so it hides none. Among others it stays what it is: an error.
                if let Some(more) = std::str::from_utf8(text).ok().and_then(extension)
                    && live.ledger().is_quiet()
                {
                    return Ok(Passing::Asks(more));
                }
                let allowed = match self.judge.judge(Act::Query(text)) {
                    Verdict::Allow(allowed) => allowed,
                    Verdict::Refuse(why) => return Ok(self.refuse(live, text, why, true)),
                };
                let cursors = self.cursors(text);
                let mut ledger = live.ledger();
                let number = ledger.number();
                self.due.push(statement::going_out_without(number, Via::Simple, &Recorded::of(text, allowed.instead), None, None));
                ledger.push(Asked::Simple(Running::masking(number, Instant::now(), allowed.masked).with_cursors(cursors)));
                // `Query` closes the unnamed statement and portal.
                self.names.statements.remove(b"");
                self.names.portals.remove(b"");
            }
            b'P' => {
                let parse = front::parse(body).map_err(Stopped::nonsense)?;
                let allowed = match self.judge.judge(Act::Parse { name: parse.name, text: parse.text }) {
                    Verdict::Allow(allowed) => allowed,
                    Verdict::Refuse(why) => {
                        // What follows under this name is not what had it before.
                        self.names.statements.remove(parse.name);
                        return Ok(self.refuse(live, parse.text, why, false));
                    }
                };
                let masked = Arc::new(allowed.masked.into_iter().next().unwrap_or_default());
                let cursor = self.cursors(parse.text).into_iter().next().unwrap_or_default();
                let text = Recorded::of(parse.text, allowed.instead);
                live.ledger().push(Asked::Prepare { text: Some(text.clone()), answer: b'1', portal: None });
                self.too_many_names(Some(parse.name), None)?;
                let before = self.names.statements.get(parse.name).filter(|_| !parse.name.is_empty());
                // The server keeps the older one of a name: then its values may be these.
                let hidden = if before.is_some_and(|p| p.hidden != HiddenValues::None) { HiddenValues::All } else { allowed.hidden };
                self.names.statements.insert(
                    parse.name.into(),
                    Prepared { text, hidden, cursor, recorded: None, masked },
                    parse.text.len(),
                );
            }
            b'B' => {
                let bind = front::bind(body).map_err(Stopped::nonsense)?;
                let prepared = self.names.statements.get(bind.statement);
                let text = prepared.map(|prepared| prepared.text.clone());
                let sent = text.as_ref().map(|recorded| &*recorded.text);
                let hidden = match self.judge.judge(Act::Bind { text: sent, bind: &bind }) {
                    Verdict::Allow(allowed) => prepared.map_or(allowed.hidden, |prepared| prepared.hidden.clone()),
                    Verdict::Refuse(why) => return Ok(self.refuse(live, sent.unwrap_or_default(), why, false)),
                };
                let masked = prepared.map(|prepared| prepared.masked.clone()).unwrap_or_default();
                let cursor = prepared.map(|prepared| prepared.cursor.clone()).unwrap_or_default();
                live.ledger().push(Asked::Prepare { text: text.clone(), answer: b'2', portal: Some(bind.portal.into()) });
                self.too_many_names(None, Some(bind.portal))?;
                let values = statement::list_without(&bind.values, &hidden);
                let portal = Portal { statement: bind.statement.into(), text, values, cursor, masked };
                let bytes = portal.values.len();
                self.names.portals.insert(bind.portal.into(), portal, bytes);
            }
            b'E' => {
                let (name, _) = front::execute(body).map_err(Stopped::nonsense)?;
                let mut ledger = live.ledger();
                let number = ledger.number();
                let going_out = self.executing(number, name);
                self.due.push(going_out);
                if self.describes {
                    let masked = self.names.portals.get(name).map(|portal| portal.masked.clone()).unwrap_or_default();
                    ledger.push(Asked::OwnDescribe(masked));
                }
                let cursor = match self.names.portals.get(name).map(|portal| &portal.cursor) {
                    Some(Cursor::None) | None => Cursor::Fetches(name.into()),
                    Some(other) => other.clone(),
                };
                let cursors = if self.counts { vec![cursor] } else { Vec::new() };
                ledger.push(Asked::Execute(Running::new(number, Instant::now()).with_cursors(cursors)));
                if self.describes {
                    // The server says which columns the rows have that follow.
                    let describe = [&b"P"[..], name, b"\0"].concat();
                    return Ok(Passing::After(front::message(b'D', &describe).into()));
                }
            }
            b'F' => {
                let (oid, values) = front::function_call(body).map_err(Stopped::nonsense)?;
                if let Verdict::Refuse(why) = self.judge.judge(Act::FunctionCall(oid)) {
                    return Ok(self.refuse(live, format!("function call {oid}").as_bytes(), why, true));
                }
                let mut ledger = live.ledger();
                let number = ledger.number();
                self.due.push(statement::calling(number, oid, &statement::list(&values)));
                ledger.push(Asked::Function(Running::new(number, Instant::now())));
            }
            b'C' => {
                match front::named(body).map_err(Stopped::nonsense)? {
                    Named::Statement(name) => self.names.statements.remove(name),
                    Named::Portal(name) => self.names.portals.remove(name),
                }
                live.ledger().push(Asked::Small);
            }
            b'D' => {
                front::named(body).map_err(Stopped::nonsense)?;
                live.ledger().push(Asked::Small);
            }
            b'S' => live.ledger().push(Asked::Sync),
            b'c' | b'f' => live.ledger().push(Asked::CopyEnd),
            b'H' => {}
            b'X' => return Ok(Passing::Leaves),
            _ => return Err(Stopped::nonsense(Malformed("such a message has no place in a session"))),
        }
        Ok(Passing::On)
    }

    /// Asks for more time, and answers as a server would answer a statement.
    async fn ask(&mut self, live: &Live, more: More) {
        let mut writer = Writer::default();
        let in_transaction = live.ledger().status != Status::Idle;
        let answered = match more {
            _ if in_transaction => Err(("25001", "more time is asked for outside a transaction; end this one first".to_owned())),
            Err(why) => Err(("42601", why)),
            Ok((time, reason)) => match self.asking.gate.extend(&self.asking.knock, time, reason).await {
                Extended::Until(end) => Ok(format!("this session is open until {}", clock(end))),
                Extended::Waiting(waiting) => {
                    let asked = asked(&waiting.news.borrow());
                    Ok(format!("your request {} waits for approval.{asked} What comes of it is shown here", waiting.request))
                }
                Extended::Refused(refusal) => Err((refusal.reason.sqlstate(), sentence(&refusal))),
            },
        };
        match answered {
            Ok(text) => writer.say(Severity::Notice, "00000", &text, None).command_complete("EXTEND"),
            Err((sqlstate, text)) => writer.say(Severity::Error, sqlstate, &text, Some("Type  extend 30m '<reason>';")),
        };
        writer.ready_in(live.ledger().status);
        let _ = self.asking.say.send(writer.into_bytes().into()).await;
    }

    /// The activity for a portal that is about to run.
    fn executing(&mut self, number: u64, name: &[u8]) -> String {
        match self.names.portals.get(name) {
            Some(Portal { statement, text: Some(text), values, .. }) => {
                let prepared = self.names.statements.get_mut(statement).filter(|p| Arc::ptr_eq(&p.text.text, &text.text));
                let first = prepared.and_then(|p| p.recorded.replace(p.recorded.unwrap_or(number)));
                statement::going_out_without(number, Via::Extended, text, Some(values), first)
            }
            Some(Portal { values, text: None, statement, .. }) => {
                // Prepared by `PREPARE`, whose text is recorded there.
                let text = Recorded::of(&[b"EXECUTE ", &statement[..]].concat(), None);
                statement::going_out_without(number, Via::Extended, &text, Some(values), None)
            }
            // Opened by `DECLARE`, whose text is recorded there.
            None => statement::going_out(number, Via::Extended, &[b"FETCH ", name].concat(), None, None),
        }
    }

    /// What each statement of a text does with cursors; nothing if nobody counts.
    fn cursors(&self, text: &[u8]) -> Vec<Cursor> {
        if !self.counts {
            return Vec::new();
        }
        let as_said = |cursor| match cursor {
            sql::postgres::Cursor::None => Cursor::None,
            sql::postgres::Cursor::Opens(name) => Cursor::Opens(name.into_bytes().into()),
            sql::postgres::Cursor::Fetches(name) => Cursor::Fetches(name.into_bytes().into()),
        };
        std::str::from_utf8(text).map(sql::postgres::cursors).unwrap_or_default().into_iter().map(as_said).collect()
    }

    /// Sends something that fails in the place of what was refused: the server aborts its transaction, skips to the next `Sync`, and
    /// answers in its turn; the client gets the refusal instead of that answer.
    fn refuse(&mut self, live: &Live, text: &[u8], refused: Refused, simple: bool) -> Passing {
        let Refused { why, sqlstate, instead } = refused;
        let (instead, detail) = instead.unzip();
        let (recorded, detail) = (Recorded::of(text, instead), detail.unwrap_or_else(|| why.clone()));
        let mut ledger = live.ledger();
        let number = ledger.number();
        self.due.push(statement::refused_without(number, &recorded, &detail.to_string()));
        let mut writer = Writer::default();
        writer.say(Severity::Error, sqlstate, &sentence(&why), Some(why.reason.hint()));
        ledger.push(Asked::Refused { instead: writer.into_bytes(), simple });
        drop(ledger);
        live.refused(&recorded.text, &detail);
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

    /// Whether there is room for one of this name more.
    fn too_many_names(&self, statement: Option<&[u8]>, portal: Option<&[u8]>) -> Result<(), Stopped> {
        let names = &self.names;
        let bytes = names.statements.bytes_beside(statement.unwrap_or_default()) + names.portals.bytes_beside(portal.unwrap_or_default());
        if names.statements.len() < NAMES && names.portals.len() < NAMES && bytes < NAMED_BYTES {
            return Ok(());
        }
        let why = Refusal::because(Reason::TooMany, "there are too many prepared statements or cursors; deallocate some");
        Err(Stopped { end: EndReason::Client, say: Some(why) })
    }
}
