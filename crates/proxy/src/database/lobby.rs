//! Asking where one connects, as far as it is the same in every database's protocol: the few things a lobby understands, and what is
//! shown of a request.

use access::request::Asked;
use access::time::Span;

use crate::gatekeeper::{News, Question};
use crate::ssh::text::inert;

/// What somebody in the lobby typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Request { reason: String, asked: Option<Asked> },
    Status,
    Wrong(String),
}

/// The same where an emergency may be declared.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    Line(Line),
    /// They declare an emergency.
    Emergency {
        reason: String,
        asked: Option<Asked>,
    },
}

/// Reads what somebody in the lobby typed. An emergency is heard only where there can be one.
pub(crate) fn typed(text: &str, emergencies: bool) -> Typed {
    match emergency(text).filter(|_| emergencies) {
        Some(Line::Request { reason, asked }) => Typed::Emergency { reason, asked },
        Some(wrong) => Typed::Line(wrong),
        None => Typed::Line(read(text)),
    }
}

/// What somebody in the lobby may type.
pub(crate) fn how(question: &Question) -> &'static str {
    match question.refused {
        Some(_) => "Type  break glass '<reason>' for 1h;  (the time may be left out), or  status;",
        None => "Type  request '<reason>' for 1h;  to ask (the time may be left out), or  status;",
    }
}

/// What somebody in the lobby is told: what is missing, how to ask for it where it can be asked for, and what follows if they declare an
/// emergency, if they may, each behind a `gap`.
pub(crate) fn told(question: &Question, gap: &str) -> String {
    let mut what = match &question.refused {
        Some(refusal) => super::sentence(refusal),
        None => format!("{} {}{}", inert(&question.missing, 1024), how(question), times(question)),
    };
    if let Some(follows) = &question.emergency {
        what.push_str(&format!("{gap}{} To declare an emergency, type  break glass '<reason>';", inert(follows, 1024)));
    }
    what
}

/// What is said to who asks for what can only be had in an emergency.
pub(crate) const ONLY_EMERGENCY: &str = "this cannot be asked for in the ordinary way; there is only the emergency";

/// Who has been asked, as shown after a sentence; nothing if nobody is named.
pub(crate) fn asked(news: &News) -> String {
    let who: Vec<String> = news.asked.iter().map(|a| inert(a, 80)).collect();
    if who.is_empty() { String::new() } else { format!(" Asked: {}.", who.join(", ")) }
}

/// The times that may be asked for, as shown after a sentence.
fn times(question: &Question) -> String {
    if question.times.is_empty() { String::new() } else { format!(" ({})", inert(&question.times, 80)) }
}

/// Reads `break glass '<reason>' [for <time>]`: an emergency, declared in so many words; `None` if it is anything else.
fn emergency(text: &str) -> Option<Line> {
    let words = text.trim_start();
    let rest = words.get(..5).filter(|word| word.eq_ignore_ascii_case("break")).and_then(|_| words.get(5..))?;
    let rest = rest.strip_prefix(char::is_whitespace)?.trim_start();
    let rest = rest.get(..5).filter(|word| word.eq_ignore_ascii_case("glass")).and_then(|_| rest.get(5..))?;
    // Some clients keep the semicolon to themselves.
    (rest.is_empty() || rest.starts_with(|c: char| c.is_whitespace() || c == '\'' || c == ';')).then_some(())?;
    if rest.trim_matches([' ', ';', '\t', '\n', '\r']).is_empty() {
        return Some(Line::Wrong("say what the emergency is: the reason stands in single quotes".to_owned()));
    }
    Some(read(&format!("request {rest}")))
}

/// Reads `extend [<time>] ['<reason>']`, with or without a semicolon: more time for what is open; `None` if it is anything else.
pub(crate) fn extension(text: &str) -> Option<Result<(Option<Span>, Option<String>), String>> {
    let text = text.trim().trim_end_matches(';').trim_end();
    let rest = text.get(..6).filter(|word| word.eq_ignore_ascii_case("extend")).and_then(|_| text.get(6..))?;
    if rest.starts_with(|c: char| !c.is_whitespace() && c != '\'') {
        return None;
    }
    let rest = rest.trim_start();
    let (time, reason) = rest.split_once('\'').map_or((rest, None), |(time, reason)| (time, Some(reason)));
    let time = match time.trim() {
        "" => None,
        time => match time.parse::<Span>() {
            Ok(time) => Some(time),
            Err(error) => return Some(Err(error.to_string())),
        },
    };
    let Some(reason) = reason else { return Some(Ok((time, None))) };
    Some(match read(&format!("request '{reason}")) {
        Line::Request { reason, asked: None } => Ok((time, Some(reason))),
        Line::Wrong(why) => Err(why),
        _ => Err("after the reason stands nothing".to_owned()),
    })
}

/// Reads `request '<reason>' [for <time>]` or `status`, with or without a semicolon.
pub(crate) fn read(text: &str) -> Line {
    let text = text.trim().trim_end_matches(';').trim_end();
    let wrong = || Line::Wrong("you have no grant for this yet, so no statement runs here".to_owned());
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

    // covers: GRANT-9 (psql, mysql)
    #[test]
    fn an_emergency_is_declared_in_so_many_words() {
        assert_eq!(typed("break glass 'x'", true), Typed::Emergency { reason: "x".into(), asked: None });
        assert!(matches!(typed("break glass 'x'", false), Typed::Line(Line::Wrong(_))));
        assert_eq!(typed("status", true), Typed::Line(Line::Status));
        assert_eq!(emergency(" BREAK  glass 'site down' ;"), Some(Line::Request { reason: "site down".into(), asked: None }));
        assert_eq!(emergency("break glass 'x' for 15m"), Some(Line::Request { reason: "x".into(), asked: Some("15m".parse().unwrap()) }));
        assert!(matches!(emergency("break glass"), Some(Line::Wrong(_))));
        assert!(matches!(emergency("break glass;"), Some(Line::Wrong(_))) && matches!(emergency("break glass ''"), Some(Line::Wrong(_))));
        for other in ["request 'break glass'", "breakglass 'x'", "break 'x'", "break glasses 'x'", "break", "", "é'"] {
            assert_eq!(emergency(other), None, "{other}");
        }
    }

    // covers: GRANT-5 (psql)
    #[test]
    fn more_time_is_asked_for_in_one_line() {
        let span = |text: &str| Some(text.parse::<Span>().unwrap());
        for (text, wanted) in [
            ("extend", (None, None)),
            ("EXTEND 30m;", (span("30m"), None)),
            ("extend 1h 'it''s not done' ;", (span("1h"), Some("it's not done"))),
            ("extend 'not done'", (None, Some("not done"))),
        ] {
            assert_eq!(extension(text), Some(Ok((wanted.0, wanted.1.map(str::to_owned)))), "{text}");
        }
        for wrong in
            ["extend soon", "extend 30m 'x", "extend 30m ''", "extend 30m 'x' now", "extend 30m 'x' for 1h", "extend 30m; select 1"]
        {
            assert!(matches!(extension(wrong), Some(Err(_))), "{wrong}");
        }
        for other in ["select 1", "extended", "extends 'x'", "", "exten"] {
            assert_eq!(extension(other), None, "{other}");
        }
    }

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
