//! Asking where one connects, as far as it is the same in every database's protocol: the two things a lobby understands, and what is
//! shown of a request.

use access::request::Asked;

use crate::gatekeeper::{News, Question};
use crate::ssh::text::inert;

/// What somebody in the lobby typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Request { reason: String, asked: Option<Asked> },
    Status,
    Wrong(String),
}

/// Who has been asked, as shown after a sentence; nothing if nobody is named.
pub(crate) fn asked(news: &News) -> String {
    let who: Vec<String> = news.asked.iter().map(|a| inert(a, 80)).collect();
    if who.is_empty() { String::new() } else { format!(" Asked: {}.", who.join(", ")) }
}

/// The times that may be asked for, as shown after a sentence.
pub(crate) fn times(question: &Question) -> String {
    if question.times.is_empty() { String::new() } else { format!(" ({})", inert(&question.times, 80)) }
}

/// Reads `request '<reason>' [for <time>]` or `status`, with or without a semicolon.
pub(crate) fn read(text: &str) -> Line {
    let text = text.trim().trim_end_matches(';').trim_end();
    let wrong = || Line::Wrong("you have no grant for this yet, so only `request` and `status` are understood".to_owned());
    if text.eq_ignore_ascii_case("status") {
        return Line::Status;
    }
    let Some((word, rest)) = text.split_once(|c: char| c.is_whitespace() || c == '\'') else { return wrong() };
    if !word.eq_ignore_ascii_case("request") {
        return wrong();
    }
    let rest = text.get(word.len()..).unwrap_or(rest).trim_start();
    let Some(quoted) = rest.strip_prefix('\'') else {
        return Line::Wrong("the reason stands in single quotes".to_owned());
    };
    let (mut reason, mut chars, mut closed) = (String::new(), quoted.char_indices().peekable(), None);
    while let Some((at, c)) = chars.next() {
        match (c, chars.peek()) {
            ('\'', Some((_, '\''))) => {
                chars.next();
                reason.push('\'');
            }
            ('\'', _) => {
                closed = Some(at + 1);
                break;
            }
            (c, _) => reason.push(c),
        }
    }
    let Some(after) = closed.and_then(|at| quoted.get(at..)) else { return Line::Wrong("the reason has no closing quote".to_owned()) };
    if reason.trim().is_empty() {
        return Line::Wrong("the reason is empty".to_owned());
    }
    let mut words = after.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (None, ..) => Line::Request { reason, asked: None },
        (Some(word), Some(time), None) if word.eq_ignore_ascii_case("for") => match time.trim_matches('\'').parse::<Asked>() {
            Ok(asked) => Line::Request { reason, asked: Some(asked) },
            Err(error) => Line::Wrong(error.to_string()),
        },
        _ => Line::Wrong("after the reason there may only stand a time, as in `for 1h`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lobby_understands_two_things() {
        assert_eq!(read(" STATUS ;"), Line::Status);
        assert_eq!(read("request 'disk full';"), Line::Request { reason: "disk full".into(), asked: None });
        assert_eq!(
            read("Request 'Ana''s order' FOR 1h"),
            Line::Request { reason: "Ana's order".into(), asked: Some("1h".parse().unwrap()) }
        );
        for wrong in [
            "select 1",
            "request",
            "request disk",
            "request 'disk",
            "request ''",
            "request 'x' for",
            "request 'x' for 1h now",
            "request 'x' for soon",
            "",
        ] {
            assert!(matches!(read(wrong), Line::Wrong(_)), "{wrong}");
        }
    }
}
