//! What a server sends: read where the gate has to know, written where the gate itself speaks.

use super::front::formats;
use super::startup::CancelKey;
use crate::{Malformed, Reader};

/// `Authentication…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// Enough.
    Ok,
    /// The password, as it is.
    Cleartext,
    /// The password, hashed with this salt.
    Md5([u8; 4]),
    /// One of these SASL mechanisms.
    Sasl(Vec<&'a str>),
    /// The next SASL message.
    SaslContinue(&'a [u8]),
    /// The last.
    SaslFinal(&'a [u8]),
    /// Something that the gate does not speak: GSSAPI, SSPI and the like.
    Other(u32),
}

/// Reads an `Authentication…`.
///
/// # Errors
/// If the message is malformed.
pub fn authentication(body: &[u8]) -> Result<Authentication<'_>, Malformed> {
    let mut reader = Reader::new(body);
    Ok(match reader.u32()? {
        0 => Authentication::Ok,
        3 => Authentication::Cleartext,
        5 => {
            let salt = reader.take(4)?;
            Authentication::Md5(salt.try_into().map_err(|_| Malformed("a salt has four bytes"))?)
        }
        10 => {
            let mut mechanisms = Vec::new();
            loop {
                match reader.c_str()? {
                    "" => break,
                    mechanism => mechanisms.push(mechanism),
                }
            }
            Authentication::Sasl(mechanisms)
        }
        11 => Authentication::SaslContinue(reader.rest()),
        12 => Authentication::SaslFinal(reader.rest()),
        other => Authentication::Other(other),
    })
}

/// `BackendKeyData`.
///
/// # Errors
/// If the message is malformed.
pub fn key_data(body: &[u8]) -> Result<CancelKey, Malformed> {
    let mut reader = Reader::new(body);
    let pid = reader.u32()?;
    CancelKey::new(pid, reader.rest())
}

/// `ParameterStatus`: name and value.
///
/// # Errors
/// If the message is malformed.
pub fn parameter(body: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut reader = Reader::new(body);
    let both = (reader.c_bytes()?, reader.c_bytes()?);
    reader.end()?;
    Ok(both)
}

/// `CommandComplete`: its tag, as in `SELECT 5`.
///
/// # Errors
/// If the message is malformed.
pub fn command_complete(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(body);
    let tag = reader.c_bytes()?;
    reader.end()?;
    Ok(tag)
}

/// The rows that a command's tag speaks of: its last word, if that is a number.
#[must_use]
pub fn rows_of(tag: &[u8]) -> Option<u64> {
    let last = tag.rsplit(|b| *b == b' ').next()?;
    std::str::from_utf8(last).ok()?.parse().ok()
}

/// Whether the server is in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    /// In none.
    #[default]
    Idle,
    /// In one.
    Transaction,
    /// In one that has failed.
    Failed,
}

/// `ReadyForQuery`.
///
/// # Errors
/// If the message is malformed.
pub fn ready(body: &[u8]) -> Result<Status, Malformed> {
    match body {
        [b'I'] => Ok(Status::Idle),
        [b'T'] => Ok(Status::Transaction),
        [b'E'] => Ok(Status::Failed),
        _ => Err(Malformed("the transaction's state is unknown")),
    }
}

/// A field of an error or notice that is cared about.
///
/// # Errors
/// If the message is malformed.
pub fn error_field(body: &[u8], wanted: u8) -> Result<Option<&[u8]>, Malformed> {
    let mut reader = Reader::new(body);
    let mut found = None;
    loop {
        match reader.u8()? {
            0 => {
                reader.end()?;
                return Ok(found);
            }
            code => {
                let text = reader.c_bytes()?;
                if code == wanted && found.is_none() {
                    found = Some(text);
                }
            }
        }
    }
}

/// One column of a `RowDescription`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// The table it comes from as it is; 0 if it is computed.
    pub table: u32,
    /// Its number in that table; 0 if it is computed.
    pub number: i16,
    /// Its type.
    pub type_oid: u32,
    /// Whether it comes in binary.
    pub binary: bool,
}

/// `RowDescription`.
///
/// # Errors
/// If the message is malformed.
pub fn row_description(body: &[u8]) -> Result<Vec<Column<'_>>, Malformed> {
    let mut reader = Reader::new(body);
    let count = reader.count(19)?;
    let mut columns = Vec::with_capacity(count);
    for _ in 0..count {
        let name = reader.c_bytes()?;
        let (table, number, type_oid) = (reader.u32()?, reader.i16()?, reader.u32()?);
        reader.take(6)?;
        columns.push(Column { name, table, number, type_oid, binary: reader.i16()? == 1 });
    }
    reader.end()?;
    Ok(columns)
}

