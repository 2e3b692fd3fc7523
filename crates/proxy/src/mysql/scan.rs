//! A glance at a statement's text, for what matters whatever the role: `KILL`, and the file that `LOAD DATA LOCAL` names.
//!
//! This is no judge. Under an unrestricted role a stored procedure, or a text that is computed at the server, can do what no glance sees.

use wire::mysql::answer::NO_BACKSLASH_ESCAPES;

/// What a backslash in quotes is to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backslash {
    /// It takes its meaning from what stands behind it.
    Escapes,
    /// It is a letter like any other.
    Plain,
}

/// A piece of a statement. Comments are left out, but for those that the server runs as code.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A bare word or number, in capitals.
    Word(String),
    /// Text in quotes, without them.
    Text(Vec<u8>),
    /// A name in backquotes.
    Name,
    /// Anything else, a byte at a time.
    Sign(u8),
}

/// The pieces of a text, one after another: a text may be long, and nobody keeps more of it than they need.
fn tokens(text: &[u8], backslash: Backslash) -> impl Iterator<Item = Token> {
    let mut at = 0;
    std::iter::from_fn(move || next(text, backslash, &mut at))
}

/// The piece that begins here or behind, if there is one.
fn next(text: &[u8], backslash: Backslash, place: &mut usize) -> Option<Token> {
    let mut at = *place;
    let get = |at: usize| text.get(at).copied().unwrap_or_default();
    let line_end = |from: usize| text.get(from..).unwrap_or_default().iter().position(|b| *b == b'\n').map_or(text.len(), |n| from + n + 1);
    while at < text.len() {
        let byte = get(at);
        match byte {
            b if b.is_ascii_whitespace() => at += 1,
            b'#' => at = line_end(at),
            b'-' if get(at + 1) == b'-' && (get(at + 2) <= b' ') => at = line_end(at),
            b'/' if get(at + 1) == b'*' => {
                let code = if get(at + 2) == b'!' {
                    Some(at + 3)
                } else if get(at + 2) == b'M' && get(at + 3) == b'!' {
                    Some(at + 4)
                } else {
                    None
                };
                if let Some(mut inside) = code {
                    // Its version, then code up to the end, which is taken for signs.
                    while get(inside).is_ascii_digit() {
                        inside += 1;
                    }
                    at = inside;
                } else {
                    let rest = text.get(at + 2..).unwrap_or_default();
                    at = rest.windows(2).position(|w| w == b"*/").map_or(text.len(), |n| at + 2 + n + 2);
                }
            }
            b'\'' | b'"' | b'`' => {
                let mut quoted = Vec::new();
                at += 1;
                while at < text.len() {
                    match get(at) {
                        b'\\' if byte != b'`' && backslash == Backslash::Escapes => {
                            quoted.push(match get(at + 1) {
                                b'n' => b'\n',
                                b't' => b'\t',
                                b'r' => b'\r',
                                b'0' => 0,
                                b'b' => 8,
                                b'Z' => 26,
                                other => other,
                            });
                            at += 2;
                        }
                        b if b == byte && get(at + 1) == byte => {
                            quoted.push(byte);
                            at += 2;
                        }
                        b if b == byte => break,
                        b => {
                            quoted.push(b);
                            at += 1;
                        }
                    }
                }
                *place = at + 1;
                return Some(if byte == b'`' { Token::Name } else { Token::Text(quoted) });
            }
            b if b.is_ascii_alphanumeric() || b == b'_' || b == b'$' || b >= 0x80 => {
                let from = at;
                while get(at).is_ascii_alphanumeric() || matches!(get(at), b'_' | b'$' | 0x80..) {
                    at += 1;
                }
                *place = at;
                return Some(Token::Word(String::from_utf8_lossy(&text[from..at]).to_ascii_uppercase()));
            }
            b => {
                *place = at + 1;
                return Some(Token::Sign(b));
            }
        }
    }
    *place = at;
    None
}

/// Whether a text holds this word in any case, without a look at what it is.
fn mentions(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

/// A `KILL` in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kill {
    /// None.
    None,
    /// One, alone and by number.
    One {
        /// The connection's number.
        connection: u64,
        /// Whether only its statement is to end.
        query: bool,
    },
    /// One among other things, or in a form in which nobody can say whom it meets.
    Unclear,
}

/// How many words a `KILL` has at most that is understood here: `KILL HARD QUERY 7`.
const LONGEST_KILL: usize = 4;

/// What a text kills, and the files that it has the client send, where the server says this of the session (its status flags).
pub(crate) fn glance(text: &[u8], status: u16) -> (Kill, Vec<Vec<u8>>) {
    let (now, other) = match status & NO_BACKSLASH_ESCAPES {
        0 => (Backslash::Escapes, Backslash::Plain),
        _ => (Backslash::Plain, Backslash::Escapes),
    };
    let (mut found, mut files) = (kill(text, now), local_files(text, now));
    // What stands first in a text may change how the rest of it is read.
    if mentions(text, b"sql_mode") {
        if kill(text, other) != found {
            found = Kill::Unclear;
        }
        files.extend(local_files(text, other));
    }
    (found, files)
}

