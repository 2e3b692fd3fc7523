//! Statements that differ in their values alone have one shape, and one verdict where no values are masked.
//!
//! Read are only the plainest texts: what a text can do to be read otherwise by a server (comments, other quotes, escapes, variables,
//! further statements) makes that it has no shape, and it is judged by itself.

/// What a text begins with to have a shape, and has nowhere else; in others (`SET`, `LOAD DATA`, `CALL` …) values decide.
const VERBS: [&[u8]; 5] = [b"SELECT", b"INSERT", b"UPDATE", b"DELETE", b"REPLACE"];

/// What stands before a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// A comparison, an assignment, or a bound of `BETWEEN`.
    Operator,
    /// `VALUES`, `IN`, or a closed list of values with a comma behind it.
    Lists,
    /// Anything else.
    Other,
}

/// The text with `?` in place of the numbers and `'` in place of the texts that are compared, assigned or inserted (a text may stand where no
/// number may, as a name); `None` if it is not among the plainest.
#[must_use]
pub fn shape(text: &[u8]) -> Option<Vec<u8>> {
    let mut rest = text;
    let mut shape = Vec::with_capacity(text.len());
    let mut before = Before::Other;
    // How many parentheses are open, and how many were when the innermost list of values was opened.
    let (mut open, mut list) = (0_usize, None);
    let mut first = true;
    while let Some(&byte) = rest.first() {
        let length = match byte {
            b' ' | b'\n' | b'\t' => 1,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => word(rest),
            b'0'..=b'9' => number(rest)?,
            b'\'' => quoted(rest)?,
            b'=' | b'<' | b'>' | b'+' | b'*' | b',' | b'.' | b'(' | b')' => 1,
            // Two of them begin a comment.
            b'-' if rest.get(1) != Some(&b'-') => 1,
            _ => return None,
        };
        let (token, after) = rest.split_at_checked(length)?;
        rest = after;
        if first != VERBS.iter().any(|verb| token.eq_ignore_ascii_case(verb)) {
            return None;
        }
        first = false;
        let is_value = byte.is_ascii_digit() || byte == b'\'';
        if is_value && (before == Before::Operator || list == Some(open)) {
            shape.push(if byte == b'\'' { byte } else { b'?' });
            before = Before::Other;
            continue;
        }
        shape.extend_from_slice(token);
        match byte {
            b' ' | b'\n' | b'\t' => continue,
            b'(' => {
                open += 1;
                if before == Before::Lists {
                    list = Some(open);
                }
            }
            b')' => {
                let closes_list = list == Some(open);
                open = open.checked_sub(1)?;
                if closes_list {
                    list = None;
                    before = Before::Lists;
                    continue;
                }
            }
            _ => {}
        }
        before = match byte {
            b'=' | b'<' | b'>' => Before::Operator,
            b',' if before == Before::Lists => Before::Lists,
            _ if [&b"BETWEEN"[..], b"AND"].iter().any(|word| token.eq_ignore_ascii_case(word)) => Before::Operator,
            _ if [&b"VALUES"[..], b"IN"].iter().any(|word| token.eq_ignore_ascii_case(word)) => Before::Lists,
            _ => Before::Other,
        };
    }
    (!first).then_some(shape)
}

/// The length of the word that stands here.
fn word(rest: &[u8]) -> usize {
    rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').unwrap_or(rest.len())
}

/// The length of the whole number that stands here.
fn number(rest: &[u8]) -> Option<usize> {
    let length = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    let ends = !matches!(rest.get(length), Some(b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'.' | b'$' | b'\''));
    ends.then_some(length)
}

/// The length of the text in single quotes that stands here, without anything that could be read in two ways.
fn quoted(rest: &[u8]) -> Option<usize> {
    let inside = rest.get(1..)?.iter().position(|byte| *byte == b'\'')?;
    let plain = rest.get(1..=inside)?.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'\\');
    // Another quote behind it would belong to it, and so does a further text after a blank.
    let after = rest.get(inside + 2..)?.iter().find(|byte| !byte.is_ascii_whitespace());
    (plain && after != Some(&b'\'')).then_some(inside + 2)
}

#[cfg(test)]
mod tests {
    use super::shape;

    fn shaped(text: &str) -> Option<String> {
        shape(text.as_bytes()).map(|shape| String::from_utf8(shape).unwrap())
    }

    #[test]
    fn values_that_are_compared_assigned_or_inserted_make_no_difference() {
        for (text, expected) in [
            ("SELECT c FROM sbtest1 WHERE id=4989", "SELECT c FROM sbtest1 WHERE id=?"),
            ("SELECT SUM(k) FROM t WHERE id BETWEEN 4 AND 103", "SELECT SUM(k) FROM t WHERE id BETWEEN ? AND ?"),
            ("UPDATE t SET k=k+1, c='a b' WHERE id >= 7", "UPDATE t SET k=k+1, c=' WHERE id >= ?"),
            ("INSERT INTO t (id, c) VALUES (1, 'x'), (2, 'y')", "INSERT INTO t (id, c) VALUES (?, '), (?, ')"),
            ("delete from t where id in (1,2) and x < '9'", "delete from t where id in (?,?) and x < '"),
        ] {
            assert_eq!(shaped(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn numbers_that_say_what_is_done_stay() {
        for text in [
            "SELECT a, b FROM t ORDER BY 1, 2 LIMIT 10",
            "SELECT f(1, 'x') FROM t",
            "SELECT 1, 'a' FROM t GROUP BY 2",
            "SELECT (1, 2) FROM t",
        ] {
            assert_eq!(shaped(text).as_deref(), Some(text));
        }
        assert_eq!(
            shaped("SELECT a FROM t WHERE x IN (1, f(2, 3), 4) LIMIT 5").as_deref(),
            Some("SELECT a FROM t WHERE x IN (?, f(2, 3), ?) LIMIT 5")
        );
    }

    #[test]
    fn whatever_could_be_read_in_two_ways_has_no_shape() {
        for text in [
            "",
            "SET sql_mode = 'ANSI'",
            "SELECT 1; SELECT 2",
            "SELECT a FROM t WHERE b IN (SELECT 1 FROM u ORDER BY 1, 2)",
            "INSERT INTO t SELECT 1",
            "SELECT /*! 1 */ 2",
            "SELECT 1 -- x",
            "SELECT 1 # x",
            "SELECT a FROM t WHERE b = 'it\\'s'",
            "SELECT a FROM t WHERE b = 'it''s'",
            "SELECT a FROM t WHERE b = 'it' 's'",
            "SELECT a FROM t WHERE b = \"x\"",
            "SELECT `a` FROM t",
            "SELECT a FROM t WHERE b = @x",
            "SELECT a FROM t WHERE b = 0x41",
            "SELECT a FROM t WHERE b = 1.5",
            "SELECT a FROM t WHERE b = 'é'",
            "SELECT a FROM t WHERE b = 'x",
            "SELECT a FROM t WHERE b = 1)",
        ] {
            assert_eq!(shaped(text), None, "{text}");
        }
        // The word before a text says how its letters are read.
        assert_eq!(shaped("SELECT a FROM t WHERE b = N'x'").as_deref(), Some("SELECT a FROM t WHERE b = N'x'"));
    }
}
