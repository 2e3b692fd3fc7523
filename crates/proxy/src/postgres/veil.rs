//! What is kept from the client of a server's answers: values of masked columns, details of errors, rows past a limit.
//!
//! Which column of an answer is which, its `RowDescription` says: the server itself names table and attribute there. A column of a
//! table that was not there when the session began is masked too: nobody knows what it holds.

use std::collections::BTreeSet;

use wire::Malformed;
use wire::postgres::back::{self, Column};
use wire::postgres::front;

/// What stands in the place of a masked text. Any other type is NULL then.
const MASK: &[u8] = b"****";
/// The types whose values are any text: `name`, `text`, `bpchar`, `varchar`. The same bytes stand for it in text and binary.
const TEXTS: [u32; 4] = [19, 25, 1042, 1043];
/// Objects below this number came with the server (`FirstNormalObjectId`).
const FIRST_OWN: u32 = 16_384;

/// What the client does not get.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Withheld {
    /// The columns that are shown as they are, by table OID and attribute number, besides computed ones and the system's; `None`: all.
    pub shown: Option<BTreeSet<(u32, i16)>>,
    /// Whether errors and notices lose the fields in which a server quotes values.
    pub details: bool,
    /// How many rows one statement may bring back; `None`: any number.
    pub rows: Option<u64>,
}

/// How one column of an answer is handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Veil {
    /// As it is.
    Shown,
    /// As asterisks, whatever it is, NULL too.
    Text,
    /// As NULL.
    Null,
}

/// How the columns of an answer are handed on; `places` are masked besides.
pub(crate) fn veils(columns: &[Column<'_>], shown: &BTreeSet<(u32, i16)>, places: &BTreeSet<usize>) -> Vec<Veil> {
    let one = |(at, column): (usize, &Column<'_>)| {
        let open = column.table < FIRST_OWN || shown.contains(&(column.table, column.number));
        match (open && !places.contains(&at), TEXTS.contains(&column.type_oid)) {
            (true, _) => Veil::Shown,
            (false, true) => Veil::Text,
            (false, false) => Veil::Null,
        }
    };
    columns.iter().enumerate().map(one).collect()
}

/// The `DataRow` that is handed on in the place of one with this body.
pub(crate) fn masked_row(body: &[u8], veils: &[Veil]) -> Result<Vec<u8>, Malformed> {
    let values = back::data_row(body, veils.len())?;
    let mut out = Vec::with_capacity(body.len());
    out.extend_from_slice(body.get(..2).unwrap_or_default());
    for (value, veil) in values.into_iter().zip(veils) {
        let value = match veil {
            Veil::Shown => value,
            Veil::Text => Some(MASK),
            Veil::Null => None,
        };
        match value {
            Some(value) => {
                out.extend_from_slice(&(value.len() as u32).to_be_bytes());
                out.extend_from_slice(value);
            }
            None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }
    Ok(front::message(b'D', &out))
}

/// An error or notice without detail, context, and inner query, where a server quotes rows and values; and without these
/// fields besides.
pub(crate) fn without_details(kind: u8, body: &[u8], besides: &[u8]) -> Result<Vec<u8>, Malformed> {
    let malformed = || Malformed("an error's fields do not end");
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    loop {
        let (&code, after) = rest.split_first().ok_or_else(malformed)?;
        if code == 0 {
            out.push(0);
            return Ok(front::message(kind, &out));
        }
        let end = after.iter().position(|byte| *byte == 0).ok_or_else(malformed)?;
        let (text, after) = after.split_at(end + 1);
        if !matches!(code, b'D' | b'W' | b'q' | b'p') && !besides.contains(&code) {
            out.push(code);
            out.extend_from_slice(text);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(table: u32, number: i16, type_oid: u32) -> Column<'static> {
        Column { name: b"c", table, number, type_oid, binary: false }
    }

    // covers: PG-4 (postgres)
    #[test]
    fn only_columns_known_to_be_open_are_shown() {
        let shown = BTreeSet::from([(16_400, 1), (16_400, 2)]);
        let columns = [
            column(16_400, 1, 25),
            column(16_400, 3, 25),
            column(16_400, 3, 23),
            column(16_999, 1, 1043),
            column(0, 0, 20),
            column(1_259, 2, 19),
            column(16_400, 2, 25),
        ];
        let found = veils(&columns, &shown, &BTreeSet::from([6]));
        assert_eq!(found, [Veil::Shown, Veil::Text, Veil::Null, Veil::Text, Veil::Shown, Veil::Shown, Veil::Text]);
    }

    #[test]
    fn a_row_keeps_what_is_shown_and_nothing_of_the_rest() {
        let body = [&[0, 3][..], &[0, 0, 0, 2], b"ab", &[0, 0, 0, 6], b"secret", &[0xff; 4]].concat();
        let row = masked_row(&body, &[Veil::Shown, Veil::Text, Veil::Text]).unwrap();
        assert_eq!(row, [&b"D"[..], &[0, 0, 0, 28, 0, 3, 0, 0, 0, 2], b"ab", &[0, 0, 0, 4], b"****", &[0, 0, 0, 4], b"****"].concat());
        assert!(masked_row(&body, &[Veil::Shown]).is_err());
    }

    #[test]
    fn an_error_loses_what_quotes_values() {
        let said = without_details(b'E', b"SERROR\0C23505\0Mno\0DFailing row contains (secret)\0Wline 1: secret\0nkey\0\0", b"").unwrap();
        assert_eq!(&said[5..], b"SERROR\0C23505\0Mno\0nkey\0\0");
        let said = without_details(b'E', b"SERROR\0Mno\0Hdid you mean x\0P14\0\0", b"PH").unwrap();
        assert_eq!(&said[5..], b"SERROR\0Mno\0\0");
        assert!(without_details(b'E', b"SERROR", b"").is_err());
    }
}
