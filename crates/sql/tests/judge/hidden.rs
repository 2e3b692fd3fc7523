//! What a record keeps of statements under a role with masks: never a value that meets a masked column.

use sql::{Hidden, Verdict};

use crate::people::judge;

/// The recorded text and the hidden parameters, of something that is allowed.
fn kept(sql: &str) -> (String, Vec<i32>) {
    let mut judge = judge();
    let verdict = judge.judge(sql);
    let parameters = match &verdict {
        Verdict::Allowed(all) => match &all[0].hidden {
            Hidden::Nothing => Vec::new(),
            Hidden::Some { parameters, .. } => parameters.iter().copied().collect(),
            Hidden::Everything => vec![-1],
        },
        Verdict::Refused(refused) => panic!("refused: {sql}: {refused}"),
    };
    (judge.conceal(sql, &verdict).map_or_else(|| sql.to_owned(), |concealed| concealed.text), parameters)
}

// covers: F5 (postgres)
#[test]
fn a_value_for_a_masked_column_is_not_kept_and_the_others_are() {
    for (sql, text, parameters) in [
        ("SELECT id FROM orders WHERE note = 'kept'", "SELECT id FROM orders WHERE note = 'kept'", vec![]),
        ("UPDATE customers SET name = 'kept' WHERE id = 7", "UPDATE customers SET name = 'kept' WHERE id = 7", vec![]),
        (
            "UPDATE customers SET card = 'secret', name = 'kept' WHERE id = 7",
            "UPDATE customers SET card = '‹hidden›', name = 'kept' WHERE id = 7",
            vec![],
        ),
        ("UPDATE customers SET name = $1, card = $2 WHERE id = $3", "UPDATE customers SET name = $1, card = $2 WHERE id = $3", vec![2]),
        (
            "UPDATE customers SET (name, card) = ('kept', lower($1) || E'se\\'cret' || -5::text) WHERE id = 3",
            "UPDATE customers SET (name, card) = ('kept', lower($1) || '‹hidden›' || -'‹hidden›'::text) WHERE id = 3",
            vec![1],
        ),
        (
            "UPDATE customers SET card = CASE WHEN $1 THEN 'secret' ELSE $$secret$$ END WHERE name = 'kept'",
            "UPDATE customers SET card = CASE WHEN $1 THEN '‹hidden›' ELSE '‹hidden›' END WHERE name = 'kept'",
            vec![1],
        ),
        // A comment may say it again.
        (
            "/* secret */ UPDATE customers SET card = 'secret', name = 'kept' -- secret",
            "/*‹hidden›*/ UPDATE customers SET card = '‹hidden›', name = 'kept' /*‹hidden›*/",
            vec![],
        ),
        ("UPDATE customers SET name = 'kept' -- kept", "UPDATE customers SET name = 'kept' -- kept", vec![]),
        ("UPDATE customers SET card = NULL WHERE id = 1", "UPDATE customers SET card = NULL WHERE id = 1", vec![]),
        // Where it comes from, nobody can tell: everything.
        (
            "UPDATE customers SET card = (SELECT 'secret') WHERE name = 'also'",
            "UPDATE customers SET card = (SELECT '‹hidden›') WHERE name = '‹hidden›'",
            vec![-1],
        ),
        ("UPDATE customers SET card = name WHERE name = 'secret'", "UPDATE customers SET card = name WHERE name = '‹hidden›'", vec![-1]),
        ("EXECUTE p ('secret', 5)", "EXECUTE p ('‹hidden›', '‹hidden›')", vec![-1]),
        ("SELECT ship(7) -- secret", "SELECT ship('‹hidden›') /*‹hidden›*/", vec![-1]),
        (
            "PREPARE p AS UPDATE customers SET card = $1 || 'secret' WHERE id = $2",
            "PREPARE p AS UPDATE customers SET card = $1 || '‹hidden›' WHERE id = $2",
            vec![1],
        ),
        (
            "WITH x AS (UPDATE customers SET card = 'secret' RETURNING id) SELECT id, 'kept' FROM x",
            "WITH x AS (UPDATE customers SET card = '‹hidden›' RETURNING id) SELECT id, 'kept' FROM x",
            vec![],
        ),
    ] {
        assert_eq!(kept(sql), (text.to_owned(), parameters), "{sql}");
    }
}

