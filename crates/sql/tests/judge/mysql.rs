//! MariaDB's statements, allowed and refused in pairs.

use access::rights::{Columns, DatabaseRights, TableRights};
use proptest::prelude::*;
use sql::{Catalog, Concealed, Hidden, Verdict, mysql};

use crate::people::{clerk, some};

fn shop() -> (DatabaseRights, Catalog) {
    let mut rights = clerk();
    rights.tables = rights
        .tables
        .into_iter()
        .map(|(mut name, rights)| {
            name.schema = "shop".to_owned();
            (name, rights)
        })
        .collect();
    rights.functions = ["shop.ship".parse().unwrap()].into();
    let catalog = Catalog::of_tables(&[
        ("shop.orders", &["id", "customer_id", "status", "note", "total"]),
        ("shop.items", &["id", "order_id", "name", "price"]),
        ("shop.customers", &["id", "name", "card", "born", "password"]),
        ("shop.payments", &["id", "iban"]),
    ]);
    (rights, catalog)
}

fn judge(sql: &str) -> Verdict {
    let (rights, catalog) = shop();
    mysql::judge(&rights, &catalog, Some("shop"), sql)
}

/// What is recorded of a text; `None`: all of it.
fn recorded(sql: &str) -> Option<Concealed> {
    let (mut rights, catalog) = shop();
    for table in rights.tables.values_mut().filter(|table| !table.masked.is_empty()) {
        (table.insert, table.delete) = (Columns::All, true);
    }
    let verdict = mysql::judge(&rights, &catalog, Some("shop"), sql);
    mysql::conceal(&rights, &catalog, sql, &verdict)
}

