//! From the server to the client: packets are counted and passed on as they come; what is withheld is taken out on the way.

use access::reason::{Reason, Refusal};
use access::session::EndReason;
use bytes::BytesMut;
use wire::mysql::answer::{Done, Failed, Step};
use wire::mysql::packet::{self, HEAD, Head};
use wire::mysql::row::{Column, Instead, veil_binary_row, veil_text_row};

use super::prepared::Prepared;
use super::relay::{Live, Relay, Running, Then};
use super::veil::{veil, without_values};
use crate::database::relay::Stopped;
use crate::database::statement::{self, Via};

/// The largest message of a server's that is no row.
const LARGEST: usize = packet::FULL - 1;
/// The largest row of which something is masked: it is held whole.
const LARGEST_MASKED_ROW: usize = 256 * 1024 * 1024;

/// How the columns of an answer are handed on, and their types.
#[derive(Debug, Clone, Default)]
pub(crate) struct Veils {
    instead: Vec<Instead>,
    kinds: Vec<u8>,
}

impl Veils {
    fn hide_any(&self) -> bool {
        self.instead.iter().any(|instead| *instead != Instead::Nothing)
    }
}

/// What is to be done with a message that was looked at.
enum Looked {
    /// It goes on as it is.
    On,
    /// This goes on in its place.
    Instead(Vec<u8>),
    /// It does not go on.
    Stop(Stopped),
}

impl Relay {
    /// Records what arrived whole, and hands it on.
    pub(super) async fn pass(&mut self, live: &Live) -> Result<(), Stopped> {
        let scanned = self.scan(live);
        if scanned.is_ok()
            && self.is_quiet()
            && let Some(Running { then: Then::Reset, .. }) = self.running
        {
            self.running = None;
            self.statements.forget();
            // The client hears of it when the session is again as it has to be.
            if let Some(pins) = self.pins.clone() {
                self.own(live, &pins).await?;
            }
        }
        self.settle(live).await?;
        scanned
    }

