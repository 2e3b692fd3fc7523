//! Masked columns: a bare output, and nothing else.

use std::collections::BTreeSet;

use sql::Verdict;

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
        // COPY has no names for its columns.
        ("COPY customers (id, name) TO STDOUT", "COPY customers (id, card) TO STDOUT"),
        ("COPY (SELECT id, name FROM customers) TO STDOUT", "COPY (SELECT id, card FROM customers) TO STDOUT"),
        (
            "COPY (SELECT id, name FROM customers) TO STDOUT (FORMAT binary)",
            "COPY (SELECT id, card FROM customers) TO STDOUT (FORMAT binary)",
        ),
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
