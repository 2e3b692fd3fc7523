//! Which names of the server's a statement takes for itself: a relay that keeps names has to know of those that no message says.

use pg_query::NodeEnum as N;
use pg_query::protobuf::RawStmt;

use super::{STACK_LEFT, STACK_NEW, bounds};

/// What a statement does with a name of prepared statements or cursors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    /// Nothing.
    None,
    /// It opens the cursor of this name.
    Opens(String),
    /// It fetches rows from the cursor of this name.
    Fetches(String),
    /// It prepares the statement of this name.
    Prepares(String),
}

/// What each statement of a text does with names, in their order; empty if none does anything. Fetching is looked for if `fetches`.
/// `None` if it says something of the kind and cannot be read.
#[must_use]
pub fn namings(sql: &[u8], fetches: bool) -> Option<Vec<Naming>> {
    if !may_name(sql, fetches) {
        return Some(Vec::new());
    }
    let sql = std::str::from_utf8(sql).ok()?;
    bounds::check(sql).ok()?;
    let read = || {
        let parsed = pg_query::parse(sql, 0).ok()?;
        let one = |raw: &RawStmt| match raw.stmt.as_ref().and_then(|stmt| stmt.node.as_ref()) {
            Some(N::DeclareCursorStmt(declare)) => Naming::Opens(declare.portalname.clone()),
            Some(N::FetchStmt(fetch)) if !fetch.ismove => Naming::Fetches(fetch.portalname.clone()),
            Some(N::PrepareStmt(prepare)) => Naming::Prepares(prepare.name.clone()),
            _ => Naming::None,
        };
        let all: Vec<Naming> = parsed.protobuf.stmts.iter().map(one).collect();
        Some(if all.iter().all(|one| *one == Naming::None) { Vec::new() } else { all })
    };
    stacker::maybe_grow(STACK_LEFT, STACK_NEW, read)
}

/// Whether a text may do something with names, by a mere look at its letters.
#[must_use]
pub fn may_name(sql: &[u8], fetches: bool) -> bool {
    speaks_of(sql, b"prepare") || speaks_of(sql, b"declare") || (fetches && speaks_of(sql, b"fetch"))
}

/// Whether a text has a word in it, written large or small.
fn speaks_of(sql: &[u8], word: &[u8]) -> bool {
    let Some(first) = word.first() else { return true };
    sql.windows(word.len()).any(|at| at.first().is_some_and(|byte| byte | 0x20 == *first) && at.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_text_takes_are_known() {
        let text = b"begin; DECLARE \"K\" cursor for select 1; fetch 2 from k; prePare S as select 1; move 1 from k";
        let found = [Naming::None, Naming::Opens("K".into()), Naming::Fetches("k".into()), Naming::Prepares("s".into()), Naming::None];
        assert_eq!(namings(text, true).as_deref(), Some(&found[..]));
        assert_eq!(namings(b"fetch 2 from k", false), Some(Vec::new()));
        assert_eq!(namings(b"select 'prepare', \"declare\"", true), Some(Vec::new()));
        // What cannot be read and may be of the kind is told from what is not.
        assert_eq!((namings(b"prepare s as \xff", false), namings(b"prepare s as (", false)), (None, None));
        assert_eq!(namings(b"select \xff", true), Some(Vec::new()));
    }
}
