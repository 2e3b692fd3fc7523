//! The same SQL prompt over the door of MySQL and MariaDB.
//!
//! Statements go as text, one at a time: several in one text are not agreed on. The protocol has no limit of rows in that form, and to
//! break a statement off would undo what it did, so rows beyond what is shown are read and dropped; whoever does not want to wait for
//! their end stops the statement.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use access::names::Selector;
use access::reason::Refusal;
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wire::Malformed;
use wire::mysql::answer::{Answers, Awaited, Done, IN_TRANSACTION, Step, error};
use wire::mysql::capability::Capabilities;
use wire::mysql::handshake::Login;
use wire::mysql::row::{self, Column};
use wire::mysql::{auth, packet};

use super::Known;
use super::sql::{APPLICATION, Answer, Beforehand, Failed, KEPT, Prompt, Said, Statement, Transaction, VALUE, stopping, told_to_stop};
use crate::mysql::{MysqlDoor, Stops};

/// The largest message that is taken from the door.
const LARGEST: usize = 16 * 1024 * 1024;
/// When it is said that the door is not open yet.
const SOON: Duration = Duration::from_secs(1);
/// The number of all that ends a session from outside (MariaDB's `ER_CONNECTION_KILLED`).
const CUT: u16 = 1927;
/// The character set of bytes that are no text.
const BINARY: u16 = 63;
/// What the console can do: several results of one procedure, but no several statements, and no files of its own.
const CAPABILITIES: Capabilities = Capabilities(
    Capabilities::NEEDED.0
        | Capabilities::PLUGIN_AUTH_LENENC.0
        | Capabilities::CONNECT_ATTRS.0
        | Capabilities::LONG_FLAG.0
        | Capabilities::LONG_PASSWORD.0
        | Capabilities::TRANSACTIONS.0
        | Capabilities::MULTI_RESULTS.0,
);

/// Runs a prompt until its end.
///
/// # Errors
/// Why the door was not opened, or how the session ended if not by leaving.
pub async fn run(door: &Arc<MysqlDoor>, known: Known, to: &Selector, before: Beforehand, prompt: Prompt) -> Result<(), Failed> {
    let (stream, stops) = door.clone().receive_known(known, to).map_err(|refusal| of_refusal(&refusal))?;
    let mut line = Line { stream, unread: BytesMut::new() };
    talk(&mut line, &stops, to, before, prompt).await.or_else(|end| match end {
        End::Left => Ok(()),
        End::Failed(failed) => Err(failed),
        End::Broken(error) => {
            tracing::debug!(%error, "a console's connection ended in the middle");
            Err(Failed { sqlstate: "08S01".to_owned(), message: "the connection ended".to_owned(), ..Failed::default() })
        }
    })
}

async fn talk(line: &mut Line, stops: &Stops, to: &Selector, before: Beforehand, prompt: Prompt) -> Result<(), End> {
    let Prompt { mut asked, said } = prompt;
    line.say(&login(to, before)?).await?;
    enter(line, &said).await?;
    said.send(Said::Open).await.map_err(|_| End::Left)?;
    let (mut last, mut transaction) = (None, Transaction::None);
    loop {
        let statement = tokio::select! {
            statement = asked.recv() => statement.ok_or(End::Left)?,
            () = said.closed() => return Err(End::Left),
            message = line.message() => match (message, last) {
                // Nothing was asked: what comes says why it is over.
                (Ok(message), _) => return Err(End::Failed(failed(&message)?)),
                // The error that ended the session says more than that it ended.
                (Err(_), Some(cut)) => return Err(End::Failed(cut)),
                (Err(error), None) => return Err(error.into()),
            },
        };
        let Statement { text, rows, stop, answer } = statement;
        let unsent = if stop.is_cancelled() { Some(stopped()) } else { text.contains('\0').then(no_nul) };
        let came = match unsent {
            Some(error) => Answer { error: Some(error), transaction, ..Answer::default() },
            None => ask(line, stops, &text, rows, &stop, &said).await?,
        };
        transaction = came.transaction;
        last = came.error.clone().filter(|error| error.message.ends_with(&numbered(CUT)));
        // Who asked may have gone.
        let _ = answer.send(came);
    }
}

