//! Another spelling is the same statement to MariaDB: verdicts do not move, nor do letters that it takes for others let anything through.

use access::rights::{Columns, DatabaseRights, TableRights};
use proptest::prelude::*;
use sql::{Catalog, Verdict, mysql};

use crate::people::some;

fn shop() -> (DatabaseRights, Catalog) {
    let all = TableRights { select: Columns::All, insert: Columns::All, ..TableRights::default() };
    let customers = TableRights {
        select: some(&["id", "name", "card", "pin", "skin"]),
        masked: ["card", "pin", "skin"].map(str::to_owned).into(),
        ..TableRights::default()
    };
    let rights = DatabaseRights {
        tables: [("shop.orders", all.clone()), ("shop.items", all), ("shop.customers", customers)]
            .into_iter()
            .map(|(name, rights)| (name.parse().unwrap(), rights))
            .collect(),
        ..DatabaseRights::default()
    };
    let catalog = Catalog::of_tables(&[
        ("shop.orders", &["id", "status"]),
        ("shop.items", &["id", "name"]),
        ("shop.customers", &["id", "name", "card", "pin", "skin", "password"]),
        ("shop.payments", &["id", "iban"]),
    ]);
    (rights, catalog)
}

fn judge(sql: &str) -> Verdict {
    let (rights, catalog) = shop();
    mysql::judge(&rights, &catalog, Some("shop"), sql)
}

/// One way to write the same.
#[derive(Debug, Clone, Copy)]
enum Respell {
    /// All of it but names of tables, which some servers tell apart in capitals.
    Upper,
    Backquoted,
    Qualified,
    Comments,
    Lines,
    Spaces,
    Cte,
    Derived,
    Subselect,
    Union,
    Explained,
    /// A letter of a column's name or of another name as one that some server takes for it, wherever it stands.
    Letters,
    /// The same where the name stands last.
    LastLetters,
}

const ALLOWED: &[&str] =
    &["select o.id from orders o where o.id = 1", "select count(*) from items i", "select c.name from customers c", "select now()"];
const REFUSED: &[&str] = &[
    "select p.iban from payments p where p.id = 1",
    "select c.password from customers c",
    "select c.id from customers c where c.skin = '1'",
    "select c.id from customers c group by skin",
    "select lower(c.pin) from customers c",
    "select c.pin from customers c order by pin",
    "select c.pin from customers c having pin > 5",
    "select c.card as i from customers c having i > '4'",
    "select c.card as k from customers c order by k",
    "select c.card as s, c.id from customers c group by s",
    "select o.id from orders o, payments p",
    "select load_file('x')",
];

/// Words by what they are: names of tables, or of columns and outputs that hold a letter with a double.
fn is_table(word: &str) -> bool {
    ["orders", "items", "customers", "payments"].contains(&word.trim_matches('`'))
}

fn has_double(word: &str) -> bool {
    ["pin", "skin", "i", "k", "s"].contains(&word)
}

/// A text with its words, and nothing else of it, written otherwise; `how` hears how many like it are still to come.
fn on_words(sql: &str, wanted: fn(&str) -> bool, how: impl Fn(&str, usize) -> String) -> String {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '`');
    let (mut pieces, mut word): (Vec<String>, bool) = (Vec::new(), false);
    for c in sql.chars() {
        if pieces.is_empty() || word != is_part(c) || !word {
            pieces.push(String::new());
        }
        word = is_part(c);
        pieces.last_mut().unwrap().push(c);
    }
    let mut left = pieces.iter().filter(|piece| wanted(piece)).count();
    pieces
        .iter()
        .map(|piece| {
            if !wanted(piece) {
                return piece.clone();
            }
            left -= 1;
            how(piece, left)
        })
        .collect()
}

fn doubled(word: &str) -> String {
    word.replace('i', "İ").replace('k', "\u{212a}").replace('s', "ſ")
}

fn respell(sql: &str, how: Respell) -> String {
    match how {
        Respell::Upper => on_words(sql, |word| !is_table(word) && word != "shop", |word, _| word.to_ascii_uppercase()),
        Respell::Backquoted => on_words(sql, is_table, |table, _| format!("`{}`", table.trim_matches('`'))),
        Respell::Qualified => on_words(sql, is_table, |table, _| format!("shop . {table}")),
        Respell::Comments => sql.replace(' ', "/* '; drop -- */ "),
        Respell::Lines => sql.replace(' ', " -- '\n\t# `\n"),
        Respell::Spaces => sql.replace(' ', " \t \r\n ").replace(',', " , "),
        Respell::Cte => format!("with x as ({sql}) select 1 from x"),
        Respell::Derived => format!("select 1 from ({sql}) x"),
        Respell::Subselect => format!("select 1 where exists ({sql})"),
        Respell::Union => format!("select 1 union ({sql})"),
        Respell::Explained => format!("explain {sql}"),
        Respell::Letters => on_words(sql, has_double, |word, _| doubled(word)),
        Respell::LastLetters => on_words(sql, has_double, |word, left| if left == 0 { doubled(word) } else { word.to_owned() }),
    }
}

fn ways() -> impl Strategy<Value = Vec<Respell>> {
    let wrapping = prop_oneof![Just(Respell::Cte), Just(Respell::Derived), Just(Respell::Subselect), Just(Respell::Union)];
    let named = prop::option::of(prop_oneof![Just(Respell::Backquoted), Just(Respell::Qualified)]);
    let spaced = prop_oneof![Just(Respell::Comments), Just(Respell::Lines), Just(Respell::Spaces)];
    let explained = prop::option::of(Just(Respell::Explained));
    let upper = prop::option::of(Just(Respell::Upper));
    (upper, named, prop::collection::vec(wrapping, 0..4), explained, prop::option::of(spaced)).prop_map(
        |(upper, named, inside, outside, spaced)| upper.into_iter().chain(named).chain(inside).chain(outside).chain(spaced).collect(),
    )
}

fn written(sql: &str, ways: &[Respell]) -> String {
    ways.iter().fold(sql.to_owned(), |sql, how| respell(&sql, *how))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    // covers: E4 (mysql), E5 (mysql)
    #[test]
    fn a_verdict_does_not_hang_on_the_spelling(
        ways in ways(),
        letters in prop::option::of(prop_oneof![Just(Respell::Letters), Just(Respell::LastLetters)]),
    ) {
        for sql in ALLOWED {
            let written = written(sql, &ways);
            let verdict = judge(&written);
            prop_assert!(verdict.is_allowed(), "refused: {}: {:?}", written, verdict.refused());
        }
        for sql in REFUSED {
            let doubled = letters.map_or_else(|| (*sql).to_owned(), |letters| respell(sql, letters));
            let written = written(&doubled, &ways);
            prop_assert!(!judge(&written).is_allowed(), "allowed: {}", written);
        }
    }

    #[test]
    fn no_text_at_all_makes_the_judge_fall_over(text in "\\PC{0,60}|[a-z0-9 '\"();,.*$-]{0,80}") {
        let _either = judge(&text);
    }
}

#[test]
fn the_same_statements_without_what_is_masked_go_through() {
    // So that what is refused above is refused for the name, and not for how it is written.
    for sql in [
        "select c.id from customers c where c.name = '1'",
        "select c.id from customers c group by name",
        "select lower(c.name) from customers c",
        "select c.pin from customers c order by name",
        "select c.name as i from customers c having i > '4'",
        "select c.card as i from customers c having name > '4'",
    ] {
        assert!(judge(sql).is_allowed(), "{sql}: {:?}", judge(sql).refused());
    }
}
