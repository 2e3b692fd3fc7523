//! A restricted role through the gate, at a server whose account may do everything: what holds here, the judge alone holds.

use access::rights::{Columns, DatabaseRights, QualifiedName, TableRights};

use super::gate::{Setup, Town, errors_of, out_of};

fn some(names: &[&str]) -> Columns {
    Columns::Only(names.iter().map(|name| (*name).to_owned()).collect())
}

fn public(name: &str) -> QualifiedName {
    QualifiedName::new("public", name)
}

/// Reads and changes orders, and reads two columns of customers.
pub(crate) fn clerk() -> DatabaseRights {
    let orders = TableRights { select: Columns::All, insert: Columns::All, update: some(&["status"]), ..TableRights::default() };
    let customers = TableRights { select: some(&["id", "name"]), ..TableRights::default() };
    DatabaseRights { tables: [(public("orders"), orders), (public("customers"), customers)].into(), ..DatabaseRights::default() }
}

/// A shop, and a gate before it where the role has these rights.
pub(crate) async fn shop(rights: DatabaseRights) -> Town {
    let town = Town::with(Setup { rights, ..Setup::default() }).await;
    town.target
        .query(
            "create table orders (id int primary key, status text, total numeric); insert into orders values (1, 'new', 5), (2, 'sent', 7); \
             create table customers (id int, name text, card text, born date, pin int); \
             insert into customers values (1, 'Kim', '4111-unique-card', '1970-05-17', 73519), (2, 'Lou', '4222-unique-card', '1980-06-18', 73520); \
             create table payments (id int); insert into payments values (1); \
             create function total() returns numeric language sql as 'select sum(total) from orders'",
        )
        .unwrap();
    town
}

