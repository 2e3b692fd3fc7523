//! MySQL's and MariaDB's statements, read by `sqlparser`.
//!
//! That parser is not the server's own, so less is asked of it: which tables stand anywhere in the statement, and which names. A name
//! that is a column of any of these tables counts as that column, wherever it stands, unless it was only given a value or stands
//! alone in the outermost output. It refuses more than it would have to; what the server alone understands it never sees, since what
//! does not parse is refused, and so are comments that the server would run as code.
//!
//! The session has to be pinned: `sql_mode` without `ANSI_QUOTES` and `NO_BACKSLASH_ESCAPES`, the character set of the connection to
//! `utf8mb4`, and the database it began with.

mod conceal;
mod depth;
mod fold;
mod lists;
mod load;
mod named;
mod names;
mod seen;
mod shape;
mod statement;

use std::collections::BTreeSet;

use access::rights::DatabaseRights;
use sqlparser::dialect::MySqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::catalog::Catalog;
use crate::verdict::{Allowed, Hidden, Refused, Verdict, shown};

use conceal::Spots;
pub use conceal::{conceal, nothing_of, without_values};
pub use fold::{folded, same};
pub use shape::shape;

/// The longest text that is looked at, in bytes.
pub const LONGEST: usize = 1024 * 1024;
/// The most words, values, signs and blanks in a text: each takes the parser a few hundred bytes. A client that sends many rows at once
/// stays below.
pub const TOKENS: usize = 250_000;
/// A text shorter than this cannot have so many tokens that reading it is felt by others, in bytes.
pub const SHORT: usize = 16 * 1024;

/// The statement whose rows [`Catalog::from_rows`] reads, at MySQL or MariaDB. It has no object identifiers: columns of results are
/// known there by database, table and name.
#[must_use]
pub fn catalog_query(rights: &DatabaseRights) -> String {
    let schemas: BTreeSet<&str> = rights
        .tables
        .keys()
        .chain(&rights.functions)
        .map(|name| name.schema.as_str())
        .chain(rights.search_path.iter().map(String::as_str))
        .collect();
    let list = schemas.into_iter().map(|s| format!("'{}'", s.replace('\\', "\\\\").replace('\'', "''"))).collect::<Vec<_>>().join(", ");
    let list = if list.is_empty() { "NULL".to_owned() } else { list };
    let views = if rights.has_masks() {
        format!(
            " UNION ALL SELECT 'view', table_schema, table_name, '', '', '', '' FROM information_schema.tables \
             WHERE table_schema IN ({list}) AND table_type = 'VIEW'"
        )
    } else {
        String::new()
    };
    format!(
        "SELECT 'column', table_schema, table_name, '0', CAST(ordinal_position AS CHAR), column_name, '0' \
         FROM information_schema.columns WHERE table_schema IN ({list}){views}"
    )
}

type Step<T = ()> = Result<T, Refused>;

/// Judges everything in a text. `database` is the one the session is in.
pub fn judge(rights: &DatabaseRights, catalog: &Catalog, database: Option<&str>, sql: &str) -> Verdict {
    if rights.unrestricted {
        return Verdict::Allowed(Vec::new());
    }
    if sql.len() > LONGEST || sql.contains('\0') {
        return Verdict::Refused(Refused::not_understood("a statement that is too long, or holds a zero byte"));
    }
    match stacker::maybe_grow(8 * 1024 * 1024, 16 * 1024 * 1024, || look(rights, catalog, database, sql)) {
        Ok(allowed) => Verdict::Allowed(allowed),
        Err(refused) => Verdict::Refused(refused),
    }
}

fn look(rights: &DatabaseRights, catalog: &Catalog, database: Option<&str>, sql: &str) -> Step<Vec<Allowed>> {
    let lower = sql.to_ascii_lowercase();
    if lower.contains("/*!") || lower.contains("/*m!") || lower.contains("/*+") {
        return Err(Refused::not_in_role(
            "the statement holds a comment that the server could run as code",
            "write it as plain SQL, without `/*!`, `/*M!` and `/*+`",
        ));
    }
    let unreadable = |why: String| {
        // The parser quotes what it stumbled over, which may be a value that nobody may keep.
        let why = if rights.has_masks() { place(&why) } else { why.as_str() };
        Refused::not_understood(format!("the statement cannot be read: {}", shown(why)).trim_end_matches(": "))
    };
    let tokens = tokens(sql, unreadable)?;
    let words = || tokens.iter().map(|one| &one.token);
    depth::not_too_deep(words())?;
    if rights.only_statements {
        named::require(rights, words())?;
    }
    let natural = words().any(|token| matches!(token, Token::Word(word) if word.keyword == Keyword::NATURAL));
    let look = Look { rights, catalog, database, natural };
    let mut bare = words().filter(|token| !matches!(token, Token::Whitespace(_)));
    if bare.clone().next().is_some_and(load::loads) {
        return Ok(vec![look.load(&bare.cloned().collect::<Vec<_>>())?]);
    }
    // What of `SELECT` the parser takes for a table's other name: it shows the least and greatest value of each column.
    let analyses =
        bare.any(|token| matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("analyse")));
    if analyses {
        return Err(Refused::not_understood("`PROCEDURE ANALYSE`"));
    }
    let spots = if rights.has_masks() { Spots::of(sql, &tokens) } else { None };
    let mut parser = Parser::new(&MySqlDialect {}).with_recursion_limit(60).with_tokens_with_locations(tokens);
    let statements = parser.parse_statements().map_err(|error| unreadable(error.to_string()))?;
    let judged = statements.iter().map(|statement| {
        let mut allowed = look.statement(statement)?;
        if rights.has_masks() {
            allowed.hidden = spots.as_ref().map_or(Hidden::Everything, |spots| conceal::hidden(&look, spots, statement));
        }
        Ok(allowed)
    });
    judged.collect()
}

/// The tokens of a text, with their places.
fn tokens(sql: &str, unreadable: impl Fn(String) -> Refused) -> Step<Vec<TokenWithSpan>> {
    let too_many = || Refused {
        hint: "send it in several statements".to_owned(),
        ..Refused::not_understood(format!("a statement of more than {TOKENS} words, values, signs and blanks is not looked at"))
    };
    if depth::pieces(sql.as_bytes()) > TOKENS {
        return Err(too_many());
    }
    let tokens = Tokenizer::new(&MySqlDialect {}, sql).tokenize_with_location().map_err(|error| unreadable(error.to_string()))?;
    if tokens.len() > TOKENS { Err(too_many()) } else { Ok(tokens) }
}

/// Where in the text, of what a parser says.
fn place(why: &str) -> &str {
    let place = why.rfind("at Line: ").and_then(|at| why.get(at..)).unwrap_or_default();
    if place.bytes().all(|b| b.is_ascii_alphanumeric() || b" :,".contains(&b)) { place } else { "" }
}

/// An output that is a column and nothing else: its place, the column's name, and the other name it was given.
type Bare = (usize, String, Option<String>);

struct Look<'a> {
    rights: &'a DatabaseRights,
    catalog: &'a Catalog,
    database: Option<&'a str>,
    natural: bool,
}
