//! Names as servers compare them.
//!
//! Names of columns and other names of outputs are the same in capitals, by tables that each server has of its own: MySQL and MariaDB take
//! `İ` (U+0130) for `i`, MariaDB from 11.5 on `ſ` (U+017F) for `s` too. Where two names could be one the judge takes them for one
//! ([`folded`]); where it has to be sure that they are, it asks [`same`].

use access::rights::{Columns, QualifiedName};

use super::seen::Seen;
use super::{Look, Step};
use crate::verdict::{Refused, shown};

/// What all names have in common that some server takes for one.
#[must_use]
pub fn folded(name: &str) -> String {
    name.chars().map(letter).collect()
}

/// Up and down again: some letters have one capital and two small ones, others two capitals and one small one.
fn letter(one: char) -> char {
    let mut capital = one.to_uppercase();
    let capital = match (capital.next(), capital.next()) {
        (Some(capital), None) => capital,
        _ => one,
    };
    // Of a letter that becomes several, as `İ` does, the first is the letter.
    capital.to_lowercase().next().unwrap_or(capital)
}

/// Whether every server takes two names for one.
#[must_use]
pub fn same(one: &str, other: &str) -> bool {
    one == other || one.to_lowercase() == other.to_lowercase()
}

/// Whether every server takes another name of an output as it stands. Some cut off what is before the first letter, or behind the 256th;
/// what stands in quotes has escapes that not everybody reads alike.
pub(super) fn is_plain(name: &str) -> bool {
    let inside = |c: char| c == ' ' || (c.is_ascii_graphic() && !matches!(c, '\\' | '\'' | '"' | '`'));
    (1..=64).contains(&name.len()) && name.chars().all(inside) && !name.starts_with(' ') && !name.ends_with(' ')
}

impl Look<'_> {
    /// Whether the role may see some columns and not others.
    fn tells_columns_apart(&self) -> bool {
        self.rights.has_masks() || self.rights.tables.values().any(|table| matches!(table.select, Columns::Only(_)))
    }

    /// Of letters outside ASCII no two servers think alike, some not even of accents in one place and another. So a name with such letters
    /// has to be that of something, or be given here.
    pub(super) fn known_letters(&self, seen: &Seen) -> Step {
        if seen.foreign.is_empty() || !self.tells_columns_apart() {
            return Ok(());
        }
        let routines = self.rights.functions.iter().flat_map(|routine| [&*routine.schema, &*routine.name]);
        let known: Vec<&str> = self
            .catalog
            .names()
            .flat_map(|(table, column)| [&*table.schema, &*table.name, column])
            .chain(routines)
            .chain(seen.other_names.iter().map(String::as_str))
            .filter(|name| !name.is_ascii())
            .collect();
        match seen.foreign.iter().find(|name| !known.iter().any(|known| same(known, name))) {
            None => Ok(()),
            Some(name) => Err(Refused::not_in_role(
                format!("nothing here is called `{}`, and servers could take one of its letters for another", shown(name)),
                "write the name as the table has it",
            )),
        }
    }

    /// The columns of a table that a server could take a name for; the name itself if there are none.
    pub(super) fn meant<'a>(&'a self, table: &QualifiedName, name: &'a str) -> Vec<&'a str> {
        let columns = self.catalog.relation(table).map(|relation| relation.columns.as_slice()).unwrap_or_default();
        let wanted = folded(name);
        let meant: Vec<&str> = columns.iter().map(|column| column.name.as_str()).filter(|column| folded(column) == wanted).collect();
        if meant.is_empty() { vec![name] } else { meant }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: E5 (mysql)
    #[test]
    fn letters_that_some_server_takes_for_one_are_one() {
        for (one, other) in [
            ("Card", "cARD"),
            ("pin", "pİn"),
            ("PIN", "pın"),
            ("link", "lin\u{212a}"),
            ("status", "ſtatuſ"),
            ("ångström", "\u{212b}NGSTRÖM"),
            ("µ", "\u{3bc}"),
            ("ς", "Σ"),
            ("straße", "STRA\u{1e9e}E"),
        ] {
            assert_eq!(folded(one), folded(other));
        }
        for (one, other) in [("card", "cards"), ("e", "é"), ("о", "o"), ("ß", "ss")] {
            assert_ne!(folded(one), folded(other));
        }
        assert!(same("Größe", "GRÖßE") && same("k", "\u{212a}") && !same("i", "İ") && !same("s", "ſ"));
    }

    // covers: E5 (mysql)
    #[test]
    fn another_name_is_plain_if_nobody_changes_it() {
        assert!(["x", "the card", "a.b", "1", &"x".repeat(64)].into_iter().all(is_plain));
        assert!(!["", " x", "x ", "\tx", "\u{7}", "\\%", "x'", "ü", "\u{1f600}", &"x".repeat(65)].into_iter().any(is_plain));
    }
}
