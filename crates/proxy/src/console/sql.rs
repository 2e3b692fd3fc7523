//! A SQL prompt: a client of the PostgreSQL door that sends one statement at a time. [`super::mysql`] is the same over that door.
//!
//! Statements go as stock drivers send them (parse, bind, execute with a limit, sync), so the server stops at the limit by itself and a
//! transaction that is open stays as it is.

use std::io;
use std::sync::Arc;

use access::names::Selector;
use access::reason::Refusal;
use bytes::BytesMut;
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use wire::postgres::Side;
use wire::postgres::back::{self, Status};
use wire::postgres::startup::{CancelKey, startup_packet};

use super::Known;
use crate::postgres::PostgresDoor;
use crate::postgres::messages::{self, Most};

/// The largest message that is taken from the door.
const LARGEST: Most = Most(16 * 1024 * 1024, "one row is larger than a console takes");
/// The most that is kept of one answer, in bytes; what is more is left out, and it is said so.
pub(super) const KEPT: usize = 2 * 1024 * 1024;
/// The longest value that is shown whole, in bytes.
pub(super) const VALUE: usize = 32 * 1024;
/// How often a server is told to stop what it runs: it may not have begun when it was told first.
pub(super) const AGAIN: Duration = Duration::from_secs(1);
/// How the console calls itself at the door, and so in the log.
pub(super) const APPLICATION: &str = "Tidegate console";

/// Both sides of somebody's SQL prompt.
#[derive(Debug)]
pub struct Prompt {
    /// Statements; the sender gone: they left.
    pub asked: mpsc::Receiver<Statement>,
    /// What is said beside answers, and that statements may come; the receiver gone: they left.
    pub said: mpsc::Sender<Said>,
}

/// A statement, and where its answer goes.
#[derive(Debug)]
pub struct Statement {
    /// Its text.
    pub text: String,
    /// How many rows to show at most.
    pub rows: u32,
    /// Stops it, whether it runs or still waits its turn.
    pub stop: CancellationToken,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Answer>,
}

/// What is said beside answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The door is open: statements may come.
    Open,
    /// A notice: of the gate's, about waiting and the end; of the server's.
    Notice(String),
}

/// What came of a statement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The columns' names; empty if it has no rows.
    pub columns: Vec<String>,
    /// Values as text; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// Whether there are more rows than were shown, or something was too large to show whole.
    pub more: bool,
    /// What was done, as in `UPDATE 3` or `3 rows affected`.
    pub done: Option<String>,
    /// What went wrong.
    pub error: Option<Failed>,
    /// Whether a transaction is open now.
    pub transaction: Transaction,
}

/// Whether a transaction is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transaction {
    /// None.
    #[default]
    None,
    /// One is.
    Open,
    /// One is, and failed: only its end is taken.
    Failed,
}

/// An error, of the server's or of the gate's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failed {
    /// Its code.
    pub sqlstate: String,
    /// The error.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// Where in the statement, in characters from 1.
    pub position: Option<u32>,
}

/// What is said beforehand.
#[derive(Debug, Clone, Default)]
pub struct Beforehand {
    /// The database; `None`: the resource's.
    pub database: Option<String>,
    /// Why they want in, for who has no grant yet.
    pub reason: Option<String>,
}

/// Runs a prompt until its end.
///
/// # Errors
/// Why the door was not opened, or how the session ended if not by leaving.
pub async fn run(door: &Arc<PostgresDoor>, known: Known, to: &Selector, before: Beforehand, prompt: Prompt) -> Result<(), Failed> {
    let stream = door.clone().receive_known(known).map_err(|refusal| of_refusal(&refusal))?;
    let mut line = Line { stream, unread: BytesMut::new(), key: None };
    talk(door, &mut line, to, before, prompt).await.or_else(|end| match end {
        End::Left => Ok(()),
        End::Failed(failed) => Err(failed),
        End::Broken(error) => {
            tracing::debug!(%error, "a console's connection ended in the middle");
            Err(Failed { sqlstate: "08006".to_owned(), message: "the connection ended".to_owned(), ..Failed::default() })
        }
    })
}

