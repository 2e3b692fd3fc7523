//! Texts that the parser would take too long for, or too deep.

use sqlparser::tokenizer::Token;

use super::Step;
use crate::verdict::Refused;

/// How many brackets may stand open at once: the parser tries several readings at each, so that its time doubles with every one.
const DEEPEST: usize = 12;
/// How many words may stand in a row without a comma between: each may be one level of the tree, and a tree that is too deep for the
/// stack ends the whole gate.
const LONGEST_ROW: usize = 1_000;

/// Refuses a text that stands too deep in itself.
pub(super) fn not_too_deep(tokens: &[Token]) -> Step {
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
