//! The names that stand in a statement, whatever they stand for.

use std::collections::BTreeSet;

use pg_query::protobuf::Token as Kind;
use sqlparser::dialect::MySqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer};

/// Whose statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// PostgreSQL's.
    Postgres,
    /// MySQL's and MariaDB's.
    Mysql,
}

impl Language {
    /// Whether two names of columns are one.
    pub(crate) fn same(self, one: &str, other: &str) -> bool {
        one == other || (self == Self::Mysql && crate::mysql::folded(one) == crate::mysql::folded(other))
    }
}

/// Longer names are cut off there by PostgreSQL.
const LONGEST_NAME: usize = 63;

/// Each name in a statement, without quotes; `None` if it cannot be read, or spells a name in escapes.
pub(crate) fn mentioned(language: Language, text: &str) -> Option<BTreeSet<String>> {
    match language {
        Language::Postgres => in_postgres(text),
        Language::Mysql => in_mysql(text),
    }
}

fn in_postgres(text: &str) -> Option<BTreeSet<String>> {
    if text.len() > crate::postgres::LONGEST || text.contains('\0') {
        return None;
    }
    let mut names = BTreeSet::new();
    // Of nothing the scanner gives no list at all.
    if text.trim().is_empty() {
        return Some(names);
    }
    for token in &crate::postgres::bounds::tokens(text)? {
        let said = text.get(usize::try_from(token.start).ok()?..usize::try_from(token.end).ok()?)?;
        match token.token() {
            Kind::Uident => return None,
            Kind::Sconst | Kind::Usconst | Kind::Bconst | Kind::Xconst | Kind::SqlComment | Kind::CComment => continue,
            _ => {}
        }
        let name = match said.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"').unwrap_or(quoted).replace("\"\"", "\""),
            None if said.starts_with(|c: char| c.is_alphabetic() || c == '_' || !c.is_ascii()) => said.to_ascii_lowercase(),
            None => continue,
        };
        let end = (0..=LONGEST_NAME.min(name.len())).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
        names.insert(name.get(..end).unwrap_or_default().to_owned());
    }
    Some(names)
}

fn in_mysql(text: &str) -> Option<BTreeSet<String>> {
    if text.len() > crate::mysql::LONGEST || text.contains('\0') {
        return None;
    }
    let tokens = Tokenizer::new(&MySqlDialect {}, text).tokenize().ok()?;
    // Names of columns are the same in capitals.
    Some(
        tokens.into_iter().filter_map(|token| if let Token::Word(word) = token { Some(word.value.to_lowercase()) } else { None }).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_without_their_quotes() {
        let of = |language, text| mentioned(language, text).map(|names| names.into_iter().collect::<Vec<_>>().join(" "));
        assert_eq!(
            of(Language::Postgres, "SELECT \"Odd\"\"x\", ID FROM a.B -- c\n WHERE x = 'd'").as_deref(),
            Some("Odd\"x a b from id select where x")
        );
        assert_eq!(of(Language::Postgres, "SELECT U&\"\\0061\""), None);
        assert_eq!(of(Language::Postgres, "SELECT 'open"), None);
        assert_eq!(of(Language::Postgres, " \n").as_deref(), Some(""));
        assert_eq!(of(Language::Mysql, "SELECT `Odd` FROM s.t WHERE x = \"d\"").as_deref(), Some("from odd s select t where x"));
    }
}