// covers: E4 (mysql), E5 (mysql)
#[test]
fn statements_in_disguise() {
    for (plain, disguised) in [
        ("SELECT id, status FROM orders", "SELECT iban FROM payments"),
        ("SELECT `id` FROM `shop`.`orders`", "SELECT `iban` FROM `shop`.`payments`"),
        ("SELECT id FROM customers", "SELECT password FROM customers"),
        ("SELECT id FROM customers", "SELECT PASSWORD FROM customers"),
        ("SELECT id FROM orders", "SELECT id FROM mysql.user"),
        ("SELECT table_name FROM information_schema.tables", "SELECT * FROM performance_schema.threads"),
        ("SELECT id FROM orders", "SELECT id FROM orders; SELECT iban FROM payments"),
        ("SELECT 1 /* x */", "SELECT 1 /*! , (SELECT iban FROM payments) */"),
        ("SELECT 1 /* x */", "SELECT 1 /*!50000 , load_file('x') */"),
        ("SELECT 1 /* x */", "SELECT 1 /*M! , load_file('x') */"),
        ("SELECT id FROM orders # x", "SELECT iban FROM payments # x"),
        ("SELECT 'it''s \\' -- x' FROM orders", "SELECT 'it''s \\' -- x' FROM payments"),
        ("SELECT id FROM orders UNION SELECT id FROM items", "SELECT id FROM orders UNION SELECT id FROM payments"),
        ("WITH x AS (SELECT id FROM orders) SELECT id FROM x", "WITH x AS (SELECT id FROM payments) SELECT id FROM x"),
        ("SELECT (SELECT max(id) FROM orders)", "SELECT (SELECT max(id) FROM payments)"),
        ("SELECT id FROM orders WHERE id IN (SELECT order_id FROM items)", "SELECT id FROM orders WHERE id IN (SELECT id FROM payments)"),
        ("SELECT ship(1)", "SELECT load_file('/etc/passwd')"),
        ("SELECT shop.ship(1)", "SELECT other.ship(1)"),
        ("SELECT concat('a', 'b')", "SELECT sys_exec('x')"),
        ("SELECT id FROM orders", "SELECT id FROM orders INTO OUTFILE '/tmp/x'"),
        ("INSERT INTO orders (id, status) VALUES (1, 'x')", "INSERT INTO payments (id) VALUES (1)"),
        (
            "INSERT INTO orders (id) VALUES (1) ON DUPLICATE KEY UPDATE status = 'x'",
            "INSERT INTO orders (id) VALUES (1) ON DUPLICATE KEY UPDATE total = 1",
        ),
        ("INSERT INTO orders (id) SELECT id FROM items", "INSERT INTO orders (id) SELECT id FROM payments"),
        ("UPDATE orders SET status = 'x' WHERE id = 1", "UPDATE orders SET total = 1 WHERE id = 1"),
        ("UPDATE customers SET name = 'x' WHERE id = 1", "UPDATE customers SET name = 'x' WHERE password = 'y'"),
        ("DELETE FROM orders WHERE id = 1", "DELETE FROM items WHERE id = 1"),
        ("SET autocommit = 0", "SET sql_mode = 'ANSI_QUOTES'"),
        ("SET NAMES utf8mb4", "SET NAMES gbk"),
        ("SET @x = 1", "SET GLOBAL wait_timeout = 1"),
        ("SHOW TABLES", "SHOW BINARY LOGS"),
        ("BEGIN", "USE mysql"),
        ("EXPLAIN SELECT id FROM orders", "EXPLAIN SELECT iban FROM payments"),
        (
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE orders FIELDS TERMINATED BY ',' (id, status)",
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE payments FIELDS TERMINATED BY ',' (id)",
        ),
        ("SHOW TABLES WHERE 1", "SHOW TABLES WHERE (SELECT iban FROM payments) LIKE 'x'"),
        // Masks.
        ("SELECT id, card FROM customers", "SELECT id, lower(card) FROM customers"),
        ("SELECT id, card AS x FROM customers WHERE id = 1", "SELECT id, card AS x FROM customers HAVING x LIKE '4%'"),
        ("SELECT id, card FROM customers ORDER BY name", "SELECT id, card FROM customers ORDER BY 2"),
        ("SELECT id, card FROM customers ORDER BY (name)", "SELECT id, card FROM customers ORDER BY ((2))"),
        ("SELECT id, card FROM customers ORDER BY name", "SELECT id, card FROM customers ORDER BY +2"),
        ("SELECT count(*) FROM customers GROUP BY (name)", "SELECT count(*), card FROM customers GROUP BY (2)"),
        ("SELECT id FROM customers WHERE name = 'x'", "SELECT id FROM customers WHERE card = 'x'"),
        ("SELECT id FROM customers WHERE name = 'x'", "SELECT id FROM customers WHERE CARD = 'x'"),
        // Letters that servers take for others: `İ` for `i`, the Kelvin sign for `k`, some the long `ſ` for `s`.
        ("SELECT card AS i FROM customers ORDER BY name", "SELECT card AS i FROM customers ORDER BY i"),
        ("SELECT card AS i FROM customers ORDER BY name", "SELECT card AS i FROM customers ORDER BY İ"),
        ("SELECT card AS i FROM customers ORDER BY name", "SELECT card AS İ FROM customers ORDER BY i"),
        ("SELECT card AS i FROM customers WHERE id = 1", "SELECT card AS i FROM customers HAVING `İ` LIKE '4%'"),
        ("SELECT card AS k FROM customers WHERE id = 1", "SELECT card AS k FROM customers HAVING \u{212a} LIKE '4%'"),
        ("SELECT card AS s FROM customers WHERE id = 1", "SELECT card AS s FROM customers HAVING ſ LIKE '4%'"),
        ("SELECT id FROM customers WHERE name = 'x'", "SELECT id FROM customers WHERE cárd = 'x'"),
        ("SELECT name AS größe FROM customers ORDER BY größe", "SELECT name AS größe FROM customers ORDER BY grösse"),
        ("SELECT name AS `Größe` FROM customers x ORDER BY `größe`", "SELECT card AS `Größe` FROM customers"),
        ("WITH ä AS (SELECT id AS ö FROM orders) SELECT ä.ö FROM ä", "WITH ä AS (SELECT id AS ö FROM orders) SELECT ä.ü FROM ä"),
        ("SELECT id FROM customers WHERE name = @größe", "SELECT id FROM customers WHERE name = größe"),
        // Other names that servers do not take as they stand.
        ("SELECT card AS `x` FROM customers", "SELECT card AS ` x` FROM customers HAVING x LIKE '4%'"),
        ("SELECT card AS 'x' FROM customers", "SELECT card AS '\\a' FROM customers HAVING a LIKE '4%'"),
        ("SELECT card AS 'x' FROM customers", "SELECT card AS '\u{1f600}' FROM customers HAVING `?` LIKE '4%'"),
        ("WITH mine AS (SELECT 1 AS id) SELECT id FROM mine", "WITH Orders AS (SELECT 1 AS id) SELECT id FROM Orders"),
        ("SELECT DISTINCT name FROM customers", "SELECT DISTINCT card FROM customers"),
        ("SELECT name FROM customers", "SELECT card FROM (SELECT card FROM customers) x"),
        ("SELECT name FROM customers", "SELECT * FROM customers"),
        ("SELECT name FROM customers", "SELECT card FROM customers UNION SELECT 1"),
        ("SELECT o.id FROM orders o NATURAL JOIN items i", "SELECT a.id FROM customers a NATURAL JOIN customers b"),
        ("SELECT a.id FROM customers a JOIN customers b USING (name)", "SELECT a.id FROM customers a JOIN customers b USING (card)"),
    ] {
        let verdict = judge(plain);
        assert!(verdict.is_allowed(), "refused: {plain}\n  {}", verdict.refused().unwrap());
        assert!(!judge(disguised).is_allowed(), "allowed: {disguised}");
    }
    for sql in [
        "DROP TABLE orders",
        "CREATE TABLE x (id int)",
        "GRANT ALL ON *.* TO x",
        "LOAD DATA INFILE 'x' INTO TABLE orders",
        "LOAD DATA LOCAL INFILE 'x' INTO TABLE orders SET note = (SELECT iban FROM payments)",
        "LOAD DATA LOCAL INFILE 'x' REPLACE INTO TABLE items",
        "TABLE payments",
        "SELECT * FROM customers PROCEDURE ANALYSE()",
        "HANDLER orders OPEN",
        "PREPARE p FROM 'SELECT 1'",
        "TRUNCATE orders",
        "KILL 1",
        "nonsense",
        "SELECT 1\0",
    ] {
        assert!(!judge(sql).is_allowed(), "allowed: {sql}");
    }
    for depth in [10, 11, 12, 490, 1_000, 20_000] {
        let _either = judge(&format!("SELECT {}1{}", "(".repeat(depth), ")".repeat(depth)));
        let _either = judge(&format!("SELECT 1{}", " + 1".repeat(depth)));
    }
}

