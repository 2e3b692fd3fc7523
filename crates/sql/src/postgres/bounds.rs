//! How much of a statement is looked at: a text of many small pieces takes a parser a thousand times its own size in memory.

use std::cell::Cell;

use crate::verdict::Refused;

/// The longest text that is looked at, in bytes; longer ones are refused.
pub const LONGEST: usize = 4 * 1024 * 1024;
/// The most words, values and signs in a text, as PostgreSQL's scanner counts them.
pub const TOKENS: usize = 50_000;
/// The most tables, joins, subqueries and `WITH` clauses in one statement: each name in it may be looked up in all of them.
pub const ITEMS: usize = 200;
/// How much may be looked at to find out what the names of one text mean, in columns that are compared with a name: some ten
/// milliseconds.
pub const WORK: usize = 5_000_000;
/// What it takes to hold one column against the rights of a role, in the same units.
pub(super) const HELD: usize = 50;
/// A text shorter than this cannot have so many tokens that reading it is felt by others, in bytes.
pub const SHORT: usize = 16 * 1024;

/// Refuses a text that would take too much to read.
pub(crate) fn check(sql: &str) -> Result<(), Refused> {
    if sql.len() > LONGEST {
        return Err(Refused::not_understood(format!("a statement of {} bytes is longer than the {LONGEST} that are looked at", sql.len())));
    }
    if sql.contains('\0') {
        return Err(Refused::not_understood("a statement holds a zero byte"));
    }
    if sql.len() <= TOKENS || at_most(sql.as_bytes()) <= TOKENS {
        return Ok(());
    }
    // Most of it may stand inside a constant: only the scanner knows.
    let tokens = tokens(sql).ok_or_else(|| Refused::not_understood("the statement cannot be read: a constant does not end"))?;
    if tokens.len() <= TOKENS {
        return Ok(());
    }
    Err(Refused {
        hint: "send it in several statements, copy many rows with `COPY … FROM STDIN`, or pass a list as one array".to_owned(),
        ..Refused::not_understood(format!(
            "a statement of {} words, values and signs is more than the {TOKENS} that are looked at under a restricted role",
            tokens.len()
        ))
    })
}

/// What PostgreSQL's scanner passes over; its vertical tab is none of Rust's blanks.
fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// The tokens of a text. The parser's own function does not bear a text that has none.
pub(crate) fn tokens(sql: &str) -> Option<Vec<pg_query::protobuf::ScanToken>> {
    // A comment is a token.
    if sql.bytes().all(is_blank) { Some(Vec::new()) } else { pg_query::scan_tokens(sql).ok() }
}

/// How many outputs a list may have, as in PostgreSQL itself (`MaxTupleAttributeNumber`).
const OUTPUTS: usize = 1_664;

/// Refuses a list of outputs that no table could hold.
pub(super) fn few_outputs(outputs: usize) -> Result<(), Refused> {
    if outputs <= OUTPUTS {
        return Ok(());
    }
    Err(Refused::not_understood(format!("a statement that brings back more than {OUTPUTS} columns is not looked at")))
}

/// How many tokens a text has at most: every sign, and every beginning of a word, whether inside a constant or not.
fn at_most(sql: &[u8]) -> usize {
    let mut in_word = false;
    let mut count = 0;
    for byte in sql {
        let is_word = byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii();
        count += usize::from(if is_word { !in_word } else { !is_blank(*byte) });
        in_word = is_word;
    }
    count
}

/// Refuses a statement in which too much is named to look names up in.
pub(super) fn one_item_more(items: &mut usize) -> Result<(), Refused> {
    *items += 1;
    if *items <= ITEMS {
        return Ok(());
    }
    Err(Refused {
        hint: "join fewer at once, or ask for a view".to_owned(),
        ..Refused::not_understood(format!("a statement with more than {ITEMS} tables, subqueries and `WITH` clauses is not looked at"))
    })
}

/// What may still be looked at in one text.
pub(super) struct Work(Cell<usize>);

impl Work {
    pub(super) fn new() -> Self {
        Self(Cell::new(WORK))
    }

    /// Refuses a statement in which too many names could mean too many things.
    pub(super) fn spend(&self, units: usize) -> Result<(), Refused> {
        let left = self.0.get().checked_sub(units);
        self.0.set(left.unwrap_or_default());
        left.map(|_| ()).ok_or_else(|| Refused {
            hint: "join fewer tables at once, or name fewer columns".to_owned(),
            ..Refused::not_understood("a statement in which so many names could mean so many columns is not looked at")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn many_pieces_are_refused_and_one_large_constant_is_not() {
        let row = "(1),".repeat(TOKENS / 4 - 10);
        assert!(check(&format!("values {row} (1)")).is_ok());
        assert!(check(&format!("values {row} {row} (1)")).is_err());
        let text = "it's, and so on; ".repeat(200_000).replace('\'', "''");
        assert!(check(&format!("insert into orders values ('{text}')")).is_ok());
        assert!(check(&format!("insert into orders values ('{text})")).is_err());
        assert!(check(&"x".repeat(LONGEST + 1)).is_err());
    }

    #[test]
    fn a_text_of_blanks_is_no_text() {
        assert_eq!(tokens("\x0b \t\n").map(|tokens| tokens.len()), Some(0));
        assert!(check(&"\x0b".repeat(TOKENS + 1)).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_has_more_tokens_than_the_estimate(sql in "[ a-c1.0$'\"é|<>=(),;:\\-/*xEU&\\\\\n]{0,60}") {
            if let Ok(scanned) = pg_query::scan(&sql) {
                prop_assert!(scanned.tokens.len() <= at_most(sql.as_bytes()), "{} > {}", scanned.tokens.len(), at_most(sql.as_bytes()));
            }
        }
    }
}
