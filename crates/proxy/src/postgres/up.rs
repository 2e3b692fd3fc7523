//! From the client to the server: statements are read whole, judged, recorded, and only then sent. Copied data is counted and passed on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use access::ids::PrincipalId;
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
use super::copied;
use super::judge::{Act, Allowed, Instead, Judge, Refused, Verdict};
use super::ledger::{Asked, Kind, Ledger, UNCLEAR};
use super::names::{Name, Naming, Portal, Prepared, looked_at};
use super::relay::{Incoming, Outgoing, Stopped};
use super::running::Running;
use super::session::Live;
use super::statement::{self, Recorded, Via};
use super::thinking::Thinking;
use super::veil::Withheld;
use crate::database::live::clock;
use crate::database::lobby::{asked, extension};
use crate::gatekeeper::{Extended, Gatekeeper, Knock};

/// The largest statement, with its values, that is taken.
const LARGEST_STATEMENT: usize = 256 * 1024 * 1024;
/// A statement that no server takes: sent in the place of a refused one, so that its transaction fails there too.
const REFUSED: &str = "tidegate: refused";

/// From the client to the server.
pub(crate) struct Up {
    from: Incoming,
    pub(crate) to: Outgoing,
    judge: Thinking,
    /// Whether it has to be known of each row which columns it has, because some are masked.
    describes: bool,
    /// Whether rows are counted, so that it has to be known which cursor they come from.
    counts: bool,
    /// What is to be recorded before anything is forwarded.
    due: Vec<String>,
    asking: Asking,
    /// What is to be asked for once everything before it has gone.
    more: Option<More>,
    /// What has to be answered before the next message is looked at.
    waits: Option<Waits>,
}

