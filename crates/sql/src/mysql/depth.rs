//! Texts that the parser would take too long for, or too deep, or too much room.

use sqlparser::tokenizer::Token;

use super::Step;
use crate::verdict::Refused;

/// How many brackets may stand open at once: the parser tries several readings at each, so that its time doubles with every one.
const DEEPEST: usize = 12;
/// How many words may stand in a row without a comma between: each may be one level of the tree, and a tree that is too deep for the
/// stack ends the whole gate.
const LONGEST_ROW: usize = 1_000;

/// Refuses a text that stands too deep in itself.
pub(super) fn not_too_deep<'t>(tokens: impl Iterator<Item = &'t Token>) -> Step {
    let mut rows = vec![0_usize];
    for token in tokens {
        match token {
            Token::Whitespace(_) => continue,
            Token::LParen | Token::LBracket | Token::LBrace => rows.push(0),
            Token::RParen | Token::RBracket | Token::RBrace if rows.len() > 1 => {
                rows.pop();
            }
            Token::Comma | Token::SemiColon => {
                rows.pop();
                rows.push(0);
            }
            _ => {}
        }
        if let Some(row) = rows.last_mut() {
            *row += 1;
        }
        if rows.len() > DEEPEST {
            return Err(Refused::not_understood(format!("more than {DEEPEST} brackets inside each other")));
        }
        if rows.iter().sum::<usize>() > LONGEST_ROW {
            return Err(Refused::not_understood(format!("more than {LONGEST_ROW} words without a comma")));
        }
    }
    Ok(())
}

/// How many tokens a text seems to have, before any is made: what is in quotes is one, and so is a comment. It may be wrong about a text
/// that is written to deceive it, and whoever makes tokens of that counts them again.
pub(super) fn pieces(sql: &[u8]) -> usize {
    let (mut count, mut at) = (0, 0);
    let end_of = |from: usize, end: &[u8]| {
        let rest = sql.get(from..).unwrap_or_default();
        rest.windows(end.len()).position(|window| window == end).map_or(sql.len(), |found| from + found + end.len())
    };
    while let Some(byte) = sql.get(at) {
        count += 1;
        let next = sql.get(at + 1);
        at = match byte {
            b'\'' | b'"' | b'`' => end_of_quotes(sql, at + 1, *byte),
            b'#' => end_of(at, b"\n"),
            b'-' if next == Some(&b'-') => end_of(at, b"\n"),
            b'/' if next == Some(&b'*') => end_of(at + 2, b"*/"),
            byte if is_word(*byte) => {
                sql.get(at..).unwrap_or_default().iter().position(|b| !is_word(*b)).map_or(sql.len(), |found| at + found)
            }
            _ => at + 1,
        };
    }
    count
}

fn end_of_quotes(sql: &[u8], mut at: usize, quote: u8) -> usize {
    while let Some(byte) = sql.get(at) {
        at += match byte {
            b'\\' if quote != b'`' => 2,
            byte if *byte == quote => return at + 1,
            _ => 1,
        };
    }
    sql.len()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'@' | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlparser::dialect::MySqlDialect;
    use sqlparser::tokenizer::Tokenizer;

    #[test]
    fn pieces_are_counted_as_a_reader_counts_them() {
        let text = "insert into `a b` (x, y) values (1, 'it''s, (so) \\' far'), (-2.5, \"(,)\"); -- a, b, c\nselect /* d, e */ @v # f, g";
        let counted = Tokenizer::new(&MySqlDialect {}, text).tokenize().unwrap().len();
        // Each quote in quotes and each point in a number is one more.
        assert!((counted..=counted + 3).contains(&pieces(text.as_bytes())), "{} {counted}", pieces(text.as_bytes()));
        assert_eq!((pieces(b"'"), pieces(b"/*"), pieces(b"'a\\"), pieces(b"")), (1, 1, 1, 0));
        let rows = "(1,'a, b, c'),".repeat(1_000);
        assert_eq!(pieces(rows.as_bytes()), 6_000);
    }
}
