//! What a client wants: the first message of each exchange.

use super::row::{self, Value};
use crate::{Malformed, Reader};

/// A command, as far as the gate has to know it.
#[derive(Debug, Clone, PartialEq)]
pub enum Command<'a> {
    /// `COM_QUIT`.
    Quit,
    /// `COM_INIT_DB`: this database from now on.
    InitDb(&'a [u8]),
    /// `COM_QUERY`: one statement, or several where both sides agreed on that.
    Query(&'a [u8]),
    /// `COM_FIELD_LIST`: the columns of a table.
    FieldList {
        /// Which.
        table: &'a [u8],
    },
    /// `COM_STATISTICS`.
    Statistics,
    /// `COM_PROCESS_KILL`: ends the connection of this number.
    Kill(u32),
    /// `COM_PING`.
    Ping,
    /// `COM_CHANGE_USER`.
    ChangeUser,
    /// `COM_RESET_CONNECTION`.
    Reset,
    /// `COM_SET_OPTION`: several statements in one query, on or off.
    SetOption {
        /// Whether on.
        multi: bool,
    },
    /// `COM_STMT_PREPARE`.
    Prepare(&'a [u8]),
    /// `COM_STMT_EXECUTE`; its values are read by [`binds`].
    Execute {
        /// Which statement; all ones stands for the one prepared last (MariaDB).
        statement: u32,
        /// Whether rows wait for [`Command::Fetch`].
        cursor: bool,
    },
    /// `COM_STMT_SEND_LONG_DATA`: part of a value. No answer follows.
    LongData {
        /// Which statement.
        statement: u32,
        /// Which of its values, from 0.
        parameter: u16,
        /// The part.
        data: &'a [u8],
    },
    /// `COM_STMT_FETCH`.
    Fetch {
        /// Which statement.
        statement: u32,
    },
    /// `COM_STMT_RESET`.
    ResetStatement {
        /// Which.
        statement: u32,
    },
    /// `COM_STMT_CLOSE`. No answer follows.
    CloseStatement {
        /// Which.
        statement: u32,
    },
    /// All else: replication, shutdown, debugging, bulk execution and what is still to be invented. Not for passing on.
    Other(u8),
}

impl<'a> Command<'a> {
    /// Reads one.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(message);
        let command = match reader.u8()? {
            0x01 => Self::Quit,
            0x02 => Self::InitDb(reader.rest()),
            0x03 => Self::Query(reader.rest()),
            0x04 => Self::FieldList { table: reader.c_bytes()? },
            0x09 => Self::Statistics,
            0x0c => Self::Kill(reader.u32_le()?),
            0x0e => Self::Ping,
            0x11 => Self::ChangeUser,
            0x16 => Self::Prepare(reader.rest()),
            0x17 => {
                let statement = reader.u32_le()?;
                Self::Execute { statement, cursor: reader.u8()? & 0x07 != 0 }
            }
            0x18 => Self::LongData { statement: reader.u32_le()?, parameter: reader.u16_le()?, data: reader.rest() },
            0x19 => Self::CloseStatement { statement: reader.u32_le()? },
            0x1a => Self::ResetStatement { statement: reader.u32_le()? },
            0x1b => match reader.u16_le()? {
                0 => Self::SetOption { multi: true },
                1 => Self::SetOption { multi: false },
                _ => return Err(Malformed("an option is unknown")),
            },
            0x1c => Self::Fetch { statement: reader.u32_le()? },
            0x1f => Self::Reset,
            other => Self::Other(other),
        };
        Ok(command)
    }
}

/// The types that a client announced for a statement's values, each with whether it is unsigned: sent with the first execution only.
pub type Types = Vec<(u8, bool)>;

/// The values of a `COM_STMT_EXECUTE` of a statement with `count` of them, where `long` says which were sent before as long data. `known`
/// holds the types of the last execution and is replaced if this one announces new ones.
///
/// # Errors
/// If it is malformed, or has values and no types were ever announced.
pub fn binds<'a>(message: &'a [u8], count: usize, long: impl Fn(usize) -> bool, known: &mut Types) -> Result<Vec<Value<'a>>, Malformed> {
    let mut reader = Reader::new(message);
    reader.take(10)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let nulls = reader.take(count.div_ceil(8))?;
    if reader.u8()? == 1 {
        let mut types = Types::with_capacity(count.min(message.len()));
        for _ in 0..count {
            types.push((reader.u8()?, reader.u8()? & 0x80 != 0));
        }
        *known = types;
    }
    if known.len() != count {
        return Err(Malformed("the values have no types"));
    }
    let mut values = Vec::with_capacity(count);
    for (at, (kind, unsigned)) in known.iter().enumerate() {
        values.push(if nulls[at / 8] & (1 << (at % 8)) != 0 {
            Value::Null
        } else if long(at) {
            Value::Long
        } else {
            row::binary_value(&mut reader, *kind, *unsigned)?
        });
    }
    // Some clients send something for a NULL too, behind all values; servers do not look at it.
    Ok(values)
}
