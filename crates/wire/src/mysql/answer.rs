//! Following a server's answer: which packet is a column, which a row, and where the answer ends.

use std::collections::VecDeque;

use super::capability::Capabilities;
use super::handshake::{lenenc, lenenc_bytes};
use crate::{Malformed, Reader};

/// `SERVER_STATUS_IN_TRANS`.
pub const IN_TRANSACTION: u16 = 0x0001;
/// `SERVER_STATUS_AUTOCOMMIT`.
pub const AUTOCOMMIT: u16 = 0x0002;
/// `SERVER_STATUS_NO_BACKSLASH_ESCAPES`: a backslash in quotes is a letter like any other.
pub const NO_BACKSLASH_ESCAPES: u16 = 0x0200;
/// `SERVER_MORE_RESULTS_EXISTS`.
const MORE_RESULTS: u16 = 0x0008;
/// `SERVER_STATUS_CURSOR_EXISTS`.
const CURSOR: u16 = 0x0040;
/// How many commands may wait for their answers: drivers that send ahead send few.
const MOST_AWAITED: usize = 1024;

/// The kind of answer that a command gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// One OK, EOF or error.
    Simple,
    /// One line of text.
    Statistics,
    /// What a query or an execution answers; rows in binary or text.
    Results {
        /// Whether binary.
        binary: bool,
    },
    /// What an execution answers that asks for a cursor: rows in binary, now or when they are fetched.
    Cursor,
    /// What `COM_STMT_PREPARE` answers.
    Prepared,
    /// Rows in binary, of columns announced before.
    Rows,
    /// Columns, then their end.
    Columns,
}

/// What an OK says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    /// Rows it touched.
    pub affected: u64,
    /// The server's status flags.
    pub status: u16,
    /// How many warnings there are.
    pub warnings: u16,
}

/// What an error says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed<'a> {
    /// The server's number for it.
    pub code: u16,
    /// Five letters; `HY000` if it gave none.
    pub sqlstate: &'a [u8],
    /// In words.
    pub message: &'a [u8],
}