fn login(to: &Selector, before: Beforehand) -> Result<Vec<u8>, End> {
    let attributes = [("program_name", Some(APPLICATION.to_owned())), ("tide_reason", before.reason)];
    let attributes: Vec<_> = attributes.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    if before.database.iter().chain(attributes.iter().map(|(_, value)| value)).any(|value| value.contains('\0')) {
        return Err(End::Failed(no_nul()));
    }
    let database = before.database.as_ref().map_or(Capabilities::default(), |_| Capabilities::CONNECT_WITH_DB);
    let login = Login {
        capabilities: CAPABILITIES | Capabilities::PLUGIN_AUTH | database,
        max_packet: u32::try_from(LARGEST).unwrap_or(u32::MAX),
        charset: row::UTF8MB4 as u8,
        user: to.to_string(),
        answer: Vec::new(),
        database: before.database,
        plugin: auth::CLEAR.to_owned(),
        attributes,
    };
    Ok(login.write())
}

/// Until statements may come: signed in, and the first answer there. Who waits for others is told at once that they are signed in, and
/// gets the first answer when it is decided.
async fn enter(line: &mut Line, said: &mpsc::Sender<Said>) -> Result<(), End> {
    const PING: &[u8] = &[0x0e];
    let mut pinged = false;
    let soon = tokio::time::sleep(SOON);
    tokio::pin!(soon);
    let mut told = false;
    loop {
        tokio::select! {
            message = line.message() => {
                let message = message?;
                if message.first() == Some(&0xff) {
                    return Err(End::Failed(failed(&message)?));
                }
                if pinged {
                    return Ok(());
                }
                pinged = true;
                line.say(PING).await?;
            }
            () = &mut soon, if !told => {
                told = true;
                let text = "It is not open yet. If people have to agree first, your request stands under Requests, with who was asked.";
                said.send(Said::Notice(text.to_owned())).await.map_err(|_| End::Left)?;
            }
            () = said.closed() => return Err(End::Left),
        }
    }
}

/// Sends a statement and takes its answer.
async fn ask(
    line: &mut Line,
    stops: &Stops,
    text: &str,
    rows: u32,
    stop: &CancellationToken,
    said: &mpsc::Sender<Said>,
) -> Result<Answer, End> {
    line.say(&[&[3][..], text.as_bytes()].concat()).await?;
    let mut answers = Answers::new(CAPABILITIES);
    answers.sent(Awaited::Results { binary: false })?;
    let mut again = stopping();
    let mut taken = Taken { rows: usize::try_from(rows).unwrap_or(usize::MAX), ..Taken::default() };
    loop {
        let message = tokio::select! {
            message = line.message() => message?,
            () = told_to_stop(stop, &mut again) => {
                stops.stop().await;
                continue;
            }
            () = said.closed() => return Err(End::Left),
        };
        match answers.received(&message, message.len())? {
            Step::Count(_) => taken.begin(),
            Step::Column => taken.column(&Column::read(&message)?),
            Step::Row { .. } => taken.row(&message)?,
            Step::Done { done, last } => {
                taken.done(done);
                if last {
                    return Ok(taken.answer);
                }
            }
            Step::Failed(_) => {
                taken.answer.error = Some(failed(&message)?);
                return Ok(taken.answer);
            }
            // Nothing of it was agreed on.
            Step::File(_) | Step::Text | Step::Parameter | Step::Prepared { .. } | Step::Described => {
                return Err(Malformed("the answer to a statement is of another kind").into());
            }
            Step::Between => {}
        }
    }
}

/// What has come of an answer so far. The first result that has rows is shown; that there are others is said.
#[derive(Default)]
struct Taken {
    answer: Answer,
    /// How many rows to show.
    rows: usize,
    kept: usize,
    /// Whether one was left out: what is shown is the beginning, without a hole in it.
    full: bool,
    /// For each column of the result that comes now, whether it holds bytes that are no text.
    bytes: Vec<bool>,
    /// Whether the result that comes now is another than the one that is shown.
    beyond: bool,
}

impl Taken {
    fn begin(&mut self) {
        self.beyond = !self.answer.columns.is_empty();
        self.answer.more |= self.beyond;
        self.bytes.clear();
    }

    fn column(&mut self, column: &Column<'_>) {
        self.bytes.push(column.charset == BINARY);
        if !self.beyond {
            self.answer.columns.push(String::from_utf8_lossy(column.name).into_owned());
        }
    }

