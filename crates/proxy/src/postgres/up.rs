//! From the client to the server: statements are read whole, judged, recorded, and only then sent. Copied data is counted and passed on.

use std::sync::Arc;
use std::time::Instant;

use access::reason::{Reason, Refusal};
use access::session::EndReason;
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{ReadHalf, WriteHalf};
use wire::Malformed;
use wire::postgres::back::{Severity, Writer};
use wire::postgres::front::{self, Named};
use wire::postgres::{Head, Side, head};

use super::Stream;
use super::client::sentence;
use super::judge::{Act, Judge, Verdict};
use super::ledger::{Asked, Names, Portal, Prepared, Running};
use super::relay::{Incoming, Outgoing, Stopped};
use super::session::Live;
use super::statement::{self, Text, Via};

/// The largest statement, with its values, that is taken.
const LARGEST_STATEMENT: usize = 256 * 1024 * 1024;
/// Prepared statements and portals of one session, at most.
const NAMES: usize = 65_536;
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
    /// What is to be recorded before anything is forwarded.
    due: Vec<String>,
}

/// What to do with one message.
enum Passing {
    /// Pass it on as it is.
    On,
    /// Pass these bytes on in its place.
    Instead(Bytes),
    /// Pass these bytes on, and then it.
    After(Bytes),
    /// The client is leaving.
    Leaves,
}

impl Up {
    pub(crate) fn new(
        reader: ReadHalf<Stream>,
        unread: BytesMut,
        writer: WriteHalf<Stream>,
        judge: Box<dyn Judge>,
        describes: bool,
    ) -> Self {
        Self { from: Incoming::new(reader, unread), to: Outgoing::new(writer), names: Names::default(), judge, describes, due: Vec::new() }
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
                Passing::After(bytes) => {
                    self.to.stage(self.from.unread.split_to(pass).freeze());
                    self.to.stage(bytes);
                    pass = head.total;
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
                let masked = match self.judge.judge(Act::Query(text)) {
                    Verdict::Allow(masked) => masked,
                    Verdict::Refuse(why) => return Ok(self.refuse(live, text, &why, true)),
                };
                let mut ledger = live.ledger();
                let number = ledger.number();
                self.due.push(statement::going_out(number, Via::Simple, text, None, None));
                ledger.push(Asked::Simple(Running::masking(number, Instant::now(), masked)));
                // `Query` closes the unnamed statement and portal.
                self.names.statements.remove(&b""[..]);
                self.names.portals.remove(&b""[..]);
            }
            b'P' => {
                let parse = front::parse(body).map_err(Stopped::nonsense)?;
                let masked = match self.judge.judge(Act::Parse { name: parse.name, text: parse.text }) {
                    Verdict::Allow(masked) => masked.into_iter().next().unwrap_or_default(),
                    Verdict::Refuse(why) => return Ok(self.refuse(live, parse.text, &why, false)),
                };
                let text = Text::from(parse.text);
                live.ledger().push(Asked::Prepare { text: Some(text.clone()), answer: b'1' });
                self.too_many_names()?;
                self.names.statements.insert(parse.name.into(), Prepared { text, recorded: None, masked: Arc::new(masked) });
            }
            b'B' => {
                let bind = front::bind(body).map_err(Stopped::nonsense)?;
                let prepared = self.names.statements.get(bind.statement);
                let (text, masked) = prepared.map(|s| (s.text.clone(), s.masked.clone())).unzip();
                if let Verdict::Refuse(why) = self.judge.judge(Act::Bind { text: text.as_deref(), bind: &bind }) {
                    return Ok(self.refuse(live, text.as_deref().unwrap_or_default(), &why, false));
                }
                live.ledger().push(Asked::Prepare { text: text.clone(), answer: b'2' });
                self.too_many_names()?;
                let (values, masked) = (statement::list(&bind.values), masked.unwrap_or_default());
                let portal = Portal { statement: bind.statement.into(), text, values, masked };
                self.names.portals.insert(bind.portal.into(), portal);
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
                ledger.push(Asked::Execute(Running::new(number, Instant::now())));
                if self.describes {
                    // The server says which columns the rows have that follow.
                    let describe = [&b"P"[..], name, b"\0"].concat();
                    return Ok(Passing::After(front::message(b'D', &describe).into()));
                }
            }
            b'F' => {
                let (oid, values) = front::function_call(body).map_err(Stopped::nonsense)?;
                if let Verdict::Refuse(why) = self.judge.judge(Act::FunctionCall(oid)) {
                    return Ok(self.refuse(live, format!("function call {oid}").as_bytes(), &why, true));
                }
                let mut ledger = live.ledger();
                let number = ledger.number();
                self.due.push(statement::calling(number, oid, &statement::list(&values)));
                ledger.push(Asked::Function(Running::new(number, Instant::now())));
            }
            b'C' => {
                match front::named(body).map_err(Stopped::nonsense)? {
                    Named::Statement(name) => drop(self.names.statements.remove(name)),
                    Named::Portal(name) => drop(self.names.portals.remove(name)),
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

    /// The activity for a portal that is about to run.
    fn executing(&mut self, number: u64, name: &[u8]) -> String {
        match self.names.portals.get(name) {
            Some(Portal { statement, text: Some(text), values, .. }) => {
                let prepared = self.names.statements.get_mut(statement).filter(|p| p.text == *text);
                let first = prepared.and_then(|p| p.recorded.replace(p.recorded.unwrap_or(number)));
                statement::going_out(number, Via::Extended, text, Some(values), first)
            }
            Some(Portal { values, text: None, statement, .. }) => {
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