/// What the next message waits for.
#[derive(Debug)]
pub(crate) enum Waits {
    /// An answer that says what has this name.
    Name(Kind, Name),
    /// Answers, so that less has to be kept.
    Room,
    /// The judge, who reads this text.
    Judge { text: Bytes, named: Option<Name> },
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
    /// It is looked at once this is there.
    Waits(Waits),
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
        person: PrincipalId,
    ) -> Self {
        let (from, to) = (Incoming::new(reader, unread), Outgoing::new(writer));
        let (describes, counts) = (withheld.shown.is_some(), withheld.rows.is_some());
        let judge = Thinking::new(judge, person, counts);
        Self { from, to, judge, describes, counts, due: Vec::new(), asking, more: None, waits: None }
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
        if let Some(waits) = self.waits.take() {
            self.to.flush().await.map_err(|_| Stopped::by(EndReason::Target))?;
            match waits {
                Waits::Name(kind, name) => live.until(|ledger| !ledger.is_unsure(kind, &name)).await,
                Waits::Room => live.until(|ledger| !ledger.names.hold_too_much()).await,
                Waits::Judge { text, named } => self.judge.think(text, named).await,
            }
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
                Passing::Waits(waits) => {
                    self.to.stage(self.from.unread.split_to(pass).freeze());
                    if matches!(waits, Waits::Room) {
                        self.to.stage(front::message(b'H', &[]).into());
                    }
                    self.waits = Some(waits);
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
        // INVARIANT: what is sent is read by the server, or it is known that it is not.
        if !matches!(head.kind, b'S' | b'c' | b'f' | b'H' | b'X') && live.ledger().is_unclear() {
            return Err(unclear());
        }
        match head.kind {
            b'Q' => {
                let text = front::query(body).map_err(Stopped::nonsense)?;
                // No statement begins like that, so it hides none. Among others it stays what it is: an error.
                if let Some(more) = std::str::from_utf8(text).ok().and_then(extension)
                    && live.ledger().is_quiet()
                {
                    return Ok(Passing::Asks(more));
                }
                let Some((verdict, namings)) = self.judge.judge(Act::Query(text)) else {
                    return Ok(Passing::Waits(Waits::Judge { text: Bytes::copy_from_slice(text), named: None }));
                };
                let allowed = match verdict {
                    Verdict::Allow(allowed) => allowed,
                    Verdict::Refuse(why) => return Ok(self.refuse(live, text, why, true)),
                };
                if allowed.copied.is_some() {
                    return self.copy(live, text, allowed);
                }
                let mut ledger = live.ledger();
                let number = ledger.number();
                self.due.push(statement::going_out_without(number, Via::Simple, &Recorded::of(text, allowed.instead), None, None));
                let namings = known(&mut ledger, namings);
                ledger.query(Running::masking(number, Instant::now(), allowed.masked).naming(namings));
            }
            b'P' => {
                let parse = front::parse(body).map_err(Stopped::nonsense)?;
                let name = one_name(parse.name)?;
                if live.ledger().names.hold_too_much() {
                    return Ok(Passing::Waits(Waits::Room));
                }
                let Some((verdict, namings)) = self.judge.judge(Act::Parse { name, text: parse.text }) else {
                    return Ok(Passing::Waits(Waits::Judge { text: Bytes::copy_from_slice(parse.text), named: Some(name.into()) }));
                };
                let Allowed { masked, instead, hidden, copied } = match verdict {
                    Verdict::Allow(allowed) => allowed,
                    Verdict::Refuse(why) => return Ok(self.refuse(live, parse.text, why, false)),
                };
                // Prepared, it would run as it is.
                if copied.is_some_and(|copied| copied.masked) {
                    let why = "something of this is masked for this role, and a `COPY` of that goes out as a plain query only; send it \
                               without preparing it, as psql's `\\copy` does";
                    return Ok(self.refuse_copy(live, parse.text, instead, why, false));
                }
                let mut ledger = live.ledger();
                let naming = known(&mut ledger, namings).into_iter().next().unwrap_or_default();
                let masked = Arc::new(masked.into_iter().next().unwrap_or_default());
                let text = Recorded::of(parse.text, instead);
                // INVARIANT: what has a name is recorded before it can be run by it, be it by `EXECUTE`.
                let recorded = (!name.is_empty()).then(|| ledger.number());
                self.due.extend(recorded.map(|number| statement::preparing(number, name, &text)));
                let prepared = Prepared { text, hidden, naming, recorded, masked };
                have_room(&ledger, Some(name), None)?;
                ledger.parse(name, prepared, parse.text.len());
            }
            b'B' => {
                let bind = front::bind(body).map_err(Stopped::nonsense)?;
                let (name, portal) = (one_name(bind.statement)?, one_name(bind.portal)?);
                let text = {
                    let ledger = live.ledger();
                    if ledger.is_unsure(Kind::Statement, name) {
                        return Ok(Passing::Waits(Waits::Name(Kind::Statement, name.into())));
                    }
                    if ledger.names.hold_too_much() {
                        return Ok(Passing::Waits(Waits::Room));
                    }
                    ledger.names.statements.get(name).map(|prepared| prepared.text.clone())
                };
                let sent = text.as_ref().map(|recorded| &*recorded.text);
                let allowed = match self.judge.bind(sent, &bind) {
                    Verdict::Allow(allowed) => allowed,
                    Verdict::Refuse(why) => return Ok(self.refuse(live, sent.unwrap_or_default(), why, false)),
                };
                let mut ledger = live.ledger();
                let number = ledger.number();
                let bound = match ledger.names.statements.get_mut(name) {
                    Some(prepared) => {
                        let before = prepared.recorded;
                        let first = *prepared.recorded.get_or_insert(number);
                        let values = statement::list_without(&bind.values, &prepared.hidden);
                        self.due.push(statement::going_out_without(number, Via::Extended, &prepared.text, Some(&values), before));
                        let (text, naming, masked) = (prepared.text.clone(), prepared.naming.clone(), prepared.masked.clone());
                        Portal { text, values, naming, number, has_run: false, first, masked }
                    }
                    None => {
                        // Prepared by `PREPARE`, whose text is recorded there.
                        let text = Recorded::of(&[b"EXECUTE ", bind.statement].concat(), None);
                        let values = statement::list_without(&bind.values, &allowed.hidden);
                        self.due.push(statement::going_out_without(number, Via::Extended, &text, Some(&values), None));
                        let (naming, masked) = (Naming::None, Arc::default());
                        Portal { text, values, naming, number, has_run: false, first: number, masked }
                    }
                };
                have_room(&ledger, None, Some(portal))?;
                ledger.bind(portal, bound);
            }
            b'E' => {
                let (name, _) = front::execute(body).map_err(Stopped::nonsense)?;
                let name = one_name(name)?;
                let mut ledger = live.ledger();
                if ledger.is_unsure(Kind::Portal, name) {
                    return Ok(Passing::Waits(Waits::Name(Kind::Portal, name.into())));
                }
                let (number, naming, masked) = self.executing(&mut ledger, name);
                if self.describes {
                    ledger.push(Asked::OwnDescribe(masked));
                }
                let namings = match naming {
                    Naming::None if self.counts => vec![Naming::Fetches(name.into())],
                    Naming::None => Vec::new(),
                    other => vec![other],
                };
                ledger.execute(Running::new(number, Instant::now()).naming(namings));
                if self.describes {
                    // The server says which columns the rows have that follow.
                    let describe = [&b"P"[..], name, b"\0"].concat();
                    return Ok(Passing::After(front::message(b'D', &describe).into()));
                }
            }
            b'F' => {
                let (oid, values) = front::function_call(body).map_err(Stopped::nonsense)?;
                if let Verdict::Refuse(why) = self.judge.function_call(oid) {
                    return Ok(self.refuse(live, format!("function call {oid}").as_bytes(), why, true));
                }
                let mut ledger = live.ledger();
                let number = ledger.number();
                self.due.push(statement::calling(number, oid, &statement::list(&values)));
                ledger.push(Asked::Function(Running::new(number, Instant::now())));
            }
            b'C' => {
                let (kind, name) = match front::named(body).map_err(Stopped::nonsense)? {
                    Named::Statement(name) => (Kind::Statement, name),
                    Named::Portal(name) => (Kind::Portal, name),
                };
                live.ledger().close(kind, one_name(name)?);
            }
            b'D' => {
                front::named(body).map_err(Stopped::nonsense)?;
                live.ledger().push(Asked::Describe);
            }
            b'S' => live.ledger().push(Asked::Sync),
            b'c' | b'f' => live.ledger().push(Asked::CopyEnd),
            b'H' => live.ledger().flushes(),
            b'X' => return Ok(Passing::Leaves),
            _ => return Err(Stopped::nonsense(Malformed("such a message has no place in a session"))),
        }
        Ok(Passing::On)
    }

    /// A `Query` that copies what may be masked: another query is run in its place. What is recorded is what was sent.
    fn copy(&mut self, live: &Live, text: &[u8], allowed: Allowed) -> Result<Passing, Stopped> {
        let Allowed { masked, instead, hidden, copied } = allowed;
        let Some(copied) = copied else { return Ok(Passing::On) };
        let mut ledger = live.ledger();
        if ledger.names.hold_too_much() {
            return Ok(Passing::Waits(Waits::Room));
        }
        if !ledger.begins_anew() {
            drop(ledger);
            let why = "this role masks columns, and under it a `COPY` cannot follow messages without a `Sync`; send one first";
            return Ok(self.refuse_copy(live, text, instead, why, true));
        }
        have_room(&ledger, Some(b""), None)?;
        let number = ledger.number();
        let recorded = Recorded::of(text, instead);
        self.due.push(statement::going_out_without(number, Via::Simple, &recorded, None, None));
        let places = Arc::new(masked.first().cloned().unwrap_or_default());
        // Whoever runs the statement without a name after this runs the query, masked in the same places.
        let prepared = Prepared { text: recorded, hidden, naming: Naming::None, recorded: Some(number), masked: places };
        let bytes = copied::asked(&copied);
        ledger.copy(Running::masking(number, Instant::now(), masked).copying(copied.form, copied.of_table), prepared, text.len());
        Ok(Passing::Instead(bytes.into()))
    }

    /// Refuses a `COPY` that no other query can run for where it stands.
    fn refuse_copy(&mut self, live: &Live, text: &[u8], instead: Option<Instead>, why: &str, simple: bool) -> Passing {
        let why = Refusal::because(Reason::NotInRole, why);
        let instead = instead.map(|instead| (instead, why.clone()));
        self.refuse(live, text, Refused { why, sqlstate: "0A000", instead }, simple)
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

    /// A portal is about to run: its number, what it does with a name, and what is masked of its rows. It was recorded when it was
    /// bound; it is recorded again if it runs again.
    fn executing(&mut self, ledger: &mut Ledger, name: &[u8]) -> (u64, Naming, Arc<BTreeSet<usize>>) {
        let has_run = ledger.names.portals.get_mut(name).map(|portal| std::mem::replace(&mut portal.has_run, true));
        // Numbers have no gaps: one that is missing in a recording is missing.
        let next = if has_run == Some(false) { None } else { Some(ledger.number()) };
        let Some(portal) = ledger.names.portals.get(name) else {
            // Opened by `DECLARE`, whose text is recorded there.
            let number = next.unwrap_or_default();
            self.due.push(statement::going_out(number, Via::Extended, &[b"FETCH ", name].concat(), None, None));
            return (number, Naming::None, Arc::default());
        };
        let number = next.unwrap_or(portal.number);
        if next.is_some() {
            self.due.push(statement::going_out_without(number, Via::Extended, &portal.text, Some(&portal.values), Some(portal.first)));
        }
        (number, portal.naming.clone(), portal.masked.clone())
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
        ledger.refuse(writer.into_bytes(), simple);
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
}

/// Nobody can tell any more what the server reads.
pub(super) fn unclear() -> Stopped {
    Stopped { end: EndReason::Client, say: Some(Refusal::because(Reason::Invalid, UNCLEAR)) }
}

/// A name as the server reads it.
fn one_name(name: &[u8]) -> Result<&[u8], Stopped> {
    looked_at(name).ok_or_else(|| {
        let why = "a name of a prepared statement or cursor with other letters than ASCII's is too long; take one of at most 15 bytes";
        Stopped { end: EndReason::Client, say: Some(Refusal::because(Reason::Invalid, why)) }
    })
}

/// What a text does with names, if it is known; otherwise no name is known any more.
fn known(ledger: &mut Ledger, namings: Option<Vec<Naming>>) -> Vec<Naming> {
    namings.unwrap_or_else(|| {
        ledger.names.forget_named();
        Vec::new()
    })
}

fn have_room(ledger: &Ledger, statement: Option<&[u8]>, portal: Option<&[u8]>) -> Result<(), Stopped> {
    if ledger.names.have_room_for(statement, portal) {
        return Ok(());
    }
    let why = Refusal::because(Reason::TooMany, "there are too many prepared statements or cursors; deallocate some");
    Err(Stopped { end: EndReason::Client, say: Some(why) })
}
