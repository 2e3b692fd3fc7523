//! Named statements: a role that has only those may send just these, with values where they have `$1`, `$2` ….

use access::rights::DatabaseRights;
use pg_query::protobuf::{ScanToken, Token};

use super::Step;
use crate::verdict::Refused;

/// A token as it counts: its kind, and its text where the kind does not say it all.
type Word = (i32, String);

fn words(sql: &str) -> Option<Vec<Word>> {
    let scanned = super::bounds::tokens(sql)?;
    let text = |token: &ScanToken| sql.get(usize::try_from(token.start).ok()?..usize::try_from(token.end).ok()?).map(str::to_owned);
    let mut out: Vec<Word> = Vec::new();
    for token in &scanned {
        if matches!(token.token(), Token::SqlComment | Token::CComment) {
            continue;
        }
        let text = text(token)?;
        // Names and keywords without quotes mean the same in capitals.
        let text = if text.starts_with(['"', '\'']) { text } else { text.to_ascii_lowercase() };
        out.push((token.token, text));
    }
    // A `;` at the end says nothing.
    while out.last().is_some_and(|(_, text)| text == ";") {
        out.pop();
    }
    Some(out)
}

/// How many words of `given` stand for one parameter; 0 if none can.
fn value(given: &[Word]) -> usize {
    let is = |at: usize, kinds: &[Token]| given.get(at).is_some_and(|(kind, _)| kinds.iter().any(|k| *k as i32 == *kind));
    let number = [Token::Iconst, Token::Fconst];
    if is(0, &[Token::Param, Token::Sconst, Token::Iconst, Token::Fconst, Token::NullP, Token::TrueP, Token::FalseP]) {
        1
    } else if given.first().is_some_and(|(_, text)| text == "-") && is(1, &number) {
        2
    } else {
        0
    }
}

fn matches(template: &[Word], given: &[Word]) -> bool {
    let mut at = 0;
    for word in template {
        if word.0 == Token::Param as i32 {
            match value(&given[at.min(given.len())..]) {
                0 => return false,
                many => at += many,
            }
        } else if given.get(at) == Some(word) {
            at += 1;
        } else {
            return false;
        }
    }
    at == given.len()
}

/// Refuses what is none of the role's statements.
pub(super) fn require(rights: &DatabaseRights, sql: &str, start: i32, length: i32) -> Step {
    let start = usize::try_from(start).unwrap_or(0);
    let end = if length > 0 { start + usize::try_from(length).unwrap_or(0) } else { sql.len() };
    let given = sql.get(start..end).and_then(words).ok_or_else(|| Refused::not_understood("the statement cannot be read"))?;
    if rights.statements.values().any(|template| words(template).is_some_and(|template| matches(&template, &given))) {
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
