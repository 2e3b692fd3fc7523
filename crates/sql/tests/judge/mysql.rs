//! MariaDB's statements, allowed and refused in pairs.

use sql::{Catalog, Verdict, mysql};

use crate::people::clerk;

fn judge(sql: &str) -> Verdict {
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
    mysql::judge(&rights, &catalog, Some("shop"), sql)
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

#[test]
fn masked_outputs_are_known_by_their_place() {
    let Verdict::Allowed(all) = judge("SELECT id, card, name, born FROM customers") else { panic!("refused") };
    assert_eq!(all[0].masked_outputs.iter().copied().collect::<Vec<_>>(), [1, 3]);
}
