//! What statements need of a role: never more than the role has, and never less than they need.

use access::rights::{Columns, DatabaseRights, QualifiedName, TableRights, Verb};
use proptest::prelude::*;
use sql::{Catalog, Judge, Language, Narrowed, Narrowing, Ran};

use crate::people::{clerk, shop, some};

fn narrowed(language: Language, had: DatabaseRights, statements: &[&str]) -> Narrowed {
    let mut narrowing = Narrowing::new(language, had);
    statements.iter().for_each(|text| narrowing.take(text, Ran::Done));
    narrowing.finish()
}

fn of_clerk(statements: &[&str]) -> Narrowed {
    narrowed(Language::Postgres, clerk(), statements)
}

fn table<'a>(rights: &'a DatabaseRights, name: &str) -> Option<&'a TableRights> {
    rights.tables.get(&QualifiedName::new("public", name))
}

/// Whether nothing of it is more than was had.
fn is_within(now: &DatabaseRights, had: &DatabaseRights) -> bool {
    let tables = now.tables.iter().all(|(name, now)| {
        had.tables.get(name).is_some_and(|had| {
            let verbs = Verb::ALL.iter().all(|verb| now.columns(*verb).within(&had.columns(*verb)));
            verbs && had.masked.iter().all(|column| now.masked.contains(column) || !now.select.allows(column))
        })
    });
    tables
        && (had.unrestricted || !now.unrestricted)
        && now.functions.is_subset(&had.functions)
        && now.channels.is_subset(&had.channels)
        && (had.copy_in || !now.copy_in)
        && (had.copy_out || !now.copy_out)
        && (!had.only_statements || now.only_statements)
        && now.statements.iter().all(|(name, text)| had.statements.get(name) == Some(text))
        && (now.row_limit, now.statement_timeout) == (had.row_limit, had.statement_timeout)
        && now.search_path == had.search_path
}

// covers: MAY-7 (postgres)
#[test]
fn what_nobody_used_goes_and_what_was_used_stays() {
    let now = of_clerk(&["select id, status from orders where total > 5", "update orders set status = 'x' where id = 1"]).rights;
    let orders = table(&now, "orders").unwrap();
    assert_eq!(
        (&orders.select, &orders.update, &orders.insert, orders.delete),
        (&some(&["id", "status", "total"]), &some(&["status"]), &Columns::None, false)
    );
    assert!(table(&now, "items").is_none() && now.functions.is_empty() && now.channels.is_empty() && !now.copy_in && !now.copy_out);
    // What is masked stays masked, since another table may show the same rows.
    assert_eq!(table(&now, "customers").unwrap().select, some(&["born", "card"]));
    assert_eq!(table(&now, "customers").unwrap().masked, clerk().tables[&QualifiedName::new("public", "customers")].masked);

    assert_eq!(table(&of_clerk(&["select * from orders"]).rights, "orders").unwrap().select, Columns::All);
    assert_eq!(table(&of_clerk(&["select count(*) from orders"]).rights, "orders").unwrap().select, Columns::All);
    assert_eq!(table(&of_clerk(&["select o from orders o"]).rights, "orders").unwrap().select, Columns::All);
    assert_eq!(table(&of_clerk(&["insert into orders values (1)"]).rights, "orders").unwrap().insert, Columns::All);
    assert_eq!(
        table(&of_clerk(&["insert into orders (id, note) values (1, 'x')"]).rights, "orders").unwrap().insert,
        some(&["id", "note"])
    );
    assert!(of_clerk(&["copy orders (id) to stdout"]).rights.copy_out && !of_clerk(&["copy orders (id) to stdout"]).rights.copy_in);
    assert!(!of_clerk(&["select ship(1)"]).rights.functions.is_empty() && !of_clerk(&["notify orders"]).rights.channels.is_empty());
    // Locked rows have to be ones that may be changed.
    assert_eq!(table(&of_clerk(&["select id from orders for update"]).rights, "orders").unwrap().update, some(&["note", "status"]));
    assert!(table(&of_clerk(&["lock table orders"]).rights, "orders").unwrap().delete);
}

// covers: MAY-7 (postgres)
#[test]
fn a_name_that_could_mean_several_things_names_no_column() {
    // Whose `name` and `price` is cannot be told from the text: all columns that could be read still can.
    let now = of_clerk(&["select price from orders, items where items.order_id = orders.id"]).rights;
    assert_eq!((&table(&now, "orders").unwrap().select, &table(&now, "items").unwrap().select), (&Columns::All, &Columns::All));
    let now = of_clerk(&["select i.price from orders o join items i on i.order_id = o.id"]).rights;
    assert_eq!(
        (&table(&now, "orders").unwrap().select, &table(&now, "items").unwrap().select),
        (&some(&["id"]), &some(&["order_id", "price"]))
    );
    // Where the role lists columns, they are known to be there.
    let now = of_clerk(&["select id, name from customers where id in (select customer_id from orders)"]).rights;
    assert!(table(&now, "customers").unwrap().select.within(&some(&["id", "name", "card", "born"])));
    assert_eq!(table(&of_clerk(&["select id as x from orders order by x"]).rights, "orders").unwrap().select, some(&["id"]));
}

