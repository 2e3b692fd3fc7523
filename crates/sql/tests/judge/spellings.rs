//! Another spelling is the same statement: verdicts do not move.

use proptest::prelude::*;

use crate::people::judge;

/// One way to write the same.
#[derive(Debug, Clone, Copy)]
enum Respell {
    Upper,
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

fn respell(sql: &str, how: Respell) -> String {
    match how {
        // Words outside quotes alone: there is none inside here that a change of case would change.
        Respell::Upper => {
            sql.split('\'').enumerate().map(|(n, part)| if n % 2 == 0 { part.to_uppercase() } else { format!("'{part}'") }).collect()
        }
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
    (prop::collection::vec(wrapping, 0..4), outermost, upper, prop::option::of(spaced))
        .prop_map(|(inside, outside, upper, spaced)| inside.into_iter().chain([outside]).chain(upper).chain(spaced).collect())
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
