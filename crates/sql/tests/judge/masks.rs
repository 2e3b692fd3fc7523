//! Masked columns: a bare output, and nothing else.

use std::collections::BTreeSet;

use access::rights::{Columns, QualifiedName, TableRights};
use sql::postgres::{Copied, Forced, Form, Lines, Quotes};
use sql::{Catalog, Verdict};

use crate::people::{allowed, clerk, judge, pairs, refused, shop};

fn masked_in(sql: &str) -> Vec<usize> {
    match judge().judge(sql) {
        Verdict::Allowed(all) => all[0].masked_outputs.iter().copied().collect(),
        Verdict::Refused(refused) => panic!("refused: {sql}\n  {refused}"),
    }
}

// covers: PG-4
#[test]
fn a_masked_column_is_known_by_its_place_and_by_its_number() {
    assert_eq!(masked_in("SELECT id, card, name FROM customers"), [1]);
    assert_eq!(masked_in("SELECT c.card AS x, c.id, c.born FROM customers c WHERE id = 1 ORDER BY c.name"), [0, 2]);
    assert_eq!(masked_in("SELECT x.c2 FROM customers AS x(c1, c3, c2)"), [0]);
    assert_eq!(masked_in("UPDATE customers SET name = 'x' WHERE id = 1 RETURNING id, card"), [1]);
    assert_eq!(masked_in("UPDATE customers SET card = 'x' WHERE id = 1"), Vec::<usize>::new());
    assert_eq!(masked_in("SELECT o.*, c.card FROM orders o JOIN customers c ON c.id = o.customer_id"), [5]);
    assert_eq!(shop().masked_attributes(&clerk()), BTreeSet::from([(16003, 3), (16003, 4)]));
}