// covers: E5 (mysql)
#[test]
fn where_something_is_masked_views_are_closed() {
    let (mut rights, _) = shop();
    rights
        .tables
        .insert("shop.open_cards".parse().unwrap(), TableRights { select: Columns::All, insert: Columns::All, ..TableRights::default() });
    rights.copy_in = true;
    let row = |kind: &'static str, table: &'static str, n: &'static str, name: &'static str| {
        [Some(kind), Some("shop"), Some(table), Some("0"), Some(n), Some(name), Some("0")]
    };
    let columns = [row("column", "open_cards", "1", "card"), row("column", "orders", "1", "id")];
    let table = Catalog::from_rows(columns).unwrap();
    let view = Catalog::from_rows(columns.into_iter().chain([row("view", "open_cards", "", "")])).unwrap();
    let mut unmasked = rights.clone();
    for table in unmasked.tables.values_mut() {
        table.masked.clear();
    }
    for sql in [
        "SELECT card FROM open_cards",
        "SELECT * FROM open_cards",
        "SELECT o.card FROM open_cards o",
        "SELECT x.card FROM (SELECT card FROM open_cards) x",
        "SELECT id FROM orders WHERE EXISTS (SELECT 1 FROM open_cards)",
        "INSERT INTO open_cards (card) VALUES ('4111')",
        "LOAD DATA LOCAL INFILE 'x' INTO TABLE open_cards",
    ] {
        let judge = |rights, catalog| mysql::judge(rights, catalog, Some("shop"), sql);
        assert!(judge(&rights, &table).is_allowed() && judge(&unmasked, &view).is_allowed(), "{sql}");
        let refused = judge(&rights, &view);
        assert!(refused.refused().unwrap().message.contains("is a view"), "{sql}: {refused:?}");
    }
    assert!(mysql::catalog_query(&rights).contains("'view'") && !mysql::catalog_query(&unmasked).contains("'view'"));
}