// covers: F5 (postgres)
#[test]
fn inserted_values_are_known_by_their_place() {
    let mut rights = crate::people::clerk();
    let customers = rights.tables.get_mut(&"public.customers".parse().unwrap()).unwrap();
    customers.insert = access::rights::Columns::All;
    let mut judge = sql::Judge::new(rights, crate::people::shop());
    let mut kept = |sql: &str| {
        let verdict = judge.judge(sql);
        assert!(verdict.is_allowed(), "{sql}: {:?}", verdict.refused());
        judge.conceal(sql, &verdict).map_or_else(|| sql.to_owned(), |concealed| concealed.text)
    };
    for (sql, text) in [
        (
            "INSERT INTO customers (id, card, name) VALUES (1, 'secret', 'kept'), (2, 'se' || 'cret', 'kept'), (3, DEFAULT, 'kept')",
            "INSERT INTO customers (id, card, name) VALUES (1, '‹hidden›', 'kept'), (2, '‹hidden›' || '‹hidden›', 'kept'), (3, DEFAULT, 'kept')",
        ),
        // By the table's own order: id, name, card, born.
        (
            "INSERT INTO customers VALUES (1, 'kept', 'secret', '1970-01-01')",
            "INSERT INTO customers VALUES (1, 'kept', '‹hidden›', '‹hidden›')",
        ),
        ("INSERT INTO customers (id, name) SELECT 1, 'kept'", "INSERT INTO customers (id, name) SELECT 1, 'kept'"),
        ("INSERT INTO customers (id, card) SELECT 1, 'secret'", "INSERT INTO customers (id, card) SELECT '‹hidden›', '‹hidden›'"),
        (
            "INSERT INTO customers (id, card) VALUES (1, 'secret') ON CONFLICT (id) DO UPDATE SET card = excluded.card, name = 'kept'",
            "INSERT INTO customers (id, card) VALUES (1, '‹hidden›') ON CONFLICT (id) DO UPDATE SET card = excluded.card, name = 'kept'",
        ),
        (
            "INSERT INTO customers (id, name) VALUES (1, 'secret') ON CONFLICT (id) DO UPDATE SET card = excluded.name",
            "INSERT INTO customers (id, name) VALUES ('‹hidden›', '‹hidden›') ON CONFLICT (id) DO UPDATE SET card = excluded.name",
        ),
    ] {
        // The same text with other constants: what is remembered hides the same.
        assert_eq!(kept(sql), text, "{sql}");
        assert_eq!(kept(sql), text, "{sql}");
    }
}

// covers: F5 (postgres)
#[test]
fn what_was_refused_keeps_no_value_if_it_spoke_of_something_masked() {
    let refused = |sql: &str| {
        let mut judge = judge();
        let verdict = judge.judge(sql);
        assert!(!verdict.is_allowed(), "{sql}");
        (judge.conceal(sql, &verdict), verdict.refused().unwrap().to_string())
    };
    for (sql, text) in [
        ("SELECT id FROM customers WHERE card = 'secret'", "SELECT id FROM customers WHERE card = '‹hidden›'"),
        (
            "SELECT id FROM customers c WHERE c::text LIKE U&'secret' AND id = 5",
            "SELECT id FROM customers c WHERE c::text LIKE '‹hidden›' AND id = '‹hidden›'",
        ),
        ("SELECT id FROM customers WHERE card = \"secret\"", "SELECT id FROM customers WHERE card = \"‹hidden›\""),
        ("DO $$ BEGIN UPDATE customers SET card = 'secret'; END $$", "DO '‹hidden›'"),
        ("SELECT id FROM open_cards WHERE card = 'secret'", "SELECT id FROM open_cards WHERE card = '‹hidden›'"),
        ("SELECT /* secret */ lower(card) FROM customers", "SELECT /*‹hidden›*/ lower(card) FROM customers"),
        ("UPDATE customers SET card = 'secret", "‹hidden: 35 bytes›"),
        ("UPDATE customers SET card 'secret'", "UPDATE customers SET card '‹hidden›'"),
    ] {
        let (concealed, why) = refused(sql);
        let concealed = concealed.unwrap();
        assert_eq!(concealed.text, text, "{sql}");
        assert!(!concealed.why.unwrap().contains("secret"), "{sql}");
        assert!(!why.contains("'secret"), "{sql}: {why}");
    }
    let (concealed, _) = refused("SELECT iban FROM payments WHERE id = 7");
    assert_eq!(concealed, None);
    // Without masks nothing is taken out.
    let mut rights = crate::people::clerk();
    rights.tables.values_mut().for_each(|table| table.masked.clear());
    let mut plain = sql::Judge::new(rights, crate::people::shop());
    let sql = "SELECT password FROM customers WHERE card = 'kept'";
    let verdict = plain.judge(sql);
    assert_eq!((verdict.is_allowed(), plain.conceal(sql, &verdict)), (false, None));
}