// covers: E5 (postgres), PG-4
#[test]
fn a_masked_column_stands_nowhere_else() {
    pairs(&[
        // Predicates, joins, ordering, grouping.
        ("SELECT id FROM customers WHERE name = 'x'", "SELECT id FROM customers WHERE card = 'x'"),
        ("SELECT id FROM customers WHERE name LIKE 'x%'", "SELECT id FROM customers WHERE card LIKE 'x%'"),
        ("SELECT id FROM customers WHERE name IS NULL", "SELECT id FROM customers WHERE card IS NULL"),
        ("SELECT id, card FROM customers ORDER BY name", "SELECT id, card FROM customers ORDER BY card"),
        ("SELECT id, card FROM customers ORDER BY 1", "SELECT id, card FROM customers ORDER BY 2"),
        ("SELECT id, card AS x FROM customers ORDER BY id", "SELECT id, card AS x FROM customers ORDER BY x"),
        ("SELECT id, card FROM customers ORDER BY id", "SELECT id, card FROM customers ORDER BY card COLLATE \"C\""),
        ("SELECT name, count(*) FROM customers GROUP BY 1", "SELECT card, count(*) FROM customers GROUP BY 1"),
        ("SELECT name FROM customers GROUP BY name", "SELECT count(*) FROM customers GROUP BY card"),
        ("SELECT name AS x FROM customers GROUP BY x", "SELECT card AS x FROM customers GROUP BY x"),
        ("SELECT name FROM customers GROUP BY GROUPING SETS (1)", "SELECT card FROM customers GROUP BY GROUPING SETS (1)"),
        ("SELECT DISTINCT name FROM customers", "SELECT DISTINCT card FROM customers"),
        ("SELECT DISTINCT ON (id) card FROM customers", "SELECT DISTINCT ON (card) card FROM customers"),
        ("SELECT DISTINCT ON (1) id, card FROM customers", "SELECT DISTINCT ON (2) id, card FROM customers"),
        ("SELECT c.id FROM customers c JOIN items i ON i.id = c.id", "SELECT c.id FROM customers c JOIN items i ON i.name = c.card"),
        ("SELECT a.id FROM customers a JOIN customers b USING (name)", "SELECT a.id FROM customers a JOIN customers b USING (card)"),
        ("SELECT o.id FROM orders o NATURAL JOIN items i", "SELECT a.id FROM customers a NATURAL JOIN customers b"),
        ("SELECT rank() OVER (ORDER BY name) FROM customers", "SELECT rank() OVER (ORDER BY card) FROM customers"),
        (
            "SELECT rank() OVER w FROM customers WINDOW w AS (PARTITION BY name)",
            "SELECT rank() OVER w FROM customers WINDOW w AS (PARTITION BY card)",
        ),
        // Aliases, casts, computations.
        ("SELECT card FROM customers", "SELECT card::text FROM customers"),
        ("SELECT card FROM customers", "SELECT card || '' FROM customers"),
        ("SELECT (card) FROM customers", "SELECT (card COLLATE \"C\") FROM customers"),
        ("SELECT card FROM customers", "SELECT lower(card) FROM customers"),
        ("SELECT card FROM customers", "SELECT max(card) FROM customers"),
        ("SELECT count(id) FROM customers", "SELECT count(card) FROM customers"),
        ("SELECT born FROM customers", "SELECT extract(year FROM born) FROM customers"),
        ("SELECT name FROM customers", "SELECT CASE WHEN card = 'x' THEN 1 END FROM customers"),
        ("SELECT card FROM customers", "SELECT ARRAY[card] FROM customers"),
        ("SELECT card FROM customers", "SELECT ROW(card) FROM customers"),
        ("SELECT card FROM customers AS c(a, b)", "SELECT lower(x) FROM customers AS c(a, b, x)"),
        // Whole rows.
        ("SELECT row_to_json(o) FROM orders o", "SELECT row_to_json(c) FROM customers c"),
        ("SELECT o FROM orders o", "SELECT c FROM customers c"),
        ("SELECT orders FROM orders", "SELECT customers FROM customers"),
        ("SELECT (o).id FROM orders o", "SELECT (c).card FROM customers c"),
        ("SELECT (o).* FROM orders o", "SELECT (c).* FROM customers c"),
        ("SELECT to_jsonb(o.*) FROM orders o", "SELECT to_jsonb(c.*) FROM customers c"),
        ("SELECT count(o.*) FROM orders o", "SELECT count(c.*) FROM customers c"),
        ("SELECT array_agg(o) FROM orders o", "SELECT array_agg(c) FROM customers c"),
        ("SELECT id FROM orders o WHERE o = o", "SELECT id FROM customers c WHERE c = c"),
        ("SELECT ctid FROM orders", "SELECT ctid FROM customers"),
        // Inside other queries.
        ("SELECT name FROM (SELECT name FROM customers) x", "SELECT card FROM (SELECT card FROM customers) x"),
        ("WITH x AS (SELECT name FROM customers) SELECT * FROM x", "WITH x AS (SELECT card FROM customers) SELECT * FROM x"),
        ("SELECT (SELECT name FROM customers LIMIT 1)", "SELECT (SELECT card FROM customers LIMIT 1)"),
        ("SELECT name FROM customers UNION SELECT 'x'", "SELECT card FROM customers UNION SELECT 'x'"),
        ("SELECT name FROM customers EXCEPT SELECT 'x'", "SELECT card FROM customers EXCEPT SELECT 'x'"),
        ("INSERT INTO orders (note) SELECT name FROM customers", "INSERT INTO orders (note) SELECT card FROM customers"),
        ("UPDATE orders SET note = (SELECT name FROM customers LIMIT 1)", "UPDATE orders SET note = (SELECT card FROM customers LIMIT 1)"),
        ("UPDATE customers SET name = name", "UPDATE customers SET name = card"),
        ("UPDATE customers SET name = 'x' RETURNING name", "UPDATE customers SET name = 'x' RETURNING card || ''"),
        (
            "WITH x AS (UPDATE customers SET name = 'x' RETURNING id) SELECT * FROM x",
            "WITH x AS (UPDATE customers SET name = 'x' RETURNING card) SELECT * FROM x",
        ),
        // COPY.
        ("COPY (SELECT id, card FROM customers) TO STDOUT", "COPY (SELECT id, lower(card) FROM customers) TO STDOUT"),
        ("COPY (SELECT id, card FROM customers ORDER BY id) TO STDOUT", "COPY (SELECT id, card FROM customers ORDER BY 2) TO STDOUT"),
        ("COPY (SELECT card FROM customers) TO STDOUT", "COPY (SELECT card FROM customers UNION ALL SELECT 'x') TO STDOUT"),
        ("COPY (SELECT card FROM customers) TO STDOUT", "COPY (SELECT card FROM (SELECT card FROM customers) x) TO STDOUT"),
        ("COPY (SELECT card FROM customers) TO STDOUT", "COPY (SELECT c FROM customers c) TO STDOUT"),
        ("COPY customers (id, card) TO STDOUT", "SELECT 1; COPY customers (id, card) TO STDOUT"),
        ("COPY customers (id, card) TO STDOUT", "COPY customers (id, card) TO '/tmp/x'"),
        ("COPY customers (id, card) TO STDOUT", "COPY customers (id, card) TO PROGRAM 'cat'"),
        ("COPY customers (id, card) TO STDOUT", "COPY customers (id, card, card) TO STDOUT"),
        // EXPLAIN, cursors, prepared.
        ("EXPLAIN SELECT card FROM customers", "EXPLAIN SELECT id FROM customers WHERE card = 'x'"),
        ("DECLARE c CURSOR FOR SELECT card FROM customers", "DECLARE c CURSOR FOR SELECT card FROM customers ORDER BY 1"),
        ("PREPARE p AS SELECT card FROM customers", "PREPARE p AS SELECT id FROM customers WHERE card = $1"),
        // An outer column inside an inner query, and a name that could be either.
        (
            "SELECT id FROM customers c WHERE EXISTS (SELECT FROM items i WHERE i.name = c.name)",
            "SELECT id FROM customers c WHERE EXISTS (SELECT FROM items i WHERE i.name = c.card)",
        ),
        (
            "SELECT id FROM customers c WHERE EXISTS (SELECT FROM items i WHERE c.name = 'x')",
            "SELECT id FROM customers c WHERE EXISTS (SELECT FROM items i WHERE card = 'x')",
        ),
    ]);
    refused("SELECT id FROM open_cards");
    allowed("SELECT id, card, card, born FROM customers LIMIT 10 OFFSET 5");
}