/// What a text kills. `KILL` is a reserved word: where it stands bare it is a statement.
fn kill(text: &[u8], backslash: Backslash) -> Kill {
    if !mentions(text, b"kill") {
        return Kill::None;
    }
    let (mut bare, mut inside, mut prepares) = (false, false, false);
    let (mut behind_sign, mut semicolons) = (false, 0);
    let mut words: Option<Vec<String>> = Some(Vec::new());
    for token in tokens(text, backslash) {
        match &token {
            Token::Word(word) => {
                bare |= word == "KILL" && !behind_sign;
                prepares |= word == "PREPARE" || word == "IMMEDIATE";
            }
            Token::Text(text) => inside |= mentions(text, b"kill"),
            Token::Name | Token::Sign(_) => {}
        }
        behind_sign = matches!(token, Token::Sign(b'.' | b'@'));
        // Words alone, and at the end `;`.
        match token {
            Token::Sign(b';') => semicolons += 1,
            Token::Word(word) if semicolons == 0 => {
                words = words.filter(|all| all.len() < LONGEST_KILL).map(|all| [all, vec![word]].concat())
            }
            _ => words = None,
        }
    }
    if !bare {
        return if inside && prepares { Kill::Unclear } else { Kill::None };
    }
    let Some(words) = words else { return Kill::Unclear };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let rest = match words.as_slice() {
        ["KILL", "HARD" | "SOFT", rest @ ..] | ["KILL", rest @ ..] => rest,
        _ => return Kill::Unclear,
    };
    let (query, number) = match rest {
        ["QUERY", number] => (true, number),
        ["CONNECTION", number] | [number] => (false, number),
        _ => return Kill::Unclear,
    };
    number.parse().map_or(Kill::Unclear, |connection| Kill::One { connection, query })
}

/// The files that a text has the client send: those that stand after `LOCAL INFILE`.
fn local_files(text: &[u8], backslash: Backslash) -> Vec<Vec<u8>> {
    if !mentions(text, b"infile") {
        return Vec::new();
    }
    let is = |token: &Option<Token>, wanted: &str| matches!(token, Some(Token::Word(word)) if word == wanted);
    let (mut files, mut before, mut last) = (Vec::new(), None, None);
    for token in tokens(text, backslash) {
        match token {
            Token::Text(name) if is(&before, "LOCAL") && is(&last, "INFILE") => {
                files.push(name);
                (before, last) = (None, None);
            }
            token => (before, last) = (last, Some(token)),
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kill(text: &[u8]) -> Kill {
        glance(text, 0).0
    }

    fn local_files(text: &[u8]) -> Vec<Vec<u8>> {
        glance(text, 0).1
    }

    // covers: D7 (mysql)
    #[test]
    fn a_kill_is_seen_in_every_dress() {
        let one = |connection, query| Kill::One { connection, query };
        assert_eq!(kill(b"KILL QUERY 7"), one(7, true));
        assert_eq!(kill(b" /* x */ kill /* y */ connection 7 ; "), one(7, false));
        assert_eq!(kill(b"KILL HARD 7;;;;;;"), one(7, false));
        assert_eq!(kill(b"KILL SOFT QUERY 7"), one(7, true));
        assert_eq!(
            (kill(b"KILL 7; SELECT 1"), kill(b"KILL 7;;;;;;;;;; x"), kill(b"KILL 7 a b c d e")),
            (Kill::Unclear, Kill::Unclear, Kill::Unclear)
        );
        assert_eq!(kill(b"/*!50000 KILL */ 7"), Kill::Unclear);
        for unclear in [
            "SELECT 1; KILL 7",
            "KILL USER tide",
            "KILL QUERY ID 7",
            "KILL (SELECT 7)",
            "/*M! KILL 7*/",
            "PREPARE s FROM 'KILL 7'",
            "EXECUTE IMMEDIATE \"kill 7\"",
            "CREATE PROCEDURE p() KILL 7",
            "BEGIN NOT ATOMIC KILL 7; END",
            "SET STATEMENT max_statement_time=1 FOR KILL 7",
        ] {
            assert_eq!(kill(unclear.as_bytes()), Kill::Unclear, "{unclear}");
        }
        for none in
            ["SELECT 'kill 7'", "SELECT `kill` FROM t", "SELECT t.kill FROM t -- kill 7", "SELECT skill FROM t", "SELECT 1 # KILL 7"]
        {
            assert_eq!(kill(none.as_bytes()), Kill::None, "{none}");
        }
    }

    #[test]
    fn the_file_a_statement_names_is_known() {
        assert_eq!(local_files(b"LOAD DATA LOCAL INFILE '/tmp/a''b\\'c' INTO TABLE t"), [b"/tmp/a'b'c".to_vec()]);
        assert_eq!(local_files(b"load data concurrent local /* x */ infile \"x\" into table t"), [b"x".to_vec()]);
        assert!(local_files(b"LOAD DATA INFILE 'x' INTO TABLE t").is_empty());
        assert!(local_files(b"SELECT 'LOCAL INFILE ''x'''").is_empty());
    }

    // covers: D7 (mysql), MY-1 (mysql)
    #[test]
    fn a_backslash_is_what_the_server_takes_it_for() {
        let text = br"SELECT '\'; KILL 7; -- '".as_slice();
        assert_eq!((glance(text, 0).0, glance(text, NO_BACKSLASH_ESCAPES).0), (Kill::None, Kill::Unclear));
        // Nobody here can tell how the second statement is read.
        let changed = [br"SET sql_mode = 'NO_BACKSLASH_ESCAPES'; ".as_slice(), text].concat();
        assert_eq!((glance(&changed, 0).0, glance(&changed, NO_BACKSLASH_ESCAPES).0), (Kill::Unclear, Kill::Unclear));
        let load = br"LOAD DATA LOCAL INFILE 'C:\new\a.csv' INTO TABLE t".as_slice();
        assert_eq!(glance(load, NO_BACKSLASH_ESCAPES).1, [br"C:\new\a.csv".to_vec()]);
        assert_eq!(glance(load, 0).1, [b"C:\newa.csv".to_vec()]);
    }
}