/// What one packet of an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// How many columns follow.
    Count(u64),
    /// A column's definition.
    Column,
    /// The definition of one of a statement's parameters.
    Parameter,
    /// A row.
    Row {
        /// Whether in binary.
        binary: bool,
    },
    /// Between columns and rows, where both sides still want that.
    Between,
    /// A statement was prepared.
    Prepared {
        /// Its number.
        statement: u32,
        /// Its columns.
        columns: u16,
        /// Its parameters.
        parameters: u16,
        /// Whether nothing more follows.
        last: bool,
    },
    /// The last definition of a prepared statement, or the end of a list of columns.
    Described,
    /// The server wants this file of the client's; the client sends its content and an empty packet, and the server ends the answer.
    File(&'a [u8]),
    /// A line of text, alone.
    Text,
    /// One result is whole.
    Done {
        /// How it went.
        done: Done,
        /// Whether it is the command's last.
        last: bool,
    },
    /// The command failed. Nothing more follows.
    Failed(Failed<'a>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the beginning of the answer to the command at the front.
    First,
    /// The client is sending a file.
    File,
    Columns {
        left: u64,
        binary: bool,
    },
    Between {
        binary: bool,
    },
    Rows {
        binary: bool,
    },
    Parameters {
        left: u16,
        columns: u16,
    },
    ParametersEnd {
        columns: u16,
    },
    Described {
        left: u16,
    },
    DescribedEnd,
}

/// Follows the answers to the commands of one connection, in order.
#[derive(Debug)]
pub struct Answers {
    awaited: VecDeque<Awaited>,
    state: State,
    no_eof: bool,
}

impl Answers {
    /// Follows the answers of a connection with these capabilities.
    #[must_use]
    pub fn new(capabilities: Capabilities) -> Self {
        Self { awaited: VecDeque::new(), state: State::First, no_eof: capabilities.has(Capabilities::DEPRECATE_EOF) }
    }

    /// A command was sent that gets an answer of this kind.
    ///
    /// # Errors
    /// If too many wait already.
    pub fn sent(&mut self, awaited: Awaited) -> Result<(), Malformed> {
        if self.awaited.len() >= MOST_AWAITED {
            return Err(Malformed("too many commands were sent ahead of their answers"));
        }
        self.awaited.push_back(awaited);
        Ok(())
    }

    /// How many commands wait for the end of their answers.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.awaited.len()
    }

    /// Whether a message that begins with `first` and is `length` bytes long is a row, so that only its beginning need be there.
    #[must_use]
    pub fn is_row(&self, first: u8, length: usize) -> bool {
        let end = first == 0xff || (first == 0xfe && length < super::packet::FULL);
        match self.state {
            State::Rows { .. } => !end,
            State::First => !end && self.awaited.front() == Some(&Awaited::Rows),
            _ => false,
        }
    }

    /// Whether the server waits for a file of the client's.
    #[must_use]
    pub fn wants_file(&self) -> bool {
        self.state == State::File
    }

    /// A message came from the server: `start` is its beginning, whole but for rows and texts, and `length` how long it is in all.
    ///
    /// # Errors
    /// If nobody asked for it, or it is malformed.
    pub fn received<'a>(&mut self, start: &'a [u8], length: usize) -> Result<Step<'a>, Malformed> {
        let awaited = *self.awaited.front().ok_or(Malformed("the server answers what nobody asked"))?;
        let first = *start.first().ok_or(Malformed("the server answers with nothing"))?;
        // A row in text may begin with 0xfe only if its first value is over 16 MiB; with 0xff never.
        let ends = first == 0xfe && length < super::packet::FULL;
        if first == 0xff {
            return self.failed(start);
        }
        match self.state {
            State::First => self.first(awaited, first, start),
            State::File => self.done(start, first == 0x00),
            State::Columns { left, binary } => {
                self.state = match left - 1 {
                    0 if self.no_eof => State::Rows { binary },
                    0 => State::Between { binary },
                    left => State::Columns { left, binary },
                };
                Ok(Step::Column)
            }
            State::Between { binary } => {
                let done = eof(start)?;
                // The rows come when they are fetched. The flag alone does not say so: it is also there while a procedure has a cursor of its own.
                if awaited == Awaited::Cursor && done.status & CURSOR != 0 {
                    return Ok(self.last(done));
                }
                self.state = State::Rows { binary };
                Ok(Step::Between)
            }
            State::Rows { .. } if ends => self.done(start, true),
            State::Rows { binary } => Ok(Step::Row { binary }),
            State::Parameters { left, columns } => {
                self.state = match left - 1 {
                    0 if self.no_eof => return Ok(self.described_after(columns, Step::Parameter)),
                    0 => State::ParametersEnd { columns },
                    left => State::Parameters { left, columns },
                };
                Ok(Step::Parameter)
            }
            State::ParametersEnd { columns } => {
                eof(start)?;
                Ok(self.described_after(columns, Step::Between))
            }
            State::Described { left } => {
                match left - 1 {
                    0 if self.no_eof => {
                        self.finish();
                        return Ok(Step::Described);
                    }
                    0 => self.state = State::DescribedEnd,
                    left => self.state = State::Described { left },
                }
                Ok(Step::Column)
            }
            State::DescribedEnd => {
                eof(start)?;
                self.finish();
                Ok(Step::Described)
            }
        }
    }

    fn first<'a>(&mut self, awaited: Awaited, first: u8, start: &'a [u8]) -> Result<Step<'a>, Malformed> {
        match awaited {
            Awaited::Simple => self.done(start, matches!(first, 0x00 | 0xfe)),
            Awaited::Statistics => {
                self.finish();
                Ok(Step::Text)
            }
            Awaited::Results { .. } | Awaited::Cursor => match first {
                0x00 => self.done(start, true),
                0xfb => {
                    self.state = State::File;
                    Ok(Step::File(&start[1..]))
                }
                _ => {
                    let mut reader = Reader::new(start);
                    let count = reader.lenenc()?;
                    reader.end()?;
                    // A table has at most 4,096 columns; an answer at most as many as fit 16 bits.
                    if count == 0 || count > u64::from(u16::MAX) {
                        return Err(Malformed("an answer has a number of columns that none has"));
                    }
                    let binary = matches!(awaited, Awaited::Results { binary: true } | Awaited::Cursor);
                    self.state = State::Columns { left: count, binary };
                    Ok(Step::Count(count))
                }
            },
            Awaited::Prepared => {
                let mut reader = Reader::new(start);
                if reader.u8()? != 0 {
                    return Err(Malformed("the answer to a preparation is unknown"));
                }
                let (statement, columns, parameters) = (reader.u32_le()?, reader.u16_le()?, reader.u16_le()?);
                let last = columns == 0 && parameters == 0;
                match (parameters, columns) {
                    (0, 0) => self.finish(),
                    (0, left) => self.state = State::Described { left },
                    (left, columns) => self.state = State::Parameters { left, columns },
                }
                Ok(Step::Prepared { statement, columns, parameters, last })
            }
            Awaited::Rows if first == 0xfe => self.done(start, true),
            Awaited::Rows => {
                self.state = State::Rows { binary: true };
                Ok(Step::Row { binary: true })
            }
            Awaited::Columns if first == 0xfe => {
                self.finish();
                Ok(Step::Described)
            }
            Awaited::Columns => Ok(Step::Column),
        }
    }

    fn described_after<'a>(&mut self, columns: u16, step: Step<'a>) -> Step<'a> {
        if columns == 0 {
            self.finish();
            return Step::Described;
        }
        self.state = State::Described { left: columns };
        step
    }

    fn done<'a>(&mut self, start: &'a [u8], as_expected: bool) -> Result<Step<'a>, Malformed> {
        if !as_expected {
            return Err(Malformed("the server answers with something that does not belong here"));
        }
        let done = if start[0] == 0xfe && !self.no_eof { eof(start)? } else { ok(start)? };
        if done.status & MORE_RESULTS != 0 && matches!(self.awaited.front(), Some(Awaited::Results { .. } | Awaited::Cursor)) {
            self.state = State::First;
            return Ok(Step::Done { done, last: false });
        }
        Ok(self.last(done))
    }

    fn last<'a>(&mut self, done: Done) -> Step<'a> {
        self.finish();
        Step::Done { done, last: true }
    }

    fn failed<'a>(&mut self, start: &'a [u8]) -> Result<Step<'a>, Malformed> {
        let failed = error(start)?;
        self.finish();
        Ok(Step::Failed(failed))
    }

    fn finish(&mut self) {
        self.awaited.pop_front();
        self.state = State::First;
    }
}