async fn talk(door: &PostgresDoor, line: &mut Line, to: &Selector, before: Beforehand, prompt: Prompt) -> Result<(), End> {
    let Prompt { mut asked, said } = prompt;
    let user = to.to_string();
    let reason = before.reason.map(|reason| format!("-c tide.reason={}", escaped(&reason)));
    let mut parameters = vec![("user", user.as_str()), ("application_name", APPLICATION), ("client_encoding", "UTF8")];
    parameters.extend(before.database.as_deref().map(|database| ("database", database)));
    parameters.extend(reason.as_deref().map(|reason| ("options", reason)));
    if parameters.iter().any(|(_, value)| value.contains('\0')) {
        return Err(End::Failed(no_nul()));
    }
    line.stream.write_all(&startup_packet(parameters)).await?;
    loop {
        let (kind, body) = tokio::select! {
            message = line.message() => message?,
            () = said.closed() => return Err(End::Left),
        };
        match kind {
            b'Z' => break,
            b'K' => line.key = back::key_data(&body).ok(),
            b'N' => notice(&said, &body).await?,
            b'E' => return Err(End::Failed(failed(&body))),
            _ => {}
        }
    }
    said.send(Said::Open).await.map_err(|_| End::Left)?;
    let mut transaction = Transaction::None;
    loop {
        let statement = tokio::select! {
            statement = asked.recv() => statement.ok_or(End::Left)?,
            () = said.closed() => return Err(End::Left),
            message = line.message() => {
                match message? {
                    (b'N', body) => notice(&said, &body).await?,
                    (b'E', body) => return Err(End::Failed(failed(&body))),
                    _ => {}
                }
                continue;
            }
        };
        let Statement { text, rows, stop, answer } = statement;
        let unsent = if stop.is_cancelled() { Some(stopped()) } else { text.contains('\0').then(no_nul) };
        let came = match unsent {
            Some(error) => Answer { error: Some(error), transaction, ..Answer::default() },
            None => ask(door, line, &text, rows, &stop, &said).await?,
        };
        transaction = came.transaction;
        // Who asked may have gone.
        let _ = answer.send(came);
    }
}

/// Sends a statement and takes its answer.
async fn ask(
    door: &PostgresDoor,
    line: &mut Line,
    text: &str,
    rows: u32,
    stop: &CancellationToken,
    said: &mpsc::Sender<Said>,
) -> Result<Answer, End> {
    line.send(text, rows).await?;
    let mut answer = Answer::default();
    let (mut kept, mut full, mut fatal) = (0, false, false);
    let mut again = stopping();
    loop {
        let (kind, body) = tokio::select! {
            message = line.message() => match message {
                Ok(message) => message,
                // The error that ended the session says more than that it ended.
                Err(_) if fatal => return Err(End::Failed(answer.error.unwrap_or_default())),
                Err(error) => return Err(error.into()),
            },
            () = told_to_stop(stop, &mut again) => {
                if let Some(key) = &line.key {
                    door.cancels.cancel(key).await;
                }
                continue;
            }
            () = said.closed() => return Err(End::Left),
        };
        match kind {
            b'T' => {
                let columns = back::row_description(&body).map_err(wrong)?;
                answer.columns = columns.iter().map(|column| String::from_utf8_lossy(column.name).into_owned()).collect();
            }
            // What is shown is the beginning, without a hole in it.
            b'D' if full || kept + body.len() > KEPT => (full, answer.more) = (true, true),
            b'D' => {
                kept += body.len();
                let row = back::data_row(&body, answer.columns.len()).map_err(wrong)?;
                answer.more |= row.iter().flatten().any(|value| value.len() > VALUE);
                answer.rows.push(row.into_iter().map(|value| value.map(shown)).collect());
            }
            b'C' => answer.done = Some(String::from_utf8_lossy(back::command_complete(&body).map_err(wrong)?).into_owned()),
            b's' => answer.more = true,
            // `COPY … FROM STDIN`: there is nothing to send. The first Sync was swallowed with it.
            b'G' => line.write(&[packet(b'f', b"a console sends no rows\0"), packet(b'S', b"")].concat()).await?,
            b'N' => notice(said, &body).await?,
            b'E' => {
                fatal = is_fatal(&body);
                answer.error = Some(failed(&body));
            }
            b'Z' => {
                answer.transaction = match back::ready(&body).map_err(wrong)? {
                    Status::Idle => Transaction::None,
                    Status::Transaction => Transaction::Open,
                    Status::Failed => Transaction::Failed,
                };
                return Ok(answer);
            }
            _ => {}
        }
    }
}