    /// Takes what is whole.
    fn scan(&mut self, live: &Live) -> Result<(), Stopped> {
        let mut pass = self.to_client.left.min(self.target.unread.len());
        self.to_client.left -= pass;
        let scanned = loop {
            if self.to_client.left > 0 {
                break Ok(());
            }
            match self.one(live, &mut pass) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(stopped) => break Err(stopped),
            }
        };
        self.to_client.stage(self.target.unread.split_to(pass).freeze());
        scanned
    }

    /// Takes one packet, or the beginning of a row, that stands behind `pass` bytes which go on as they are; says whether it could.
    fn one(&mut self, live: &Live, pass: &mut usize) -> Result<bool, Stopped> {
        let Some(head) = self.target.unread.get(*pass..).and_then(Head::read) else { return Ok(false) };
        if self.goes_on {
            self.goes_on = head.goes_on();
            if let Some(running) = &mut self.running {
                running.outcome.bytes += head.length as u64;
            }
            self.stream(head, pass);
            return Ok(true);
        }
        if self.is_quiet() {
            // Whatever it is, it is looked at when nobody asks any more.
            return Ok(false);
        }
        let Some(first) = self.target.unread.get(*pass + HEAD).copied().or((head.length == 0).then_some(0)) else { return Ok(false) };
        let is_row = head.length > 0 && self.answers.is_row(first, head.length);
        if is_row && !self.hides_rows()? {
            self.answers.received(&[first], head.length).map_err(|e| Stopped::liar(e.0))?;
            self.count_row(live, head.length)?;
            self.goes_on = head.goes_on();
            self.stream(head, pass);
            return Ok(true);
        }
        let most = if is_row { LARGEST_MASKED_ROW } else { LARGEST };
        let unread = self.target.unread.get(*pass..).unwrap_or_default();
        let Some((message, _, took)) = packet::message(unread, most).map_err(|e| Stopped::liar(e.0))? else { return Ok(false) };
        let message = message.into_owned();
        match self.look(live, &message)? {
            Looked::On => {
                renumber(&mut self.target.unread, *pass, took, &mut self.sequence);
                *pass += took;
            }
            Looked::Instead(instead) => {
                self.to_client.stage(self.target.unread.split_to(*pass).freeze());
                *pass = 0;
                let _ = self.target.unread.split_to(took);
                self.reply(&instead);
            }
            Looked::Stop(stopped) => {
                self.to_client.stage(self.target.unread.split_to(*pass).freeze());
                *pass = 0;
                return Err(stopped);
            }
        }
        Ok(true)
    }

    /// Passes a packet on as it comes.
    fn stream(&mut self, head: Head, pass: &mut usize) {
        renumber(&mut self.target.unread, *pass, HEAD, &mut self.sequence);
        let total = HEAD + head.length;
        let now = total.min(self.target.unread.len() - *pass);
        self.to_client.left = total - now;
        *pass += now;
    }

    /// Whether something of the rows that come now is masked.
    fn hides_rows(&self) -> Result<bool, Stopped> {
        if self.shown.is_none() && self.veils.instead.is_empty() {
            return Ok(false);
        }
        if self.veils.instead.is_empty() {
            // Nobody knows what it is.
            return Err(Stopped::liar("a row came that was not announced"));
        }
        Ok(self.veils.hide_any())
    }

    /// Looks at one whole message.
    fn look(&mut self, live: &Live, message: &[u8]) -> Result<Looked, Stopped> {
        let step = self.answers.received(message, message.len()).map_err(|e| Stopped::liar(e.0))?;
        match step {
            Step::Count(_) => {
                self.veils = Veils::default();
                if let Some(running) = &mut self.running {
                    running.has_columns = true;
                }
            }
            Step::Column if self.announces_rows() => self.column(message)?,
            Step::Column | Step::Parameter | Step::Between | Step::Text => {}
            Step::Row { binary } => {
                self.count_row(live, message.len())?;
                let veils = &self.veils;
                let hidden = if binary {
                    veil_binary_row(message, &veils.kinds, |at| veils.instead.get(at).copied().unwrap_or(Instead::Null))
                } else {
                    veil_text_row(message, &veils.instead)
                };
                return Ok(Looked::Instead(hidden.map_err(|e| Stopped::liar(e.0))?));
            }
            Step::Prepared { statement, columns, parameters, last } => {
                self.prepared(statement, columns, parameters);
                if last {
                    self.running = None;
                }
            }
            Step::Described => {
                if let Some(mut running) = self.running.take() {
                    self.due.extend(running.settle());
                }
            }
            Step::File(name) => {
                let expected = self.running.as_ref().is_some_and(|running| running.files.iter().any(|file| file == name));
                if !expected {
                    live.refused(name, &Refusal::because(Reason::TargetRefused, "the server asked for a file that no statement named"));
                    return Ok(Looked::Stop(Stopped::liar("it asks for a file of the client's that the statement does not name")));
                }
                (self.file_goes_on, self.file_sent) = (false, false);
                if let Some(running) = &mut self.running {
                    running.outcome.copy = Some("copy_in");
                }
            }
            Step::Done { done, last } => self.done(done, last),
            Step::Failed(failed) => return self.failed(&failed),
        }
        Ok(Looked::On)
    }

    /// Whether the columns that come now are those of rows, and not of a preparation or a list.
    fn announces_rows(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.prepares() && (self.shown.is_some() || !running.masked.is_empty()))
    }

    fn column(&mut self, message: &[u8]) -> Result<(), Stopped> {
        let column = Column::read(message).map_err(|e| Stopped::liar(e.0))?;
        let at = self.veils.instead.len();
        let everything = super::veil::Shown::default();
        let places = self.masked();
        let instead = match &self.shown {
            Some(shown) => veil(&column, at, shown, &places),
            None if places.contains(&at) => veil(&column, at, &everything, &places),
            None => Instead::Nothing,
        };
        self.veils.instead.push(instead);
        self.veils.kinds.push(column.kind);
        Ok(())
    }

    fn prepared(&mut self, statement: u32, columns: u16, parameters: u16) {
        let Some(running) = &mut self.running else { return };
        match std::mem::replace(&mut running.then, Then::IsPrepared) {
            Then::Prepared(preparing) => {
                self.statements.insert(statement, Prepared::new(*preparing, columns, parameters));
            }
            then => running.then = then,
        }
    }

    /// A row came; it may be one too many.
    fn count_row(&mut self, live: &Live, bytes: usize) -> Result<(), Stopped> {
        let Some(running) = &mut self.running else { return Ok(()) };
        running.outcome.rows += 1;
        running.outcome.bytes += bytes as u64;
        let rows = running.fetched + running.outcome.rows;
        let Some(most) = self.most_rows.filter(|most| rows > *most) else { return Ok(()) };
        running.outcome.rows -= 1;
        let why = format!("one statement may bring back {most} rows under this role, and this one brings more; add `LIMIT {most}`");
        let why = Refusal::because(Reason::NotInRole, why);
        let number = running.number.unwrap_or_default();
        self.due.push(statement::refused(number, b"", &why.to_string()));
        live.refused(format!("statement {number}").as_bytes(), &why);
        // The session ends with it, since the server may have run it to its end.
        Err(Stopped { end: EndReason::Client, say: Some(why) })
    }

    fn done(&mut self, done: Done, last: bool) {
        self.status = done.status;
        let veils = std::mem::take(&mut self.veils);
        let Some(running) = &mut self.running else { return };
        let had_rows = !veils.instead.is_empty();
        if let Some(prepared) = running.statement.and_then(|statement| self.statements.get(statement)) {
            prepared.fetched = running.fetched + running.outcome.rows;
            if had_rows {
                // Its rows may still be fetched.
                prepared.veils = Some(veils);
            }
        }
        running.outcome.warnings = done.warnings;
        if running.outcome.rows == 0 && !running.has_columns && running.statement.is_none_or(|_| !had_rows) {
            running.outcome.affected = Some(done.affected);
        }
        self.due.extend(running.settle());
        if last {
            match &running.then {
                Then::Entered(database) => {
                    let database = database.clone();
                    self.judge.entered(&database);
                }
                // Looked at when everything of the answer has been taken.
                Then::Reset => return,
                Then::Nothing | Then::Prepared(_) | Then::IsPrepared => {}
            }
            self.running = None;
        }
    }

    fn failed(&mut self, failed: &Failed<'_>) -> Result<Looked, Stopped> {
        self.veils = Veils::default();
        let mut hides = false;
        if let Some(mut running) = self.running.take() {
            hides = running.hides;
            if let Some(prepared) = running.statement.and_then(|statement| self.statements.get(statement)) {
                // A run that failed may have left the cursor of the one before open.
                prepared.fetched = prepared.fetched.max(running.fetched + running.outcome.rows);
            }
            if let Then::Prepared(preparing) = &running.then {
                // What was prepared in vain is recorded; what was prepared well is when it runs.
                let number = self.number();
                self.due.push(statement::going_out_without(number, Via::Extended, &preparing.said, None, None));
                running.number = Some(number);
            }
            running.outcome.errno = Some(failed.code);
            running.outcome.sqlstate = Some(failed.sqlstate.to_vec());
            self.due.extend(running.settle());
        }
        if self.judge.is_restricted()
            && let Some(instead) = without_values(failed, hides).map_err(|e| Stopped::liar(e.0))?
        {
            return Ok(Looked::Instead(instead));
        }
        Ok(Looked::On)
    }
}

/// Gives the packets in these bytes the numbers that the client expects.
fn renumber(bytes: &mut BytesMut, from: usize, length: usize, sequence: &mut u8) {
    let mut at = from;
    while at < from + length {
        let Some(head) = bytes.get(at..).and_then(Head::read) else { return };
        if let Some(number) = bytes.get_mut(at + 3) {
            *number = *sequence;
        }
        *sequence = sequence.wrapping_add(1);
        at += HEAD + head.length;
    }
}