/// Reads an OK (also one that stands where an EOF stood).
///
/// # Errors
/// If it is malformed.
pub fn ok(message: &[u8]) -> Result<Done, Malformed> {
    let mut reader = Reader::new(message);
    reader.u8()?;
    let affected = reader.lenenc()?;
    reader.lenenc()?;
    Ok(Done { affected, status: reader.u16_le()?, warnings: reader.u16_le()? })
}

fn eof(message: &[u8]) -> Result<Done, Malformed> {
    let mut reader = Reader::new(message);
    if reader.u8()? != 0xfe {
        return Err(Malformed("the server answers with something that does not belong here"));
    }
    let (warnings, status) = (reader.u16_le()?, reader.u16_le()?);
    Ok(Done { affected: 0, status, warnings })
}

/// Reads an error.
///
/// # Errors
/// If it is malformed.
pub fn error(message: &[u8]) -> Result<Failed<'_>, Malformed> {
    let mut reader = Reader::new(message);
    reader.u8()?;
    let code = reader.u16_le()?;
    let rest = reader.rest();
    Ok(match rest.split_first() {
        Some((b'#', after)) if after.len() >= 5 => Failed { code, sqlstate: &after[..5], message: &after[5..] },
        _ => Failed { code, sqlstate: b"HY000", message: rest },
    })
}

/// Writes an OK of the gate's own.
#[must_use]
pub fn write_ok(capabilities: Capabilities, status: u16, info: &str) -> Vec<u8> {
    let mut out = vec![0x00, 0, 0];
    out.extend_from_slice(&status.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    if capabilities.has(Capabilities::SESSION_TRACK) {
        lenenc_bytes(&mut out, info.as_bytes());
    } else {
        out.extend_from_slice(info.as_bytes());
    }
    out
}

/// Writes an error of the gate's own. Servers send at most 512 bytes of text; more is cut at a letter's border.
#[must_use]
pub fn write_error(code: u16, sqlstate: &str, text: &str) -> Vec<u8> {
    let mut out = vec![0xff];
    out.extend_from_slice(&code.to_le_bytes());
    out.push(b'#');
    out.extend(sqlstate.bytes().chain(std::iter::repeat(b'0')).take(5));
    let end = (0..=text.len().min(511)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    out.extend_from_slice(&text.as_bytes()[..end]);
    out
}

/// Writes a result of one row for each of `rows`, in text, as messages that are still to be cut into packets.
#[must_use]
pub fn write_rows(capabilities: Capabilities, columns: &[&str], rows: &[Vec<&str>], status: u16) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut count = Vec::new();
    lenenc(&mut count, columns.len() as u64);
    out.push(count);
    out.extend(columns.iter().map(|name| super::row::text_column(name)));
    let no_eof = capabilities.has(Capabilities::DEPRECATE_EOF);
    let [low, high] = status.to_le_bytes();
    let eof = vec![0xfe, 0, 0, low, high];
    if !no_eof {
        out.push(eof.clone());
    }
    for row in rows {
        let values: Vec<_> = row.iter().map(|value| Some(value.as_bytes())).collect();
        out.push(super::row::text_row(&values));
    }
    out.push(if no_eof { vec![0xfe, 0, 0, low, high, 0, 0] } else { eof });
    out
}