// covers: MAY-7 (postgres)
#[test]
fn what_cannot_be_judged_keeps_what_it_names() {
    for text in ["select nextval('orders_id_seq')", "select id from orders where leak(id)", "select id, status from orders, payments"] {
        let now = of_clerk(&[text]);
        assert_eq!(now.unclear, 1, "{text}");
        assert_eq!(table(&now.rights, "orders"), clerk().tables.get(&QualifiedName::new("public", "orders")), "{text}");
    }
    for text in ["‹hidden: 99 bytes› '", "select U&\"\\006frders\".id from orders"] {
        assert_eq!(of_clerk(&[text]), Narrowed { rights: clerk(), unclear: 1 }, "{text}");
    }
    let mut unknown = Narrowing::new(Language::Postgres, clerk());
    unknown.take_unknown();
    assert_eq!(unknown.finish().rights, clerk());
    let mut unsure = Narrowing::new(Language::Postgres, clerk());
    unsure.take("select id from items", Ran::Unsure);
    assert_eq!(table(&unsure.finish().rights, "items"), clerk().tables.get(&QualifiedName::new("public", "items")));
    let unrestricted = DatabaseRights { unrestricted: true, ..DatabaseRights::default() };
    assert_eq!(narrowed(Language::Postgres, unrestricted.clone(), &["select 1"]).rights, unrestricted);
}

// covers: MAY-7 (postgres)
#[test]
fn of_tables_with_one_name_both_stay() {
    let all = TableRights { select: Columns::All, ..TableRights::default() };
    let had = DatabaseRights {
        tables: ["a.orders", "b.orders", "b.items"].map(|name| (name.parse().unwrap(), all.clone())).into(),
        search_path: vec!["a".into(), "b".into()],
        ..DatabaseRights::default()
    };
    let now = narrowed(Language::Postgres, had, &["select id from orders"]).rights;
    // At the target there may be no `a.orders`.
    let catalog = Catalog::of_tables(&[("b.orders", &["id"]), ("b.items", &["id"])]);
    assert!(Judge::new(now.clone(), catalog).judge("select id from orders").is_allowed());
    assert_eq!(now.tables.len(), 2);
}

// covers: MAY-7 (postgres), ASK-6 (postgres)
#[test]
fn named_statements_that_nobody_ran_go() {
    let statements = [("one", "select id from orders where id = $1"), ("two", "select id from items")];
    let had = DatabaseRights {
        statements: statements.map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
        only_statements: true,
        ..clerk()
    };
    let now = narrowed(Language::Postgres, had, &["select id from orders where id = 7"]).rights;
    assert_eq!(now.statements.keys().collect::<Vec<_>>(), ["one"]);
    assert!(now.only_statements && table(&now, "items").is_none());
}

// covers: MAY-7 (mariadb)
#[test]
fn the_same_for_mariadb() {
    let all = TableRights { select: Columns::All, insert: Columns::All, update: Columns::All, delete: true, ..TableRights::default() };
    let few = TableRights { select: some(&["id", "Name", "email"]), update: some(&["email"]), ..TableRights::default() };
    let had = DatabaseRights {
        tables: [
            ("shop.orders", all),
            ("shop.people", few),
            ("other.orders", TableRights { select: Columns::All, ..TableRights::default() }),
        ]
        .into_iter()
        .map(|(name, rights)| (name.parse().unwrap(), rights))
        .collect(),
        copy_in: true,
        ..DatabaseRights::default()
    };
    let of = |statements: &[&str]| narrowed(Language::Mysql, had.clone(), statements).rights;
    let name = |text: &str| text.parse::<QualifiedName>().unwrap();
    // Every name in a statement, a table's too, is taken for a column there: of which all may be read, all still may.
    let now = of(&["SELECT id, name FROM shop.people WHERE id = 1", "INSERT INTO shop.orders (id, status) VALUES (1, 'x')"]);
    assert_eq!(now.tables[&name("shop.people")].select, some(&["Name", "id"]));
    assert_eq!(
        now.tables[&name("shop.orders")],
        TableRights { select: Columns::All, insert: some(&["id", "status"]), ..TableRights::default() }
    );
    assert!(!now.tables.contains_key(&name("other.orders")) && !now.copy_in);
    // Which database the session was in is not recorded.
    assert_eq!(of(&["SELECT id FROM orders"]).tables.len(), 2);
    assert!(of(&["UPDATE shop.people SET email = 'x' WHERE id = 2"]).tables[&name("shop.people")].update == some(&["email"]));
    let catalog =
        Catalog::of_tables(&[("shop.orders", &["id", "status"]), ("shop.people", &["id", "Name", "email"]), ("other.orders", &["id"])]);
    for text in ["SELECT * FROM orders", "DELETE FROM shop.orders WHERE id = 1", "DESCRIBE orders", "SHOW CREATE TABLE people"] {
        let judged = |rights: &DatabaseRights| sql::mysql::judge(rights, &catalog, Some("shop"), text).is_allowed();
        assert!(judged(&had), "{text}");
        assert!(judged(&of(&[text])), "{text}");
    }
}