// covers: MAY-6 (psql), E4 (psql), PG-3 (psql)
#[tokio::test]
async fn what_the_role_allows_works_and_nothing_else_does() {
    let town = shop(clerk()).await;
    assert_eq!(out_of(&town.run("select id, status from orders order by id").await), "1|new\n2|sent");
    assert_eq!(out_of(&town.run("select name from customers order by id").await), "Kim\nLou");
    assert_eq!(out_of(&town.run("update orders set status = 'paid' where id = 1 returning status").await), "paid\nUPDATE 1");
    assert_eq!(
        out_of(&town.run("begin; insert into orders values (3, 'new', 1); rollback; select count(*) from orders").await),
        "BEGIN\nINSERT 0 1\nROLLBACK\n2"
    );
    let refused = [
        "select * from payments",
        "select card from customers",
        "select * from customers",
        "select c from customers c",
        "update orders set total = 0",
        "delete from orders",
        "select total()",
        "select pg_read_file('/etc/passwd')",
        "select pg_sleep(0), set_config('search_path', 'x', false)",
        "copy orders to stdout",
        "copy payments from stdin",
        "copy (select 1) to program 'true'",
        "set role tide",
        "set session authorization tide",
        "set search_path = pg_catalog",
        "set client_encoding = 'SJIS'",
        "set standard_conforming_strings = off",
        "create table x (n int)",
        "create temp table orders (n int)",
        "do $$ begin end $$",
        "select 1; select * from payments",
        "insert into orders values (9, 'x', 1); delete from orders",
        "with x as (select * from payments) select * from x",
        "select * from orders where exists (select from payments)",
        "sel/**/ect",
    ];
    for sql in refused {
        let out = town.run(sql).await;
        assert!(errors_of(&out).contains("ERROR:  Your role does not include this: "), "{sql}: {}{}", errors_of(&out), out_of(&out));
        assert_eq!(out_of(&out), "", "{sql}");
    }
    let recorded = town.gate.of_kind("sql.refused");
    assert_eq!(recorded.iter().map(|a| a["text"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), refused);
    assert!(recorded.iter().all(|a| a["why"].as_str().unwrap().len() > 30));
    let mut entered = town.gate.refused.subscribe();
    entered.wait_for(|all| all.len() == refused.len()).await.unwrap();
    // Nothing of it was sent: what the server was asked is what was allowed.
    assert_eq!(town.gate.texts().len(), 4);
    assert_eq!(town.target.query("select count(*), sum(total) from orders").unwrap(), "2|12");
}

// covers: MAY-6 (psql), D10 (psql)
#[tokio::test]
async fn a_refusal_fails_the_transaction_it_stands_in() {
    let town = shop(clerk()).await;
    let statements =
        |middle: &'static str| ["-c", "begin", "-c", "update orders set status = 'x' where id = 2", "-c", middle, "-c", "commit"];
    let out = town.psql(&town.conninfo(""), &statements("select 1")).output().await.unwrap();
    assert!(out_of(&out).ends_with("COMMIT"), "{}{}", out_of(&out), errors_of(&out));
    assert_eq!(town.target.query("update orders set status = 'sent' where id = 2 and status = 'x' returning id").unwrap(), "2");
    let out = town.psql(&town.conninfo(""), &statements("select * from payments")).output().await.unwrap();
    assert!(out_of(&out).ends_with("ROLLBACK"), "{}{}", out_of(&out), errors_of(&out));
    assert_eq!(town.target.query("select status from orders where id = 2").unwrap(), "sent");
}

// covers: MAY-6 (psycopg), D10 (psycopg), E4 (psycopg), PG-3 (psycopg)
#[tokio::test]
async fn the_extended_protocol_and_pipelines_are_judged_alike() {
    let town = shop(clerk()).await;
    let said = town
        .python(
            r"import psycopg
E = psycopg.errors.InsufficientPrivilege
def no(f):
    try: f()
    except E as e: return e.sqlstate
    return 'not refused'
with psycopg.connect(dsn, autocommit=True) as c:
    print(c.execute('select status from orders where id = %s', (1,), prepare=True).fetchall())
    print(no(lambda: c.execute('select id from payments where id = %s', (1,))))
    print(no(lambda: c.execute('select id from payments where id = %s', (1,), prepare=True, binary=True)))
    print(no(lambda: c.execute('prepare p as select * from payments')))
    c.execute('prepare q as select id from orders where id = $1')
    print(c.execute('execute q (2)').fetchall())
    print(c.execute('show search_path').fetchone()[0], c.execute('show client_encoding').fetchone()[0])
    try:
        with c.pipeline() as p:
            first = c.execute('select id from orders where id = %s', (1,))
            second = c.execute('select id from payments where id = %s', (1,))
            third = c.execute('update orders set status = %s', ('lost',))
            p.sync()
            print(first.fetchall())
    except E as e: print('pipeline', e.sqlstate)
    print(c.execute('select status from orders order by id').fetchall())
    with c.transaction(), c.cursor('held') as k:
        k.execute('select id from orders order by id')
        print(k.fetchall())
    print(no(lambda: c.cursor('other').execute('select id from payments')))
    result = c.pgconn.exec_(b'select 1')
    print(result.ntuples)
",
        )
        .await;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..5], ["[('new',)]", "42501", "42501", "42501", "[(2,)]"], "{said}");
    assert_eq!(lines[5], "\"public\", pg_temp UTF8");
    assert!(lines[6..].contains(&"pipeline 42501") && lines[6..].contains(&"[('new',), ('sent',)]"), "{said}");
    assert!(lines.ends_with(&["[(1,), (2,)]", "42501", "1"]), "{said}");
}