/// `DataRow`: each value; `None` is NULL.
///
/// # Errors
/// If the message is malformed, or has another number of values than `columns`.
pub fn data_row(body: &[u8], columns: usize) -> Result<Vec<Option<&[u8]>>, Malformed> {
    let mut reader = Reader::new(body);
    let count = reader.count(4)?;
    if count != columns {
        return Err(Malformed("a row has another number of values than it was announced with"));
    }
    let values = (0..count).map(|_| reader.value()).collect::<Result<_, _>>()?;
    reader.end()?;
    Ok(values)
}

/// `CopyInResponse`, `CopyOutResponse`, `CopyBothResponse`: whether it is binary, and each column.
///
/// # Errors
/// If the message is malformed.
pub fn copy_response(body: &[u8]) -> Result<(bool, Vec<bool>), Malformed> {
    let mut reader = Reader::new(body);
    let binary = reader.u8()? == 1;
    let columns = formats(&mut reader)?;
    reader.end()?;
    Ok((binary, columns))
}

/// Writes messages of a server, one after the other.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

/// How grave a message of the gate's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The statement fails.
    Error,
    /// The connection ends.
    Fatal,
    /// To be shown.
    Notice,
    /// To be shown, and heeded.
    Warning,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
        }
    }
}

impl Writer {
    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Whether nothing was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn message(&mut self, kind: u8, body: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        self.0.push(kind);
        let at = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        body(&mut self.0);
        let length = (self.0.len() - at) as u32;
        self.0[at..at + 4].copy_from_slice(&length.to_be_bytes());
        self
    }

    /// `AuthenticationOk`.
    pub fn authentication_ok(&mut self) -> &mut Self {
        self.message(b'R', |out| out.extend_from_slice(&[0; 4]))
    }

    /// `AuthenticationCleartextPassword`.
    pub fn ask_password(&mut self) -> &mut Self {
        self.message(b'R', |out| out.extend_from_slice(&3u32.to_be_bytes()))
    }

    /// `NegotiateProtocolVersion`.
    pub fn negotiate(&mut self, version: u32, unknown: &[&str]) -> &mut Self {
        self.message(b'v', |out| {
            out.extend_from_slice(&version.to_be_bytes());
            out.extend_from_slice(&(unknown.len() as u32).to_be_bytes());
            for name in unknown {
                text(out, name);
            }
        })
    }

    /// `ParameterStatus`.
    pub fn parameter(&mut self, name: &[u8], value: &[u8]) -> &mut Self {
        self.message(b'S', |out| {
            for bytes in [name, value] {
                out.extend(bytes.iter().filter(|b| **b != 0));
                out.push(0);
            }
        })
    }

    /// `BackendKeyData`.
    pub fn key_data(&mut self, key: &CancelKey) -> &mut Self {
        self.message(b'K', |out| {
            out.extend_from_slice(&key.pid.to_be_bytes());
            out.extend_from_slice(&key.secret);
        })
    }

    /// `ReadyForQuery`, in no transaction.
    pub fn ready(&mut self) -> &mut Self {
        self.ready_in(Status::Idle)
    }

    /// `ReadyForQuery`, in a transaction that stands like this.
    pub fn ready_in(&mut self, status: Status) -> &mut Self {
        let letter = match status {
            Status::Idle => b'I',
            Status::Transaction => b'T',
            Status::Failed => b'E',
        };
        self.message(b'Z', |out| out.push(letter))
    }

    /// `CommandComplete`.
    pub fn command_complete(&mut self, tag: &str) -> &mut Self {
        self.message(b'C', |out| text(out, tag))
    }

    /// `EmptyQueryResponse`.
    pub fn empty_query(&mut self) -> &mut Self {
        self.message(b'I', |_| {})
    }

    /// `ErrorResponse` or `NoticeResponse`.
    pub fn say(&mut self, severity: Severity, sqlstate: &str, message: &str, hint: Option<&str>) -> &mut Self {
        let kind = if matches!(severity, Severity::Error | Severity::Fatal) { b'E' } else { b'N' };
        self.message(kind, |out| {
            let mut field = |code: u8, value: &str| {
                out.push(code);
                text(out, value);
            };
            field(b'S', severity.word());
            field(b'V', severity.word());
            field(b'C', sqlstate);
            field(b'M', message);
            if let Some(hint) = hint {
                field(b'H', hint);
            }
            out.push(0);
        })
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().filter(|b| *b != 0));
    out.push(0);
}