#[test]
fn a_view_that_shows_what_is_masked_is_refused_even_if_it_is_listed() {
    let mut rights = clerk();
    let all = access::rights::TableRights { select: access::rights::Columns::All, ..access::rights::TableRights::default() };
    rights.tables.insert("public.open_cards".parse().unwrap(), all);
    let mut judge = sql::Judge::new(rights.clone(), shop());
    assert!(!judge.judge("SELECT id, card FROM open_cards").is_allowed());
    rights.tables.get_mut(&"public.customers".parse().unwrap()).unwrap().masked.clear();
    let mut judge = sql::Judge::new(rights, shop());
    assert!(judge.judge("SELECT id, card FROM open_cards").is_allowed());
}

#[test]
fn the_planner_is_not_told_to_give_rows_in_the_order_of_an_index() {
    for sql in
        ["SET enable_seqscan = off", "SET LOCAL enable_sort TO off", "SELECT set_config('plan_cache_mode', 'force_generic_plan', false)"]
    {
        refused(sql);
        let mut without = clerk();
        without.tables.values_mut().for_each(|table| table.masked.clear());
        assert!(sql::Judge::new(without, shop()).judge(sql).is_allowed(), "{sql}");
    }
    allowed("RESET enable_seqscan");
}

#[test]
fn a_masked_column_that_is_made_later_goes_out_in_no_whole_row() {
    let mut rights = clerk();
    rights.copy_out = true;
    let whole = [
        "SELECT o FROM orders o",
        "SELECT x.id FROM (SELECT * FROM orders) x",
        "COPY orders TO STDOUT",
        "SELECT row_to_json(orders.*) FROM orders",
        "SELECT row_to_json(j) FROM (items i JOIN orders o ON true) AS j",
        "COPY (SELECT * FROM (items i JOIN orders o ON true) AS j) TO STDOUT",
    ];
    for sql in whole {
        assert!(sql::Judge::new(rights.clone(), shop()).judge(sql).is_allowed(), "{sql}");
    }
    rights.tables.get_mut(&"public.orders".parse().unwrap()).unwrap().masked.insert("made_later".to_owned());
    let mut judge = sql::Judge::new(rights, shop());
    for sql in whole {
        assert!(!judge.judge(sql).is_allowed(), "{sql}");
    }
    for sql in ["SELECT id FROM orders", "SELECT * FROM orders", "COPY orders (id) TO STDOUT"] {
        assert!(judge.judge(sql).is_allowed(), "{sql}");
    }
}