/// Statements that the clerk may run, of many kinds.
const RAN: &[&str] = &[
    "select id, status from orders",
    "select o.* from orders o join items i on i.order_id = o.id",
    "select count(*), max(total) from orders group by status having sum(total) > 3 order by 2",
    "select name, card from customers where id = 3",
    "select c.born, c.name from customers c",
    "select s.n from (select count(*) as n, order_id from items group by order_id) s where s.order_id = 1",
    "with x as (select id, note from orders), y as (select * from x) select note from y",
    "with gone as (delete from orders where id = 1 returning id, status) select status from gone",
    "insert into orders (id, status) values (1, 'new') returning *",
    "insert into orders values (1, 2, 'a', 'b', 3)",
    "insert into orders (id, note) select order_id, name from items on conflict (id) do update set note = excluded.note",
    "update orders set note = i.name from items i where i.order_id = orders.id",
    "update customers set card = $1 where id = $2",
    "delete from orders using items where items.order_id = orders.id",
    "merge into orders o using items i on i.order_id = o.id when matched then update set status = 'x' when not matched then do nothing",
    "select id from orders for update",
    "select id from orders where status = any ($1) for key share",
    "lock table orders in share mode",
    "lock table items in access share mode",
    "copy orders to stdout",
    "copy orders (id, status) from stdin",
    "copy (select id from items) to stdout",
    "select ship(id) from orders",
    "notify orders, 'x'",
    "listen orders",
    "prepare p as select price from items where id = $1",
    "declare c cursor for select id, name from customers order by name",
    "explain analyze select status from orders",
    "select id, (select name from customers c where c.id = o.customer_id) from orders o",
    "select id from orders union select order_id from items order by 1",
    "select i.id from items i where exists (select from orders where orders.id = i.order_id and note is null)",
    "select row_to_json(i) from items i",
    "select items from items",
    "select a.id from orders a natural join items b",
    "select id from orders a join items b using (id)",
    "select x.a from orders as x (a, b)",
    "select relname from pg_class where relname = 'orders'",
    "begin",
    "set application_name = 'x'",
    "show search_path",
    "fetch 5 from c",
    "execute p (1)",
    "select ctid from orders",
    "table items",
    "select \"orders\".\"status\" from \"public\".\"orders\"",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // covers: MAY-7 (postgres)
    #[test]
    fn whatever_was_run_can_still_be_run_and_nothing_more(chosen in prop::collection::vec(0..RAN.len(), 0..8)) {
        let had = clerk();
        let ran: Vec<&str> = chosen.into_iter().map(|at| RAN[at]).collect();
        for text in &ran {
            prop_assert!(Judge::new(had.clone(), shop()).judge(text).is_allowed(), "the clerk may: {}", text);
        }
        let now = of_clerk(&ran).rights;
        prop_assert!(is_within(&now, &had), "{:?}", now);
        for text in &ran {
            let verdict = Judge::new(now.clone(), shop()).judge(text);
            prop_assert!(verdict.is_allowed(), "{}: {:?}\n{:?}", text, verdict, now);
        }
        // Columns that are named are there.
        for (name, table) in &now.tables {
            let there = shop();
            let there: Vec<&str> = there.relation(name).unwrap().columns.iter().map(|c| c.name.as_str()).collect();
            for columns in [&table.select, &table.insert, &table.update] {
                if let Columns::Only(names) = columns {
                    prop_assert!(names.iter().all(|name| there.contains(&name.as_str())), "{}: {:?}", name, names);
                }
            }
        }
        // Done again, it comes to the same.
        prop_assert_eq!(narrowed(Language::Postgres, now.clone(), &ran).rights, now);
    }
}