    fn row(&mut self, message: &[u8]) -> Result<(), Malformed> {
        if self.beyond {
            return Ok(());
        }
        if self.full || self.answer.rows.len() >= self.rows || self.kept + message.len() > KEPT {
            (self.full, self.answer.more) = (true, true);
            return Ok(());
        }
        self.kept += message.len();
        let values = row::read_text_row(message, self.bytes.len())?;
        self.answer.more |= values.iter().flatten().any(|value| value.len() > VALUE);
        self.answer.rows.push(values.into_iter().zip(&self.bytes).map(|(value, bytes)| value.map(|value| shown(value, *bytes))).collect());
        Ok(())
    }

    fn done(&mut self, done: Done) {
        self.answer.transaction = if done.status & IN_TRANSACTION == 0 { Transaction::None } else { Transaction::Open };
        let counted = |count: u64, what: &str| if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") };
        let touched = self.answer.columns.is_empty().then(|| format!("{} affected", counted(done.affected, "row")));
        let warned = (done.warnings > 0).then(|| counted(done.warnings.into(), "warning"));
        let said: Vec<String> = touched.into_iter().chain(warned).collect();
        self.answer.done = (!said.is_empty()).then(|| said.join(", "));
    }
}

/// The console's end of the connection to the door.
struct Line {
    stream: DuplexStream,
    unread: BytesMut,
}

impl Line {
    /// The next message. Cancelling this loses nothing.
    async fn message(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let whole = packet::message(&self.unread, LARGEST).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if let Some((message, _, took)) = whole {
                let message = message.into_owned();
                self.unread.advance(took);
                return Ok(message);
            }
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Sends a command, or the sign-in: each begins to count anew.
    async fn say(&mut self, message: &[u8]) -> io::Result<()> {
        let mut out = Vec::with_capacity(message.len() + packet::HEAD);
        packet::write(&mut out, 0, message);
        self.stream.write_all(&out).await
    }
}

/// Why a talk ended.
enum End {
    /// Whoever sat there left.
    Left,
    /// The door or the server ended it.
    Failed(Failed),
    /// The connection did.
    Broken(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<Malformed> for End {
    fn from(error: Malformed) -> Self {
        Self::Broken(io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

fn failed(message: &[u8]) -> Result<Failed, Malformed> {
    let said = error(message)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Failed { sqlstate: text(said.sqlstate), message: text(said.message) + &numbered(said.code), ..Failed::default() })
}

/// An error's number, as it stands behind its text: people look for it.
fn numbered(code: u16) -> String {
    format!(" ({code})")
}

/// A value as text. Bytes that are none stand in hexadecimal, as `0x00ff`.
fn shown(value: &[u8], bytes: bool) -> String {
    let (start, cut) = value.get(..VALUE).filter(|_| value.len() > VALUE).map_or((value, ""), |start| (start, "…"));
    match std::str::from_utf8(start) {
        Err(_) if bytes => start.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}")) + cut,
        _ => String::from_utf8_lossy(start).into_owned() + cut,
    }
}

fn stopped() -> Failed {
    let message = "it was stopped before it began".to_owned() + &numbered(1317);
    Failed { sqlstate: "70100".to_owned(), message, ..Failed::default() }
}

fn no_nul() -> Failed {
    Failed { sqlstate: "22021".to_owned(), message: "there is a character in it that MySQL does not take".to_owned(), ..Failed::default() }
}

fn of_refusal(refusal: &Refusal) -> Failed {
    Failed {
        sqlstate: refusal.reason.mysql_error().1.to_owned(),
        message: crate::database::sentence(refusal),
        hint: Some(refusal.reason.hint().to_owned()),
        ..Failed::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_shown_as_numbers() {
        assert_eq!(shown(b"Kim", true), "Kim");
        assert_eq!(shown(&[0, 0xff], true), "0x00ff");
        assert_eq!(shown(&[b'a', 0xff], false), "a\u{fffd}");
        assert_eq!(shown(&vec![b'x'; VALUE + 1], false).chars().rev().take(2).collect::<String>(), "…x");
    }

    #[test]
    fn what_was_done_is_counted() {
        let done = |columns: &[&str], affected, warnings| {
            let answer = Answer { columns: columns.iter().map(|name| (*name).to_owned()).collect(), ..Answer::default() };
            let mut taken = Taken { answer, ..Taken::default() };
            taken.done(Done { affected, warnings, status: IN_TRANSACTION });
            assert_eq!(taken.answer.transaction, Transaction::Open);
            taken.answer.done
        };
        assert_eq!(done(&[], 1, 0).as_deref(), Some("1 row affected"));
        assert_eq!(done(&[], 0, 2).as_deref(), Some("0 rows affected, 2 warnings"));
        assert_eq!(done(&["id"], 0, 0), None);
    }
}