fn copied(judge: &mut sql::Judge, sql: &str) -> Option<Copied> {
    match judge.judge(sql) {
        Verdict::Allowed(all) => all.into_iter().next().unwrap().copied,
        Verdict::Refused(refused) => panic!("refused: {sql}\n  {refused}"),
    }
}

fn lines(delimiter: u8, null: &str, header: bool, quotes: Option<Quotes>) -> Form {
    Form::Lines(Lines { delimiter, null: null.to_owned(), header, quotes })
}

// covers: PG-4
#[test]
fn a_copy_of_masked_columns_is_the_query_that_it_copies() {
    let is = |sql: &str, query: &str| assert_eq!(copied(&mut judge(), sql).unwrap().query, query, "{sql}");
    is("COPY customers (id, card) TO STDOUT", "SELECT \"id\", \"card\" FROM ONLY \"public\".\"customers\" AS \"tidegate: copied\"");
    is("COPY (SELECT id, card FROM customers) TO STDOUT;", "      SELECT id, card FROM customers");
    // Where the query ends, the parser says, and an error's position is one in what was sent.
    is(
        "copy /* é ( */ ((select card, '(' as x from customers -- )\n)) to stdout csv header",
        "                (select card, '(' as x from customers -- )\n)",
    );
    is("COPY (UPDATE customers SET name = ')' RETURNING card) TO STDOUT", "      UPDATE customers SET name = ')' RETURNING card");
    // Nothing of these is masked as far as the judge sees; what a name stands for may have changed since.
    is("COPY customers (id, name) TO STDOUT", "SELECT \"id\", \"name\" FROM ONLY \"public\".\"customers\" AS \"tidegate: copied\"");
    is("COPY (SELECT * FROM orders) TO STDOUT", "      SELECT * FROM orders");
    for (sql, masked) in [("COPY customers (id, name) TO STDOUT", false), ("COPY customers (id, card) TO STDOUT", true)] {
        let copied = copied(&mut judge(), sql).unwrap();
        assert_eq!((copied.masked, copied.of_table), (masked, true), "{sql}");
    }
    assert!(!copied(&mut judge(), "COPY (SELECT * FROM orders) TO STDOUT").unwrap().of_table);
    // A server says of the second that it brings no rows, and does not run it.
    for sql in ["COPY orders TO STDOUT (ENCODING 'latin1')", "COPY (DELETE FROM orders WHERE id = 1) TO STDOUT"] {
        assert_eq!(copied(&mut judge(), sql), None, "{sql}");
    }
    let mut without = clerk();
    without.tables.values_mut().for_each(|table| table.masked.clear());
    for sql in ["COPY orders (id) TO STDOUT", "COPY orders (made_since) TO STDOUT"] {
        assert_eq!(copied(&mut sql::Judge::new(without.clone(), shop()), sql), None, "{sql}");
    }
    allowed("COPY orders (id) TO STDOUT");
    refused("COPY orders (made_since) TO STDOUT");
    assert_eq!(masked_in("COPY (SELECT born, id, card FROM customers) TO STDOUT"), [0, 2]);
    assert_eq!(masked_in("COPY customers (id, card) TO STDOUT"), [1]);
}

