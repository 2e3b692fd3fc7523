//! What a role may not do, in every form it can be written in. Each stands beside the same form doing what the role may.

use crate::people::{allowed, judge, pairs, refused};

// covers: PG-3, MAY-6 (postgres)
#[test]
fn verbs_tables_and_columns() {
    pairs(&[
        ("SELECT id, status FROM orders", "SELECT id FROM payments"),
        ("SELECT id, name FROM customers", "SELECT id, password FROM customers"),
        ("SELECT id FROM public.orders", "SELECT id FROM public.payments"),
        ("SELECT o.* FROM orders o", "SELECT c.* FROM customers c"),
        ("SELECT count(*) FROM orders", "SELECT count(*) FROM payments"),
        ("INSERT INTO orders (id, status) VALUES (1, 'new')", "INSERT INTO items (id) VALUES (1)"),
        ("INSERT INTO orders VALUES (1, 2, 'new', NULL, 3)", "INSERT INTO customers (id, name) VALUES (1, 'x')"),
        ("INSERT INTO orders SELECT * FROM orders", "INSERT INTO orders (id, note) SELECT id, iban FROM payments"),
        ("UPDATE orders SET status = 'x' WHERE id = 1", "UPDATE orders SET total = 0 WHERE id = 1"),
        ("UPDATE customers SET name = 'x' WHERE id = 1", "UPDATE customers SET password = 'x' WHERE id = 1"),
        ("UPDATE customers SET name = 'x' WHERE id = 1", "UPDATE customers SET name = password"),
        ("UPDATE customers SET name = 'x' WHERE id = 1", "UPDATE customers SET name = 'x' WHERE password = 'y'"),
        ("UPDATE orders SET (status, note) = ('a', 'b')", "UPDATE orders SET (status, total) = ('a', 1)"),
        ("UPDATE orders SET (status, note) = (SELECT 'a', 'b')", "UPDATE orders SET (status, note) = (SELECT iban, iban FROM payments)"),
        ("UPDATE orders SET note = i.name FROM items i WHERE i.order_id = orders.id", "UPDATE orders SET note = p.iban FROM payments p"),
        ("DELETE FROM orders WHERE id = 1", "DELETE FROM items WHERE id = 1"),
        (
            "DELETE FROM orders USING items WHERE items.order_id = orders.id",
            "DELETE FROM orders USING payments WHERE payments.id = orders.id",
        ),
        ("DELETE FROM orders RETURNING id", "DELETE FROM orders RETURNING (SELECT iban FROM payments)"),
        ("SELECT id FROM orders FOR UPDATE", "SELECT id FROM items FOR UPDATE"),
        ("SELECT id FROM orders FOR KEY SHARE", "SELECT s.id FROM (SELECT id FROM items) s FOR SHARE"),
        ("LOCK TABLE orders", "LOCK TABLE items"),
        // Some columns are not the table.
        ("LOCK TABLE items IN ACCESS SHARE MODE", "LOCK TABLE customers IN ACCESS SHARE MODE"),
        ("LOCK TABLE orders IN ROW EXCLUSIVE MODE", "LOCK TABLE customers IN ROW EXCLUSIVE MODE"),
        (
            "MERGE INTO orders o USING items i ON i.order_id = o.id WHEN MATCHED THEN UPDATE SET status = 'x'",
            "MERGE INTO orders o USING items i ON i.order_id = o.id WHEN MATCHED THEN UPDATE SET total = 1",
        ),
        (
            "MERGE INTO orders o USING items i ON i.order_id = o.id WHEN MATCHED THEN DELETE",
            "MERGE INTO customers o USING items i ON i.order_id = o.id WHEN MATCHED THEN DELETE",
        ),
        (
            "INSERT INTO orders (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET status = excluded.status",
            "INSERT INTO orders (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET total = excluded.total",
        ),
        ("TABLE orders", "TABLE payments"),
        ("VALUES (1), (2)", "VALUES ((SELECT iban FROM payments))"),
    ]);
    refused("TRUNCATE orders");
}