#[test]
fn masked_outputs_are_known_by_their_place() {
    let Verdict::Allowed(all) = judge("SELECT id, card, name, born FROM customers") else { panic!("refused") };
    assert_eq!(all[0].masked_outputs.iter().copied().collect::<Vec<_>>(), [1, 3]);
}

// covers: MAY-6 (mysql)
#[test]
fn a_star_stands_for_the_columns_of_a_complete_list_and_for_no_others() {
    let (mut rights, catalog) = shop();
    let mut of = |columns: &[&str], sql: &str| {
        rights.tables.get_mut(&"shop.items".parse().unwrap()).unwrap().select = some(columns);
        mysql::judge(&rights, &catalog, Some("shop"), sql)
    };
    let all = ["ID", "order_id", "name", "price"];
    for sql in ["SELECT * FROM items", "SELECT i.* FROM items i", "SELECT count(*) FROM (SELECT * FROM items) x"] {
        assert!(of(&all, sql).is_allowed(), "{sql}: {:?}", of(&all, sql));
        let refused = of(&["id", "name"], sql);
        assert_eq!(refused.refused().unwrap().hint, "write `id`, `name` in its place", "{sql}");
    }
    // An account that sees two of four columns: nobody here knows the others.
    let gap = [["1", "id"], ["3", "name"]]
        .map(|[n, name]| [Some("column"), Some("shop"), Some("items"), Some("0"), Some(n), Some(name), Some("0")]);
    let seen = Catalog::from_rows(gap).unwrap();
    let (mut rights, _) = shop();
    rights.tables.get_mut(&"shop.items".parse().unwrap()).unwrap().select = some(&["id", "name"]);
    assert!(mysql::judge(&rights, &seen, Some("shop"), "SELECT id, name FROM items").is_allowed());
    assert!(!mysql::judge(&rights, &seen, Some("shop"), "SELECT * FROM items").is_allowed());
}

// covers: E6 (mysql), E7 (mysql)
#[test]
fn a_text_of_many_pieces_is_refused_and_many_rows_in_one_go_are_not() {
    let insert = |rows: usize| format!("INSERT INTO orders (id, status) VALUES {}(1,'x')", "(1,'x'),".repeat(rows));
    // Six pieces a row.
    let most = mysql::TOKENS / 6;
    assert!(judge(&insert(most - 20)).is_allowed());
    let verdict = judge(&insert(most + 1));
    assert!(verdict.refused().unwrap().to_string().contains("more than 250000 words"), "{verdict:?}");
    // What stands in one value is one piece, however it looks.
    assert!(judge(&format!("UPDATE orders SET status = '{}'", "a, b, (c); ".repeat(80_000))).is_allowed());
    assert!(!judge(&format!("UPDATE orders SET status = '{}'", "a".repeat(mysql::LONGEST))).is_allowed());
    // A count that is led to believe it stands in a comment is no way around.
    assert!(!judge(&format!("SELECT 1 --{}\n", ",1".repeat(most * 3))).is_allowed());
    // Nothing of what was refused for it is kept where something is masked.
    let text = insert(most + 1).replace("(1,'x')", "(1,'4111')");
    assert_eq!(recorded(&text).unwrap().text, format!("‹hidden: {} bytes›", text.len()));
}