// covers: PG-4
#[test]
fn a_copy_of_masked_columns_is_written_as_its_options_say_or_refused() {
    let text = lines(b'\t', "\\N", false, None);
    let quotes = |quote, escape, forced| Some(Quotes { quote, escape, forced });
    let none = || Forced::Named(BTreeSet::new());
    let card = || Forced::Named(BTreeSet::from(["card".to_owned()]));
    for (options, form) in [
        ("", text.clone()),
        ("(FORMAT text, ENCODING 'utf8', HEADER off)", text),
        ("WITH DELIMITER '|' NULL ''", lines(b'|', "", false, None)),
        ("(HEADER, DELIMITER E'\\x01')", lines(1, "\\N", true, None)),
        ("(FORMAT csv)", lines(b',', "", false, quotes(b'"', b'"', none()))),
        ("CSV HEADER FORCE QUOTE card", lines(b',', "", true, quotes(b'"', b'"', card()))),
        ("(FORMAT csv, FORCE_QUOTE (card), ESCAPE '\\', HEADER true)", lines(b',', "", true, quotes(b'"', b'\\', card()))),
        ("(FORMAT csv, FORCE_QUOTE *, QUOTE '''', DELIMITER ';', NULL 'x')", lines(b';', "x", false, quotes(b'\'', b'\'', Forced::All))),
        ("(FORMAT binary)", Form::Binary),
    ] {
        let sql = format!("COPY customers (id, card) TO STDOUT {options}");
        assert_eq!(copied(&mut judge(), &sql).unwrap().form, form, "{sql}");
    }
    for options in [
        "(ENCODING 'latin1')",
        "(DELIMITER 'ab')",
        "(DELIMITER 'a')",
        "(DELIMITER 'é')",
        "(NULL E'\\n')",
        "(NULL E'a\\tb')",
        "(HEADER match)",
        "(HEADER 2)",
        "(QUOTE '\"')",
        "(FORCE_QUOTE (card))",
        "(FORMAT csv, QUOTE ',')",
        "(FORMAT csv, NULL '\"')",
        "(FORMAT csv, FORCE_QUOTE (nothing))",
        "(FORMAT csv, FORCE_NULL (card))",
        "(FORMAT binary, HEADER)",
        "(FORMAT csv, FORMAT csv)",
        "(FORMAT 'CSV')",
        "(ON_ERROR ignore)",
    ] {
        refused(&format!("COPY customers (id, card) TO STDOUT {options}"));
    }
}

// covers: PG-4, E5 (postgres)
#[test]
fn a_copy_of_a_table_is_of_its_own_columns() {
    let column = |table: &'static str, number: &'static str, name: &'static str| {
        [
            Some("column"),
            Some("public"),
            Some(table),
            Some(if table == "shown" { "17002" } else { "17001" }),
            Some(number),
            Some(name),
            Some("25"),
        ]
    };
    let rows = [
        column("people", "1", "id"),
        column("people", "2", "a \"card\""),
        column("people", "3", "twice"),
        column("shown", "1", "id"),
        column("shown", "2", "a \"card\""),
        [Some("generated"), Some("public"), Some("people"), Some("twice"), Some(""), Some(""), Some("")],
        [Some("by query"), Some("public"), Some("shown"), Some(""), Some(""), Some(""), Some("")],
    ];
    let table = TableRights { select: Columns::All, masked: ["a \"card\"".to_owned()].into(), ..TableRights::default() };
    let mut rights = clerk();
    rights.tables = ["people", "shown"].map(|name| (QualifiedName::new("public", name), table.clone())).into();
    let mut judge = sql::Judge::new(rights, Catalog::from_rows(rows).unwrap());
    let copy = copied(&mut judge, "COPY people TO STDOUT").unwrap();
    assert_eq!(copy.query, "SELECT \"id\", \"a \"\"card\"\"\" FROM ONLY \"public\".\"people\" AS \"tidegate: copied\"");
    assert!(copied(&mut judge, "COPY (SELECT * FROM shown) TO STDOUT").is_some());
    for sql in [
        // A server copies none of these.
        "COPY shown TO STDOUT",
        "COPY people (id, \"a \"\"card\"\"\", twice) TO STDOUT",
    ] {
        let verdict = judge.judge(sql);
        assert!(verdict.refused().unwrap().message.contains("is masked for this role and cannot be copied"), "{sql}");
    }
    // Something else goes by that name in a query.
    for name in ["people", "ctid"] {
        let sql = format!("COPY people (id, {name}) TO STDOUT");
        let verdict = judge.judge(&sql);
        assert!(verdict.refused().unwrap().message.contains("there is no column"), "{sql}");
    }
}