// covers: E4 (postgres), PG-3
#[test]
fn statements_in_disguise() {
    pairs(&[
        // Several statements: one that may not go takes all with it.
        ("SELECT 1; SELECT id FROM orders", "SELECT id FROM orders; SELECT iban FROM payments"),
        ("BEGIN; UPDATE orders SET status = 'x'; COMMIT", "BEGIN; UPDATE orders SET status = 'x'; DROP TABLE orders; COMMIT"),
        // Comments, quoting, dollar quotes.
        ("SELECT/**/id/* /* nested */ */FROM orders -- x", "SELECT/**/iban/* /* nested */ */FROM payments -- x"),
        ("SELECT id FROM \"orders\"", "SELECT iban FROM \"payments\""),
        ("SELECT id FROM \"public\".\"orders\"", "SELECT iban FROM \"public\".\"payments\""),
        ("SELECT id FROM U&\"\\006frders\"", "SELECT iban FROM U&\"\\0070ayments\""),
        ("SELECT $x$it's$x$ FROM orders", "SELECT $x$it's$x$ FROM payments"),
        ("SELECT 'it''s -- no comment' FROM orders", "SELECT 'it''s -- no comment' FROM payments"),
        ("SELECT E'it\\'s', id FROM orders", "SELECT E'it\\'s', id FROM payments"),
        // CTE, also with a change of data.
        ("WITH x AS (SELECT id FROM orders) SELECT * FROM x", "WITH x AS (SELECT iban FROM payments) SELECT * FROM x"),
        ("WITH x AS (DELETE FROM orders RETURNING id) SELECT * FROM x", "WITH x AS (DELETE FROM items RETURNING id) SELECT * FROM x"),
        (
            "WITH x AS (UPDATE orders SET status = 'x' RETURNING id) SELECT 1",
            "WITH x AS (UPDATE orders SET total = 0 RETURNING id) SELECT 1",
        ),
        (
            "WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT n FROM t",
            "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT p.id FROM payments p, t) SELECT n FROM t",
        ),
        // A name that WITH gives hides a table only where it is visible.
        (
            "WITH payments AS (SELECT 1 AS iban) SELECT iban FROM payments",
            "WITH payments AS (SELECT iban FROM payments) SELECT iban FROM payments",
        ),
        (
            "SELECT * FROM (WITH payments AS (SELECT 1 AS n) SELECT n FROM payments) s",
            "SELECT * FROM (WITH payments AS (SELECT 1 AS n) SELECT n FROM payments) s, payments",
        ),
        ("WITH payments AS (SELECT 1 AS n) SELECT n FROM payments", "WITH payments AS (SELECT 1 AS n) SELECT n FROM public.payments"),
        ("WITH payments AS (SELECT 1 AS n) SELECT n FROM payments", "WITH payments AS (SELECT 1) INSERT INTO payments (id) SELECT 1"),
        // Sub-selects in every corner.
        ("SELECT (SELECT max(id) FROM orders)", "SELECT (SELECT max(iban) FROM payments)"),
        ("SELECT 1 WHERE EXISTS (SELECT FROM orders)", "SELECT 1 WHERE EXISTS (SELECT FROM payments)"),
        ("SELECT id FROM orders WHERE id IN (SELECT order_id FROM items)", "SELECT id FROM orders WHERE id IN (SELECT id FROM payments)"),
        (
            "SELECT id FROM orders WHERE id = ANY (ARRAY(SELECT order_id FROM items))",
            "SELECT id FROM orders WHERE id = ANY (ARRAY(SELECT id FROM payments))",
        ),
        ("SELECT id FROM orders ORDER BY (SELECT 1)", "SELECT id FROM orders ORDER BY (SELECT iban FROM payments LIMIT 1)"),
        (
            "SELECT id FROM orders GROUP BY id HAVING count(*) > 1",
            "SELECT id FROM orders GROUP BY id HAVING count(*) > (SELECT min(id) FROM payments)",
        ),
        ("SELECT id FROM orders LIMIT (SELECT 1)", "SELECT id FROM orders LIMIT (SELECT max(id) FROM payments)"),
        ("SELECT sum(id) OVER (ORDER BY id) FROM orders", "SELECT sum(id) OVER (ORDER BY (SELECT iban FROM payments)) FROM orders"),
        (
            "SELECT count(*) FILTER (WHERE id > 1) FROM orders",
            "SELECT count(*) FILTER (WHERE id > (SELECT max(id) FROM payments)) FROM orders",
        ),
        ("SELECT id FROM orders UNION SELECT order_id FROM items", "SELECT id FROM orders UNION SELECT id FROM payments"),
        ("SELECT o.id FROM orders o JOIN items i ON i.order_id = o.id", "SELECT o.id FROM orders o JOIN payments i ON i.id = o.id"),
        (
            "SELECT o.id FROM orders o, LATERAL (SELECT name FROM items i WHERE i.order_id = o.id) x",
            "SELECT o.id FROM orders o, LATERAL (SELECT iban FROM payments i WHERE i.id = o.id) x",
        ),
        ("SELECT CASE WHEN true THEN 1 ELSE (SELECT 2) END", "SELECT CASE WHEN true THEN 1 ELSE (SELECT id FROM payments) END"),
        ("SELECT COALESCE(NULL, (SELECT 1))", "SELECT COALESCE(NULL, (SELECT iban FROM payments))"),
        ("SELECT id FROM orders TABLESAMPLE system (10)", "SELECT iban FROM payments TABLESAMPLE system (10)"),
        ("SELECT id FROM ONLY orders", "SELECT iban FROM ONLY payments"),
        // Prepared, cursors, EXPLAIN.
        ("PREPARE p AS SELECT id FROM orders WHERE id = $1", "PREPARE p AS SELECT iban FROM payments WHERE id = $1"),
        ("EXECUTE p(1)", "EXECUTE p((SELECT iban FROM payments))"),
        ("DECLARE c CURSOR FOR SELECT id FROM orders", "DECLARE c CURSOR FOR SELECT iban FROM payments"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT id FROM orders", "DECLARE c CURSOR WITH HOLD FOR SELECT lo_get(1)"),
        ("EXPLAIN SELECT id FROM orders", "EXPLAIN SELECT iban FROM payments"),
        ("EXPLAIN (ANALYZE, VERBOSE) DELETE FROM orders", "EXPLAIN (ANALYZE, VERBOSE) DELETE FROM items"),
        // COPY.
        ("COPY orders TO STDOUT", "COPY payments TO STDOUT"),
        ("COPY orders (id, status) TO STDOUT WITH (FORMAT csv, HEADER)", "COPY orders TO '/tmp/x'"),
        ("COPY (SELECT id FROM orders) TO STDOUT", "COPY (SELECT iban FROM payments) TO STDOUT"),
        ("COPY orders TO STDOUT", "COPY orders TO PROGRAM 'sh'"),
        ("COPY orders FROM STDIN", "COPY orders FROM PROGRAM 'cat /etc/passwd'"),
        ("COPY orders FROM STDIN (FORMAT binary)", "COPY items FROM STDIN"),
        ("COPY orders FROM STDIN WHERE id > 1", "COPY orders FROM STDIN WHERE id > (SELECT min(id) FROM payments)"),
        // Channels.
        ("LISTEN orders", "LISTEN payments"),
        ("NOTIFY orders, 'x'", "NOTIFY payments, 'x'"),
        ("SELECT pg_notify('orders', 'x')", "SELECT pg_notify('payments', 'x')"),
        ("SELECT pg_notify('orders', 'x')", "SELECT pg_notify('pay' || 'ments', 'x')"),
        // Transactions.
        ("COMMIT", "PREPARE TRANSACTION 'x'"),
    ]);
    for sql in [
        "DO $$ BEGIN PERFORM 1; END $$",
        "CREATE TEMP VIEW v AS SELECT id FROM orders",
        "CREATE TEMP TABLE orders (id int)",
        "CREATE TABLE x (id int)",
        "CREATE TABLE x AS SELECT id FROM orders",
        "SELECT id INTO x FROM orders",
        "SELECT id INTO TEMP x FROM orders",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE OR REPLACE VIEW orders AS SELECT 1",
        "CREATE RULE r AS ON SELECT TO orders DO INSTEAD SELECT 1",
        "ALTER TABLE orders ADD x int",
        "DROP TABLE orders",
        "GRANT SELECT ON payments TO PUBLIC",
        "REVOKE ALL ON orders FROM PUBLIC",
        "CREATE ROLE x",
        "ALTER ROLE CURRENT_USER SET search_path = evil",
        "VACUUM orders",
        "ANALYZE orders",
        "REINDEX TABLE orders",
        "CLUSTER orders",
        "CHECKPOINT",
        "LOAD 'evil'",
        "COMMENT ON TABLE orders IS 'x'",
        "SECURITY LABEL ON TABLE orders IS 'x'",
        "REFRESH MATERIALIZED VIEW x",
        "IMPORT FOREIGN SCHEMA x FROM SERVER y INTO z",
        "CREATE EXTENSION dblink",
        "ALTER SYSTEM SET x = 1",
        "REASSIGN OWNED BY CURRENT_USER TO postgres",
        "CREATE SCHEMA x",
        "CREATE OPERATOR + (FUNCTION = leak, RIGHTARG = text)",
        "CREATE CAST (text AS int) WITH FUNCTION leak(text)",
        "CREATE DOMAIN d AS text",
        "CREATE PUBLICATION p FOR ALL TABLES",
        "CREATE TRIGGER t BEFORE INSERT ON orders EXECUTE FUNCTION leak()",
        "IMPORT",
        "not sql at all",
        "",
        ";",
    ]
    .into_iter()
    .filter(|sql| !sql.trim_matches(';').is_empty())
    {
        refused(sql);
    }
    // Nothing at all does nothing.
    allowed("");
    allowed(";");
    refused("SELECT id FROM orders\0");
}

// covers: E4 (postgres)
#[test]
fn functions_that_reach_further() {
    allowed("SELECT lower(name), now(), count(*) FROM items GROUP BY 1");
    allowed("SELECT ship(1)");
    allowed("SELECT public.ship(1)");
    allowed("CALL ship(1)");
    for call in [
        "query_to_xml('SELECT iban FROM payments', true, true, '')",
        "pg_catalog.query_to_xml('SELECT 1', true, true, '')",
        "query_to_xml_and_xmlschema('SELECT 1', true, true, '')",
        "table_to_xml('payments', true, true, '')",
        "schema_to_xml('public', true, true, '')",
        "database_to_xml(true, true, '')",
        "cursor_to_xml('c', 1, true, true, '')",
        "ts_stat('SELECT iban FROM payments')",
        "dblink('host=x', 'SELECT 1')",
        "public.dblink('host=x', 'SELECT 1')",
        "leak('x')",
        "public.leak('x')",
        "pg_read_file('/etc/passwd')",
        "pg_read_binary_file('/etc/passwd')",
        "pg_ls_dir('/')",
        "pg_stat_file('/etc/passwd')",
        "lo_import('/etc/passwd')",
        "lo_export(1, '/tmp/x')",
        "lo_get(1)",
        "lo_from_bytea(0, 'x')",
        "loread(1, 1)",
        "set_config('role', 'postgres', false)",
        "set_config('search_path', 'evil', false)",
        "set_config('ro' || 'le', 'postgres', false)",
        "pg_terminate_backend(1)",
        "pg_cancel_backend(1)",
        "pg_reload_conf()",
        "pg_advisory_lock(1)",
        "pg_export_snapshot()",
        "pg_logical_emit_message(true, 'a', 'b')",
        "pg_create_logical_replication_slot('a', 'b')",
        "setval('orders_id_seq', 1)",
        "pg_switch_wal()",
        "pg_stat_get_activity(NULL)",
        "PG_READ_FILE('/etc/passwd')",
        "\"pg_read_file\"('/etc/passwd')",
        "U&\"\\0070g_read_file\"('/etc/passwd')",
        "other.pg_sleep(1)",
    ] {
        refused(&format!("SELECT {call}"));
        refused(&format!("SELECT * FROM {call} x"));
        refused(&format!("SELECT 1 WHERE {call} IS NOT NULL"));
        refused(&format!("WITH x AS (SELECT {call}) SELECT 1"));
        refused(&format!("INSERT INTO orders (note) VALUES ({call})"));
        refused(&format!("PREPARE p AS SELECT {call}"));
        refused(&format!("SELECT * FROM ROWS FROM ({call}) x"));
        refused(&format!("SELECT CASE WHEN false THEN {call} END"));
    }
    // A function called as if it were a field.
    pairs(&[
        ("SELECT (o).status FROM orders o", "SELECT ('/etc/passwd'::text).pg_read_file"),
        ("SELECT f.f FROM unnest(ARRAY['x']) f", "SELECT f.pg_read_file FROM unnest(ARRAY['/etc/passwd']) f"),
        ("SELECT o.status FROM orders o", "SELECT o.leak FROM orders o"),
        ("SELECT x.a FROM (SELECT 1 AS a) x", "SELECT x.leak FROM (SELECT 1 AS a) x"),
        ("SELECT c.relname FROM pg_class c", "SELECT c.leak FROM pg_class c"),
    ]);
    // Operators.
    pairs(&[("SELECT 1 + 1", "SELECT 'a' <~> 'b'"), ("SELECT 1 OPERATOR(pg_catalog.+) 1", "SELECT 1 OPERATOR(public.+) 1")]);
}

// covers: E4 (postgres)
#[test]
fn settings_that_would_change_what_is_meant() {
    pairs(&[
        ("SET application_name = 'x'", "SET ROLE postgres"),
        ("SET timezone = 'UTC'", "SET SESSION AUTHORIZATION postgres"),
        ("SET client_encoding = 'UTF8'", "SET client_encoding = 'SJIS'"),
        ("SET NAMES 'utf8'", "SET NAMES 'latin1'"),
        ("SET standard_conforming_strings = on", "SET standard_conforming_strings = off"),
        ("SET search_path = public", "SET search_path = evil, public"),
        ("SET search_path TO public", "SET search_path TO pg_temp, public"),
        ("SET datestyle TO ISO", "SET LOCAL session_authorization = 'postgres'"),
        ("SET extra_float_digits = 3", "SET row_security = off"),
        ("SET LOCAL lock_timeout = 10", "SET \"Role\" = 'postgres'"),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET TRANSACTION SNAPSHOT 'x'"),
        ("SELECT set_config('application_name', 'x', false)", "SELECT set_config('session_authorization', 'x', false)"),
        ("SELECT set_config('jit', $1, false)", "SELECT set_config('search_path', $1, false)"),
        ("SELECT set_config('jit', $1, false)", "SELECT set_config('standard_conforming_strings', $1, false)"),
        ("SELECT set_config('jit', $1, false)", "SELECT set_config($1, 'off', false)"),
        ("SELECT set_config('jit', lower($1), false)", "SELECT set_config('jit', leak($1), false)"),
        ("SELECT current_setting(s.name) FROM pg_settings s", "SELECT current_setting(i.name) FROM items i"),
        ("SELECT current_setting(s.name) FROM pg_settings s", "SELECT current_setting(s.name) FROM pg_settings s (other, name)"),
        ("SELECT current_setting(s.name) FROM pg_settings s", "SELECT current_setting(s.name) FROM pg_class s"),
        (
            "WITH x AS (SELECT 1) SELECT current_setting(pg_settings.name) FROM pg_settings",
            "WITH pg_settings AS (SELECT 'hba_file'::text AS name) SELECT current_setting(pg_settings.name) FROM pg_settings",
        ),
        ("RESET ALL", "RESET ROLE"),
        ("RESET search_path", "SET backslash_quote = on"),
        ("SHOW search_path", "SET default_tablespace = 'x'"),
        ("DISCARD ALL", "UPDATE pg_settings SET setting = 'postgres' WHERE name = 'role'"),
    ]);
    allowed("DEALLOCATE ALL");
    allowed("SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;");
}

// covers: PG-3
#[test]
fn catalogs_that_clients_need_may_be_read_and_those_with_values_may_not() {
    pairs(&[
        ("SELECT relname FROM pg_class", "SELECT * FROM pg_stats"),
        ("SELECT * FROM pg_catalog.pg_attribute", "SELECT * FROM pg_catalog.pg_statistic"),
        ("SELECT rolname FROM pg_roles", "SELECT * FROM pg_authid"),
        ("SELECT table_name FROM information_schema.tables", "SELECT * FROM information_schema.user_mapping_options"),
        ("SELECT * FROM pg_type", "SELECT * FROM pg_shadow"),
        ("SELECT * FROM pg_namespace", "SELECT * FROM pg_user_mapping"),
        ("SELECT * FROM pg_statistic_ext", "SELECT * FROM pg_stats_ext"),
        ("SELECT * FROM pg_settings", "SELECT * FROM pg_hba_file_rules"),
        ("SELECT * FROM pg_database", "SELECT * FROM pg_largeobject"),
        ("SELECT * FROM pg_index", "DELETE FROM pg_index"),
        ("SELECT * FROM pg_views", "SELECT * FROM pg_stat_statements"),
        ("SELECT * FROM pg_class c", "SELECT * FROM pg_toast.pg_toast_1 c"),
        ("SELECT id FROM orders", "SELECT id FROM pg_temp.orders"),
        ("SELECT id FROM orders", "SELECT id FROM other.public.orders"),
    ]);
}

// covers: PG-3, D10
#[test]
fn a_refusal_says_what_to_try() {
    let mut judge = judge();
    let said = |judge: &mut sql::Judge, sql: &str| judge.judge(sql).refused().unwrap().to_string();
    assert_eq!(
        said(&mut judge, "SELECT iban FROM payments"),
        "`public.payments` is not among the tables of this role; it has `public.customers`, `public.items`, `public.orders`; ask for a role with what you need"
    );
    assert_eq!(
        said(&mut judge, "SELECT password FROM customers"),
        "this role may not select the column `password` of `public.customers`; it may select `born`, `card`, `id`, `name`"
    );
    assert_eq!(
        said(&mut judge, "SET search_path = x"),
        "`search_path` is pinned under a restricted role, so that a statement means what it was judged for; write names with their schema"
    );
}

// covers: ASK-6 (postgres)
#[test]
fn named_statements_and_nothing_else() {
    let mut rights = crate::people::clerk();
    rights.statements = [("order".to_owned(), "SELECT id, status FROM orders WHERE id = $1 AND status = $2".to_owned())].into();
    let rights = rights.only_statements(&["order".to_owned()].into());
    let mut judge = sql::Judge::new(rights, crate::people::shop());
    for sql in [
        "SELECT id, status FROM orders WHERE id = $1 AND status = $2",
        "select ID, status /* x */ from orders\nwhere id = 7 and status = 'it''s' ;",
        "select id, status from orders where id = -7 and status = NULL",
        "BEGIN",
        "SET timezone = 'UTC'",
    ] {
        assert!(judge.judge(sql).is_allowed(), "{sql}: {:?}", judge.judge(sql).refused());
    }
    for sql in [
        "SELECT id, status FROM orders",
        "SELECT id, status FROM orders WHERE id = 7 AND status = 'x' OR true",
        "SELECT id, status FROM orders WHERE id = id AND status = status",
        "SELECT id, status FROM orders WHERE id = 7 AND status = (SELECT 'x')",
        "SELECT id, status FROM orders WHERE id = 7 AND status = 'x'; SELECT 1",
        "SELECT id, note FROM orders WHERE id = 7 AND status = 'x'",
        "PREPARE p AS SELECT id, status FROM orders WHERE id = $1 AND status = $2",
        "SELECT 1",
    ] {
        assert!(!judge.judge(sql).is_allowed(), "{sql}");
    }
}

// covers: E4 (postgres)
#[test]
fn what_is_remembered_hides_no_constant() {
    let mut judge = judge();
    let mut says = |sql: &str| judge.judge(sql).is_allowed();
    for _ in 0..2 {
        assert!(says("SELECT set_config('application_name', 'x', false)"));
        assert!(!says("SELECT set_config('role', 'x', false)"));
        assert!(says("SELECT id, card FROM customers ORDER BY 1"));
        assert!(!says("SELECT id, card FROM customers ORDER BY 2"));
        // What stands there as a parameter is harmless; the same shape with a number is not.
        says("SELECT DISTINCT ON ($1) id, card FROM customers");
        assert!(!says("SELECT DISTINCT ON (2) id, card FROM customers"));
        says("SELECT count(*), card FROM customers GROUP BY ROLLUP ($1)");
        assert!(!says("SELECT count(*), card FROM customers GROUP BY ROLLUP (2)"));
        says("SELECT count(*), card FROM customers GROUP BY GROUPING SETS (($1), ())");
        assert!(!says("SELECT count(*), card FROM customers GROUP BY GROUPING SETS ((2), ())"));
        assert!(says("SELECT pg_notify('orders', 'x')"));
        assert!(!says("SELECT pg_notify('payments', 'x')"));
        assert!(says("SET timezone = 'x'"));
        assert!(!says("SET ROLE 'x'"));
        assert!(says("SELECT id FROM orders WHERE id = 1"));
        assert!(says("SELECT id FROM orders WHERE id = 2"));
        assert!(!says("SELECT id FROM payments WHERE id = 2"));
    }
}

#[test]
fn what_nests_too_deep_is_refused_and_not_a_crash() {
    for depth in [10, 100, 1_000, 20_000] {
        let sql = format!("SELECT {}1{}", "(".repeat(depth), ")".repeat(depth));
        let _either = judge().judge(&sql);
        let sql = format!("SELECT {}true", "NOT ".repeat(depth));
        let _either = judge().judge(&sql);
        let sql = format!("SELECT {}1{}", "(SELECT ".repeat(depth), ")".repeat(depth));
        let _either = judge().judge(&sql);
        let sql = format!("SELECT 1{}", " || 1".repeat(depth));
        let _either = judge().judge(&sql);
    }
    refused(&format!("SELECT {}1{}", "(SELECT ".repeat(5_000), ")".repeat(5_000)));
}

// covers: E7 (psql)
#[test]
fn stars_of_stars_are_refused_before_they_are_counted_out() {
    let doubled = |levels: usize| (0..levels).fold("(SELECT 1 AS a) t".to_owned(), |inner, _| format!("(SELECT *, * FROM {inner}) t"));
    allowed(&format!("SELECT count(*) FROM {}", doubled(5)));
    refused(&format!("SELECT count(*) FROM {}", doubled(40)));
    // As many as PostgreSQL itself brings back, and one more.
    for (outputs, is_allowed) in [(1_664, true), (1_665, false)] {
        let list = vec!["1 AS a"; outputs].join(", ");
        let check = if is_allowed { allowed } else { refused };
        check(&format!("SELECT {list}"));
        check(&format!("WITH c AS (SELECT {list}) SELECT count(*) FROM c"));
        check(&format!("VALUES ({})", vec!["1"; outputs].join(", ")));
    }
}

// covers: E7 (psql)
#[test]
fn names_that_could_mean_too_much_are_refused_before_all_of_it_is_looked_at() {
    let tables = |count: usize| (0..count).map(|n| format!("orders a{n}")).collect::<Vec<_>>().join(", ");
    let list = |name: &str, count: usize| vec![name; count].join(", ");
    // A system column may be that of any table, and stands for its whole row.
    allowed(&format!("SELECT {} FROM {}", list("a1.ctid", 500), tables(30)));
    allowed(&format!("SELECT {} FROM {}", list("status", 500), tables(30)));
    refused(&format!("SELECT {} FROM {}", list("ctid", 1_600), tables(190)));
    refused(&format!("SELECT {} FROM {}", list("status", 1_600), tables(190)));
    refused(&format!("SELECT 1 FROM {} WHERE {}", tables(190), vec!["a1 IS NULL OR status IS NULL"; 3_000].join(" AND ")));
    // Many columns that no table holds: the work is a name's with each of them.
    let wide = (0..8).fold("(SELECT 1 AS a) t".to_owned(), |inner, _| format!("(SELECT *, * FROM {inner}) t"));
    let wide = |count: usize| (0..count).map(|n| format!("{wide}{n}")).collect::<Vec<_>>().join(", ");
    let (names, width) = (1_000, 256);
    assert!(names * width * 10 < sql::postgres::bounds::WORK && names * width * 20 > sql::postgres::bounds::WORK);
    allowed(&format!("SELECT count(*) FROM {} WHERE {}", wide(5), vec!["a = 1"; names].join(" OR ")));
    refused(&format!("SELECT count(*) FROM {} WHERE {}", wide(20), vec!["a = 1"; names].join(" OR ")));
    refused(&format!("SELECT 1 FROM {} GROUP BY {}", wide(20), list("a", names)));
    // In many statements it is no less.
    let once = format!("SELECT count(*) FROM {} WHERE {}", wide(5), vec!["a = 1"; names].join(" OR "));
    allowed(&format!("{once}; {once}"));
    refused(&vec![once; 8].join("; "));
    refused(&format!("SELECT a FROM {} ORDER BY {}", wide(20), list("a || ''", names)));
}

// covers: E4 (postgres), PG-3 (postgres)
#[test]
fn a_cast_that_runs_a_function_is_held_to_be_its_call() {
    pairs(&[
        ("SELECT 1::parcel", "SELECT 1::who"),
        ("SELECT CAST(id AS public.parcel) FROM orders", "SELECT CAST(id AS public.who) FROM orders"),
        ("SELECT parcel '1'", "SELECT who '1'"),
        ("SELECT '{1}'::parcel[]", "SELECT '{1}'::who[]"),
        ("SELECT ('1'::mood)::text, '1'::pg_catalog.text", "SELECT ('1'::who)::text"),
        ("SELECT id FROM orders WHERE status = ANY (ARRAY[]::text[])", "SELECT id FROM orders WHERE status = ANY (ARRAY[]::who[])"),
        ("PREPARE p (mood) AS SELECT $1", "PREPARE p (who) AS SELECT $1"),
        ("SELECT * FROM json_to_record('{}') AS t(a mood)", "SELECT * FROM json_to_record('{}') AS t(a who)"),
    ]);
}