// covers: F5 (mysql)
#[test]
fn of_a_statement_that_is_allowed_a_record_keeps_what_meets_no_masked_column() {
    for (sql, kept) in [
        (
            "INSERT INTO customers (id, name, card) VALUES (5, 'Ada', '4111')",
            "INSERT INTO customers (id, name, card) VALUES (5, 'Ada', '‹hidden›')",
        ),
        (
            "INSERT INTO customers VALUES (5, 'Ä', '4111', '1971-03-29', 'x'), (6, 'B', NULL, -7, 'y')",
            "INSERT INTO customers VALUES (5, 'Ä', '‹hidden›', '‹hidden›', 'x'), (6, 'B', NULL, -'‹hidden›', 'y')",
        ),
        ("REPLACE customers SET id = 1, name = 'x', card = \"41\\\"11\"", "REPLACE customers SET id = 1, name = 'x', card = '‹hidden›'"),
        (
            "UPDATE customers SET\n name = 'Ä', card = 'a' 'b'  \"c\" WHERE id = 7",
            "UPDATE customers SET\n name = 'Ä', card = '‹hidden›' '‹hidden›'  '‹hidden›' WHERE id = 7",
        ),
        (
            "UPDATE customers SET card = concat('41', upper('x')) WHERE id = 7",
            "UPDATE customers SET card = concat('‹hidden›', upper('‹hidden›')) WHERE id = 7",
        ),
        ("UPDATE customers SET card = x'4111', name = 'y'", "UPDATE customers SET card = '‹hidden›', name = 'y'"),
        ("UPDATE customers SET card = 0x4111, name = 'y'", "UPDATE customers SET card = '‹hidden›', name = 'y'"),
        ("UPDATE customers SET card = _utf8mb4'4111', name = 'y'", "UPDATE customers SET card = _utf8mb4'‹hidden›', name = 'y'"),
        (
            "UPDATE customers SET CARD = cast('4111' as char), name = 'y'",
            "UPDATE customers SET CARD = cast('‹hidden›' as char), name = 'y'",
        ),
        (
            "INSERT INTO customers (id, name) VALUES (5, 'Ada') ON DUPLICATE KEY UPDATE card = '4111', name = 'z'",
            "INSERT INTO customers (id, name) VALUES (5, 'Ada') ON DUPLICATE KEY UPDATE card = '‹hidden›', name = 'z'",
        ),
        // A comment may say it again.
        (
            "/* 4111 */ UPDATE customers SET card = '4111' /* 4111 */ '41', name = 'x' -- 4111",
            "/*‹hidden›*/ UPDATE customers SET card = '‹hidden›' /*‹hidden›*/ '‹hidden›', name = 'x' /*‹hidden›*/",
        ),
        // Where it goes, nobody can tell.
        (
            "INSERT INTO customers (id, name, card) VALUES (5, '4111', name)",
            "INSERT INTO customers (id, name, card) VALUES ('‹hidden›', '‹hidden›', name)",
        ),
        (
            "INSERT INTO customers (id, card) SELECT 5, '4111' /* 4111 */",
            "INSERT INTO customers (id, card) SELECT '‹hidden›', '‹hidden›' /*‹hidden›*/",
        ),
        ("SET @card = '4111'", "SET @card = '‹hidden›'"),
        ("SELECT ship(4111), id FROM orders WHERE status = 'x'", "SELECT ship('‹hidden›'), id FROM orders WHERE status = '‹hidden›'"),
        ("CALL ship(4111)", "CALL ship('‹hidden›')"),
        ("SELECT 1; UPDATE customers SET card = '4111'", "SELECT 1; UPDATE customers SET card = '‹hidden›'"),
        ("EXPLAIN UPDATE customers SET card = '4111'", "EXPLAIN UPDATE customers SET card = '‹hidden›'"),
    ] {
        let concealed = recorded(sql).unwrap_or_else(|| panic!("all of it: {sql}"));
        assert_eq!((concealed.text.as_str(), concealed.why), (kept, None), "{sql}");
        assert!(concealed.count > 0);
    }
    for sql in [
        "SELECT id, card FROM customers WHERE name = 'x'",
        "UPDATE customers SET name = 'x'",
        "INSERT INTO orders (id) VALUES (4111)",
        "SELECT @@autocommit, 4111",
    ] {
        assert_eq!(recorded(sql), None, "{sql}");
    }
}

