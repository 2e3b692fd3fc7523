//! Columns and values.

use super::handshake::{lenenc, lenenc_bytes};
use crate::{Malformed, Reader};

/// A column's definition (`ColumnDefinition41`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// The database of the table it comes from as it is; empty if it is computed.
    pub schema: &'a [u8],
    /// The table's own name; empty if it is computed.
    pub table: &'a [u8],
    /// Its own name in that table; empty if it is computed.
    pub column: &'a [u8],
    /// The name it has in the answer.
    pub name: &'a [u8],
    /// Its character set, by number; 63 stands for bytes that are no text.
    pub charset: u16,
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u16,
}

impl<'a> Column<'a> {
    /// Reads one.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(message);
        reader.lenenc_bytes()?;
        let schema = reader.lenenc_bytes()?;
        reader.lenenc_bytes()?;
        let table = reader.lenenc_bytes()?;
        let name = reader.lenenc_bytes()?;
        let column = reader.lenenc_bytes()?;
        if reader.lenenc()? != 12 {
            return Err(Malformed("a column's fixed fields have another length"));
        }
        let charset = reader.u16_le()?;
        reader.take(4)?;
        let kind = reader.u8()?;
        let flags = reader.u16_le()?;
        Ok(Self { schema, table, column, name, charset, kind, flags })
    }
}

/// Writes the definition of a column of text that is the gate's own.
#[must_use]
pub fn text_column(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for part in ["def", "", "", "", name, ""] {
        lenenc_bytes(&mut out, part.as_bytes());
    }
    lenenc(&mut out, 12);
    out.extend_from_slice(&UTF8MB4.to_le_bytes());
    out.extend_from_slice(&1024u32.to_le_bytes());
    out.extend_from_slice(&[VAR_STRING, 0, 0, 0, 0, 0]);
    out
}

/// The number of `utf8mb4_general_ci`.
pub const UTF8MB4: u16 = 45;
const VAR_STRING: u8 = 0xfd;

/// Writes a row of text values.
#[must_use]
pub fn text_row(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        match value {
            Some(value) => lenenc_bytes(&mut out, value),
            None => out.push(0xfb),
        }
    }
    out
}

/// The values of a row in text; `None` is NULL.
///
/// # Errors
/// If it is malformed, or has another number of values than `columns`.
pub fn read_text_row(message: &[u8], columns: usize) -> Result<Vec<Option<&[u8]>>, Malformed> {
    let mut reader = Reader::new(message);
    let mut values = Vec::with_capacity(columns.min(message.len()));
    for _ in 0..columns {
        if reader.rest().first() == Some(&0xfb) {
            reader.take(1)?;
            values.push(None);
        } else {
            values.push(Some(reader.lenenc_bytes()?));
        }
    }
    reader.end()?;
    Ok(values)
}

/// What stands in the place of a value that is kept back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instead {
    /// The value itself.
    Nothing,
    /// NULL.
    Null,
    /// This text, whatever was there, NULL too. For types whose values are bytes with their length before them.
    Text(&'static [u8]),
}

/// The same row in text with something in the place of some of its values.
///
/// # Errors
/// If it is malformed.
pub fn veil_text_row(message: &[u8], instead: &[Instead]) -> Result<Vec<u8>, Malformed> {
    let values = read_text_row(message, instead.len())?;
    let values: Vec<Option<&[u8]>> = values
        .into_iter()
        .zip(instead)
        .map(|(value, instead)| match instead {
            Instead::Nothing => value,
            Instead::Null => None,
            Instead::Text(text) => Some(*text),
        })
        .collect();
    Ok(text_row(&values))
}

/// The same row in binary with something in the place of some of its values. `columns` are the types of all.
///
/// # Errors
/// If it is malformed.
pub fn veil_binary_row(message: &[u8], columns: &[u8], instead: impl Fn(usize) -> Instead) -> Result<Vec<u8>, Malformed> {
    let mut reader = Reader::new(message);
    if reader.u8()? != 0 {
        return Err(Malformed("a binary row begins with zero"));
    }
    // The bitmap of a row, unlike that of a command, leaves its first two bits free.
    let mut nulls = reader.take((columns.len() + 2).div_ceil(8))?.to_vec();
    let mut kept = Vec::with_capacity(message.len());
    for (at, kind) in columns.iter().enumerate() {
        let bit = at + 2;
        let before = reader.rest();
        if nulls[bit / 8] & (1 << (bit % 8)) == 0 {
            binary_value(&mut reader, *kind, false)?;
        }
        match instead(at) {
            Instead::Nothing => kept.extend_from_slice(&before[..before.len() - reader.rest().len()]),
            Instead::Null => nulls[bit / 8] |= 1 << (bit % 8),
            Instead::Text(text) => {
                nulls[bit / 8] &= !(1 << (bit % 8));
                lenenc_bytes(&mut kept, text);
            }
        }
    }
    reader.end()?;
    let mut out = vec![0];
    out.extend_from_slice(&nulls);
    out.extend_from_slice(&kept);
    Ok(out)
}