// covers: PG-4 (postgres), E5 (postgres)
#[test]
fn a_mask_holds_behind_views_of_views_and_in_tables_that_inherit() {
    let row = |kind, schema, name, a, b, c, d| [Some(kind), Some(schema), Some(name), Some(a), Some(b), Some(c), Some(d)];
    let catalog = |related: bool| {
        let mut rows = vec![
            row("column", "public", "customers", "16001", "1", "id", "23"),
            row("column", "public", "customers", "16001", "2", "card", "25"),
            row("column", "public", "customers_2024", "16002", "1", "id", "23"),
            row("column", "public", "customers_2024", "16002", "2", "card", "25"),
            row("column", "public", "outer_view", "16003", "1", "card", "25"),
        ];
        if related {
            rows.push(row("reads", "hidden", "inner_view", "public", "customers", "card", ""));
            rows.push(row("reads", "public", "outer_view", "hidden", "inner_view", "card", ""));
            rows.push(row("inherits", "public", "customers_2024", "public", "customers", "", ""));
        }
        sql::Catalog::from_rows(rows).unwrap()
    };
    let all = |masked: &[&str]| access::rights::TableRights {
        select: access::rights::Columns::All,
        masked: masked.iter().map(|name| (*name).to_owned()).collect(),
        ..access::rights::TableRights::default()
    };
    let tables = [("public.customers", all(&["card"])), ("public.customers_2024", all(&[])), ("public.outer_view", all(&[]))];
    let rights = access::rights::DatabaseRights {
        tables: tables.into_iter().map(|(name, rights)| (name.parse().unwrap(), rights)).collect(),
        ..access::rights::DatabaseRights::default()
    };
    for (related, allowed) in [(false, true), (true, false)] {
        let mut judge = sql::Judge::new(rights.clone(), catalog(related));
        assert_eq!(judge.judge("SELECT card FROM outer_view").is_allowed(), allowed);
        assert_eq!(judge.judge("SELECT lower(card) FROM customers_2024").is_allowed(), allowed);
        assert_eq!(judge.catalog().masked_attributes(judge.rights()).contains(&(16002, 2)), !allowed);
    }
    // Upwards too: reading the parent reads the child's rows.
    let tables = [("public.customers", all(&[])), ("public.customers_2024", all(&["card"]))];
    let rights = access::rights::DatabaseRights {
        tables: tables.into_iter().map(|(name, rights)| (name.parse().unwrap(), rights)).collect(),
        ..access::rights::DatabaseRights::default()
    };
    let mut judge = sql::Judge::new(rights, catalog(true));
    assert!(judge.judge("SELECT card FROM customers").is_allowed() && !judge.judge("SELECT lower(card) FROM customers").is_allowed());
}

// covers: E4 (postgres)
#[test]
fn numbers_are_taken_from_sequences_of_tables_that_may_be_added_to() {
    let row = |kind, schema, name, a, b, c, d| [Some(kind), Some(schema), Some(name), Some(a), Some(b), Some(c), Some(d)];
    let catalog = sql::Catalog::from_rows([
        row("column", "public", "orders", "16001", "1", "id", "23"),
        row("column", "public", "payments", "16002", "1", "id", "23"),
        row("column", "public", "orders_id_seq", "16003", "1", "last_value", "20"),
        row("column", "public", "payments_id_seq", "16004", "1", "last_value", "20"),
        row("sequence", "public", "orders_id_seq", "public", "orders", "", ""),
        row("sequence", "public", "payments_id_seq", "public", "payments", "", ""),
    ])
    .unwrap();
    let mut judge = sql::Judge::new(crate::people::clerk(), catalog);
    let mut allowed = |sql: &str| judge.judge(sql).is_allowed();
    assert!(allowed("SELECT nextval('orders_id_seq')") && allowed("SELECT currval('public.orders_id_seq'::regclass)"));
    assert!(allowed("SELECT pg_catalog.nextval('\"public\".\"orders_id_seq\"')") && allowed("SELECT lastval()"));
    for other in ["'payments_id_seq'", "'public.payments_id_seq'::regclass", "$1", "'pay' || 'ments_id_seq'", "16004", "'gone'", "'a.b.c'"]
    {
        assert!(!allowed(&format!("SELECT nextval({other})")), "{other}");
    }
    assert!(!allowed("SELECT setval('orders_id_seq', 1)"));
}

// covers: E4 (postgres)
#[test]
fn where_the_server_keeps_what_it_has_is_its_owners_business() {
    let mut judge = judge();
    let mut allowed = |sql: &str| judge.judge(sql).is_allowed();
    assert!(allowed("SHOW work_mem") && allowed("SELECT current_setting('server_version_num')") && allowed("SHOW ALL"));
    for sql in [
        "SHOW data_directory",
        "SHOW \"Data_Directory\"",
        "SELECT current_setting('hba_file')",
        "SELECT pg_catalog.current_setting('HBA_FILE', true)",
        "SELECT current_setting('hba' || '_file')",
        "SELECT current_setting(name) FROM pg_settings",
        "SELECT current_setting($1)",
    ] {
        assert!(!allowed(sql), "{sql}");
    }
}