// covers: F5 (mysql)
#[test]
fn where_columns_are_out_of_sight_no_value_is_kept_by_its_place() {
    let (mut rights, _) = shop();
    rights.tables.get_mut(&"shop.customers".parse().unwrap()).unwrap().insert = Columns::All;
    let recorded = |numbers: [&'static str; 2], sql: &str| {
        let rows = [[numbers[0], "id"], [numbers[1], "card"]]
            .map(|[n, name]| [Some("column"), Some("shop"), Some("customers"), Some("0"), Some(n), Some(name), Some("0")]);
        let catalog = Catalog::from_rows(rows).unwrap();
        let verdict = mysql::judge(&rights, &catalog, Some("shop"), sql);
        assert!(verdict.is_allowed(), "{verdict:?}");
        mysql::conceal(&rights, &catalog, sql, &verdict).unwrap().text
    };
    assert_eq!(recorded(["1", "2"], "INSERT INTO customers VALUES (5, '4111')"), "INSERT INTO customers VALUES (5, '‹hidden›')");
    let all = "INSERT INTO customers VALUES ('‹hidden›', '‹hidden›', '‹hidden›')";
    assert_eq!(recorded(["1", "3"], "INSERT INTO customers VALUES (5, 'x', '4111')"), all);
    assert_eq!(recorded(["1", "2"], "INSERT INTO customers VALUES (5, 'x', '4111')"), all);
}

// covers: F5 (mysql)
#[test]
fn parameters_are_hidden_by_their_number() {
    let Verdict::Allowed(all) = judge("UPDATE customers SET name = ?, card = concat(?, 'x', ?) WHERE id = ?") else { panic!("refused") };
    let Hidden::Some { parameters, constants } = &all[0].hidden else { panic!("{:?}", all[0].hidden) };
    assert_eq!((parameters.iter().copied().collect::<Vec<_>>(), constants.len()), (vec![2, 3], 1));
}

// covers: F5 (mysql)
#[test]
fn of_a_statement_that_is_refused_a_record_keeps_no_value() {
    for (sql, kept) in [
        ("SELECT id FROM customers WHERE card = '4111' -- 4111", "SELECT id FROM customers WHERE card = '‹hidden›' /*‹hidden›*/"),
        (
            "SELECT id FROM customers WHERE card = `4111` AND `name` = 0x4111",
            "SELECT id FROM customers WHERE card = `‹hidden›` AND `name` = '‹hidden›'",
        ),
        ("SELECT id FROM customers WHERE card = 0b4111", "SELECT id FROM customers WHERE card = '‹hidden›'"),
        ("SELECT id FROM open_cards WHERE x = '4111'", "SELECT id FROM open_cards WHERE x = '‹hidden›'"),
        ("SET PASSWORD = '4111'", "SET PASSWORD = '‹hidden›'"),
        ("EXECUTE IMMEDIATE concat('select ', '4111')", "EXECUTE IMMEDIATE concat('‹hidden›', '‹hidden›')"),
    ] {
        let concealed = recorded(sql).unwrap();
        assert_eq!(concealed.text, kept);
        assert!(!concealed.why.unwrap().contains("4111"), "{sql}");
    }
    for sql in [
        "SELECT id FROM customers WHERE card = '4111",
        "SELECT 1 /*! , '4111' */",
        "SELECT id FROM customers WHERE card = '4111' nonsense '4111'",
    ] {
        let concealed = recorded(sql).unwrap();
        assert!(!concealed.text.contains("4111") && !concealed.why.as_ref().unwrap().contains("4111"), "{concealed:?}");
    }
}

