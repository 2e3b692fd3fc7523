//! What a client sends. All of it borrows from the message; nothing is copied.

use crate::{Malformed, Reader};

/// `Query`: one or more statements as text. Not necessarily UTF-8.
///
/// # Errors
/// If the message is malformed.
pub fn query(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(body);
    let text = reader.c_bytes()?;
    reader.end()?;
    Ok(text)
}

/// `Parse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    /// The prepared statement's name; empty for the unnamed one.
    pub name: &'a [u8],
    /// Its text.
    pub text: &'a [u8],
}

/// Reads a `Parse`; its parameter types are checked for form and left alone.
///
/// # Errors
/// If the message is malformed.
pub fn parse(body: &[u8]) -> Result<Parse<'_>, Malformed> {
    let mut reader = Reader::new(body);
    let (name, text) = (reader.c_bytes()?, reader.c_bytes()?);
    let types = usize::from(reader.i16()?.cast_unsigned());
    reader.take(types * 4)?;
    reader.end()?;
    Ok(Parse { name, text })
}

/// `Bind`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind<'a> {
    /// The portal's name; empty for the unnamed one.
    pub portal: &'a [u8],
    /// The prepared statement's name.
    pub statement: &'a [u8],
    /// Each value and whether it is binary; `None` is NULL.
    pub values: Vec<(Option<&'a [u8]>, bool)>,
    /// Whether each result column is asked for in binary: none, one for all, or one each.
    pub results: Vec<bool>,
}

/// Reads a `Bind`.
///
/// # Errors
/// If the message is malformed.
pub fn bind(body: &[u8]) -> Result<Bind<'_>, Malformed> {
    let mut reader = Reader::new(body);
    let (portal, statement) = (reader.c_bytes()?, reader.c_bytes()?);
    let formats = formats(&mut reader)?;
    let count = usize::from(reader.i16()?.cast_unsigned());
    if count * 4 > reader.rest().len() {
        return Err(Malformed("it has fewer values than it says"));
    }
    if formats.len() > 1 && formats.len() != count {
        return Err(Malformed("it has another number of formats than of values"));
    }
    let mut values = Vec::with_capacity(count);
    for n in 0..count {
        let binary = match formats.as_slice() {
            [] => false,
            [all] => *all,
            each => each.get(n).copied().unwrap_or(false),
        };
        values.push((reader.value()?, binary));
    }
    let results = self::formats(&mut reader)?;
    reader.end()?;
    Ok(Bind { portal, statement, values, results })
}

/// Format codes: 0 is text, 1 is binary.
pub(super) fn formats(reader: &mut Reader<'_>) -> Result<Vec<bool>, Malformed> {
    let count = reader.i16()?.cast_unsigned();
    let codes = reader.take(usize::from(count) * 2)?;
    codes
        .chunks_exact(2)
        .map(|code| match code {
            [0, 0] => Ok(false),
            [0, 1] => Ok(true),
            _ => Err(Malformed("a format is neither text nor binary")),
        })
        .collect()
}

/// `Execute`: the portal, and the most rows it may give; 0 is all.
///
/// # Errors
/// If the message is malformed.
pub fn execute(body: &[u8]) -> Result<(&[u8], u32), Malformed> {
    let mut reader = Reader::new(body);
    let (portal, most) = (reader.c_bytes()?, reader.u32()?);
    reader.end()?;
    Ok((portal, most))
}

/// What `Close` and `Describe` speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'a> {
    /// A prepared statement.
    Statement(&'a [u8]),
    /// A portal.
    Portal(&'a [u8]),
}

/// Reads a `Close` or `Describe`.
///
/// # Errors
/// If the message is malformed.
pub fn named(body: &[u8]) -> Result<Named<'_>, Malformed> {
    let mut reader = Reader::new(body);
    let which = reader.u8()?;
    let name = reader.c_bytes()?;
    reader.end()?;
    match which {
        b'S' => Ok(Named::Statement(name)),
        b'P' => Ok(Named::Portal(name)),
        _ => Err(Malformed("it is about neither a statement nor a portal")),
    }
}

/// `FunctionCall`: the function's OID and its arguments with whether they are binary.
///
/// # Errors
/// If the message is malformed.
pub fn function_call(body: &[u8]) -> Result<(u32, Vec<(Option<&[u8]>, bool)>), Malformed> {
    let mut reader = Reader::new(body);
    let oid = reader.u32()?;
    let formats = formats(&mut reader)?;
    let count = reader.count(4)?;
    let mut values = Vec::with_capacity(count);
    for n in 0..count {
        let binary = formats.get(n).or(formats.first()).copied().unwrap_or(false);
        values.push((reader.value()?, binary));
    }
    reader.i16()?;
    reader.end()?;
    Ok((oid, values))
}

/// A password, or any other answer to a question for one: text up to a zero.
///
/// # Errors
/// If the message is malformed.
pub fn password(body: &[u8]) -> Result<&str, Malformed> {
    let mut reader = Reader::new(body);
    let text = reader.c_str()?;
    reader.end()?;
    Ok(text)
}

/// A message of a client: its letter, its length, its body.
#[must_use]
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 5);
    out.push(kind);
    out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// A `Query` of the gate's own.
#[must_use]
pub fn query_message(text: &str) -> Vec<u8> {
    let mut body: Vec<u8> = text.bytes().filter(|b| *b != 0).collect();
    body.push(0);
    message(b'Q', &body)
}