/// When a server that was told to stop is told again.
pub(super) fn stopping() -> Interval {
    let mut again = interval(AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    again
}

/// Whenever a server is to be told that whoever asked wants no answer any more. Cancelling this loses nothing.
pub(super) async fn told_to_stop(stop: &CancellationToken, again: &mut Interval) {
    stop.cancelled().await;
    again.tick().await;
}

/// The console's end of the connection to the door.
struct Line {
    stream: DuplexStream,
    unread: BytesMut,
    key: Option<CancelKey>,
}

impl Line {
    /// The next message: letter and body. Cancelling this loses nothing.
    async fn message(&mut self) -> io::Result<(u8, BytesMut)> {
        messages::next(&mut self.stream, &mut self.unread, Side::Back, LARGEST).await
    }

    async fn send(&mut self, text: &str, rows: u32) -> io::Result<()> {
        let parse = [b"\0", text.as_bytes(), b"\0\0\0"].concat();
        let execute = [&b"\0"[..], &i32::try_from(rows).unwrap_or(i32::MAX).to_be_bytes()].concat();
        let messages =
            [packet(b'P', &parse), packet(b'B', b"\0\0\0\0\0\0\0\0"), packet(b'D', b"P\0"), packet(b'E', &execute), packet(b'S', b"")];
        self.write(&messages.concat()).await
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&[kind][..], &length.to_be_bytes(), body].concat()
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

fn wrong(error: wire::Malformed) -> End {
    End::Broken(io::Error::new(io::ErrorKind::InvalidData, error))
}

async fn notice(said: &mpsc::Sender<Said>, body: &[u8]) -> Result<(), End> {
    let text = field(body, b'M').unwrap_or_default();
    said.send(Said::Notice(text)).await.map_err(|_| End::Left)
}

fn is_fatal(body: &[u8]) -> bool {
    matches!(field(body, b'V').as_deref(), Some("FATAL" | "PANIC"))
}

fn failed(body: &[u8]) -> Failed {
    Failed {
        sqlstate: field(body, b'C').unwrap_or_default(),
        message: field(body, b'M').unwrap_or_default(),
        detail: field(body, b'D'),
        hint: field(body, b'H'),
        position: field(body, b'P').and_then(|position| position.parse().ok()),
    }
}

fn field(body: &[u8], wanted: u8) -> Option<String> {
    back::error_field(body, wanted).ok().flatten().map(|text| String::from_utf8_lossy(text).into_owned())
}

fn shown(value: &[u8]) -> String {
    match value.get(..VALUE) {
        Some(start) if value.len() > VALUE => format!("{}…", String::from_utf8_lossy(start)),
        _ => String::from_utf8_lossy(value).into_owned(),
    }
}

/// A value as it stands in `options` (PostgreSQL documentation, libpq, `options`).
fn escaped(value: &str) -> String {
    value.chars().flat_map(|c| (c.is_whitespace() || c == '\\').then_some('\\').into_iter().chain([c])).collect()
}

fn stopped() -> Failed {
    Failed { sqlstate: "57014".to_owned(), message: "it was stopped before it began".to_owned(), ..Failed::default() }
}

fn no_nul() -> Failed {
    Failed {
        sqlstate: "22021".to_owned(),
        message: "there is a character in it that PostgreSQL does not take".to_owned(),
        ..Failed::default()
    }
}

fn of_refusal(refusal: &Refusal) -> Failed {
    Failed {
        sqlstate: refusal.reason.sqlstate().to_owned(),
        message: crate::database::sentence(refusal),
        hint: Some(refusal.reason.hint().to_owned()),
        ..Failed::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_with_blanks_is_one_setting() {
        let text = format!("-c tide.reason={}", escaped("a slow query, C:\\tmp"));
        let settings = wire::postgres::startup::options(&text).unwrap();
        assert_eq!(settings, [("tide.reason".to_owned(), "a slow query, C:\\tmp".to_owned())]);
    }
}
