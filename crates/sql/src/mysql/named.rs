//! Named statements: a role that has only those may send just these, with values where they have `$1`, `$2` … or `?`.

use access::rights::DatabaseRights;
use sqlparser::dialect::MySqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer};

use super::Step;
use crate::verdict::Refused;

/// Tokens as they count: without blanks and comments, bare words in small letters, without a `;` at the end.
fn words<'t>(tokens: impl Iterator<Item = &'t Token>) -> Vec<Token> {
    let mut out: Vec<Token> = tokens
        .filter(|token| !matches!(token, Token::Whitespace(_)))
        .map(|token| match token {
            Token::Word(word) if word.quote_style.is_none() => Token::make_word(&word.value.to_ascii_lowercase(), None),
            other => other.clone(),
        })
        .collect();
    while matches!(out.last(), Some(Token::SemiColon)) {
        out.pop();
    }
    out
}

/// How many words of `given` stand for one value; 0 if none can.
fn value(given: &[Token]) -> usize {
    match given {
        [Token::Minus, Token::Number(..), ..] => 2,
        [Token::Placeholder(_) | Token::SingleQuotedString(_) | Token::DoubleQuotedString(_) | Token::Number(..), ..] => 1,
        [Token::Word(word), ..] if word.quote_style.is_none() && matches!(word.value.as_str(), "null" | "true" | "false") => 1,
        _ => 0,
    }
}

fn matches(template: &[Token], given: &[Token]) -> bool {
    let mut rest = given;
    for word in template {
        // `$1` is a name to this grammar.
        let takes_value = match word {
            Token::Placeholder(_) => true,
            Token::Word(word) => word.value.strip_prefix('$').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())),
            _ => false,
        };
        let took = if takes_value { value(rest) } else { usize::from(rest.first() == Some(word)) };
        if took == 0 {
            return false;
        }
        rest = rest.get(took..).unwrap_or_default();
    }
    rest.is_empty()
}

/// Refuses what is none of the role's statements; each statement of a text is held against them.
pub(super) fn require<'t>(rights: &DatabaseRights, tokens: impl Iterator<Item = &'t Token>) -> Step {
    let templates: Vec<Vec<Token>> = rights
        .statements
        .values()
        .filter_map(|text| Tokenizer::new(&MySqlDialect {}, text).tokenize().ok())
        .map(|tokens| words(tokens.iter()))
        .collect();
    let given = words(tokens);
    let mut statements = given.split(|token| *token == Token::SemiColon).filter(|statement| !statement.is_empty());
    if statements.all(|statement| templates.iter().any(|template| matches(template, statement))) {
        return Ok(());
    }
    let names: Vec<String> = rights.statements.keys().map(|name| format!("`{name}`")).collect();
    let hint = if names.is_empty() {
        "ask for a role that may".to_owned()
    } else {
        format!("it has {}, each to be sent as its text stands, with values in the places of `$1`, `$2` …", names.join(", "))
    };
    Err(Refused::not_in_role("this role may run its named statements and no other", hint))
}
