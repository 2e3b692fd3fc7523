//! How many rows a statement brings back under a role, and how long it runs.

use access::rights::DatabaseRights;
use access::session::EndReason;

use super::gate::{errors_of, out_of};
use super::restricted::{clerk, shop};

// covers: MAY-6 (psql)
#[tokio::test]
async fn a_statement_brings_back_no_more_rows_than_the_role_allows() {
    let town = shop(DatabaseRights { row_limit: Some(2), ..clerk() }).await;
    assert_eq!(out_of(&town.run("select id from orders order by id").await), "1\n2");
    assert_eq!(out_of(&town.run("select id from orders where id = 1; select id from orders order by id").await), "1\n1\n2");
    town.target.query("insert into orders values (3, 'third', 1)").unwrap();
    let out = town.run("select id, status from orders order by id").await;
    assert!(errors_of(&out).contains("one statement may bring back 2 rows under this role"), "{}", errors_of(&out));
    assert!(!out_of(&out).contains("third"), "{}", out_of(&out));
    let closed = town.gate.ended(3).await;
    assert_eq!((closed[2].end, closed[2].confirmed), (EndReason::Client, true));
    assert_eq!(town.gate.of_kind("sql.refused").len(), 1);
    let mut entered = town.gate.refused.subscribe();
    entered.wait_for(|all| all.len() == 1).await.unwrap();
    let said = town
        .python(
            r"import psycopg
with psycopg.connect(dsn, autocommit=True) as c:
    print(c.execute('select id from orders where id < %s order by id', (3,), binary=True).fetchall())
    try: print(c.execute('select id from orders where id < %s order by id', (4,), binary=True).fetchall())
    except psycopg.Error as e: print(e.sqlstate, 'LIMIT 2' in str(e))
",
        )
        .await;
    assert_eq!(said, "[(1,), (2,)]\n42501 True");
}

// covers: MAY-6 (psql)
#[tokio::test]
async fn a_copy_brings_back_no_more_rows_than_the_role_allows() {
    let town = shop(DatabaseRights { row_limit: Some(2), copy_out: true, ..clerk() }).await;
    for sql in ["copy orders to stdout", "copy orders (id) to stdout (format csv)", "copy orders to stdout (format binary)"] {
        let out = town.run(sql).await;
        assert!(out.status.success() && errors_of(&out).is_empty(), "{sql}: {}", errors_of(&out));
    }
    town.target.query("insert into orders values (3, 'third', 1)").unwrap();
    for sql in
        ["copy orders to stdout", "copy (select id, status from orders order by id) to stdout", "copy orders to stdout (format binary)"]
    {
        let out = town.run(sql).await;
        assert!(errors_of(&out).contains("one statement may bring back 2 rows under this role"), "{sql}: {}", errors_of(&out));
        assert!(!out_of(&out).contains("third"), "{sql}: {}", out_of(&out));
    }
}

// covers: MAY-6 (psql)
#[tokio::test]
async fn an_unrestricted_role_has_its_limits_too() {
    let rights = DatabaseRights {
        unrestricted: true,
        row_limit: Some(2),
        statement_timeout: Some("1m".parse().unwrap()),
        ..DatabaseRights::default()
    };
    let town = shop(rights).await;
    assert_eq!(out_of(&town.run("show statement_timeout; select id from payments").await), "1min\n1");
    let out = town.run("select generate_series(1, 3)").await;
    assert!(errors_of(&out).contains("one statement may bring back 2 rows under this role"), "{}", errors_of(&out));
}

// covers: MAY-6 (psql)
#[tokio::test]
async fn a_statement_runs_no_longer_than_the_role_allows() {
    let town = shop(DatabaseRights { statement_timeout: Some("3s".parse().unwrap()), ..clerk() }).await;
    let slow = "select count(*) from generate_series(1, 3000000000) a";
    let out = town.run(slow).await;
    assert!(errors_of(&out).contains("canceling statement due to statement timeout"), "{}", errors_of(&out));
    assert_eq!(out_of(&town.run("reset all; show statement_timeout").await), "RESET\n3s");
    for sql in ["set statement_timeout = 0", "set local statement_timeout = '1h'", "select set_config('statement_timeout', '0', false)"] {
        assert!(errors_of(&town.run(sql).await).contains("Your role does not include this"), "{sql}");
    }
    let out = town.psql(&town.conninfo("options='-c statement_timeout=0'"), &["-c", "select 1"]).output().await.unwrap();
    assert!(errors_of(&out).contains("is fixed under this role"), "{}", errors_of(&out));
}

// covers: MAY-6 (psql), MAY-6 (psycopg)
#[tokio::test]
async fn a_cursor_brings_back_no_more_rows_in_parts_than_at_once() {
    let unrestricted = DatabaseRights { unrestricted: true, ..DatabaseRights::default() };
    for rights in [clerk(), unrestricted] {
        let town = shop(DatabaseRights { row_limit: Some(5), ..rights }).await;
        town.target.query("insert into orders select n, 'more', 1 from generate_series(3, 20) n").unwrap();
        let two = "begin; declare a cursor for select id from orders order by id; declare b cursor for select id from orders";
        let within = "fetch 3 from a; fetch 2 from a; fetch 5 from b; close a; declare a cursor for select 7; fetch all from a; commit";
        assert_eq!(errors_of(&town.run(&format!("{two}; {within}")).await), "");
        for more in ["fetch 3 from a; fetch 3 from a", "fetch 5 from a; move 3 from a; fetch next from a"] {
            let out = town.run(&format!("{two}; {more}")).await;
            assert!(errors_of(&out).contains("one statement may bring back 5 rows under this role"), "{}", errors_of(&out));
        }
        let said = town
            .python(
                r"import psycopg
def all(size, limit, binary):
    with psycopg.connect(dsn) as c:
        k = c.cursor('k', binary=binary); k.itersize = size
        try:
            k.execute('select id from orders order by id limit %s', (limit,))
            return len(list(k))
        except psycopg.Error as e: return e.sqlstate
print([all(2, 5, False), all(2, 5, True), all(2, 6, False), all(3, 7, True)])
import asyncio, asyncpg, ssl
async def main():
    tls = ssl.create_default_context(cafile=ca)
    async def all(limit):
        c = await asyncpg.connect(host='localhost', port=port, user=user, password=token, database=database, ssl=tls)
        try:
            async with c.transaction():
                return len([r async for r in c.cursor('select id from orders order by id limit ' + str(limit), prefetch=2)])
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError): return 'ended'
    print([await all(5), await all(7)])
asyncio.run(main())
",
            )
            .await;
        assert_eq!(said, "[5, 5, '42501', '42501']\n[5, 'ended']");
    }
}