/// A value as the binary protocol carries it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// Sent before, in parts.
    Long,
    /// A number with a sign.
    Signed(i64),
    /// A number without.
    Unsigned(u64),
    /// A floating-point number of 32 bits, as they shorten differently.
    Float(f32),
    /// One of 64.
    Double(f64),
    /// Text, bytes, decimals, JSON: as they are.
    Bytes(&'a [u8]),
    /// `DATE`, `DATETIME`, `TIMESTAMP`.
    Moment {
        /// Year, month, day.
        date: (u16, u8, u8),
        /// Hour, minute, second; `None` if left out.
        time: Option<(u8, u8, u8)>,
        /// Microseconds.
        micros: u32,
    },
    /// `TIME`, which is a length of time.
    Length {
        /// Whether negative.
        negative: bool,
        /// Days, hours, minutes, seconds.
        parts: (u32, u8, u8, u8),
        /// Microseconds.
        micros: u32,
    },
}

/// Reads a value of this type ("Binary Protocol Value").
///
/// # Errors
/// If it is malformed or the type is unknown.
pub fn binary_value<'a>(reader: &mut Reader<'a>, kind: u8, unsigned: bool) -> Result<Value<'a>, Malformed> {
    Ok(match kind {
        // TINY, SHORT and YEAR, LONG and INT24, LONGLONG.
        0x01 if unsigned => Value::Unsigned(reader.u8()?.into()),
        0x01 => Value::Signed(reader.u8()?.cast_signed().into()),
        0x02 | 0x0d if unsigned => Value::Unsigned(reader.u16_le()?.into()),
        0x02 | 0x0d => Value::Signed(reader.u16_le()?.cast_signed().into()),
        0x03 | 0x09 if unsigned => Value::Unsigned(reader.u32_le()?.into()),
        0x03 | 0x09 => Value::Signed(reader.u32_le()?.cast_signed().into()),
        0x08 if unsigned => Value::Unsigned(reader.u64_le()?),
        0x08 => Value::Signed(reader.u64_le()?.cast_signed()),
        0x04 => Value::Float(f32::from_bits(reader.u32_le()?)),
        0x05 => Value::Double(f64::from_bits(reader.u64_le()?)),
        0x06 => Value::Null,
        // DATE, DATETIME, TIMESTAMP and their second forms.
        0x07 | 0x0a | 0x0c | 0x0e | 0x11 | 0x12 => moment(reader)?,
        // TIME.
        0x0b | 0x13 => length(reader)?,
        // DECIMAL, VARCHAR, BIT, VECTOR, JSON, NEWDECIMAL, ENUM, SET, the BLOBs, VAR_STRING, STRING, GEOMETRY.
        0x00 | 0x0f | 0x10 | 0xf2 | 0xf5..=0xff => Value::Bytes(reader.lenenc_bytes()?),
        _ => return Err(Malformed("a value's type is unknown")),
    })
}

fn moment<'a>(reader: &mut Reader<'a>) -> Result<Value<'a>, Malformed> {
    let bytes = reader.u8()?;
    if !matches!(bytes, 0 | 4 | 7 | 11) {
        return Err(Malformed("a date has a length that no date has"));
    }
    let date = if bytes >= 4 { (reader.u16_le()?, reader.u8()?, reader.u8()?) } else { (0, 0, 0) };
    let time = if bytes >= 7 { Some((reader.u8()?, reader.u8()?, reader.u8()?)) } else { None };
    let micros = if bytes == 11 { reader.u32_le()? } else { 0 };
    Ok(Value::Moment { date, time, micros })
}

fn length<'a>(reader: &mut Reader<'a>) -> Result<Value<'a>, Malformed> {
    let bytes = reader.u8()?;
    if !matches!(bytes, 0 | 8 | 12) {
        return Err(Malformed("a time has a length that no time has"));
    }
    let (negative, parts) =
        if bytes >= 8 { (reader.u8()? == 1, (reader.u32_le()?, reader.u8()?, reader.u8()?, reader.u8()?)) } else { (false, (0, 0, 0, 0)) };
    let micros = if bytes == 12 { reader.u32_le()? } else { 0 };
    Ok(Value::Length { negative, parts, micros })
}

impl std::fmt::Display for Value<'_> {
    /// As SQL would show it; bytes that are not UTF-8 in hexadecimal, as `0x00ff`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Long => f.write_str("(sent in parts)"),
            Self::Signed(number) => number.fmt(f),
            Self::Unsigned(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Double(number) => number.fmt(f),
            Self::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => f.write_str(text),
                Err(_) => {
                    f.write_str("0x")?;
                    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
                }
            },
            Self::Moment { date: (year, month, day), time, micros } => {
                write!(f, "{year:04}-{month:02}-{day:02}")?;
                if let Some((hour, minute, second)) = time {
                    write!(f, " {hour:02}:{minute:02}:{second:02}")?;
                }
                if *micros > 0 { write!(f, ".{micros:06}") } else { Ok(()) }
            }
            Self::Length { negative, parts: (days, hours, minutes, seconds), micros } => {
                let sign = if *negative { "-" } else { "" };
                write!(f, "{sign}{:02}:{minutes:02}:{seconds:02}", u64::from(*days) * 24 + u64::from(*hours))?;
                if *micros > 0 { write!(f, ".{micros:06}") } else { Ok(()) }
            }
        }
    }
}
