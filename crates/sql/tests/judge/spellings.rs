//! Another spelling is the same statement: verdicts do not move.

use proptest::prelude::*;

use crate::people::judge;

/// One way to write the same.
#[derive(Debug, Clone, Copy)]
enum Respell {
    Upper,
    Quoted,
    Qualified,
    Escaped,
    Comments,
    Lines,
    Spaces,
    Cte,
    Subselect,
    Prepared,
    Explained,
    Cursor,
}

const ALLOWED: &[&str] =
    &["select o.id from orders o where o.id = 1", "select count(*) from items i", "select c.name from customers c", "select now()"];
const REFUSED: &[&str] = &[
    "select p.iban from payments p where p.id = 1",
    "select c.password from customers c",
    "select c.id from customers c where c.card = '1'",
    "select pg_read_file('x')",
    "select lower(c.card) from customers c",
    "select o.id from orders o, payments p",
    "select query_to_xml('x', true, true, '')",
];

/// The names of tables written otherwise.
fn on_tables(sql: &str, how: impl Fn(&str) -> String) -> String {
    let tables = ["orders", "items", "customers", "payments"];
    sql.split(' ').map(|word| if tables.contains(&word) { how(word) } else { word.to_owned() }).collect::<Vec<_>>().join(" ")
}

fn respell(sql: &str, how: Respell) -> String {
    match how {
        // Words outside quotes alone: there is none inside here that a change of case would change.
        Respell::Upper => {
            let mut inside = None;
            let one = |c: char| {
                inside = match (inside, c) {
                    (None, '\'' | '"') => Some(c),
                    (Some(quote), c) if quote == c => None,
                    (other, _) => other,
                };
                if inside.is_some() { c } else { c.to_ascii_uppercase() }
            };
            sql.chars().map(one).collect()
        }
        Respell::Quoted => on_tables(sql, |table| format!("\"{table}\"")),
        Respell::Qualified => on_tables(sql, |table| format!("public . {table}")),
        Respell::Escaped => on_tables(sql, |table| format!("U&\"\\{:04x}{}\"", u32::from(table.as_bytes()[0]), &table[1..])),
        Respell::Comments => sql.replace(' ', "/* '; drop -- */ "),
        Respell::Lines => sql.replace(' ', " -- '\n\t"),
        Respell::Spaces => sql.replace(' ', " \u{c} \r\n ").replace(',', " , "),
        Respell::Cte => format!("with x as ({sql}) select 1 from x"),
        Respell::Subselect => format!("select 1 where exists ({sql})"),
        Respell::Prepared => format!("prepare p as {sql}"),
        Respell::Explained => format!("explain (verbose) {sql}"),
        Respell::Cursor => format!("declare c no scroll cursor for {sql}"),
    }
}

fn ways() -> impl Strategy<Value = Vec<Respell>> {
    let wrapping = prop_oneof![Just(Respell::Cte), Just(Respell::Subselect)];
    let outermost = prop_oneof![Just(Respell::Prepared), Just(Respell::Explained), Just(Respell::Cursor), Just(Respell::Upper)];
    let spaced = prop_oneof![Just(Respell::Comments), Just(Respell::Lines), Just(Respell::Spaces)];
    let upper = prop::option::of(Just(Respell::Upper));
    let named = prop::option::of(prop_oneof![Just(Respell::Quoted), Just(Respell::Qualified), Just(Respell::Escaped)]);
    (named, prop::collection::vec(wrapping, 0..4), outermost, upper, prop::option::of(spaced)).prop_map(
        |(named, inside, outside, upper, spaced)| named.into_iter().chain(inside).chain([outside]).chain(upper).chain(spaced).collect(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    // covers: E4 (postgres)
    #[test]
    fn a_verdict_does_not_hang_on_the_spelling(ways in ways()) {
        for (statements, expected) in [(ALLOWED, true), (REFUSED, false)] {
            for sql in statements {
                let written = ways.iter().fold((*sql).to_owned(), |sql, how| respell(&sql, *how));
                let verdict = judge().judge(&written);
                prop_assert_eq!(verdict.is_allowed(), expected, "{}: {:?}", written, verdict.refused());
            }
        }
    }

    #[test]
    fn no_text_at_all_makes_the_judge_fall_over(text in "\\PC{0,60}|[a-z0-9 '\"();,.*$-]{0,80}") {
        let _either = judge().judge(&text);
    }
}