// covers: MAY-6 (postgres)
#[tokio::test]
async fn a_function_is_not_called_by_its_number() {
    let town = shop(DatabaseRights { unrestricted: true, ..DatabaseRights::default() }).await;
    // Large objects in libpq are read by function calls.
    let program = "import psycopg, ctypes
from psycopg.pq import _pq_ctypes as impl
with psycopg.connect(dsn, autocommit=True) as c:
    lo = impl.libpq.lo_creat if hasattr(impl, 'libpq') else ctypes.CDLL('libpq.so.5').lo_creat
    lo.restype = ctypes.c_uint; lo.argtypes = [ctypes.c_void_p, ctypes.c_int]
    print(lo(ctypes.cast(c.pgconn._pgconn_ptr, ctypes.c_void_p), 0x60000) > 0)
";
    let program = program.replace("import psycopg, ctypes", "import os; os.environ['PSYCOPG_IMPL']='python'\nimport psycopg, ctypes");
    let said = town.python(&program).await;
    assert_eq!(said, "True");
    let town = shop(clerk()).await;
    assert_eq!(town.python(&program).await, "False");
    assert_eq!(town.target.query("select count(*) from pg_largeobject_metadata").unwrap(), "0");
    assert!(town.gate.of_kind("sql.refused").iter().any(|a| a["text"].as_str().unwrap().starts_with("function call")));
}

// covers: E3 (psql), MAY-6 (psql)
#[tokio::test]
async fn what_the_judge_relies_on_cannot_be_changed_when_connecting() {
    let town = shop(clerk()).await;
    let with = |options: &str| format!("options='{options}'");
    let ok = town
        .psql(&town.conninfo(&with("-c client_encoding=utf8 -c timezone=UTC")), &["-c", "show client_encoding"])
        .output()
        .await
        .unwrap();
    assert_eq!(out_of(&ok), "UTF8", "{}", errors_of(&ok));
    for setting in ["search_path=pg_catalog", "client_encoding=SJIS", "standard_conforming_strings=off"] {
        let out = town.psql(&town.conninfo(&with(&format!("-c {setting}"))), &["-c", "select 1"]).output().await.unwrap();
        assert!(errors_of(&out).contains("is fixed under this role"), "{setting}: {}", errors_of(&out));
    }
}

// covers: E4 (psql), PG-3 (psql)
#[tokio::test]
async fn a_cast_or_a_domain_of_the_targets_own_runs_no_function_that_the_role_has_not() {
    let make = "create type who as (name text); create function who_is(int) returns who language sql security definer \
                as 'select row(card)::who from customers where id = $1'; create cast (int as who) with function who_is(int); \
                create function checks(text) returns bool language sql security definer as 'select not exists (select from customers where card = $1)'; \
                create domain fresh as text check (checks(value)); create type mood as enum ('good', 'bad'); \
                create domain short as text check (length(value) < 5); create domain fresher as fresh; \
                create type comp as (inner_one fresh); create type span_of as range (subtype = fresh)";
    let (cast, check) = ("select (1::who).name", "select '4111-unique-card'::fresh");
    let town = shop(clerk()).await;
    town.target.query(make).unwrap();
    assert_eq!(out_of(&town.run("select 'good'::mood, 'abc'::short, array['bad']::mood[]").await), "good|abc|{bad}");
    // What is made of such a type runs the same as the type.
    let made = ["select (array[1]::_who)[1]", "select '{4111-unique-card}'::_fresh", "select '4111-unique-card'::fresher"];
    let of_it = ["select '{x}'::fresher[]", "select '(4111-unique-card)'::comp", "select '[4111-unique-card,5)'::span_of"];
    let plain = [cast, check, "select cast(id as who) from orders", "select '(x)'::who::text", "select fresh 'x'"];
    for sql in plain.into_iter().chain(made).chain(of_it) {
        let out = town.run(sql).await;
        assert!(errors_of(&out).contains("which this role may not call"), "{sql}: {}{}", errors_of(&out), out_of(&out));
        assert!(!out_of(&out).contains("4111"), "{}", out_of(&out));
    }
    // A role that may call the functions may have them run.
    let town = shop(DatabaseRights { functions: [public("who_is"), public("checks")].into(), ..clerk() }).await;
    town.target.query(make).unwrap();
    assert_eq!(out_of(&town.run(cast).await), "4111-unique-card");
    assert!(errors_of(&town.run(check).await).contains("violates check constraint"));
}