proptest! {
    // covers: F5 (mysql)
    #[test]
    fn whatever_a_masked_column_is_given_is_in_no_record(before in "[ -~äö\n]{0,20}", secret in "[A-Z]{8}[ -&(-~äö]{0,8}", n in 0_u32..9) {
        let name = before.replace(['\\', '\''], "");
        let secret = secret.replace('\\', "");
        for sql in [
            format!("INSERT INTO customers (id, name, card) VALUES ({n}, '{name}', '{secret}')"),
            format!("UPDATE customers SET name = '{name}', card = '{secret}' WHERE id = {n}"),
            format!("SELECT '{name}' FROM customers WHERE card = '{secret}'"),
            format!("SELECT '{name}' FROM customers WHERE card = '{secret}' {name} {n}"),
        ] {
            if let Some(concealed) = recorded(&sql) {
                prop_assert!(!concealed.text.contains(&secret[..8]), "{}", concealed.text);
                prop_assert!(!concealed.why.unwrap_or_default().contains(&secret[..8]), "{}", sql);
            } else {
                prop_assert!(false, "kept: {}", sql);
            }
        }
    }
}

/// What may stand in a statement; `V` is a value.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "SELECT",
        "INSERT INTO",
        "UPDATE",
        "DELETE FROM",
        "FROM",
        "WHERE",
        "SET",
        "VALUES",
        "IN",
        "BETWEEN",
        "AND",
        "OR",
        "ORDER BY",
        "GROUP BY",
        "LIMIT",
        "INTO OUTFILE",
        "LIKE",
        "NOT",
        "NULL",
        "orders",
        "payments",
        "customers",
        "id",
        "iban",
        "status",
        "total",
        "shop.",
        "=",
        "<",
        ">=",
        "(",
        ")",
        ",",
        "*",
        "-",
        "--",
        "#",
        "/*",
        "@x",
        "`id`",
        ";",
        "V",
        "V",
        "V",
        "V",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_has_one_shape_has_one_verdict(
        verb in prop::sample::select(vec!["SELECT id FROM orders WHERE id =", "INSERT INTO orders (id, status) VALUES (", "UPDATE orders SET status =", "SELECT"]),
        pieces in prop::collection::vec(piece(), 0..14),
        values in prop::collection::vec(("[0-9]{1,3}|'[a-z 0-9]{0,5}'", "[0-9]{1,3}|'[a-z 0-9]{0,5}'"), 14),
    ) {
        let (mut rights, catalog) = shop();
        for table in rights.tables.values_mut() {
            table.masked.clear();
        }
        let (mut one, mut other) = (verb.to_owned(), verb.to_owned());
        for (piece, (a, b)) in pieces.iter().zip(&values) {
            let (a, b) = if *piece == "V" { (&a[..], &b[..]) } else { (*piece, *piece) };
            one.extend([" ", a]);
            other.extend([" ", b]);
        }
        let shapes = (mysql::shape(one.as_bytes()), mysql::shape(other.as_bytes()));
        if shapes.0.is_some() && shapes.0 == shapes.1 {
            let verdicts = (mysql::judge(&rights, &catalog, Some("shop"), &one), mysql::judge(&rights, &catalog, Some("shop"), &other));
            prop_assert_eq!(matches!(verdicts.0, Verdict::Allowed(_)), matches!(verdicts.1, Verdict::Allowed(_)), "{} / {}", one, other);
            if let (Verdict::Allowed(one), Verdict::Allowed(other)) = verdicts {
                prop_assert_eq!(format!("{one:?}"), format!("{other:?}"));
            }
        }
    }
}
